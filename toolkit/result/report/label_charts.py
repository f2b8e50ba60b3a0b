"""Each label's score with how often it occurs, and the confusion matrix."""

from typing import Any

import altair as alt
import numpy as np

from toolkit.core.i18n import ENGLISH, Language
from toolkit.corpus.labels import IntArray, Task
from toolkit.result.jackknife import Score
from toolkit.result.predictions import Predictions
from toolkit.result.report import narrative
from toolkit.result.report.charts import COLOUR, chart_of, layered, titled
from toolkit.result.report.colours import colour_of
from toolkit.result.run import Run
from toolkit.result.stats import Evaluation


def label_metric(task: Task) -> str:
    """The metric of a label: its F1, or its recall where a clip has one label or level; of a number its CCC."""
    return "concordance_correlation" if task.regression else "f1" if task.multilabel else "recall"


def per_label(run: Run, evaluation: Evaluation, say: Language = ENGLISH) -> Any:
    """F1 (multilabel) or recall (one label a clip) of each label with its interval, and how often it occurs."""
    metric = label_metric(run.task)
    name = say(f"metric.{metric}")
    rows = [
        _label_row(label, scores[metric], evaluation.support[label], evaluation.clips, say)
        for label, scores in evaluation.per_label.items()
    ]
    label_axis = alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=180))
    scale = alt.Scale(domain=[0, 1])
    names = [say("figure.label_interval", name=name), say("figure.prevalence_series")]
    tooltip = [
        alt.Tooltip("label:N", title=say("figure.label")),
        alt.Tooltip("text:N", title=say("common.interval", name=name)),
        alt.Tooltip("support:Q", title=say("figure.clips"), format=","),
        alt.Tooltip("prevalence:Q", title=say("figure.share_of_clips"), format=".3f"),
    ]
    base = chart_of(rows).encode(y=label_axis, tooltip=tooltip)
    colour = alt.Color(
        "series:N",
        scale=alt.Scale(domain=names, range=[colour_of(run.probe), COLOUR.ink]),
        legend=alt.Legend(title=None, orient="top", columns=1, labelLimit=0, symbolOpacity=1),
    )
    bar = (
        base.transform_calculate(series=f"'{names[0]}'")
        .mark_bar(height={"band": 0.6}, opacity=0.75)
        .encode(x=alt.X("value:Q", scale=scale, title=name, axis=alt.Axis(tickCount=10, format=".1f")), color=colour)
    )
    interval = base.mark_rule(color=COLOUR.ink, strokeWidth=1.8).encode(
        x=alt.X("lower:Q", scale=scale), x2=alt.X2("upper:Q")
    )
    prevalence = (
        base.transform_calculate(series=f"'{names[1]}'")
        .mark_tick(thickness=3, height={"band": 0.8}, opacity=1)
        .encode(x=alt.X("prevalence:Q", scale=scale), color=colour)
    )
    title = say("figure.labels_title", title=narrative.run_title(run, say))
    heading = titled(title, [narrative.protocol_line(run, say), say("figure.labels_layer")])
    return layered(bar, interval, prevalence, title=heading, height=26 * len(rows))


def _label_row(label: str, score: Score, support: int, clips: int, say: Language) -> dict[str, Any]:
    return {
        "label": label,
        "value": score.estimate,
        "lower": score.lower,
        "upper": score.upper,
        "text": say.figure(score),
        "support": support,
        "prevalence": support / clips,
    }


def confusion_counts(predictions: Predictions) -> IntArray:
    """(n_labels, n_labels) clips by truth (rows) and prediction; for one label a clip."""
    labels = len(predictions.task.labels)
    pairs = predictions.truth * labels + predictions.prediction
    return np.bincount(pairs, minlength=labels * labels).reshape(labels, labels).astype(np.int64)


# two of clips with the label, two of clips without; keys of the words in section "figure"
MULTILABEL_CELLS = ("found", "missed", "false_alarm", "rejected")


def multilabel_counts(predictions: Predictions) -> IntArray:
    """(n_labels, 4) clips, in the order of MULTILABEL_CELLS: each label's own 2 x 2 table as a row."""
    truth, prediction = predictions.truth, predictions.prediction
    cells = (truth & prediction, truth & (1 - prediction), (1 - truth) & prediction, (1 - truth) & (1 - prediction))
    return np.stack([cell.sum(axis=0) for cell in cells], axis=1)


def confusion(run: Run, say: Language = ENGLISH) -> Any:
    """Counts, coloured by their share of the true label's clips."""
    task, predictions = run.task, run.predictions
    columns: tuple[str, ...]
    kind = "multilabel" if task.multilabel else "single"
    if task.multilabel:
        counts, columns = multilabel_counts(predictions), tuple(say(f"figure.{cell}") for cell in MULTILABEL_CELLS)
        shares = np.concatenate([_shares(counts[:, :2]), _shares(counts[:, 2:])], axis=1)
    else:
        counts, columns = confusion_counts(predictions), task.labels
        shares = _shares(counts)
    rows = [
        {"truth": truth, "prediction": column, "clips": int(counts[i, j]), "share": float(shares[i, j])}
        for i, truth in enumerate(task.labels)
        for j, column in enumerate(columns)
    ]
    steep = len(columns) > 5 and not task.multilabel
    across = alt.Axis(orient="top", labelAngle=-40 if steep else 0, labelLimit=120, domain=False, ticks=False)
    if task.multilabel:
        across.labelExpr, across.labelPadding = "split(datum.label, ' ')", 16  # two lines, for phones
    x_title, y_title = (None, "label_axis") if task.multilabel else ("predicted_axis", "true_axis")
    x = alt.X("prediction:N", sort=None, title=say(f"figure.{x_title}") if x_title else None, axis=across)
    y = alt.Y("truth:N", sort=None, title=say(f"figure.{y_title}"), axis=alt.Axis(labelLimit=150))
    tooltip = [
        alt.Tooltip("truth:N", title=say("figure.label" if task.multilabel else "figure.true")),
        alt.Tooltip("prediction:N", title=say("figure.outcome" if task.multilabel else "figure.predicted")),
        alt.Tooltip("clips:Q", title=say("figure.clips"), format=","),
        alt.Tooltip("share:Q", title=say("figure.share_of_true"), format=".3f"),
    ]
    base = chart_of(rows).encode(x=x, y=y, tooltip=tooltip)
    legend = alt.Legend(title=say("figure.share_legend"), orient="bottom", direction="horizontal", gradientLength=160)
    colour = alt.Color("share:Q", scale=alt.Scale(domain=[0, 1], range=[COLOUR.low, COLOUR.high]), legend=legend)
    square = base.mark_rect(stroke=COLOUR.ground, strokeWidth=1).encode(color=colour)
    text = base.mark_text().encode(
        text=alt.Text("clips:Q", format=","),
        color=alt.condition(f"datum.share > {COLOUR.turn}", alt.value(COLOUR.on_high), alt.value(COLOUR.ink)),
    )
    title = say(f"figure.confusion_title_{kind}", title=narrative.run_title(run, say))
    heading = titled(title, [narrative.protocol_line(run, say), say(f"figure.confusion_{kind}")])
    return layered(square, text, title=heading, height=34 * len(task.labels))


def _shares(counts: IntArray) -> Any:
    """Each row over its sum; a row without clips is all 0."""
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
