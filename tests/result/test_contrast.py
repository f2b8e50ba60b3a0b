"""Calls summarised by hand, and two groups of callers against scipy's Welch test."""

import itertools

import numpy as np
import pytest
from scipy import stats

from tests.result.conftest import BINARY, TASKS, make_predictions
from toolkit.core.errors import InputError
from toolkit.corpus.labels import Task
from toolkit.result.calls import Measure, Source, per_call
from toolkit.result.contrast import PERMUTATIONS, Contrast, Difference, contrast, permutation_p
from toolkit.result.paired import holm
from toolkit.result.predictions import Predictions

NEGATIVE, CHANGES, STRETCH = Measure("negative"), Measure("changes"), Measure("stretch")
FREE = Task("mood", "multiclass", ("calm", "anger", "fear"), ("mood",))


def made(ids: list[str], said: list[int], callers: list[str], task: Task = FREE, truth: list[int] | None = None):
    probability = np.eye(len(task.labels))[said] * 0.8 + 0.1 * (1 - np.eye(len(task.labels))[said])
    fold = np.zeros(len(ids), np.int64)
    return Predictions(
        task, tuple(ids), tuple(callers), fold, np.array(truth or said), np.array(said), probability, "caller"
    )


def test_a_call_of_clips_is_counted_clip_by_clip() -> None:
    given = made([f"{number}" for number in range(7)], [0, 1, 2, 0, 1, 0, 1], ["x"] * 5 + ["y"] * 2)
    found = per_call(given, ["a"] * 5 + ["b"] * 2, ("anger", "fear"))
    value = {measure: values.tolist() for (source, measure), values in found.values.items() if source == "prediction"}
    assert (found.names, found.caller, found.timed) == (("a", "b"), ("x", "y"), False)
    assert value[NEGATIVE] == [pytest.approx(3 / 5), 0.5] and value[STRETCH] == [2, 1] and CHANGES not in value
    assert value[Measure("share", "anger")] == [pytest.approx(2 / 5), 0.5]
    assert value[Measure("probability", "fear")] == [pytest.approx((4 * 0.1 + 0.8) / 5), pytest.approx(0.1)]
    assert np.isnan(found.minutes).all()


def test_windows_that_overlap_share_the_time_and_gaps_break_a_stretch() -> None:
    ids = ["a@0-10", "a@5-15", "a@10-20", "a@50-60", "b@0-10", "whole"]
    given = made(ids, [0, 1, 1, 1, 0, 1], ["x"] * 4 + ["y", "z"])
    found = per_call(given, ["a"] * 4 + ["b", "whole"], ("anger", "fear"))
    told = {measure: values for (source, measure), values in found.values.items() if source == "prediction"}
    # a: 7.5 s calm, 5 s and 7.5 s anger, a gap, 10 s anger
    assert found.timed and found.minutes[:2] == pytest.approx([0.5, 1 / 6]) and np.isnan(found.minutes[2])
    assert told[NEGATIVE] == pytest.approx([22.5 / 30, 0, 1])
    assert told[STRETCH][:2] == pytest.approx([12.5, 0]) and np.isnan(told[STRETCH][2])
    assert told[CHANGES][:2] == pytest.approx([2, 0]) and np.isnan(told[CHANGES][2])


def test_the_same_call_in_any_order_of_its_windows() -> None:
    ids = [f"a@{begin}-{begin + 10}" for begin in range(0, 100, 10)]
    given, mixed = made(ids, [0, 1] * 5, ["x"] * 10), np.random.default_rng(0).permutation(10)
    other = made([ids[place] for place in mixed], [[0, 1][place % 2] for place in mixed], ["x"] * 10)
    first, second = (per_call(one, ["a"] * 10, ("anger",)).values for one in (given, other))
    assert all(first[key] == pytest.approx(second[key]) for key in first)


def drawn(seed: int = 0, callers: int = 30, gap: float = 1.0, calls: int = 2) -> Contrast:
    """Callers of two groups, whose log-odds of a negative clip differ by `gap`."""
    random, rows = np.random.default_rng(seed), []
    for caller in range(callers):
        level = 0.6 * random.standard_normal() + gap * (caller % 2) - 0.5
        for call in range(calls):
            for clip in range(int(random.integers(5, 15))):
                negative = int(random.random() < 1 / (1 + np.exp(-level)))
                told = negative if random.random() < 0.8 else 1 - negative
                rows.append((f"c{caller}/{call}/{clip}", told, f"c{caller:02d}", negative, f"c{caller}/{call}"))
    ids, said, who, truth, names = (list(column) for column in zip(*rows))
    groups = {f"c{caller:02d}": "01"[caller % 2] for caller in range(callers)}
    given = made(ids, said, who, BINARY, truth)
    return contrast(given, names, groups, "suicidal", ("1", "0"), ("t",), 5)


def sides_of(found: Contrast, row: Difference) -> list[np.ndarray]:
    """The values of each group's callers, the means over their calls."""
    values = found.calls.values[row.source, row.measure]
    sides: list[dict[str, list[float]]] = [{}, {}]
    for side, caller, value in zip(found.side, found.calls.caller, values):
        sides[side].setdefault(caller, []).append(value)
    return [np.array([np.mean(own) for own in side.values()]) for side in sides]


