"""A recording over time: at every instant the mean of the windows there, and what is summed up from it."""

import json
import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.core.i18n import of
from toolkit.corpus.labels import Task
from toolkit.corpus.spellings import key
from toolkit.predict import timeline_page
from toolkit.predict.inference import Applied
from toolkit.predict.timeline import (
    Timeline,
    Window,
    audacity,
    speaks,
    stretches,
    summary,
    summary_csv,
    timeline_csv,
    timelines,
)
from toolkit.result.negative import NEGATIVE, negative_labels
from toolkit.result.report import charts
from toolkit.result.thresholds import decide, log_odds

MOOD = Task("mood", "multiclass", ("calm", "=anger", "joy"), ("mood",))
TWO = Task("two", "multilabel", ("fear", "joy"), ("fear", "joy"))


def made(
    task: Task,
    spans: Sequence[tuple[float, float]],
    probability: Sequence[Sequence[float]],
    lost: Sequence[str] = (),
    levels: Sequence[float] | None = None,
) -> Timeline:
    values = np.array(probability, dtype=np.float64)
    bars = np.full(values.shape, 0.5 if task.multilabel else 1 / len(task.labels))
    applied = Applied(task, ("mean",) * len(values), values, bars, decide(task, values, bars), log_odds(values))
    loud = levels or [0.1] * len(spans)
    windows = [Window("call", start, end, row, level) for row, ((start, end), level) in enumerate(zip(spans, loud))]
    (found,) = timelines(applied, windows, lost)
    return found


@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(1, 200), st.floats(0, 1)), min_size=1, max_size=12, unique_by=id
    ),
    st.integers(0, 600),
)
def test_an_instant_has_the_mean_of_the_windows_that_cover_it(
    windows: list[tuple[int, int, float]], instant: int
) -> None:
    spans = [(start / 10, (start + length) / 10) for start, length, _ in windows]
    found = made(TWO, spans, [(value, 1 - value) for *_, value in windows])
    now = instant / 10 + 0.05
    covering = [value for (start, end), (*_, value) in zip(spans, windows) if start < now < end]
    pieces = np.flatnonzero((found.start < now) & (now < found.end))
    assert len(pieces) == bool(covering)
    if covering:
        assert found.probability[pieces[0], 0] == pytest.approx(np.mean(covering))
    assert (found.start[1:] >= found.end[:-1]).all() and found.windows == len(windows)


def test_times_shares_and_changes_are_those_counted_by_hand() -> None:
    spans = [(0, 20), (10, 30), (40, 50), (50, 60)]  # a window is missing from 30 to 40 s
    found = made(MOOD, spans, [(0.8, 0.1, 0.1), (0.2, 0.7, 0.1), (0, 1, 0), (0, 0, 1)], ["call", "another"])
    assert found.start.tolist() == [0, 10, 20, 40, 50] and found.end.tolist() == [10, 20, 30, 50, 60]
    np.testing.assert_allclose(found.probability[1], (0.5, 0.4, 0.1))
    assert found.decision.tolist() == [0, 0, 1, 1, 2] and found.failed == 1
    own = summary(found, ["=anger"])
    assert own.seconds == 50 and own.negative == pytest.approx(20 / 50)
    np.testing.assert_allclose(own.share, (20 / 50, 20 / 50, 10 / 50))
    assert own.changes == pytest.approx(2 / (50 / 60))  # calm to anger at 20 s, anger to joy at 50 s; not over the gap
    np.testing.assert_allclose(own.slope * 50 / 60, (0.3 + 0.3 + 0, 0.3 + 0.3 + 1, 0 + 0 + 1), atol=1e-12)
    assert list(stretches(found)) == [(0, 20, "calm"), (20, 30, "=anger"), (40, 50, "=anger"), (50, 60, "joy")]
    assert audacity(found).splitlines()[1] == "20.000000\t30.000000\t=anger"


