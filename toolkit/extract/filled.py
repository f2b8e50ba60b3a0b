"""A store filled by something other than a speech backbone: acoustic measures, an encoder of text, a transcriber."""

import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, ClassVar, Protocol

from toolkit.core.progress import Advance, bar
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.windows import cut
from toolkit.extract.options import Filling
from toolkit.extract.plan import Plan
from toolkit.extract.run import Extraction, counted, due
from toolkit.features.shard import ShardContent
from toolkit.features.store import Store


class Filler(Protocol):
    """What fills a store."""

    @property
    def name(self) -> str: ...
    def corpus(self, manifest: Manifest) -> Manifest:
        """The clips as it takes them. Raises InputError where it cannot."""
        ...

    def store(self, features: Path, options: Any) -> Store:
        """The one to fill, made if it is not there."""
        ...

    def shards(
        self, manifest: Manifest, todo: Plan, options: Any, say: Callable[[str], None], advance: Advance
    ) -> Generator[ShardContent, None, None]:
        """What is missing, in shards. Clips that fail do not raise: they are recorded."""
        ...


class StandIn(Filler, Protocol):
    """What `--model` takes in the place of a checkpoint.

    untuned: why it is not fine-tuned. idle: why options of a backbone mean nothing to it.
    """

    untuned: ClassVar[str]
    idle: ClassVar[str]

    def folder(self, features: Path, options: Any) -> Path:
        """Where `store` is, or will be."""
        ...


def fill(
    manifest: Manifest,
    filler: Filler,
    features: Path,
    options: Filling,
    say: Callable[[str], None] = lambda sentence: None,
    show: Callable[[str, int, str], AbstractContextManager[Advance]] = bar,
    doing: str = "extract",
) -> Extraction:
    """Compute what is missing of a manifest's clips and commit it; arguments as `extract.run.extract` takes them.

    Raises InputError, CheckpointError, StoreError, DiskFullError, MachineError.
    """
    began = time.monotonic()
    manifest = filler.corpus(cut(manifest, options.windows))
    store = filler.store(features, options)
    with store.writing() as writer:
        what = "text or audio" if "text" in store.settings else "audio"
        todo = due(manifest, store, writer, options, say, what=what)
        before = len(store.clips) + len(store.failed)
        if todo.done:
            say(f"{todo.done:,} of {len(manifest.clips):,} clips are in {store.folder.name} already")
        if todo.missing:
            store.refresh()
            with (
                show(f"{doing} {filler.name}", todo.missing, "clips") as advance,
                closing(filler.shards(manifest, todo, options, say, advance)) as shards,
            ):
                for content in shards:
                    writer.commit(content)
    done = counted(manifest, store, todo, before, began)
    store.refresh()
    return done
