"""The page of two groups of callers: every call as a point, every label's difference, predicted and true."""

from typing import Any

import altair as alt
import numpy as np

from toolkit.core.i18n import ENGLISH, Language
from toolkit.result.calls import Measure
from toolkit.result.contrast import Contrast
from toolkit.result.paired import p_text
from toolkit.result.report import contrast_words, narrative
from toolkit.result.report.charts import COLOUR, chart_of, layered, padded, specifications, titled
from toolkit.result.report.colours import OTHERS, PROBES
from toolkit.result.report.page import Cell, Page, Row, drawing, filled, number_cell, score_cell, table
from toolkit.result.run import Run

LABELS = "labels"
PREDICTED, TRUE = PROBES["linear"], OTHERS[0]
STRIP = 74  # pixels, of a group


@specifications
def specs(contrast: Contrast, run: Run, say: Language = ENGLISH) -> dict[str, Any]:
    """Charts by the figures' file names."""
    found = {f"calls-{measure.kind}": strip(contrast, measure, run, say) for measure in contrast_words.strips(contrast)}
    if any(row.measure.kind == "share" for row in contrast.rows):
        found[LABELS] = differences(contrast, run, say)
    return found


def strip(contrast: Contrast, measure: Measure, run: Run, say: Language) -> Any:
    """Every call that counts as a point, a row a group; over them the mean over callers with its interval."""
    calls, name = contrast.calls, contrast_words.measure(measure, contrast, say)
    values, many = calls.values["prediction", measure], say.many(contrast.predictions.group)
    rows = []
    for side, group in enumerate(contrast.groups):
        places = [place for place in np.flatnonzero(contrast.side == side) if not np.isnan(values[place])]
        # In the order of their values, dealt over the row's height by the golden ratio: no two neighbours touch.
        for rank, place in enumerate(sorted(places, key=lambda place: float(values[place]))):
            height = (rank * 0.6180339887) % 1 * 2 - 1
            rows.append({"group": contrast_words.value_of(group, say), "value": float(values[place]),
                         "height": height, "clips": int(calls.clips[place])})  # fmt: skip
    row = contrast.row(measure, "prediction")
    assert row is not None
    means = [{"group": contrast_words.value_of(group, say), "mean": mean.estimate, "lower": mean.lower,
              "upper": mean.upper, "text": say.figure(mean)}
             for group, mean in zip(contrast.groups, row.means)]  # fmt: skip
    bounds = [bound for mean in row.means for bound in (mean.lower, mean.upper)]
    scale = padded([*(float(value) for value in values[contrast.side >= 0] if not np.isnan(value)), *bounds])
    y = alt.Y("group:N", sort=None, title=contrast.column, axis=alt.Axis(labelLimit=180))
    offset = alt.YOffset("height:Q", scale=alt.Scale(domain=[-1.6, 1.6]))
    x = alt.X("value:Q", scale=scale, title=name, axis=alt.Axis(tickCount=6))
    tips = [alt.Tooltip("value:Q", title=name, format=".3f"), alt.Tooltip("clips:Q", title=say("figure.clips"))]
    points = (
        chart_of(rows)
        .mark_point(size=28, filled=True, opacity=0.45, color=PREDICTED)
        .encode(y=y, x=x, yOffset=offset, tooltip=tips)
    )
    tooltip = [alt.Tooltip("text:N", title=say("common.interval", name=say("contrast.mean", callers=many)))]
    middle = chart_of(means).encode(y=y, tooltip=tooltip)
    rule = middle.mark_rule(strokeWidth=2.5, color=COLOUR.ink).encode(
        x=alt.X("lower:Q", scale=scale), x2=alt.X2("upper:Q")
    )
    mark = middle.mark_point(size=110, filled=True, opacity=1, shape="diamond", color=COLOUR.ink).encode(
        x=alt.X("mean:Q", scale=scale)
    )
    title = say("contrast.strip_title", task=run.task.name, measure=name)
    heading = titled(title, [narrative.protocol_line(run, say), say("contrast.strip_subtitle", callers=many)])
    return layered(points, rule, mark, zoom="x", title=heading, height=2 * STRIP)


