"""Predictions read from CSV: our own form, or the paper's two columns."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from toolkit.core.errors import PredictionsError
from toolkit.corpus import scales
from toolkit.corpus.labels import Task, Truth
from toolkit.corpus.spellings import KEEP, Rules, check_spellings, settle
from toolkit.result import two_column
from toolkit.result.predictions import MODEL, FloatArray, Predictions, value_cells, value_columns
from toolkit.result.safe_csv import Row, read_table

NUMBER = re.compile(r"[0-9.eE+-]+")


def read_csv(
    path: Path,
    task: Task | None = None,
    rules: Rules = KEEP,
    say: Callable[[str], None] = lambda note: None,
    known: Predictions | None = None,
) -> Predictions:
    """Read either form; the header shows which.

    task: gives the labels, their order and the task's name; without it they come from the file. Columns id, speaker
    (or, right after the id, another one for what an interval resamples), fold and the probabilities may be missing:
    ids are then row numbers from 1, every clip is its own group, and each `model` (of `toolkit predict`) is a fold, or
    all clips are of fold 0. rules: for two spellings of one label or group and for what names nothing, reported to
    `say`; a run's own file is read as it was written. known: other predictions of the task, that give the truth of
    their clips where the file has none; clips that they do not have are left out then.
    Raises PredictionsError with line and column; LabelError, SplitError by the rules.
    """
    columns, rows = read_table(path)
    if known is not None:
        if "id" not in columns:
            raise PredictionsError(f"{path.name}, line 1: no column 'id'; expected the clips' ids")
        columns, rows = _with_truth(path, columns, rows, known)
    if rules.unlabelled == "skip":
        rows = _labelled(path, columns, rows, rules, say)
    rows = _settled(path, columns, rows, rules, say)
    try:
        if set(two_column.COLUMNS) <= set(columns):
            return _from_paper(path, columns, rows, task)
        return _from_own(path, columns, rows, task, rules)
    except two_column.CellError as error:
        raise PredictionsError(f"{path.name}, {error}") from None


def _with_truth(path: Path, columns: list[str], rows: list[Row], known: Predictions) -> tuple[list[str], list[Row]]:
    """Rows of clips that are known, with their truth where the file has none. Raises PredictionsError for none."""
    truth = {clip: value_cells(known.task, value) for clip, value in zip(known.ids, known.truth.tolist())}
    position, names = columns.index("id"), value_columns(known.task, "truth")
    tested = [(line, row) for line, row in rows if row[position] in truth]
    if rows and not tested:
        line, row = rows[0]
        raise PredictionsError(
            f"{path.name}, line {line}, column 'id': {row[position]!r} was not tested, nor was any other clip of the "
            f"file; expected ids such as {known.ids[0]!r}"
        )
    if set(names) & set(columns):
        return columns, tested
    return [*columns, *names], [(line, [*row, *truth[row[position]]]) for line, row in tested]


def _labelled(path: Path, columns: list[str], rows: list[Row], rules: Rules, say: Callable[[str], None]) -> list[Row]:
    """The rows with a truth. Raises PredictionsError where there is none."""
    truth = [
        at for at, name in enumerate(columns) if name in ("truth", two_column.COLUMNS[1]) or name.startswith("truth:")
    ]
    enough = any if rules.kind == "regression" else all  # a clip counts for the targets that it has
    kept = [(line, row) for line, row in rows if enough(row[at].strip() for at in truth)]
    if not kept:
        raise PredictionsError(f"{path.name}: no row has a truth, so --unlabelled skip leaves none")
    if len(kept) < len(rows):
        say(f"Without a truth, left out: {len(rows) - len(kept):,} of {len(rows):,} clips.")
    return kept


def _settled(path: Path, columns: list[str], rows: list[Row], rules: Rules, say: Callable[[str], None]) -> list[Row]:
    """The rows with labels and groups as the rules take them; truth and prediction share their labels."""
    where, lines = path.name, [line for line, _ in rows]
    cells = {name: tuple(row[number] for _, row in rows) for number, name in enumerate(columns)}
    for what in ("truth", "probability"):
        check_spellings([name for name in columns if name.startswith(f"{what}:")], rules, where)
    for pair in (two_column.COLUMNS, ("prediction", "truth")):
        if rules.kind == "regression":  # a number may be spelt in any way
            continue
        if set(pair) <= set(columns) and not cells[pair[0]][0].startswith("["):
            both = [cell for name in pair for cell in cells[name]]
            settled = settle(" and ".join(pair), both, lines * 2, rules, where=where)
            cells |= {pair[0]: settled.cells[: len(rows)], pair[1]: settled.cells[len(rows) :]}
            for note in settled.notes:
                say(str(note))
    for name in columns if rules.spellings == "merge" else ():
        if name.startswith(("truth:", "prediction:")):
            cells[name] = settle(name, cells[name], lines, rules, where=where).cells
    if (group := _group(columns)) in columns:
        settled = settle(group, cells[group], lines, rules, group=True, where=where)
        cells[group] = settled.cells
        for note in settled.notes:
            say(str(note))
    return [(line, list(row)) for line, row in zip(lines, zip(*(cells[name] for name in columns)))]


def _from_paper(path: Path, columns: list[str], rows: list[Row], task: Task | None) -> Predictions:
    unknown = [column for column in columns if column not in (*two_column.COLUMNS, "")]  # pandas' index has no name
    if unknown:
        raise PredictionsError(f"{path.name}, line 1: column {unknown[0]!r} beside {list(two_column.COLUMNS)}")
    prediction_column, truth_column = (columns.index(name) for name in two_column.COLUMNS)
    cells = [(line, (row[prediction_column], row[truth_column])) for line, row in rows]
    found, prediction, truth = two_column.parse(path.stem, cells, task)
    ids = tuple(str(number + 1) for number in range(len(rows)))
    probability = np.full((len(rows), len(found.labels)), np.nan)
    return Predictions(found, ids, ids, np.zeros(len(rows), dtype=np.int64), truth, prediction, probability)


def _from_own(path: Path, columns: list[str], rows: list[Row], task: Task | None, rules: Rules) -> Predictions:
    found = _task_of(path, columns, rows, task, rules)
    cells = {name: [row[number] for _, row in rows] for number, name in enumerate(columns)}
    lines = [line for line, _ in rows]

    def bad(number: int, column: str, message: str) -> PredictionsError:
        return PredictionsError(f"{path.name}, line {lines[number]}, column {column!r}: {message}")

    ids = cells.get("id", [str(number + 1) for number in range(len(rows))])
    first_line: dict[str, int] = {}
    for number, clip in enumerate(ids):
        if clip in first_line:
            raise bad(number, "id", f"duplicate id {clip!r}, first used in line {first_line[clip]}")
        first_line[clip] = lines[number]
    group = _group(columns)
    groups = tuple(cells.get(group, ids))
    for number, value in enumerate(groups):
        if not value:
            raise bad(number, group, "it is empty; expected one in every row, or no such column")
    folds = cells.get("fold") or _numbered(cells.get(MODEL, [""] * len(rows)))
    for number, fold in enumerate(folds):
        if not (fold.isascii() and fold.isdigit() and len(fold) < 10):
            raise bad(number, "fold", f"{fold!r}, expected 0, 1, ...")

    def values(what: str) -> Truth:
        names = value_columns(found, what)
        if found.regression:
            return _numbers(what, names)
        allowed = ("0", "1") if found.multilabel else found.labels
        index = {cell: value for value, cell in enumerate(allowed)}
        result = np.empty((len(rows), len(names)), dtype=np.int64)
        for position, name in enumerate(names):
            for number, cell in enumerate(cells[name]):
                if cell not in index:
                    raise bad(number, name, f"unknown label {cell!r}, expected one of {list(allowed)}")
                result[number, position] = index[cell]
        return result if found.multilabel else result[:, 0]

    def _numbers(what: str, names: Sequence[str]) -> FloatArray:
        """Exactly as they were written; nothing where a truth is missing."""
        result = np.full((len(rows), len(names)), np.nan)
        for position, name in enumerate(names):
            for number, cell in enumerate(cells[name]):
                result[number, position] = scales.number(cell)
                if np.isnan(result[number, position]) and (cell or what == "prediction"):
                    raise bad(number, name, scales.expected(cell))
            if what == "truth":
                scales.check_codes(name, cells[name], lines, rules, f"{path.name}, line")
        return result

    probability = np.full((len(rows), len(found.labels)), np.nan)
    given = [f"probability:{label}" for label in found.labels if f"probability:{label}" in cells]
    if any(cell for name in given for cell in cells[name]):
        for position, name in enumerate(given):
            for number, cell in enumerate(cells[name]):
                probability[number, position] = _probability(cell)
                if np.isnan(probability[number, position]):
                    raise bad(number, name, f"{cell!r}, expected a probability from 0 to 1")
    scored = "score:" + found.labels[0] in cells and not found.regression
    score = np.full((len(rows), len(found.labels)), np.nan) if scored else None
    if score is not None:
        for position, label in enumerate(found.labels):
            for number, cell in enumerate(cells[f"score:{label}"]):
                score[number, position] = _number(cell)
                if not np.isfinite(score[number, position]):
                    raise bad(number, f"score:{label}", f"{cell!r}, expected a number")
    fold_numbers = np.array([int(fold) for fold in folds], dtype=np.int64)
    truth, prediction = values("truth"), values("prediction")
    return Predictions(found, tuple(ids), groups, fold_numbers, truth, prediction, probability, group, score)


def _numbered(models: Sequence[str]) -> list[str]:
    """A fold for each model that a row is the word of: clips of two models were never ranked against each other."""
    places = {model: str(place) for place, model in enumerate(sorted(set(models)))}
    return [places[model] for model in models]


def _number(cell: str) -> float:
    """The number, or NaN for anything else."""
    try:
        return float(cell) if NUMBER.fullmatch(cell) else np.nan
    except ValueError:
        return np.nan


def _probability(cell: str) -> float:
    """The number, or NaN for anything that is none from 0 to 1."""
    value = _number(cell)
    return value if 0 <= value <= 1 else np.nan


def _task_of(path: Path, columns: list[str], rows: list[Row], task: Task | None, rules: Rules) -> Task:
    """The task that the header spells; every column is accounted for, so that a misspelt one is not lost."""
    multilabel = any(column.startswith("truth:") for column in columns)
    scored = [column.removeprefix("probability:") for column in columns if column.startswith("probability:")]
    if task is not None:
        found = task
    elif rules.kind == "regression":
        labels = tuple(column.removeprefix("truth:") for column in columns if column.startswith("truth:"))
        found = Task(path.stem, "regression", labels or (path.stem,), labels or (path.stem,))
    elif multilabel:
        labels = tuple(column.removeprefix("truth:") for column in columns if column.startswith("truth:"))
        found = Task(path.stem, "multilabel", labels, labels)
    else:
        if "truth" not in columns or "prediction" not in columns:
            raise PredictionsError(
                f"{path.name}, line 1: columns {columns}, expected truth and prediction, or truth:LABEL and "
                f"prediction:LABEL, or {' and '.join(two_column.COLUMNS)}"
            )
        positions = columns.index("truth"), columns.index("prediction")
        if rules.kind == "ordinal":
            if not (rules.levels or scored):
                lines = [line for line, _ in rows]
                scales.check_codes("truth", [row[positions[0]] for _, row in rows], lines, rules, f"{path.name}, line")
            cells = [row[columns.index(name)] for _, row in rows for name in ("truth", "prediction")]
            levels = rules.levels or tuple(scored) or scales.levels_of(path.name, cells)
            return _accounted(path, columns, Task(path.stem, "ordinal", levels, (path.stem,)))
        labels = tuple(scored) or two_column.labels_of([(line, row[p]) for line, row in rows for p in positions])
        if len(labels) < 2:
            raise PredictionsError(f"{path.name}: the single label {labels[0]!r}; two or more are needed to tell apart")
        found = Task(path.stem, "binary" if len(labels) == 2 else "multiclass", labels, (path.stem,))
    return _accounted(path, columns, found)


def _accounted(path: Path, columns: list[str], found: Task) -> Task:
    """The task, whose every column is there and no other."""
    required = [*value_columns(found, "truth"), *value_columns(found, "prediction")]
    for name in ("probability", "score"):
        if any(column.startswith(f"{name}:") for column in columns) and not found.regression:
            required += [f"{name}:{label}" for label in found.labels]
    for column in required:
        if column not in columns:
            raise PredictionsError(f"{path.name}, line 1: no column {column!r}; the header has {columns}")
    for column in columns:
        if column not in ("id", _group(columns), "fold", MODEL, *required):
            raise PredictionsError(f"{path.name}, line 1: unknown column {column!r}, expected {required}")
    return found


def _group(columns: Sequence[str]) -> str:
    """The column that an interval resamples: "speaker", or what is right after the id in its place."""
    second = columns[1] if columns[0] == "id" and len(columns) > 1 else "speaker"
    plain = ":" not in second and second not in ("fold", MODEL, "truth", "prediction")
    return second if plain and "speaker" not in columns else "speaker"
