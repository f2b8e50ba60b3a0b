"""The figures of scales: predicted against true, the error by true value, and Bland and Altman's."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt

from toolkit.core import seeds
from toolkit.core.i18n import ENGLISH, Language
from toolkit.corpus.labels import BINS
from toolkit.result.report import narrative
from toolkit.result.report.charts import COLOUR, chart_of, layered, titled
from toolkit.result.report.colours import colour_of
from toolkit.result.report.page import Cell, Row, Table, count_cell, number_cell, table
from toolkit.result.run import Run

FloatArray = npt.NDArray[np.float64]
MOST_DRAWN = 2_000  # points
LIMIT = 1.96  # standard deviations: the limits of agreement


def names(figure: str, run: Run) -> list[str]:
    """A figure's file name for each target: "scatter", or "scatter-1", "scatter-2" ... of several."""
    targets = len(run.task.labels) if run.task.regression else 1
    return [figure] if targets == 1 else [f"{figure}-{number + 1}" for number in range(targets)]


def charts(run: Run, say: Language = ENGLISH) -> dict[str, Any]:
    """Charts by file name: of numbers both, of levels the error (the confusion matrix shows the rest)."""
    found = dict(zip(names("errors", run), (errors(run, at, say) for at in range(len(names("errors", run))))))
    if run.task.regression:
        found |= dict(zip(names("scatter", run), (scatter(run, at, say) for at in range(len(names("scatter", run))))))
    return found


def pairs(run: Run, target: int) -> tuple[FloatArray, FloatArray]:
    """Truth and prediction of the clips that have the target's number; of levels their places."""
    truth, prediction = run.predictions.truth, run.predictions.prediction
    if not run.task.regression:
        return truth.astype(np.float64), prediction.astype(np.float64)
    known = ~np.isnan(truth[:, target])
    return truth[known, target], prediction[known, target]


def drawn(clips: int) -> npt.NDArray[np.int64]:
    """Which clips are drawn, MOST_DRAWN of them at random."""
    if clips <= MOST_DRAWN:
        return np.arange(clips)
    return np.sort(seeds.generator(0, "scatter", clips).permutation(clips)[:MOST_DRAWN])


def _headed(layers: Sequence[Any], run: Run, say: Language, title: str, line: str, height: int) -> Any:
    heading = titled(title, [narrative.protocol_line(run, say), line])
    return layered(*layers, title=heading, height=height)


def scatter(run: Run, target: int = 0, say: Language = ENGLISH) -> Any:
    """A point a clip, the line of identity, and the values' ticks at the edges."""
    truth, prediction = pairs(run, target)
    kept = drawn(len(truth))
    rows = [{"truth": float(truth[at]), "prediction": float(prediction[at])} for at in kept]
    ends = [float(min(truth.min(), prediction.min())), float(max(truth.max(), prediction.max()))]
    scale = alt.Scale(domain=ends, nice=True, zero=False)
    x = alt.X("truth:Q", scale=scale, title=say("figure.true_axis"))
    y = alt.Y("prediction:Q", scale=scale, title=say("figure.predicted_axis"))
    tooltip = [
        alt.Tooltip("truth:Q", title=say("figure.true"), format=".4g"),
        alt.Tooltip("prediction:Q", title=say("figure.predicted"), format=".4g"),
    ]
    colour, base = colour_of(run.probe), chart_of(rows)
    identity = chart_of([{"truth": end, "prediction": end} for end in ends])
    layers = (
        identity.mark_line(color=COLOUR.faint, strokeDash=[4, 4]).encode(x=x, y=y),
        base.mark_point(filled=True, size=28, opacity=0.45, color=colour).encode(x=x, y=y, tooltip=tooltip),
        base.mark_tick(thickness=1, opacity=0.3, color=COLOUR.ink).encode(x=x, y=alt.YValue(380)),
        base.mark_tick(thickness=1, opacity=0.3, color=COLOUR.ink, orient="horizontal").encode(y=y, x=alt.XValue(0)),
    )
    title = say("figure.scatter_title", title=narrative.run_title(run, say), target=run.task.labels[target])
    return _headed(layers, run, say, title, say("figure.scatter_line"), 380)


