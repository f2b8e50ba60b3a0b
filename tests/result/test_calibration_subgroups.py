"""What was said against what was true, callers one by one, and the groups of a manifest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp, ttest_ind
from sklearn.linear_model import LogisticRegression

from toolkit.audio.clip import Clip
from toolkit.core.errors import InputError
from toolkit.corpus.labels import Task
from toolkit.corpus.manifest import Manifest
from toolkit.result.calibration import calibrate
from toolkit.result.jackknife import Score, score_of
from toolkit.result.kinds import headline_score
from toolkit.result.paired import holm
from toolkit.result.predictions import Predictions
from toolkit.result.subgroups import columns, parts, spread

Make = Callable[..., Predictions]


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_the_error_is_that_of_a_naive_loop_over_bins(predictions_of: Make, tasks: dict[str, Task], kind: str) -> None:
    given = predictions_of(tasks[kind])
    found = calibrate(given)
    if given.task.multilabel:
        said, true = given.probability.ravel(), given.truth.ravel()
    else:
        said, true = given.probability[np.arange(400), given.prediction], given.prediction == given.truth
    error = 0.0
    assert found is not None and sum(one.count for one in found.bins) == len(said)
    for one in found.bins:
        inside = (said >= one.low) & ((said < one.high) | (one.high == 1))
        assert one.count == inside.sum()
        if one.count:
            error += abs(true[inside].mean() - said[inside].mean()) * one.count / len(said)
            assert one.happened.estimate == pytest.approx(true[inside].mean())
            assert one.predicted == pytest.approx(said[inside].mean())
        else:
            assert one.predicted is None and one.happened.estimate is None
    assert found.error == pytest.approx(error)
    model = LogisticRegression(C=np.inf, tol=1e-10).fit(np.log(said / (1 - said))[:, None], true)
    assert found.slope.estimate == pytest.approx(model.coef_[0, 0], abs=1e-3)
    assert found.intercept.estimate == pytest.approx(model.intercept_[0], abs=1e-3)
    assert found.noise == pytest.approx(
        sum(np.sqrt(2 / np.pi * (said * (1 - said))[inside].sum()) for inside in bins_of(said)) / len(said)
    )


def bins_of(said: np.ndarray) -> list[np.ndarray]:
    place = np.minimum((said * 10).astype(int), 9)
    return [place == number for number in range(10)]


def test_a_bins_share_is_about_the_speakers_who_are_in_it(predictions_of: Make, tasks: dict[str, Task]) -> None:
    given = predictions_of(tasks["binary"], clips=300, speakers=12)
    names = np.array(given.groups)
    said = np.where(names < "speaker04", 0.95, np.where(names < "speaker10", 0.75, 0.55))
    probability = np.where(np.arange(2) == given.prediction[:, None], said[:, None], 1 - said[:, None])
    found = calibrate(replace(given, probability=probability))
    assert found is not None and found.bins[9].happened.lower is None  # four speakers
    inside, right = said == 0.75, given.prediction == given.truth
    rest = np.array([right[inside & (names != name)].mean() for name in sorted(set(names))])
    assert found.bins[7].happened == score_of(right[inside].mean(), rest, 6)
    assert found.bins[7].happened.lower is not None


def test_right_probabilities_have_slope_1_and_intercept_0_and_doubled_log_odds_half_the_slope(
    predictions_of: Make, tasks: dict[str, Task]
) -> None:
    given = predictions_of(tasks["multilabel"], clips=3000, speakers=40)
    random = np.random.default_rng(0)
    odds = random.normal(-1, 1, given.probability.shape)
    honest = 1 / (1 + np.exp(-odds))
    truth = (random.random(honest.shape) < honest).astype(np.int64)
    right = calibrate(replace(given, truth=truth, probability=honest))
    assert right is not None and right.error < 2 * right.noise
    assert right.slope.lower < 1 < right.slope.upper and right.intercept.lower < 0 < right.intercept.upper  # type: ignore[operator]
    assert right.slope.upper - right.slope.lower < 0.1  # type: ignore[operator]
    wrong = calibrate(replace(given, truth=truth, probability=1 / (1 + np.exp(-2 * odds))))
    assert wrong is not None and wrong.error > 5 * wrong.noise
    assert wrong.slope.estimate == pytest.approx(right.slope.estimate / 2, abs=1e-3)  # type: ignore[operator]
    assert wrong.slope.upper == pytest.approx(right.slope.upper / 2, abs=1e-3)  # type: ignore[operator]
    assert calibrate(replace(given, probability=np.full_like(honest, np.nan))) is None
    alone = calibrate(replace(given, truth=truth, probability=honest, groups=("s",) * 3000))
    assert alone is not None and alone.slope == Score(right.slope.estimate, None, None)


def test_the_slopes_interval_is_of_fits_without_each_speaker(predictions_of: Make, tasks: dict[str, Task]) -> None:
    given = predictions_of(tasks["binary"], clips=900, speakers=9)
    names = np.array(given.groups)
    slopes = []
    for name in sorted(set(given.groups)):
        rest = np.flatnonzero(names != name)
        said = given.probability[rest, given.prediction[rest]]
        right = given.prediction[rest] == given.truth[rest]
        model = LogisticRegression(C=np.inf, tol=1e-10).fit(np.log(said / (1 - said))[:, None], right)
        slopes.append(model.coef_[0, 0])
    found = calibrate(given)
    assert found is not None and found.slope.estimate is not None
    error = np.sqrt(8 / 9 * ((np.array(slopes) - np.mean(slopes)) ** 2).sum())
    half = 2.306004135 * np.hypot(error, 8 * (np.mean(slopes) - found.slope.estimate))
    assert found.slope.upper - found.slope.estimate == pytest.approx(half, rel=1e-3)  # type: ignore[operator]


def test_a_slope_that_hangs_on_one_speaker_has_no_interval(predictions_of: Make, tasks: dict[str, Task]) -> None:
    """Without the only one of whom anything is wrong there is nothing to regress."""
    given = predictions_of(tasks["binary"], clips=120, speakers=6)
    odd = np.array([name == "speaker03" for name in given.groups]) & (np.arange(120) % 2 == 0)
    found = calibrate(replace(given, prediction=np.where(odd, 1 - given.truth, given.truth)))
    assert found is not None and found.slope.estimate is not None and found.slope.lower is None


def test_what_one_number_separates_has_no_slope(predictions_of: Make, tasks: dict[str, Task]) -> None:
    given = predictions_of(tasks["binary"], clips=40)
    perfect = replace(given, prediction=given.truth, probability=np.eye(2)[given.truth] * 0.8 + 0.1)
    found = calibrate(perfect)
    assert found is not None and found.slope == Score(None, None, None) == found.intercept


def test_a_slope_beyond_100_separates_and_one_number_for_all_has_none(
    predictions_of: Make, tasks: dict[str, Task]
) -> None:
    given = predictions_of(tasks["binary"], clips=400)
    prediction = np.tile([0, 0, 1, 1], 100)
    right = np.where(np.arange(400) % 10 < 3, prediction < 1, prediction > 0)  # 7 of 10 where it is surer
    for odds, slope in ((0.0112, np.log(7 / 3) / 0.0112), (0.006, None), (0.0, None)):
        given_label = 1 / (1 + np.exp(np.where(prediction == 1, -odds, odds)))
        probability = np.where(np.arange(2) == prediction[:, None], given_label[:, None], 1 - given_label[:, None])
        truth = np.where(right, prediction, 1 - prediction)
        found = calibrate(replace(given, truth=truth, prediction=prediction, probability=probability))
        assert found is not None
        assert found.slope.estimate == (slope and pytest.approx(slope, rel=1e-3)), odds


def test_every_caller_is_scored_alone_and_groups_against_all_others(
    predictions_of: Make, tasks: dict[str, Task]
) -> None:
    given = predictions_of(tasks["binary"], clips=120, speakers=6)
    names = np.array(given.groups)
    expected = sorted(
        headline_score(given.task, given.truth[names == name], given.prediction[names == name]) or 0.0
        for name in sorted(set(given.groups))
    )
    found = spread(given)
    assert found.scores.tolist() == pytest.approx(expected) and found.clips.sum() == 120 and not found.undefined
    assert found.quantile(0.0) == pytest.approx(expected[0])
    values = ["old" if name == "speaker00" else "" for name in given.groups]
    old, unknown = parts(given, values)
    assert (old.value, old.callers, unknown.value, unknown.callers) == ("old", 1, "", 5)
    assert old.score.lower is None and old.gap.lower is None and unknown.score.lower is not None
    assert old.gap.estimate == pytest.approx(old.score.estimate - unknown.score.estimate)  # type: ignore[operator]
    assert old.p_value is None is unknown.p_value


def accuracies(right: list[int], of: int = 10) -> Predictions:
    """Callers of as many clips each, of whose two labels, evenly dealt, so many are right in both."""
    truth = np.tile(np.repeat([0, 1], of), len(right))
    hit = np.concatenate([np.tile(np.arange(of) < number, 2) for number in right])
    groups = tuple(f"s{caller:02d}" for caller in range(len(right)) for _ in range(2 * of))
    ids = tuple(map(str, range(len(truth))))
    nothing = np.full((len(truth), 2), np.nan)
    task = Task("t", "binary", ("a", "b"), ("t",))
    fold = np.zeros(len(truth), dtype=np.int64)
    return Predictions(task, ids, groups, fold, truth, np.where(hit, truth, 1 - truth), nothing)


def test_a_gap_is_welchs_t_test_on_the_callers() -> None:
    """Of callers with equally many clips the jackknife of a mean recall is the mean of the callers' own."""
    first, second = [5, 6, 7, 5, 4, 6], [6, 9, 8, 8, 7, 9, 8]
    given = accuracies(first + second)
    values = ["old" if int(name[1:]) < 6 else "young" for name in given.groups]
    old, young = parts(given, values)
    expected = ttest_ind(np.array(first) / 10, np.array(second) / 10, equal_var=False)
    assert old.p_value == pytest.approx(expected.pvalue) == young.p_value  # one gap, from both its sides
    low, high = expected.confidence_interval()
    assert (old.gap.lower, old.gap.upper) == (pytest.approx(low), pytest.approx(high))
    assert young.gap.lower == pytest.approx(-high)
    thirds = ["young" if name < "s05" else "old" if name < "s09" else "" for name in given.groups]
    three = parts(given, thirds)
    assert [part.value for part in three] == ["old", "young", ""] and three[0].p_value is None  # four callers


