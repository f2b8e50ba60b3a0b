"""timeline.html and its figures: each label's probability over a recording's time, and the each of every one."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt

from toolkit.core.i18n import ENGLISH, Language, Note
from toolkit.predict.timeline import BELOW_DECIBELS, FLOOR_DECIBELS, Summary, Timeline, stretches
from toolkit.result.report.charts import COLOUR, chart_of, layered, specifications, titled
from toolkit.result.report.page import Cell, Page, Row, drawing, filled, table

BINS = 400  # that a figure shows at most; more would be finer than its pixels
ROW_PIXELS, ROW_SHARE = 56, 0.7  # of a label, and the part of it that a probability of 1 fills
CLOCK = "floor(datum.value / 60) + ':' + format(datum.value % 60, '02.0f')"


@specifications
def specs(drawn: Mapping[str, Timeline], say: Language = ENGLISH) -> dict[str, Any]:
    """A chart a recording, by the figure's file name."""
    return {name: chart(one, say) for name, one in drawn.items()}


def chart(timeline: Timeline, say: Language) -> Any:
    """A row a label: bars as high as the probability, coloured where the label is decided."""
    task = timeline.task
    labels = task.labels[1:] if task.kind == "binary" else task.labels
    held = say("timeline.decided"), say("timeline.not_decided")
    rows, silent = _rows(timeline, labels, say), _silent(timeline, say)
    names = json.dumps(list(labels[::-1]))  # from the bottom; JSON's strings are Vega's too
    axis = alt.Axis(
        values=[number + ROW_SHARE / 2 for number in range(len(labels))],
        labelExpr=f"{names}[floor(datum.value)]",
        labelLimit=150, ticks=False, domain=False, grid=False,
    )  # fmt: skip
    rows_scale = alt.Scale(domain=[0, len(labels)], nice=False)
    y = alt.Y("base:Q", scale=rows_scale, title=None, axis=axis)
    span = [float(timeline.start[0]), float(timeline.end[-1])]
    times = alt.Axis(labelExpr=CLOCK, grid=False, labelFlush=False, labelOverlap=True, labelSeparation=6)
    x = alt.X("start:Q", scale=alt.Scale(domain=span, nice=False), title=say("timeline.axis"), axis=times)
    legend = alt.Legend(title=None, orient="top")
    colour = alt.Color("held:N", sort=None, legend=legend,
                       scale=alt.Scale(domain=list(held), range=[COLOUR.high, COLOUR.faint]))  # fmt: skip
    tooltip = [alt.Tooltip("label:N", title=say("figure.label")), alt.Tooltip("span:N", title=say("timeline.time")),
               alt.Tooltip("held:N", title=" "),
               alt.Tooltip("probability:Q", format=".3f", title=say("timeline.probability"))]  # fmt: skip
    bars = (
        chart_of(rows)
        .mark_rect()
        .encode(
            x=x,
            x2=alt.X2("end:Q"),
            y=y,
            y2=alt.Y2("top:Q"),
            color=colour,
            opacity=alt.condition(alt.datum.held == held[0], alt.value(1.0), alt.value(0.45)),
            tooltip=tooltip,
        )
    )
    quiet = (
        chart_of(silent)
        .mark_rect(color=COLOUR.ink, opacity=0.12)
        .encode(x=x, x2=alt.X2("end:Q"), tooltip=[alt.Tooltip("held:N", title=" "), tooltip[1]])
    )
    levels = [number + ROW_SHARE * share for number in range(len(labels)) for share in (0, 0.5, 1)]
    right = alt.Axis(
        orient="right", values=levels, labelExpr=f"format((datum.value % 1) / {ROW_SHARE}, '.1f')", labelFontSize=9,
        title=say("timeline.probability_axis"), ticks=False, domain=False, grid=False,
    )  # fmt: skip
    lines = (
        chart_of({"base": level} for level in levels)
        .mark_rule(color=COLOUR.faint, opacity=0.35)
        .encode(y=alt.Y("base:Q", scale=rows_scale, axis=right))
    )
    subtitle = [say("timeline.subtitle"), *([say("timeline.subtitle_silent")] if silent else [])]
    heading = titled(timeline.recording, subtitle)
    height = max(2, len(labels)) * ROW_PIXELS
    layers = layered(*([quiet] if silent else []), lines, bars, title=heading, height=height)
    return layers.resolve_axis(y="independent")


def _silent(timeline: Timeline, say: Language) -> list[dict[str, Any]]:
    """Stretches without speech."""
    return [
        {"start": start, "end": end, "held": say("timeline.no_speech"),
         "span": say("common.bounds", lower=clock(start), upper=clock(end))}
        for start, end, label in stretches(timeline, labels=())
    ]  # fmt: skip


def _rows(timeline: Timeline, labels: Sequence[str], say: Language) -> list[dict[str, Any]]:
    """Of the pieces with speech."""
    start, end, probability, decided = _thinned(timeline)
    held = say("timeline.decided"), say("timeline.not_decided")
    rows = []
    for number, label in enumerate(labels):
        column, base = timeline.task.labels.index(label), len(labels) - 1 - number
        for piece, (first, last) in enumerate(zip(start.tolist(), end.tolist())):
            value = float(probability[piece, column])
            rows.append({"label": label, "start": first, "end": last, "base": base, "top": base + ROW_SHARE * value,
                         "probability": value, "held": held[0 if decided[piece, column] else 1],
                         "span": say("common.bounds", lower=clock(first), upper=clock(last))})  # fmt: skip
    return rows


