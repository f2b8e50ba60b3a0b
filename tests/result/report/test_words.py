"""Both languages say the same things, and a Chinese page has no English left but names and technical terms."""

import re
import string
from dataclasses import replace
from pathlib import Path

import pytest

import toolkit
from toolkit.core.errors import InputError
from toolkit.core.i18n import ENGLISH, LANGUAGES, Note, of, user_notes
from toolkit.corpus.material import FLAGS
from toolkit.result import stats
from toolkit.result.report import run_page
from toolkit.result.run import curve

TERMS = {
    "AP", "AUC", "Bengio", "Brier", "C", "CCC", "F", "Fisher", "Guo", "MAE", "Pearson", "R", "RMSE", "Spearman",
    "Hedges", "Holm", "Nadeau", "PNG", "Python", "ROC", "SHA", "SVG", "Shift", "Titov", "UAR", "Voita", "Welch",
    "both", "by", "calls", "clip", "columns", "contrast", "csv", "curves", "features", "g", "json", "kappa", "learn",
    "logit", "mix", "p", "predict", "purge", "run", "scikit", "seed", "sha", "softmax", "split", "statistics",
    "summary", "t", "timeline", "toolkit", "train", "z",
}  # fmt: skip


def fields(phrase: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(phrase) if name}


def test_every_language_has_the_same_phrases_with_the_same_fields() -> None:
    for tag in LANGUAGES:
        phrases = of(tag).phrases
        assert phrases.keys() == ENGLISH.phrases.keys()
        assert {key: fields(phrase) for key, phrase in phrases.items()} == {
            key: fields(phrase) for key, phrase in ENGLISH.phrases.items()
        }
    with pytest.raises(InputError, match="'de', expected one of"):
        of("de")


def test_every_chinese_phrase_is_chinese() -> None:
    for key, phrase in of("zh").phrases.items():
        left = set(re.findall(r"[A-Za-z]+", re.sub(r"\{[^}]*\}", "", phrase)))
        assert key == "page.tag" or left <= TERMS, (key, left - TERMS)


@pytest.mark.parametrize(("tag", "word"), [("en", r"\b[Cc]lips?\b"), ("zh", "片段")])
def test_a_page_of_units_counts_units_and_no_clips(run, tag: str, word: str) -> None:
    one = replace(run, notes=(), provenance={**run.provenance, "unit": {"column": "call"}})
    html = run_page.page(one, curve(one), stats.evaluate(one.predictions), (), of(tag)).html
    text = re.sub(r"<[^>]*>", " ", html[html.index("<body>") : html.index(of(tag)("report.provenance"))])
    assert not re.findall(f".{{0,40}}{word}.{{0,40}}", text.replace("--split-by clip", ""))
    assert of(tag).of_units.counted(len(one.predictions.ids), "clip") in text


def test_a_number_whose_format_is_a_noun_is_counted() -> None:
    fields = {"column": "call", "some": 1, "all": 1, "few": 1, "most": 1}
    assert "column 'call': 1 unit of 1 clip, 1 to 1 each." in str(Note("units", fields))
    assert "2,000 units of 1 clip" in ENGLISH.of_units(Note("units", {**fields, "some": 2000}))
    assert "2,000 units of 1 clip" in str(Note("units", {**fields, "some": 2000}))


def test_a_chinese_report_has_no_english_left_but_names(run) -> None:
    html = run_page.page(run, curve(run), stats.evaluate(run.predictions), (), of("zh")).html
    shown = html[html.index("<body>") : html.index("Provenance" if "Provenance" in html else "来源")]
    text = re.sub(r"<[^>]*>", " ", shown)
    for name in (
        *run.task.labels,
        run.task.name,
        run.backbone,
        run.probe,
        *map(str, run.notes),
        *run.left_out,
        *run.layers,
    ):
        text = text.replace(name, " ")
    text = text.replace("ends early: 3 of 16000 samples per channel could be decoded", " ")
    assert set(re.findall(r"[A-Za-z]+", text)) <= TERMS


def test_a_note_is_said_in_the_language_of_the_page_and_a_users_as_it_is() -> None:
    chinese, seen = of("zh"), Note("constant_label", {"fold": 3, "label": "fear", "what": "prevalence"})
    assert chinese(seen) == "在测试第 3 折的一轮中，'fear' 在训练片段里没有变化；按其出现率预测。"
    assert chinese(Note("leaky_none", {"what": "Clips", "group": "village"})).startswith("片段逐个划分")
    (theirs,) = user_notes(["The {corpus} is made up."])
    assert chinese(theirs) == str(theirs) == "The {corpus} is made up."


def test_every_note_has_its_phrase_and_every_phrase_its_note() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(toolkit.__file__).parent.rglob("*.py"))
    made = set(re.findall(r'\bNote\(\s*"(\w+)"', sources)) | {f"flag_{flag}" for flag in FLAGS}
    chosen = {key for two in re.findall(r'\bNote\(\s*"(\w+)" if .+? else "(\w+)"', sources) for key in two}
    phrases = {key.removeprefix("note.") for key in ENGLISH.phrases if key.startswith("note.")}
    assert made | chosen == phrases
