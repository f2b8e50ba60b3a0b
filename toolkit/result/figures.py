"""The charts: the layer curve, the labels, the confusion; for the report, and as PDF, PNG and SVG for papers."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import vl_convert

from toolkit.labels import IntArray
from toolkit.result import curves, metrics
from toolkit.result.beside import Beside
from toolkit.result.predictions import Predictions
from toolkit.result.run import Point, Run
from toolkit.result.stats import Evaluation, Score
from toolkit.runs import commit_file

WIDTH = 560  # pixels, of a figure in a file
PNG_SCALE = 2
GRADIENT = re.compile(r'(<linearGradient id="|fill="url\(#)gradient_\d+')
Width = int | str  # pixels, or "container" on a page
Spec = dict[str, Any]


@dataclass(frozen=True)
class Palette:
    """Colours that the colour-blind tell apart (Okabe and Ito, 2008), on a light or a dark ground."""

    ground: str
    ink: str
    faint: str
    score: str
    second: str
    low: str
    high: str
    on_high: str


LIGHT = Palette("#ffffff", "#1d2329", "#6a737d", "#0072b2", "#c25100", "#f4f7fa", "#0a5c94", "#ffffff")
DARK = Palette("#15191e", "#e8ebee", "#9aa4ae", "#56b4e9", "#e69f00", "#1d242b", "#7cc4f0", "#0b0f13")


def write(
    folder: Path, run: Run, points: Sequence[Point], evaluation: Evaluation, beside: Sequence[Beside] = ()
) -> None:
    """Commit every figure as PDF, PNG and SVG."""
    write_specs(folder, specs(run, points, evaluation, LIGHT, WIDTH, beside))


def write_specs(folder: Path, drawn: Mapping[str, Spec]) -> None:
    """Commit Vega-Lite specifications, by file name, as PDF, PNG and SVG."""
    for name, spec in drawn.items():
        for suffix, data in (
            ("pdf", vl_convert.vegalite_to_pdf(spec, allowed_base_urls=[])),
            ("png", vl_convert.vegalite_to_png(spec, scale=PNG_SCALE, allowed_base_urls=[])),
            ("svg", svg(spec).encode()),
        ):
            commit_file(folder / f"{name}.{suffix}", _writer(data))


def _writer(data: bytes) -> Callable[[Path], None]:
    def write_bytes(temporary: Path) -> None:
        temporary.write_bytes(data)

    return write_bytes


def svg(spec: Spec) -> str:
    """The figure as SVG text, drawn without fetching anything; the same figure gives the same text.

    Vega numbers gradients through the life of the process; a figure here has one at most.
    """
    return GRADIENT.sub(r"\1gradient_0", vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]))


def specs(
    run: Run,
    points: Sequence[Point],
    evaluation: Evaluation,
    palette: Palette,
    width: Width,
    beside: Sequence[Beside] = (),
) -> dict[str, Spec]:
    """Vega-Lite specifications by the figures' file names, with all data inside. beside: runs to draw it with."""
    charts = {
        "layers": layer_curve(run, points, palette, width),
        "labels": per_label(run, evaluation, palette, width),
        "confusion": confusion(run, palette, width),
    }
    chance, _ = metrics.chance(run.predictions)
    name = metrics.title(run.metric)
    for figure, (title, chart) in curves.beside_charts(run, points, chance, name, beside, palette, width).items():
        heading = titled(title, [protocol_line(run), f"{run.probe} probe; 95 % bands"], palette)
        charts[figure] = chart.properties(title=heading)
    return {name: configured(chart, palette) for name, chart in charts.items()}


def protocol_line(run: Run) -> str:
    """Data and protocol in a few words, under every figure's title."""
    groups = len(set(run.predictions.groups))
    who = "" if run.predictions.unit == "clips" else f", {groups} {run.predictions.group}{'s' if groups > 1 else ''}"
    how = "a fixed split" if run.folds.scheme == "fixed" else f"{run.folds.count} folds"
    apart = "clips" if run.folds.groups == run.folds.ids else run.folds.group_by
    return f"{len(run.predictions.ids):,} clips{who}; {how}, kept apart by {apart}"


