"""Known corpus layouts -> manifest.csv: one folder per label, and the hotline's one CSV per call."""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.audio.decode import SUFFIXES
from toolkit.core.errors import InputError
from toolkit.corpus import manifest
from toolkit.corpus.labels import HOTLINE

CALLER = "1"  # the hotline's role of the one who calls; the others are counsellors
SHOWN_DEFECTS = 20


@dataclass(frozen=True)
class Imported:
    """What an importer wrote.

    manifest: the file's name. clips: its rows. speakers: how many, None where they are not known. labels: clips by
    label. skipped: what was passed over, by reason. needs_audio_root: the audio lies outside the manifest's folder,
    and every command that reads it needs `--audio-root` with the corpus's folder.
    """

    manifest: str
    clips: int
    speakers: int | None
    labels: Mapping[str, int]
    skipped: Mapping[str, int]
    needs_audio_root: bool

    def __str__(self) -> str:
        speakers = "speakers unknown" if self.speakers is None else f"{self.speakers:,} speakers"
        lines = [f"{self.manifest}: {self.clips:,} clips, {speakers}"]
        lines += [f"  {label}: {count:,}" for label, count in self.labels.items()]
        lines += [f"skipped: {count:,} {reason}" for reason, count in self.skipped.items()]
        if self.needs_audio_root:
            lines.append("The audio lies outside the manifest's folder: give --audio-root with the corpus's folder.")
        return "\n".join(lines)


def folder(
    root: Path, out: Path | None = None, *, label_column: str = "label", speaker_regex: str | None = None
) -> Imported:
    """Write a manifest of root/LABEL/**/FILE: the label is the first folder's name, the id the path below `root`.

    out: the manifest, root/manifest.csv unless given. speaker_regex: searched in the path below `root`; the speaker is
    its group named "speaker", else its first group, else the whole match. Without it there is no speaker column.
    Hidden files and folders, links to folders, and files that are no audio by their suffix are passed over and counted.

    Raises InputError when `out` exists, when there is no audio, or when a path does not match `speaker_regex`.
    """
    out = _new_file(root, out)
    if label_column in manifest.RESERVED or not label_column or label_column != label_column.strip():
        raise InputError(f"The label column cannot be called {label_column!r}; {list(manifest.RESERVED)} are taken")
    skipped: Counter[str] = Counter()
    paths = sorted(_audio_paths(root, skipped))
    if not paths:
        raise InputError(
            f"No audio in {root.resolve().name}/LABEL/; expected one folder per label with {', '.join(SUFFIXES)}"
        )
    rows = [[path, path, path.split("/")[0]] for path in paths]
    columns = ["id", "path", label_column]
    if speaker_regex is not None:
        columns.append("speaker")
        for row, speaker in zip(rows, _speakers(paths, speaker_regex)):
            row.append(speaker)
    prefix, outside = _prefix(root, out)
    manifest.write(out, columns, [[row[0], prefix + row[1], *row[2:]] for row in rows])
    speakers = len({row[3] for row in rows}) if speaker_regex is not None else None
    labels = dict(sorted(Counter(row[2] for row in rows).items()))
    return Imported(out.name, len(rows), speakers, labels, dict(sorted(skipped.items())), outside)


def hotline(root: Path, out: Path | None = None) -> Imported:
    """Write a manifest of the hotline's layout: root/CALL.csv with the columns index, role and the 11 labels (0 or 1),
    and root/CALL/INDEX.wav.

    Role 1 is the caller; rows of other roles are passed over and counted. The call is the speaker, and `negative` is 1
    where any label is. out: the manifest, root/manifest.csv unless given.

    Raises InputError when `out` exists, and with every defect by file and line: bad cells, missing audio.
    """
    out = _new_file(root, out)
    prefix, outside = _prefix(root, out)
    calls = sorted(path for path in root.glob("*.csv") if path.name != out.name and not path.name.startswith("."))
    if not calls:
        raise InputError(
            f"No CSV file in {root.resolve().name}/; expected one per call, beside the folder of its audio"
        )
    rows: list[list[str]] = []
    defects: list[str] = []
    skipped: Counter[str] = Counter()
    for call in calls:
        used: set[str] = set()
        for line, cells in _call_rows(call, defects):
            index, role = cells["index"].strip(), cells["role"].strip()
            if not re.fullmatch("[0-9]+", role):
                defects.append(
                    f"{call.name}, line {line}: role {role!r}, expected {CALLER} (the caller) or another number"
                )
            elif role != CALLER:
                skipped["rows of other roles than the caller"] += 1
            elif row := _hotline_row(call, line, index, cells, used, defects):
                rows.append(row)
    if defects:
        listed = "\n  ".join(defects[:SHOWN_DEFECTS])
        more = f"\n  and {len(defects) - SHOWN_DEFECTS} more" if len(defects) > SHOWN_DEFECTS else ""
        raise InputError(f"The calls' CSV files have {len(defects)} defects; nothing was written:\n  {listed}{more}")
    if not rows:
        raise InputError(f"No row of a caller (role {CALLER}) in {len(calls)} CSV files")
    columns = ("id", "path", "speaker", *HOTLINE, "negative")
    manifest.write(out, columns, [[row[0], prefix + row[1], *row[2:]] for row in rows])
    labels = {name: sum(row[columns.index(name)] == "1" for row in rows) for name in columns[3:]}
    return Imported(out.name, len(rows), len({row[2] for row in rows}), labels, dict(skipped), outside)


