"""A self-contained page: scripts and pictures inside, nothing fetched, no label or file name ever markup."""

import base64
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from toolkit.core.artifacts import commit_hashed, commit_text, make_folder, read_hashed, signature
from toolkit.core.errors import ToolkitError
from toolkit.core.i18n import ENGLISH, Language
from toolkit.core.platform import cache_folder
from toolkit.result.jackknife import Score
from toolkit.result.report import charts
from toolkit.result.report.charts import DARK, LIGHT, Spec, themed
from toolkit.result.run import FIGURES, REPORT


@dataclass(frozen=True)
class Cell:
    """order: the number that sorts the cell, for numeric columns."""

    text: str
    number: bool = False
    order: float | None = None


@dataclass(frozen=True)
class Row:
    cells: Sequence[Cell]
    chosen: bool = False


@dataclass(frozen=True)
class Table:
    columns: Sequence[Cell]
    rows: Sequence[Row]


@dataclass(frozen=True)
class Page:
    """A page and its figures, in one language.

    html: all of the page. specs: each figure's specification by file name, to be `charts.themed`.
    """

    html: str
    specs: Mapping[str, Spec]
    say: Language

    def write(self, folder: Path, name: str = REPORT) -> Path:
        """Commit the figures (PDF, PNG, SVG) and the page to a folder; return the page's file. Raises DiskFullError."""
        stills = {figure: themed(spec) for figure, spec in self.specs.items()}
        charts.write_specs(make_folder(folder / self.say.file(FIGURES)), stills)
        file = folder / self.say.file(name)
        commit_text(file, self.html)
        return file


def filled(template: str, specs: Mapping[str, Spec], values: Mapping[str, Any], say: Language = ENGLISH) -> Page:
    """A template with its values, and with each figure's specification by name."""
    script = _script()
    on_page = {"title": None, "autosize": {"type": "fit-x", "contains": "padding"}}  # the page has headings
    fitted = {
        theme: {name: {**themed(spec, palette, "container"), **on_page} for name, spec in specs.items()}
        for theme, palette in (("light", LIGHT), ("dark", DARK))
    }
    menu = {"CLICK_TO_VIEW_ACTIONS": "figure_menu", "SVG_ACTION": "save_svg", "PNG_ACTION": "save_png"}
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    html = (
        _environment()
        .get_template(template)
        .render(
            specifications=_inert_json({**fitted, "menu": {name: say(f"page.{key}") for name, key in menu.items()}}),
            script=Markup(script),  # noqa: S704 - ours, see `_script`
            script_hash=Markup(f"'sha256-{digest}'"),  # noqa: S704 - base64
            say=say,
            zoom=say("page.zoom") if any("params" in spec for spec in specs.values()) else "",
            **values,
        )
    )
    return Page(html + "\n", specs, say)


def drawing(name: str, spec: Spec, spoken: str, caption: str) -> dict[str, str]:
    """A figure for the template, with a still picture for where no script runs. spoken: what is read aloud for it."""
    image = "data:image/svg+xml;base64," + base64.b64encode(charts.svg(themed(spec)).encode()).decode()
    return {"name": name, "alt": spoken, "caption": caption, "image": image}


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


@functools.cache
def _environment() -> jinja2.Environment:
    loader = jinja2.FunctionLoader(_resource)
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


@functools.cache
def _script() -> str:
    """Vega and our own script in one; the end tag cannot occur in it, and no line end that HTML would change.

    Joining them takes a second or two, so it is done once for each user and version, and kept outside the workspace.
    """
    own = _resource("report.js")
    kept = None
    with suppress(OSError, RuntimeError, ValueError, KeyError):  # not there, damaged, or a user without a home
        kept = (
            cache_folder() / f"page-{signature({'vl-convert': version('vl-convert-python'), 'script': own})[:12]}.json"
        )
        return str(read_hashed(kept)["script"])
    script = (
        str(vl_convert.javascript_bundle(own))
        .replace("\r\n", "\n")
        .replace("\r", "\n")
        .replace("</script", "<\\/script")
        .replace("<!--", "<\\!--")
    )
    if kept is not None:
        with suppress(OSError, ToolkitError):  # a home that is full, or may only be read
            make_folder(kept.parent)
            commit_hashed(kept, {"script": script})
    return script


def _inert_json(value: Any) -> Markup:
    """JSON that is safe inside a script element: no character there can end or open one."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704


def table(columns: Sequence[str], rows: Iterable[Row], texts: int = 1) -> Table:
    """The first `texts` columns are text, the rest numbers."""
    return Table([Cell(name, number >= texts) for number, name in enumerate(columns)], list(rows))


def score_cell(score: Score | None, say: Language = ENGLISH) -> Cell:
    if score is None:
        return Cell("", True, -2.0)
    return Cell(say.figure(score), True, -1.0 if score.estimate is None else score.estimate)


def number_cell(text: str, value: float | None) -> Cell:
    """A cell that sorts by its number, and before all others where it has none."""
    return Cell(text, True, -1.0 if value is None else value)


def count_cell(number: int) -> Cell:
    return Cell(f"{number:,}", True, number)
