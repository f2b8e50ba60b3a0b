"""Clips decoded ahead of the model, in order, each with the evidence of where its audio came from."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from toolkit.audio.clip import Clip
from toolkit.audio.decode import SAMPLE_RATE, Audio
from toolkit.audio.decode_pool import AHEAD, Ahead, ahead, decode
from toolkit.core.errors import AudioError
from toolkit.corpus.manifest import Manifest
from toolkit.features.shard import ClipRecord, Source, mark


@dataclass(frozen=True)
class Decoded:
    """A clip with its audio, or with the reason why there is none. source is taken before decoding."""

    clip: Clip
    source: Source | None
    audio: Audio | None
    reason: str = ""

    @property
    def seconds(self) -> float:
        return self.audio.seconds if self.audio else 0.0

    @property
    def record(self) -> ClipRecord:
        """What a store keeps of a clip that was decoded."""
        source, audio = self.source, self.audio
        assert source is not None and audio is not None
        return ClipRecord(self.clip.id, source, audio.sha256, audio.count, audio.flags, self.clip.recording)


def source_of(path: Path, clip: Clip) -> Source | None:
    """Cheap evidence of a clip's audio; None when the file cannot be reached."""
    try:
        status = path.stat()
    except OSError:
        return None
    marks = [mark(clip.path), *([] if clip.text is None else [mark(clip.text)])]
    return (status.st_size, status.st_mtime_ns, clip.start, clip.end, clip.channel, clip.duration, *marks)


def decode_all(
    manifest: Manifest, clips: Iterable[Clip], workers: int, far: Ahead = AHEAD, sample_rate: int = SAMPLE_RATE
) -> Generator[Decoded, None, None]:
    """Decode by `workers` processes, in the order given, as far ahead as `toolkit.audio.decode_pool.ahead` goes.

    sample_rate: that the model takes.
    """

    def one(clip: Clip, stop: Event) -> Decoded:
        path = manifest.audio_path(clip)
        source = source_of(path, clip)
        try:
            audio = decode(path, clip.start, clip.end, clip.channel, clip.duration, stop, sample_rate)
            return Decoded(clip, source, audio)
        except AudioError as error:
            return Decoded(clip, source, None, str(error))

    return ahead(one, clips, workers, lambda decoded: decoded.seconds, far)