def by_truth(run: Run, target: int = 0) -> list[tuple[str, int, float, float]]:
    """By level, or by BINS quantiles of the true number: its name, clips, mean absolute error, mean error."""
    truth, prediction = pairs(run, target)
    if run.task.regression:
        edges = np.unique(np.quantile(truth, np.linspace(0, 1, BINS + 1)[1:-1]))
        place = np.searchsorted(edges, truth, side="right")
        ends = [(truth[place == number].min(), truth[place == number].max()) for number in np.unique(place)]
        titles = [f"{low:.4g} – {high:.4g}" for low, high in ends]
        masks = [place == number for number in np.unique(place)]
    else:
        masks, titles = [truth == number for number in range(len(run.task.labels))], list(run.task.labels)
    error = prediction - truth
    return [
        (title, int(mask.sum()), float(np.abs(error[mask]).mean()), float(error[mask].mean()))
        for title, mask in zip(titles, masks, strict=True)
        if mask.any()
    ]


def errors(run: Run, target: int = 0, say: Language = ENGLISH) -> Any:
    """The mean absolute error as a bar and the mean error as a mark, by true value."""
    rows = [
        {"value": title, "clips": clips, "error": absolute, "bias": bias}
        for title, clips, absolute, bias in by_truth(run, target)
    ]
    axis = say("figure.errors_axis" if run.task.regression else "figure.errors_levels_axis")
    y = alt.Y("value:N", sort=None, title=say("figure.true_value"), axis=alt.Axis(labelLimit=180))
    series = [say("figure.absolute_error"), say("figure.bias")]
    colour = alt.Color(
        "series:N",
        scale=alt.Scale(domain=series, range=[colour_of(run.probe), COLOUR.ink]),
        legend=alt.Legend(title=None, orient="top", labelLimit=0, symbolOpacity=1),
    )
    tooltip = [
        alt.Tooltip("value:N", title=say("figure.true_value")),
        alt.Tooltip("clips:Q", title=say("figure.clips"), format=","),
        alt.Tooltip("error:Q", title=series[0], format=".3f"),
        alt.Tooltip("bias:Q", title=series[1], format=".3f"),
    ]
    base = chart_of(rows).encode(y=y, tooltip=tooltip)
    absolute, signed = (base.transform_calculate(series=f"'{name}'") for name in series)
    layers = (
        absolute.mark_bar(height={"band": 0.6}, opacity=0.75).encode(x=alt.X("error:Q", title=axis), color=colour),
        signed.mark_tick(thickness=3, height={"band": 0.8}, opacity=1).encode(x=alt.X("bias:Q"), color=colour),
    )
    title = say("figure.errors_title", title=narrative.run_title(run, say), target=_target(run, target))
    return _headed(layers, run, say, title, say("figure.errors_line"), 30 * len(rows))


def error_tables(run: Run, say: Language) -> list[tuple[str, Table]]:
    """By figure, its numbers."""
    found: list[tuple[str, Table]] = []
    heads = [say(f"column.{key}") for key in ("true_value", "clips", "absolute_error", "bias")]
    for target, name in enumerate(names("errors", run)):
        rows = [
            Row([Cell(title), count_cell(clips), *(number_cell(say.figure(value), value) for value in values)])
            for title, clips, *values in by_truth(run, target)
        ]
        found.append((name, table(heads, rows)))
    return found


def bland_altman(run: Run, target: int = 0, say: Language = ENGLISH) -> Any:
    """Prediction minus truth against their mean, with limits of agreement. From Python alone (`RunResult.figure`).

    Source: Bland and Altman, Lancet, 1986.
    """
    truth, prediction = pairs(run, target)
    difference = prediction - truth
    mean, spread = float(difference.mean()), float(difference.std(ddof=1))
    lines = [mean, mean - LIMIT * spread, mean + LIMIT * spread]
    rows = [
        {"mean": float((truth[at] + prediction[at]) / 2), "difference": float(difference[at])}
        for at in drawn(len(truth))
    ]
    x = alt.X("mean:Q", scale=alt.Scale(zero=False), title=say("figure.bland_x"))
    y = alt.Y("difference:Q", title=say("figure.bland_y"))
    points = chart_of(rows).mark_point(filled=True, size=28, opacity=0.45, color=colour_of(run.probe)).encode(x=x, y=y)
    rules = (
        chart_of([{"difference": line} for line in lines]).mark_rule(strokeDash=[4, 4], color=COLOUR.ink).encode(y=y)
    )
    title = say("figure.bland_title", title=narrative.run_title(run, say), target=_target(run, target))
    shown = dict(zip(("mean", "low", "high"), (f"{line:.3g}" for line in lines)))
    return _headed((points, rules), run, say, title, say("figure.bland_line", **shown), 320)


def _target(run: Run, target: int) -> str:
    return run.task.labels[target] if run.task.regression else run.task.name


def ranges(run: Run, target: int) -> Sequence[tuple[float, float]]:
    """The lowest and highest true number, and predicted one."""
    return [(float(values.min()), float(values.max())) for values in pairs(run, target)]
