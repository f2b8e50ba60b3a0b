"""How every chart looks, and what becomes of it: a page's specifications, SVG, PNG and PDF.

A chart is made once, in colours that are names; `themed` puts a palette in their place. The charts themselves are in
the *_charts modules.
"""

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ParamSpec

import altair as alt
import vl_convert
from altair.utils.schemapi import debug_mode

from toolkit.core.artifacts import commit_file
from toolkit.core.errors import InputError, one_of

WIDTH = 560  # pixels, of a figure in a file
PNG_SCALE = 2
MARKER = 10  # pixels, more than half of any marker
GRADIENT = re.compile(r'(<linearGradient id="|fill="url\(#)gradient_\d+')
CLIP = re.compile(r'(<clipPath id="|clip-path="url\(#)clip(\d+)')
FONTS = (
    "Liberation Sans, Arial, Helvetica, Noto Sans CJK SC, Noto Sans SC, Source Han Sans SC, PingFang SC, "
    "Microsoft YaHei, WenQuanYi Micro Hei, sans-serif"
)
# The wheel and the finger scroll the page; with Shift the wheel zooms and dragging moves.
ZOOM = "wheel![event.shiftKey]"
MOVE = "[pointerdown[event.shiftKey], window:pointerup] > window:pointermove!"
Spec = dict[str, Any]  # Vega-Lite
Arguments = ParamSpec("Arguments")
CHECKED = False  # whether Altair holds every part against Vega-Lite's schema: most of the time, so in tests alone


@dataclass(frozen=True)
class Palette:
    """The colours of a light or a dark ground; those of the runs are the same on both, see `colours`.

    turn: share of the way from low to high, from which on_high is easier to read there than ink.
    """

    ground: str
    ink: str
    faint: str
    low: str
    high: str
    on_high: str
    turn: str


