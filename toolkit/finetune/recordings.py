"""The clips' audio: decoded by worker threads, kept in memory where it fits, else decoded again in every epoch."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil

from toolkit.audio import Samples, decode
from toolkit.errors import AudioError
from toolkit.manifest import Clip, Manifest
from toolkit.progress import Advance

MEMORY_SHARE = 0.5  # of what is free when the decoding begins


@dataclass(frozen=True)
class Recordings:
    """Decoded clips by id.

    samples: at 16 kHz, by id; empty where they do not fit into memory. lengths, sha256: of every clip that could be
    decoded, in samples. failed: the reason, of every other clip.
    """

    manifest: Manifest
    clips: Mapping[str, Clip]
    samples: Mapping[str, Samples]
    lengths: Mapping[str, int]
    sha256: Mapping[str, str]
    failed: Mapping[str, str]

    def __getitem__(self, clip: str) -> Samples:
        kept = self.samples.get(clip)
        return decoded(self.manifest, self.clips[clip])[0] if kept is None else kept


def decoded(manifest: Manifest, clip: Clip) -> tuple[Samples, str]:
    """A clip's samples and their SHA-256. Raises AudioError."""
    audio = decode(manifest.audio_path(clip), clip.start, clip.end, clip.channel, clip.duration)
    return audio.samples, audio.sha256


def record(manifest: Manifest, ids: Sequence[str], workers: int, advance: Advance) -> Recordings:
    """Decode all of these clips once: every one that cannot be is known before a model is loaded."""
    clips = {clip.id: clip for clip in manifest.clips}
    budget = int(psutil.virtual_memory().available * MEMORY_SHARE)
    samples: dict[str, Samples] = {}
    lengths: dict[str, int] = {}
    sha256: dict[str, str] = {}
    failed: dict[str, str] = {}
    total = 0

    def one(clip: str) -> tuple[Samples, str] | str:
        try:
            return decoded(manifest, clips[clip])
        except AudioError as error:
            return str(error)

    step = 16 * workers  # decoded clips that may wait
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        for first in range(0, len(ids), step):
            some = ids[first : first + step]
            for clip, found in zip(some, pool.map(one, some)):
                advance(1, 0.0)
                if isinstance(found, str):
                    failed[clip] = found
                    continue
                audio, sha256[clip] = found
                lengths[clip] = len(audio)
                total += audio.nbytes
                if total <= budget:
                    samples[clip] = audio
                else:
                    samples.clear()
    return Recordings(manifest, clips, samples, lengths, sha256, failed)
