"""What is still to be done: the clips of a manifest that a store does not have, in shards of a fixed size."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolkit.audio.clip import Clip
from toolkit.corpus.manifest import Manifest
from toolkit.features.layout import CLIPS_PER_SHARD
from toolkit.features.loading import source_of
from toolkit.features.origin import compare, refuse
from toolkit.features.shard import Source, is_there
from toolkit.features.store import Store

GPU_SHARD = 8  # times as many clips: seconds of its work, of which batches of minutes can be made


class Picked(Sequence[Clip]):
    """Some of the clips, taken when they are needed: 50,000 of them packed by a manifest stay packed."""

    def __init__(self, clips: Sequence[Clip], places: Sequence[int]) -> None:
        self._clips, self._places = clips, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return Picked(self._clips, self._places[place])
        return self._clips[self._places[place]]


@dataclass(frozen=True)
class Plan:
    """shards: the missing clips, so many at a time, in the manifest's order; done: how many are there.

    moved: those of them whose audio, now elsewhere, was compared and is the same, with where it is. changed: by id, the
    hash of audio that is another one than what is stored; these clips are among the missing.
    """

    shards: tuple[Sequence[Clip], ...]
    done: int
    moved: Mapping[str, Source] = field(default_factory=dict)
    changed: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        return sum(map(len, self.shards))


def plan(
    manifest: Manifest,
    store: Store,
    retry_failed: bool = False,
    on_gpu: bool = False,
    say: Callable[[str], None] = lambda sentence: None,
    changed: str = "refuse",
) -> Plan:
    """Compare manifest and store. A clip that failed is tried again when its file has changed, or on request.

    A stored clip whose file, path, segment or channel looks different is decoded again; if its audio is not what was
    stored, InputError names it: one id must not mean two recordings in one store. changed: "recompute" for clips that
    are to be computed again then, unless their audio cannot be had. Raises StoreError for a shard whose
    data file is missing or cut.
    """
    for sidecar in store.sidecars:
        is_there(store.folder, sidecar)

    def looks_other(clip: Clip, source: Source) -> bool:
        return source_of(manifest.audio_path(clip), clip) != source

    found = compare(manifest, store, looks_other, say)
    if changed != "recompute" or found.unreadable:
        refuse(found, store)

    def is_done(clip: Clip) -> bool:
        if clip.id in store.failed:
            return not retry_failed and store.failed_sources[clip.id] == source_of(manifest.audio_path(clip), clip)
        return clip.id in store.clips and clip.id not in found.others

    missing = array("L", (place for place, clip in enumerate(manifest.clips) if not is_done(clip)))
    # with frames, so many clips of a GPU's shard would take gigabytes of the host's memory
    size = CLIPS_PER_SHARD * (GPU_SHARD if on_gpu and not store.settings.get("frames") else 1)
    picked = tuple(Picked(manifest.clips, missing[i : i + size]) for i in range(0, len(missing), size))
    return Plan(picked, len(manifest.clips) - len(missing), found.moved, found.others)
