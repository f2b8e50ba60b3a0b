"""What libsndfile does not read, through PyAV, which is FFmpeg's libraries: the extra `formats`.

As strict as the rest: the demuxer is the one that the file's own bytes name, the decoder is one of a few, an error of
either is a refusal, and so are a gap in the time stamps and an end before the length that the file states. Frames come
as they are decoded, at their own rate and with all their channels; FFmpeg's resampler is not used.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import RawIOBase
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from toolkit.core.errors import AudioError

INSTALL = "pip install 'speech-layer-toolkit[formats]'"
SUFFIXES = (
    *(".m4a", ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".aac", ".amr", ".awb"),
    *(".wma", ".wmv", ".asf", ".webm", ".mka", ".mkv", ".avi"),
)
# Of a container its demuxer, and what people call it
DEMUXERS = {
    "MP4": ("mov", "MP4 (m4a, mp4, mov, 3gp)"),
    "Matroska": ("matroska", "Matroska (webm, mka, mkv)"),
    "ASF": ("asf", "ASF (wma, wmv)"),
    "AVI": ("avi", "AVI"),
    "AMR": ("amr", "AMR"),
    "AAC": ("aac", "AAC"),
    "WAV": ("wav", "WAV of a codec that libsndfile does not know"),
    "OGG": ("ogg", "Ogg of a codec that libsndfile does not know"),
}
TIMED = ("MP4", "Matroska", "ASF")  # containers with a time stamp for each packet; in the others they are counted
DECODERS = {
    *("aac", "ac3", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "alac", "amrnb", "amrwb", "eac3", "flac", "g722"),
    *("g723_1", "g726", "g729", "gsm", "gsm_ms", "mp1float", "mp2float", "mp3float", "opus", "vorbis"),
    *("mp1", "mp2", "mp3", "wmalossless", "wmapro", "wmav1", "wmav2", "wmavoice"),
}
STRICT = {"err_detect": "crccheck+bitstream+buffer+explode"}
GAP_SECONDS = 0.05  # between frames: Matroska and ASF round to 1 ms, and live recorders' clocks wander
CLOCK_DRIFT = 2e-4  # of such a clock against the samples
SHORT_SECONDS = 0.1  # that may be missing from the stated length: a codec's last frame
MOST_SECONDS = 86_400  # of a recording

Frames = npt.NDArray[np.float32]


def installed() -> bool:
    """Whether PyAV is here; it is not loaded."""
    return find_spec("av") is not None


def decoded(
    file: IO[bytes] | RawIOBase, kind: str, announce: Callable[[float], None] = lambda seconds: None
) -> Iterator[tuple[int, Frames]]:
    """The file's one audio stream, frame by frame: samples per second, and (n, channels) float32 in about -1 .. 1.

    kind: of DEMUXERS. announce: gets, before the first frame, the seconds that the file claims, 0 where it does not.
    Raises AudioError where PyAV is missing, for more than one audio stream or none, for a decoder that is none of
    DECODERS, for damage, and for a file that is shorter than it claims.
    """
    with (
        _named(kind),
        _av().open(file, format=DEMUXERS[kind][0], options=STRICT, metadata_errors="replace") as container,
    ):
        stream = _one_audio_stream(container)
        claimed = _claimed_seconds(container, stream, kind)
        announce(min(claimed, MOST_SECONDS))
        shape, seconds, clock = None, 0.0, _Clock()
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise AudioError(f"is damaged or ends early: a packet at {seconds:.2f} s is not whole")
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise AudioError(f"is damaged: a frame at {seconds:.2f} s is not as it was written")
                values = _values(frame)
                if shape not in (None, (frame.sample_rate, values.shape[1])):
                    raise AudioError(f"changes its rate or its channels at {seconds:.2f} s; save it as WAV or FLAC")
                shape = frame.sample_rate, values.shape[1]
                if kind in TIMED and frame.pts is not None:
                    clock.check(float(frame.pts * frame.time_base), seconds)
                seconds += len(values) / frame.sample_rate
                if seconds > MOST_SECONDS:
                    raise AudioError(f"lasts more than {MOST_SECONDS // 3_600} hours")
                yield frame.sample_rate, values
        if seconds + SHORT_SECONDS < claimed:
            raise AudioError(f"ends early: {seconds:.2f} of {claimed:.2f} s could be decoded")


class _Clock:
    """By how much time stamps are off from the samples before them: by the same all the time, or some are lost."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._last = 0.0

    def check(self, stamp: float, seconds: float) -> None:
        """stamp: of a frame. seconds: of all frames before it. Raises AudioError for a gap, at once or bit by bit."""
        off = stamp - seconds
        if self._first is None:
            self._first = self._last = off
        lost = off - self._first
        if abs(off - self._last) > GAP_SECONDS or abs(lost) > GAP_SECONDS + CLOCK_DRIFT * seconds:
            raise AudioError(
                f"has time stamps that its samples do not fill: {lost:.2f} s are missing at {seconds:.2f} s, or it was "
                "paused there; expected audio without gaps"
            )
        self._last = off


def _av() -> Any:
    import av

    av.logging.set_level(None)
    return av


@contextmanager
def _named(kind: str) -> Iterator[None]:
    """Whatever PyAV makes of a file, as an AudioError; its own sentences can hold a path."""
    if not installed():
        raise AudioError(
            f"is {DEMUXERS[kind][1]}, which is read with the extra `formats` alone: `{INSTALL}` adds it; expected WAV, "
            "RF64, AIFF, FLAC, OGG or MP3 without it"
        )
    from av.error import FFmpegError

    try:
        yield
    except FFmpegError as error:
        raise AudioError(f"cannot be decoded: {error.strerror}") from None


def _one_audio_stream(container: Any) -> Any:
    streams = container.streams.audio
    if not streams:
        raise AudioError("has no audio stream, expected one")
    if len(streams) > 1:
        raise AudioError(
            f"has {len(streams)} audio streams, expected one; `ffmpeg -i FILE -map 0:a:0 OUT.wav` takes the first out"
        )
    (stream,) = streams
    context = stream.codec_context
    if context is None or (context.codec.name not in DECODERS and not context.codec.name.startswith("pcm_")):
        name = "no known codec" if context is None else f"the codec {context.codec.name}"
        raise AudioError(f"is of {name}, which is not read; save it as WAV or FLAC")
    context.thread_count = 1
    context.options = STRICT
    return stream


def _claimed_seconds(container: Any, stream: Any, kind: str) -> float:
    """The stream's length by the file's own header, 0 where there is none: FFmpeg guesses some by the bit rate."""
    if kind in ("MP4", "AVI", "WAV"):
        return float(stream.duration * stream.time_base) if stream.duration else 0.0
    if kind in ("Matroska", "ASF") and len(container.streams) == 1:  # it is the longest stream's
        return container.duration / 1e6 if container.duration else 0.0
    return 0.0


def _values(frame: Any) -> Frames:
    """(n, channels) float32 in about -1 .. 1, of whatever a decoder gives."""
    values: Any = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(frame.samples, -1)
    floats: Frames = values.astype(np.float32)
    if values.dtype.kind == "u":
        floats -= 2.0 ** (8 * values.dtype.itemsize - 1)
    if values.dtype.kind in "iu":
        floats /= 2.0 ** (8 * values.dtype.itemsize - 1)
    return floats
