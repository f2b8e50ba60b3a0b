"""Known corpus layouts -> manifest.csv: one folder per label, and the hotline's one CSV per call."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from toolkit.audio.decode import SUFFIXES
from toolkit.core.errors import InputError
from toolkit.corpus import cells, file_names, manifest, sheet
from toolkit.corpus.acceptance import accepted
from toolkit.corpus.finding import Finder
from toolkit.corpus.labels import HOTLINE
from toolkit.corpus.walk import audio_paths

CALLER = "1"  # the hotline's role of the one who calls; the others are counsellors
SHOWN_DEFECTS = 20


@dataclass(frozen=True)
class Imported:
    """What an importer wrote.

    manifest: the file's name. clips: its rows. speakers: how many, None where they are not known. labels: clips by
    label. skipped: what was passed over, by reason. needs_audio_root: the audio is outside the manifest's folder,
    and every command that reads it needs `--audio-root` with the corpus's folder. left_out: by path, why a later
    command would refuse it. notes: sentences on what was decided.
    """

    manifest: str
    clips: int
    speakers: int | None
    labels: Mapping[str, int]
    skipped: Mapping[str, int]
    needs_audio_root: bool
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        speakers = "speakers unknown" if self.speakers is None else f"{self.speakers:,} speakers"
        lines = [f"{self.manifest}: {self.clips:,} clips, {speakers}"]
        lines += [f"  {label}: {count:,}" for label, count in self.labels.items()]
        lines += [f"skipped: {count:,} {reason}" for reason, count in self.skipped.items()]
        lines += self.notes
        lines += [f"left out: {path}: {why}" for path, why in self.left_out.items()]
        if self.needs_audio_root:
            lines.append("The audio is outside the manifest's folder: give --audio-root with the corpus's folder.")
        return "\n".join(lines)


def folder(
    root: Path,
    out: Path,
    *,
    label_column: str = "label",
    speaker_regex: str | None = None,
    regex: str | None = None,
    label_names: Sequence[str] = (),
    overwrite: bool = False,
) -> Imported:
    """Write a manifest of root/LABEL/**/FILE: the label is the first folder's name, the id the path below `root`.

    out: the manifest. speaker_regex: searched in the path below `root`; the speaker is its group named "speaker", else
    its first group, else the whole match. Without it there is no speaker column. regex: likewise, for names that say
    more: each of its named groups becomes a column, "label" the label's, so that no folder needs to name it.
    label_names: "CODE=NAME", what the label's codes mean.
    Hidden files and folders, links to folders, files that are no audio by their suffix, and whatever a later command
    would refuse are passed over and counted.

    Raises InputError when `out` exists, when there is no audio, or when a path does not match one of the expressions.
    """
    new_file(root, out, overwrite)
    if label_column in manifest.RESERVED or not label_column or label_column != label_column.strip():
        raise InputError(f"The label column cannot be called {label_column!r}; {list(manifest.RESERVED)} are taken")
    pattern = file_names.compiled(regex, "--regex") if regex is not None else None
    by_folder = pattern is None or "label" not in pattern.groupindex
    skipped: Counter[str] = Counter()
    paths = sorted(audio_paths(root, skipped, by_folder))
    if not paths:
        place = f"{root.resolve().name}/{'LABEL/' if by_folder else ''}"
        passed_over = "; ".join(f"{count:,} {reason} passed over" for reason, count in sorted(skipped.items()))
        passed_over = f" ({passed_over})" if passed_over else ""
        raise InputError(f"No audio in {place}; expected one folder per label with {', '.join(SUFFIXES)}{passed_over}")
    columns: dict[str, list[str]] = {"id": paths, "path": paths}
    if by_folder:
        columns[label_column] = [path.split("/")[0] for path in paths]
    if pattern is not None:
        columns |= file_names.columns(paths, pattern, label_column)
    if speaker_regex is not None:
        columns["speaker"] = file_names.speakers(paths, speaker_regex)
    columns[label_column] = file_names.spelt_out(columns[label_column], label_names)
    found, made = written(root, out, columns, skipped)
    return replace(made, labels=dict(sorted(Counter(found[label_column]).items())))


def written(
    root: Path, out: Path, columns: Mapping[str, Sequence[str]], skipped: Mapping[str, int]
) -> tuple[dict[str, tuple[str, ...]], Imported]:
    """Write a manifest of the rows that no later command refuses: their cells by column, and the sentences on them.

    columns: paths from `root`. Raises InputError where no row is left.
    """
    prefix, outside = prefix_of(root, out)
    roots = (root.resolve(), out.parent.resolve()) if outside else (out.parent.resolve(),)
    paths, where = columns["path"], root.resolve().name
    cells = {**columns, "path": [prefix + path for path in paths]}
    kept, refused = accepted(tuple(cells), enumerate(zip(*cells.values(), strict=True), 2), roots, where)
    left_out = {paths[line - 2]: why for line, why in refused.items()}
    if not kept:
        first = next(iter(left_out.items()))
        raise InputError(f"Nothing in {where}/ can be used: {first[0]!r}: {first[1]}")
    manifest.write(out, tuple(cells), [row for _, row in kept])
    found = dict(zip(cells, zip(*(row for _, row in kept))))
    speakers = len(set(found["speaker"])) if "speaker" in found else None
    return found, Imported(out.name, len(kept), speakers, {}, dict(sorted(skipped.items())), outside, left_out)


def hotline(root: Path, out: Path, overwrite: bool = False) -> Imported:
    """Write a manifest of the hotline's layout: root/CALL.csv with the columns index, role and the 11 labels (0 or 1),
    and root/CALL/INDEX.wav.

    Role 1 is the caller; rows of other roles are passed over and counted. The call is the speaker and the
    recording, and `negative` is 1 where any label is. out: the manifest.

    Raises InputError when `out` exists, and with every defect by file and line: bad cells, missing audio.
    """
    new_file(root, out, overwrite)
    prefix, outside = prefix_of(root, out)
    calls = sorted(path for path in root.glob("*.csv") if path.name != out.name and not path.name.startswith("."))
    if not calls:
        raise InputError(
            f"No CSV file in {root.resolve().name}/; expected one per call, next to the folder of its audio"
        )
    rows: list[list[str]] = []
    defects: list[str] = []
    skipped: Counter[str] = Counter()
    finder = Finder([(root, "")])
    for call in calls:
        used: set[str] = set()
        for line, row in _call_rows(call, defects):
            index, role = row["index"], row["role"]
            if not re.fullmatch("[0-9]+", role):
                defects.append(
                    f"{call.name}, line {line}: role {role!r}, expected {CALLER} (the caller) or another number"
                )
            elif role != CALLER:
                skipped["rows of other roles than the caller"] += 1
            elif made := _hotline_row(call, line, index, row, used, defects, finder):
                rows.append(made)
    if defects:
        listed = "\n  ".join(defects[:SHOWN_DEFECTS])
        more = f"\n  and {len(defects) - SHOWN_DEFECTS} more" if len(defects) > SHOWN_DEFECTS else ""
        raise InputError(f"The calls' CSV files have {len(defects)} defects; nothing was written:\n  {listed}{more}")
    if not rows:
        raise InputError(f"No row of a caller (role {CALLER}) in {len(calls)} CSV files")
    columns = ("id", "path", "speaker", manifest.RECORDING, *HOTLINE, "negative")
    manifest.write(out, columns, [[row[0], prefix + row[1], *row[2:]] for row in rows])
    labels = {name: sum(row[columns.index(name)] == "1" for row in rows) for name in columns[4:]}
    return Imported(out.name, len(rows), len({row[2] for row in rows}), labels, dict(skipped), outside)


def _hotline_row(
    call: Path, line: int, index: str, row: Mapping[str, str], used: set[str], defects: list[str], finder: Finder
) -> list[str] | None:
    """One manifest row, or None with the defects added."""
    place = f"{call.name}, line {line}"
    before = len(defects)
    path = None
    if not re.fullmatch("[0-9]+", index):
        defects.append(f"{place}: index {index!r}, expected the number of the audio file")
    elif index in used:
        defects.append(f"{place}: index {index} is in this call twice")
    elif (path := finder.find(f"{call.stem}/{index}.wav")) is None:
        defects.append(f"{place}: no such file {call.stem}/{index}.wav")
    used.add(index)
    values = [cells.flags([row[name]]) for name in HOTLINE]
    for name, value in zip(HOTLINE, values):
        if value is None:
            defects.append(f"{place}: {name} {row[name]!r}, expected 0 or 1")
    if len(defects) > before:
        return None
    labels = [value[0] for value in values if value]
    return [f"{call.stem}/{index}", str(path), call.stem, call.stem, *labels, "1" if "1" in labels else "0"]


def _call_rows(call: Path, defects: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells of each row of one call's CSV, as Excel and pandas save it too."""
    if not call.stem.isprintable() or call.stem != call.stem.strip():
        defects.append(f"{call.name!r}: expected a printable file name without spaces around it")
        return
    try:
        found = sheet.read(call)
    except InputError as error:
        defects.append(str(error))
        return
    missing = [name for name in ("index", "role", *HOTLINE) if found.columns.count(name) != 1]
    if missing:
        header = list(found.columns)
        defects.append(f"{call.name}, line 1: expected each of the columns {missing} once; the header has {header}")
        return
    for line, row in found.rows:
        yield line, dict(zip(found.columns, cells.whole_numbers(row, some=True)))


def new_file(root: Path, out: Path, overwrite: bool) -> None:
    if not root.is_dir():
        raise InputError(f"There is no folder {root.name}/")
    manifest.check_overwrite(out, overwrite)


def prefix_of(root: Path, out: Path) -> tuple[str, bool]:
    """What the manifest's paths begin with, and whether the audio is outside the manifest's folder."""
    corpus, home = root.resolve(), out.parent.resolve()
    if not corpus.is_relative_to(home):
        return "", True
    below = corpus.relative_to(home).as_posix()
    return ("" if below == "." else f"{below}/"), False
