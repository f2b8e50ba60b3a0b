"""The best frozen and the best fine-tuned run: label by label, bin by bin, caller by caller, group by group."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import altair as alt

from toolkit.core.i18n import Language
from toolkit.result import metrics
from toolkit.result.compare import Comparison, Line
from toolkit.result.jackknife import Score
from toolkit.result.report import compare_narrative, narrative
from toolkit.result.report.charts import COLOUR, chart_of, encodings, layered, padded, titled
from toolkit.result.report.colours import colour_of
from toolkit.result.report.label_charts import label_metric

MOST_DRAWN = 2_000  # callers; of more the boxes alone are drawn


def charts(comparison: Comparison, say: Language) -> dict[str, Any]:
    """Charts by the figures' file names."""
    found = {} if comparison.run.task.regression else {"labels": labels(comparison, say)}
    if any(line.run.predictions.has_probability for line in comparison.best):
        found["reliability"] = reliability(comparison, say)
    if comparison.has_callers:
        found["spread"] = spreads(comparison, say)
    for number, column in enumerate(comparison.columns):
        found[f"gaps-{number + 1}"] = gaps(comparison, column, say)
    return found


def labels(comparison: Comparison, say: Language) -> Any:
    """Each label's F1 or recall with its interval, frozen and fine-tuned, over the share of clips that have it."""
    key = label_metric(comparison.run.task)
    rows = []
    for line in comparison.best:
        evaluation = line.evaluation
        for label, scores in evaluation.per_label.items():
            share = evaluation.support[label] / evaluation.clips
            style = _style(line, comparison, say)
            rows.append({"row": label, "prevalence": share, **style, **_bounds(scores[key], say)})
    name = say(f"metric.{key}")
    tick = (
        chart_of([row for row in rows if row["series"] == rows[0]["series"]])
        .mark_tick(thickness=3, color=COLOUR.faint, height={"band": 0.7}, opacity=1)
        .encode(y=_across("row:N"), x=alt.X("prevalence:Q", scale=padded([0, 1])))
    )
    extra = [alt.Tooltip("prevalence:Q", title=say("figure.share_of_clips"), format=".3f")]
    title = say("compare.labels_title", task=comparison.run.task.name)
    return _points(comparison, rows, say, name, title, padded([0, 1]), extra, [tick])


def gaps(comparison: Comparison, column: str, say: Language) -> Any:
    """The headline metric within each value of a manifest's column, frozen and fine-tuned."""
    rows = []
    for line, parts in comparison.gaps[column]:
        for part in parts:
            row = {"row": part.value or say("gaps.unknown"), **_style(line, comparison, say)}
            rows.append({**row, **_bounds(part.score, say), "gap": say.figure(part.gap)})
    drawn = [row[name] for row in rows for name in ("value", "lower", "upper")]
    extra = [alt.Tooltip("gap:N", title=say("column.gap"))]
    metric = metrics.title(comparison.run.metric, say)
    title = say("gaps.title", task=comparison.run.task.name, column=column)
    return _points(comparison, rows, say, metric, title, padded(drawn), extra, [])


def _bounds(score: Score, say: Language) -> dict[str, Any]:
    bounds = {"value": score.estimate, "lower": score.lower, "upper": score.upper}
    return {**bounds, "text": say.figure(score)}


def _across(field: str) -> alt.Y:
    return alt.Y(field, sort=None, title=None, axis=alt.Axis(labelLimit=180))


def _style(line: Line, comparison: Comparison, say: Language) -> dict[str, Any]:
    """How a run's points are named and drawn."""
    name = compare_narrative.name(line, comparison, say)
    return {"series": name, "colour": colour_of(line.run.probe), "tuned": line.run.tuned}


def _points(
    comparison: Comparison,
    rows: Sequence[Mapping[str, Any]],
    say: Language,
    metric: str,
    title: str,
    scale: alt.Scale,
    extra: Sequence[alt.Tooltip],
    under: Sequence[Any],
) -> Any:
    """Points with intervals, a row for each `row`, the runs one under the other in it. under: what is beneath."""
    colour, shape = encodings(rows)
    tooltip = [
        alt.Tooltip("row:N", title=" "),
        alt.Tooltip("series:N", title=say("column.way")),
        alt.Tooltip("text:N", title=say("common.interval", name=metric)),
        *extra,
    ]
    base = chart_of(rows).encode(y=_across("row:N"), color=colour, tooltip=tooltip)
    layers, names = list(under), list(dict.fromkeys(row["series"] for row in rows))
    for number, name in enumerate(names):
        offset = 0 if len(names) == 1 else (-6, 6)[number]  # pixels
        part = base.transform_filter({"field": "series", "equal": name})
        rule = part.mark_rule(strokeWidth=1.8, yOffset=offset)
        point = part.mark_point(size=80, filled=True, opacity=1, yOffset=offset)
        layers.append(rule.encode(x=alt.X("lower:Q", scale=scale, title=metric), x2=alt.X2("upper:Q")))
        x = alt.X("value:Q", scale=scale, title=metric, axis=alt.Axis(tickCount=6))
        layers.append(point.encode(x=x, shape=shape))
    heading = titled(title, [narrative.protocol_line(comparison.run, say), say("figure.intervals")])
    height = 34 * max(2, len({row["row"] for row in rows}))
    return layered(*layers, zoom="x", title=heading, height=height)