def test_silence_has_no_label_and_nothing_is_counted_there() -> None:
    spans = [(0, 10), (10, 20), (20, 30), (30, 40), (50, 60)]  # a window is missing from 40 to 50 s
    values = [(1, 0, 0), (0, 1, 0), (0, 1, 0), (0, 0.4, 0.6), (0, 1, 0)]
    found = made(MOOD, spans, values, levels=[0.1, 0.002, 0.1, 0.05, 0.0009])  # 34 dB below; below the floor
    assert found.speech.tolist() == [True, False, True, True, False]
    own = summary(found, ["=anger"])
    assert (own.seconds, own.speech) == (50, 30) and own.negative == pytest.approx(10 / 30)
    np.testing.assert_allclose(own.share, (1 / 3, 1 / 3, 1 / 3))
    assert own.changes == pytest.approx(2 / 0.5)  # calm to anger over the silence, anger to joy
    np.testing.assert_allclose(own.slope, np.array((1, 1 + 0.6, 0.6)) / 0.5)
    assert list(stretches(found)) == [
        (0, 10, "calm"), (10, 20, "no speech"), (20, 30, "=anger"), (30, 40, "joy"), (50, 60, "no speech")
    ]  # fmt: skip
    assert audacity(found).splitlines()[1] == "10.000000\t20.000000\tno speech"
    rows = timeline_csv([found]).splitlines()
    assert rows[2] == "call,10,20,0,,,," and rows[3].startswith("call,20,30,1,0.0,1.0,0.0,'=anger")
    head, row = summary_csv([(found, own)]).splitlines()
    cells = dict(zip(head.split(","), row.split(",")))
    assert (cells["seconds"], cells["speech_seconds"], cells["no_speech_seconds"]) == ("50", "30", "20")
    assert cells["negative_share"] == "0.333333"


def test_a_silent_window_silences_all_it_covers_and_a_silent_recording_has_no_figures() -> None:
    overlapping = made(TWO, [(0, 10), (5, 15), (10, 20)], [(1, 1), (0, 0), (1, 0)], levels=[0.1, 0.0001, 0.1])
    assert overlapping.start.tolist() == [0, 5, 10, 15] and overlapping.speech.tolist() == [True, False, False, True]
    assert summary(overlapping, ["fear"]).share.tolist() == [1, 0.5]
    silent = made(TWO, [(0, 10), (10, 20)], [(1, 1), (1, 1)], levels=[0.0005, 0.0004])
    own = summary(silent, ["fear"])
    assert (own.seconds, own.speech) == (20, 0) and np.isnan([own.negative, own.changes, *own.share]).all()
    assert summary_csv([(silent, own)]).splitlines()[1] == "call,20,0,20,2,0,,,,,,"
    assert timeline_page.answer([(silent, own)], ["fear"]) == "In 0:20 minutes of call no speech was found."
    assert "no speech" not in {label for *_, label in stretches(made(TWO, [(0, 10)], [(1, 1)]))}


def test_ten_seconds_with_half_a_second_of_speech_are_speech_and_a_line_without_a_voice_is_not() -> None:
    generator = np.random.default_rng(0)
    line = 10 ** (-57 / 20) * generator.standard_normal(160_000)  # a telephone's noise, above the floor
    voice = 10 ** (-20 / 20) * generator.standard_normal(160_000)
    short = line + np.where(np.arange(160_000) < 8_000, voice, 0)
    levels = [float(samples.std()) for samples in (voice, short, line, np.zeros(160_000))]
    np.testing.assert_allclose(20 * np.log10(levels[:3]), (-20, -33, -57), atol=0.1)
    assert speaks(levels).tolist() == [True, True, False, False]


def test_labels_of_one_task_may_overlap_and_each_has_its_own_stretches() -> None:
    found = made(TWO, [(0, 5), (5, 10), (10, 15)], [(0.9, 0.9), (0.9, 0.2), (0.1, 0.8)])
    assert list(stretches(found)) == [(0, 5, "joy"), (0, 10, "fear"), (10, 15, "joy")]
    assert summary(found, negative_labels(TWO)).negative == pytest.approx(10 / 15)
    assert summary(found, ()).negative is None


