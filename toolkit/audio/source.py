"""An audio file, opened by what reads it: libsndfile, or FFmpeg where that does not know it; whole, or refused."""

import io
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from toolkit.audio import channels, ffmpeg, integrity, sequential
from toolkit.audio.channels import Mono
from toolkit.audio.integrity import Layout
from toolkit.audio.sequential import BLOCK, Blocks, Extent
from toolkit.core.errors import AudioError

FORMATS = ("WAV", "RF64", "AIFF", "FLAC", "OGG", "MP3")  # those whose truncation is seen, here or by libsndfile
GSM_BLOCK_BYTES, GSM_BLOCK_SAMPLES = 65, 320  # of GSM in WAV
Announce = Callable[[float], None]


@dataclass(frozen=True)
class Source:
    """An open file.

    rate: samples per second. samples: per channel. read: (n,) samples at the file's rate, from a first one, as many as
    asked for or fewer where the file ends early, of a channel or of all, averaged; and what `channels.one` returns of
    their power. in_order: what comes before a part is decoded as well. bounded: see `integrity.Layout`.
    """

    rate: int
    channels: int
    samples: int
    read: Callable[[int, int, int | None], tuple[Mono, float]]
    in_order: bool
    bounded: bool


class View(io.RawIOBase):
    """A part of a file, with some of its bytes read otherwise."""

    def __init__(self, path: Path, begin: int = 0, end: int | None = None, patches: Mapping[int, bytes] | None = None):
        """Raises OSError. patches: by their position in the file."""
        self._file = path.open("rb", buffering=0)
        self._begin, self._patches = begin, patches or {}
        self._end = os.fstat(self._file.fileno()).st_size if end is None else end
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        before = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end - self._begin}[whence]
        self._position = max(0, before + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        at = self._begin + self._position
        self._file.seek(at)
        content = bytearray(self._file.read(max(0, min(memoryview(buffer).nbytes, self._end - at))) or b"")
        for place, patch in self._patches.items():
            for offset, byte in enumerate(patch, place - at):
                if 0 <= offset < len(content):
                    content[offset] = byte
        memoryview(buffer).cast("B")[: len(content)] = content
        self._position += len(content)
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def opened(path: Path, announce: Announce) -> Iterator[Source]:
    """The file, its container checked. announce: gets the seconds of audio, where they must be decoded to be counted.

    Raises AudioError for what is no regular file, of no format that is read, or not whole.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise AudioError("is not a regular file")
        layout = sequential.once(path, "layout", partial(_layout, path))
        if layout.kind is not None:
            yield _by_ffmpeg(path, layout.kind, layout, announce)
            return
        with _sound_file(path, layout) as file:
            yield _by_libsndfile(path, file, layout)
    except OSError as error:
        raise AudioError(f"cannot be read: {error.strerror}") from None
    except soundfile.LibsndfileError as error:
        raise AudioError(f"cannot be decoded: {error.error_string}") from None
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise AudioError(f"cannot be decoded: {error}") from None


def _layout(path: Path) -> Layout:
    with path.open("rb", buffering=0) as raw:
        return integrity.check(raw, path.stat().st_size)


def _sound_file(path: Path, layout: Layout) -> soundfile.SoundFile:
    """libsndfile gets no name: it trusts suffixes, and puts paths in its messages."""
    if layout.patches:
        return soundfile.SoundFile(View(path, patches=layout.patches))
    return soundfile.SoundFile(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), closefd=True)


def _by_libsndfile(path: Path, file: soundfile.SoundFile, layout: Layout) -> Source:
    if file.format not in (*FORMATS, "WAVEX"):
        raise AudioError(f"is of the format {file.format}, expected one of {list(FORMATS)}")
    mp3, in_wav = file.subtype == "MPEG_LAYER_III", file.format in ("WAV", "WAVEX")
    if not mp3 and file.seekable():
        read = partial(_read, file)
        return Source(file.samplerate, file.channels, file.frames, read, in_order=False, bounded=layout.bounded)
    begin, end = layout.data
    view = partial(View, path, begin, end) if mp3 and in_wav else partial(View, path, patches=layout.patches)

    def blocks() -> Blocks:
        with view() as part, soundfile.SoundFile(part) as file:
            while len(block := file.read(sequential.BLOCK, dtype="float32", always_2d=True)):
                yield block

    def measure() -> Extent:
        with view() as part, soundfile.SoundFile(part) as file:
            if mp3:
                samples, has_length = integrity.mp3_samples(part, file.frames)
                return Extent(file.samplerate, file.channels, samples, has_length or (in_wav and layout.bounded))
            samples = file.frames
            if in_wav:  # GSM: libsndfile takes the byte that fills an odd chunk up for a block
                samples = min(samples, (end - begin) // GSM_BLOCK_BYTES * GSM_BLOCK_SAMPLES)
            return Extent(file.samplerate, file.channels, samples, layout.bounded)

    return _in_order(path, sequential.once(path, "extent", measure), blocks)


def _by_ffmpeg(path: Path, kind: str, layout: Layout, announce: Announce) -> Source:
    def measure() -> Extent:
        shape, samples = (0, 0), 0
        with View(path, patches=layout.patches) as view:
            for rate, frames in ffmpeg.decoded(view, kind, announce):
                shape, samples = (rate, frames.shape[1]), samples + len(frames)
        if not samples:
            raise AudioError("is empty: it has no samples")
        return Extent(*shape, samples, layout.bounded)

    def blocks() -> Blocks:
        gathered: list[npt.NDArray[np.float32]] = []
        with View(path, patches=layout.patches) as view:
            for _, frames in ffmpeg.decoded(view, kind):
                gathered.append(frames)
                if sum(map(len, gathered)) >= sequential.BLOCK:
                    yield np.concatenate(gathered)
                    gathered.clear()
        if gathered:
            yield np.concatenate(gathered)

    return _in_order(path, sequential.once(path, "extent", measure), blocks)


def _in_order(path: Path, extent: Extent, blocks: Callable[[], Blocks]) -> Source:
    read = partial(sequential.read, path, blocks, extent.samples)
    return Source(extent.rate, extent.channels, extent.samples, read, in_order=True, bounded=extent.bounded)


def _read(file: soundfile.SoundFile, first: int, count: int, channel: int | None) -> tuple[Mono, float]:
    """In blocks: a false promise costs no memory."""
    mono, power = np.empty(count, dtype=np.float32), 0.0
    if first:
        file.seek(first)
    done = 0
    while done < count and len(block := file.read(min(BLOCK, count - done), dtype="float32", always_2d=True)):
        mono[done : done + len(block)], squares = channels.one(block, channel)
        power += 0.0 if squares is None else float(squares.sum(dtype=np.float64))
        done += len(block)
    return mono[:done], power
