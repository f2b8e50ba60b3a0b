"""One caller taken out of the feature stores of a workspace."""

from collections.abc import Callable
from dataclasses import dataclass

from toolkit.features import shard
from toolkit.features.store import Store


@dataclass(frozen=True)
class Held:
    """What a store holds of the clips that go: stored and failed ones, the shards they are in, their audio's hashes."""

    clips: tuple[str, ...]
    shards: tuple[str, ...]
    audio_sha256: tuple[str, ...]


def held(store: Store, is_removed: Callable[[str], bool]) -> Held:
    """is_removed: whether the clip of an id is. Reads sidecars only. Raises StoreError for a damaged one."""
    clips: list[str] = []
    shards: list[str] = []
    hashes: list[str] = []
    for path in sorted(store.folder.glob("shard-*.json")):  # copies too, which nothing else reads: they name callers
        sidecar = shard.read_sidecar(path)
        stored = [clip for clip in sidecar.clips if is_removed(clip.id)]
        found = [clip.id for clip in stored] + [clip.id for clip in sidecar.failed if is_removed(clip.id)]
        if found:
            clips += found
            shards.append(path.name)
            hashes += [clip.audio_sha256 for clip in stored]
    return Held(tuple(clips), tuple(shards), tuple(hashes))


def purge(store: Store, is_removed: Callable[[str], bool]) -> None:
    """Commit again every shard with one of them. Interrupted, it resumes when called again.

    Raises StoreError for a damaged shard or a store that another run writes to, DiskFullError.
    """
    with store.writing() as writer:
        writer.remove(is_removed)
    store.refresh()
