"""What clips a run was made from: their channels, lengths and flags, so that others can be treated in the same way."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.core.i18n import Note

# Each flag of `audio.Audio`, and of extraction, in the order of their notes
FLAGS = ("short", "near-silent", "clipped", "offset", "unbatched", "averaged", "unvoiced", "cut-text", "unbounded")


@dataclass(frozen=True)
class Material:
    """channels: every channel that a clip was taken from, None for clips whose row names none. seconds: of the clips,
    the 5th percentile, the median and the 95th.
    """

    channels: tuple[int | None, ...]
    seconds: tuple[float, float, float]

    @classmethod
    def of(cls, clips: Iterable[tuple[int | None, float]]) -> "Material":
        """clips: of each its channel and its seconds."""
        channels, seconds = zip(*clips)
        low, median, high = np.quantile(seconds, [0.05, 0.5, 0.95]).round(3).tolist()
        every = sorted(set(channels), key=lambda channel: -1 if channel is None else channel)
        return cls(tuple(every), (low, median, high))

    @classmethod
    def kept_in(cls, provenance: Mapping[str, Any]) -> "Material | None":
        """What a run's provenance says, None for a run of an earlier version."""
        found = provenance.get("material")
        return cls(tuple(found["channels"]), tuple(found["seconds"])) if found else None

    @property
    def channel(self) -> int | None:
        """The one channel that all clips are of, None where that is not known."""
        return self.channels[0] if len(self.channels) == 1 else None

    def other_length(self, seconds: Sequence[float]) -> list[Note]:
        """A note where clips of these lengths are unlike those that taught the models.

        Their median is beyond the range that holds nine in ten of the run's clips.
        """
        (low, median, high), now = self.seconds, float(np.median(seconds))
        if low - 0.05 <= now <= high + 0.05:
            return []
        return [Note("other_length", {"now": now, "low": low, "high": high, "median": median})]


def covered(spans: Iterable[tuple[Hashable, float, float]]) -> float:
    """Seconds of audio that clips hold, what several of them hold counted once: windows and segments overlap.

    spans: of each clip the voice it was taken from (a file's channel), its start and its end in seconds.

    >>> covered([("a", 0.0, 10.0), ("a", 5.0, 15.0), ("b", 5.0, 15.0), ("a", 20.0, 21.0)])
    26.0
    """
    ends: dict[Hashable, float] = {}
    total = 0.0
    for voice, start, end in sorted(spans, key=lambda span: span[1]):
        known = ends.get(voice, start)
        total += max(0.0, end - max(start, known))
        ends[voice] = max(end, known)
    return total


def flag_notes(flags: Iterable[Sequence[str]]) -> list[Note]:
    """How many clips have which flag, a note for each flag that any has. flags: of every clip.

    >>> str(flag_notes([(), ("clipped",), ("short", "clipped")])[0])
    'Shorter than 25 ms and padded: 1 of 3 clips.'
    """
    every = [set(of_clip) for of_clip in flags]
    counts = {flag: sum(flag in of_clip for of_clip in every) for flag in FLAGS}
    return [Note(f"flag_{flag}", {"some": some, "all": len(every)}) for flag, some in counts.items() if some]
