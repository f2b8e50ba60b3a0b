"""The pages in a real browser: nothing fetched, every figure drawn, tables that sort, names that stay text."""

import shutil
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import CONFIGURED, SCRIPT
from tests.result.conftest import make_predictions, make_run
from toolkit.core.i18n import of
from toolkit.corpus.labels import Task
from toolkit.predict import inference, timeline, timeline_page
from toolkit.result import compare, stats
from toolkit.result.report import charts, compare_page, page, run_page
from toolkit.result.run import Run, curve
from toolkit.result.thresholds import log_odds

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on PATH")

LABELS = ("<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "=cmd()", "愤怒", "{{ 7*7 }}")
MARKS = ".mark-symbol path, .mark-rect path, .mark-rule line, .mark-line path, .mark-area path, .mark-text text"
PAGES = ("report", "frozen", "compare", "compare.zh", "timeline", "timeline.zh")
FIGURES = {"report": 3, "frozen": 7, "timeline": 2, "timeline.zh": 2}  # compare has 9
CALLS = ("<b>call</b>.wav", "\"]+alert(5)+['.wav")


def hostile_runs() -> dict[str, Run]:
    task = Task("<b>task</b>", "multiclass", LABELS, ("x",))
    frozen = make_run(task=task, layers=3, clips=120, backbone="</script>\"'><b>model</b>")
    frozen = replace(frozen, provenance={**frozen.provenance, "seconds": 3.0, "extraction_seconds": 9.0})
    better = make_predictions(task, clips=120, strength=5.0, seed=9)
    choices = tuple(replace(one, setting={"layer": "encoder.2"}, layer="encoder.2") for one in frozen.choices)
    tuned = replace(
        frozen,
        probe="finetune-lora",
        predictions=better,
        layers={"encoder.2": better},
        development={"encoder.2": (0.7,) * 5},
        choices=choices,
        provenance={"command": "<img src=x onerror=alert(3)>", "seconds": 480.0},
    )
    weak = replace(frozen, probe="mlp", choices=tuple(replace(one, development=0.1) for one in frozen.choices))
    return {"=run-1": frozen, "<i>run-2": tuned, "run-3": weak}


def hostile_timelines() -> list[timeline.Timeline]:
    """Two recordings in windows that overlap, with a gap in the first one."""
    task = Task("<b>task</b>", "multiclass", LABELS, ("x",))
    probability = np.random.default_rng(0).dirichlet(np.ones(len(LABELS)), 14)
    bars = np.full((14, len(LABELS)), 1 / len(LABELS))
    said = inference.Applied(task, ("mean",) * 14, probability, bars, probability.argmax(axis=1), log_odds(probability))
    windows = [
        timeline.Window(CALLS[row % 2], 5.0 * (row // 2), 5.0 * (row // 2) + 10, row) for row in range(14) if row != 4
    ]
    return timeline.timelines(said, windows, [CALLS[0]])


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where each page is, in a folder with a hostile name. Still pictures are dots: the browser draws the rest."""
    folder = tmp_path_factory.mktemp("pages") / "<img src=x onerror=alert(4)>"
    folder.mkdir()
    runs = hostile_runs()
    (frozen, *_) = runs.values()
    cells = {clip: ("<u>f</u>", "m")[int(np.int64(len(clip) + ord(clip[8])) % 2)] for clip in frozen.predictions.ids}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "_script", SCRIPT)
        patch.setattr(charts, "configured", CONFIGURED)
        compared = compare.compare(runs, {"<u>sex</u>": cells})
        frozen_alone = compare.compare({name: run for name, run in runs.items() if not run.tuned})
        drawn = dict(zip("ab", hostile_timelines()))
        summed = [(one, timeline.summary(one, LABELS[:1])) for one in drawn.values()]
        html = {
            "report": run_page.page(frozen, curve(frozen), stats.evaluate(frozen.predictions)),
            "frozen": compare_page.page(frozen_alone),
            "compare": compare_page.page(compared),
            "compare.zh": compare_page.page(compared, of("zh")),
            "timeline": timeline_page.page(drawn, summed, LABELS[:1], "=run-1", 1),
            "timeline.zh": timeline_page.page(drawn, summed, LABELS[:1], "=run-1", 1, of("zh")),
        }
    found = {}
    for name, made in html.items():
        (folder / f"{name}.html").write_text(made.html, encoding="utf-8")
        found[name] = (folder / f"{name}.html").as_uri()
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    with sync_api.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


class Opened:
    """A page with all that it asked for and complained of, once its figures are drawn."""

    def __init__(self, browser: "sync_api.Browser", address: str, **context: object) -> None:
        self.page = browser.new_context(**context).new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.page.goto(address)
        self.page.wait_for_selector("html[data-drawn]", timeout=60_000)


@pytest.fixture(scope="module")
def opened(browser: "sync_api.Browser", pages: dict[str, str]) -> dict[str, Opened]:
    return {name: Opened(browser, address) for name, address in pages.items()}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_without_a_request_or_a_complaint_and_draws_every_figure(
    opened: dict[str, Opened], pages: dict[str, str], name: str
) -> None:
    one = opened[name]
    assert one.complaints == []
    assert [url for url in one.requests if not url.startswith("data:")] == [pages[name]]
    script = f"boxes => boxes.map(box => box.querySelectorAll('{MARKS}').length)"
    marks = one.page.eval_on_selector_all(".chart", script)
    assert len(marks) == FIGURES.get(name, 9) and min(marks) > 2
    spoken = "boxes => boxes.map(box => box.querySelector('svg.marks[role=img]').getAttribute('aria-label').length)"
    assert min(one.page.eval_on_selector_all(".chart", spoken)) > 8
    assert one.page.get_attribute("html", "lang") == ("zh" if name.endswith("zh") else "en")


@pytest.mark.parametrize("name", PAGES)
def test_hostile_names_stay_text_and_are_whole(opened: dict[str, Opened], name: str) -> None:
    page = opened[name].page
    assert page.locator("[onerror], b, i, u").count() == 0 and page.locator("script").count() == 2
    shown = page.inner_text("body") + page.evaluate(
        "[...document.querySelectorAll('svg')].map(s => s.textContent).join()"
    )
    named = {"timeline": (*LABELS, *CALLS), "timeline.zh": (*LABELS, *CALLS)}
    for text in named.get(name, LABELS):
        assert text in shown
    assert opened[name].complaints == []


def test_a_tooltip_shows_a_hostile_name_as_text(opened: dict[str, Opened]) -> None:
    page = opened["report"].page
    page.locator("#chart-labels .mark-rect path[aria-label]").first.hover(force=True)
    tip = page.locator("#vg-tooltip-element.visible")
    tip.wait_for(timeout=10_000)
    assert LABELS[0] in tip.inner_text() and tip.locator("img").count() == 0


@pytest.mark.parametrize("name", ["timeline", "timeline.zh"])
def test_a_timelines_bars_tell_what_was_said_when(opened: dict[str, Opened], name: str) -> None:
    page = opened[name].page
    page.locator("#chart-a .mark-rect path").first.hover(force=True)
    tip = page.locator("#vg-tooltip-element.visible")
    tip.wait_for(timeout=10_000)
    text = tip.inner_text()
    assert LABELS[0] in text and ("0:00 至 0:05" if name.endswith("zh") else "0:00 to 0:05") in text
    assert tip.locator("img").count() == 0 and opened[name].complaints == []
    page.mouse.move(0, 0)


@pytest.mark.parametrize("name", PAGES)
def test_tables_sort_by_click_and_by_keyboard(opened: dict[str, Opened], name: str) -> None:
    page = opened[name].page
    table = page.locator("table.sortable").first
    head = table.locator("th.number").last
    values = (
        "rows => rows.map(row => Number(row.cells[row.cells.length - 1].dataset.order ?? row.cells[0].dataset.order))"
    )
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    falling = table.locator("tbody tr").evaluate_all(values)
    assert falling == sorted(falling, reverse=True) and len(falling) > 1
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert table.locator("tbody tr").evaluate_all(values) == sorted(falling)


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_in_the_dark_shows_all_without_scrolling_sideways(
    browser: "sync_api.Browser", pages: dict[str, str], name: str
) -> None:
    one = Opened(browser, pages[name], viewport={"width": 390, "height": 844}, color_scheme="dark")
    assert one.page.get_attribute("html", "data-drawn") == "dark"
    assert one.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 25, 30)"
    assert one.page.evaluate("document.documentElement.scrollWidth") <= 390
    widths = "boxes => boxes.map(box => box.querySelector('svg.marks').getBoundingClientRect().right)"
    assert max(one.page.eval_on_selector_all(".chart", widths)) <= 390
    assert one.complaints == []
    one.page.context.close()


def test_print_and_a_browser_without_scripts_show_the_still_pictures(
    browser: "sync_api.Browser", opened: dict[str, Opened], pages: dict[str, str]
) -> None:
    page = opened["compare"].page
    page.emulate_media(media="print")
    assert not page.locator("#chart-dumbbell").is_visible() and page.locator("img.still").first.is_visible()
    page.emulate_media(media="screen")
    plain = browser.new_context(java_script_enabled=False).new_page()
    plain.goto(pages["compare"])
    assert plain.locator("img.still").first.is_visible() and not plain.locator(".chart").first.is_visible()
    plain.context.close()
