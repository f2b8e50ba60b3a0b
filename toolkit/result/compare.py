"""Frozen against fine-tuned on the same folds: which runs belong together, their scores and paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from toolkit.core.errors import InputError, ToolkitError
from toolkit.result import cut, kinds, outside, paired, run_files, stats
from toolkit.result import run as result_run
from toolkit.result.calibration import Calibration, calibrate
from toolkit.result.controls import read as read_controls
from toolkit.result.jackknife import Score
from toolkit.result.metrics import of_task
from toolkit.result.paired import NOTHING, Difference
from toolkit.result.run import TUNED, Choice, Run, layers_chosen
from toolkit.result.series import known_scores
from toolkit.result.stats import Evaluation
from toolkit.result.subgroups import Part, Spread, parts, spread

PAGE = result_run.REPORT  # of a comparison's folder
SHOWN = (
    "unweighted_average_recall", "f1_macro", "f1_weighted", "f1_both_sides", "quadratic_weighted_kappa",
    "macro_absolute_error", "accuracy_within_one", "accuracy", "exact_match", "roc_auc", "concordance_correlation",
    "pearson", "spearman", "mean_absolute_error", "root_mean_squared_error", "r_squared",
)  # fmt: skip
COSTS = ("trained_parameters", "seconds", "extraction_seconds", "peak_memory_bytes", "bytes_on_disk")


@dataclass(frozen=True)
class Line:
    """One run, or a series of runs that differ in their seed or in how the folds were dealt out, averaged.

    runs: by folder name. difference: this line minus the best frozen probe in the headline metric; empty for that
    probe itself and where other clips were tested, which `why` then says.
    """

    runs: Mapping[str, Run]
    evaluation: Evaluation
    difference: Difference = NOTHING
    why: str = ""

    @property
    def run(self) -> Run:
        """The first of them, whose labels, confusion and calibration are shown."""
        return next(iter(self.runs.values()))

    @property
    def folder(self) -> str:
        return next(iter(self.runs))

    @property
    def kind(self) -> Literal["frozen", "tuned", "outside"]:
        """What was compared: a probe, a fine-tuned model, or predictions that were made elsewhere."""
        return "tuned" if self.run.tuned else "frozen" if self.run.frozen else "outside"

    @property
    def train_mode(self) -> str:
        """How the backbone was trained; for a frozen one the probe."""
        return self.run.probe.removeprefix(TUNED)

    @property
    def score(self) -> Score:
        return self.evaluation.overall[self.run.metric]

    @property
    def spread_of_runs(self) -> float | None:
        """The standard deviation of the headline metric over the runs of a series; None for a single run, and where it
        is undefined in one."""
        scores = known_scores(list(self.runs.values()))
        return float(np.std(scores, ddof=1)) if 1 < len(scores) == len(self.runs) else None

    @property
    def development(self) -> float | None:
        """The mean over rounds and runs of the development score, which chose, and so is optimistic."""
        values = [run.development_mean for run in self.runs.values() if run.development_mean is not None]
        return float(np.mean(values)) if values else None

    @property
    def choices(self) -> list[Choice]:
        """Of the rounds of all runs."""
        return [choice for run in self.runs.values() for choice in run.choices]

    @property
    def layers_chosen(self) -> str:
        """What the rounds of all runs chose or ended at, and in how many: "encoder.3 (4), encoder.2 (1)"."""
        return layers_chosen(self.choices)

    @cached_property
    def curve(self) -> dict[str, Score]:
        """Each layer's own score."""
        runs = list(self.runs.values())
        return {layer: stats.headline_score(*(run.layers[layer] for run in runs if layer in run.layers))
                for layer in runs[0].layers}  # fmt: skip

    @cached_property
    def calibration(self) -> Calibration | None:
        return calibrate(self.run.predictions)

    @cached_property
    def spread(self) -> Spread:
        return spread(self.run.predictions)

    def cost(self, name: str) -> float | None:
        """One of COSTS, or "audio_seconds", the mean over the runs; None where one did not record it."""
        values = [run.provenance.get(name) for run in self.runs.values()]
        known = [float(value) for value in values if isinstance(value, int | float)]
        return float(np.mean(known)) if len(known) == len(values) else None

    @property
    def seconds(self) -> float | None:
        """From the recordings to the predictions: training; or, of a frozen probe, extraction and search."""
        fitting, extraction = self.cost("seconds"), 0.0 if self.run.tuned else self.cost("extraction_seconds")
        return None if fitting is None or extraction is None else fitting + extraction

    @property
    def throughput(self) -> float | None:
        """Hours of recordings over hours of computing."""
        audio, seconds = self.cost("audio_seconds"), self.seconds
        return audio / seconds if audio is not None and seconds else None


