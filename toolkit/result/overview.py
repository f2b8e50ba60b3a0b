"""Backbones x probes on one question: a table, the curves on one axis, paired differences; for terminal and page."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from rich.table import Table as TerminalTable
from rich.text import Text

from toolkit.errors import ToolkitError
from toolkit.result import metrics, paired, stats, words
from toolkit.result.cells import plain_text
from toolkit.result.jackknife import Score
from toolkit.result.language import ENGLISH, Language
from toolkit.result.run import FIGURES, REPORT, Run, curve
from toolkit.runs import commit_text, make_folder, signature

TABLE, CURVES = "overview.csv", "curves.csv"
DIFFERENCE = ("difference_to_best", "difference_lower", "difference_upper", "p_value_holm")
COLUMNS = ("backbone", "probe", "layers_chosen", "metric", "score", "lower", "upper", "development", *DIFFERENCE,
           "clips", "folder")  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A finished run under the name of its backbone (of its store, where a backbone has several). folder: the run's."""

    name: str
    folder: Path
    run: Run


@dataclass(frozen=True)
class Line:
    """One backbone and probe.

    score: of the layers chosen on development; layers: which, in how many rounds; development: mean over the rounds.
    behind: this one minus the best on development, on the same resamples, and p_value its Holm-corrected p-value; None
    for that best one itself and where other clips were tested.
    """

    entry: Entry
    score: Score
    layers: str
    development: float | None
    behind: Score | None
    p_value: float | None

    @cached_property
    def curve(self) -> dict[str, Score]:
        """Each layer's own score."""
        return {point.layer: point.test for point in curve(self.entry.run)}


def lines(entries: Sequence[Entry]) -> list[Line]:
    """Compare runs of one question, in the order given. Raises ToolkitError for runs of different questions."""
    if len({(entry.run.task, entry.run.metric) for entry in entries}) != 1:
        raise ToolkitError("An overview needs runs of one task")
    developments = [entry.run.development_mean for entry in entries]
    best = int(np.argmax([-1.0 if value is None else value for value in developments]))
    several = [[entry.run.predictions] for entry in entries]
    compared = paired.against(best, several, entries[best].run.metric)
    return [
        Line(
            entry,
            stats.headline_score(*own),
            entry.run.layers_chosen,
            development,
            one.difference.score,
            one.difference.p_value,
        )
        for entry, own, development, one in zip(entries, several, developments, compared)
    ]


def terminal(found: Sequence[Line]) -> TerminalTable:
    """Backbones down, probes across; in each cell the score of the layers chosen on development."""
    probes = list(dict.fromkeys(line.entry.run.probe for line in found))
    table = TerminalTable(box=None, header_style="bold", pad_edge=False)
    table.add_column(f"{words.metric_name(found[0].entry.run)}, 95 %")
    for probe in probes:
        table.add_column(probe, justify="right", no_wrap=True)
    for name in dict.fromkeys(line.entry.name for line in found):
        cells = {line.entry.run.probe: str(line.score) for line in found if line.entry.name == name}
        table.add_row(Text(name), *(cells.get(probe, "") for probe in probes))
    return table


def write(result: Path, found: Sequence[Line], say: Language = ENGLISH) -> Path:
    """Commit table, curves, figure and page to result/TASK-overview-SIG12/, and return that folder.

    The same runs share a folder. The page is in English; in another language beside it, where `say` is one. Raises
    DiskFullError.
    """
    from toolkit.result import figures, overview_page

    task = found[0].entry.run.task
    sha256 = signature({"runs": [line.entry.folder.name for line in found]})
    folder = make_folder(result / f"{task.name}-overview-{sha256[:12]}")
    commit_text(folder / TABLE, _table_csv(found))
    commit_text(folder / CURVES, _curves_csv(found))
    for language in dict.fromkeys((ENGLISH, say)):
        specs = overview_page.specs(found, figures.Style(say=language))
        figures.write_specs(make_folder(folder / language.file(FIGURES)), specs)
        commit_text(folder / language.file(REPORT), overview_page.page(found, language))
    return folder


def _table_csv(found: Sequence[Line]) -> str:
    rows: list[Sequence[object]] = [COLUMNS]
    for line in found:
        run, missing = line.entry.run, Score(None, None, None)
        figures = [*_cells(line.score), _cell(line.development), *_cells(line.behind or missing), _cell(line.p_value)]
        clips, folder = len(run.predictions.ids), line.entry.folder.name
        rows.append([line.entry.name, run.probe, line.layers, run.metric, *figures, clips, folder])
    return _csv(rows)


def _curves_csv(found: Sequence[Line]) -> str:
    from toolkit.result import curves

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


def answer(found: Sequence[Line], say: Language = ENGLISH) -> str:
    """The sentence that stands first: who is best by development, and what it scores."""
    best = max(found, key=lambda line: -1.0 if line.development is None else line.development)
    run = best.entry.run
    chance, _ = metrics.chance(run.predictions)
    return say(
        "overview.answer",
        runs=say.counted(len(found), "run"),
        name=best.entry.name,
        probe=run.probe,
        metric=words.metric_name(run, say),
        unheard=words.unheard(run, say),
        score=say.figure(best.score),
        chance=say.figure(chance),
    )
