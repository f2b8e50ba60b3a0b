"""What the user may choose of a probing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from toolkit.core.options import Names, Offered, Rule, names
from toolkit.corpus.options import KIND, LABELS, LEVELS, Labelled

TRIALS = 30


# What --unit cannot be combined with
WITHOUT_UNITS: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (lambda opts: opts.split_by == "clip", "keeps a unit's clips together; leave out --split-by clip"),
    (lambda opts: any("+" in name for name in names(opts.model)), "reads one store; leave out --model A+B"),
    (lambda opts: opts.ray is not None, "is probed on this machine; leave out --ray"),
    (lambda opts: "loudness" in names(opts.nuisance), "has no loudness of its own; leave out --nuisance loudness"),
)


@dataclass(frozen=True, kw_only=True)
class ProbeOptions(Labelled):
    """Of `probe`: classifiers on every layer of every store that is named."""

    model: Annotated[Names, Offered(short="-m", repeated=True)]
    """Whose features: a backbone, a store's folder, all, or A+B for both fused. May be repeated."""
    store: Annotated[Names, Offered(repeated=True, shown="the only one")] = None
    """Of a backbone's several stores: this one, by its folder's name or the beginning of it. May be repeated."""
    target: Annotated[str, Offered(short="-t")]
    """A label column, several 0/1 columns with commas, or hotline (its 11)."""
    probe: Annotated[Names, Offered(repeated=True, shown="linear")] = None
    """Which classifier searches every layer, or all. May be repeated."""
    unit: Annotated[str | None, Offered(shown="each clip by itself")] = None
    """One prediction for each value of this column: recording, speaker, call ..."""
    unit_label: Annotated[str | None, Offered(shown="refuse clips that differ")] = None
    """Of a unit whose clips differ in the target: any (of 0 and 1), first, max or mean."""
    fusion: Annotated[Names, Offered(repeated=True, shown="early")] = None
    """How A+B are joined: early (columns side by side) or late (what each says). May be repeated."""
    loss: Annotated[str | None, Offered(shown="mse")] = None
    """Of --kind regression with mlp or mix: what teaches them, mse or ccc (1 - CCC)."""
    trials: Annotated[int | None, Offered(least=1, shown=str(TRIALS))] = None
    """Optuna trials per layer and round."""
    minutes: Annotated[float | None, Offered(least=0.0)] = None
    """In place of --trials: minutes of search for each run; not reproducible."""
    folds: str = "5"
    """How many, or all: leave one speaker out. Ignored where the manifest has a split column."""
    inner_folds: Annotated[int, Offered(least=1)] = 1
    """Folds that judge each setting, held out in turn; 1 is development alone, K - 1 most."""
    group_by: str = "speaker"
    """The column whose values are never in both training and test."""
    split_by: str = "group"
    """group; or clip, which lets speakers leak and measures by how much that inflates the score."""
    control: Annotated[Names, Offered(repeated=True)] = None
    """shuffled (labels, by speaker) or random (untrained weights). May be repeated."""
    shuffles: Annotated[int, Offered(least=0)] = 20
    """Of --control shuffled: shuffles for a permutation p-value, 0 for none."""
    nuisance: Names = None
    """What else the layers know: duration, loudness, columns (speaker,sex), with commas."""
    online: Annotated[bool, Offered(switch=True)] = False
    """Code length of every layer, and a learning curve over callers."""
    seed: int = 0
    """Of the folds, the search and the shuffling."""
    seeds: Annotated[int, Offered(least=1)] = 1
    """Runs on the same folds, each with a training seed of its own, from --seed on."""
    repeats: Annotated[int, Offered(least=1)] = 1
    """Deals of the folds, from --seed on, each with all its runs."""
    workers: Annotated[int | None, Offered(least=1, shown="cores")] = None
    """Fits at a time."""
    device: str = "cpu"
    """cpu or cuda; for lightgbm its device_type: cpu, gpu or cuda, as it was built."""
    name: Annotated[str | None, Offered(shown="none")] = None
    """What the folders of new runs begin with; --from and compare find a run by it."""
    note: Annotated[Names, Offered(repeated=True)] = None
    """A sentence that the report shows. May be repeated."""
    language: str = "en"
    """Of the page and its figures: en; or zh, next to the English ones."""
    ray: Annotated[str | None, Offered(shown="this process alone")] = None
    """Run on Ray: local (this host, all its GPUs), or HOST:PORT of a cluster's head. See docs/cluster.md."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        KIND,
        LEVELS,
        LABELS,
        Rule("loss", lambda opts: opts.kind != "regression" or not {"mlp", "mix", "all"} & {*names(opts.probe)},
             "has no effect without --kind regression and --probe mlp or mix"),
        Rule("unit_label", lambda opts: opts.unit is None, "has no effect without --unit, whose label it makes"),
        *(Rule("unit", idle, because) for idle, because in WITHOUT_UNITS),
        Rule("trials", lambda opts: opts.minutes is not None, "and --minutes are two ways to end a search; give one"),
        Rule("minutes", lambda opts: opts.ray is not None,
             "ends a search by this machine's clock; with --ray, give --trials"),
        Rule("fusion", lambda opts: not any("+" in name for name in names(opts.model)),
             "has no effect without --model A+B, which names the stores to fuse"),
        Rule("device", lambda opts: opts.ray is not None and opts.device != "cpu",
             "cannot go with --ray: blocks run on the nodes' cores"),
        Rule("shuffles", lambda opts: "shuffled" not in names(opts.control),
             "has no effect without --control shuffled"),
        Rule("workers", lambda opts: opts.ray is not None and not _works_here(opts),
             "has no effect with --ray, which takes every core of the nodes"),
    )  # fmt: skip


def _works_here(opts: ProbeOptions) -> bool:
    """Whether this machine's cores have work next to what Ray's nodes do."""
    return ("shuffled" in names(opts.control) and opts.shuffles > 0) or "loudness" in names(opts.nuisance)