@dataclass(frozen=True)
class Comparison:
    """Runs of one task on the same folds, the best first by development within frozen and fine-tuned.

    frozen, tuned: the best of each on development, None where there is none. columns: of the manifest, by name, each
    clip's cell by its id: groups whose scores are compared.
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
    def probes_alone(self) -> bool:
        """Whether nothing is fine-tuned or from outside."""
        return all(line.kind == "frozen" for line in self.lines)

    @property
    def has_callers(self) -> bool:
        """Whether there is more than one group of clips to hold against each other."""
        predictions = self.run.predictions
        return predictions.groups != predictions.ids and len(set(predictions.groups)) > 1

    @property
    def metrics(self) -> list[str]:
        """The metrics that a table shows, the headline first."""
        run = self.run
        known = {*of_task(run.task), *kinds.of(run.task).ranked}
        names = [name for name in SHOWN if name in known]
        return sorted(names, key=lambda name: name != run.metric)


def key(runs: Sequence[Run]) -> tuple[Any, ...]:
    """What two lines must share: the task, and the folds of their runs before any clip was left out."""
    folds = {str(run.provenance.get("folds", run.folds.sha256)) for run in runs}
    return (runs[0].task, runs[0].metric, tuple(sorted(folds)))


def series(runs: Mapping[str, Run]) -> list[dict[str, Run]]:
    """Runs by folder name, those of one series together, in the order given."""
    found: dict[Any, dict[str, Run]] = {}
    for name, run in runs.items():
        found.setdefault(run.provenance.get("series", name), {})[name] = run
    return list(found.values())


def gather(result: Path, named: Sequence[Path], files: Sequence[Path] = ()) -> tuple[list[dict[str, Run]], list[str]]:
    """Runs by folder name, grouped by what can be compared; and a sentence for each that is left out.

    named: folders; empty for every finished run in `result` but the controls. files: predictions that were made
    elsewhere, for the clips of the runs named. Raises InputError for named runs that do not belong together,
    PredictionsError for a file that does not fit them, StoreError for a damaged run.
    """
    if files and not named:
        raise InputError(f"{files[0].name} is compared with a run of yours; name one or more of `toolkit runs`")
    folders = list(named) or sorted(path.parent for path in result.glob(f"*/{result_run.RUN}"))
    runs = {folder.name: run_files.read(folder) for folder in folders}
    if not runs:
        raise InputError("No finished run to compare; `toolkit probe` and `toolkit finetune` make them")
    if named:
        scale = next((one.task.kind for one in runs.values() if one.task.kind in ("ordinal", "regression")), "")
        runs = cut.alike(runs)
        first, *others = series(runs)
        run = next(iter(first.values()))
        for other in others:
            (name, one), before = next(iter(other.items())), next(iter(first))
            if one.task != run.task:
                raise InputError(f"{name} is of the task {one.task.name!r}, {before} of {run.task.name!r}")
            if key(list(other.values())) != key(list(first.values())):
                raise InputError(
                    f"{name} was made on other folds than {before}; runs are compared on the same ones"
                    + (f"; --kind {scale} with --threshold deals those of the scale" if scale else "")
                )
        reference = next(iter(runs.values()))
        if files and not any(one.frozen for one in runs.values()):
            raise InputError(f"{files[0].name} is compared with the best frozen probe; name a probe's run")
        return [runs | {file.name: outside.read(file, reference) for file in files}], []
    controls = {one.folder for folder in folders for one in read_controls(folder) if one.kind in ("shuffled", "random")}
    left_out = [f"{name} is a control" for name in runs if name in controls]
    lines = series({name: run for name, run in runs.items() if name not in controls})
    several, alone = _by_key(lines)
    # a series of more deals than what it could be compared with is compared deal by deal
    dealt, alone = _by_key([deal for line in alone for deal in _deals(line)])
    left_out += [f"{next(iter(line))} is the only run of its task on its folds" for line in alone]
    return [{name: run for line in lines for name, run in line.items()} for lines in (*several, *dealt)], left_out


def _by_key(lines: Sequence[dict[str, Run]]) -> tuple[list[list[dict[str, Run]]], list[dict[str, Run]]]:
    """Lines that can be compared, two or more together; and those that are alone."""
    groups: dict[tuple[Any, ...], list[dict[str, Run]]] = {}
    for line in lines:
        groups.setdefault(key(list(line.values())), []).append(line)
    return (
        [lines for lines in groups.values() if len(lines) > 1],
        [lines[0] for lines in groups.values() if len(lines) == 1],
    )


def _deals(line: Mapping[str, Run]) -> list[dict[str, Run]]:
    """The runs of a series, those on the same folds together."""
    found: dict[tuple[Any, ...], dict[str, Run]] = {}
    for name, run in line.items():
        found.setdefault(key([run]), {})[name] = run
    return list(found.values())


def compare(runs: Mapping[str, Run], columns: Mapping[str, Mapping[str, str]] | None = None) -> Comparison:
    """Compare runs of one group of `gather`. columns: as in Comparison. Raises ToolkitError for other runs."""
    lines = [Line(line, stats.evaluate(*(run.predictions for run in line.values()))) for line in series(runs)]
    if len({key(list(line.runs.values())) for line in lines}) != 1:
        raise ToolkitError("A comparison needs runs of one task on the same folds")
    order = {"frozen": 0, "tuned": 1, "outside": 2}
    lines.sort(
        key=lambda line: (  # the names: of equals the best is the same one however the runs were named
            order[line.kind], np.inf if line.development is None else -line.development, line.run.backbone,
            line.run.probe, line.folder.rpartition("-")[2],
        )
    )  # fmt: skip
    first = lines[0].run
    predicted = [[run.predictions for run in line.runs.values()] for line in lines]
    compared = paired.against(0 if first.frozen else None, predicted, first.metric, paired.widening(first.folds))
    lines = [replace(line, difference=one.difference, why=one.why) for line, one in zip(lines, compared, strict=True)]
    best = {line.kind: line for line in reversed(lines)}
    return Comparison(tuple(lines), best.get("frozen"), best.get("tuned"), columns or {})
