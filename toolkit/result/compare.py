"""Frozen against fine-tuned on the same folds: which runs belong together, their scores and paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from toolkit.errors import InputError, ToolkitError
from toolkit.result import beside, paired, stats
from toolkit.result import run as result_run
from toolkit.result.calibration import Calibration, calibrate
from toolkit.result.groups import Part, Spread, parts, spread
from toolkit.result.metrics import METRICS, RANKED
from toolkit.result.run import TUNED, Run
from toolkit.result.stats import Evaluation, Score

PAGE = result_run.REPORT  # of a comparison's folder
SHOWN = ("unweighted_average_recall", "f1_macro", "f1_weighted", "f1_both_sides", "accuracy", "exact_match", "roc_auc")
COSTS = ("trained_parameters", "seconds", "extraction_seconds", "peak_memory_bytes", "bytes_on_disk")


@dataclass(frozen=True)
class Line:
    """One run. folder: its name. layers: what the rounds ended at or chose, in how many rounds.

    development: mean over the rounds. behind: this run minus the best frozen probe in the headline metric, on the same
    resamples, and p_value corrected by Holm for all of them; None for that probe itself and where other clips were
    tested, which `why` then says.
    """

    folder: str
    run: Run
    evaluation: Evaluation
    behind: Score | None
    p_value: float | None
    why: str = ""

    @property
    def way(self) -> str:
        """How the backbone was trained; for a frozen one the probe."""
        return self.run.probe.removeprefix(TUNED)

    @property
    def score(self) -> Score:
        return self.evaluation.overall[self.run.metric]

    @cached_property
    def curve(self) -> dict[str, Score]:
        """Each layer's own score."""
        return {point.layer: point.test for point in result_run.curve(self.run)}

    @cached_property
    def calibration(self) -> Calibration | None:
        return calibrate(self.run.predictions)

    @cached_property
    def spread(self) -> Spread:
        return spread(self.run.predictions)

    def cost(self, name: str) -> float | None:
        """One of COSTS, or "audio_seconds"; None where the run did not record it."""
        value = self.run.provenance.get(name)
        return float(value) if isinstance(value, int | float) else None

    @property
    def seconds(self) -> float | None:
        """From the recordings to the predictions: training; or, of a frozen probe, extraction and search."""
        own, extraction = self.cost("seconds"), 0.0 if self.run.tuned else self.cost("extraction_seconds")
        return None if own is None or extraction is None else own + extraction

    @property
    def throughput(self) -> float | None:
        """Hours of recordings over hours of computing."""
        audio, seconds = self.cost("audio_seconds"), self.seconds
        return audio / seconds if audio is not None and seconds else None


@dataclass(frozen=True)
class Comparison:
    """Runs of one task on the same folds, the best first by development within frozen and fine-tuned.

    frozen, tuned: the best of each on development, None where there is none. columns: of the manifest, by name, each
    clip's cell by its id: groups whose scores are held against each other.
    """

    lines: tuple[Line, ...]
    frozen: Line | None
    tuned: Line | None
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def run(self) -> Run:
        return self.lines[0].run

    @property
    def best(self) -> tuple[Line, ...]:
        """The best frozen and the best fine-tuned run, those of the two that are there."""
        return tuple(line for line in (self.frozen, self.tuned) if line is not None)

    @cached_property
    def gaps(self) -> dict[str, list[tuple[Line, list[Part]]]]:
        """By column: of each of the best, the score within each of the column's groups."""
        return {
            column: [
                (line, parts(line.run.predictions, [cells[clip] for clip in line.run.predictions.ids]))
                for line in self.best
            ]
            for column, cells in self.columns.items()
        }

    @property
    def has_callers(self) -> bool:
        """Whether there is more than one group of clips to hold against each other."""
        predictions = self.run.predictions
        return predictions.groups != predictions.ids and len(set(predictions.groups)) > 1

    @property
    def metrics(self) -> list[str]:
        """The metrics that a table shows, the headline first."""
        run = self.run
        names = [name for name in SHOWN if name in RANKED or run.task.kind in METRICS[name].kinds]
        return sorted(names, key=lambda name: name != run.metric)


def key(run: Run) -> tuple[Any, ...]:
    """What two runs must share: the task, and the folds before any clip was left out."""
    folds = run.provenance.get("folds", run.folds.sha256)
    return (run.task, run.metric, folds)


def gather(result: Path, named: Sequence[Path]) -> tuple[list[dict[str, Run]], list[str]]:
    """Runs by folder name, grouped by what can be compared; and a sentence for each that is left out.

    named: folders; empty for every finished run in `result` but the controls. Raises InputError for named runs that do
    not belong together, StoreError for a damaged one.
    """
    folders = list(named) or sorted(path.parent for path in result.glob(f"*/{result_run.RUN}"))
    runs = {folder.name: result_run.read(folder) for folder in folders}
    if not runs:
        raise InputError("No finished run to compare; `toolkit probe` and `toolkit finetune` make them")
    groups: dict[tuple[Any, ...], dict[str, Run]] = {}
    if named:
        (first, run), *others = runs.items()
        for name, other in others:
            if other.task != run.task:
                raise InputError(f"{name} is of the task {other.task.name!r}, {first} of {run.task.name!r}")
            if key(other) != key(run):
                raise InputError(f"{name} was made on other folds than {first}; runs are compared on the same ones")
        return [runs], []
    controls = {one.folder for folder in folders for one in beside.read(folder) if one.kind in ("shuffled", "random")}
    left_out = []
    for name, run in runs.items():
        if name in controls:
            left_out.append(f"{name} is a control")
        else:
            groups.setdefault(key(run), {})[name] = run
    alone = [group for group in groups.values() if len(group) == 1]
    left_out += [f"{name} is the only run of its task on its folds" for group in alone for name in group]
    return [group for group in groups.values() if len(group) > 1], left_out


def compare(runs: Mapping[str, Run], columns: Mapping[str, Mapping[str, str]] | None = None) -> Comparison:
    """Compare runs of one group of `gather`. columns: as in Comparison. Raises ToolkitError for other runs."""
    if len({key(run) for run in runs.values()}) != 1:
        raise ToolkitError("A comparison needs runs of one task on the same folds")
    ordered = sorted(runs.items(), key=lambda pair: (pair[1].tuned, -_development(pair[1])))
    frozen = None if ordered[0][1].tuned else 0
    compared = paired.against(frozen, [run.predictions for _, run in ordered], ordered[0][1].metric)
    lines = tuple(
        Line(name, run, stats.evaluate(run.predictions), one.score, one.p_value, one.why)
        for (name, run), one in zip(ordered, compared)
    )
    best = next((line for line in lines if not line.run.tuned), None)
    return Comparison(lines, best, next((line for line in lines if line.run.tuned), None), columns or {})


def _development(run: Run) -> float:
    return -1.0 if run.development_mean is None else run.development_mean
