"""From a file to samples: decoding, in this process or in watched ones, and what is refused as damaged."""
