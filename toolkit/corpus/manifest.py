"""The corpus: manifest.csv read, checked by line, and written."""

import csv
import io
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.audio.clip import Clip
from toolkit.core.artifacts import commit_text
from toolkit.core.errors import InputError, ManifestError
from toolkit.corpus import repeats
from toolkit.corpus.roots import Roots, located, roots_of

FILE_NAME = "manifest.csv"
REQUIRED = ("id", "path")
SECONDS = ("start", "end", "duration")
OPTIONAL = (*SECONDS, "channel", "speaker", "split")
RESERVED = REQUIRED + OPTIONAL
TEXT = "text"  # column of what is said, where there is one: personal data, and no label
RECORDING = "recording"  # column that says which call a clip is of, where there is one; any text
NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]{1,3})?|\.[0-9]+")
CHANNEL = re.compile(r"[0-9]{1,4}")


class Packed(Sequence[Clip]):
    """Clips in a third of the memory that objects take: columns, of which a Clip is made when it is asked for.

    names: of Clip's fields, those that are kept; the others are at their defaults in every clip.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._columns: dict[str, Any] = {name: array("d") if name in SECONDS else [] for name in names}
        self._columns["line"] = array("l")

    def append(self, clip: Clip) -> None:
        for name, column in self._columns.items():
            value = getattr(clip, name)
            column.append(math.nan if value is None and name in SECONDS else value)

    def __len__(self) -> int:
        return len(self._columns["line"])

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return tuple(self[at] for at in range(*place.indices(len(self))))
        cells = ((name, column[place]) for name, column in self._columns.items())
        values: dict[str, Any] = {name: None if value != value else value for name, value in cells}  # NaN: none given
        return Clip(**values)


@dataclass(frozen=True)
class Manifest:
    """A corpus that was read without a defect.

    root: the folder that the clips' paths start from. more_roots: where a file is looked for that is not there; where
    there are any, the last one is the manifest's own folder.
    """

    name: str
    root: Path
    columns: tuple[str, ...]
    clips: Sequence[Clip]
    more_roots: tuple[Path, ...] = ()

    @property
    def home(self) -> Path:
        """The manifest's own folder."""
        return (self.root, *self.more_roots)[-1]

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Every column that this module gives no meaning."""
        return tuple(column for column in self.columns if column not in (*RESERVED, RECORDING, TEXT))

    @property
    def lines(self) -> tuple[int, ...]:
        return tuple(clip.line for clip in self.clips)

    def cells(self, column: str) -> tuple[str, ...]:
        """The text of one column, a cell per clip."""
        place = self.columns.index(column)
        return tuple(clip.cells[place] for clip in self.clips)

    def with_cells(self, columns: Mapping[str, Sequence[str]]) -> "Manifest":
        """The same clips with other cells in these columns, each of as many as there are clips."""
        places = {self.columns.index(column): cells for column, cells in columns.items()}
        clips = tuple(
            replace(clip, cells=tuple(places[at][row] if at in places else cell for at, cell in enumerate(clip.cells)))
            for row, clip in enumerate(self.clips)
        )
        return replace(self, clips=clips)

    def audio_path(self, clip: Clip) -> Path:
        for root in self.more_roots and (self.root, *self.more_roots):
            if (root / clip.path).exists():
                return root / clip.path
        return self.root / clip.path


def read(file: Path, audio_root: Roots = None, *, cells: bool = True) -> Manifest:
    """Read and check a manifest.

    audio_root: where its paths start from, one folder or several, before its own. cells: False takes a fifth
    of the memory, for whoever needs the audio alone.

    Raises ManifestError with every defect and its line.
    """
    manifest, defects = inspect(file, audio_root, cells=cells)
    if defects:
        raise ManifestError(file.name, defects)
    assert manifest is not None
    return manifest


def inspect(file: Path, audio_root: Roots = None, *, cells: bool = True) -> tuple[Manifest | None, list[str]]:
    """The manifest as far as it can be read, and its defects, each beginning with "line N", then the column."""
    roots = roots_of(audio_root, file.parent)
    for root in roots[:-1]:
        if not root.is_dir():
            return None, [f"line 1: the audio root {root.name}/ is not a folder"]
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        return None, [f"line 1: there is no such file in {file.parent.resolve().name}/; see `toolkit manifest --help`"]
    except OSError as error:
        return None, [f"line 1: it cannot be read: {error.strerror}"]
    text, defect = _decode(raw)
    if defect:
        return None, [defect]
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = tuple(next(reader, ()))
    except csv.Error as error:
        return None, [f"line 1: it is not CSV: {error}"]
    defects = _header_defects(columns)
    if defects:
        return None, defects
    clips: list[Clip] | Packed = [] if cells else Packed(name for name in RESERVED if name in columns)
    first_line: dict[str, int] = {}
    met: dict[str, str] = {}  # a label, a speaker, a file of many segments: one string for all its rows
    shared = [column not in ("id", "start", "end", "duration") for column in columns]
    line = reader.line_num + 1
    try:
        for row in reader:
            if row:
                if len(row) != len(columns):
                    defects.append(f"line {line}: {len(row)} cells, expected {len(columns)} as in the header")
                else:
                    row = [met.setdefault(cell, cell) if often else cell for cell, often in zip(row, shared)]
                    clip, found = clip_of(columns, row, line, roots, cells=cells)
                    if clip.id in first_line:
                        first = first_line[clip.id]
                        found.append(f"line {line}, column 'id': duplicate id {clip.id!r}, first used in line {first}")
                    first_line.setdefault(clip.id, line)
                    defects += found
                    clips.append(clip)
            line = reader.line_num + 1
    except csv.Error as error:
        defects.append(f"line {reader.line_num}: it is not CSV: {error}")
    if not clips and not defects:
        defects.append("line 2: no clips; expected one row per clip under the header")
    defects += repeats.same_audio(columns, RESERVED, clips)
    kept = clips if isinstance(clips, Packed) else tuple(clips)
    return Manifest(file.name, roots[0], columns, kept, roots[1:]), defects


def _decode(raw: bytes) -> tuple[str, str]:
    """Text and no defect, or no text and the defect."""
    for mark in (b"\xff\xfe", b"\xfe\xff"):
        if raw.startswith(mark):
            return "", "line 1: starts with a byte-order mark (UTF-16); save it as UTF-8"
    try:
        text = raw.decode("utf-8-sig")  # Excel's "CSV UTF-8" begins with a byte-order mark
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return "", f"line {line}: byte 0x{raw[error.start]:02x} is not UTF-8; save it as UTF-8"
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        return "", f"line {line}: a NUL character; expected plain text"
    return text, ""


def _header_defects(columns: Sequence[str]) -> list[str]:
    if not columns:
        return [f"line 1: the file is empty; expected a header with {', '.join(REQUIRED)}"]
    defects = [
        f"line 1: no column {name!r}; the header has {list(columns)}" for name in REQUIRED if name not in columns
    ]
    for name in sorted({name for name in columns if columns.count(name) > 1}):
        defects.append(f"line 1: column {name!r} is there twice")
    for name in columns:
        if not name or name != name.strip():
            defects.append(f"line 1: bad column name {name!r}; expected a name without spaces around it")
        elif name.lower() in RESERVED and name not in RESERVED:
            defects.append(f"line 1: column {name!r}; expected {name.lower()!r} in small letters")
    return defects


def clip_of(
    columns: Sequence[str], row: Sequence[str], line: int, roots: Sequence[Path], *, cells: bool = True
) -> tuple[Clip, list[str]]:
    """One row's clip and its defects. roots: as `roots_of` gives them."""
    defects: list[str] = []
    values = dict(zip(columns, row))

    def wrong(column: str, defect: str) -> None:
        defects.append(f"line {line}, column {column!r}: {defect}")

    def number(column: str) -> float | None:
        text = values.get(column, "").strip()
        if not text:
            return None
        if NUMBER.fullmatch(text) and (value := float(text)) < float("inf"):
            return value
        wrong(column, f"{text!r}, expected seconds from 0")
        return None

    identity = values["id"]
    if not identity or identity != identity.strip() or not identity.isprintable():
        wrong("id", f"bad id {identity!r}; expected text without spaces around it")
    path, defect = located(values["path"], roots)
    if defect:
        wrong("path", defect)
    start, end, duration = number("start"), number("end"), number("duration")
    if end is not None and end <= (start or 0):
        wrong("end", f"{end:g} is not after start {start or 0:g} (seconds)")
    channel_text = values.get("channel", "").strip()
    channel = int(channel_text) if CHANNEL.fullmatch(channel_text) else None
    if channel_text and channel is None:
        wrong("channel", f"{channel_text!r}, expected 0, 1, ...")
    for column in ("speaker", "split"):
        cell = values.get(column, "filled")
        if not cell.strip():
            wrong(column, "it is empty; expected one in every row, or no such column")
        elif cell != cell.strip() or not cell.isprintable():  # "s1" and "s1 " would be two speakers
            wrong(column, f"{cell!r}; expected text without spaces around it")
    kept = tuple(path if column == "path" else cell for column, cell in zip(columns, row)) if cells else ()
    speaker, split = values.get("speaker"), values.get("split")
    return Clip(identity, path, line, start, end, channel, duration, speaker, split, kept), defects


def check_overwrite(file: Path, overwrite: bool) -> None:
    """Raises InputError where a manifest cannot or must not be written."""
    if not file.parent.is_dir():
        raise InputError(f"There is no folder {file.parent.name}/")
    if file.exists() and not overwrite:
        raise InputError(
            f"{file.name} is there already and is not overwritten; move it away, give another --out, or say --overwrite"
        )


def write(file: Path, columns: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> None:
    """Commit a manifest as UTF-8 CSV with \\n line ends. Raises ManifestError for a cell that CSV cannot bring back."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for number, row in enumerate(rows, start=1):
        for column, cell in zip(columns, row, strict=True):
            if "\r" in cell or "\0" in cell or not _is_text(cell):
                raise ManifestError(
                    file.name, [f"row {number}: {column} {cell!r}; expected text without control characters"]
                )
        writer.writerow(row)
    commit_text(file, text.getvalue())


def _is_text(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeEncodeError:  # a file name that is not UTF-8, as Python hands it on
        return False
    return True
