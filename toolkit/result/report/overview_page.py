"""The overview's page and figure: every backbone's curve over relative depth, the table, the differences."""

from collections.abc import Sequence
from typing import Any

from toolkit.core.i18n import ENGLISH, Language
from toolkit.result.report import curves, narrative, overview
from toolkit.result.report.charts import specifications
from toolkit.result.report.overview import Line
from toolkit.result.report.page import Cell, Page, Row, Table, drawing, filled, number_cell, score_cell, table

FIGURE = "backbones"


@specifications
def specs(found: Sequence[Line], say: Language) -> dict[str, Any]:
    """The one figure by its file name."""
    run = found[0].entry.run
    several = len({line.entry.run.probe for line in found}) > 1
    named = [
        (f"{line.entry.name}, {line.entry.run.probe}" if several else line.entry.name, line.entry.run, line.curve)
        for line in found
    ]
    title = say("figure.runs_title", task=run.task.name, runs=say.counted(len(found), "run"))
    return {FIGURE: curves.over_depth(named, title, say)}


def page(found: Sequence[Line], say: Language = ENGLISH) -> Page:
    """The page."""
    run, drawn = found[0].entry.run, specs(found, say)
    caption = say("overview.caption", metric=narrative.metric_name(run, say))
    spoken = say("overview.spoken", runs=say.counted(len(found), "run"))
    notes = [say(note) for line in found for one in line.entry.runs for note in one.notes]
    return filled(
        "overview.html",
        drawn,
        {
            "title": say("overview.title", task=run.task.name),
            "answer": overview.answer(found, say),
            "terms": narrative.terms(run, say),
            "protocol": narrative.protocol_line(run, say),
            "cautions": list(dict.fromkeys(notes)),
            "figure": drawing(FIGURE, drawn[FIGURE], spoken, caption),
            "matrix": _matrix(found, say),
            "table": _details(found, say),
        },
        say,
    )


def _matrix(found: Sequence[Line], say: Language) -> Table:
    probes = list(dict.fromkeys(line.entry.run.probe for line in found))
    names = list(dict.fromkeys(line.entry.name for line in found))
    cells = {(line.entry.name, line.entry.run.probe): score_cell(line.score, say) for line in found}
    rows = [Row([Cell(name), *(cells.get((name, probe), score_cell(None)) for probe in probes)]) for name in names]
    return table([say("column.backbone"), *probes], rows)


def _details(found: Sequence[Line], say: Language) -> Table:
    keys = ("backbone", "probe", "layers_chosen", "development", "test", "minus_best", "p_holm")
    rows = [
        Row(
            [
                Cell(line.entry.name),
                Cell(line.entry.run.probe),
                Cell(line.layers),
                number_cell(say.figure(line.development), line.development),
                score_cell(line.score, say),
                score_cell(line.behind, say),
                p_cell(line.p_value),
            ]
        )
        for line in found
    ]
    return table([say(f"column.{key}") for key in keys], rows, texts=3)


def p_cell(p_value: float | None) -> Cell:
    """A p-value; where there is none it sorts behind all others."""
    return Cell("", True, 2.0) if p_value is None else Cell(f"{p_value:.4f}", True, p_value)
