"""The stage `contrast`: planned (which callers are compared), then run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.core import i18n
from toolkit.core.errors import InputError, one_of
from toolkit.core.options import names
from toolkit.corpus.labels import Task
from toolkit.corpus.manifest import RECORDING, Manifest
from toolkit.corpus.place import Place
from toolkit.corpus.spellings import known_names
from toolkit.corpus.windows import recording_of
from toolkit.result.contrast import Contrast, contrast
from toolkit.result.negative import negative_labels
from toolkit.result.options import ContrastOptions
from toolkit.result.predictions import Predictions
from toolkit.result.report import contrast_files, contrast_words
from toolkit.result.run import Run
from toolkit.result.run_files import find_run, read

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd


@dataclass(frozen=True)
class ContrastResult:
    """Two groups of callers, with their page."""

    folder: Path
    contrast: Contrast
    run: Run
    language: str = "en"

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / i18n.of(self.language).file(contrast_files.PAGE)

    @property
    def answer(self) -> str:
        """The first sentence of the page."""
        return contrast_words.answer(self.contrast)

    def table(self) -> "pd.DataFrame":
        """A row a measure of the prediction, and of the truth: both groups, their difference, its p-values."""
        import pandas as pd

        return pd.read_csv(self.folder / contrast_files.TABLE)

    def calls(self) -> "pd.DataFrame":
        """A row a call: whose it is, its group, and every measure."""
        import pandas as pd

        return pd.read_csv(self.folder / contrast_files.CALLS)

    def figure(self, name: str) -> "alt.Chart":
        """A chart of the page, by its file's name. Raises InputError for another name."""
        from toolkit.result.report import charts, contrast_page

        specs = contrast_page.specs(self.contrast, self.run, i18n.of(self.language))
        chart: alt.Chart = charts.figure(specs, name)
        return chart

    def to_json(self) -> dict[str, Any]:
        """What the page says, in values that JSON can hold."""
        found = self.contrast
        counted = {
            group: {"callers": callers, "with_too_few_clips": few}
            for group, callers, few in zip(found.groups, found.callers, found.few)
        }
        rows = json.loads(self.table().to_json(orient="records"))
        about = {"column": found.column, "groups": counted, "callers_elsewhere": found.elsewhere}
        return {"name": self.folder.name, "answer": self.answer, **about, "measures": rows}

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.answer)}</p>{self.table().to_html(index=False)}"


@dataclass(frozen=True)
class Plan:
    """Callers of a finished run who can be compared.

    predictions: the run's, by callers. calls: of each clip its call's name. values: each caller's in the column.
    places: of each clip its row in the manifest.
    """

    place: Place
    options: ContrastOptions
    folder: Path
    source: Run
    predictions: Predictions
    calls: tuple[str, ...]
    values: Mapping[str, str]
    groups: tuple[str, str]
    negative: tuple[str, ...]
    places: tuple[int, ...]

    def run(self) -> ContrastResult:
        """Compare the groups, and draw the page where that is not there. Raises InputError for an empty group."""
        found = contrast(self.predictions, self.calls, self.values, self.options.by, self.groups, self.negative,
                         self.options.least, self.places)  # fmt: skip
        say = i18n.of(self.options.language)
        asked = {name: value for name, value in asdict(self.options).items() if name not in ("origin", "language")}
        folder = contrast_files.write(self.place.result, self.folder, found, self.source, asked, say)
        return ContrastResult(folder, found, self.source, self.options.language)


def plan(place: Place, options: ContrastOptions) -> Plan:
    """Whom to hold against whom.

    Raises:
        InputError: for a run, a column, a value or a label that is not there, or a caller with two values.
        ManifestError: for a manifest that is not whole.
        StoreError: for a damaged run.
    """
    folder = find_run(options.origin, place.result)
    run, manifest = read(folder), place.corpus()
    negative = check(options, run.task, run.provenance.get("unit", {}).get("column"), manifest)
    rows = _rows(manifest, run.predictions.ids)
    calls, unit = _calls(manifest, run.predictions, rows, options.unit)
    predictions = run.predictions
    if predictions.groups == predictions.ids:  # the callers are not known: each call is one
        predictions = replace(predictions, groups=calls, group=unit)
    cells = known_names(options.by, _column(manifest, "--by", options.by), manifest.lines, options.rules)
    values = _one_each(predictions.groups, [cells[row] for row in rows], options.by, predictions.group)
    callers = _one_each(calls, predictions.groups, predictions.group, unit)
    assert callers.keys() == set(calls)
    groups = _groups(sorted(set(values.values()) - {""}, reverse=True), options)
    return Plan(place, options, folder, run, predictions, calls, values, groups, negative, tuple(rows))