Array = npt.NDArray[Any]


def _thinned(timeline: Timeline) -> tuple[Array, Array, Array, Array]:
    """start, end, probability and decided of the pieces with speech; where there are more than BINS pieces, of BINS
    equal parts of the time.

    A part has the mean over its speech, and is decided where at least half of that is; one without speech is left out.
    """
    if len(timeline.start) <= BINS:
        every = timeline.start, timeline.end, timeline.probability, timeline.decided
        return tuple(values[timeline.speech] for values in every)  # type: ignore[return-value]
    borders = np.linspace(timeline.start[0], timeline.end[-1], BINS + 1)
    overlap = np.minimum(timeline.end, borders[1:, None]) - np.maximum(timeline.start, borders[:-1, None])
    overlap = np.maximum(overlap, 0.0) * timeline.speech  # (BINS, n) seconds
    whole = overlap.sum(axis=1)
    kept = whole > 0
    shares = overlap[kept] / whole[kept, None]
    decided = shares @ timeline.decided >= 0.5
    return borders[:-1][kept], borders[1:][kept], shares @ timeline.probability, decided


def clock(seconds: float) -> str:
    """Minutes and seconds.

    >>> clock(75.25), clock(3)
    ('1:15.2', '0:03')
    """
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{minutes:.0f}:{rest:04.1f}".removesuffix(".0")


def page(
    drawn: Mapping[str, Timeline],
    found: Sequence[tuple[Timeline, Summary]],
    negative: Sequence[str],
    run: str,
    lost: int = 0,
    say: Language = ENGLISH,
    notes: Sequence[Note] = (),
) -> Page:
    """The page.

    drawn: what is shown as a figure, by the figure's file name; found: every recording. run: its folder's name.
    lost: windows and recordings that gave nothing. notes: what else the reader must see.
    """
    figures = specs(drawn, say)
    shown = [
        {
            "heading": one.recording,
            "figure": drawing(name, still, say("timeline.spoken", recording=one.recording), say("timeline.caption")),
        }
        for (name, still), one in zip(figures.items(), drawn.values())
    ]
    windows = sum(one.windows for one, _ in found)
    counted = {"windows": say.counted(windows, "window"), "recordings": say.counted(len(found), "recording")}
    cautions = [*map(say, notes)]
    if len(drawn) < len(found):
        cautions.append(say("timeline.drawn_some", drawn=len(drawn), recordings=counted["recordings"]))
    if lost:
        cautions.append(say("timeline.lost", number=lost))
    return filled(
        "timeline.html",
        figures,
        {"title": say("timeline.title", task=found[0][0].task.name), "answer": answer(found, negative, say),
         "protocol": say("timeline.protocol", run=run, **counted), "cautions": cautions,
         "figures": shown, "table": _table(found, say), "negative": say("common.list").join(negative),
         "silence": say("timeline.silence", floor=f"{-FLOOR_DECIBELS:g}", below=f"{BELOW_DECIBELS:g}")},
        say,
    )  # fmt: skip


def answer(found: Sequence[tuple[Timeline, Summary]], negative: Sequence[str], say: Language = ENGLISH) -> str:
    """The finding in a sentence; of the time with speech."""
    seconds, speech = sum(each.seconds for _, each in found), sum(each.speech for _, each in found)
    many = say.counted(len(found), "recording") if len(found) != 1 else found[0][0].recording
    fields = {"time": clock(seconds), "speech": clock(speech), "recordings": many}
    if not speech:
        return say("timeline.answer_silent", **fields)
    spoken = [each for _, each in found if each.speech]
    fields["changes"] = f"{sum(each.changes * each.speech for each in spoken) / speech:.1f}"
    if not negative:
        return say("timeline.answer", **fields)
    bad = sum((each.negative or 0.0) * each.speech for each in spoken) / speech
    labels = say("common.list").join(negative)
    return say("timeline.answer_negative", **fields, share=f"{100 * bad:.0f}", labels=labels)


def _table(found: Sequence[tuple[Timeline, Summary]], say: Language) -> Any:
    labels = found[0][0].task.labels
    named = ("recording", "time", "speech", "no_speech", "negative", "changes")
    columns = [*(say(f"timeline.column_{name}") for name in named), *labels]
    rows = [
        Row([
            Cell(one.recording),
            *(Cell(clock(value), True, value) for value in (each.seconds, each.speech, each.seconds - each.speech)),
            _percent(each.negative),
            Cell("" if np.isnan(each.changes) else f"{each.changes:.1f}", True, each.changes if each.speech else -1.0),
            *map(_percent, each.share.tolist()),
        ])
        for one, each in found
    ]  # fmt: skip
    return table(columns, rows)


def _percent(share: float | None) -> Cell:
    known = share is not None and not np.isnan(share)
    return Cell(f"{100 * (share or 0.0):.1f} %" if known else "", True, share if known else -1.0)
