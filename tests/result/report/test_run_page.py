import base64
import hashlib
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import SCRIPT
from toolkit.core.i18n import user_notes
from toolkit.corpus.labels import Task
from toolkit.result import stats
from toolkit.result.report import narrative, page, run_page
from toolkit.result.run import curve

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    '"><b onclick=alert(2)>',
    "' onmouseover='alert(3)",
    "=HYPERLINK(1)",
    "{{ 7*7 }}{% raw %}",
    "<!--",
    "]]>&lt;i&gt;",
)


class Page(HTMLParser):
    """Elements, attributes, and text by element."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self.comments: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        self.text.setdefault(tag, "")

    def handle_data(self, data: str) -> None:
        if self.elements:
            self.text[self.elements[-1][0]] += data + "\n"

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    @property
    def shown(self) -> str:
        return " ".join(text for tag, text in self.text.items() if tag not in ("script", "style"))


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundling the script takes seconds; one test does it."""
    if "bundle" not in request.node.name:
        monkeypatch.setattr(page, "_script", lambda: "console.log('</'+'b>')")


def page_of(run) -> str:
    return run_page.page(run, curve(run), stats.evaluate(run.predictions)).html


def test_the_answer_comes_first_with_its_interval(run):
    page = Page(page_of(run))
    score = stats.headline_scores([run.predictions])[0]
    first = page.shown.index(str(score))
    assert f"{score} on speakers unseen in training, where chance is 0." in page.shown
    assert first < page.shown.index("400 clips of 10 speakers were tested.")
    assert "The corpus is made up." in page.shown


def test_everything_a_reader_needs_is_on_the_page(run):
    shown = Page(page_of(run)).shown
    for label in run.task.labels:
        assert label in shown
    for text in ("ends early: 3 of 16000", "speaker03/broken", "torch 2.13.0", "ab" * 32, run.folds.sha256):
        assert text in shown
    for text in (
        "toolkit probe --model whisper-tiny.en",
        "encoder.2 in all 5 rounds",
        "from leaving out each speaker in turn",
    ):
        assert text in shown
    assert "All clips of one speaker (10 of them) stay on one side." in shown


def hostile_run(run_of):
    task = Task(HOSTILE[0], "multiclass", HOSTILE, ("x",))
    run = run_of(task=task, title=HOSTILE[1], backbone=HOSTILE[2], probe=HOSTILE[0], notes=user_notes(HOSTILE))
    return replace(
        run,
        left_out={clip: clip for clip in HOSTILE},
        provenance={name: {name: name} for name in HOSTILE},
        choices=tuple(replace(choice, setting=dict.fromkeys(HOSTILE, HOSTILE[0])) for choice in run.choices),
    )


def test_hostile_names_stay_text(run_of):
    plain, hostile = Page(page_of(run_of())), Page(page_of(hostile_run(run_of)))
    allowed = {tag for tag, _ in plain.elements}
    assert {tag for tag, _ in hostile.elements} <= allowed
    known = {name for _, attributes in plain.elements for name in attributes}
    assert {name for _, attributes in hostile.elements for name in attributes} <= known
    assert not any(name.startswith("on") for name in known)
    assert hostile.comments == []
    assert [tag for tag, _ in hostile.elements].count("script") == 2
    assert [tag for tag, _ in hostile.elements].count("img") == 3
    for text in HOSTILE:
        assert text in hostile.shown


@pytest.mark.usefixtures("specified")
def test_hostile_names_reach_the_charts_unchanged(run_of):
    html = page_of(hostile_run(run_of))
    start = html.index('id="specifications">') + len('id="specifications">')
    text = html[start : html.index("</script>", start)]
    assert "<" not in text
    assert json.loads(text).keys() == {"light", "dark", "menu"}
    for name in HOSTILE:
        assert json.dumps(name).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026") in text


