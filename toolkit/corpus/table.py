"""A table as people have it -> manifest.csv, with a word on all that was understood, and on each row that was not."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.audio import decode_pool
from toolkit.core.errors import AudioError, InputError
from toolkit.core.i18n import ENGLISH
from toolkit.corpus import cells, headings, manifest, sheet, spellings
from toolkit.corpus.acceptance import Row, accepted
from toolkit.corpus.finding import Finder
from toolkit.corpus.options import TableOptions
from toolkit.corpus.roots import Roots, roots_of
from toolkit.corpus.sheet import Sheet
from toolkit.corpus.spellings import NAMELESS, Rules, key

SHOWN_LABELS = 12  # of a column


@dataclass(frozen=True)
class Imported:
    """What a table gave.

    manifest: the file's name. clips: its rows. notes: sentences on what was understood. left_out: why, by the line of
    each row that was not.
    """

    manifest: str
    clips: int
    notes: tuple[str, ...]
    left_out: Mapping[int, str]

    def __str__(self) -> str:
        lines = list(self.notes)
        if self.left_out:
            lines.append(f"not understood, and left out: {ENGLISH.counted(len(self.left_out), 'row')}")
            lines += [f"  line {line}: {why}" for line, why in sorted(self.left_out.items())]
        return "\n".join([*lines, f"{self.manifest}: {self.clips:,} clips"])


@dataclass
class _Reading:
    """A table while it is read: the notes so far, and the rows that are left out."""

    table: Sheet
    notes: list[str] = field(default_factory=list)
    out: dict[int, str] = field(default_factory=dict)

    def leave_out(self, row: int, why: str) -> None:
        self.out.setdefault(self.table.rows[row][0], why)


def table(file: Path, out: Path, options: TableOptions, audio_root: Roots = None) -> Imported:
    """Write a manifest of a table's rows, but of those that are not understood or that a later command would refuse.

    out: the manifest. audio_root: where the audio is, besides the folders of the manifest and of the table.

    Raises InputError where `out` is there already, where columns cannot be recognised, and where no row is left.
    """
    rules = options.rules
    manifest.check_overwrite(out, options.overwrite)
    read = _Reading(sheet.read(file, options.sheet, options.encoding))
    found = read.table
    named = headings.columns(found, options, read.notes)
    blank = f" and {found.blank:,} blank" if found.blank else ""
    read.notes.insert(0, f"{file.name}: {found.how}; {len(found.rows):,} rows{blank}")
    columns: dict[str, Sequence[str]] = {}
    roots = roots_of(audio_root, out.parent)
    columns["path"] = _paths(read, named["path"], file, roots)
    for role in ("start", "end"):
        if role in named:
            columns[role] = _seconds(read, named[role])
    if "duration" in named:
        columns["end"] = list(map(_end, columns["start"], _seconds(read, named["duration"])))
    if "channel" in named:
        columns["channel"] = _channels(read, named["channel"], columns["path"], roots, options.first_channel)
    if "speaker" in named:
        columns["speaker"] = _speakers(read, named["speaker"], rules)
    else:
        read.notes.append("  no column of speakers: nothing can keep them apart (--speaker COLUMN names one)")
    labels = headings.labels(found, options)
    for name in labels:
        columns[name] = _label(read, name, rules)
    given = cells.whole_numbers(read.table.cells(named["id"])) if "id" in named else None
    columns = {"id": given or _ids(columns), **columns}
    rest = [name for name in found.columns if name and name not in {*named.values(), *columns}]
    if rest:
        read.notes.append(f"  not taken: {', '.join(map(repr, rest))}; --label takes more columns")
    rows: list[Row] = [
        (line, row) for (line, _), row in zip(found.rows, zip(*columns.values())) if line not in read.out
    ]
    kept, others = accepted(tuple(columns), rows, roots, file.name)
    left_out = {**others, **read.out}
    if not kept:
        first = [f"line {line}: {why}" for line, why in sorted(left_out.items())[:3]]
        raise InputError(f"{file.name}: no row was understood, and nothing was written\n  " + "\n  ".join(first))
    manifest.write(out, tuple(columns), [row for _, row in kept])
    read.notes += _counted(dict(zip(columns, zip(*(row for _, row in kept)))), labels)
    return Imported(out.name, len(kept), tuple(read.notes), left_out)


def _paths(read: _Reading, column: str, file: Path, roots: Sequence[Path]) -> list[str]:
    """Of the manifest's folder where the audio is below it, else of a root."""
    *given, home = roots
    bases = []
    for base in dict.fromkeys((*given, home, file.parent.resolve())):
        if base.is_relative_to(home):
            below = base.relative_to(home).as_posix()
            bases.append((base, "" if below == "." else f"{below}/"))
        elif base in given:
            bases.append((base, ""))
    finder, paths, other = Finder(bases), [], []
    for number, cell in enumerate(read.table.cells(column)):
        path = finder.find(cell)
        if path is None:
            name = _name(cell)
            why = f"no such file {name!r}; --audio-root FOLDER says where it is" if name else "it names no audio file"
            read.leave_out(number, f"{column}: {why}")
        elif path != cell:
            other.append((cell, path))
        paths.append(path or "")
    if other:
        (cell, path), more = other[0], f", and {len(other) - 1:,} more alike" if len(other) > 1 else ""
        read.notes.append(f"  {column}: {_name(cell)!r} is {path!r}{more}")
    if any(not (home / path).is_file() for path in paths if path):
        read.notes.append("  The audio is outside the manifest's folder: give the same --audio-root to every command")
    return paths