def check(options: ContrastOptions, task: Task, unit: str | None, manifest: Manifest) -> tuple[str, ...]:
    """What can be refused before there is a run; the labels that count as negative.

    unit: the column that the run's units are of, None for clips. Raises InputError.
    """
    i18n.of(options.language)
    if unit is not None:
        raise InputError(f"contrast counts clips, and this probe is asked of units (--unit {unit}); ask it of clips")
    if task.regression:
        raise InputError(
            f"{task.name} is a regression, and contrast counts clips of labels; --threshold N of `toolkit probe` "
            "makes two labels of a column"
        )
    _column(manifest, "--by", options.by)
    negative = negative_labels(task) if options.negative is None else names(options.negative)
    for label in negative:
        if label not in task.labels:
            raise InputError(one_of("--negative", label, task.labels))
    return negative


def _rows(manifest: Manifest, ids: Sequence[str]) -> list[int]:
    """Each clip's row; a window has its recording's."""
    known = {clip.id: row for row, clip in enumerate(manifest.clips)}
    found = [known.get(clip, known.get(recording_of(clip))) for clip in ids]
    lost = [clip for clip, row in zip(ids, found) if row is None]
    if lost:
        raise InputError(f"{manifest.name} has no clip {lost[0]!r}, which was tested (and {len(lost) - 1} more)")
    return [row for row in found if row is not None]


def _column(manifest: Manifest, option: str, name: str) -> tuple[str, ...]:
    columns = [column for column in manifest.columns if column not in ("id", "path", "start", "end", "duration")]
    if name not in columns:
        raise InputError(one_of(option, name, columns))
    return manifest.cells(name)


def _calls(
    manifest: Manifest, predictions: Predictions, rows: Sequence[int], unit: str | None
) -> tuple[tuple[str, ...], str]:
    """The name of each clip's call, and what a call is."""
    if unit is None and RECORDING not in manifest.columns:
        if any(recording_of(clip) != clip for clip in predictions.ids):
            return tuple(map(recording_of, predictions.ids)), RECORDING
        if predictions.groups == predictions.ids:
            raise InputError(f"{manifest.name} does not say which call a clip is of; name the column: --unit COLUMN")
        return predictions.groups, predictions.group
    cells = _column(manifest, "--unit", unit or RECORDING)
    found = tuple(cells[row] for row in rows)
    if "" in found:
        raise InputError(
            f"Column {unit or RECORDING!r} is empty for {found.count('')} of the tested clips, for example "
            f"{predictions.ids[found.index('')]!r}; expected each clip's call"
        )
    return found, unit or RECORDING


def _one_each(owners: Sequence[str], cells: Sequence[str], column: str, kind: str) -> dict[str, str]:
    """The value of each owner, whose clips must have the same one."""
    found = dict(zip(owners, cells))
    several = {owner for owner, cell in zip(owners, cells) if found[owner] != cell}
    if several:
        raise InputError(
            f"{len(several)} of {len(found)} {kind}s have clips with different values of {column!r}; expected one "
            f"value for all clips of a {kind}"
        )
    return found


def _groups(there: Sequence[str], options: ContrastOptions) -> tuple[str, str]:
    named = names(options.groups)
    for value in named:
        if value not in there:
            raise InputError(one_of("--groups", value, there))
    pair = named or tuple(there)
    if len(pair) != 2:
        listed = ", ".join(map(repr, pair[:12]))
        raise InputError(
            f"Column {options.by!r} has {len(pair)} values ({listed}) where two groups are held against each other; "
            "--groups A,B names two"
            if not named
            else f"--groups {','.join(named)}: expected two values, the first minus the second"
        )
    return pair[0], pair[1]
