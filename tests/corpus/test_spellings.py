"""Spellings are seen by one normalisation, and merged they make the task of a corpus that was written cleanly."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.audio.clip import Clip
from toolkit.core.errors import InputError, LabelError, SplitError
from toolkit.corpus import evaluation_task, spellings
from toolkit.corpus.labels import Task
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.spellings import KEEP, NAMELESS, REFUSE, Rules, key, names, settle
from toolkit.predict.files import known_of

MERGE = Rules("merge")
# Of one name each: number forms, case, full width, composed and decomposed, invisible signs, spaces.
PAIRS = [
    ("3", "3.0"),
    ("03", "3"),
    ("1", "1.0"),
    ("s00", "S00"),
    ("s1", "ｓ１"),
    ("é", "e\u0301"),
    ("s1", "s\u200b1"),
    ("s1", "\ufeffs1"),
    ("Anger", "anger"),
    ("Straße", "STRASSE"),
    ("joy", " joy"),
    ("a b", "a\u00a0 b"),
    ("-0.50", "-.5"),
    ("怒", "怒\ufe0f"),
    ("sad", "sad??"),
]
APART = [("s1", "s01"), ("1e3", "1000"), ("s1", "s2"), ("3", "-3"), ("a b", "ab"), ("怒", "喜"), ("3", "3.01")]


def manifest(**columns: Sequence[str]) -> Manifest:
    count = len(next(iter(columns.values())))
    ids = [f"c{number}" for number in range(count)]
    clips = tuple(
        Clip(clip, f"{clip}.wav", line, cells=cells)
        for line, (clip, *cells) in enumerate(zip(ids, *columns.values()), 2)
    )
    return Manifest("manifest.csv", Path(), tuple(columns), tuple(clips))


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_spellings_of_one_name_have_one_key(one: str, other: str) -> None:
    assert key(one) == key(other) != ""


@pytest.mark.parametrize(("one", "other"), APART)
def test_two_names_have_two_keys(one: str, other: str) -> None:
    assert key(one) != key(other)


@given(st.text())
def test_a_key_is_its_own_key_and_that_of_every_normal_form(text: str) -> None:
    assert key(key(text)) == key(text)
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert key(unicodedata.normalize(form, text)) == key(text)


def test_what_names_nothing_is_written_as_its_key() -> None:
    assert {key(name) for name in NAMELESS} == NAMELESS
    assert {key(text) for text in ("NaN", "N/A", "None", "NULL", "？", "ＵＮＫＮＯＷＮ", "…")} <= NAMELESS
    assert not {"neutral", "other", "no", "0", "numbness", ""} & NAMELESS


def test_the_most_frequent_spelling_is_kept_then_the_first_and_never_one_with_spaces() -> None:
    (anger, joy, sad) = names(["Anger", "anger", "joy", "Joy", "anger", "sad ", "sad ", "sad"], range(2, 10))
    assert (anger.kept, joy.kept, sad.kept) == ("anger", "joy", "sad")
    assert str(anger) == "'anger' (line 3 and 1 more) and 'Anger' (line 2)"
    assert (anger.first_line, joy.first_line, sad.first_line) == (3, 5, 9)


@pytest.mark.parametrize(("one", "other"), PAIRS)
@pytest.mark.parametrize("group", [False, True])
def test_refused_by_naming_both_with_the_way_out(one: str, other: str, group: bool) -> None:
    cells, lines = [one, "x", other, one], range(2, 6)
    with pytest.raises(SplitError if group else LabelError) as refused:
        settle("who", cells, lines, REFUSE, group)
    assert str(refused.value) == (
        f"Manifest, column 'who': {one!r} (line 2 and 1 more) and {other!r} (line 4) are spellings of one name; "
        f"expected one of them, or --spellings merge (takes all for {one!r}) or --spellings keep (keeps them apart)"
    )
    merged = settle("who", cells, lines, MERGE, group)
    assert merged.cells == (one, "x", one, one)
    assert [*map(str, merged.notes)] == [f"Spellings merged in column 'who': {other!r} as {one!r}."]
    kept = settle("who", cells, lines, KEEP, group)
    assert kept.cells == tuple(cells)
    assert [*map(str, kept.notes)] == [
        f"Spellings kept apart in column 'who', though each may be one name: {one!r} and {other!r}."
    ]


def test_what_names_nothing_is_refused_unless_told() -> None:
    cells, lines = ["joy", "nan", "anger", "nan"], range(2, 6)
    with pytest.raises(LabelError, match=r"'nan' \(line 3 and 1 more\) may stand for an unknown value.*--unknown keep"):
        settle("mood", cells, lines, MERGE)
    with pytest.raises(SplitError, match="--unknown keep"):
        settle("speaker", cells, lines, REFUSE, group=True)
    kept = settle("mood", cells, lines, Rules(unknown="keep"))
    assert kept.cells == tuple(cells)
    assert [*map(str, kept.notes)] == ["In column 'mood' what may stand for an unknown value counts as a name: 'nan'."]


def test_zeros_and_ones_as_pandas_writes_them_are_the_0_1_task_when_merged() -> None:
    rows = {"speaker": [f"s{n % 6}" for n in range(24)], "sad": [f"{n // 6 % 2}.0" for n in range(24)]}
    with pytest.raises(LabelError, match=r"'sad': it holds '0.0' and '1.0'; expected 0 and 1, or --spellings merge"):
        evaluation_task.build_task(manifest(**rows), "sad", 3, 0)
    merged = evaluation_task.build_task(manifest(**rows), "sad", 3, 0, rules=MERGE)
    clean = evaluation_task.build_task(manifest(**{**rows, "sad": [cell[0] for cell in rows["sad"]]}), "sad", 3, 0)
    assert merged.task == clean.task and merged.task.labels == ("not sad", "sad")
    assert merged.truth.tolist() == clean.truth.tolist() and merged.folds.sha256 == clean.folds.sha256
    assert evaluation_task.build_task(manifest(**rows), "sad", 3, 0, rules=KEEP).task.labels == ("0.0", "1.0")
    several = {**rows, "glad": ["1", "0"] * 12}
    assert evaluation_task.build_task(manifest(**several), "sad,glad", 3, 0, rules=MERGE).truth[:8].tolist() == [
        [0, 1], [0, 0], [0, 1], [0, 0], [0, 1], [0, 0], [1, 1], [1, 0]
    ]  # fmt: skip
    with pytest.raises(LabelError, match="'sad'"):
        evaluation_task.build_task(manifest(**several), "sad,glad", 3, 0)


def test_two_columns_of_one_label_are_merged_where_they_say_the_same() -> None:
    rows = {"speaker": [f"s{n % 6}" for n in range(24)], "Sad": ["1", "0"] * 12, "joy": ["0", "1", "1"] * 8}
    rows["sad"] = list(rows["Sad"])
    with pytest.raises(LabelError, match="'Sad' and 'sad' are spellings of one label"):
        evaluation_task.build_task(manifest(**rows), "Sad,joy,sad", 3, 0)
    merged = evaluation_task.build_task(manifest(**rows), "Sad,joy,sad", 3, 0, rules=MERGE)
    assert merged.task == evaluation_task.build_task(manifest(**rows), "Sad,joy", 3, 0).task
    assert evaluation_task.build_task(manifest(**rows), "Sad,joy,sad", 3, 0, rules=KEEP).task.labels == (
        "Sad",
        "joy",
        "sad",
    )
    rows["sad"][3] = "1"
    with pytest.raises(LabelError, match="differ, so they cannot be merged"):
        evaluation_task.build_task(manifest(**rows), "Sad,joy,sad", 3, 0, rules=MERGE)


def uar(question: evaluation_task.EvaluationTask, features: np.ndarray) -> float:
    """Of what the nearest clip outside the test fold has."""
    said = np.empty_like(question.truth)
    for one in question.folds.rounds():
        learnt = np.concatenate([one.train, one.development])
        nearest = np.linalg.norm(features[one.test, None] - features[learnt], axis=2).argmin(axis=1)
        said[one.test] = question.truth[learnt][nearest]
    return float(np.mean([np.mean(said[question.truth == label] == label) for label in np.unique(question.truth)]))


def test_a_speaker_or_a_label_spelt_twice_is_a_wrong_figure_that_a_merge_makes_right() -> None:
    generator = np.random.default_rng(1)
    voice = np.arange(11).repeat(6)
    label = generator.permutation(np.arange(11) % 2)[voice]
    voices = 3 * generator.standard_normal((11, 8))[voice] + 0.3 * generator.standard_normal((66, 8))
    moods = 5 * np.eye(2)[label] + 0.1 * generator.standard_normal((66, 2))
    speaker, mood = [f"s{number}" for number in voice], [("joy", "anger")[number] for number in label]

    def asked(rules: Rules, speaker: list[str] = speaker, mood: list[str] = mood) -> evaluation_task.EvaluationTask:
        return evaluation_task.build_task(manifest(speaker=speaker, mood=mood), "mood", 3, 0, rules=rules)

    twice = [name.upper() if number % 6 < 2 else name for number, name in enumerate(speaker)]
    assert uar(asked(REFUSE), voices) == uar(asked(MERGE, speaker=twice), voices) == pytest.approx(0.55)
    assert uar(asked(KEEP, speaker=twice), voices) == 1.0  # the voice is on both sides: a leak
    twice = [name.upper() if number % 3 == 0 else name for number, name in enumerate(mood)]
    assert uar(asked(REFUSE), moods) == uar(asked(MERGE, mood=twice), moods) == 1.0
    assert uar(asked(KEEP, mood=twice), moods) == pytest.approx(0.527, abs=5e-4)  # half of it is called wrong


def test_wrong_words_are_refused() -> None:
    with pytest.raises(InputError, match="Bad --spellings 'join'"):
        Rules("join")
    with pytest.raises(InputError, match="Bad --unknown 'drop'"):
        Rules(unknown="drop")


@st.composite
def spelt(draw: st.DrawFn, clean: Sequence[str]) -> list[str]:
    """The cells, some of them in another spelling; the clean one stays the most frequent of each name."""
    ways: list[Callable[[str], str]] = [
        str.upper,
        lambda text: unicodedata.normalize("NFD", text),
        lambda text: text + "\u200b",
        lambda text: f" {text}",
        lambda text: "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text),
        lambda text: f"{text}.0" if text.isdigit() else text,
        lambda text: f"0{text}" if text.isdigit() else text,
    ]
    cells, used = list(clean), dict.fromkeys(clean, 0)
    for place in draw(st.lists(st.integers(0, len(clean) - 1), max_size=len(clean), unique=True)):
        name = clean[place]
        if 2 * (used[name] + 1) < clean.count(name):
            used[name] += 1
            cells[place] = draw(st.sampled_from(ways))(name)
    return cells


@given(st.data())
def test_after_a_merge_the_task_is_that_of_the_clean_corpus(data: st.DataObject) -> None:
    values = data.draw(st.sampled_from([["joy", "anger", "é"], ["0", "1"], ["1", "2", "3"], ["怒", "neutral"]]))
    speakers = data.draw(st.sampled_from([[f"s{n}" for n in range(5)], ["1", "2", "3", "10"]]))
    count = 60
    seed = np.random.default_rng(data.draw(st.integers(0, 99)))
    labels = [*values * 3, *(values[n] for n in seed.integers(0, len(values), count - 3 * len(values)))]
    callers = [*speakers * 3, *(speakers[n] for n in seed.integers(0, len(speakers), count - 3 * len(speakers)))]
    seed.shuffle(callers)
    classes, merge = Rules(kind="classes"), replace(MERGE, kind="classes")
    clean = evaluation_task.build_task(manifest(speaker=callers, mood=labels), "mood", 3, 0, rules=classes)
    rows = manifest(speaker=data.draw(spelt(callers)), mood=data.draw(spelt(labels)))
    merged = evaluation_task.build_task(rows, "mood", 3, 0, rules=merge)
    assert merged.task == clean.task
    assert np.array_equal(merged.truth, clean.truth)
    assert merged.folds.sha256 == clean.folds.sha256 and merged.groups == clean.groups
    if rows != manifest(speaker=callers, mood=labels):
        with pytest.raises(InputError, match="--spellings merge"):
            evaluation_task.build_task(rows, "mood", 3, 0)


def test_groups_that_are_only_shown_call_what_names_nothing_not_known() -> None:
    cells, lines = ["f", "Unknown", "m", "NA"], range(2, 6)
    assert spellings.known_names("sex", cells, lines, REFUSE) == ("f", "", "m", "")
    assert spellings.known_names("sex", cells, lines, Rules(unknown="keep")) == tuple(cells)
    with pytest.raises(SplitError, match="--spellings merge"):
        spellings.known_names("sex", ["f", "F"], range(2, 4), REFUSE)


def test_the_truth_of_what_is_predicted_is_read_by_the_rules() -> None:
    task = Task("mood", "binary", ("anger", "joy"), ("mood",))
    rows = manifest(id=["c0", "c1", "c2"], speaker=["a", "A", "b"], mood=["joy", "Joy", "anger"])
    told: list[str] = []
    with pytest.raises(LabelError, match=r"line 3, column 'mood': 'Joy', another spelling of 'joy'; --spellings merge"):
        known_of(task, "speaker", rows, ["c0", "c1", "c2"], told.append)
    found = known_of(task, "speaker", rows, ["c2", "c1", "c0"], told.append, MERGE)
    assert found is not None and found.truth.tolist() == [0, 1, 1] and found.groups == ("b", "a", "a")
    assert told == ["Spellings merged in column 'speaker': 'A' as 'a'."]
    flags = Task("joy", "binary", ("not joy", "joy"), ("joy",))
    rows = manifest(id=["c0", "c1"], joy=["1.0", "0"])
    with pytest.raises(LabelError, match=r"'1\.0', another spelling of '1'"):
        known_of(flags, "speaker", rows, ["c0", "c1"], told.append)
    merged = known_of(flags, "speaker", rows, ["c0", "c1"], told.append, MERGE)
    assert merged is not None and merged.truth.tolist() == [1, 0]
