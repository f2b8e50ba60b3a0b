"""Targets that are scales: numbers to predict (regression), or levels with an order (ordinal)."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from toolkit.core.errors import LabelError, PredictionsError, one_of
from toolkit.core.i18n import Note
from toolkit.corpus.labels import IntArray, Task, Truth, columns_of, short_name
from toolkit.corpus.numerals import COMMA, NUMBER, PERCENT, THOUSANDS
from toolkit.corpus.spellings import SCALES, Rules
from toolkit.corpus.splits import Round

FloatArray = npt.NDArray[np.float64]
# What statistics programs have written where an answer is missing, was refused or is not known: 99, -999, -8
REPEATED = {sign * int(digit * size) for sign in (1, -1) for digit in "789" for size in range(2, 6)}
CODES = frozenset(REPEATED | {-7, -8, -9})
SHORT = frozenset((7, 8, 9))  # likewise on scales of few levels
FAR = 1000.0  # times the median distance from the median: one such clip would outweigh all others in every square


def is_scale(rules: Rules) -> bool:
    """Whether the user declared the target a scale."""
    return rules.kind in SCALES


def task_of(
    target: str, columns: Mapping[str, Sequence[str]], lines: Sequence[int], rules: Rules
) -> tuple[Task, Truth, list[Note]]:
    """The Task of a scale, every clip's truth, and notes on what a reader must know.

    target, columns, lines: as `labels.task_of` takes them. rules: say which kind, and the levels in their order.
    Returns of a regression truth (n_clips, n_targets) float64, NaN where a clip has no number; of an ordinal target
    (n_clips,) the levels' places. Raises LabelError.
    """
    names = columns_of(target)
    for name in names:
        if name not in columns:
            raise LabelError(f"No label column {name!r} in the manifest; it has {sorted(columns)}")
    if len(set(names)) < len(names):
        raise LabelError(f"A label column is named twice in --target {target}")
    for name in names if not rules.levels else ():
        check_codes(name, columns[name], lines, rules)
    if rules.kind == "regression":
        return _regression(names, columns, lines)
    if len(names) > 1:
        raise LabelError(f"--kind ordinal is of one column; --target {target} names {len(names)}")
    return _ordinal(names[0], columns[names[0]], lines, rules.levels)


def number(cell: str) -> float:
    """The number that a cell is, NaN for anything else: "nan", "inf", "12,5", "1_000"."""
    value = float(cell) if NUMBER.fullmatch(cell) else np.nan
    return value if np.isfinite(value) else np.nan


def check_codes(
    name: str, cells: Sequence[str], lines: Sequence[int], rules: Rules, where: str = "Manifest line"
) -> None:
    """A 999 among numbers from 1 to 7 stands for none, and would be the highest of them; so does a 9 next to 1 and 2.

    Seen where a number of CODES is further from all others than they are from each other; one of SHORT, where these
    are whole numbers without a gap. Raises LabelError.
    """
    values = [number(cell.strip()) for cell in cells]
    known = {value for value in values if not np.isnan(value)}
    codes, others, low = CODES, known - CODES, known - CODES - SHORT
    dense = len(low) > 1 and all(map(float.is_integer, low)) and max(low) - min(low) == len(low) - 1
    if dense and max(known & SHORT, default=0) - max(low) >= len(low):
        codes, others = CODES | SHORT, low
    if rules.unknown == "keep" or len(others) < 2:
        return
    lowest, highest = min(others), max(others)
    for value, line in zip(values, lines, strict=True):
        if value in codes and max(lowest - value, value - highest) > highest - lowest:
            raise LabelError(
                f"{where} {line}, column {name!r}: {value:g} is a usual code for no answer, and the other numbers are "
                f"{lowest:g} to {highest:g}; clear such cells (--unlabelled skip), or say --unknown keep (takes it for "
                "a number like any other)"
            )


def expected(cell: str) -> str:
    """What to write in place of a cell that is no number."""
    if THOUSANDS.fullmatch(cell):
        return (
            f"{cell!r} has a comma, expected {cell.replace(',', '')} where it parts thousands, and "
            f"{cell.replace(',', '.')} where it is a decimal comma"
        )
    if share := PERCENT.fullmatch(cell):
        return f"{cell!r} has a percent sign, expected the number alone: {share[1].replace(',', '.')}"
    if COMMA.fullmatch(cell):
        return f"{cell!r} has a decimal comma, expected a point: {cell.replace(',', '.')}"
    return f"{cell!r}, expected a finite number such as 12.5, or nothing and --unlabelled skip"


def _regression(
    names: Sequence[str], columns: Mapping[str, Sequence[str]], lines: Sequence[int]
) -> tuple[Task, FloatArray, list[Note]]:
    truth, notes = np.full((len(lines), len(names)), np.nan), []
    for place, name in enumerate(names):
        for row, (cell, line) in enumerate(zip(columns[name], lines, strict=True)):
            text = cell.strip()
            truth[row, place] = number(text)
            if text and np.isnan(truth[row, place]):
                raise LabelError(f"Manifest line {line}, column {name!r}: {expected(text)}")
        known = truth[~np.isnan(truth[:, place]), place]
        if len(np.unique(known)) < 2:
            raise LabelError(
                f"Column {name!r} holds the numbers {sorted(set(known.tolist()))}; two or more are needed to predict "
                "one"
            )
        _check_magnitudes(name, truth[:, place], lines)
        missing = len(lines) - len(known)
        if missing:
            notes.append(Note("missing_numbers", {"label": name, "some": missing, "all": len(lines)}))
    return Task(short_name(names), "regression", tuple(names), tuple(names)), truth, notes


def _check_magnitudes(name: str, values: FloatArray, lines: Sequence[int]) -> None:
    """A sensor's 1e9 among numbers from 1 to 7 is a slip of the pen, and would decide every figure."""
    known = values[~np.isnan(values)]
    away = np.abs(values - np.median(known))
    typical = float(np.median(away[away > 0]))  # NaN compares as False
    far = np.flatnonzero(away > FAR * typical)
    if len(far):
        row = int(far[0])
        raise LabelError(
            f"Manifest line {lines[row]}, column {name!r}: {values[row]:g} is more than {FAR:g} times as far from the "
            f"median, {np.median(known):g}, as clips typically are, and would outweigh all others; expected a number "
            "of the same scale: correct it, clear the cell (--unlabelled skip), or take the column's logarithm"
        )


