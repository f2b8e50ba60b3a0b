"""The one writer of a store."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from toolkit.features import shard
from toolkit.features.layout import SIDECARS


class Writer:
    """Commits shards to a folder under the numbers it was given: those that the store it holds has free, in order."""

    def __init__(self, folder: Path, numbers: Iterator[int]) -> None:
        self._folder, self.numbers = folder, numbers

    def commit(self, content: shard.ShardContent) -> shard.Sidecar:
        """Make a shard durable. Raises DiskFullError, StoreError."""
        return shard.write(self._folder, next(self.numbers), content)

    def remove(self, is_removed: Callable[[str], bool]) -> None:
        """Commit again every shard with a clip that `is_removed`, by id. Interrupted, it resumes when called again."""
        for path in sorted(
            self._folder.glob("shard-*.json")
        ):  # copies too, which nothing else reads: they name callers
            sidecar = shard.read_sidecar(path)
            if any(map(is_removed, (*(clip.id for clip in sidecar.clips), *(clip.id for clip in sidecar.failed)))):
                shard.without(path, is_removed)

    def renew(self, sources: Mapping[str, shard.Source]) -> None:
        """Remember where the audio of these clips is now, so that it is not compared again at the next start."""
        for path in sorted(self._folder.glob(SIDECARS)) if sources else ():
            shard.renew(path, sources)