def differences(contrast: Contrast, run: Run, say: Language) -> Any:
    """Each label's difference in its share, predicted and true, with its interval."""
    rows = []
    for row in contrast.rows:
        if row.measure.kind == "share":
            bounds = {"value": row.difference.estimate, "lower": row.difference.lower, "upper": row.difference.upper}
            rows.append({"label": row.measure.label, "source": contrast_words.source(row.source, say), **bounds,
                         "text": say.figure(row.difference), "p": p_text(row.welch_p)})  # fmt: skip
    names = [contrast_words.source(source, say) for source in ("prediction", "truth")]
    drawn = [row[part] for row in rows for part in ("value", "lower", "upper")]
    scale = padded([*drawn, 0.0])  # type: ignore[list-item]
    colour = alt.Color("source:N", sort=None, scale=alt.Scale(domain=names, range=[PREDICTED, TRUE]),
                       legend=alt.Legend(title=None, orient="top"))  # fmt: skip
    shape = alt.Shape("source:N", scale=alt.Scale(domain=names, range=["circle", "diamond"]))
    name = say("contrast.difference_axis", first=contrast_words.value_of(contrast.groups[0], say),
               second=contrast_words.value_of(contrast.groups[1], say))  # fmt: skip
    tooltip = [alt.Tooltip("label:N", title=say("figure.label")), alt.Tooltip("source:N", title=" "),
               alt.Tooltip("text:N", title=say("common.interval", name=say("contrast.difference"))),
               alt.Tooltip("p:N", title=say("contrast.column_welch"))]  # fmt: skip
    base = chart_of(rows).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=180)), color=colour, tooltip=tooltip
    )
    layers = [chart_of([{"value": 0.0}]).mark_rule(color=COLOUR.faint).encode(x=alt.X("value:Q", scale=scale))]
    for offset, source in zip((-6, 6), names):
        one = base.transform_filter({"field": "source", "equal": source})
        layers.append(
            one.mark_rule(strokeWidth=1.8, yOffset=offset).encode(
                x=alt.X("lower:Q", scale=scale, title=name), x2=alt.X2("upper:Q")
            )
        )
        layers.append(
            one.mark_point(size=80, filled=True, opacity=1, yOffset=offset).encode(
                x=alt.X("value:Q", scale=scale, title=name, axis=alt.Axis(tickCount=6)), shape=shape
            )
        )
    title = say("contrast.labels_title", task=run.task.name, column=contrast.column)
    heading = titled(
        title,
        [
            narrative.protocol_line(run, say),
            say("contrast.labels_subtitle", callers=say.many(contrast.predictions.group)),
        ],
    )
    height = 34 * max(2, len({row["label"] for row in rows}))
    return layered(*layers, zoom="x", title=heading, height=height)


def page(contrast: Contrast, run: Run, folder: str, say: Language = ENGLISH) -> Page:
    """The page. folder: of the run, by its name."""
    figures, noun = specs(contrast, run, say), contrast.predictions.group
    pairs = zip(contrast.groups, contrast.callers)
    fields = {"column": contrast.column, "callers": say.many(noun)}
    counted = [say("contrast.group", callers=say.counted(callers, noun), column=contrast.column,
                   value=contrast_words.value_of(group, say)) for group, callers in pairs]  # fmt: skip
    calls = int((contrast.side >= 0).sum())
    facts = {"run": folder, "first": counted[0], "second": counted[1], "calls": say("contrast.calls", number=calls),
             "clips": say.counted(int(contrast.calls.clips[contrast.side >= 0].sum()), "clip")}  # fmt: skip
    strips = {
        f"calls-{one.kind}": contrast_words.measure(one, contrast, say) for one in contrast_words.strips(contrast)
    }
    shown = {
        name: drawing(name, spec, say("contrast.labels_spoken", **fields), say("contrast.labels_caption", **fields))
        if name == LABELS
        else drawing(name, spec, say("contrast.strip_spoken", measure=strips[name], **fields),
                     say("contrast.strip_caption", measure=strips[name], **fields))
        for name, spec in figures.items()
    }  # fmt: skip
    protocol = [say("contrast.protocol", **facts), contrast_words.truth(contrast, say)]
    return filled(
        "contrast.html",
        figures,
        {
            "title": say("contrast.title", task=run.task.name, column=contrast.column),
            "answer": contrast_words.answer(contrast, say),
            "protocol": say("common.sentences").join(filter(None, protocol)),
            "cautions": [*contrast_words.cautions(contrast, say), *map(say, run.notes)],
            "negative": say("common.list").join(contrast.negative),
            "timed": contrast.calls.timed,
            "strips": {name: shown[name] for name in strips},
            "labels": shown.get(LABELS),
            "table": _table(contrast, say),
            **fields,
        },
        say,
    )


def _table(contrast: Contrast, say: Language) -> Any:
    named = ("measure", "of")
    columns = [say(f"contrast.column_{name}") for name in named]
    columns += [contrast_words.value_of(group, say) for group in contrast.groups]
    columns += [say("common.interval", name=say("contrast.difference"))]
    columns += [say(f"contrast.column_{name}") for name in ("effect", "welch", "permutation", "kept")]
    rows = []
    for row in contrast.rows:
        kept = contrast.attenuation(row.measure) if row.source == "prediction" else None
        rows.append(
            Row([
                Cell(contrast_words.measure(row.measure, contrast, say)),
                Cell(contrast_words.source(row.source, say)),
                *(score_cell(mean, say) for mean in row.means),
                score_cell(row.difference, say),
                number_cell("" if row.effect is None else f"{row.effect:.2f}", row.effect),
                number_cell(p_text(row.welch_p), row.welch_p),
                number_cell(p_text(row.permutation_p), row.permutation_p),
                number_cell("" if kept is None else f"{kept:.2f}", kept),
            ])
        )  # fmt: skip
    return table(columns, rows, texts=2)