def layer_curve(run: Run, points: Sequence[Point], palette: Palette = LIGHT, width: Width = WIDTH) -> Any:
    """Test score of every layer with its 95 % band, the development score, the layers that were chosen, and chance."""
    name = metrics.title(run.metric)
    stacks = {point.layer.rpartition(".")[0] for point in points}
    one_stack = len(stacks) == 1
    chance, chance_name = metrics.chance(run.predictions)
    rows = [
        {
            "layer": point.layer.rpartition(".")[2] if one_stack else point.layer,
            "name": point.layer,
            "test": point.test.estimate,
            "lower": point.test.lower,
            "upper": point.test.upper,
            "development": point.development,
            "chosen": f"in {point.chosen} of {len(run.choices)} rounds" if point.chosen else "",
            "told": str(point.test),
        }
        for point in points
    ]
    title = f"{next(iter(stacks)).capitalize()} layer (0: what enters the first)" if one_stack else "Layer"
    x = alt.X("layer:O", sort=None, title=title, axis=alt.Axis(labelAngle=0 if one_stack else -50, labelOverlap=True))
    scale = alt.Scale(domain=_domain(points, chance), nice=False)
    tooltip = [
        alt.Tooltip("name:N", title="layer"),
        alt.Tooltip("told:N", title=f"test {name}, 95 %"),
        alt.Tooltip("development:Q", title="development", format=".3f"),
        alt.Tooltip("chosen:N", title="chosen"),
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, tooltip=tooltip)
    # The colour scale is what makes the legend.
    names = [f"test {name}", f"development {name}"]
    colour = alt.Color(
        "series:N",
        scale=alt.Scale(domain=names, range=[palette.score, palette.second]),
        legend=alt.Legend(title=None, orient="top", symbolType="stroke", labelLimit=0),
    )
    dash = alt.StrokeDash("series:N", scale=alt.Scale(domain=names, range=[[1, 0], [5, 4]]))
    test, development = (base.transform_calculate(series=f"'{series}'") for series in names)
    band = base.mark_area(opacity=0.2, color=palette.score).encode(
        y=alt.Y("lower:Q", scale=scale, title=name), y2="upper:Q"
    )
    line = test.mark_line(strokeWidth=2.5, point=alt.OverlayMarkDef(size=45, filled=True)).encode(
        y=alt.Y("test:Q", scale=scale), color=colour, strokeDash=dash
    )
    dashed = development.mark_line(strokeWidth=1.5).encode(
        y=alt.Y("development:Q", scale=scale), color=colour, strokeDash=dash
    )
    ring = (
        base.transform_filter("datum.chosen != ''")
        .mark_point(size=190, strokeWidth=2.5, color=palette.ink, filled=False)
        .encode(y=alt.Y("test:Q", scale=scale))
    )
    constant = alt.Chart(alt.Data(values=[{"chance": chance, "name": f"{chance_name} ({chance:.3f})"}]))
    rule = constant.mark_rule(strokeDash=[2, 3], color=palette.faint, strokeWidth=1.5).encode(
        y=alt.Y("chance:Q", scale=scale)
    )
    told = constant.mark_text(align="left", dy=-7, dx=4, color=palette.faint).encode(
        x=alt.value(0), y=alt.Y("chance:Q", scale=scale), text="name:N"
    )
    how = "95 % band from resampling " + run.predictions.unit
    subtitle = [protocol_line(run), f"{how}; rings: layers chosen on development"]
    heading = titled(f"{run.title}: {run.probe}{'' if run.tuned else ' probe of each layer'}", subtitle, palette)
    return alt.layer(band, rule, told, dashed, line, ring).properties(title=heading, width=width, height=300)


