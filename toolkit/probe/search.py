"""What the search spaces of probes share. `toolkit probe --explain` prints them."""

from collections.abc import Sequence

from toolkit.corpus.labels import Task
from toolkit.features.layout import STATISTICS as KEPT
from toolkit.probe.protocol import OneOf, Setting, Space
from toolkit.probe.registry import PROBES

BATCH = 10  # trials that Optuna proposes together; part of the protocol: the proposals depend on it
STATISTICS = OneOf(("mean", "std", "both"))
CLASS_WEIGHTS = OneOf(("none", "balanced"))
WIDTHS = (32, 64, 128)  # of an mlp's hidden layers
NOISY_OR = "noisy-or"
AGGREGATIONS = OneOf(("mean", "top-1", "top-3", "top-10", NOISY_OR))
MEANINGS = {
    "learning_rate": "of AdamW, or the weight of a new tree",
    "weight_decay": "of AdamW, on weights, not on biases",
    "statistics": "how a clip is summarised: the mean over its frames, their standard deviation, or both; for a unit "
    "(--unit) those over its clips, or their max; or what else the store keeps (extract --statistics)",
    "class_weights": "balanced: every class weighs the same in the loss, however rare",
}


def weight_of(block: str) -> str:
    """The parameter of a fusion that says how much a block of features counts."""
    return f"weight:{block}"


def explain(probe: str | None = None) -> str:
    """The search space of one probe, or of all, as text for a terminal."""
    lines = []
    for name in PROBES if probe is None else [probe]:
        row = PROBES[name]
        lines.append(name)
        for parameter, values in row.space.items():
            meaning = row.meanings.get(parameter) or MEANINGS.get(parameter, "")
            lines.append(f"  {parameter:<16} {values!s:<32} {meaning}".rstrip())
    lines.append(f"Optuna's TPE proposes {BATCH} settings at a time; the first {BATCH} are random.")
    lines.append("A lightgbm trial is given up where, tree for tree, its development loss is above the others' median.")
    return "\n".join(lines)


def narrowed(space: Space, statistics: Sequence[str], task: Task, loss: str = "") -> Space:
    """The space on layers with these statistics for this task.

    Where there is no std, a clip is its mean; others than mean and std are searched too. Scales have no class weights,
    and where a network is taught numbers its loss is the one that was chosen.
    """
    narrow = dict(space) if "std" in statistics else {**space, "statistics": OneOf(("mean",))}
    more = [name for name in statistics if name not in KEPT]
    if more and narrow["statistics"] == STATISTICS:
        narrow["statistics"] = OneOf((*STATISTICS.values, *more))
    if task.ordinal or task.regression:
        narrow["class_weights"] = OneOf(("none",))
    if task.regression and "aggregation" in narrow:
        narrow["aggregation"] = OneOf(tuple(one for one in AGGREGATIONS.values if one != NOISY_OR))
    if task.regression and loss:
        narrow["loss"] = OneOf((loss,))
    return narrow


def numbers(settings: Sequence[Setting], name: str) -> list[float]:
    """A parameter of all settings, in their order."""
    return [float(setting[name]) for setting in settings]


def halves(statistics: str) -> tuple[str, ...]:
    """What a network reads of its layer, in this order."""
    return KEPT if statistics == "both" else (statistics,)


def readers(settings: Sequence[Setting]) -> dict[str, list[int]]:
    """By "mean", "std" and others: the settings that read it, where there are any."""
    read = [halves(str(setting["statistics"])) for setting in settings]
    every = dict.fromkeys((*KEPT, *(half for each in read for half in each)))
    rows = {half: [row for row, each in enumerate(read) if half in each] for half in every}
    return {half: mine for half, mine in rows.items() if mine}
