"""What is still to be done: the clips of a manifest that a store does not have, in shards of a fixed size."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.decoders import decode
from toolkit.errors import AudioError, InputError
from toolkit.features.layout import CLIPS_PER_SHARD
from toolkit.features.shard import Source
from toolkit.features.store import Store
from toolkit.manifest import Clip, Manifest

GPU_SHARD = 8  # times as many clips: seconds of its work, of which batches of minutes can be made


class Picked(Sequence[Clip]):
    """Some of the clips, taken when they are asked for: 50,000 of them packed by a manifest stay packed."""

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
    """shards: the missing clips, so many at a time, in the manifest's order; done: how many are there."""

    shards: tuple[Sequence[Clip], ...]
    done: int

    @property
    def missing(self) -> int:
        return sum(map(len, self.shards))


def source_of(path: Path, clip: Clip) -> Source | None:
    """Cheap evidence of a clip's audio; None when the file cannot be reached."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns, clip.start, clip.end, clip.channel)


def plan(manifest: Manifest, store: Store, retry_failed: bool = False, on_gpu: bool = False) -> Plan:
    """Compare manifest and store. A clip that failed is tried again when its file has changed, or on request.

    A stored clip whose file, segment or channel looks different is decoded again; if its audio is not what was
    stored, InputError names it: one id must not mean two recordings in one store.
    """
    changed = [clip.id for clip in manifest.clips if clip.id in store.clips and not _unchanged(manifest, clip, store)]
    if changed:
        raise InputError(
            f"The audio of {_some(changed)} is not what {store.folder.name} holds under that id. Restore it, give the "
            "new recordings new ids, or use another --workspace"
        )

    def is_done(clip: Clip) -> bool:
        if clip.id in store.failed:
            return not retry_failed and store.failed_sources[clip.id] == source_of(manifest.audio_path(clip), clip)
        return clip.id in store.clips

    missing = array("L", (place for place, clip in enumerate(manifest.clips) if not is_done(clip)))
    size = CLIPS_PER_SHARD * (GPU_SHARD if on_gpu else 1)
    picked = tuple(Picked(manifest.clips, missing[i : i + size]) for i in range(0, len(missing), size))
    return Plan(picked, len(manifest.clips) - len(missing))


def _unchanged(manifest: Manifest, clip: Clip, store: Store) -> bool:
    stored = store.clips[clip.id]
    path = manifest.audio_path(clip)
    if source_of(path, clip) == stored.source:
        return True
    try:
        return decode(path, clip.start, clip.end, clip.channel).sha256 == stored.audio_sha256
    except AudioError:
        return False


def _some(names: Sequence[str], most: int = 3) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + rest
