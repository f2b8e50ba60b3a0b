"""Several curves on one axis: a run with its controls, its nuisances, and backbones against each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from toolkit.core.i18n import Language
from toolkit.result import kinds, metrics
from toolkit.result.controls import Control
from toolkit.result.jackknife import Score
from toolkit.result.report import narrative
from toolkit.result.report.charts import COLOUR, chart_of, layered, padded, titled
from toolkit.result.report.colours import Style, colour_of, others, styles_of
from toolkit.result.run import Point, Run

HEIGHT = 300
ROOM = 0.2  # of the curves' range, that the axis may be longer for the sake of the rule


@dataclass(frozen=True)
class Curve:
    """One line. scores: by layer, in order of depth; places: of each layer on the axis, its number or 0 to 1."""

    name: str
    style: Style
    scores: Mapping[str, Score]
    places: Sequence[float]


def depths(layers: int) -> list[float]:
    """Each layer's place from 0 (what enters the first) to 1 (the last).

    >>> depths(5)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    return [number / max(1, layers - 1) for number in range(layers)]


def numbered(scores: Mapping[str, Score]) -> Sequence[float]:
    """The layers' places on an axis of layer numbers."""
    return [float(number) for number in range(len(scores))]


def chart(
    curves: Sequence[Curve],
    say: Language,
    heading: alt.TitleParams,
    y_title: str,
    x_title: str,
    rule: float,
    rule_name: str,
) -> Any:
    """Lines with their 95 % bands and a legend. One layer is a level line.

    rule: a constant to compare them with; where it is below all of them, its name at the lower edge says so.
    """
    rows: list[dict[str, Any]] = []
    places = [place for curve in curves for place in curve.places]
    level = min(places) == max(places)  # nothing but probes of all layers at once: level lines without an axis
    ends = [0.0, 1.0] if level else [min(places), max(places)]
    for curve in curves:
        alone = len(curve.places) == 1
        for (layer, score), place in zip(curve.scores.items(), curve.places):
            for x in ends if alone else [place]:
                row = {
                    "x": x,
                    "layer": layer,
                    "series": curve.name,
                    "text": say.figure(score),
                    "value": score.estimate,
                }
                rows.append({**row, "lower": score.lower, "upper": score.upper})
    names = [curve.name for curve in curves]
    colours, dashes = [curve.style.colour for curve in curves], [list(curve.style.dash) for curve in curves]
    drawn = [row[name] for row in rows for name in ("lower", "upper", "value") if row[name] is not None]
    below = bool(drawn) and rule < min(drawn) - ROOM * (max(drawn) - min(drawn))
    scale = padded([*drawn] if below else [*drawn, rule])
    columns = 1 if sum(map(len, names)) > 30 else 3  # letters that a phone has room for
    style: dict[str, Any] = {"symbolType": "stroke", "symbolOpacity": 1, "symbolStrokeWidth": 3}
    legend = alt.Legend(title=None, orient="top", columns=columns, labelLimit=0, **style)
    colour = alt.Color("series:N", sort=None, scale=alt.Scale(domain=names, range=colours), legend=legend)
    counted = list(range(int(ends[1]) + 1)) if ends[1] > 1 else [0, 0.25, 0.5, 0.75, 1]  # layers, or a share of depth
    axis = alt.Axis(values=counted, format="d" if ends[1] > 1 else ".2f", labelOverlap=True)
    x = alt.X(
        "x:Q", title=say("figure.all_layers") if level else x_title, scale=padded(ends), axis=None if level else axis
    )
    tooltip = [
        alt.Tooltip("series:N", title=" "),
        alt.Tooltip("layer:N", title=say("figure.layer")),
        alt.Tooltip("text:N", title=say("common.interval", name=y_title)),
    ]
    base = chart_of(rows).encode(x=x, color=colour, tooltip=tooltip)
    y = alt.Y("value:Q", scale=scale, title=y_title)
    dash = alt.StrokeDash("series:N", sort=None, scale=alt.Scale(domain=names, range=dashes), legend=legend)
    band = base.mark_area(opacity=0.15).encode(y=alt.Y("lower:Q", scale=scale, title=y_title), y2=alt.Y2("upper:Q"))
    line = base.mark_line(strokeWidth=2.2, point=alt.OverlayMarkDef(size=36, filled=True)).encode(y=y, strokeDash=dash)
    constant = chart_of([{"rule": rule, "name": f"↓ {rule_name}" if below else rule_name}])
    rule_mark = constant.mark_rule(strokeDash=[2, 3], color=COLOUR.faint, strokeWidth=1.5, clip=True)
    height = alt.YValue(HEIGHT) if below else alt.Y("rule:Q", scale=scale)
    label = constant.mark_text(align="left", dy=-7, dx=4, color=COLOUR.faint).encode(
        x=alt.XValue(0), y=height, text=alt.Text("name:N")
    )
    known = rule_mark.encode(y=alt.Y("rule:Q", scale=scale))
    return layered(band, line, known, label, zoom="y" if level else "xy", title=heading, height=HEIGHT)


def over_depth(named: Sequence[tuple[str, Run, Mapping[str, Score]]], title: str, say: Language) -> Any:
    """Curves over relative depth, 0 to 1, since layer counts differ; a mix is a level line.

    named: each curve's name, run and scores; the runs are of one task.
    """
    styles = styles_of([run.probe for _, run, _ in named])
    lines = [Curve(name, style, scores, depths(len(scores))) for (name, _, scores), style in zip(named, styles)]
    run = named[0][1]
    chance, _ = kinds.chance(run.predictions)
    label = say("chance.short", value=f"{chance:.3f}")
    heading = titled(title, [narrative.protocol_line(run, say), say("figure.bands")])
    return chart(lines, say, heading, metrics.title(run.metric, say), say("figure.depth_axis"), chance, label)


def control_charts(run: Run, points: Sequence[Point], compared: Sequence[Control], say: Language) -> dict[str, Any]:
    """Charts by file name: the run with its controls, what it has over them, and what else a layer knows."""
    title = narrative.run_title(run, say)
    below = [narrative.protocol_line(run, say), say("figure.probe_bands", probe=run.probe)]
    metric, (chance, _) = metrics.title(run.metric, say), kinds.chance(run.predictions)
    test, first = {point.layer: point.test for point in points}, Style(colour_of(run.probe))
    charts: dict[str, Any] = {}
    x_title = say("figure.layer_axis_numbers" if "encoder.0" in test else "figure.layer_axis")
    controls = [one for one in compared if one.kind not in ("nuisance", "alone")]
    if controls:
        names = [narrative.control_name(run, one, say) for one in controls]
        styles = others(len(controls), run.probe)
        lines = [Curve(run.task.name, first, test, numbered(test))]
        lines += [
            Curve(name, style, one.curve, numbered(one.curve)) for name, style, one in zip(names, styles, controls)
        ]
        label = say("chance.short", value=f"{chance:.3f}")
        heading = titled(say("figure.controls_title", title=title), below)
        charts["controls"] = chart(lines, say, heading, metric, x_title, chance, label)
        over = [
            Curve(say("control.minus", name=name), style, one.curve_minus, numbered(one.curve_minus))
            for name, style, one in zip(names, styles, controls)
            if one.curve_minus
        ]
        if over:  # in the same colours as in the other chart
            y_title = say("figure.difference_axis", metric=metric)
            heading = titled(say("figure.selectivity_title", title=title), below)
            charts["selectivity"] = chart(over, say, heading, y_title, x_title, 0.0, say("figure.no_gain"))
    nuisances = [one for one in compared if one.kind == "nuisance"]
    if nuisances:
        styles = others(len(nuisances), run.probe)
        lines = [Curve(say("figure.target", task=run.task.name), first, _above_chance(test, chance), numbered(test))]
        lines += [
            Curve(one.name, style, _above_chance(one.curve, one.chance), numbered(one.curve))
            for one, style in zip(nuisances, styles)
        ]
        heading = titled(say("figure.nuisance_title", title=title), below)
        charts["nuisance"] = chart(
            lines, say, heading, say("figure.way_to_perfect"), x_title, 0.0, say("figure.chance")
        )
    return charts


def _above_chance(scores: Mapping[str, Score], chance: float) -> dict[str, Score]:
    """(score - chance) / (1 - chance), so that questions of two classes and of ten share an axis."""

    def rescaled(value: float | None) -> float | None:
        return None if value is None else (value - chance) / (1 - chance)

    return {
        layer: Score(rescaled(score.estimate), rescaled(score.lower), rescaled(score.upper))
        for layer, score in scores.items()
    }