def test_p_values_of_several_groups_are_corrected_and_callers_in_two_groups_are_left_out_of_both() -> None:
    given = accuracies([5, 6, 7, 5, 4, 6, 9, 8, 8, 7, 9, 8, 6, 5, 7, 8])
    values = ["abc"[min(int(name[1:]) // 5, 2)] for name in given.groups]
    found = parts(given, values)
    raw = []
    for letter in "abc":
        both = parts(given, [value if value == letter else "other" for value in values])
        raw.append(next(part.p_value for part in both if part.value == letter))
    assert [part.p_value for part in found] == holm(raw)  # type: ignore[arg-type]
    rooms = ["x" if int(clip) % 10 < 5 else "y" for clip in given.ids]  # every caller speaks in both
    x, y = parts(given, rooms)
    assert (x.callers, y.callers) == (16, 16) and x.gap.lower == pytest.approx(-y.gap.upper)  # type: ignore[operator]
    own = np.array([5, 6, 7, 5, 4, 6, 9, 8, 8, 7, 9, 8, 6, 5, 7, 8])
    gaps = np.minimum(own, 5) / 5 - np.maximum(own - 5, 0) / 5  # of each caller, whose first clips are right
    assert x.p_value == pytest.approx(ttest_1samp(gaps, 0).pvalue)


def test_callers_who_are_all_alike_have_no_gap_and_no_standard_error() -> None:
    alike = accuracies([5] * 12)
    old, young = parts(alike, ["old" if name < "s06" else "young" for name in alike.groups])
    assert old.gap == Score(pytest.approx(0.0), None, None) and old.p_value == 1.0 == young.p_value  # type: ignore[arg-type]
    better = accuracies([8] * 6 + [5] * 6)
    old, _ = parts(better, ["old" if name < "s06" else "young" for name in better.groups])
    assert old.gap == Score(pytest.approx(0.3), None, None) and old.p_value is None  # type: ignore[arg-type]


def test_a_gap_that_hangs_on_a_single_caller_has_no_interval() -> None:
    """One caller alone has the label and is given it: without that caller its side has no F1."""
    task = Task("t", "multilabel", ("a",), ("a",))
    groups = tuple(f"s{caller:02d}" for caller in range(12))
    truth = np.array([[caller == 0 or caller > 5] for caller in range(12)]).astype(np.int64)
    nothing, fold = np.full((12, 1), np.nan), np.zeros(12, dtype=np.int64)
    given = Predictions(task, groups, groups, fold, truth, truth * (np.arange(12) != 7)[:, None], nothing)
    one, other = parts(given, ["one"] * 6 + ["other"] * 6)
    assert (one.callers, other.callers, one.score) == (6, 6, Score(1.0, None, None))
    assert one.gap == Score(pytest.approx(1 - 10 / 11), None, None) and one.p_value is None is other.p_value  # type: ignore[arg-type]


def test_columns_are_found_by_clip_and_windows_are_of_their_recording(
    predictions_of: Make, tasks: dict[str, Task]
) -> None:
    given = predictions_of(tasks["binary"], clips=20)
    ids = (f"{given.ids[0]}@0-10", *given.ids[1:])
    given = replace(given, ids=ids)
    names = [clip.partition("@")[0] for clip in ids]
    cells = [{"id": name, "path": "x", "sex": "fm"[n % 2], "age": str(n), "one": "1"} for n, name in enumerate(names)]
    clips = tuple(
        Clip(id=row["id"], path="x", start=None, end=None, channel=None, duration=None, speaker=None, split=None,
             line=n, cells=tuple(row.values())) for n, row in enumerate(cells)
    )  # fmt: skip
    manifest = Manifest("manifest.csv", Path(), ("id", "path", "sex", "age", "one"), clips)
    found = columns(manifest, None, [given])
    assert list(found) == ["sex"] and found["sex"][ids[0]] == "f"  # the age of each is another one
    assert columns(manifest, ["sex"], [given]) == found
    for name, message in (("height", "--subgroups"), ("age", "20 different values"), ("one", "1 different values")):
        with pytest.raises(InputError, match=message):
            columns(manifest, [name], [given])
    unknown = replace(manifest, clips=clips[1:])
    with pytest.raises(InputError, match=r"manifest\.csv has no clip"):
        columns(unknown, ["sex"], [given])
    assert columns(unknown, None, [given]) == {}  # what was not asked for is no defect


def test_a_column_makes_up_to_12_groups(predictions_of: Make, tasks: dict[str, Task]) -> None:
    given = predictions_of(tasks["binary"], clips=26)
    rows = [(name, "x", str(n % 12), str(n % 13)) for n, name in enumerate(given.ids)]
    clips = tuple(Clip(row[0], "x", n, cells=row) for n, row in enumerate(rows))
    twelve, thirteen = (Manifest("m.csv", Path(), ("id", "path", *own), clips) for own in (("age", "b"), ("b", "age")))
    assert len(set(columns(twelve, None, [given])["age"].values())) == 12
    assert columns(twelve, ["age"], [given]) == columns(twelve, None, [given])
    assert columns(thirteen, None, [given]) == {}
    assert columns(replace(thirteen, columns=("id", "age", "path", "b")), None, [given]) == {}  # one value: no groups
    with pytest.raises(InputError, match="13 different values in the tested clips; 2 to 12"):
        columns(thirteen, ["age"], [given])


def test_callers_without_a_score_are_counted_and_of_equal_scores_those_of_fewer_clips_come_first() -> None:
    task = Task("t", "multilabel", ("a",), ("a",))
    groups = tuple("aaabbc")
    truth = np.array([[1], [1], [1], [1], [1], [0]])
    given = Predictions(
        task, tuple("123456"), groups, np.zeros(6, dtype=np.int64), truth, truth, np.full((6, 1), np.nan)
    )
    found = spread(given)
    assert (found.scores.tolist(), found.clips.tolist(), found.undefined) == ([1.0, 1.0], [2, 3], 1)
    silent = spread(replace(given, truth=truth * 0, prediction=truth * 0))
    assert silent.undefined == 3 and silent.quantile(0.5) is None


def test_a_gap_of_callers_on_both_sides_is_that_of_a_naive_loop_over_all_of_them() -> None:
    given = accuracies([5, 6, 7, 5, 4, 6, 9, 8, 8, 7, 9, 8])
    names = np.array(given.groups)
    mixed = [f"s{caller:02d}" for caller in (0, 5)]
    inside = np.where(np.isin(names, mixed), np.arange(240) % 2 == 0, names < "s07")

    def score(clips: np.ndarray) -> float:
        return headline_score(given.task, given.truth[clips], given.prediction[clips]) or 0.0

    rest = [score(inside & (names != name)) - score(~inside & (names != name)) for name in sorted(set(names))]
    error = np.sqrt(11 / 12 * ((np.array(rest) - np.mean(rest)) ** 2).sum())
    one, other = parts(given, np.where(inside, "one", "other").tolist())
    gap = score(inside) - score(~inside)
    assert (one.callers, other.callers, one.gap.estimate) == (7, 7, pytest.approx(gap))
    assert one.gap.upper == pytest.approx(gap + 2.200985160082949 * error)
    assert one.p_value == pytest.approx(2 * t.sf(abs(gap) / error, 11))


def test_a_probability_of_1_is_in_the_last_bin(predictions_of: Make, tasks: dict[str, Task]) -> None:
    given = predictions_of(tasks["binary"], clips=50)
    sure = calibrate(replace(given, probability=np.eye(2)[given.prediction]))
    assert sure is not None and [one.count for one in sure.bins] == [0] * 9 + [50]
    assert (sure.bins[9].low, sure.bins[9].high, sure.bins[9].predicted) == (0.9, 1.0, 1.0)
