"""Clips decoded by worker threads, ahead of the model, in order."""

import threading
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
AHEAD_SECONDS = 1_200.0  # and seconds of audio: 77 MB


@dataclass(frozen=True)
class Decoded:
    """A clip with its audio, or with the reason why there is none. source is taken before decoding."""

    clip: Clip
    source: Source | None
    audio: Audio | None
    reason: str = ""


def decode_all(manifest: Manifest, clips: Iterable[Clip], workers: int) -> Generator[Decoded, None, None]:
    """Decode in `workers` threads (libsndfile and soxr release the interpreter's lock), in the order given.

    What is decoded and not yet taken stays within AHEAD_SECONDS and one clip a worker.
    """
    ahead, counting = 0.0, threading.Lock()

    def one(clip: Clip) -> Decoded:
        nonlocal ahead
        path = manifest.audio_path(clip)
        source = source_of(path, clip)
        try:
            audio = decode(path, clip.start, clip.end, clip.channel, clip.duration)
        except AudioError as error:
            return Decoded(clip, source, None, str(error))
        with counting:
            ahead += audio.seconds
        return Decoded(clip, source, audio)

    def take(future: Future[Decoded]) -> Decoded:
        nonlocal ahead
        decoded = future.result()
        with counting:
            ahead -= decoded.audio.seconds if decoded.audio else 0.0
        return decoded

    waiting: deque[Future[Decoded]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            for clip in clips:
                waiting.append(pool.submit(one, clip))
                # of long clips, only as many are handed on as there are threads
                while len(waiting) >= (workers * AHEAD_PER_WORKER if ahead < AHEAD_SECONDS else workers):
                    yield take(waiting.popleft())
            while waiting:
                yield take(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()