@pytest.mark.parametrize("source", ["prediction", "truth"])
def test_a_caller_counts_once_and_welchs_t_is_scipys(source: Source) -> None:
    found = drawn()
    rows = [row for row in found.rows if row.source == source and row.measure in (NEGATIVE, STRETCH)]
    expected = [stats.ttest_ind(*sides_of(found, row), equal_var=False) for row in rows]
    for row, one in zip(rows, expected, strict=True):
        sides, interval = sides_of(found, row), one.confidence_interval()
        assert [mean.estimate for mean in row.means] == pytest.approx([side.mean() for side in sides])
        assert row.difference.estimate == pytest.approx(sides[0].mean() - sides[1].mean())
        assert (row.difference.lower, row.difference.upper) == pytest.approx((interval.low, interval.high))
        pooled = np.sqrt((sides[0].var(ddof=1) + sides[1].var(ddof=1)) / 2)
        assert row.effect == pytest.approx(row.difference.estimate / pooled * (1 - 3 / (4 * 28 - 1)))
        assert row.callers == found.callers == (15, 15) and found.few == (0, 0)
    assert [row.welch_p for row in rows] == pytest.approx([one.pvalue for one in expected])


def test_a_permutation_test_is_that_of_all_permutations() -> None:
    random = np.random.default_rng(3)
    values = np.stack([random.standard_normal(14) + 1.2 * (np.arange(14) < 6), random.standard_normal(14)], axis=1)
    deals = np.zeros((3003, 14), dtype=bool)
    for row, chosen in zip(deals, itertools.combinations(range(14), 6)):
        row[list(chosen)] = True
    for column, p_value in zip(values.T, permutation_p(values, deals[0])):
        sides = [np.stack([column[own] for own in side]) for side in (deals, ~deals)]
        t = np.abs(stats.ttest_ind(*sides, axis=1, equal_var=False).statistic)
        exact = np.mean(t >= t[0] - 1e-9)
        assert p_value == pytest.approx(exact, abs=4 * np.sqrt(exact / PERMUTATIONS))


def test_noise_makes_the_predicted_difference_a_part_of_the_true_one() -> None:
    """Each clip is taken wrongly one time in five, whoever says it: 0.6 of the difference is left."""
    found = drawn(callers=200, calls=3, gap=1.5)
    assert found.attenuation(NEGATIVE) == pytest.approx(0.6, abs=0.05)
    alike = drawn(gap=0.0)
    assert alike.attenuation(NEGATIVE) is None and alike.attenuation(Measure("probability", "t")) is None


def test_labels_are_corrected_for_each_other_and_not_for_the_measures_of_the_call() -> None:
    given = make_predictions(TASKS["multilabel"], clips=600, speakers=40)
    groups = {caller: str(int(caller[-1]) % 2) for caller in given.groups}
    found = contrast(given, given.groups, groups, "g", ("1", "0"), ("fear", "pain"))
    alone = contrast(given, given.groups, groups, "g", ("1", "0"), ())
    shares = [row for row in found.rows if row.measure.kind == "share" and row.source == "prediction"]
    assert len(shares) == 11 and shares == [row for row in alone.rows if row.source == "prediction"][:11]
    single = [stats.ttest_ind(*sides_of(found, row), equal_var=False).pvalue for row in shares]
    assert [row.welch_p for row in shares] == pytest.approx(holm(single))


def test_callers_who_do_not_count_are_told_in_numbers() -> None:
    found = drawn(calls=1)
    groups = {caller: "01"[int(caller[1:]) % 2] for caller in found.calls.caller}
    least = int(np.median(found.calls.clips)) + 1
    values = {caller: "?" if caller < "c04" else group for caller, group in groups.items()}
    names = [clip.rpartition("/")[0] for clip in found.predictions.ids]
    some = contrast(found.predictions, names, values, "suicidal", ("1", "0"), ("t",), least)
    assert some.elsewhere == 4 and sum(some.few) > 0 and sum(some.callers) + sum(some.few) == 26
    assert (some.side >= 0).sum() == sum(some.callers)
    with pytest.raises(InputError, match=r"No caller with suicidal '1' counts, and \d+ with fewer than 999 clips"):
        contrast(found.predictions, names, groups, "suicidal", ("1", "0"), ("t",), 999)


def test_a_few_callers_have_means_without_intervals_and_callers_alike_no_difference() -> None:
    found = drawn(callers=8)
    row = found.row(NEGATIVE, "prediction")
    assert row.difference.estimate is not None and row.difference.lower is None and row.welch_p is None
    twelve = made([f"{n}" for n in range(24)], [0] * 24, [f"c{n // 2}" for n in range(24)], BINARY)
    values = {f"c{n}": "01"[n % 2] for n in range(12)}
    alike = contrast(twelve, twelve.groups, values, "g", ("1", "0"), ("t",)).row(NEGATIVE, "prediction")
    assert (alike.welch_p, alike.permutation_p, alike.difference.estimate) == (1, 1, 0)