def reliability(comparison: Comparison, say: Language) -> Any:
    """In ten bins of probability: the mean predicted probability against the observed frequency."""
    rows = []
    for line in comparison.best:
        for one in line.calibration.bins if line.calibration is not None else ():
            if one.predicted is not None:
                count = say("compare.of_clips", number=one.count)
                row = {"predicted": one.predicted, "count": one.count, "clips": count, **_bounds(one.happened, say)}
                rows.append({**row, **_style(line, comparison, say)})
    colour, shape = encodings(rows)
    scale = alt.Scale(domain=[0, 1])
    tenths = alt.Axis(format=".1f", values=[tenth / 10 for tenth in range(11)])
    x = alt.X("predicted:Q", scale=scale, title=say("compare.predicted_axis"), axis=tenths)
    title_y = say("compare.true_axis")
    tooltip = [
        alt.Tooltip("series:N", title=" "),
        alt.Tooltip("predicted:Q", title=say("column.predicted_mean"), format=".3f"),
        alt.Tooltip("text:N", title=say("column.happened")),
        alt.Tooltip("clips:N", title=say("column.clips")),
    ]
    base = chart_of(rows).encode(x=x, color=colour, tooltip=tooltip)
    interval = base.mark_rule(strokeWidth=1.5, opacity=0.6).encode(
        y=alt.Y("lower:Q", scale=scale, title=title_y), y2=alt.Y2("upper:Q")
    )
    size = alt.Size("count:Q", scale=alt.Scale(type="sqrt", range=[30, 350]), legend=None)
    point = base.mark_point(filled=True, opacity=0.9).encode(
        y=alt.Y("value:Q", scale=scale, title=title_y, axis=tenths), size=size, shape=shape
    )
    ends = [{"predicted": end, "value": end} for end in (0, 1)]
    diagonal = (
        chart_of(ends)
        .mark_line(strokeDash=[4, 4], color=COLOUR.faint)
        .encode(x=alt.X("predicted:Q", scale=scale), y=alt.Y("value:Q", scale=scale))
    )
    title = say("compare.reliability_title", task=comparison.run.task.name)
    heading = titled(title, [narrative.protocol_line(comparison.run, say), say("figure.intervals")])
    return layered(diagonal, interval, point, title=heading, height=360)


def spreads(comparison: Comparison, say: Language) -> Any:
    """The headline metric on each caller's clips alone: every one as a short line, over a box and whiskers."""
    metric = metrics.title(comparison.run.metric, say)
    boxes, lines = [], []
    for line in comparison.best:
        found, style = line.spread, _style(line, comparison, say)
        shares = {"low": 0.1, "left": 0.25, "median": 0.5, "right": 0.75, "high": 0.9}
        boxes.append({**style, **{name: found.quantile(share) for name, share in shares.items()}})
        if len(found.scores) <= MOST_DRAWN:
            pairs = zip(found.scores.tolist(), found.clips.tolist())
            lines += [{**style, "value": score, "clips": clips} for score, clips in pairs]
    colour, _ = encodings(boxes)
    colour.legend = None
    scale = padded([row["value"] for row in lines] + [row[name] for row in boxes for name in ("low", "high")])
    x: Callable[[str], alt.X] = lambda field: alt.X(f"{field}:Q", scale=scale, title=metric, axis=alt.Axis(tickCount=6))  # noqa: E731
    base = chart_of(boxes).encode(y=_across("series:N"), color=colour)
    tooltip = [alt.Tooltip("value:Q", title=metric, format=".3f"), alt.Tooltip("clips:Q", title=say("figure.clips"))]
    layers = [
        base.mark_rule(strokeWidth=1.5).encode(x=x("low"), x2=alt.X2("high")),
        base.mark_bar(opacity=0.3, height=26).encode(x=x("left"), x2=alt.X2("right")),
        base.mark_tick(thickness=4, height=26, opacity=1).encode(x=x("median")),
        chart_of(lines)
        .mark_tick(thickness=1.5, height=14, opacity=0.75, yOffset=24)
        .encode(y=_across("series:N"), x=x("value"), color=colour, tooltip=tooltip),
    ]
    group = say.name("noun", comparison.run.predictions.group)
    title = say("compare.spread_title", task=comparison.run.task.name, group=group)
    heading = titled(title, [narrative.protocol_line(comparison.run, say)])
    height = 76 * len(comparison.best)
    return layered(*layers, zoom="x", title=heading, height=height)
