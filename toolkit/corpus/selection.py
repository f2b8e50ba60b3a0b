"""Which clips a task is evaluated on: all, or those that have a label, or one of the labels that are picked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from toolkit.core.errors import LabelError, one_of
from toolkit.core.i18n import Note
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.numerals import COMMA, NUMBER, PERCENT
from toolkit.corpus.scales import check_codes, expected, is_scale
from toolkit.corpus.spellings import Rules


def columns(names: Sequence[str], rules: Rules) -> tuple[str, ...]:
    """Of a target's columns those that --labels picks; of a single one it picks values, in `of_labels`."""
    if len(names) < 2 or not rules.labels:
        return tuple(names)
    for label in rules.labels:
        if label not in names:
            raise LabelError(one_of("--labels", label, names))
    return tuple(name for name in names if name in rules.labels)


def labelled(manifest: Manifest, names: Sequence[str], rules: Rules) -> tuple[Manifest, list[Note]]:
    """The clips with a label in each of these columns, and a note where others are left out.

    Raises LabelError for an empty cell, unless the rules skip it, and where nothing is left.
    """
    empty: dict[int, str] = {}
    for name in names if set(names) <= set(manifest.columns) else ():
        for row, cell in enumerate(manifest.cells(name)):
            if not cell.strip():
                empty.setdefault(row, name)
    if rules.kind == "regression" and rules.unlabelled == "skip":  # a clip teaches the targets that it has
        cells = [manifest.cells(name) for name in names if name in manifest.columns]
        empty = {row: name for row, name in empty.items() if not any(column[row].strip() for column in cells)}
    if not empty:
        return manifest, []
    row, name = min(empty.items())
    if rules.unlabelled == "refuse":
        raise LabelError(
            f"Manifest line {manifest.lines[row]}, column {name!r}: the label is empty, as in {len(empty):,} of "
            f"{len(manifest.clips):,} clips; expected one in every row, or --unlabelled skip (leaves them out)"
        )
    if len(empty) == len(manifest.clips):
        raise LabelError(f"No clip has a label in {_listed(names)}, so --unlabelled skip leaves none")
    counted = {"some": len(empty), "all": len(manifest.clips)}
    return _without(manifest, empty), [Note("unlabelled", {"columns": _listed(names), **counted})]


def of_labels(
    manifest: Manifest, cells: Mapping[str, Sequence[str]], names: Sequence[str], rules: Rules
) -> tuple[Manifest, dict[str, Sequence[str]], list[Note]]:
    """The clips of the labels that --labels picks of a single column, their cells, and a note on the others.

    cells: of every column, settled. Raises LabelError for a label that no clip has.
    """
    if not rules.labels or len(names) != 1 or names[0] not in cells or names[0] in rules.labels:
        return manifest, dict(cells), []
    (name,) = names
    for label in rules.labels:
        if label not in cells[name]:
            raise LabelError(f"{one_of('--labels', label, sorted(set(cells[name])))} of the column {name!r}")
    others = {row for row, cell in enumerate(cells[name]) if cell not in rules.labels}
    kept: dict[str, Sequence[str]] = {
        column: [cell for row, cell in enumerate(every) if row not in others] for column, every in cells.items()
    }
    counted = {"some": len(others), "all": len(manifest.clips)}
    note = Note("picked", {"column": name, "list": ", ".join(rules.labels), **counted})
    return _without(manifest, others), kept, [note]


def of_numbers(
    cells: Mapping[str, Sequence[str]], names: Sequence[str], rules: Rules, lines: Sequence[int]
) -> dict[str, Sequence[str]]:
    """The cells, a single column of numbers cut in two by a threshold. lines: of the clips.

    Raises LabelError for a scale that is not declared as classes, a code for no answer, and a cell below no threshold.
    """
    cut = dict(cells)
    if len(names) != 1 or names[0] not in cells:
        if rules.threshold is not None:
            raise LabelError(
                f"--threshold {rules.threshold:g} cuts one column of numbers; {_listed(names)} are several"
            )
        return cut
    (name,) = names
    if rules.threshold is not None:
        check_codes(name, cells[name], lines, rules)
        cut[name] = above(name, cells[name], rules.threshold, lines)
        return cut
    values = set(cells[name])
    if not is_scale(rules) and all(map(NUMBER.fullmatch, values)):  # a scale's codes are checked as it is read
        check_codes(name, cells[name], lines, rules)
    odd = [row for row, cell in enumerate(cells[name]) if COMMA.fullmatch(cell) or PERCENT.fullmatch(cell)]
    if rules.kind == "auto" and odd and all(NUMBER.fullmatch(_plain(cell)) for cell in values):
        raise LabelError(
            f"Manifest line {lines[odd[0]]}, column {name!r}: {expected(cells[name][odd[0]])}; or --kind classes, for "
            "labels that only look like numbers"
        )
    if rules.kind == "auto" and all(map(NUMBER.fullmatch, values)) and len(set(map(float, values))) > 2:
        ordered = sorted(values, key=float)
        middle = ordered[len(ordered) // 2]
        raise LabelError(
            f"Column {name!r} holds {len(values)} different numbers, {ordered[0]} to {ordered[-1]}: as classes their "
            "order is lost. Say --kind regression to predict the number, --kind ordinal for levels in their order, "
            f"--kind classes to have each as a class of its own, or --threshold {middle} to ask whether it is so much "
            "or more"
        )
    return cut


def above(name: str, cells: Sequence[str], threshold: float, lines: Sequence[int]) -> list[str]:
    """ "NAME >= 8" or "NAME < 8" for each cell. Raises LabelError for one that is no number."""
    for cell, line in zip(cells, lines):
        if not NUMBER.fullmatch(cell):
            raise LabelError(
                f"Manifest line {line}, column {name!r}: {cell!r}, expected a number such as 12.5 for --threshold "
                f"{threshold:g}"
            )
    return [f"{name} {'>=' if float(cell) >= threshold else '<'} {threshold:g}" for cell in cells]


def _plain(cell: str) -> str:
    share = PERCENT.fullmatch(cell)
    return (share[1] if share else cell).replace(",", ".")


def _without(manifest: Manifest, rows: Mapping[int, str] | set[int]) -> Manifest:
    return replace(manifest, clips=tuple(clip for row, clip in enumerate(manifest.clips) if row not in rows))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