def missing_levels(task: Task, truth: Truth, rounds: Iterable[Round], refit: bool = True) -> list[Note]:
    """Notes on levels of which a round has no clip to learn from. refit: whether development is learnt from at last."""
    never, late = list[str](), list[str]()
    for one in rounds:
        at_first = set(range(len(task.labels))) - set(truth[one.train].tolist())
        at_last = at_first - set(truth[one.development].tolist()) if refit else at_first
        for lines, missing in ((never, at_last), (late, at_first - at_last)):
            if missing:
                lines.append(f"{one.fold}: {', '.join(task.labels[at] for at in sorted(missing))}")
    notes = [Note("missing_levels", {"list": "; ".join(never)})] if never else []
    return notes + ([Note("missing_levels_search", {"list": "; ".join(late)})] if late else [])


def levels_of(where: str, cells: Sequence[str]) -> tuple[str, ...]:
    """The levels of a predictions file, which must be numbers. Raises PredictionsError."""
    for cell in cells:
        if not NUMBER.fullmatch(cell):
            raise PredictionsError(
                f"{where}: {cell!r} is no number such as 2, so the order of the levels is not known; name them from "
                "the lowest up, as in --levels low,medium,high"
            )
    return tuple(sorted(set(cells), key=float))


def _ordinal(
    name: str, cells: Sequence[str], lines: Sequence[int], levels: Sequence[str]
) -> tuple[Task, IntArray, list[Note]]:
    values, notes = set(cells), list[Note]()
    for cell, line in zip(cells, lines, strict=True):
        if cell != cell.strip() or not cell:
            raise LabelError(f"Manifest line {line}, column {name!r}: {cell!r}, expected a level without spaces around")
        if levels and cell not in levels:
            raise LabelError(f"Manifest line {line}, column {name!r}: {one_of('level', cell, levels)} of --levels")
        if not levels and not NUMBER.fullmatch(cell):
            raise LabelError(
                f"Manifest line {line}, column {name!r}: {cell!r} is no number such as 2, so the order of the levels "
                "is not known; name them from the lowest up, as in --levels low,medium,high"
            )
    if absent := [level for level in levels if level not in values]:
        raise LabelError(f"--levels names {absent[0]!r}, and no clip has it in column {name!r}; leave it out")
    ordered = tuple(levels) or tuple(sorted(values, key=float))
    if len(ordered) < 2:
        raise LabelError(f"Column {name!r} holds the levels {list(ordered)}; two or more are needed to tell apart")
    if len(ordered) > max(50, len(lines) // 4):
        raise LabelError(
            f"Column {name!r} holds {len(ordered)} levels in {len(lines)} clips; --kind regression predicts the number"
        )
    if all(map(NUMBER.fullmatch, ordered)):
        if len({float(level) for level in ordered}) < len(ordered):
            raise LabelError(f"Column {name!r} spells one number in two ways among its levels {list(ordered)}")
        steps = np.diff([float(level) for level in ordered])
        if levels and (steps <= 0).any():
            raise LabelError(f"--levels {','.join(levels)} are numbers and not in their order, from the lowest up")
        if len(set(steps.round(9).tolist())) > 1:
            notes.append(Note("levels_apart", {"label": name, "levels": ", ".join(ordered)}))
    place = {level: at for at, level in enumerate(ordered)}
    truth = np.array([place[cell] for cell in cells], dtype=np.int64)
    return Task(short_name((name,)), "ordinal", ordered, (name,)), truth, notes
