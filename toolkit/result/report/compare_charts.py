"""A comparison's figures: the dumbbell, the costs, and the best frozen with the best fine-tuned run."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import altair as alt

from toolkit.core.i18n import Language
from toolkit.result import metrics
from toolkit.result.compare import Comparison, Line
from toolkit.result.report import compare_narrative, curves, label_charts, narrative, pair_charts
from toolkit.result.report.charts import COLOUR, chart_of, encodings, layered, padded, specifications, titled
from toolkit.result.report.colours import colour_of

ROW_PIXELS = 34
COST_PIXELS = 320
LETTER, LINE = 7, 13  # pixels of a name's letter and line
NARROW = 360  # pixels: a page's figure on a phone; names that do not meet there do not on a wider one


@specifications
def specs(comparison: Comparison, say: Language) -> dict[str, Any]:
    """Charts by the figures' file names; those without anything to draw are not among them."""
    drawn: dict[str, Any] = {"dumbbell": dumbbell(comparison, say)}
    if any(line.seconds and line.score.estimate is not None for line in comparison.lines):
        drawn["cost"] = cost(comparison, say)
    frozen = [line for line in comparison.lines if line.kind == "frozen"]
    if frozen:
        named = [(compare_narrative.name(line, comparison, say), line.run, line.curve) for line in frozen]
        title = say("figure.runs_title", task=comparison.run.task.name, runs=say.counted(len(frozen), "run"))
        drawn["layers"] = curves.over_depth(named, title, say)
    drawn |= pair_charts.charts(comparison, say)
    for line in comparison.best:
        if not line.run.task.regression:
            drawn[f"confusion-{line.kind}"] = label_charts.confusion(line.run, say)
    return drawn


def dumbbell(comparison: Comparison, say: Language) -> Any:
    """A row a fine-tuned run, from its backbone's best frozen probe to it; probes alone where none was tuned."""
    metric = metrics.title(comparison.run.metric, say)
    rows = _rows(comparison, say)
    scale = padded(row[name] for row in rows for name in ("value", "lower", "upper"))
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=450))  # names differ at their end
    axis_title = say("compare.on_test", metric=metric)
    x = alt.X("value:Q", scale=scale, title=axis_title, axis=alt.Axis(tickCount=6))
    colour, shape = encodings(rows)
    tooltip = [
        alt.Tooltip("name:N", title=" "),
        alt.Tooltip("way:N", title=say("column.way")),
        alt.Tooltip("text:N", title=say("common.interval", name=metric)),
    ]
    base = chart_of(rows).encode(y=y, color=colour, tooltip=tooltip)
    bar = (
        chart_of([row for row in rows if row["from"] is not None])
        .mark_rule(strokeWidth=5, opacity=0.35, color=COLOUR.faint)
        .encode(y=y, x=alt.X("from:Q", scale=scale), x2=alt.X2("value:Q"))
    )
    room = 0 if comparison.probes_alone else 9  # pixels, above and below a dumbbell
    intervals = [
        base.transform_filter(alt.datum.tuned == tuned)
        .mark_rule(strokeWidth=1.8, yOffset=offset)
        .encode(x=alt.X("lower:Q", scale=scale, title=axis_title), x2=alt.X2("upper:Q"))
        for tuned, offset in ((False, -room), (True, room))
    ]
    point = base.mark_point(size=110, filled=True, opacity=1).encode(x=x, shape=shape)
    only = "_frozen" if comparison.probes_alone else ""
    title = say(f"compare.dumbbell_title{only}", task=comparison.run.task.name)
    heading = titled(title, [narrative.protocol_line(comparison.run, say), say("figure.intervals")])
    names = len({row["name"] for row in rows})
    return layered(bar, *intervals, point, zoom="x", title=heading, height=ROW_PIXELS * max(names, 2))


def _rows(comparison: Comparison, say: Language) -> list[dict[str, Any]]:
    frozen: dict[str, Line] = {}
    for line in comparison.lines:  # the best on development comes first
        if not line.run.tuned and line.score.estimate is not None:
            frozen.setdefault(line.run.backbone, line)
    tuned = [line for line in comparison.lines if line.run.tuned and line.score.estimate is not None]
    if not tuned:  # each by itself
        probes = [line for line in comparison.lines if line.score.estimate is not None]
        return [_row(compare_narrative.name(line, comparison, say), line, None, say) for line in probes]
    rows = []
    for line in tuned:
        name = f"{line.run.backbone}, {line.train_mode}{compare_narrative.apart(line, comparison)}"
        probe = frozen.get(line.run.backbone)
        if probe is not None:
            rows.append(_row(name, probe, None, say))
        rows.append(_row(name, line, None if probe is None else probe.score.estimate, say))
    rest = [line for backbone, line in frozen.items() if backbone not in {line.run.backbone for line in tuned}]
    return rows + [_row(line.run.backbone, line, None, say) for line in rest]


