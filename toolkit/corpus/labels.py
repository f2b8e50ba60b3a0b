"""What is predicted: a Task, its label names and their order, and how manifest cells become numbers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from toolkit.core.errors import LabelError
from toolkit.corpus.numerals import NUMBER

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Truth = npt.NDArray[Any]  # int64, of a regression float64
Kind = Literal["binary", "multiclass", "multilabel", "ordinal", "regression"]

# The hotline paper's 11 fine-grained emotions, in its order.
HOTLINE = (
    "despair",
    "sadness",
    "pain",
    "guilt",
    "confuse",
    "helplessness",
    "resentment",
    "fear",
    "numbness",
    "anxiety",
    "grievance",
)
PRESETS = {"hotline": HOTLINE}
BINS = 5  # of equal size, that folds share out evenly of each target of a regression


@dataclass(frozen=True)
class Task:
    """A prediction task.

    name: short and safe in a file name, e.g. "emotion" or "despair+sadness".
    kind: "binary" and "multiclass" give each clip one of `labels`, "ordinal" one of levels that have an order;
        "multilabel" gives it any number of them; "regression" a number for each. What else a kind means is in
        `result.kinds`.
    labels: in the order of every probability column; for a binary task the second one is the positive class; the levels
        of an ordinal task from the lowest up; the targets of a regression.
    columns: the manifest columns it is read from.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def multilabel(self) -> bool:
        return self.kind == "multilabel"

    @property
    def ordinal(self) -> bool:
        return self.kind == "ordinal"

    @property
    def regression(self) -> bool:
        return self.kind == "regression"


def columns_of(target: str) -> tuple[str, ...]:
    """The columns that `--target` names: one, several with commas between them, or a preset's."""
    return PRESETS.get(target) or tuple(name.strip() for name in target.split(","))


def task_of(target: str, columns: Mapping[str, Sequence[str]], lines: Sequence[int]) -> tuple[Task, IntArray]:
    """The Task that `--target` names, and the truth of every clip.

    target: one column, several with commas between them, or a preset ("hotline").
    columns: the manifest's cells by column name, each of n_clips strings; lines: the line of each clip.

    One column of 0 and 1 is binary ("not X", "X"); of two other values, binary in alphabetical order, or that of
    numbers; of more, multiclass. Several columns must hold 0 and 1 and are multilabel. Returns truth of shape
    (n_clips,) with label indices, or (n_clips, n_labels) with 0 and 1. Raises LabelError.
    """
    names = columns_of(target)
    for name in names:
        if name not in columns:
            raise LabelError(f"No label column {name!r} in the manifest; it has {sorted(columns)}")
        for cell, line in zip(columns[name], lines):
            if not cell.strip():
                raise LabelError(
                    f"Manifest line {line}, column {name!r}: the label is empty; expected a value in every clip's row"
                )
            if cell != cell.strip():  # "sad" and "sad " would be two classes
                raise LabelError(
                    f"Manifest line {line}, column {name!r}: {cell!r}, expected a label without spaces around it"
                )
    if len(set(names)) < len(names):
        raise LabelError(f"A label column is named twice in --target {target}")
    if len(names) > 1:
        truth = np.stack([_zeros_and_ones(name, columns[name], lines) for name in names], axis=1)
        return Task(target if target in PRESETS else short_name(names), "multilabel", names, names), truth
    (name,) = names
    short = short_name(names)
    values = _ordered(set(columns[name]))
    if len(values) < 2:
        raise LabelError(f"Column {name!r} holds the values {values}; two or more are needed to tell apart")
    if set(values) == {"0", "1"}:
        return Task(short, "binary", (f"not {name}", name), names), _zeros_and_ones(name, columns[name], lines)
    if len(values) > max(50, len(lines) // 4):
        raise LabelError(f"Column {name!r} holds {len(values)} different values in {len(lines)} clips; is it a label?")
    index = {value: number for number, value in enumerate(values)}
    truth = np.array([index[cell] for cell in columns[name]], dtype=np.int64)
    return Task(short, "binary" if len(values) == 2 else "multiclass", tuple(values), names), truth


def _ordered(values: set[str]) -> list[str]:
    numbers = all(map(NUMBER.fullmatch, values))
    return sorted(values, key=lambda value: (float(value) if numbers else 0.0, value))


def short_name(columns: Sequence[str]) -> str:
    """The columns' names as a part of a folder's name: no separators, not hidden, at most 40 bytes in UTF-8."""
    whole = "+".join(columns)
    name = re.sub(r"[^\w+.-]", "_", whole).lstrip(".-")
    if len(name.encode()) <= 40 and name:
        return name
    first = re.sub(r"[^\w.-]", "_", columns[0]).lstrip(".-").encode()[:36].decode(errors="ignore")
    return f"{first or 'target'}+{len(columns) - 1}" if len(columns) > 1 else first or "target"


def _zeros_and_ones(name: str, cells: Sequence[str], lines: Sequence[int]) -> IntArray:
    for cell, line in zip(cells, lines):
        if cell not in ("0", "1"):
            raise LabelError(f"Manifest line {line}, column {name!r}: {cell!r}, expected 0 or 1")
    return np.array([int(cell) for cell in cells], dtype=np.int64)


def one_hot(task: Task, truth: IntArray) -> IntArray:
    """Truth as 0 and 1 of shape (n_clips, n_labels), whatever the task's kind."""
    return truth if task.multilabel else np.eye(len(task.labels), dtype=np.int64)[truth]


def middle_of(task: Task, truth: Truth) -> tuple[FloatArray, FloatArray]:
    """The share of the clips that have each label, or the mean of each target; and each target's deviation, none of
    labels: (n_labels,).

    A target is of the clips that have it; its deviation is 0 where they all have one number.
    """
    if not task.regression:
        return np.asarray(one_hot(task, truth).mean(axis=0)), np.empty(0)
    known = ~np.isnan(truth)
    clips = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, truth, 0.0).sum(axis=0) / clips
    spread = np.sqrt(np.where(known, np.square(truth - mean), 0.0).sum(axis=0) / clips)
    low, high = (far(truth, axis=0, initial=end, where=known) for far, end in ((np.min, np.inf), (np.max, -np.inf)))
    return mean, np.where(high > low, spread, 0.0)  # the mean of equal numbers is one of them but for rounding


def constant_labels(task: Task, truth: Truth) -> list[str]:
    """The labels that all of these clips have, or none; the targets that do not vary."""
    share, spread = middle_of(task, truth)
    constant = spread == 0 if task.regression else (share == 0) | (share == 1)
    return [label for label, still in zip(task.labels, constant) if still]


def listed(task: Task, truth: Truth) -> list[Any]:
    """The truth for JSON, None where a clip has no number."""
    if not task.regression:
        return list(truth.tolist())
    return [[None if np.isnan(one) else one for one in row] for row in truth.tolist()]


def strata(task: Task, truth: Truth) -> IntArray:
    """(n_clips, strata) of 0 and 1: what folds share out evenly; labels, or BINS quantiles of each number."""
    if not task.regression:
        return one_hot(task, truth)
    columns = []
    for values in truth.T:
        edges = np.unique(np.nanquantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
        place = np.searchsorted(edges, values, side="right")
        columns += [(place == number) & ~np.isnan(values) for number in range(len(edges) + 1)]
    return np.stack([column for column in columns if column.any()], axis=1).astype(np.int64)
