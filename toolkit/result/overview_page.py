"""The overview's page and figure: every backbone's curve over relative depth, the table, the differences."""

from collections.abc import Sequence

from toolkit.result import curves, figures, metrics, overview, stats, words
from toolkit.result.curves import Curve
from toolkit.result.figures import Palette, Spec, Width
from toolkit.result.overview import Line
from toolkit.result.page import Cell, Row, Table, drawing, filled, score_cell, table
from toolkit.result.stats import decimal

DEPTH = "Relative depth (0: what enters the first layer, 1: the last)"


def spec(found: Sequence[Line], palette: Palette, width: Width) -> Spec:
    """Every run's test curve over relative depth, 0 to 1, for layer counts differ; a mix is a level line."""
    run = found[0].entry.run
    several = len({line.entry.run.probe for line in found}) > 1
    lines = []
    for line in found:
        own = line.entry.run
        name = f"{line.entry.name}, {own.probe}" if several else line.entry.name
        scores = dict(zip(own.layers, stats.headline_scores(list(own.layers.values()))))
        lines.append(Curve(name, scores, overview.depths(own)))
    chance, _ = metrics.chance(run.predictions)
    metric = metrics.title(run.metric)
    chart = curves.chart(lines, palette, width, metric, DEPTH, chance, f"chance ({chance:.3f})")
    heading = figures.titled(f"{run.task.name}: {len(found)} runs", [figures.protocol_line(run), "95 % bands"], palette)
    return figures.configured(chart.properties(title=heading), palette)


def page(found: Sequence[Line]) -> str:
    """The page's HTML."""
    run = found[0].entry.run
    themes = {
        name: {"backbones": spec(found, palette, "container")}
        for name, palette in (("light", figures.LIGHT), ("dark", figures.DARK))
    }
    caption = (
        f"The {words.metric_name(run)} of every layer on the test clips, over relative depth, for layer counts differ. "
        "Bands are 95 % intervals. A probe of all layers at once is a level line."
    )
    spoken = f"Lines of {len(found)} runs over relative depth; curves.csv beside this page has the numbers."
    figure = drawing("backbones", spec(found, figures.LIGHT, figures.WIDTH), spoken, caption)
    return filled(
        "overview.html",
        themes,
        {
            "title": f"{run.task.name}: backbones and probes",
            "answer": overview.answer(found),
            "protocol": f"{figures.protocol_line(run)}.".capitalize(),
            "cautions": list(dict.fromkeys(note for line in found for note in line.entry.run.notes)),
            "figure": figure,
            "matrix": _matrix(found),
            "table": _details(found),
        },
    )


def _matrix(found: Sequence[Line]) -> Table:
    probes = list(dict.fromkeys(line.entry.run.probe for line in found))
    names = list(dict.fromkeys(line.entry.name for line in found))
    cells = {(line.entry.name, line.entry.run.probe): score_cell(line.score) for line in found}
    rows = [Row([Cell(name), *(cells.get((name, probe), score_cell(None)) for probe in probes)]) for name in names]
    return table(["Backbone", *probes], rows)


def _details(found: Sequence[Line]) -> Table:
    columns = ["Backbone", "Probe", "Layers chosen (rounds)", "Development", "Test, 95 %", "Minus the best", "p, Holm"]
    rows = [
        Row(
            [
                Cell(line.entry.name),
                Cell(line.entry.run.probe),
                Cell(line.layers),
                Cell(decimal(line.development), True),
                score_cell(line.score),
                score_cell(line.behind),
                Cell("" if line.p_value is None else f"{line.p_value:.4f}", True, line.p_value),
            ]
        )
        for line in found
    ]
    return table(columns, rows, texts=3)
