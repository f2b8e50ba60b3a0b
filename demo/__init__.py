"""The demo: real weights, real speech and the public commands. Not part of the package; run by `make demo`."""
