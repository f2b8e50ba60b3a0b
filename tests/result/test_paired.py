"""Differences, their p-values, equivalence and Holm's correction: each against another's test or a known number."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from tests.result.conftest import binary, picked
from toolkit.core.errors import InputError, ToolkitError
from toolkit.corpus.labels import Task
from toolkit.corpus.splits import Folds
from toolkit.result import paired
from toolkit.result.jackknife import Score
from toolkit.result.paired import difference, difference_of, holm, widening
from toolkit.result.predictions import Predictions

Make = Callable[..., Predictions]


def test_a_p_value_by_hand_and_turned_round() -> None:
    """Differences of 10 speakers of 10 clips: accuracies differ by so many clips each, 7 of 100."""
    gained = (1, 1, 2, 0, 1, -1, 2, 0, 1, 0)
    truth, groups = [1] * 100, [f"s{speaker}" for speaker in range(10) for _ in range(10)]
    first = binary(truth, [int(k < 5 + more) for more in gained for k in range(10)], groups)
    second = binary(truth, [int(k < 5) for _ in gained for k in range(10)], groups)
    found = difference([first], [second], "accuracy", widen=1.5)
    expected = scipy_stats.ttest_1samp(np.array(gained) / 10, 0)  # of equally many clips the jackknife is this test
    assert found.score is not None and found.score.estimate == pytest.approx(7 / 100)
    assert found.p_value == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval()
    assert (found.score.lower, found.score.upper) == (pytest.approx(low), pytest.approx(high))
    error = np.std(np.array(gained) / 10, ddof=1) / np.sqrt(10)
    assert found.method_p == pytest.approx(2 * scipy_stats.t.sf(7 / 100 / (1.5 * error), 9))
    assert found.method is not None and found.method.upper == pytest.approx(7 / 100 + 1.5 * (high - 7 / 100))
    assert found.equal_p == pytest.approx(scipy_stats.t.cdf((7 / 100 - 0.02) / error, 9))
    back = difference([second], [first], "accuracy", widen=1.5)
    assert back.score is not None and back.score.estimate == -found.score.estimate  # type: ignore[operator]
    assert back.p_value == pytest.approx(found.p_value) and back.equal_p == pytest.approx(found.equal_p)


def test_fewer_than_ten_speakers_have_an_interval_and_no_p_value(predictions_of: Make, tasks: dict[str, Task]) -> None:
    first, second = (predictions_of(tasks["binary"], speakers=9, seed=seed) for seed in (0, 1))
    found = difference([first], [second], "accuracy")
    assert found.score is not None and found.score.lower is not None
    assert (found.p_value, found.method_p, found.equal_p) == (None, None, None)
    assert paired.against(1, [[first], [second]], "accuracy")[0].difference == found


def test_equal_is_shown_by_the_larger_of_two_one_sided_tests() -> None:
    rest = 0.001 + 0.0004 * np.linspace(-1, 1, 10)
    found = difference_of(0.001, rest, widen=1.0)
    error = np.sqrt(9 / 10 * ((rest - rest.mean()) ** 2).sum())
    sides = [scipy_stats.t.sf((0.02 + side * 0.001) / error, 9) for side in (-1, 1)]
    assert found.equal_p == pytest.approx(max(sides)) and found.equal_p < 0.001
    assert difference_of(0.03, rest + 0.029, widen=1.0).equal_p > 0.99  # type: ignore[operator]


def test_nothing_against_itself_differs_and_what_all_speakers_share_is_as_rare_as_their_number(
    predictions_of: Make, tasks: dict[str, Task]
) -> None:
    given = predictions_of(tasks["multiclass"])
    result = difference([given], [given], "accuracy")
    assert result.score == Score(0.0, 0.0, 0.0) and result.p_value == 1.0
    truth = [k % 2 for k in range(40)]
    groups = [f"s{k // 4}" for k in range(40)]
    always = difference([binary(truth, truth, groups)], [binary(truth, [1] * 40, groups)], "accuracy")
    assert always.p_value == 2.0**-9 == always.method_p and always.score == Score(0.5, None, None) == always.method
    assert always.equal_p == 1.0 and result.equal_p == 2.0**-9
    hardly = difference_of(0.01, np.full(10, 0.01), widen=2.0)
    assert (hardly.p_value, hardly.equal_p, hardly.score) == (2.0**-9, 2.0**-9, Score(0.01, None, None))
    assert difference_of(0.02, np.full(10, 0.02), widen=2.0).equal_p == 1.0
    nine = difference_of(0.0, np.zeros(9), widen=2.0)
    assert nine == paired.Difference(Score(0.0, 0.0, 0.0), method=Score(0.0, 0.0, 0.0))
    unknown = Score(None, None, None)
    assert difference_of(np.nan, np.full(10, 0.1), widen=2.0) == paired.Difference(unknown, method=unknown)
    undefined = difference_of(0.1, np.append(np.full(9, 0.1), np.nan), widen=2.0)
    assert undefined == paired.Difference(Score(0.1, None, None), method=Score(0.1, None, None))
    few = difference([binary(truth, truth, ["a", "b"] * 20)], [binary(truth, [1] * 40, ["a", "b"] * 20)], "accuracy")
    assert few.p_value is None and few.method_p is None and few.equal_p is None


def test_the_reference_may_stand_anywhere_and_holm_is_over_all_the_others(
    predictions_of: Make, tasks: dict[str, Task]
) -> None:
    several = [[predictions_of(tasks["multiclass"], strength=value, seed=seed)] for seed, value in
               enumerate((2.0, 2.6, 1.7, 3.2))]  # fmt: skip
    for best in range(4):
        found = paired.against(best, several, "accuracy", widen=1.3)
        alone = [difference(one, several[best], "accuracy", widen=1.3) for one in several]
        others = [place for place in range(4) if place != best]
        corrected = holm([alone[place].p_value or 0.0 for place in others])
        assert found[best] == paired.Against()
        assert [found[place].difference.p_value for place in others] == corrected
        assert [found[place].difference.score for place in others] == [alone[place].score for place in others]
        widened = holm([alone[place].method_p or 0.0 for place in others])
        assert [found[place].difference.method_p for place in others] == widened
    assert paired.against(None, several, "accuracy", widen=1.3) == [paired.Against()] * 4


def test_methods_are_less_sure_than_their_models_by_nadeau_and_bengio() -> None:
    fold = np.repeat(np.arange(5), 8)
    ids = tuple(map(str, range(40)))
    assert widening(Folds(ids, ids, fold, "speaker", 0)) == pytest.approx(np.sqrt(1 + 5 / 4))
    fixed = np.repeat([0, 1, 2], [10, 6, 24])  # test, development, train
    assert widening(Folds(ids, ids, fixed, "speaker", 0, "fixed")) == pytest.approx(np.sqrt(1 + 10 / 30))


def test_a_pair_is_matched_by_clip_and_refused_when_it_does_not_match(
    predictions_of: Make, tasks: dict[str, Task]
) -> None:
    first = predictions_of(tasks["multiclass"])
    turned = picked(first, np.arange(400)[::-1])
    assert difference([first], [turned], "accuracy").score.estimate == 0.0  # type: ignore[union-attr]
    with pytest.raises(InputError, match="another truth"):
        difference([first], [replace(first, truth=(first.truth + 1) % 7)], "accuracy")
    with pytest.raises(InputError, match="Not the same clips: 'other'"):
        difference([first], [replace(first, ids=("other", *first.ids[1:]))], "accuracy")
    with pytest.raises(InputError, match="The labels differ"):
        difference([first], [predictions_of(tasks["binary"])], "accuracy")
    renamed = replace(first, task=replace(first.task, labels=("other", *first.task.labels[1:])))
    with pytest.raises(InputError, match="The labels differ"):  # of one kind and as many
        difference([first], [renamed], "accuracy")
    two = [replace(first, task=Task("t", kind, first.task.labels, ("t",))) for kind in ("multiclass", "binary")]  # type: ignore[arg-type]
    with pytest.raises(InputError, match="The labels differ"):  # by name alike, of another kind
        difference([two[0]], [two[1]], "accuracy")
    shuffled = replace(first, truth=np.random.default_rng(0).permutation(first.truth))
    control = difference([first], [shuffled], "accuracy", same_truth=False).score
    right = [np.mean(one.truth == one.prediction) for one in (first, shuffled)]
    assert control is not None and control.estimate == pytest.approx(right[0] - right[1])
    with pytest.raises(InputError, match="another group"):
        difference([first], [replace(first, groups=first.groups[::-1])], "accuracy", same_truth=False)
    with pytest.raises(InputError, match="Bad metric 'hamming_loss', expected one of"):
        difference([first], [first], "hamming_loss")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_its_definition(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    m = len(p_values)
    order = np.argsort(p_values, kind="stable")
    for rank, number in enumerate(order):
        expected = max(min(1.0, (m - k) * p_values[order[k]]) for k in range(rank + 1))
        assert adjusted[number] == expected >= p_values[number]


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1])
def test_holm_refuses_what_is_no_probability(value: float) -> None:
    with pytest.raises(ToolkitError, match="expected 0 to 1"):
        holm([0.5, value])
