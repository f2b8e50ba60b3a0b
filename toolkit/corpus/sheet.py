"""Tables as people keep them: Excel's, or text in the encodings and with the separators of their programs."""

import datetime
import io
import re
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.errors import InputError, one_of

SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars"}
TITLE_ROWS = 10  # above the header, at most
MOST_BYTES = 2**29  # of a workbook when it is unpacked, a million rows: a forged one of a megabyte can hold terabytes
UNSEEN = str.maketrans("", "", "\u200b\ufeff\u2060")


@dataclass(frozen=True)
class Sheet:
    """A table of text.

    how: what the file was taken for. columns: the header's cells. rows: the line of each row that is not blank, as a
    spreadsheet counts it, and its cells, as many as there are columns. blank: how many rows hold nothing.
    """

    name: str
    how: str
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    blank: int

    def cells(self, column: str) -> list[str]:
        """Of each row."""
        place = self.columns.index(column)
        return [row[place] for _, row in self.rows]


def read(file: Path, sheet: str | None = None, encoding: str | None = None) -> Sheet:
    """The table in a file. sheet: of a workbook, None for the first one that holds anything. encoding: of a text, None
    for what its bytes show. Raises InputError for what is no table.
    """
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file.name} cannot be read: {error.strerror}") from None
    if raw.startswith(b"\xd0\xcf\x11\xe0"):
        raise InputError(
            f"{file.name} is an Excel file of before 2007, or has a password; save it as .xlsx without one"
        )
    workbook = raw.startswith(b"PK\3\4")
    for option, value, fits in (("sheet", sheet, workbook), ("encoding", encoding, not workbook)):
        if value is not None and not fits:
            raise InputError(f"--{option} has no effect on {file.name}, which is {'Excel' if workbook else 'text'}")
    how, cells = _workbook(file.name, raw, sheet) if workbook else _text(file.name, raw, encoding)
    lines = [(line, row) for line, row in enumerate(cells, start=1) if any(row)]
    if not lines:
        raise InputError(f"{file.name} holds nothing; expected a header and a row for each clip")
    # a title above the table is in one cell
    head = next((at for at, (_, row) in enumerate(lines[:TITLE_ROWS]) if sum(map(bool, row)) > 1), 0)
    _, header = lines[head]
    width = max((at for at, name in enumerate(header, start=1) if name), default=0)
    rows = tuple((line, tuple(row[:width])) for line, row in lines[head + 1 :] if any(row[:width]))
    blank = len(cells) - lines[head][0] - len(rows)
    names = tuple(" ".join(name.split()) for name in header[:width])  # Excel breaks long headings into lines
    return Sheet(file.name, how, names, rows, blank)


def _workbook(name: str, raw: bytes, sheet: str | None) -> tuple[str, list[list[str]]]:
    import pandas as pd

    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as parts:
            unpacked = sum(part.file_size for part in parts.infolist())
        if unpacked > MOST_BYTES:
            raise InputError(
                f"{name} holds {unpacked:,} bytes when unpacked, expected at most {MOST_BYTES:,}; save CSV"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl warns of formats and drop-down lists that it leaves out
            every = pd.read_excel(
                io.BytesIO(raw), sheet_name=None, header=None, dtype=object, na_filter=False, engine="openpyxl"
            )
    except (MemoryError, InputError):
        raise
    except Exception:  # zipfile's, openpyxl's and XML's own
        raise InputError(f"{name} is no whole Excel file; save it anew as .xlsx, or as CSV") from None
    if sheet is not None and sheet not in every:
        raise InputError(one_of("--sheet", sheet, list(every)))
    found = {title: [[_written(value) for value in row] for row in frame.values] for title, frame in every.items()}
    filled = [title for title, rows in found.items() if any(map(any, rows))]
    taken = sheet if sheet is not None else next(iter(filled), next(iter(found)))
    others = "" if sheet is not None or len(filled) < 2 else f", the first of {len(filled)} (--sheet names another)"
    return f"Excel, sheet {taken!r}{others}", found[taken]


def _written(value: Any) -> str:
    """A cell of Excel as it would be typed: whole numbers without .0, times by the clock."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return "" if value != value else f"{value:.0f}" if value.is_integer() else repr(value)
    if isinstance(value, datetime.timedelta):
        return repr(value.total_seconds())
    return _clean(str(value))


def _clean(text: str) -> str:
    return text.translate(UNSEEN).strip()


def _text(name: str, raw: bytes, encoding: str | None) -> tuple[str, list[list[str]]]:
    import pandas as pd

    taken = encoding or _encoding(raw)
    try:
        text = raw.decode(taken)
    except (UnicodeDecodeError, LookupError):
        raise InputError(f"{name} is no text in {taken}; name its --encoding, or save it as UTF-8") from None
    first = next((line for line in text.splitlines() if line.strip()), "")
    bare = re.sub('"[^"]*"', "", first)
    separator = max(SEPARATORS, key=bare.count) if any(map(bare.count, SEPARATORS)) else ","
    try:
        frame = pd.read_csv(
            io.StringIO(text), sep=separator, header=None, dtype=str, na_filter=False, skip_blank_lines=False
        )
    except pd.errors.EmptyDataError:
        raise InputError(f"{name} is empty; expected a header and a row for each clip") from None
    except (pd.errors.ParserError, ValueError) as error:
        reason = re.sub(r".*error: ?", "", str(error).strip()).replace("\n", " ")
        raise InputError(f"{name} is no table with {SEPARATORS[separator]} between its cells: {reason}") from None
    rows = [[_clean(cell) if isinstance(cell, str) else "" for cell in row] for row in frame.values]
    return f"text in {taken.removesuffix('-sig')}, {SEPARATORS[separator]} between the cells", rows


def _encoding(raw: bytes) -> str:
    """What the bytes show: a mark, UTF-16's zeros, UTF-8's rules; else Chinese or Western European Windows."""
    for mark, name in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if raw.startswith(mark):
            return name
    even, odd = raw[:1000:2].count(0), raw[1:1000:2].count(0)
    if even or odd:
        return "utf-16-le" if odd > even else "utf-16-be"
    for name in ("utf-8", "gb18030"):
        try:
            raw.decode(name)
        except UnicodeDecodeError:
            continue
        pairs = re.findall(rb"[\x81-\xfe]([\x30-\xfe])", raw)
        # the second byte of a common Chinese sign is above 0xa0, that of an accented letter before another one is not
        if name == "utf-8" or 2 * sum(second[0] > 0xA0 for second in pairs) >= len(pairs):
            return name
    return "cp1252"
