"""timeline.html and its figures: each label's probability over a recording's time, and the summary of every one."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt

from toolkit.result import figures
from toolkit.result.figures import Palette, Spec, Width
from toolkit.result.language import ENGLISH
from toolkit.result.page import Cell, Row, drawing, filled, table
from toolkit.result.timeline import Summary, Timeline

BINS = 400  # that a figure shows at most; more would be finer than its pixels
ROW_PIXELS, ROW_SHARE = 44, 0.86  # of a label, and the part of it that a probability of 1 fills
HELD = ("decided", "not decided")
CAPTION = (
    "Bars are as high as the probability and coloured where the label is decided; at an instant that several windows "
    "cover, it is their mean."
)
CLOCK = "floor(datum.value / 60) + ':' + format(datum.value % 60, '02.0f')"


def spec(timeline: Timeline, palette: Palette, width: Width) -> Spec:
    """A row a label: bars as high as the probability, coloured where the label is decided."""
    task = timeline.task
    labels = task.labels[1:] if task.kind == "binary" else task.labels
    rows = _rows(timeline, labels)
    names = json.dumps(list(labels[::-1]))  # from the bottom; JSON's strings are Vega's too
    axis = alt.Axis(
        values=[number + ROW_SHARE / 2 for number in range(len(labels))],
        labelExpr=f"{names}[floor(datum.value)]",
        labelLimit=150, ticks=False, domain=False, grid=False,
    )  # fmt: skip
    y = alt.Y("base:Q", scale=alt.Scale(domain=[0, len(labels)], nice=False), title=None, axis=axis)
    span = [float(timeline.start[0]), float(timeline.end[-1])]
    x = alt.X("start:Q", scale=alt.Scale(domain=span, nice=False), title="Time in the file (minutes:seconds)",
              axis=alt.Axis(labelExpr=CLOCK, grid=False))  # fmt: skip
    legend = alt.Legend(title=None, orient="top")
    colour = alt.Color("held:N", sort=None, legend=legend,
                       scale=alt.Scale(domain=list(HELD), range=[palette.score, palette.faint]))  # fmt: skip
    tooltip = [alt.Tooltip("label:N"), alt.Tooltip("span:N", title="time"), alt.Tooltip("held:N", title=" "),
               alt.Tooltip("probability:Q", format=".3f")]  # fmt: skip
    bars = (
        alt.Chart(alt.Data(values=rows))
        .mark_rect()
        .encode(
            x=x,
            x2="end:Q",
            y=y,
            y2="top:Q",
            color=colour,
            opacity=alt.condition(alt.datum.held == HELD[0], alt.value(1.0), alt.value(0.45)),
            tooltip=tooltip,
        )
    )
    floors = [{"base": level} for number in range(len(labels)) for level in (number, number + ROW_SHARE)]
    lines = alt.Chart(alt.Data(values=floors)).mark_rule(color=palette.faint, opacity=0.35).encode(y=y)
    heading = figures.titled(
        timeline.recording, ["bars: probability, the lines are 0 and 1; coloured where it is decided"], palette
    )
    chart = alt.layer(lines, bars).properties(title=heading, width=width, height=max(2, len(labels)) * ROW_PIXELS)
    return figures.configured(chart, palette)


def _rows(timeline: Timeline, labels: Sequence[str]) -> list[dict[str, Any]]:
    start, end, probability, decided = _thinned(timeline)
    rows = []
    for number, label in enumerate(labels):
        column, base = timeline.task.labels.index(label), len(labels) - 1 - number
        for piece, (first, last) in enumerate(zip(start.tolist(), end.tolist())):
            value = float(probability[piece, column])
            rows.append({"label": label, "start": first, "end": last, "base": base, "top": base + ROW_SHARE * value,
                         "probability": value, "held": HELD[0 if decided[piece, column] else 1],
                         "span": f"{clock(first)} to {clock(last)}"})  # fmt: skip
    return rows


Array = npt.NDArray[Any]


def _thinned(timeline: Timeline) -> tuple[Array, Array, Array, Array]:
    """start, end, probability and decided, of BINS equal parts of the time where there are more pieces than that.

    A part has the mean over its time, and is decided where at least half of it is; a part in a gap is left out.
    """
    if len(timeline.start) <= BINS:
        return timeline.start, timeline.end, timeline.probability, timeline.decided
    borders = np.linspace(timeline.start[0], timeline.end[-1], BINS + 1)
    overlap = np.minimum(timeline.end, borders[1:, None]) - np.maximum(timeline.start, borders[:-1, None])
    overlap = np.maximum(overlap, 0.0)  # (BINS, n) seconds
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
    drawn: Mapping[str, Timeline], found: Sequence[tuple[Timeline, Summary]], negative: Sequence[str],
    title: str, protocol: str, cautions: Sequence[str],
) -> str:  # fmt: skip
    """The page's HTML. drawn: what is shown as a figure, by the figure's file name; found: every recording."""
    themes = {
        theme: {f"recording-{number}": spec(one, palette, "container") for number, one in enumerate(drawn.values())}
        for theme, palette in (("light", figures.LIGHT), ("dark", figures.DARK))
    }
    shown = [
        {
            "heading": one.recording,
            "figure": drawing(
                f"recording-{number}",
                spec(one, figures.LIGHT, figures.WIDTH),
                f"Probability of each label over the time of {one.recording}; timeline.csv has the numbers.",
                CAPTION,
            ),
        }
        for number, one in enumerate(drawn.values())
    ]
    return filled(
        "timeline.html",
        themes,
        {"title": title, "answer": answer(found, negative), "protocol": protocol, "cautions": list(cautions),
         "figures": shown, "table": _table(found), "negative": ", ".join(negative)},
    )  # fmt: skip


def answer(found: Sequence[tuple[Timeline, Summary]], negative: Sequence[str]) -> str:
    """The finding in a sentence."""
    seconds = sum(own.seconds for _, own in found)
    changes = sum(own.changes * own.seconds for _, own in found) / seconds
    many = ENGLISH.counted(len(found), "recording") if len(found) != 1 else found[0][0].recording
    said = f"In {clock(seconds)} minutes of {many} the decision changes {changes:.1f} times a minute"
    if not negative:
        return f"{said}."
    bad = sum((own.negative or 0.0) * own.seconds for _, own in found) / seconds
    return f"{said}, and {100 * bad:.0f} % of the time is negative ({', '.join(negative)})."


def _table(found: Sequence[tuple[Timeline, Summary]]) -> Any:
    labels = found[0][0].task.labels
    columns = ["Recording", "Time", "Negative", "Changes a minute", *labels]
    rows = [
        Row([
            Cell(one.recording),
            Cell(clock(own.seconds), True, own.seconds),
            _percent(own.negative),
            Cell(f"{own.changes:.1f}", True, own.changes),
            *map(_percent, own.share.tolist()),
        ])
        for one, own in found
    ]  # fmt: skip
    return table(columns, rows)


def _percent(share: float | None) -> Cell:
    return Cell("" if share is None else f"{100 * share:.1f} %", True, -1.0 if share is None else share)
