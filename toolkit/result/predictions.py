"""Predictions, and the CSV files that they are written to: our own form, and the paper's two columns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.core.artifacts import commit_text
from toolkit.core.errors import ToolkitError
from toolkit.core.i18n import plural
from toolkit.corpus.labels import IntArray, Task, Truth
from toolkit.result import two_column
from toolkit.result.safe_csv import csv_text

FloatArray = npt.NDArray[np.float64]
MODEL = "model"  # the column of `toolkit predict`, which says whose word a row is


@dataclass(frozen=True)
class Predictions:
    """One prediction for each clip, from a model that never saw the clip's group.

    ids, groups: n_clips each. group: what the groups are, "speaker" or whatever else an interval resamples; without a
    known group every clip is its own, `groups == ids`.
    fold: (n_clips,) int64, the fold in which the clip was tested.
    truth, prediction: (n_clips,) int64 indices into `task.labels`; for multilabel (n_clips, n_labels) of 0 and 1; for
    a regression (n_clips, n_targets) float64, a truth that is missing NaN, predictions rounded to float32.
    probability: (n_clips, n_labels) float64 in 0 .. 1, rounded to float32 so that every file holds it exactly;
    all NaN where the source had none, as for a regression. Binary: two columns, the positive label last.
    score: (n_clips, n_labels) float64, rounded likewise: each round's log-odds standardised by its own training clips
    (`thresholds.Scale`), which is what clips of different rounds are ranked by; None where the source had none.

    Raises ToolkitError when the shapes or values do not fit each other.
    """

    task: Task
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    fold: IntArray
    truth: Truth
    prediction: Truth
    probability: FloatArray
    group: str = "speaker"
    score: FloatArray | None = None

    def __post_init__(self) -> None:
        n, labels = len(self.ids), len(self.task.labels)
        shape = (n, labels) if self.task.multilabel or self.task.regression else (n,)
        for name, expected in (("fold", (n,)), ("truth", shape), ("prediction", shape), ("probability", (n, labels))):
            if getattr(self, name).shape != expected:
                raise ToolkitError(f"Predictions: {name} has shape {getattr(self, name).shape}, expected {expected}")
        if len(self.groups) != n or len(set(self.ids)) != n or n == 0:
            raise ToolkitError(f"Predictions: {n} ids, {len(set(self.ids))} different, and {len(self.groups)} groups")
        highest = 1 if self.task.multilabel else labels - 1
        if self.task.regression:
            rounded = self.prediction.astype(np.float32).astype(np.float64)
            if not np.isfinite(rounded).all() or np.isinf(self.truth).any():
                raise ToolkitError("Predictions: a number is not finite")
            object.__setattr__(self, "prediction", rounded)
        for name in () if self.task.regression else ("truth", "prediction"):
            values = getattr(self, name)
            if values.min() < 0 or values.max() > highest:
                raise ToolkitError(
                    f"Predictions: {name} from {values.min()} to {values.max()}, expected 0 to {highest}"
                )
        rounded = self.probability.astype(np.float32).astype(np.float64)
        if not (((rounded >= 0) & (rounded <= 1)).all() or np.isnan(rounded).all()):
            raise ToolkitError("Predictions: a probability is NaN or outside 0 .. 1")
        object.__setattr__(self, "probability", rounded)
        if self.score is not None:
            if self.score.shape != (n, labels) or not np.isfinite(self.score).all():
                raise ToolkitError(
                    f"Predictions: score has shape {self.score.shape} or is not finite, expected {(n, labels)}"
                )
            object.__setattr__(self, "score", self.score.astype(np.float32).astype(np.float64))

    @property
    def has_probability(self) -> bool:
        return not bool(np.isnan(self.probability[0, 0]))

    @property
    def unit(self) -> str:
        """What an interval resamples, in the plural: "speakers", or "clips" where no group is known."""
        return "clips" if self.groups == self.ids else plural(self.group)


def write_csv(path: Path, predictions: Predictions) -> None:
    """Commit our own form; the same predictions give the same bytes.

    Columns id, speaker (or what the groups are), fold, truth, prediction, `probability:LABEL` and, where there are
    scores, `score:LABEL`; for multilabel, and a regression of several targets, `truth:LABEL` and `prediction:LABEL`.
    Cells that a spreadsheet would run as a
    formula get a leading apostrophe, which `read_csv` takes off.
    """
    task = predictions.task
    columns = ["id", predictions.group, "fold", *value_columns(task, "truth"), *value_columns(task, "prediction")]
    if not task.regression:
        columns += [f"probability:{label}" for label in task.labels]
    known, score = predictions.has_probability, predictions.score
    if score is not None:
        columns += [f"score:{label}" for label in task.labels]
    rows = [
        [
            clip,
            group,
            str(fold),
            *value_cells(task, truth),
            *value_cells(task, prediction),
            *(str(value) if known else "" for value in ([] if task.regression else probability)),
            *map(str, scores),
        ]
        for clip, group, fold, truth, prediction, probability, scores in zip(
            predictions.ids,
            predictions.groups,
            predictions.fold.tolist(),
            predictions.truth.tolist(),
            predictions.prediction.tolist(),
            predictions.probability.astype(np.float32),  # str of a float32 is its shortest exact form
            np.empty((len(predictions.ids), 0)) if score is None else score.astype(np.float32),
        )
    ]
    commit_text(path, csv_text(columns, rows))


def write_paper_csv(path: Path, predictions: Predictions) -> None:
    """Commit the paper's form: columns `Predictions` and `Actual Labels`, a list of 0 and 1 or a label in each cell."""
    task = predictions.task
    pairs = zip(predictions.prediction.tolist(), predictions.truth.tolist())
    commit_text(
        path, csv_text(list(two_column.COLUMNS), [[two_column.cell(task, value) for value in pair] for pair in pairs])
    )


def _shortest(value: float) -> str:
    """The shortest text that is this number, of a float32 such as 0.1 without the digits that a float64 has of it."""
    single = np.float32(value)
    return str(single) if float(single) == value else repr(float(value))


def value_columns(task: Task, what: str) -> list[str]:
    several = task.multilabel or (task.regression and len(task.labels) > 1)
    return [f"{what}:{label}" for label in task.labels] if several else [what]


def value_cells(task: Task, value: Any) -> list[str]:
    if task.regression:  # a prediction as the shortest form that is its float32, a truth as that of its float64
        return ["" if np.isnan(cell) else _shortest(cell) for cell in value]
    return [str(cell) for cell in value] if task.multilabel else [task.labels[value]]
