"""The stage `extract`: planned (all that can be refused, cheaply), then run."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.core.errors import InputError, one_of
from toolkit.core.options import names
from toolkit.core.ray_cluster import joined
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.place import Place, silent
from toolkit.corpus.windows import cut
from toolkit.extract.acoustic.registry import SETS
from toolkit.extract.acoustic.run import check
from toolkit.extract.filled import StandIn, fill
from toolkit.extract.layers import frame_layers
from toolkit.extract.options import CHANGED, ExtractOptions
from toolkit.extract.plan import plan as work
from toolkit.extract.ray import RayExecutor
from toolkit.extract.run import Extraction, LocalExecutor, extract
from toolkit.extract.setup import Session
from toolkit.extract.text import TextBackbone
from toolkit.features.layout import STORE_FILE
from toolkit.features.store import Store
from toolkit.features.texts import source_of
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.load import choose_device
from toolkit.models.own_code import OwnCheckpoint, locate_or_run
from toolkit.models.precision import check_name, ladder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Extractions:
    """What a pass over the corpus did, by the checkpoint's name in the order requested."""

    by_model: Mapping[str, Extraction]

    @property
    def cached(self) -> bool:
        """Whether nothing was new."""
        return not any(done.new for done in self.by_model.values())

    @property
    def folders(self) -> tuple[Path, ...]:
        """Of the stores."""
        return tuple(done.store.folder for done in self.by_model.values())

    @property
    def failed(self) -> dict[str, str]:
        """The reason by id of clips that cannot be decoded."""
        return {clip: reason for done in self.by_model.values() for clip, reason in done.failed.items()}

    def table(self) -> "pd.DataFrame":
        """A row a store: clips tried and there before, failures, layers, width, bytes and seconds."""
        import pandas as pd

        return pd.DataFrame(self.to_json()["stores"])

    def to_json(self) -> dict[str, Any]:
        return {
            "stores": [
                {
                    "model": name,
                    "store": done.store.folder.name,
                    "new": done.new,
                    "before": done.before,
                    "failed": len(done.failed),
                    "layers": len(done.store.layers),
                    "width": done.store.width,
                    "bytes": done.bytes,
                    "seconds": round(done.seconds, 1),
                    **{f"flag:{flag}": count for flag, count in sorted(done.flags.items())},
                }
                for name, done in self.by_model.items()
            ],
            "failed": self.failed,
        }

    def _repr_html_(self) -> str:
        return str(self.table().to_html(index=False))


@dataclass(frozen=True)
class Plan:
    """An extraction that nothing refuses.

    corpus: as it is, not yet cut into windows. checkpoints: what is run over it, acoustic sets and encoders
    of text among them.
    """

    place: Place
    options: ExtractOptions
    corpus: Manifest
    checkpoints: tuple[Checkpoint | StandIn, ...]

    def run(self, made: Callable[[str, Extraction], None] = lambda name, done: None) -> Extractions:
        """Compute what is missing. made: gets each backbone's name and what was done for it.

        Raises:
            DiskFullError: where there is no space; what was committed stays.
        """
        place, done = self.place, {}
        with ExitStack() as stack:
            ray = self.options.ray
            begin = partial(RayExecutor, stack.enter_context(joined(ray, place.say))) if ray else LocalExecutor
            for checkpoint in self.checkpoints:
                if not isinstance(checkpoint, Checkpoint):
                    done[checkpoint.name] = fill(
                        self.corpus, checkpoint, place.features, self.options, place.say, place.bar
                    )
                else:
                    done[checkpoint.name] = extract(
                        self.corpus, checkpoint, place.features, self.options, place.say, place.bar, begin
                    )
                made(checkpoint.name, done[checkpoint.name])
        return Extractions(done)

    def finished(self) -> tuple[Path, ...] | None:
        """The stores, where no clip is missing in any; nothing is computed."""
        corpus, folders = cut(self.corpus, self.options.windows), []
        for checkpoint in self.checkpoints:
            store = self._found(checkpoint)
            taken = corpus if isinstance(checkpoint, Checkpoint) else checkpoint.corpus(corpus)
            if store is None or work(taken, store, self.options.retry_failed, changed=self.options.changed).missing:
                return None
            folders.append(store.folder)
        return tuple(folders)

    def _found(self, checkpoint: Checkpoint | StandIn) -> Store | None:
        """The store that would be filled, if it exists."""
        if isinstance(checkpoint, Checkpoint):
            return Session(checkpoint, self.place.features, self.options, None, silent).found()
        folder = checkpoint.folder(self.place.features, self.options)
        return Store(folder) if (folder / STORE_FILE).exists() else None


def plan(place: Place, options: ExtractOptions) -> Plan:
    """Everything that can be refused of an extraction; no model is loaded, but code of the user's own is run.

    Raises:
        InputError: for a manifest, layers, frames or windows that do not fit.
        CheckpointError: for a backbone that is not there.
        MachineError: for an acoustic set whose library is not installed.
    """
    check_name(options.dtype)
    device = choose_device(options.device)
    if not options.ray:  # whose nodes may have other devices
        ladder(options.dtype, device)
    if options.changed not in CHANGED:
        raise InputError(one_of("--changed", options.changed, CHANGED))
    _ = options.windows
    corpus = place.corpus(cells=False)
    found = [
        check(name) if name in SETS else locate_or_run(name, place.models, place.say, text=True)
        for name in names(options.model)
    ]
    if any(isinstance(one, Checkpoint) and one.family.reads for one in found):
        corpus = place.corpus()
    elif options.text is not None or options.cut_text:
        option = "--text" if options.text is not None else "--cut-text"
        raise InputError(f"{option} has no effect: none of {', '.join(names(options.model))} reads text")
    checkpoints = tuple(_reading(one, corpus, place, options) if isinstance(one, Checkpoint) else one for one in found)
    stand_ins = [one for one in checkpoints if not isinstance(one, Checkpoint)]
    if len(stand_ins) == len(checkpoints):
        check_text_options(stand_ins[0], options)
    for checkpoint in checkpoints:  # what does not fit one of them is refused before the first is run
        if isinstance(checkpoint, Checkpoint):
            frame_layers(checkpoint, options)
        elif isinstance(checkpoint, TextBackbone):
            checkpoint.corpus(cut(corpus, options.windows))
        if options.ray and isinstance(checkpoint, OwnCheckpoint):
            raise InputError(f"--ray: {checkpoint.name} is code of your own, which runs in this process alone")
    return Plan(place, options, corpus, checkpoints)


def _reading(checkpoint: Checkpoint, corpus: Manifest, place: Place, options: ExtractOptions) -> Checkpoint | StandIn:
    """The backbone itself, or with the texts that it reads."""
    if not checkpoint.family.reads:
        return checkpoint
    source = source_of(corpus.columns, place.features, options.text)
    return TextBackbone(checkpoint, source, options.device, options.cut_text)


def check_text_options(one: StandIn, options: ExtractOptions) -> None:
    """Raises InputError for an option that means nothing without a speech backbone."""
    given = {
        "--layers": options.layers,
        "--frames": options.frames,
        "--statistics": options.statistics,
        "--decoder": options.decoder,
        "--ray": options.ray,
        "--context": options.context != "full",
        f"--dtype {options.dtype}": options.dtype not in ("auto", "float32"),
        "--bound": options.bound != ExtractOptions.bound,
    }
    for option, value in given.items():
        if value:
            raise InputError(f"{option}: {one.name} {one.idle}; extract it without")