def test_what_counts_as_negative_goes_by_the_labels_names() -> None:
    assert negative_labels(Task("n", "binary", ("not negative", "negative"), ("negative",))) == ("negative",)
    assert negative_labels(Task("n", "multiclass", ("anger", "happiness", "neutral"), ("n",))) == ("anger",)
    assert negative_labels(Task("n", "binary", ("low", "high"), ("n",))) == ()
    assert negative_labels(Task("n", "binary", ("not 负面", "负面"), ("负面",))) == ("负面",)
    assert negative_labels(Task("n", "multiclass", ("中性", "愤怒", "悲伤", "高兴"), ("n",))) == ("愤怒", "悲伤")
    assert negative_labels(Task("n", "multiclass", ("Ärger", "Freude", "ＡＮＧＳＴ"), ("n",))) == (
        "Ärger",
        "ＡＮＧＳＴ",
    )
    assert negative_labels(Task("n", "multiclass", ("joie", "cole\u0300re", "neutre"), ("n",))) == ("cole\u0300re",)
    assert negative_labels(Task("n", "multiclass", ("Negative", "Positive", "sad"), ("n",))) == ("Negative",)
    assert {key(name) for name in NEGATIVE} == NEGATIVE


def test_the_tables_are_inert_and_what_is_not_known_is_empty() -> None:
    found = made(MOOD, [(0, 1.5)], [(0.25, 0.5, 0.25)])
    head, row = timeline_csv([found]).splitlines()
    assert head == "recording,start,end,speech,probability:calm,probability:=anger,probability:joy,decision"
    assert row == "call,0,1.5,1,0.25,0.5,0.25,'=anger"
    head, row = summary_csv([(found, summary(found, ()))]).splitlines()
    assert dict(zip(head.split(","), row.split(",")))["negative_share"] == ""


@pytest.mark.usefixtures("drawn")
def test_a_long_recording_is_drawn_in_few_pieces_and_hostile_labels_stay_text() -> None:
    hostile = Task("m", "multiclass", ("</script><img src=x>", "\"]+alert(1)+['", "joy"), ("m",))
    pieces = 2_000
    values = np.random.default_rng(0).dirichlet((1, 1, 1), pieces)
    found = made(hostile, [(second, second + 1) for second in range(pieces)], values.tolist())
    spec = charts.themed(timeline_page.specs({"call": found})["call"])
    (rows,) = (layer["data"]["values"] for layer in spec["layer"] if layer["mark"]["type"] == "rect")
    assert len(rows) == 3 * timeline_page.BINS and rows[0]["start"] == 0 and rows[-1]["end"] == pieces
    drawn = charts.svg(spec)
    assert "&lt;/script&gt;" in drawn and "<img" not in drawn and "alert(1)" in drawn
    html = timeline_page.page({"call": found}, [(found, summary(found, ()))], (), "run").html
    assert "<img src=x>" not in html and "33:20" in html and "Predicted by run; 2,000 windows of 1 recording." in html


@pytest.mark.usefixtures("specified")
def test_the_page_says_what_it_leaves_out_in_both_languages() -> None:
    found = made(MOOD, [(0, 20), (20, 80)], [(0.8, 0.1, 0.1), (0.2, 0.7, 0.1)])
    summed = [(found, summary(found, ["=anger"]))]
    english = timeline_page.page({"call": found}, summed * 2, ["=anger"], "a-run", 3).html
    assert "mood over time" in english and "1 of 2 recordings are drawn" in english and "3 windows or rec" in english
    assert "In 2:40 minutes of speech, of 2:40 in 2 recordings, the prediction changes 0.8 times a minute" in english
    assert "75 % of the speech is negative (=anger)" in english
    chinese = timeline_page.page({"call": found}, summed * 2, ["=anger"], "a-run", 3, of("zh")).html
    body = re.sub(r"<[^>]*>", " ", chinese[chinese.index("<body>") : chinese.index('<script type="application/json"')])
    assert "每分钟变化 0.8 次，75 % 的语音是负面的（=anger）" in body and '<html lang="zh">' in chinese
    names = {"mood", "a", "run", "call", "calm", "anger", "joy", "csv", "timeline", "summary", "predict", "json"}
    assert set(re.findall(r"[A-Za-z]+", body)) <= names
    drawn = json.dumps(timeline_page.specs({"call": found}, of("zh")), ensure_ascii=False)
    assert "被判定" in drawn and "文件中的时间" in drawn and "predicted" not in drawn