LIGHT = Palette("#ffffff", "#1d2329", "#6a737d", "#f4f7fa", "#0a5c94", "#ffffff", "0.72")
DARK = Palette("#15191e", "#e8ebee", "#9aa4ae", "#1d242b", "#7cc4f0", "#0b0f13", "0.55")
MARK = "\ue000"  # of Unicode's private use, so that no label is taken for a colour
COLOUR = Palette(*(f"{MARK}{field.name}{MARK}" for field in fields(Palette)))
CONFIG: Spec = {
    "background": COLOUR.ground,
    "font": FONTS,
    "axis": {
        "labelColor": COLOUR.ink,
        "titleColor": COLOUR.ink,
        "gridColor": COLOUR.faint,
        "gridOpacity": 0.25,
        "domainColor": COLOUR.faint,
        "tickColor": COLOUR.faint,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "legend": {"labelColor": COLOUR.ink, "titleColor": COLOUR.ink, "labelFontSize": 12, "titleFontSize": 12},
    "title": {"fontSize": 15, "subtitleFontSize": 12, "fontWeight": "bold"},
    "text": {"fontSize": 12},
    "view": {"stroke": None},
}


def specifications(make: Callable[Arguments, Mapping[str, Any]]) -> Callable[Arguments, dict[str, Spec]]:
    """Decorates what gives Altair charts by the figures' file names: it gives their specifications, to be `themed`."""

    @functools.wraps(make)
    def made(*args: Arguments.args, **kwargs: Arguments.kwargs) -> dict[str, Spec]:
        with debug_mode(CHECKED):
            return {name: configured(chart, CHECKED) for name, chart in make(*args, **kwargs).items()}

    return made


def configured(chart: Any, checked: bool) -> Spec:
    """The chart with all data inside, in the house's fonts and in colours that are names."""
    return {**chart.to_dict(validate=checked), "config": CONFIG}


def themed(spec: Spec, palette: Palette = LIGHT, width: int | str = WIDTH) -> Spec:
    """The specification in a palette's colours. width: pixels, or "container" on a page."""
    text = json.dumps(spec, ensure_ascii=False)
    for name, value in asdict(palette).items():
        text = text.replace(getattr(COLOUR, name), value)
    return {**json.loads(text), "width": width}


def figure(specs: Mapping[str, Spec], name: str) -> Any:
    """One of a page's charts, for a notebook. Raises InputError for another name."""
    if name not in specs:
        raise InputError(one_of("figure", name, sorted(specs)))
    return alt.Chart.from_dict(themed(specs[name]))


def write_specs(folder: Path, drawn: Mapping[str, Spec]) -> None:
    """Commit themed specifications, by file name, as PDF, PNG and SVG."""
    for name, spec in drawn.items():
        picture = svg(spec)
        for suffix, data in (
            ("pdf", vl_convert.svg_to_pdf(picture)),
            ("png", vl_convert.svg_to_png(picture, scale=PNG_SCALE)),
            ("svg", picture.encode()),
        ):
            commit_file(folder / f"{name}.{suffix}", _writer(data))


def _writer(data: bytes) -> Callable[[Path], None]:
    def write_bytes(temporary: Path) -> None:
        temporary.write_bytes(data)

    return write_bytes


def svg(spec: Spec) -> str:
    """The figure as SVG text, drawn without fetching anything; the same figure gives the same text.

    Vega numbers gradients and clips through the life of the process. A figure here has one gradient at most; clips are
    renumbered, and called otherwise than a recording may be: a purge would find "clip15".
    """
    return _svg(json.dumps(spec))


@functools.lru_cache(maxsize=32)  # a page shows what was just written as a file
def _svg(spec: str) -> str:
    drawn = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    numbers: dict[str, int] = {}
    drawn = CLIP.sub(lambda match: f"{match[1]}c{numbers.setdefault(match[2], len(numbers))}", drawn)
    return GRADIENT.sub(r"\1gradient_0", drawn)


def chart_of(rows: Iterable[Mapping[str, Any]]) -> Any:
    """An unmarked chart of these rows; a tuple of them, since Altair copies lists and all they hold at every step."""
    return alt.Chart(alt.Data(values=tuple(rows)))


def layered(*layers: Any, zoom: str = "", **properties: Any) -> Any:
    """The charts one over the other, with properties. zoom: "x", "y" or "xy", the quantitative axes that a reader can
    zoom into. All of it goes in at once, since whatever is done to layers copies them several times over.
    """
    first, *rest = layers
    if zoom:
        first = first.add_params(
            alt.selection_interval(name="zoom", bind="scales", encodings=list(zoom), zoom=ZOOM, translate=MOVE)
        )
    return alt.layer(first, *rest, **properties)


def padded(values: Iterable[float | None]) -> alt.Scale:
    """A scale of all that is drawn, with room at its ends for a whole marker: what is zoomed is cut at the edge."""
    known = [value for value in values if value is not None] or [0.0, 1.0]
    margin = 0.05 if min(known) == max(known) else 0.0
    return alt.Scale(domain=[min(known) - margin, max(known) + margin], nice=False, zero=False, padding=MARKER)


def encodings(rows: Iterable[Mapping[str, Any]]) -> tuple[alt.Color, alt.Shape]:
    """Colour and shape of points by their "series" with a legend: each row's "colour", and a diamond where "tuned"."""
    found = {row["series"]: row for row in rows}
    colours = alt.Scale(domain=list(found), range=[row["colour"] for row in found.values()])
    shapes = alt.Scale(domain=list(found), range=["diamond" if row["tuned"] else "circle" for row in found.values()])
    legend = alt.Legend(title=None, orient="top", columns=1, labelLimit=0, symbolOpacity=1)
    return alt.Color("series:N", sort=None, scale=colours, legend=legend), alt.Shape("series:N", scale=shapes)


def titled(text: str, subtitle: Sequence[str]) -> alt.TitleParams:
    return alt.TitleParams(
        text=text, subtitle=list(subtitle), anchor="start", color=COLOUR.ink, subtitleColor=COLOUR.faint, offset=10
    )
