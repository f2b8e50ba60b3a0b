"""Audio files in, (n_samples,) float32 mono at SAMPLE_RATE out, and nothing shorter than its header promises."""

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from toolkit.errors import AudioError

SAMPLE_RATE = 16_000  # samples per second, of every backbone here
RECEPTIVE_FIELD = 400  # samples that one frame of wav2vec 2.0 and one window of Whisper's spectrogram span: 25 ms
MAX_SECONDS = 3_600  # of one clip; longer ones need `start` and `end`
MAX_CHANNELS = 32
MIN_RATE, MAX_RATE = 4_000, 384_000  # samples per second, of a file
NEAR_SILENCE = 1e-4  # root mean square; below it, input normalisation amplifies noise more than 10,000-fold
DURATION_TOLERANCE = 0.1  # seconds between a manifest's `duration` and the audio
STREAMED = 0xFFFF_FFFF  # a WAV data size that means "until the end"

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Audio:
    """One decoded clip.

    samples: (n_samples,) float32 in about -1 .. 1, at SAMPLE_RATE. sha256: of these samples' bytes.
    flags: what a reader of the numbers should know: "short" (padded to 25 ms by the backbone), "near-silent".
    """

    samples: Samples
    sha256: str
    flags: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE


def decode(
    path: Path,
    start: float | None = None,
    end: float | None = None,
    channel: int | None = None,
    duration: float | None = None,
) -> Audio:
    """Decode a file, or its part from `start` to `end` (seconds), to mono at SAMPLE_RATE.

    channel: 0, 1, ...; without it the channels are averaged. duration: what the manifest says, in seconds.
    Raises AudioError when the file is not a regular file, cannot be decoded, is shorter than its header or the
    manifest says, is empty, holds NaN or infinite samples, or is beyond the limits above.
    """
    _check_container(path)
    try:
        with soundfile.SoundFile(str(path)) as file:
            rate, channels, frames = file.samplerate, file.channels, file.frames
            _check_header(rate, channels, frames, start, end)
            if channel is not None and not 0 <= channel < channels:
                raise AudioError(f"channel {channel} asked for, the file has {channels} (counted from 0)")
            first = round(start * rate) if start is not None else 0
            last = round(end * rate) if end is not None else frames
            if first >= frames or last > frames + rate * DURATION_TOLERANCE:
                raise AudioError(
                    f"the segment {start or 0:g} to {last / rate:g} s is beyond the end at {frames / rate:g} s"
                )
            expected = min(last, frames) - first
            if first:
                file.seek(first)
            data = file.read(expected, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise AudioError(f"cannot be decoded: {str(error).replace(str(path), 'the file')}") from None
    if len(data) < expected:
        raise AudioError(f"ends early: {len(data)} of {expected} samples per channel could be decoded")
    mono = data[:, channel] if channel is not None else data.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise AudioError("holds NaN or infinite samples")
    samples = mono if rate == SAMPLE_RATE else soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ")
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if len(samples) == 0:
        raise AudioError("is empty: it has no samples")
    seconds = len(samples) / SAMPLE_RATE
    if duration is not None and abs(seconds - duration) > DURATION_TOLERANCE:
        raise AudioError(f"lasts {seconds:.2f} s, the manifest says {duration:.2f} s")
    return Audio(samples, hashlib.sha256(samples.tobytes()).hexdigest(), _flags(samples))


def _flags(samples: Samples) -> tuple[str, ...]:
    short = ("short",) if len(samples) < RECEPTIVE_FIELD else ()
    silent = ("near-silent",) if float(np.sqrt(np.mean(samples.astype(np.float64) ** 2))) < NEAR_SILENCE else ()
    return short + silent


def _check_header(rate: int, channels: int, frames: int, start: float | None, end: float | None) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"has {rate} samples per second, expected {MIN_RATE} to {MAX_RATE}")
    if channels > MAX_CHANNELS:
        raise AudioError(f"has {channels} channels, expected at most {MAX_CHANNELS}")
    seconds = (min(frames / rate, end) if end is not None else frames / rate) - (start or 0)
    if seconds > MAX_SECONDS:
        raise AudioError(f"claims {seconds:,.0f} s, expected at most {MAX_SECONDS} s a clip; use `start` and `end`")


def _check_container(path: Path) -> None:
    """What libsndfile passes over in silence: files that are none, cut WAV data chunks, Ogg streams without an end."""
    try:
        status = path.stat()
    except OSError as error:
        raise AudioError(f"cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise AudioError("is not a regular file")
    with path.open("rb") as file:
        magic = file.read(12)
        if not magic:
            raise AudioError("is empty: it has no bytes")
        if magic[:4] == b"RIFF" and magic[8:] == b"WAVE":
            position = 12
            while len(header := file.read(8)) == 8:
                size = int.from_bytes(header[4:], "little")
                position += 8
                if header[:4] == b"data":
                    missing = position + size - status.st_size
                    if size != STREAMED and missing > 0:
                        raise AudioError(f"ends early: its header promises {missing:,} bytes more than the file holds")
                    return
                position += size + size % 2
                file.seek(position)
        elif magic[:4] == b"OggS":
            file.seek(max(0, status.st_size - 65_536 - 27 - 255))  # an Ogg page is never longer
            tail = file.read()
            page = tail.rfind(b"OggS")
            if page < 0 or len(tail) < page + 6 or not tail[page + 5] & 4:
                raise AudioError("ends early: its Ogg stream has no last page")
