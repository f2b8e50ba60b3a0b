"""CSV that people open with a spreadsheet: cells that it does not run, and read back as they were."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from toolkit.core.errors import PredictionsError

Row = tuple[int, list[str]]  # line in the file, cells

# What a spreadsheet would run (East Asian ones the full-width signs too), or what `_inert` made of it.
FORMULA = re.compile("'*[=+\\-@\uff1d\uff0b\uff0d\uff20\t\r]")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", re.ASCII)  # which is no formula, and pandas reads as it is


def plain_text(cell: str) -> str:
    """A cell that no spreadsheet runs: an apostrophe before a formula's first sign. A number is none, below 0 too."""
    return "'" + cell if FORMULA.match(cell) and not NUMBER.fullmatch(cell) else cell


def _inert(cell: str) -> str:
    """The cell as it is written in the file; apostrophes before a formula's first sign are counted up; none is lost."""
    cell = plain_text(cell)
    return '"' + cell.replace('"', '""') + '"' if any(sign in cell for sign in ',"\r\n') else cell


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """CSV that no spreadsheet runs and that `read_table` takes back to what it was."""
    return "".join(",".join(map(_inert, row)) + "\n" for row in (columns, *rows))


def read_table(path: Path) -> tuple[list[str], list[Row]]:
    """Header and rows, every row as wide as the header, cells as before `csv_text`. Raises PredictionsError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise PredictionsError(f"{path.name} cannot be read: {error.strerror}") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PredictionsError(f"{path.name}, line {line}: byte 0x{raw[error.start]:02x} is not UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    line = 1
    try:
        for row in reader:
            if row:
                rows.append((line, [cell[1:] if cell[0:1] == "'" and FORMULA.match(cell) else cell for cell in row]))
            line = reader.line_num + 1
    except csv.Error as error:
        raise PredictionsError(f"{path.name}, line {reader.line_num}: it is not CSV: {error}") from None
    if len(rows) < 2:
        raise PredictionsError(f"{path.name} is empty; expected a header and one row per clip")
    columns = rows[0][1]
    for column in columns:
        if columns.count(column) > 1:
            raise PredictionsError(f"{path.name}, line 1: column {column!r} is there twice")
    for line, row in rows[1:]:
        if len(row) != len(columns):
            raise PredictionsError(
                f"{path.name}, line {line}: {len(row)} cells, expected {len(columns)} as in the header"
            )
    return columns, rows[1:]
