"""The clips' audio: decoded in processes apart, kept in memory where it fits, else decoded again in every epoch."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from threading import Event

import numpy as np
import psutil

from toolkit.audio.clip import Clip
from toolkit.audio.decode import SAMPLE_RATE, Audio, Samples
from toolkit.audio.decode_pool import ahead, decode
from toolkit.core.errors import AudioError, MachineError
from toolkit.core.progress import Advance
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.material import covered
from toolkit.finetune import distributed

MEMORY_SHARE = 0.5  # of what is free when the decoding begins, of all processes on this host together


@dataclass(frozen=True)
class Recordings:
    """Decoded clips by id.

    samples: at 16 kHz, by id; empty where they do not fit into memory. lengths, sha256, flags, levels: of every clip
    that could be decoded: how many samples, their hash, what `audio.Audio` says of them, their standard deviation.
    failed: the reason, of every other clip.
    """

    manifest: Manifest
    clips: Mapping[str, Clip]
    samples: Mapping[str, Samples]
    lengths: Mapping[str, int]
    sha256: Mapping[str, str]
    flags: Mapping[str, tuple[str, ...]]
    levels: Mapping[str, float]
    failed: Mapping[str, str]

    def __getitem__(self, clip: str) -> Samples:
        """Raises MachineError for a clip that could be decoded before and cannot be any more."""
        kept = self.samples.get(clip)
        if kept is not None:
            return kept
        try:
            return decoded(self.manifest, self.clips[clip]).samples
        except AudioError as error:
            raise MachineError(f"Clip {clip!r} was whole when the run began, and now {error}") from None

    def audio_seconds(self, ids: Sequence[str]) -> float:
        """Of the audio that these clips hold together, what several of them hold counted once."""
        spans = []
        for clip in (self.clips[name] for name in ids):
            start = clip.start or 0.0
            spans.append(((clip.path, clip.channel), start, start + self.lengths[clip.id] / SAMPLE_RATE))
        return covered(spans)


def decoded(manifest: Manifest, clip: Clip, stop: Event | None = None) -> Audio:
    """A clip's audio. Raises AudioError."""
    return decode(manifest.audio_path(clip), clip.start, clip.end, clip.channel, clip.duration, stop)


def record(manifest: Manifest, ids: Sequence[str], workers: int, advance: Advance) -> Recordings:
    """Decode all of these clips once: every one that cannot be is known before a model is loaded."""
    clips = {clip.id: clip for clip in manifest.clips}
    budget = int(psutil.virtual_memory().available * MEMORY_SHARE / distributed.here())
    samples: dict[str, Samples] = {}
    lengths: dict[str, int] = {}
    sha256: dict[str, str] = {}
    flags: dict[str, tuple[str, ...]] = {}
    levels: dict[str, float] = {}
    failed: dict[str, str] = {}
    total = 0

    def one(clip: str, stop: Event) -> Audio | str:
        try:
            return decoded(manifest, clips[clip], stop)
        except AudioError as error:
            return str(error)

    def seconds(found: Audio | str) -> float:
        return 0.0 if isinstance(found, str) else found.seconds

    with closing(ahead(one, ids, workers, seconds)) as every:
        for clip, found in zip(ids, every):
            advance(1, 0.0)
            if isinstance(found, str):
                failed[clip] = found
                continue
            sha256[clip] = found.sha256
            lengths[clip] = len(found.samples)
            flags[clip] = found.flags
            levels[clip] = float(found.samples.std(dtype=np.float64))
            total += found.samples.nbytes
            if total <= budget:
                samples[clip] = found.samples
            else:
                samples.clear()
    return Recordings(manifest, clips, samples, lengths, sha256, flags, levels, failed)
