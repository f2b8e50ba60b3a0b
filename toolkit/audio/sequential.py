"""Parts of one file after another where it can only be decoded from its start: MP3, GSM, and all that FFmpeg reads.

An MP3 is sought imprecisely, and what is decoded depends on the blocks asked for: so it is read in the same blocks from
its start, whatever is wanted. For the windows of a recording that would be the square of its length; here the file
stays open after a window, with the blocks before, and the next one continues from there.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from toolkit.audio import channels
from toolkit.audio.channels import Mono

BLOCK = 2**16  # samples per channel that are decoded at once
KEPT_BLOCKS = 128  # 32 MB a channel or two, three minutes at 44.1 kHz: windows that overlap by more start again
KEPT = 256  # files of which it is known how long they are
SETTLED_NS = 100_000_000  # a file that changed since may change again without another time stamp
Found = TypeVar("Found")

Blocks = Iterator[npt.NDArray[np.float32]]


class Extent(NamedTuple):
    """rate: samples per second. samples: per channel, that can be decoded. bounded: see `integrity.Layout`."""

    rate: int
    channels: int
    samples: int
    bounded: bool


class Sequential:
    """One file, one of its channels, or the mean of all. samples: per channel, that can be decoded."""

    def __init__(self, blocks: Blocks, samples: int, channel: int | None) -> None:
        """blocks: (n, channels), those of the whole file, one after the other."""
        self.samples, self.channel = samples, channel
        self._ahead = blocks
        self._blocks: deque[tuple[Mono, Mono | None]] = deque(maxlen=KEPT_BLOCKS)
        self._position = 0  # after the last block

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
        for block in self._ahead:
            self._position += len(block)
            self._blocks.append(channels.one(block, self.channel))
            yield self._blocks[-1]


# .file: what this thread read last and its key, while more of it may be asked for; .cache: of files, by their keys
_last = threading.local()


def once(path: Path, what: str, find: Callable[[], Found]) -> Found:
    """What `find`, which reads a whole file, returns; called once for the parts of a file, until it changes."""
    cache: OrderedDict[tuple[object, ...], Any] = _last.__dict__.setdefault("cache", OrderedDict())
    key = (what, *_key(path))
    if key in cache:
        found: Found = cache[key]
        return found
    found = find()
    if time.time_ns() - path.stat().st_mtime_ns > SETTLED_NS:
        cache[key] = found
    if len(cache) > KEPT:
        cache.popitem(last=False)
    return found


def read(
    path: Path, blocks: Callable[[], Blocks], samples: int, first: int, count: int, channel: int | None
) -> tuple[Mono, float]:
    """(count,) samples at the file's rate, as `Sequential.read` gives them. blocks: starts the file again."""
    key, file = getattr(_last, "file", None) or (None, None)
    if file is None or key != _key(path) or file.channel != channel or not file.reaches(first):
        file = Sequential(blocks(), samples, channel)
    found = file.read(first, count)
    _last.file = None if file.ended else (_key(path), file)
    return found


def _key(path: Path) -> tuple[Path, int, int, int]:
    """A file, its inode, its size in bytes and its time of change in ns."""
    status = path.stat()
    return path, status.st_ino, status.st_size, status.st_mtime_ns