def _hotline_row(
    call: Path, line: int, index: str, cells: Mapping[str, str], used: set[str], defects: list[str]
) -> list[str] | None:
    """One manifest row, or None with the defects added."""
    place = f"{call.name}, line {line}"
    before = len(defects)
    if not re.fullmatch("[0-9]+", index):
        defects.append(f"{place}: index {index!r}, expected the number of the audio file")
    elif index in used:
        defects.append(f"{place}: index {index} stands twice in this call")
    elif not (call.with_suffix("") / f"{index}.wav").is_file():
        defects.append(f"{place}: no such file {call.stem}/{index}.wav")
    used.add(index)
    values = [cells[name].strip() for name in HOTLINE]
    for name, value in zip(HOTLINE, values):
        if value not in ("0", "1"):
            defects.append(f"{place}: {name} {value!r}, expected 0 or 1")
    if len(defects) > before:
        return None
    return [f"{call.stem}/{index}", f"{call.stem}/{index}.wav", call.stem, *values, "1" if "1" in values else "0"]


def _call_rows(call: Path, defects: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells of each row of one call's CSV (a byte-order mark is passed over)."""
    if not call.stem.isprintable() or call.stem != call.stem.strip():
        defects.append(f"{call.name!r}: expected a printable file name without spaces around it")
        return
    try:
        text = call.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        defects.append(f"{call.name}: byte {error.start} is not UTF-8; save it as UTF-8")
        return
    except OSError as error:
        defects.append(f"{call.name}: cannot be read: {error.strerror}")
        return
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in ("index", "role", *HOTLINE) if header.count(name) != 1]
        if missing:
            defects.append(f"{call.name}, line 1: expected each of the columns {missing} once; the header has {header}")
            return
        line = reader.line_num + 1
        for row in reader:
            if row and len(row) != len(header):
                defects.append(f"{call.name}, line {line}: {len(row)} cells, expected {len(header)} as in the header")
            elif row:
                yield line, dict(zip(header, row))
            line = reader.line_num + 1
    except csv.Error as error:
        defects.append(f"{call.name}, line {reader.line_num}: it is not CSV: {error}")


def _new_file(root: Path, out: Path | None) -> Path:
    out = out or root / manifest.FILE_NAME
    for place in (root, out.parent):
        if not place.is_dir():
            raise InputError(f"There is no folder {place.name}/")
    if out.exists():
        raise InputError(f"{out.name} is there already and is not overwritten; move it away or give another --out")
    return out


def _prefix(root: Path, out: Path) -> tuple[str, bool]:
    """What the manifest's paths begin with, and whether the audio lies outside the manifest's folder."""
    corpus, home = root.resolve(), out.parent.resolve()
    if not corpus.is_relative_to(home):
        return "", True
    below = corpus.relative_to(home).as_posix()
    return ("" if below == "." else f"{below}/"), False


def _audio_paths(root: Path, skipped: Counter[str]) -> Iterator[str]:
    """Paths of the audio files below `root`, in folders, with / between them."""
    for place, folders, files in os.walk(root):
        for name in list(folders):
            if name.startswith("."):
                skipped["hidden files or folders"] += 1
                folders.remove(name)
            elif (Path(place) / name).is_symlink():
                skipped["links to folders"] += 1
        for name in files:
            path = (Path(place) / name).relative_to(root).as_posix()
            if name.startswith("."):
                skipped["hidden files or folders"] += 1
            elif Path(name).suffix.lower() not in SUFFIXES:
                skipped["files that are no audio by their suffix"] += 1
            elif "/" not in path:
                skipped["audio files in no label's folder"] += 1
            elif not path.isprintable() or "\\" in path or any(part != part.strip() for part in path.split("/")):
                skipped["audio files whose path has unprintable signs, backslashes, or spaces around a name"] += 1
            else:
                yield path


def _speakers(paths: Sequence[str], regex: str) -> list[str]:
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise InputError(f"--speaker-regex {regex!r} is no regular expression: {error}") from None
    group: str | int = "speaker" if "speaker" in pattern.groupindex else min(1, pattern.groups)
    matches = [pattern.search(path) for path in paths]
    speakers = [(match[group] or "").strip() if match else "" for match in matches]
    without = [path for path, speaker in zip(paths, speakers) if not speaker]
    if without:
        raise InputError(
            f"--speaker-regex {regex!r} finds no speaker in {len(without)} of {len(paths)} paths, e.g. {without[0]!r}"
        )
    return speakers
