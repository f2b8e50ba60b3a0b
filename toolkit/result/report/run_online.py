"""Code lengths and the learning curve on a run's page: the sentence, the chart, the table."""

from typing import Any

import altair as alt
import numpy as np

from toolkit.core.i18n import Language
from toolkit.result import kinds, metrics
from toolkit.result.online import Online
from toolkit.result.report import narrative
from toolkit.result.report.charts import COLOUR, chart_of, layered, padded, titled
from toolkit.result.report.colours import colour_of
from toolkit.result.report.page import Cell, Row, Table, number_cell, table
from toolkit.result.run import Run


def sentence(run: Run, online: Online, say: Language) -> str:
    """Which layer has the shortest code, and what twice the callers brought."""
    steps = online.curve(online.best)
    fields: dict[str, object] = {
        "layer": online.best,
        "bits": f"{np.mean(online.bits[online.best]):.3f}",
        "uniform": f"{online.uniform:.3f}",
    }
    text = say("online.code", **fields)
    if len(steps) < 2:
        return text
    (few, before, _, _), (many, after, _, _) = steps[-2:]
    group = run.predictions.group
    more = {"few": few, "many": say.counted(many, group), "points": f"{100 * (after - before):+z.1f}"}
    return text + say("online.gain", metric=narrative.metric_name(run, say), **more)


def chart(run: Run, online: Online, say: Language) -> Any:
    """The learning curve of the layer with the shortest code; the band reaches from the worst order to the best."""
    rows = [
        {"callers": count, "mean": mean, "low": low, "high": high, "text": f"{mean:.3f} ({low:.3f} – {high:.3f})"}
        for count, mean, low, high in online.curve(online.best)
    ]
    metric, unit = metrics.title(run.metric, say), narrative.unit(run.predictions, say)
    chance, _ = kinds.chance(run.predictions, say)
    ends = [value for _, _, low, high in online.curve(online.best) for value in (low, high)]
    scale, colour = padded([chance, *ends]), colour_of("linear")  # whatever the run's own probe is
    across = alt.Scale(type="log", base=2, nice=False, padding=12)
    title = say("online.axis", unit=unit)
    x = alt.X(
        "callers:Q", scale=across, title=title, axis=alt.Axis(values=[row["callers"] for row in rows], format="d")
    )
    tooltip = [alt.Tooltip("callers:Q", title=title), alt.Tooltip("text:N", title=metric)]
    base = chart_of(rows).encode(x=x, tooltip=tooltip)
    band = base.mark_area(opacity=0.2, color=colour).encode(
        y=alt.Y("low:Q", scale=scale, title=metric), y2=alt.Y2("high:Q")
    )
    point = alt.OverlayMarkDef(size=45, filled=True, color=colour)
    line = base.mark_line(strokeWidth=2.5, color=colour, point=point).encode(y=alt.Y("mean:Q", scale=scale))
    known = chart_of([{"chance": chance}]).mark_rule(strokeDash=[2, 3], color=COLOUR.faint)
    rule = known.encode(y=alt.Y("chance:Q", scale=scale))
    heading = titled(
        say("online.title", title=narrative.run_title(run, say), unit=unit),
        [
            narrative.protocol_line(run, say),
            say("online.subtitle", layer=online.best, orders=len(online.bits[online.best])),
        ],
    )
    return layered(band, rule, line, title=heading, height=260)


def code_table(online: Online, say: Language) -> Table:
    """A row a layer: its code length, and the score after each step."""
    rows = []
    for layer, bits in online.bits.items():
        means = {count: mean for count, mean, _, _ in online.curve(layer)}
        cells = [number_cell(f"{np.mean(bits):.3f}", float(np.mean(bits)))]
        cells += [number_cell(say.figure(means.get(count)), means.get(count)) for count in online.callers]
        rows.append(Row([Cell(layer), *cells], chosen=layer == online.best))
    heads = [say("online.from", number=count) for count in online.callers]
    return table([say("column.layer"), say("online.bits"), *heads], rows)
