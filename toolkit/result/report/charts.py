"""How every chart looks, is named, and becomes PDF, PNG and SVG; the charts themselves are in the *_figures modules."""

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from toolkit.core.artifacts import commit_file
from toolkit.core.i18n import ENGLISH, Language

WIDTH = 560  # pixels, of a figure in a file
PNG_SCALE = 2
GRADIENT = re.compile(r'(<linearGradient id="|fill="url\(#)gradient_\d+')
CLIP = re.compile(r'(<clipPath id="|clip-path="url\(#)clip(\d+)')
FONTS = (
    "Liberation Sans, Arial, Helvetica, Noto Sans CJK SC, Noto Sans SC, Source Han Sans SC, PingFang SC, "
    "Microsoft YaHei, WenQuanYi Micro Hei, sans-serif"
)
# The wheel and the finger scroll the page; with Shift the wheel zooms and dragging moves.
ZOOM = "wheel![event.shiftKey]"
MOVE = "[pointerdown[event.shiftKey], window:pointerup] > window:pointermove!"
Width = int | str  # pixels, or "container" on a page
Spec = dict[str, Any]


@dataclass(frozen=True)
class Palette:
    """Colours that the colour-blind tell apart (Okabe and Ito, 2008), on a light or a dark ground.

    turn: share of the way from low to high, from which on_high is easier to read there than ink.
    """

    ground: str
    ink: str
    faint: str
    score: str
    second: str
    low: str
    high: str
    on_high: str
    turn: float


LIGHT = Palette("#ffffff", "#1d2329", "#6a737d", "#0072b2", "#c25100", "#f4f7fa", "#0a5c94", "#ffffff", 0.72)
DARK = Palette("#15191e", "#e8ebee", "#9aa4ae", "#56b4e9", "#e69f00", "#1d242b", "#7cc4f0", "#0b0f13", 0.55)


@dataclass(frozen=True)
class Style:
    """What one drawing of a chart has and another of the same chart has not."""

    palette: Palette = LIGHT
    width: Width = WIDTH
    say: Language = ENGLISH

    def heading(self, text: str, subtitle: Sequence[str]) -> alt.TitleParams:
        return titled(text, list(subtitle), self.palette)


PLAIN = Style()  # as in a file of its own


def drawn(make: Callable[[Style], Mapping[str, Spec]], say: Language) -> tuple[dict[str, Mapping[str, Spec]], Any]:
    """A page's figures: the specifications of each theme for its scripts, and those of the still pictures.

    make: gives the specifications by name for one style.
    """
    themes = {name: make(Style(palette, "container", say)) for name, palette in (("light", LIGHT), ("dark", DARK))}
    return themes, make(Style(say=say))


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

    Vega numbers gradients and clips through the life of the process. A figure here has one gradient at most; clips are
    numbered anew, and called otherwise than a recording may be: a purge would find "clip15".
    """
    return _svg(json.dumps(spec))


@functools.lru_cache(maxsize=32)  # a page shows what was just written as a file
def _svg(spec: str) -> str:
    drawn = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    numbers: dict[str, int] = {}
    drawn = CLIP.sub(lambda match: f"{match[1]}c{numbers.setdefault(match[2], len(numbers))}", drawn)
    return GRADIENT.sub(r"\1gradient_0", drawn)


def zoomable(chart: Any, *channels: str) -> Any:
    """The chart with quantitative axes ("x", "y") that a reader can zoom into."""
    return chart.add_params(
        alt.selection_interval(name="zoom", bind="scales", encodings=list(channels), zoom=ZOOM, translate=MOVE)
    )


def padded(values: Sequence[float | None], lowest: float | None = None, highest: float | None = None) -> alt.Scale:
    """A scale a little wider than all that is drawn, within `lowest` and `highest`."""
    known = [value for value in values if value is not None] or [0.0, 1.0]
    margin = 0.06 * (max(known) - min(known) or 1.0)
    low, high = min(known) - margin, max(known) + margin
    low = low if lowest is None else max(lowest, low)
    high = high if highest is None else min(highest, high)
    return alt.Scale(domain=[low, high], nice=False)


def titled(text: str, subtitle: list[str], palette: Palette) -> alt.TitleParams:
    return alt.TitleParams(
        text=text, subtitle=subtitle, anchor="start", color=palette.ink, subtitleColor=palette.faint, offset=10
    )


def configured(chart: Any, palette: Palette) -> Spec:
    """The chart in the house's fonts and the palette's colours, as a Vega-Lite specification."""
    spec: Spec = (
        chart.configure(background=palette.ground, font=FONTS)
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
