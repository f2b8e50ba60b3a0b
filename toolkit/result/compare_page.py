"""compare.html and its figure: frozen against fine-tuned, a dumbbell for each backbone and way."""

from typing import Any

import altair as alt

from toolkit.result import compare, figures, metrics, words
from toolkit.result.compare import Comparison, Line
from toolkit.result.figures import Palette, Spec, Width
from toolkit.result.page import Cell, Row, Table, drawing, filled, score_cell, table
from toolkit.result.run import TUNED
from toolkit.result.stats import decimal

ROW_PIXELS = 34
SERIES = ("frozen: the backbone's best probe", "fine-tuned")


def spec(comparison: Comparison, palette: Palette, width: Width) -> Spec:
    """A row a fine-tuned run, from its backbone's best frozen probe to it; probes alone where none was tuned."""
    metric = metrics.title(comparison.run.metric)
    rows = _rows(comparison)
    drawn = [row[name] for row in rows for name in ("value", "lower", "upper") if row[name] is not None]
    margin = 0.06 * (max(drawn) - min(drawn) or 1.0)
    scale = alt.Scale(domain=[max(0.0, min(drawn) - margin), min(1.0, max(drawn) + margin)], nice=False)
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=300))
    axis_title = f"{metric} on the test clips"
    x = alt.X("value:Q", scale=scale, title=axis_title)
    legend = alt.Legend(title=None, orient="top", columns=1, labelLimit=0, symbolOpacity=1)
    colour = alt.Color(
        "series:N", sort=None, scale=alt.Scale(domain=SERIES, range=[palette.second, palette.score]), legend=legend
    )
    tooltip = [alt.Tooltip("name:N", title=" "), alt.Tooltip("way:N"), alt.Tooltip("told:N", title=f"{metric}, 95 %")]
    base = alt.Chart(alt.Data(values=rows)).encode(y=y, color=colour, tooltip=tooltip)
    bar = (
        alt.Chart(alt.Data(values=[row for row in rows if row["from"] is not None]))
        .mark_rule(strokeWidth=5, opacity=0.35, color=palette.faint)
        .encode(y=y, x=alt.X("from:Q", scale=scale), x2="value:Q")
    )
    intervals = [
        base.transform_filter(alt.datum.series == series)
        .mark_rule(strokeWidth=1.8, yOffset=offset)
        .encode(x=alt.X("lower:Q", scale=scale, title=axis_title), x2="upper:Q")
        for series, offset in zip(SERIES, (-9, 9))  # pixels, beside the dumbbell
    ]
    point = base.mark_point(size=110, filled=True, opacity=1).encode(
        x=x, shape=alt.Shape("series:N", scale=alt.Scale(domain=SERIES, range=["circle", "diamond"]))
    )
    heading = figures.titled(
        f"{comparison.run.task.name}: frozen against fine-tuned",
        [figures.protocol_line(comparison.run), "lines: 95 % intervals"],
        palette,
    )
    names = len({row["name"] for row in rows})
    chart = alt.layer(bar, *intervals, point).properties(title=heading, width=width, height=ROW_PIXELS * max(names, 2))
    return figures.configured(chart, palette)


def _rows(comparison: Comparison) -> list[dict[str, Any]]:
    frozen: dict[str, Line] = {}
    for line in comparison.lines:  # the best on development comes first
        if not line.run.tuned and line.score.estimate is not None:
            frozen.setdefault(line.run.backbone, line)
    tuned = [line for line in comparison.lines if line.run.tuned and line.score.estimate is not None]
    rows = []
    for line in tuned:
        name = f"{line.run.backbone}, {line.run.probe.removeprefix(TUNED)}"
        name = name if [other.run.probe for other in tuned if other.run.backbone == line.run.backbone].count(
            line.run.probe) == 1 else f"{name}, {line.folder[-4:]}"  # fmt: skip
        probe = frozen.get(line.run.backbone)
        if probe is not None:
            rows.append(_row(name, SERIES[0], probe, None))
        rows.append(_row(name, SERIES[1], line, None if probe is None else probe.score.estimate))
    rest = [line for backbone, line in frozen.items() if backbone not in {line.run.backbone for line in tuned}]
    return rows + [_row(line.run.backbone, SERIES[0], line, None) for line in rest]


def _row(name: str, series: str, line: Line, start: float | None) -> dict[str, Any]:
    score = line.score
    return {
        "name": name,
        "series": series,
        "way": line.way,
        "value": score.estimate,
        "lower": score.lower,
        "upper": score.upper,
        "told": compare.told(line),
        "from": start,
    }


def page(comparison: Comparison) -> str:
    """The page's HTML."""
    run = comparison.run
    themes = {
        name: {"dumbbell": spec(comparison, palette, "container")}
        for name, palette in (("light", figures.LIGHT), ("dark", figures.DARK))
    }
    caption = (
        f"The {words.metric_name(run)} on the test clips: each backbone's best frozen probe, picked by its development "
        "score, and what fine-tuning in each way makes of it. Two intervals that overlap may still differ: the table "
        "has the paired differences."
    )
    spoken = f"Dumbbell chart of {len(comparison.lines)} runs, frozen against fine-tuned; the table has the numbers."
    return filled(
        "compare.html",
        themes,
        {
            "title": f"{run.task.name}: frozen and fine-tuned",
            "answer": compare.answer(comparison),
            "protocol": f"{figures.protocol_line(run)}. Both were picked by their development scores.",
            "cautions": _cautions(comparison),
            "figure": drawing("dumbbell", spec(comparison, figures.LIGHT, figures.WIDTH), spoken, caption),
            "table": _table(comparison),
            "metrics": _metrics(comparison),
        },
    )


def _cautions(comparison: Comparison) -> list[str]:
    notes = [note for line in comparison.lines for note in line.run.notes]
    notes += [f"{line.run.backbone}, {line.way}: no difference to the best probe. {line.why}." for line in
              comparison.lines if line.why]  # fmt: skip
    return list(dict.fromkeys(notes))


def _table(comparison: Comparison) -> Table:
    metric = metrics.title(comparison.run.metric)
    columns = ["Backbone", "Way", "Layer (rounds)", "Development", f"{metric}, 95 %", "Minus best probe",
               "p, Holm", "Trained", "Seconds", "Memory"]  # fmt: skip
    rows = []
    for line in comparison.lines:
        texts = [Cell(line.run.backbone), Cell(line.way), Cell(line.layers)]
        numbers = [Cell(decimal(line.development), True, line.development), score_cell(line.score)]
        numbers += [
            score_cell(line.behind),
            Cell(compare.p_text(line), True, line.p_value if line.p_value is not None else 2.0),
        ]
        values = [line.cost(name) for name in ("trained_parameters", "seconds", "peak_memory_bytes")]
        numbers += [
            Cell(text, True, -1.0 if value is None else value) for text, value in zip(compare.costs(line), values)
        ]
        rows.append(Row([*texts, *numbers], chosen=line in (comparison.frozen, comparison.tuned)))
    return table(columns, rows, texts=3)


def _metrics(comparison: Comparison) -> Table:
    names = compare.metrics_shown(comparison)
    rows = [
        Row([Cell(line.run.backbone), Cell(line.way), *(score_cell(line.scores[name]) for name in names)])
        for line in comparison.lines
    ]
    return table(["Backbone", "Way", *map(metrics.title, names)], rows, texts=2)
