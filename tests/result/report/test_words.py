"""Both languages say the same things, and a Chinese page has no English left but names and technical terms."""

import re
import string

import pytest

from toolkit.core.errors import InputError
from toolkit.core.i18n import ENGLISH, LANGUAGES, of
from toolkit.result import stats
from toolkit.result.report import narrative, run_page
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


def test_a_chinese_report_has_no_english_left_but_names(run) -> None:
    html = run_page.page(run, curve(run), stats.evaluate(run.predictions), (), of("zh")).html
    shown = html[html.index("<body>") : html.index("Provenance" if "Provenance" in html else "来源")]
    text = re.sub(r"<[^>]*>", " ", shown)
    for name in (*run.task.labels, run.task.name, run.backbone, run.probe, *run.notes, *run.left_out, *run.layers):
        text = text.replace(name, " ")
    text = text.replace("ends early: 3 of 16000 samples per channel could be decoded", " ")
    assert set(re.findall(r"[A-Za-z]+", text)) <= TERMS


def test_the_toolkits_own_notes_are_translated_and_a_users_are_not() -> None:
    chinese = of("zh")
    own = (
        "In the round that tests fold 3 'fear' does not vary in the training clips; it is predicted at its prevalence."
    )
    assert narrative.note(own, chinese) == "在测试第 3 折的一轮中，'fear' 在训练片段里没有变化；按其出现率预测。"
    assert narrative.note("The corpus is made up.", chinese) == "The corpus is made up."
    for key in narrative.NOTES:
        filled = ENGLISH(key, **dict.fromkeys(fields(ENGLISH.phrases[key]), "speaker"))
        assert narrative.note(filled, chinese) != filled