def per_label(run: Run, evaluation: Evaluation, palette: Palette = LIGHT, width: Width = WIDTH) -> Any:
    """F1 (multilabel) or recall (one label a clip) of each label with its interval, beside how often it occurs."""
    metric = "f1" if run.task.multilabel else "recall"
    name = "F1" if run.task.multilabel else "Recall"
    rows = [
        _label_row(label, scores[metric], evaluation.support[label], evaluation.clips)
        for label, scores in evaluation.per_label.items()
    ]
    label_axis = alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=180))
    scale = alt.Scale(domain=[0, 1])
    names = [f"{name}, 95 % interval", "share of clips that have the label"]
    tooltip = [
        alt.Tooltip("label:N"),
        alt.Tooltip("told:N", title=f"{name}, 95 %"),
        alt.Tooltip("support:Q", title="clips", format=","),
        alt.Tooltip("prevalence:Q", title="share of clips", format=".3f"),
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(y=label_axis, tooltip=tooltip)
    colour = alt.Color(
        "series:N",
        scale=alt.Scale(domain=names, range=[palette.score, palette.second]),
        legend=alt.Legend(title=None, orient="top", columns=1, labelLimit=0, symbolOpacity=1),
    )
    bar = (
        base.transform_calculate(series=f"'{names[0]}'")
        .mark_bar(height={"band": 0.6}, opacity=0.75)
        .encode(x=alt.X("value:Q", scale=scale, title=name, axis=alt.Axis(tickCount=10, format=".1f")), color=colour)
    )
    interval = base.mark_rule(color=palette.ink, strokeWidth=1.8).encode(x=alt.X("lower:Q", scale=scale), x2="upper:Q")
    prevalence = (
        base.transform_calculate(series=f"'{names[1]}'")
        .mark_tick(thickness=3, height={"band": 0.8}, opacity=1)
        .encode(x=alt.X("prevalence:Q", scale=scale), color=colour)
    )
    heading = titled(f"{run.title}: each label", [protocol_line(run), "layer chosen on development"], palette)
    return alt.layer(bar, interval, prevalence).properties(title=heading, width=width, height=26 * len(rows))


def _label_row(label: str, score: Score, support: int, clips: int) -> dict[str, Any]:
    return {
        "label": label,
        "value": score.estimate,
        "lower": score.lower,
        "upper": score.upper,
        "told": str(score),
        "support": support,
        "prevalence": support / clips,
    }


def confusion_counts(predictions: Predictions) -> IntArray:
    """(n_labels, n_labels) clips by truth (rows) and prediction; for one label a clip."""
    labels = len(predictions.task.labels)
    pairs = predictions.truth * labels + predictions.prediction
    return np.bincount(pairs, minlength=labels * labels).reshape(labels, labels).astype(np.int64)


MULTILABEL_CELLS = ("found", "missed", "false alarm", "rejected")  # two of clips with the label, two of clips without


def multilabel_counts(predictions: Predictions) -> IntArray:
    """(n_labels, 4) clips, in the order of MULTILABEL_CELLS: each label's own 2 x 2 table as a row."""
    truth, prediction = predictions.truth, predictions.prediction
    cells = (truth & prediction, truth & (1 - prediction), (1 - truth) & prediction, (1 - truth) & (1 - prediction))
    return np.stack([cell.sum(axis=0) for cell in cells], axis=1)


def confusion(run: Run, palette: Palette = LIGHT, width: Width = WIDTH) -> Any:
    """Counts, coloured by their share of the true label's clips."""
    task, predictions = run.task, run.predictions
    columns: tuple[str, ...]
    if task.multilabel:
        counts, columns, heading = multilabel_counts(predictions), MULTILABEL_CELLS, "hits and misses of each label"
        shares = np.concatenate([_shares(counts[:, :2]), _shares(counts[:, 2:])], axis=1)
    else:
        counts, columns, heading = confusion_counts(predictions), task.labels, "what is taken for what"
        shares = _shares(counts)
    rows = [
        {"truth": truth, "prediction": column, "clips": int(counts[i, j]), "share": float(shares[i, j])}
        for i, truth in enumerate(task.labels)
        for j, column in enumerate(columns)
    ]
    steep = len(columns) > 5 and not task.multilabel
    across = alt.Axis(orient="top", labelAngle=-40 if steep else 0, labelLimit=120, domain=False, ticks=False)
    x = alt.X("prediction:N", sort=None, title=None if task.multilabel else "Predicted", axis=across)
    y = alt.Y("truth:N", sort=None, title="Label" if task.multilabel else "True", axis=alt.Axis(labelLimit=150))
    tooltip = [
        alt.Tooltip("truth:N", title="label" if task.multilabel else "true"),
        alt.Tooltip("prediction:N", title="outcome" if task.multilabel else "predicted"),
        alt.Tooltip("clips:Q", format=","),
        alt.Tooltip("share:Q", title="share of the true ones", format=".3f"),
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y, tooltip=tooltip)
    colour = alt.Color(
        "share:Q",
        scale=alt.Scale(domain=[0, 1], range=[palette.low, palette.high]),
        legend=alt.Legend(title="share of the clips", orient="bottom", direction="horizontal", gradientLength=160),
    )
    square = base.mark_rect(stroke=palette.ground, strokeWidth=1).encode(color=colour)
    text = base.mark_text().encode(
        text=alt.Text("clips:Q", format=","),
        color=alt.condition("datum.share > 0.5", alt.value(palette.on_high), alt.value(palette.ink)),
    )
    if task.multilabel:
        subtitle = "found, missed: clips with the label; false alarm, rejected: clips without; colour: their share"
    else:
        subtitle = "numbers: clips; colour: their share of the true label's clips"
    title = titled(f"{run.title}: {heading}", [protocol_line(run), subtitle], palette)
    return alt.layer(square, text).properties(title=title, width=width, height=34 * len(task.labels))


def _shares(counts: IntArray) -> Any:
    """Each row over its sum; a row without clips is all 0."""
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def _domain(points: Sequence[Point], chance: float) -> list[float]:
    """To the next 0.05 outside everything drawn, with room for the chance line's name."""
    drawn = (value for p in points for value in (p.development, p.test.estimate, p.test.lower, p.test.upper))
    values = [chance, *(value for value in drawn if value is not None)]
    return [max(0.0, np.floor(min(values) * 20 - 0.5) / 20), min(1.0, np.ceil(max(values) * 20 + 0.5) / 20)]


def titled(text: str, subtitle: list[str], palette: Palette) -> alt.TitleParams:
    return alt.TitleParams(
        text=text, subtitle=subtitle, anchor="start", color=palette.ink, subtitleColor=palette.faint, offset=10
    )


def configured(chart: Any, palette: Palette) -> Spec:
    """The chart in the house's fonts and the palette's colours, as a Vega-Lite specification."""
    spec: Spec = (
        chart.configure(background=palette.ground, font="Liberation Sans, Arial, Helvetica, sans-serif")
        .configure_axis(
            labelColor=palette.ink,
            titleColor=palette.ink,
            gridColor=palette.faint,
            gridOpacity=0.25,
            domainColor=palette.faint,
            tickColor=palette.faint,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
        )
        .configure_legend(labelColor=palette.ink, titleColor=palette.ink, labelFontSize=12, titleFontSize=12)
        .configure_title(fontSize=15, subtitleFontSize=12, fontWeight="bold")
        .configure_text(fontSize=12)
        .configure_view(stroke=None)
        .to_dict()
    )
    return spec