def _name(path: str) -> str:
    """The last part of a path of any system."""
    return re.split(r"[\\/]", path)[-1]


def _seconds(read: _Reading, column: str) -> list[str]:
    milliseconds = re.search(r"\bms\b|_ms\b|毫秒|millisec", key(column)) is not None
    if re.search("samples?|frames?|采样|帧", key(column)):
        raise InputError(f"{column!r} counts samples or frames; expected seconds, milliseconds or a time by the clock")
    found = []
    for number, cell in enumerate(read.table.cells(column)):
        value = cells.seconds(cell, milliseconds) if cell else None
        if cell and value is None:
            read.leave_out(number, f"{column}: {cell!r}, expected seconds or a time such as 00:01:14.5")
        found.append("" if value is None else cells.written(value))
    unit = "milliseconds" if milliseconds else "seconds, or times by the clock"
    read.notes.append(f"  {column}: read as {unit}, e.g. {_example(read.table.cells(column), found)}")
    return found


def _end(start: str, duration: str) -> str:
    return cells.written(float(start or 0) + float(duration)) if duration else ""


def _example(before: Sequence[str], after: Sequence[str]) -> str:
    both = next(((old, new) for old, new in zip(before, after) if old and new), ("", ""))
    return f"{both[0]!r} is {both[1]} s"


def _channels(read: _Reading, column: str, paths: Sequence[str], roots: Sequence[Path], first: int | None) -> list[str]:
    """Counted from 0, wherever the table counts from: channels that a file lacks show it."""
    found: list[int | None] = []
    numbered: dict[int, int] = {}  # by row
    for number, cell in enumerate(read.table.cells(column)):
        value = cells.channel(cell) if cell else None
        if cell and value is None:
            read.leave_out(number, f"{column}: {cell!r}, expected a number, or left or right")
        elif value is not None and not value[1]:
            numbered[number] = value[0]
        found.append(value[0] if value else None)
    if numbered:
        if first is None:
            first = _first_channel(column, numbered, paths, roots)
        read.notes.append(f"  {column}: channels counted from {first}")
        for number, number_here in numbered.items():
            found[number] = number_here - first
            if number_here < first:
                read.leave_out(number, f"{column}: '{number_here}', expected {first}, {first + 1} ...")
    return ["" if one is None else str(max(one, 0)) for one in found]


