"""Clips decoded by worker threads, ahead of the model, in order."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from toolkit.audio import Audio, decode
from toolkit.errors import AudioError
from toolkit.extract.plan import source_of
from toolkit.features.shard import Source
from toolkit.manifest import Clip, Manifest

AHEAD_PER_WORKER = 16  # decoded clips that may wait for the model


@dataclass(frozen=True)
class Decoded:
    """A clip with its audio, or with the reason why there is none. source is taken before decoding."""

    clip: Clip
    source: Source | None
    audio: Audio | None
    reason: str = ""


def decode_all(manifest: Manifest, clips: Iterable[Clip], workers: int) -> Iterator[Decoded]:
    """Decode in `workers` threads (libsndfile and soxr release the interpreter's lock), in the order given."""

    def one(clip: Clip) -> Decoded:
        path = manifest.audio_path(clip)
        source = source_of(path, clip)
        try:
            return Decoded(clip, source, decode(path, clip.start, clip.end, clip.channel, clip.duration))
        except AudioError as error:
            return Decoded(clip, source, None, str(error))

    waiting: deque[Future[Decoded]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            for clip in clips:
                waiting.append(pool.submit(one, clip))
                if len(waiting) >= workers * AHEAD_PER_WORKER:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
