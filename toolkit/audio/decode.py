"""Audio files in, (n_samples,) float32 mono at SAMPLE_RATE out, and nothing shorter than its header promises."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from toolkit.audio import channels, ffmpeg
from toolkit.audio.source import Source, opened
from toolkit.core.errors import AudioError

SAMPLE_RATE = 16_000  # samples per second, of every backbone here
RECEPTIVE_FIELD = 400  # samples that one frame of wav2vec 2.0 and one window of Whisper's spectrogram span: 25 ms
MAX_SECONDS = 3_600  # of one clip; longer ones need `start` and `end`
MAX_CHANNELS = 32
MIN_RATE, MAX_RATE = 4_000, 192_000  # samples per second, of a file
MAX_PEAK = 16.0  # full scale is 1, and lossy codecs overshoot a little; more is integers stored as floats
NEAR_SILENCE = 1e-4  # standard deviation; below it, input normalisation amplifies noise more than 10,000-fold
FULL_SCALE = 0.98  # of 1; mu-law and A-law reach no further
CLIPPED_SHARE = 1e-3  # of the samples beyond full scale; of speech that is only normalised, a tenth of that or less
DURATION_TOLERANCE = 0.1  # seconds between what the manifest says (`end`, `duration`) and the audio
SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"),
    *(ffmpeg.SUFFIXES if ffmpeg.installed() else ()),
)

Samples = npt.NDArray[np.float32]


def averaged(number: int, clips: int) -> str:
    """What to mind where channels are averaged, and what to write instead.

    >>> averaged(3, 1200)[:55]
    '3 of 1,200 clips are the average of several channels: i'
    """
    return (
        f"{number:,} of {clips:,} clips are the average of several channels: in a call, two voices in one. "
        "Write 0 or 1 into the manifest's column `channel` to take one of them."
    )


@dataclass(frozen=True)
class Audio:
    """One decoded clip.

    samples: (n_samples,) float32 in about -1 .. 1, at `rate`. sha256, count: of the same audio at SAMPLE_RATE, by which
    it is recognised whatever rate a model takes: of its samples' bytes, and how many they are.
    flags: what a reader of the numbers should know, see `material.FLAGS`.
    """

    samples: Samples
    sha256: str
    flags: tuple[str, ...]
    count: int
    rate: int = SAMPLE_RATE

    @property
    def seconds(self) -> float:
        return self.count / SAMPLE_RATE


@dataclass(frozen=True)
class Header:
    """What a file's header says of one clip: the file's rate (samples per second) and channels, the clip's seconds."""

    rate: int
    channels: int
    seconds: float


def decode(
    path: Path,
    start: float | None = None,
    end: float | None = None,
    channel: int | None = None,
    duration: float | None = None,
    announce: Callable[[float], None] = lambda seconds: None,
    sample_rate: int = SAMPLE_RATE,
) -> Audio:
    """Decode a file, or its part from `start` to `end` (seconds), to mono at `sample_rate` samples a second.

    channel: 0, 1, ...; without it the channels are averaged. duration: what the manifest says, in seconds. An `end` or
    a `duration` may be off by DURATION_TOLERANCE; the audio is what counts. announce: gets, before the first sample is
    decoded, the seconds of audio that will be. Raises AudioError when the file is not a regular file, cannot be
    decoded, is shorter than its header or the manifest says, is empty, holds NaN, infinite or absurdly large samples,
    has channels that cancel each other when they are averaged, or is beyond the limits above.
    """
    with opened(path, announce) as source:
        first, count = _part(source, start, end, channel, duration)
        rate = source.rate
        announce((count + (first if source.in_order else 0)) / rate)
        mono, power = source.read(first, count, channel)
        if len(mono) < count:
            raise AudioError(f"ends early: {len(mono)} of {count} samples per channel could be decoded")
        mixed = source.channels if channel is None else 1
        unbounded = not source.bounded and end is None and duration is None
    peak = max(float(mono.max()), -float(mono.min()))  # NaN where one sample is
    if not math.isfinite(peak):
        raise AudioError("holds NaN or infinite samples")
    if peak > MAX_PEAK:
        raise AudioError(f"holds samples as large as {peak:,.0f}, expected -1 to 1: integers stored as floats?")
    if power > NEAR_SILENCE**2 * count and channels.cancel(mono, power, mixed):
        raise AudioError(
            f"has {mixed} channels in anti-phase, which cancel each other when averaged; expected one of them in the "
            "manifest's column `channel`"
        )
    samples = mono if rate == SAMPLE_RATE else soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ")
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if len(samples) == 0:
        raise AudioError(f"is empty: {count} samples at {rate} per second are none at {SAMPLE_RATE}")
    sha256, flags = hashlib.sha256(samples.tobytes()).hexdigest(), _flags(samples, mono, mixed, unbounded)
    output = samples
    if sample_rate != SAMPLE_RATE:
        output = mono if rate == sample_rate else soxr.resample(mono, rate, sample_rate, quality="HQ")
    return Audio(np.ascontiguousarray(output, dtype=np.float32), sha256, flags, len(samples), sample_rate)