def _first_channel(column: str, numbered: Mapping[int, int], paths: Sequence[str], roots: Sequence[Path]) -> int:
    if 0 in numbered.values():
        return 0
    seen: dict[str, int] = {}
    for number, value in numbered.items():
        path = paths[number]
        file = next((root / path for root in roots if path and (root / path).is_file()), None)
        if file is None:
            continue
        if path not in seen:
            try:
                seen[path] = decode_pool.header(file, longest=float("inf")).channels
            except AudioError:
                continue
        if value == seen[path]:
            return 1
    several = max(seen.values(), default=0)
    raise InputError(
        f"The column {column!r} holds no 0, in files of up to {several} channels: does it count from 0 or from 1? Say "
        "--first-channel 0 or 1"
    )


def _speakers(read: _Reading, column: str, rules: Rules) -> list[str]:
    found = cells.whole_numbers(read.table.cells(column))
    for number, cell in enumerate(found):
        if not cell or (rules.unknown == "refuse" and key(cell) in NAMELESS):
            read.leave_out(number, f"{column}: {cell!r} names no one" if cell else f"{column}: it is empty")
    return _settled(read, column, found, rules, group=True)


def _label(read: _Reading, column: str, rules: Rules) -> list[str]:
    before = named = read.table.cells(column)
    if rules.unknown == "refuse":  # 无 says no next to 有
        named = ["" if key(cell) in NAMELESS - cells.NO else cell for cell in before]
    found = cells.flags(named)
    as_flags = found is not None
    if found is None:
        found = cells.whole_numbers(named)
        if rules.unknown == "refuse":
            found = ["" if key(cell) in NAMELESS else cell for cell in found]
    settled = found if as_flags else _settled(read, column, found, rules, group=False)
    if as_flags and (words := sorted({cell for cell in named if cell} - {"0", "1"})):
        read.notes.append(f"  {column}: {', '.join(map(repr, words))} read as 0 and 1")
    if nameless := sorted({old for old, new in zip(before, settled) if old and not new}):
        read.notes.append(f"  {column}: {', '.join(map(repr, nameless))} name no label, so these cells are left empty")
    return settled


def _counted(columns: Mapping[str, Sequence[str]], labels: Sequence[str]) -> list[str]:
    """Sentences on what is written."""
    lines = [f"  speakers: {len(set(columns['speaker'])):,}"] if "speaker" in columns else []
    for name in labels:
        counts = Counter(columns[name])
        empty = counts.pop("", 0)
        shown = ", ".join(f"{value} ({count:,})" for value, count in sorted(counts.items())[:SHOWN_LABELS])
        more = f" and {len(counts) - SHOWN_LABELS} more" if len(counts) > SHOWN_LABELS else ""
        unlabelled = f"; {empty:,} without a label, which --unlabelled skip leaves out" if empty else ""
        lines.append(f"  label {name!r}: {shown}{more}{unlabelled}")
    return lines


def _settled(read: _Reading, column: str, found: Sequence[str], rules: Rules, group: bool) -> list[str]:
    """In one spelling, the empty cells as they are. Raises LabelError or SplitError."""
    rows = [number for number, cell in enumerate(found) if cell]
    lines = [read.table.rows[number][0] for number in rows]
    spelt = spellings.settle(
        column, [found[number] for number in rows], lines, Rules(rules.spellings, "keep"), group, read.table.name
    )
    if column != manifest.TEXT:
        spellings.check_doubtful(read.table.name, column, spellings.names(spelt.cells, lines), rules, group)
    read.notes.extend(f"  {note}" for note in spelt.notes if note.key in ("merged", "kept_apart"))
    settled = list(found)
    for number, cell in zip(rows, spelt.cells):
        settled[number] = cell
    return settled


def _ids(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Made of a row's own audio, so that they stay when rows come and go."""
    made = []
    for row in zip(*(columns.get(name, [""] * len(columns["path"])) for name in ("path", "channel", "start", "end"))):
        path, channel, start, end = row
        made.append(path + (f"#{channel}" if channel else "") + (f":{start or 0}-{end}" if start or end else ""))
    return made
