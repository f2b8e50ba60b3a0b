"""Decisions, scores that rounds can share, and the loss that a search minimises."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from toolkit.corpus.labels import Task
from toolkit.result.thresholds import (
    Scale,
    balanced,
    balanced_log_loss,
    bars_of,
    decide,
    log_odds,
    scale_of,
    thresholds_of,
)

ONE = Task("one", "multilabel", ("a",), ("a",))
TWO = Task("two", "multilabel", ("a", "b"), ("a", "b"))
BINARY = Task("t", "binary", ("not t", "t"), ("t",))
EMOTION = Task("emotion", "multiclass", ("a", "b", "c"), ("emotion",))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(-6, 6)), min_size=2, max_size=30))
def test_no_threshold_has_a_better_f1_and_of_equals_the_nearest_to_0_is_taken(clips: list[tuple[bool, int]]) -> None:
    truth = np.array([[int(positive)] for positive, _ in clips])
    scores = np.array([[float(number)] for _, number in clips])
    (threshold,) = thresholds_of(ONE, truth, scores)
    if not truth.any() or scores.min() == scores.max():
        assert np.isnan(threshold)
        return

    def f1(cut: float) -> float:
        prediction = (scores > cut).astype(int)
        return float(2 * (truth * prediction).sum() / (truth.sum() + prediction.sum()))

    levels = np.unique(scores)
    cuts = [levels[0] - 0.5, *((levels[1:] + levels[:-1]) / 2)]
    best = max(f1(cut) for cut in cuts)
    assert f1(threshold) == best
    assert abs(threshold) == min(abs(cut) for cut in cuts if f1(cut) == best)


@pytest.mark.parametrize(("scores", "nearest"), [([3, 2, 1, -5], 2.5), ([9, 8, 7, 1], 0.5)])
def test_of_two_thresholds_alike_the_nearest_to_0_is_taken(scores: list[float], nearest: float) -> None:
    """One of two found and no other, or both and two others: an F1 of 2 / 3 either way."""
    assert thresholds_of(ONE, np.array([[1], [0], [0], [1]]), np.array(scores)[:, None]) == nearest


def test_scores_that_a_model_could_not_give_do_not_choose() -> None:
    truth = np.array([[1, 0], [0, 1], [1, 0], [0, 0]])
    scores = np.array([[2.0, np.nan], [-1.0, np.nan], [1.0, -3.0], [np.nan, 5.0]])
    found = thresholds_of(TWO, truth, scores)
    assert found[0] == 0.0 and np.isnan(found[1])  # half-way between 1 and -1; no positive is left of the other
    assert thresholds_of(EMOTION, np.array([0, 1]), scores[:2]).size == 0
    assert np.isnan(thresholds_of(ONE, np.array([[1], [0]]), np.array([[2.0], [2.0]])))  # one score for both
    assert thresholds_of(ONE, np.array([[1], [1]]), np.array([[1.0], [3.0]])) == 0.5  # below all of them


def test_a_scale_is_the_mean_and_the_deviation_of_the_log_odds_and_goes_both_ways() -> None:
    probability = 1 / (1 + np.exp(-np.array([[0.0, 3.0], [2.0, 3.0], [4.0, 3.0]])))
    scale = scale_of(probability)
    assert scale.centre == pytest.approx([2.0, 3.0]) and scale.spread == pytest.approx([np.sqrt(8 / 3), 0.0], abs=1e-12)
    scores = scale.scores(probability)
    assert scores[:, 0] == pytest.approx(np.array([-2, 0, 2]) / np.sqrt(8 / 3)) and (scores[:, 1] == 0).all()
    assert scale.probability(scores)[:, 0] == pytest.approx(probability[:, 0])
    assert log_odds(np.array([0.0, 1.0])) == pytest.approx([-27.631, 27.631], abs=1e-3)


def test_a_threshold_keeps_its_place_when_a_refit_shifts_and_stretches_the_log_odds() -> None:
    odds = np.random.default_rng(0).standard_normal((200, 1))
    before, after = 1 / (1 + np.exp(-(0.001 * odds - 1))), 1 / (1 + np.exp(-(0.002 * odds - 1.3)))
    threshold = np.sort(scale_of(before).scores(before), axis=0)[150]
    bars = bars_of(ONE, np.array([0.3]), scale_of(after), threshold)
    assert ((scale_of(before).scores(before) > threshold) == (after > bars)).all()
    still = Scale(np.array([-1.0]), np.array([0.0]))
    assert bars_of(ONE, np.array([0.3]), still, threshold).tolist() == [0.5]
    assert bars_of(ONE, np.array([0.3]), scale_of(after), np.array([np.nan])).tolist() == [0.5]
    assert bars_of(EMOTION, np.array([0.5, 0.3, 0.2]), still, np.empty(0)).tolist() == [0.5, 0.3, 0.2]


def test_a_single_label_is_the_one_whose_probability_exceeds_its_prevalence_most() -> None:
    probability = np.array([[0.6, 0.3, 0.1], [0.6, 0.2, 0.2], [0.9, 0.06, 0.04]])
    even, skewed = np.full(3, 1 / 3), np.array([0.7, 0.2, 0.1])
    assert decide(EMOTION, probability, even).tolist() == [0, 0, 0]
    assert decide(EMOTION, probability, skewed).tolist() == [1, 2, 0]
    assert decide(EMOTION, probability, np.array([0.7, 0.3, 0.0])).tolist() == [1, 0, 0]  # never seen, never given
    assert decide(BINARY, np.array([[0.8, 0.2], [0.9, 0.1]]), np.array([0.85, 0.15])).tolist() == [1, 0]
    assert decide(TWO, np.array([[0.5, 0.6]]), np.array([0.5, 0.5])).tolist() == [[0, 1]]


def test_log_odds_that_hardly_vary_are_one_number() -> None:
    scale = Scale(np.array([-1.0, -1.0]), np.array([1e-9, 1.5e-9]))
    odds = np.array([[-1 + 2e-9, -1 + 3e-9]])
    assert scale.scores(1 / (1 + np.exp(-odds))) == pytest.approx(np.array([[0.0, 2.0]]), abs=1e-5)
    bars = bars_of(TWO, np.array([0.3, 0.3]), scale, np.zeros(2))
    assert bars == pytest.approx([0.5, 1 / (1 + np.e)])


def test_a_clip_that_can_only_be_what_training_lacks_keeps_its_probabilities() -> None:
    probability = np.array([[0.0, 0.0, 1.0], [0.05, 0.15, 0.8], [0.5, 0.3, 0.2]])
    found = balanced(EMOTION, probability, np.array([0.5, 0.5, 0.0]))
    assert found == pytest.approx(np.array([[0.0, 0.0, 1.0], [0.25, 0.75, 0.0], [0.625, 0.375, 0.0]]))


def test_balanced_probabilities_are_bayes_rule_with_even_priors() -> None:
    found = balanced(BINARY, np.array([[0.8, 0.2]]), np.array([0.9, 0.1]))
    assert found == pytest.approx(np.array([[0.8 / 0.9, 0.2 / 0.1]]) / (0.8 / 0.9 + 0.2 / 0.1))
    labels = balanced(TWO, np.array([[0.2, 0.4]]), np.array([0.1, 1.0]))
    assert labels == pytest.approx(np.array([[0.25 / (0.25 + 1 / 9), 0.4]]))  # odds of 1 to 4, of 1 to 9 by prevalence
    assert balanced(TWO, np.array([[0.2, 0.4]]), np.array([0.0, 1.0])).tolist() == [[0.2, 0.4]]


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([BINARY, EMOTION]))
def test_the_loss_is_scikit_learns_with_every_class_weighing_the_same(seed: int, task: Task) -> None:
    random = np.random.default_rng(seed)
    labels = len(task.labels)
    truth = np.concatenate([np.arange(labels), random.integers(0, labels, 20)])
    probability = random.dirichlet(np.full(labels, 3.0), len(truth)).clip(0.05)
    probability /= probability.sum(axis=1, keepdims=True)
    even = np.full(labels, 1 / labels)
    weights: npt.NDArray[np.float64] = 1 / np.bincount(truth)[truth]
    expected = log_loss(truth, probability, sample_weight=weights)
    assert balanced_log_loss(task, truth, probability, even) == pytest.approx(expected)


def test_the_loss_of_labels_weighs_both_sides_alike_and_no_clip_decides_alone() -> None:
    truth, even = np.array([[1, 0], [0, 0], [0, 0], [0, 0], [1, 0]]), np.array([0.5, 0.5])
    probability = np.array([[0.8, 0.3], [0.4, 0.3], [0.1, 0.3], [0.3, 0.3], [0.5, 0.3]])
    expected = (-np.log(0.8 * 0.5) / 2 - np.log(0.6 * 0.9 * 0.7) / 3) / 2  # the other label never occurs
    assert balanced_log_loss(TWO, truth, probability, even) == pytest.approx(expected)
    assert np.isnan(balanced_log_loss(TWO, np.zeros((5, 2), dtype=np.int64), probability, even))
    assert balanced_log_loss(TWO, truth | [[0, 1]], probability, even) == pytest.approx(expected)  # nor ever lacks
    both = truth | [[0, 0], [0, 1], [0, 0], [0, 0], [0, 1]]  # the mean over two labels
    other = (-np.log(0.3) - np.log(0.7)) / 2
    assert balanced_log_loss(TWO, both, probability, even) == pytest.approx((expected + other) / 2)
    sure = balanced_log_loss(BINARY, np.array([0, 1]), np.array([[1.0, 0.0], [1.0, 0.0]]), even)
    assert sure == pytest.approx(-np.log(1e-3) / 2)


def test_a_class_that_does_not_occur_has_no_part_in_the_loss() -> None:
    probability, third = np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.2, 0.6, 0.2]]), np.full(3, 1 / 3)
    expected = (-np.log(0.7 * 0.5) / 2 - np.log(0.6)) / 2
    assert balanced_log_loss(EMOTION, np.array([0, 0, 1]), probability, third) == pytest.approx(expected)
