"""The hotline paper's form of predictions: two columns, each cell a list such as "[0, 1, 0]", or a plain label."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.core.errors import PredictionsError
from toolkit.corpus.labels import IntArray, Task

COLUMNS = ("Predictions", "Actual Labels")

Pair = tuple[int, tuple[str, str]]  # line in the file; the two cells

_ELEMENTS = {"0": 0, "1": 1, "0.": 0, "1.": 1, "0.0": 0, "1.0": 1}  # as Python, NumPy and pandas print them
_SEPARATOR = re.compile(r", ?| +")


class CellError(PredictionsError):
    """A cell that cannot be read; begins with "line N, column"."""

    def __init__(self, line: int, column: str, message: str) -> None:
        super().__init__(f"line {line}, column {column!r}: {message}")


def cell(task: Task, value: Any) -> str:
    """One cell's text. value: a label's index, or for multilabel 0 and 1 for each label.

    Raises PredictionsError for a label that would be read back as something else.
    """
    if task.multilabel:
        return "[" + ", ".join(map(str, value)) + "]"
    label: str = task.labels[value]
    if label.startswith("[") or not label:
        raise PredictionsError(f"The label {label!r} has no place in the two-column form; use our own form")
    return label


def parse(name: str, cells: Sequence[Pair], task: Task | None) -> tuple[Task, IntArray, IntArray]:
    """Task, prediction and truth from the cells of all clips.

    task: gives the labels; without it the labels of lists are "label 1", "label 2", ..., lists of one element and plain
    cells of 0 and 1 are binary, other plain cells give the labels in order. Raises CellError.
    """
    lists = cells[0][1][0].startswith("[")
    for line, pair in cells:
        for column, text in zip(COLUMNS, pair):
            if text.startswith("[") != lists:
                kind = "a list" if lists else "a plain label"
                raise CellError(line, column, f"{text[:60]!r}, expected {kind} as in line {cells[0][0]}")
    return _parse_lists(name, cells, task) if lists else _parse_plain(name, cells, task)


def _parse_plain(name: str, cells: Sequence[Pair], task: Task | None) -> tuple[Task, IntArray, IntArray]:
    if task is not None and task.multilabel:
        raise CellError(cells[0][0], COLUMNS[0], f"{cells[0][1][0]!r}, expected a list of {len(task.labels)}")
    found = task or _single(name, labels_of([(line, text) for line, pair in cells for text in pair]))
    index = {label: number for number, label in enumerate(found.labels)}
    for line, pair in cells:
        for column, text in zip(COLUMNS, pair):
            if text not in index:
                raise CellError(line, column, f"unknown label {text!r}, expected one of {list(found.labels)}")
    values = np.array([[index[text] for text in pair] for _, pair in cells], dtype=np.int64)
    return found, values[:, 0], values[:, 1]


def _parse_lists(name: str, cells: Sequence[Pair], task: Task | None) -> tuple[Task, IntArray, IntArray]:
    line, (text, _) = cells[0]
    width = len(_elements(line, COLUMNS[0], text))
    expected = width if task is None else len(task.labels) if task.multilabel else 1
    if task is not None and task.kind == "multiclass":
        raise CellError(line, COLUMNS[0], f"a list of {width}, expected a label of {list(task.labels)}")
    values = np.empty((len(cells), 2, expected), dtype=np.int64)
    for row, (line, pair) in enumerate(cells):
        for position, (column, text) in enumerate(zip(COLUMNS, pair)):
            elements = _elements(line, column, text)
            if len(elements) != expected:
                raise CellError(line, column, f"a list of {len(elements)}, expected {expected}")
            values[row, position] = elements
    if expected == 1:
        return task or _single(name, ("0", "1")), values[:, 0, 0], values[:, 1, 0]
    labels = tuple(f"label {number + 1}" for number in range(expected))
    return task or Task(name, "multilabel", labels, labels), values[:, 0], values[:, 1]


def labels_of(cells: Sequence[tuple[int, str]]) -> tuple[str, ...]:
    """The different labels among (line, cell), in order: whole numbers by size, anything else by alphabet."""
    for line, text in cells:
        if not text.strip():
            raise CellError(line, "label", "the label is empty; --unlabelled skip leaves out clips without a truth")
    values = {text for _, text in cells}
    if values <= {"0", "1"}:
        return ("0", "1")
    numbers = all(value.isascii() and value.isdigit() and len(value) < 10 for value in values)
    return tuple(sorted(values, key=lambda value: (int(value) if numbers else 0, value)))


def _single(name: str, labels: tuple[str, ...]) -> Task:
    if len(labels) < 2:
        raise CellError(
            2, COLUMNS[0], f"the single label {labels[0]!r} everywhere; two or more are needed to tell apart"
        )
    return Task(name, "binary" if len(labels) == 2 else "multiclass", labels, (name,))


def _elements(line: int, column: str, text: str) -> list[int]:
    """Strict: brackets around 0 and 1 with one comma or blanks between them. Nothing is evaluated."""
    inside = text[1:-1].strip(" ") if text.startswith("[") and text.endswith("]") else ""
    parts = _SEPARATOR.split(inside)
    if not all(part in _ELEMENTS for part in parts):
        raise CellError(line, column, f"{text[:60]!r}, expected a list of 0 and 1 such as '[0, 1, 0]'")
    return [_ELEMENTS[part] for part in parts]
