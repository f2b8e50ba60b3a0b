"""Rows of several clips each: a call's, a speaker's, a recording's, each with one label and one group."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

import numpy as np

from toolkit.audio.clip import Clip
from toolkit.core.errors import InputError, LabelError, SplitError, one_of
from toolkit.core.i18n import Note
from toolkit.corpus.evaluation_task import check_overlap
from toolkit.corpus.labels import Task, columns_of
from toolkit.corpus.manifest import RECORDING, SECONDS, Manifest
from toolkit.corpus.numerals import NUMBER
from toolkit.corpus.scales import check_codes, expected, is_scale, number
from toolkit.corpus.spellings import REFUSE, Rules, settle
from toolkit.corpus.splits import Folds

UNIT_LABELS = ("any", "first", "max", "mean")
SKIPPED = ("id", "path", "channel", *SECONDS)  # columns that are of a clip, whatever its unit


@dataclass(frozen=True)
class Units:
    """A corpus by its units.

    column, label: as `--unit` and `--unit-label` name them. manifest: a row a unit, its id the unit's name, with the
    columns that do not vary within one, in the order of the units' first clips. members: the ids of each one's clips in
    the order of time. notes: what a reader of the figures must see. labels: of each clip whose unit has
    several labels, its own cells of the target by column.
    """

    column: str
    label: str | None
    manifest: Manifest
    members: Mapping[str, tuple[str, ...]]
    notes: tuple[Note, ...]
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def present(self, clips: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The members that are among these clips, without units that have none."""
        there = set(clips)
        found = {unit: tuple(filter(there.__contains__, members)) for unit, members in self.members.items()}
        return {unit: members for unit, members in found.items() if members}

    def dealt(self, donors: Mapping[str, str], generator: np.random.Generator) -> "Units":
        """Each unit's clips with the labels of its donor's clips, in random order; with fewer clips some of these."""
        labels: dict[str, Mapping[str, str]] = {}
        for unit, donor in donors.items():
            own, given = self.members[unit], [clip for clip in self.members[donor] if clip in self.labels]
            if given:  # all of them, or none
                order = np.concatenate([generator.permutation(len(given)) for _ in range(-(-len(own) // len(given)))])
                labels |= {clip: self.labels[given[number]] for clip, number in zip(own, order.tolist())}
        return replace(self, labels=labels)

    def clips_of(self, folds: Folds) -> Folds:
        """The folds of units as folds of their clips."""
        counts = [len(self.members[unit]) for unit in folds.ids]
        ids = tuple(clip for unit in folds.ids for clip in self.members[unit])
        groups = tuple(group for group, count in zip(folds.groups, counts, strict=True) for _ in range(count))
        return replace(folds, ids=ids, groups=groups, fold=np.repeat(folds.fold, counts))


def names_of(manifest: Manifest, column: str, rules: Rules) -> tuple[str, ...]:
    """The unit of every clip. Raises InputError for a column that is not there, or a clip of no unit."""
    if column in manifest.columns and column not in SKIPPED:
        cells = manifest.cells(column)
    elif column == RECORDING and any(clip.recording for clip in manifest.clips):
        cells = tuple(clip.recording or clip.id for clip in manifest.clips)  # windows
    else:
        raise InputError(one_of("--unit", column, [name for name in manifest.columns if name not in SKIPPED]))
    for cell, line in zip(cells, manifest.lines):
        if not cell or cell != cell.strip() or not cell.isprintable():
            raise InputError(
                f"Manifest line {line}, column {column!r}: {cell!r}, expected the name of the clip's unit (--unit)"
            )
    return settle(column, cells, manifest.lines, rules, group=True).cells


def units_of(
    manifest: Manifest, column: str, label: str | None, target: str, group_by: str | None, rules: Rules = REFUSE
) -> Units:
    """A corpus by the values of a column.

    label: how a unit's label is made where its clips have several, None to refuse that. group_by: what folds will keep
    apart, None where none are made: then a unit may be of several groups, and loses that column.

    Raises:
        InputError: for a column that is not there, or a clip of no unit.
        LabelError: for a unit whose clips have several labels.
        SplitError: for a unit that is in two groups, or one audio in two groups.
    """
    if label is not None and label not in UNIT_LABELS:
        raise InputError(one_of("--unit-label", label, UNIT_LABELS))
    names = names_of(manifest, column, rules)
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    for inside in rows.values():
        if len({manifest.clips[row].path for row in inside}) == 1:  # parts of one file in the order of time
            inside.sort(key=lambda row: manifest.clips[row].start or 0.0)
    cells: dict[str, list[str]] = {"id": list(rows), "path": list(rows)}
    targets, made, spelt = columns_of(target), set[str](), dict[str, Sequence[str]]()
    for name in (one for one in manifest.columns if one not in SKIPPED):
        whole: Sequence[str] = manifest.cells(name)
        if name in targets:
            whole = spelt[name] = _spelt(name, whole, manifest, rules)
            if (is_scale(rules) or rules.threshold is not None) and not rules.levels:
                check_codes(name, whole, manifest.lines, rules)
            cells[name] = []
            for unit, inside in rows.items():
                value, several = _label(name, unit, inside, whole, manifest, label, rules)
                cells[name].append(value)
                made |= {unit} if several else set()
            continue
        if name in (group_by, "speaker"):
            whole = settle(name, whole, manifest.lines, rules, group=True).cells
        odd = _odd(rows, whole)
        if odd is None:
            cells[name] = [whole[inside[0]] for inside in rows.values()]
        elif group_by is not None and name in (group_by, "split"):
            unit, first, second = odd
            raise SplitError(
                f"Unit {unit!r} (column {column!r}) has clips of the {name} {whole[first]!r} (manifest line "
                f"{manifest.lines[first]}) and of {whole[second]!r} (line {manifest.lines[second]}); expected whole "
                f"units in each {name}: correct the column, or give another --unit"
                + (" or --group-by" if name == group_by else "")
            )
    if group_by is not None and group_by in cells:
        check_overlap(manifest, settle(group_by, manifest.cells(group_by), manifest.lines, rules, True).cells, group_by)
    counts = [len(inside) for inside in rows.values()]
    sizes = {"some": len(rows), "all": len(names), "few": min(counts), "most": max(counts)}
    notes = [Note("units", {"column": column, **sizes})]
    if made:
        notes.append(Note("unit_labels", {"some": len(made), "rule": label}))
    if "speaker" in manifest.columns and "speaker" not in cells:
        notes.append(Note("unit_speakers", {"group": group_by}))
    columns = tuple(cells)
    clips = tuple(
        Clip(
            unit, unit, manifest.lines[inside[0]],
            speaker=dict(zip(columns, values)).get("speaker"), split=dict(zip(columns, values)).get("split"),
            cells=values,
        )
        for (unit, inside), values in zip(rows.items(), zip(*cells.values()), strict=True)
    )  # fmt: skip
    members = {unit: tuple(manifest.clips[row].id for row in inside) for unit, inside in rows.items()}
    labels = {
        manifest.clips[row].id: {name: whole[row] for name, whole in spelt.items()}
        for unit, inside in rows.items()
        if unit in made
        for row in inside
    }
    return Units(column, label, replace(manifest, columns=columns, clips=clips), members, tuple(notes), labels)


def own_label(task: Task, cells: Mapping[str, str]) -> list[float] | list[int] | int | None:
    """A clip's cells by column as a row of truth; None where they are none of the task's labels."""
    if any(name not in cells for name in task.columns):
        return None
    values = [cells[name] for name in task.columns]
    if task.regression:
        return [number(cell.strip()) for cell in values]
    if task.multilabel or task.labels == (f"not {task.columns[0]}", task.columns[0]):
        found = [int(cell) for cell in values if cell in ("0", "1")]
        return None if len(found) < len(values) else found if task.multilabel else found[0]
    return task.labels.index(values[0]) if values[0] in task.labels else None


def of_folders(manifest: Manifest, column: str) -> Units:
    """Audio that was named by its files, a folder being a unit; its clips are in natural order: 2 before 10.

    column: what a unit is called. Raises InputError for a file next to the folders of units.
    """
    folders = [PurePath(clip.path).parent.as_posix() for clip in manifest.clips]
    alone = [clip.path for clip, folder in zip(manifest.clips, folders) if folder == "."]
    others = [folder for folder in folders if folder != "."]
    if alone and others:
        raise InputError(
            f"{alone[0]!r} is next to the folder {others[0]!r}, and a folder holds the clips of one {column}; expected "
            "each clip in such a folder: move it into one, or name the folders without it"
        )
    rows: dict[str, list[int]] = {}
    for row, folder in enumerate(folders):
        rows.setdefault(manifest.root.name if folder == "." else folder, []).append(row)
    members = {}
    for unit, inside in rows.items():
        inside.sort(key=lambda row: (_counted(manifest.clips[row].path), manifest.clips[row].start or 0.0))
        members[unit] = tuple(manifest.clips[row].id for row in inside)
    clips = tuple(Clip(unit, unit, manifest.lines[inside[0]], cells=(unit, unit)) for unit, inside in rows.items())
    return Units(column, None, replace(manifest, columns=("id", "path"), clips=clips), members, ())


def _counted(name: str) -> list[tuple[int, str]]:
    """A name for sorting, its numbers by what they count.

    >>> sorted(["10.wav", "2.wav", "a.wav"], key=_counted)
    ['2.wav', '10.wav', 'a.wav']
    """
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split("([0-9]+)", name)]


def _odd(rows: Mapping[str, Sequence[int]], cells: Sequence[str]) -> tuple[str, int, int] | None:
    """The first unit whose clips differ in a column, with the rows of two of them."""
    for unit, inside in rows.items():
        for row in inside:
            if cells[row] != cells[inside[0]]:
                return unit, inside[0], row
    return None


def _spelt(name: str, cells: Sequence[str], manifest: Manifest, rules: Rules) -> Sequence[str]:
    """A target's cells by the rules, empty ones as they are."""
    filled = [row for row, cell in enumerate(cells) if cell.strip()]
    if rules.kind == "regression" or not filled:
        return cells
    found = settle(name, [cells[row] for row in filled], [manifest.lines[row] for row in filled], rules).cells
    spelt = ["" for _ in cells]
    for row, cell in zip(filled, found, strict=True):
        spelt[row] = cell
    return spelt


def _label(
    name: str, unit: str, rows: Sequence[int], cells: Sequence[str], manifest: Manifest, label: str | None, rules: Rules
) -> tuple[str, bool]:
    """A unit's label, "" where no clip has any, and whether its clips differ."""
    labels = [cells[row] for row in rows if cells[row].strip()]
    if len(set(labels)) < 2:
        return labels[0] if labels else "", False
    if label is None:
        first = next(row for row in rows if cells[row].strip())
        other = next(row for row in rows if cells[row].strip() and cells[row] != labels[0])
        raise LabelError(
            f"The clips of unit {unit!r} differ in {name!r}: {labels[0]!r} in manifest line {manifest.lines[first]}, "
            f"{cells[other]!r} in line {manifest.lines[other]}; say how a unit's label is made: --unit-label "
            f"{' or '.join(UNIT_LABELS)}"
        )
    return MAKERS[label](name, labels, rules), True


def _any(name: str, cells: Sequence[str], rules: Rules) -> str:
    if other := sorted({*cells} - {"0", "1"}):
        raise LabelError(f"--unit-label any is for labels of 0 and 1, and column {name!r} holds {other[0]!r}")
    return "1"


def _first(name: str, cells: Sequence[str], rules: Rules) -> str:
    return cells[0]


def _max(name: str, cells: Sequence[str], rules: Rules) -> str:
    if rules.levels:
        if other := sorted({*cells} - {*rules.levels}):
            raise LabelError(one_of(f"--unit-label max of column {name!r}, level", other[0], rules.levels))
        return max(cells, key=rules.levels.index)
    return max(cells, key=lambda cell: _number(name, cell, "max"))


def _mean(name: str, cells: Sequence[str], rules: Rules) -> str:
    if rules.kind != "regression" and rules.threshold is None:
        raise LabelError(
            "--unit-label mean makes numbers between the labels; give --kind regression or --threshold with it, or "
            "take another --unit-label"
        )
    return f"{np.mean([_number(name, cell, 'mean') for cell in cells]):.12g}"


def _number(name: str, cell: str, label: str) -> float:
    if not NUMBER.fullmatch(cell.strip()):
        raise LabelError(f"--unit-label {label} is for numbers; column {name!r}: {expected(cell.strip())}")
    return float(cell)


MAKERS: Mapping[str, Callable[[str, Sequence[str], Rules], str]] = {
    "any": _any,
    "first": _first,
    "max": _max,
    "mean": _mean,
}