def _row(name: str, line: Line, start: float | None, say: Language) -> dict[str, Any]:
    return {"name": name, "way": compare_narrative.training(line, say), "from": start, **_score(line, say)}


def cost(comparison: Comparison, say: Language) -> Any:
    """Score against seconds from the recordings to the predictions, on a logarithmic axis."""
    metric = metrics.title(comparison.run.metric, say)
    timed = [line for line in comparison.lines if line.seconds and line.score.estimate is not None]
    rows: list[dict[str, Any]] = [
        {
            "name": compare_narrative.name(line, comparison, say),
            "seconds": line.seconds,
            "seconds_text": f"{line.seconds:,.0f}",
            **_score(line, say),
        }
        for line in sorted(timed, key=lambda line: line.seconds or 0.0)
    ]
    drawn = [row[name] for row in rows for name in ("value", "lower", "upper") if row[name] is not None]
    room = 0.15 * (max(drawn) - min(drawn) or 1.0)  # for the names, above and below
    scale = padded([min(drawn) - room, max(drawn) + room])
    seconds = [row["seconds"] for row in rows]
    across = alt.Scale(type="log", domain=[min(seconds) / 1.5, max(seconds) * 1.5], nice=False)
    x = alt.X("seconds:Q", scale=across, title=say("compare.cost_axis"), axis=alt.Axis(format="~s", tickCount=6))
    scale_y = alt.Y("value:Q", scale=scale, title=say("compare.on_test", metric=metric))
    colour, shape = encodings(rows)
    tooltip = [
        alt.Tooltip("name:N", title=" "),
        alt.Tooltip("text:N", title=say("common.interval", name=metric)),
        alt.Tooltip("seconds_text:N", title=say("compare.seconds_told")),
    ]
    base = chart_of(rows).encode(x=x, tooltip=tooltip)
    interval = base.mark_rule(strokeWidth=1.5, opacity=0.6).encode(
        y=alt.Y("lower:Q", scale=scale, title=say("compare.on_test", metric=metric)), y2=alt.Y2("upper:Q"), color=colour
    )
    point = base.mark_point(size=110, filled=True, opacity=1).encode(y=scale_y, color=colour, shape=shape)
    names = [
        chart_of([row])
        .mark_text(align="left" if begins else "right", dy=dy, color=COLOUR.ink)
        .encode(x=x, y=alt.Y(f"{end}:Q", scale=scale), text=alt.Text("name:N"))
        for row, end, begins, dy in _names(rows, across.domain, scale.domain)
    ]
    title = say("compare.cost_title", task=comparison.run.task.name)
    heading = titled(title, [narrative.protocol_line(comparison.run, say), say("figure.intervals")])
    return layered(interval, point, *names, zoom="xy", title=heading, height=COST_PIXELS)


def _names(
    rows: Sequence[Mapping[str, Any]], across: Sequence[float], up: Sequence[float]
) -> Iterator[tuple[Mapping[str, Any], str, bool, int]]:
    """Each run's name, above its interval for a frozen probe and below it for a fine-tuned one, so that no two names
    meet: the end of the interval, whether the text begins there, and the pixels from there.

    across, up: the axes' domains, the first logarithmic.
    """
    middle, taken = math.sqrt(across[0] * across[1]), list[tuple[float, float, float]]()
    for row in rows:
        high = not row["tuned"]
        end = next(name for name in ("upper" if high else "lower", "value") if row[name] is not None)
        begins = row["seconds"] <= middle  # where there is room
        x = NARROW * math.log(row["seconds"] / across[0]) / math.log(across[1] / across[0])
        y = COST_PIXELS * (up[1] - row[end]) / (up[1] - up[0])
        left = x if begins else x - LETTER * len(row["name"])
        right = left + LETTER * len(row["name"])
        for line in range(len(rows)):
            dy = (12 + LINE * line) * (-1 if high else 1)
            if all(right < a or left > b or abs(y + dy - height) >= LINE for a, b, height in taken):
                break
        taken.append((left, right, y + dy))
        yield row, end, begins, dy


def _score(line: Line, say: Language) -> dict[str, Any]:
    bounds = {"value": line.score.estimate, "lower": line.score.lower, "upper": line.score.upper}
    style = {
        "series": say(f"compare.{line.kind}_series", probe=line.run.probe),
        "colour": colour_of(line.run.probe),
        "tuned": line.run.tuned,
    }
    return {**bounds, **style, "text": compare_narrative.tooltip_text(line, say)}
