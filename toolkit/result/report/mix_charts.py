"""What a mix learned to listen to: the weight of each layer, and how far the rounds agree on it."""

from typing import Any

import altair as alt
import numpy as np

from toolkit.core.i18n import Language
from toolkit.result.report import narrative
from toolkit.result.report.charts import COLOUR, chart_of, layered, titled
from toolkit.result.report.colours import colour_of
from toolkit.result.run import Run

HEIGHT = 260


def layer_weights(run: Run, say: Language) -> Any:
    """A bar for each layer's weight, the mean over the rounds, with a line from the lowest round to the highest.

    run: of a mix, so that `run.weights` is not empty; a dashed rule marks the weight that equal layers would have.
    """
    rows = [
        {
            "layer": layer,
            "mean": float(np.mean(shares)),
            "lowest": min(shares),
            "highest": max(shares),
            "rounds": ", ".join(f"{share:.3f}" for share in shares),
        }
        for layer, shares in run.weights.items()
    ]
    name = say("figure.weights_axis")
    tooltip = [
        alt.Tooltip("layer:N", title=say("figure.layer")),
        alt.Tooltip("mean:Q", title=name, format=".3f"),
        alt.Tooltip("rounds:N", title=say("figure.weights_rounds")),
    ]
    x = alt.X("layer:N", sort=None, title=say("figure.layer_axis"), axis=alt.Axis(labelAngle=-50, labelOverlap=True))
    base = chart_of(rows).encode(x=x, tooltip=tooltip)
    bars = base.mark_bar(color=colour_of(run.probe), opacity=0.75).encode(y=alt.Y("mean:Q", title=name))
    spread = base.mark_rule(color=COLOUR.ink, strokeWidth=1.5).encode(y=alt.Y("lowest:Q"), y2=alt.Y2("highest:Q"))
    equal = chart_of([{"equal": 1 / len(rows), "name": say("figure.weights_equal")}])
    rule = equal.mark_rule(strokeDash=[4, 3], color=COLOUR.faint, strokeWidth=1.5).encode(y=alt.Y("equal:Q"))
    label = equal.mark_text(align="left", dy=-7, dx=4, color=COLOUR.faint).encode(
        x=alt.XValue(0), y=alt.Y("equal:Q"), text=alt.Text("name:N")
    )
    heading = titled(
        say("figure.weights_title", title=narrative.run_title(run, say)),
        [narrative.protocol_line(run, say), say("figure.weights_spread", rounds=len(run.choices))],
    )
    return layered(bars, spread, rule, label, title=heading, height=HEIGHT)
