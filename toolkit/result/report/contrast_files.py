"""A contrast for the terminal, as CSV, and the folder that holds it with its page and figures."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table as TerminalTable
from rich.text import Text

from toolkit.core.artifacts import commit_text, make_folder, sha256_of_file, signature
from toolkit.core.i18n import ENGLISH, Language
from toolkit.core.version import __version__
from toolkit.result.contrast import Contrast
from toolkit.result.paired import p_text
from toolkit.result.report import contrast_words
from toolkit.result.report.standing import draw_once
from toolkit.result.run import REPORT, RUN, Run
from toolkit.result.safe_csv import plain_text

Cell = str | float | None  # of a row of a CSV
PAGE, TABLE, CALLS, STANDING = REPORT, "contrast.csv", "calls.csv", "contrast.json"


def terminal(contrast: Contrast) -> TerminalTable:
    """A row a measure."""
    table = TerminalTable(box=None, header_style="bold", pad_edge=False)
    for name in ("measure", "of"):
        table.add_column(name, overflow="fold")
    for name in (*map(contrast_words.value_of, contrast.groups), "difference, 95 %", "Hedges' g", "p, Holm"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in contrast.rows:
        table.add_row(
            Text(contrast_words.measure(row.measure, contrast)), contrast_words.source(row.source),
            *(ENGLISH.figure(mean.estimate) for mean in row.means), str(row.difference),
            "" if row.effect is None else f"{row.effect:.2f}", p_text(row.welch_p),
        )  # fmt: skip
    return table


def write(
    result: Path, run_folder: Path, contrast: Contrast, run: Run, asked: Mapping[str, Any], say: Language = ENGLISH
) -> Path:
    """Commit tables and page to result/TASK-contrast-SIG12/, and return that folder.

    asked: the options. What was drawn there of the same run by the same version is left as it is. Raises DiskFullError.
    """
    name = signature({"run": run_folder.name, **asked})[:12]
    folder = make_folder(result / f"{run.task.name}-contrast-{name}")
    languages = tuple(dict.fromkeys((ENGLISH, say)))
    table, calls = table_csv(contrast), calls_csv(contrast)
    facts = {
        "version": __version__,
        "run": sha256_of_file(run_folder / RUN),
        "tables": [table, calls],
        "languages": [language.tag for language in languages],
    }

    def draw() -> None:
        from toolkit.result.report import contrast_page  # Altair takes a second to import

        commit_text(folder / TABLE, table)
        commit_text(folder / CALLS, calls)
        for language in languages:
            contrast_page.page(contrast, run, run_folder.name, language).write(folder)

    about = {"run": run_folder.name, "asked": {key: value for key, value in asked.items() if value is not None}}
    return draw_once(folder, STANDING, facts, draw, about)


def table_csv(contrast: Contrast) -> str:
    """A row a measure of the prediction, and of the truth. Means and differences have the measure's own unit."""
    sides = ("first", "second")
    columns = ["measure", "label", "of", "first", "second"]
    columns += [f"{part}_{side}" for side in sides for part in ("callers", "mean", "lower", "upper")]
    columns += ["difference", "difference_lower", "difference_upper", "hedges_g", "welch_p_holm", "permutation_p_holm",
                "part_of_true_difference"]  # fmt: skip
    rows = []
    for row in contrast.rows:
        cells: list[Cell] = [row.measure.kind, row.measure.label, row.source, *contrast.groups]
        for callers, mean in zip(row.callers, row.means):
            cells += [callers, *astuple(mean)]
        kept = contrast.attenuation(row.measure) if row.source == "prediction" else None
        rows.append([*cells, *astuple(row.difference), row.effect, row.welch_p, row.permutation_p, kept])
    return _csv(columns, rows)


def calls_csv(contrast: Contrast) -> str:
    """A row a call; its group is empty where its caller does not count."""
    calls = contrast.calls
    columns = ["call", contrast.predictions.group, contrast.column, "clips", "minutes"]
    columns = [name if columns.count(name) == 1 else f"{name}_{place}" for place, name in enumerate(columns)]
    columns += [":".join(filter(None, (source, measure.kind, measure.label))) for source, measure in calls.values]
    groups = (*contrast.groups, "")
    rows = [
        [name, caller, groups[side], int(count), float(minutes), *map(float, numbers)]
        for name, caller, side, count, minutes, *numbers in zip(
            calls.names, calls.caller, contrast.side.tolist(), calls.clips, calls.minutes, *calls.values.values()
        )
    ]
    return _csv(columns, rows)


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Texts that no spreadsheet runs, and numbers as they are: empty where there is none."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([[plain_text(name) for name in columns], *(map(_written, row) for row in rows)])
    return text.getvalue()


def _written(cell: Cell) -> str:
    if isinstance(cell, str):
        return plain_text(cell)
    return "" if cell is None or np.isnan(cell) else f"{cell:.6g}"
