"""Parts of one MP3 after another, decoded once.

An MP3 is sought imprecisely, and what is decoded depends on the blocks asked for: so it is read in the same blocks from
its start, whatever is wanted. For the windows of a recording that would be the square of its length; here the file
stays open behind a window, with the blocks before, and the next one goes on from there.
"""

import os
import threading
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile

from toolkit.audio import channels, integrity
from toolkit.audio.channels import Mono

BLOCK = 2**16  # samples per channel that are decoded at once
KEPT_BLOCKS = 128  # 32 MB a channel or two, three minutes at 44.1 kHz: windows that overlap by more begin anew


class Mp3:
    """One MP3, one of its channels, or the mean of all. samples: per channel, that can be decoded."""

    def __init__(self, path: Path, samples: int, channel: int | None) -> None:
        """Raises OSError, soundfile.LibsndfileError."""
        self.samples, self.channel = samples, channel
        self._file = soundfile.SoundFile(os.open(path, os.O_RDONLY), closefd=True)
        self._blocks: deque[tuple[Mono, Mono | None]] = deque(maxlen=KEPT_BLOCKS)
        self._position = 0  # behind the last block

    def reaches(self, first: int) -> bool:
        """Whether what begins at this sample can still be read."""
        return first >= self._position - self._kept

    def read(self, first: int, count: int) -> tuple[Mono, float]:
        """(count,) samples from sample `first` on, which `reaches`; fewer where the file ends early.

        And the sum of the channels' mean squares where they are averaged, see `channels.one`.
        """
        mono, power, done = np.empty(count, np.float32), 0.0, 0
        begin = self._position - self._kept
        for block, squares in chain(tuple(self._blocks), self._further()):
            part = slice(max(0, first - begin), first + count - begin)
            wanted = block[part]
            mono[done : done + len(wanted)] = wanted
            power += 0.0 if squares is None else float(squares[part].sum(dtype=np.float64))
            done += len(wanted)
            begin += len(block)
            if done == count:
                break
        return mono[:done], power

    @property
    def _kept(self) -> int:
        return sum(len(block) for block, _ in self._blocks)

    @property
    def ended(self) -> bool:
        return self._position >= self.samples

    def _further(self) -> Iterator[tuple[Mono, Mono | None]]:
        while len(block := self._file.read(BLOCK, dtype="float32", always_2d=True)):
            self._position += len(block)
            self._blocks.append(channels.one(block, self.channel))
            yield self._blocks[-1]


_last = threading.local()  # .mp3: what this thread read last and its key, while more of it may be asked for


def samples_of(path: Path, promised: int) -> int:
    """`containers.mp3_samples`, which reads the whole file, once for the parts of a file."""
    mp3 = _kept(path)
    if mp3 is not None:
        return mp3.samples
    with path.open("rb") as file:
        return integrity.mp3_samples(file, promised)


def read(path: Path, samples: int, first: int, count: int, channel: int | None) -> tuple[Mono, float]:
    """(count,) samples at the file's rate, as `Mp3.read` gives them. samples: what `samples_of` told."""
    mp3 = _kept(path)
    if mp3 is None or mp3.channel != channel or not mp3.reaches(first):
        mp3 = Mp3(path, samples, channel)
    found = mp3.read(first, count)
    _last.mp3 = None if mp3.ended else (_key(path), mp3)
    return found


def _kept(path: Path) -> Mp3 | None:
    key, mp3 = getattr(_last, "mp3", None) or (None, None)
    return mp3 if key == _key(path) else None


def _key(path: Path) -> tuple[Path, int, int]:
    """A file, its size in bytes and its time of change in ns."""
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns
