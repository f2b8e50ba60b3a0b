"""Several curves on one axis: a run with its controls, its nuisances, and backbones against each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from toolkit.core.i18n import Language
from toolkit.result import metrics
from toolkit.result.controls import Beside
from toolkit.result.jackknife import Score
from toolkit.result.report import narrative
from toolkit.result.report.charts import COLOUR, chart_of, padded, titled, zoomable
from toolkit.result.run import Point, Run

# Okabe and Ito, 2008, less the yellow; told apart on both grounds, and by their dashes where there are more.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8a8f96")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
HEIGHT = 300


@dataclass(frozen=True)
class Curve:
    """One line. scores: by layer, in order of depth; places: of each layer on the axis, its number or 0 to 1."""

    name: str
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
    y_title: str,
    x_title: str,
    rule: float | None = None,
    rule_name: str = "",
    first_colour: int = 0,
) -> Any:
    """Lines with their 95 % bands and a legend. rule: a constant to hold them against. One layer is a level line."""
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
                    "told": say.figure(score),
                    "value": score.estimate,
                }
                rows.append({**row, "lower": score.lower, "upper": score.upper})
    names = [curve.name for curve in curves]
    colours = [COLOURS[(number + first_colour) % len(COLOURS)] for number in range(len(names))]
    dashes = [DASHES[number // len(COLOURS) % len(DASHES)] for number in range(len(names))]
    drawn = [value for row in rows for value in (row["lower"], row["upper"], row["value"]) if value is not None]
    drawn += [] if rule is None else [rule]
    scale = padded(drawn)
    columns = 1 if sum(map(len, names)) > 40 else 3
    look: dict[str, Any] = {"symbolType": "stroke", "symbolOpacity": 1, "symbolStrokeWidth": 3}
    legend = alt.Legend(title=None, orient="top", columns=columns, labelLimit=0, **look)
    colour = alt.Color("series:N", sort=None, scale=alt.Scale(domain=names, range=colours), legend=legend)
    margin = 0.03 * (ends[1] - ends[0])
    scale_x = alt.Scale(domain=[ends[0] - margin, ends[1] + margin], nice=False)
    counted = list(range(int(ends[1]) + 1)) if ends[1] > 1 else [0, 0.25, 0.5, 0.75, 1]  # layers, or a share of depth
    axis = alt.Axis(values=counted, format="d" if ends[1] > 1 else ".2f", labelOverlap=True)
    x = alt.X("x:Q", title=say("figure.all_layers") if level else x_title, scale=scale_x, axis=None if level else axis)
    tooltip = [
        alt.Tooltip("series:N", title=" "),
        alt.Tooltip("layer:N", title=say("figure.layer")),
        alt.Tooltip("told:N", title=say("common.interval", name=y_title)),
    ]
    base = chart_of(rows).encode(x=x, color=colour, tooltip=tooltip)
    y = alt.Y("value:Q", scale=scale, title=y_title)
    dash = alt.StrokeDash("series:N", sort=None, scale=alt.Scale(domain=names, range=dashes), legend=legend)
    band = base.mark_area(opacity=0.15).encode(y=alt.Y("lower:Q", scale=scale, title=y_title), y2="upper:Q")
    line = base.mark_line(strokeWidth=2.2, point=alt.OverlayMarkDef(size=36, filled=True)).encode(y=y, strokeDash=dash)
    layers = [band, line]
    if rule is not None:
        constant = chart_of([{"rule": rule, "name": rule_name}]).encode(y=alt.Y("rule:Q", scale=scale))
        layers.append(constant.mark_rule(strokeDash=[2, 3], color=COLOUR.faint, strokeWidth=1.5))
        told = constant.mark_text(align="left", dy=-7, dx=4, color=COLOUR.faint)
        layers.append(told.encode(x=alt.value(0), text="name:N"))
    channels = ("y",) if level else ("x", "y")
    return zoomable(alt.layer(*layers).properties(height=HEIGHT), *channels)


def over_depth(named: Sequence[tuple[str, Mapping[str, Score]]], run: Run, title: str, say: Language) -> Any:
    """Curves over relative depth, 0 to 1, for layer counts differ; a mix is a level line. run: any of them."""
    lines = [Curve(name, scores, depths(len(scores))) for name, scores in named]
    # The first colour is fine-tuning's in the figures around this one, which is of frozen probes.
    chance, _ = metrics.chance(run.predictions)
    told = say("chance.short", value=f"{chance:.3f}")
    drawn = chart(lines, say, metrics.title(run.metric, say), say("figure.depth_axis"), chance, told, first_colour=1)
    return drawn.properties(title=titled(title, [narrative.protocol_line(run, say), say("figure.bands")]))


def beside_charts(
    run: Run, points: Sequence[Point], beside: Sequence[Beside], say: Language
) -> dict[str, tuple[str, Any]]:
    """Title and chart by file name: the run with its controls, what it has over them, and what else a layer knows."""
    title = narrative.run_title(run, say)
    metric, (chance, _) = metrics.title(run.metric, say), metrics.chance(run.predictions)
    own = {point.layer: point.test for point in points}
    charts: dict[str, tuple[str, Any]] = {}
    x_title = say("figure.layer_axis_numbers" if "encoder.0" in own else "figure.layer_axis")
    controls = [one for one in beside if one.kind != "nuisance"]
    if controls:
        names = [narrative.beside_name(run, one, say) for one in controls]
        lines = [Curve(run.task.name, own, numbered(own))]
        lines += [Curve(name, one.curve, numbered(one.curve)) for name, one in zip(names, controls)]
        told = say("chance.short", value=f"{chance:.3f}")
        charts["controls"] = (
            say("figure.controls_title", title=title),
            chart(lines, say, metric, x_title, chance, told),
        )
        over = [
            Curve(say("beside.minus", name=name), one.curve_minus, numbered(one.curve_minus))
            for name, one in zip(names, controls)
            if one.curve_minus
        ]
        if over:  # in the same colours as in the other chart
            y_title = say("figure.difference_axis", metric=metric)
            charts["selectivity"] = (
                say("figure.selectivity_title", title=title),
                chart(over, say, y_title, x_title, 0.0, say("figure.no_gain"), first_colour=1),
            )
    nuisances = [one for one in beside if one.kind == "nuisance"]
    if nuisances:
        lines = [Curve(say("figure.target", task=run.task.name), _above_chance(own, chance), numbered(own))]
        lines += [Curve(one.name, _above_chance(one.curve, one.chance), numbered(one.curve)) for one in nuisances]
        charts["nuisance"] = (
            say("figure.nuisance_title", title=title),
            chart(lines, say, say("figure.way_to_perfect"), x_title, 0.0, say("figure.chance")),
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
