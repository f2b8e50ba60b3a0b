"""Clips decoded by worker threads, ahead of the model, in order."""

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from toolkit.audio import Audio, decode
from toolkit.errors import AudioError
from toolkit.extract.plan import source_of
from toolkit.features.shard import Source
from toolkit.manifest import Clip, Manifest

AHEAD_PER_WORKER = 16  # decoded clips that may wait for the model,
AHEAD_SECONDS = 1_200.0  # and seconds of audio, were all as long as the longest so far: 77 MB


@dataclass(frozen=True)
class Decoded:
    """A clip with its audio, or with the reason why there is none. source is taken before decoding."""

    clip: Clip
    source: Source | None
    audio: Audio | None
    reason: str = ""


def decode_all(manifest: Manifest, clips: Iterable[Clip], workers: int) -> Generator[Decoded, None, None]:
    """Decode in `workers` threads (libsndfile and soxr release the interpreter's lock), in the order given.

    Begins with one clip a worker, and goes further ahead once it is seen how long they are.
    """
    longest = 0.0

    def one(clip: Clip) -> Decoded:
        path = manifest.audio_path(clip)
        source = source_of(path, clip)
        try:
            return Decoded(clip, source, decode(path, clip.start, clip.end, clip.channel, clip.duration))
        except AudioError as error:
            return Decoded(clip, source, None, str(error))

    def take(future: Future[Decoded]) -> Decoded:
        nonlocal longest
        decoded = future.result()
        longest = max(longest, decoded.audio.seconds if decoded.audio else 0.0)
        return decoded

    def ahead() -> int:
        within = int(AHEAD_SECONDS / longest) if longest else 0
        return max(workers, min(workers * AHEAD_PER_WORKER, within))

    waiting: deque[Future[Decoded]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            for clip in clips:
                waiting.append(pool.submit(one, clip))
                while len(waiting) >= ahead():
                    yield take(waiting.popleft())
            while waiting:
                yield take(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()
