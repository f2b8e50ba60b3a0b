"""The figures of one run: its layer curve, its labels, its confusion matrix, and the runs it is compared with."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from toolkit.core.i18n import ENGLISH, Language
from toolkit.result import kinds, metrics
from toolkit.result.controls import Control
from toolkit.result.online import Online
from toolkit.result.report import curves, narrative, number_charts, run_online
from toolkit.result.report.charts import COLOUR, chart_of, layered, padded, specifications, titled
from toolkit.result.report.colours import colour_of
from toolkit.result.report.label_charts import confusion, per_label
from toolkit.result.report.mix_charts import layer_weights
from toolkit.result.run import TUNED, Point, Run
from toolkit.result.stats import Evaluation

BLAND = "bland_altman"


@specifications
def specs(
    run: Run,
    points: Sequence[Point],
    evaluation: Evaluation,
    say: Language = ENGLISH,
    compared: Sequence[Control] = (),
    online: Online | None = None,
) -> dict[str, Any]:
    """Charts by the figures' file names. compared: runs to draw it with."""
    # of a mix, in place of a curve of one point; a fusion has none
    curve = {"weights": layer_weights(run, say)} if run.weights else {"layers": layer_curve(run, points, say)}
    drawn = dict({} if run.fusion else curve)
    if not run.task.regression:
        drawn |= {"labels": per_label(run, evaluation, say), "confusion": confusion(run, say)}
    if run.task.regression or run.task.ordinal:
        drawn |= number_charts.charts(run, say)
    if online is not None:
        drawn["callers"] = run_online.chart(run, online, say)
    return drawn | curves.control_charts(run, points, compared, say)


@specifications
def bland_altman(run: Run, say: Language = ENGLISH) -> dict[str, Any]:
    """Bland and Altman's figure of each target."""
    return {name: number_charts.bland_altman(run, at, say) for at, name in enumerate(number_charts.names(BLAND, run))}


def layer_curve(run: Run, points: Sequence[Point], say: Language = ENGLISH) -> Any:
    """Test score of every layer with its 95 % band, the development score, the layers that were chosen, and chance."""
    name = metrics.title(run.metric, say)
    stacks = {point.layer.rpartition(".")[0] for point in points}
    one_stack = len(stacks) == 1 and stacks <= {"encoder", "decoder"}  # imported layers have names of their own
    chance, how = kinds.chance(run.predictions, say)
    rounds = len(run.choices)
    rows = [
        {
            "layer": point.layer.rpartition(".")[2] if one_stack else point.layer,
            "name": point.layer,
            "test": point.test.estimate,
            "lower": point.test.lower,
            "upper": point.test.upper,
            "development": point.development,
            "chosen": say("figure.chosen_in", number=point.chosen, rounds=rounds) if point.chosen else "",
            "text": say.figure(point.test),
        }
        for point in points
    ]
    stack = say.name("stack", next(iter(stacks)))
    title = say("figure.stack_axis", stack=stack) if one_stack else say("figure.layer_axis")
    x = alt.X("layer:O", sort=None, title=title, axis=alt.Axis(labelAngle=0 if one_stack else -50, labelOverlap=True))
    drawn = (value for p in points for value in (p.development, p.test.estimate, p.test.lower, p.test.upper))
    scale = padded([chance, *drawn])
    tooltip = [
        alt.Tooltip("name:N", title=say("figure.layer")),
        alt.Tooltip("text:N", title=say("figure.test_interval", metric=name)),
        alt.Tooltip("development:Q", title=say("figure.development"), format=".3f"),
        alt.Tooltip("chosen:N", title=say("figure.chosen")),
    ]
    base = chart_of(rows).encode(x=x, tooltip=tooltip)
    # The colour scale is what makes the legend.
    names = [say("figure.test_series", metric=name), say("figure.development_series", metric=name)]
    colour = alt.Color(
        "series:N",
        scale=alt.Scale(domain=names, range=[colour_of(run.probe), COLOUR.ink]),
        legend=alt.Legend(title=None, orient="top", symbolType="stroke", labelLimit=0),
    )
    dash = alt.StrokeDash("series:N", scale=alt.Scale(domain=names, range=[[1, 0], [5, 4]]))
    test, development = (base.transform_calculate(series=f"'{series}'") for series in names)
    band = base.mark_area(opacity=0.2, color=colour_of(run.probe)).encode(
        y=alt.Y("lower:Q", scale=scale, title=name), y2=alt.Y2("upper:Q")
    )
    line = test.mark_line(strokeWidth=2.5, point=alt.OverlayMarkDef(size=45, filled=True)).encode(
        y=alt.Y("test:Q", scale=scale), color=colour, strokeDash=dash
    )
    dashed = development.mark_line(strokeWidth=1.2).encode(
        y=alt.Y("development:Q", scale=scale), color=colour, strokeDash=dash
    )
    ring = (
        base.transform_filter("datum.chosen != ''")
        .mark_point(size=190, strokeWidth=2.5, color=COLOUR.ink, filled=False)
        .encode(y=alt.Y("test:Q", scale=scale))
    )
    chance_label = say("chance.named", how=how, value=f"{chance:.3f}")
    constant = chart_of([{"chance": chance, "name": chance_label}])
    rule = constant.mark_rule(strokeDash=[2, 3], color=COLOUR.faint, strokeWidth=1.5).encode(
        y=alt.Y("chance:Q", scale=scale)
    )
    label = constant.mark_text(align="left", dy=-7, dx=4, color=COLOUR.faint).encode(
        x=alt.XValue(0), y=alt.Y("chance:Q", scale=scale), text=alt.Text("name:N")
    )
    unit = narrative.unit(run.predictions, say)
    subtitle = [narrative.protocol_line(run, say), say("figure.layers_rings", unit=unit)]
    kind = "figure.layers_title_tuned" if run.tuned else "figure.layers_title"
    heading = titled(say(kind, title=narrative.run_title(run, say), probe=run.probe.removeprefix(TUNED)), subtitle)
    return layered(band, rule, label, dashed, line, ring, zoom="y", title=heading, height=300)
