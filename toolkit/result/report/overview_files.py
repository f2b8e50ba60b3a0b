"""An overview's folder: table.csv, curves.csv, the figure and the page."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from toolkit.core.artifacts import commit_text, make_folder, signature
from toolkit.core.i18n import ENGLISH, Language
from toolkit.result.jackknife import Score
from toolkit.result.report import curves, overview_page
from toolkit.result.report.overview import Line
from toolkit.result.safe_csv import plain_text

TABLE, CURVES = "overview.csv", "curves.csv"
DIFFERENCE = ("difference_to_best", "difference_lower", "difference_upper", "p_value_holm")
COLUMNS = ("backbone", "probe", "layers_chosen", "metric", "score", "lower", "upper", "development", *DIFFERENCE,
           "clips", "runs", "folder")  # fmt: skip


def write(result: Path, found: Sequence[Line], say: Language = ENGLISH) -> Path:
    """Commit table, curves, figure and page to result/TASK-overview-SIG12/, and return that folder.

    The same runs share a folder. The page is in English; in another language beside it, where `say` is one. Raises
    DiskFullError.
    """
    task = found[0].entry.run.task
    sha256 = signature({"runs": [name for line in found for name in (line.entry.folder.name, *line.entry.others)]})
    folder = make_folder(result / f"{task.name}-overview-{sha256[:12]}")
    commit_text(folder / TABLE, _table_csv(found))
    commit_text(folder / CURVES, _curves_csv(found))
    for language in dict.fromkeys((ENGLISH, say)):
        overview_page.page(found, language).write(folder)
    return folder


def _table_csv(found: Sequence[Line]) -> str:
    rows: list[Sequence[object]] = [COLUMNS]
    for line in found:
        run, missing = line.entry.run, Score(None, None, None)
        figures = [*_cells(line.score), _cell(line.development), *_cells(line.behind or missing), _cell(line.p_value)]
        counts, folder = (len(run.predictions.ids), len(line.entry.runs)), line.entry.folder.name
        rows.append([line.entry.name, run.probe, line.layers, run.metric, *figures, *counts, folder])
    return _csv(rows)


def _curves_csv(found: Sequence[Line]) -> str:
    rows: list[Sequence[object]] = [["backbone", "probe", "layer", "depth", "score", "lower", "upper"]]
    for line in found:
        run = line.entry.run
        for depth, (layer, score) in zip(curves.depths(len(line.curve)), line.curve.items()):
            rows.append([line.entry.name, run.probe, layer, f"{depth:.4f}", *_cells(score)])
    return _csv(rows)


def _cells(score: Score) -> list[str]:
    return [_cell(value) for value in (score.estimate, score.lower, score.upper)]


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([plain_text(str(row[0])), *row[1:]] for row in rows)  # a backbone has the name of a folder
    return text.getvalue()