def header(
    path: Path,
    start: float | None = None,
    end: float | None = None,
    channel: int | None = None,
    duration: float | None = None,
    longest: float = MAX_SECONDS,
    announce: Callable[[float], None] = lambda seconds: None,
) -> Header:
    """What `decode` would find, as far as its header says; of what FFmpeg reads, all is decoded to be counted.

    longest: the most seconds that a clip may have; more than `decode` takes, for a recording that will be cut.
    Raises AudioError as `decode` does.
    """
    with opened(path, announce) as source:
        _, count = _part(source, start, end, channel, duration, longest)
        return Header(source.rate, source.channels, count / source.rate)


def _flags(samples: Samples, mono: Samples, channels: int, unbounded: bool) -> tuple[str, ...]:
    """samples: at SAMPLE_RATE; mono: at the file's rate. channels: how many were averaged."""
    mean, deviation = (float(function(samples, dtype=np.float64)) for function in (np.mean, np.std))
    found = {
        "short": len(samples) < RECEPTIVE_FIELD,
        "near-silent": deviation < NEAR_SILENCE,
        "clipped": np.count_nonzero(mono >= FULL_SCALE) + np.count_nonzero(mono <= -FULL_SCALE)
        >= CLIPPED_SHARE * len(mono),
        "offset": abs(mean) > max(deviation, NEAR_SILENCE),
        "averaged": channels > 1,
        "unbounded": unbounded,
    }
    return tuple(flag for flag, has in found.items() if has)


def _part(
    source: Source,
    start: float | None,
    end: float | None,
    channel: int | None,
    duration: float | None,
    longest: float = MAX_SECONDS,
) -> tuple[int, int]:
    """The clip's first sample and its number of samples, per channel of the file. Nothing is allocated before this."""
    rate, channels, frames = source.rate, source.channels, source.samples
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"has {rate} samples per second, expected {MIN_RATE} to {MAX_RATE}")
    if channels > MAX_CHANNELS:
        raise AudioError(f"has {channels} channels, expected at most {MAX_CHANNELS}")
    if channel is not None and not 0 <= channel < channels:
        raise AudioError(f"channel {channel} asked for, the file has {channels} (counted from 0)")
    if frames == 0:
        raise AudioError("is empty: it has no samples")
    first = round(start * rate) if start is not None else 0
    last = round(end * rate) if end is not None else frames
    if first >= frames or last > frames + rate * DURATION_TOLERANCE:
        raise AudioError(f"the segment {start or 0:g} to {last / rate:g} s is beyond the end at {frames / rate:g} s")
    count = min(last, frames) - first
    if count <= 0 or first < 0:
        raise AudioError(f"the segment {start or 0:g} to {last / rate:g} s holds no sample")
    seconds = count / rate
    if seconds > longest:
        raise AudioError(f"claims {seconds:,.0f} s, expected at most {longest} s a clip; use `start` and `end`")
    if duration is not None and abs(seconds - duration) > DURATION_TOLERANCE:
        raise AudioError(f"lasts {seconds:.2f} s, the manifest says {duration:.2f} s")
    return first, count
