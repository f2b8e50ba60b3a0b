"""What is still to be done: the clips of a manifest that a store does not have, in shards of a fixed size."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from toolkit.audio.clip import Clip
from toolkit.core.artifacts import cores
from toolkit.core.errors import InputError
from toolkit.corpus.manifest import Manifest
from toolkit.extract.loading import decode_all, source_of
from toolkit.features.layout import CLIPS_PER_SHARD
from toolkit.features.shard import Source, is_there, path_mark
from toolkit.features.store import Store

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
    """shards: the missing clips, so many at a time, in the manifest's order; done: how many are there.

    moved: those of them whose audio, now elsewhere, was compared and is the same, with where it is.
    """

    shards: tuple[Sequence[Clip], ...]
    done: int
    moved: Mapping[str, Source] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        return sum(map(len, self.shards))


def plan(
    manifest: Manifest,
    store: Store,
    retry_failed: bool = False,
    on_gpu: bool = False,
    say: Callable[[str], None] = lambda sentence: None,
) -> Plan:
    """Compare manifest and store. A clip that failed is tried again when its file has changed, or on request.

    A stored clip whose file, path, segment or channel looks different is decoded again; if its audio is not what was
    stored, InputError names it: one id must not mean two recordings in one store. Raises StoreError for a shard whose
    data file is gone or cut.
    """
    for sidecar in store.sidecars:
        is_there(store.folder, sidecar)

    def looks_other(clip: Clip, source: Source) -> bool:
        return source_of(manifest.audio_path(clip), clip) != source

    moved = refuse_others(manifest, store, looks_other, say)

    def is_done(clip: Clip) -> bool:
        if clip.id in store.failed:
            return not retry_failed and store.failed_sources[clip.id] == source_of(manifest.audio_path(clip), clip)
        return clip.id in store.clips

    missing = array("L", (place for place, clip in enumerate(manifest.clips) if not is_done(clip)))
    # with frames, so many clips of a GPU's shard would take gigabytes of the host's memory
    size = CLIPS_PER_SHARD * (GPU_SHARD if on_gpu and not store.settings.get("frames") else 1)
    picked = tuple(Picked(manifest.clips, missing[i : i + size]) for i in range(0, len(missing), size))
    return Plan(picked, len(manifest.clips) - len(missing), moved)


def names_other(clip: Clip, source: Source) -> bool:
    """Whether the manifest names another path, segment or channel than what is stored came from; no file is asked."""
    named, marked = (clip.start, clip.end, clip.channel), source[6:]  # a store of an earlier version has no mark
    return source[2:5] != named or marked not in ((), (path_mark(clip.path),))


def refuse_others(
    manifest: Manifest, store: Store, looks_other: Callable[[Clip, Source], bool], say: Callable[[str], None]
) -> dict[str, Source]:
    """Decode the clips of which `looks_other` than what is stored under their ids.

    Returns where their audio is now. Raises InputError where it is another one, or cannot be had.
    """
    stored = store.clips
    doubtful = [clip for clip in manifest.clips if clip.id in stored and looks_other(clip, stored[clip.id].source)]
    if not doubtful:
        return {}
    say(f"{len(doubtful):,} clips come from other or newer files than what {store.folder.name} holds: comparing audio")
    others, reasons, moved = [], [], {}
    with closing(decode_all(manifest, doubtful, cores())) as decoded:
        for item in decoded:
            if item.audio is None or item.audio.sha256 != stored[item.clip.id].audio_sha256:
                others.append(item.clip.id)
                reasons += [f" ({item.clip.id!r} {item.reason})"] if item.reason else []
            elif item.source is not None:
                moved[item.clip.id] = item.source
    if others:
        raise InputError(
            f"The audio of {_some(others)} is not what {store.folder.name} holds under that id{''.join(reasons[:1])}. "
            "Restore it, give the new recordings new ids, or use another --workspace"
        )
    return moved


def _some(names: Sequence[str], most: int = 3) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + rest