def test_nothing_is_fetched_and_only_our_script_may_run(run_of):
    html = page_of(run_of())
    page = Page(html)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "base", "form")
        for name in ("src", "href", "srcset", "action"):
            assert (attributes.get(name) or "data:").startswith("data:")
    (policy,) = (a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none'; ") and "http" not in policy
    assert "connect-src" not in policy and "'unsafe-inline'" not in policy.split("style-src")[0]
    script = html.rsplit("<script>", 1)[1].split("</script>")[0]
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy


@pytest.mark.usefixtures("drawn")
def test_the_script_bundle_can_stand_inside_a_script_element():
    script = page._script()
    assert len(script) > 500_000
    assert "</script" not in script.lower() and "<!--" not in script and "\r" not in script
    assert "specifications" in script and "aria-sort" in script


def test_the_script_is_joined_once_for_each_user_and_a_damaged_one_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = iter(f"vega {number}" for number in range(9))
    monkeypatch.setattr(page.vl_convert, "javascript_bundle", lambda own: next(joined))

    def script(home: Path) -> str:
        monkeypatch.setenv("XDG_CACHE_HOME", str(home))
        SCRIPT.cache_clear()
        return str(SCRIPT())

    try:
        assert [script(tmp_path), script(tmp_path)] == ["vega 0", "vega 0"]
        (kept,) = tmp_path.glob("*/page-*.json")
        kept.write_text(kept.read_text().replace("vega 0", "vega X"))
        assert [script(tmp_path), script(tmp_path)] == ["vega 1", "vega 1"]
        (tmp_path / "file").touch()
        assert [script(tmp_path / "file"), script(tmp_path / "file")] == ["vega 2", "vega 3"]
    finally:
        SCRIPT.cache_clear()


def test_figures_have_words_and_tables_for_those_who_cannot_see_them(run):
    page = Page(page_of(run))
    charts = [a for tag, a in page.elements if tag == "div" and a.get("class") == "chart"]
    stills = [a for tag, a in page.elements if tag == "img"]
    assert len(charts) == len(stills) == 3
    assert all(a["data-spoken"] for a in charts) and all(a["alt"] for a in stills)
    assert all((a["src"] or "").startswith("data:image/svg+xml;base64,") for a in stills)
    assert all(a.get("scope") for tag, a in page.elements if tag == "th")
    assert [tag for tag, _ in page.elements].count("caption") == [tag for tag, _ in page.elements].count("table")


def test_other_protocols_are_told_as_they_are(run_of):
    run = run_of()
    by_clip = replace(run, folds=replace(run.folds, groups=run.folds.ids, group_by="clip"))
    assert "clips whose speakers may occur in training" in Page(page_of(by_clip)).shown
    syllables = tuple(f"ma{number % 5}" for number in range(400))
    other = replace(run.folds, groups=syllables, group_by="syllable")
    spread = replace(run.predictions, groups=syllables, group="syllable")
    run = replace(
        run,
        folds=other,
        predictions=spread,
        layers={k: replace(v, groups=syllables, group="syllable") for k, v in run.layers.items()},
    )
    shown = Page(page_of(run)).shown
    assert "syllables unseen in training" in shown
    assert "400 clips of 5 syllables were tested." in shown
    assert "from leaving out each syllable in turn" in shown
    fixed = replace(run.folds, scheme="fixed", fold=run.folds.fold % 3, group_by="speaker")
    assert "A fixed split: " in Page(page_of(replace(run, folds=fixed, choices=run.choices[:1]))).shown


def test_a_score_that_reaches_chance_is_said_to_show_nothing(run_of):
    run = run_of()
    guessed = np.random.default_rng(3).integers(0, 7, 400)
    run = replace(run, predictions=replace(run.predictions, prediction=guessed))
    assert "Not distinguishable from chance." in Page(page_of(run)).shown


def test_a_long_list_of_clips_left_out_is_cut(run_of):
    run = run_of(left_out={f"clip{number}": "is empty" for number in range(700)})
    shown = Page(page_of(run)).shown
    assert "700 clips, with reasons" in shown and "200 more are in run.json" in shown
    assert "clip499" in shown and "clip500" not in shown
    assert "No clip." in Page(page_of(run_of(left_out={}))).shown


def test_a_scale_has_no_class_weights_or_thresholds_on_its_page(run_of) -> None:
    run = run_of("multiclass")
    levels = replace(run, task=replace(run.task, kind="ordinal"))
    chosen = dict(narrative.protocol(levels, stats.evaluate(run.predictions)))["Chosen"]
    assert chosen.startswith("Scaling, hyper-parameters and the layer are determined")
