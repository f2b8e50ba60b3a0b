"""Targets, class weights and the scaler."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from toolkit.core.errors import ToolkitError
from toolkit.corpus.labels import Task, constant_labels
from toolkit.probe.targets import ALL, scaler_of, targets_of

EMOTIONS = Task("emotion", "multiclass", ("anger", "fear", "joy"), ("emotion",))
YES = Task("yes", "binary", ("not yes", "yes"), ("yes",))
LABELS = Task("many", "multilabel", ("a", "b", "c"), ("a", "b", "c"))
NUMBERS = Task("v+a", "regression", ("valence", "still", "arousal"), ("valence", "still", "arousal"))
LEVELS = Task("level", "ordinal", ("none", "low", "mid", "high", "top"), ("level",))


@pytest.mark.parametrize("truth", [[0, 0, 0, 1, 2], [0, 1, 1, 1, 1], [2, 0, 2, 0, 2]])
def test_balanced_weights_are_scikit_learns(truth: list[int]) -> None:
    weights = targets_of(EMOTIONS, np.array(truth)).weights("balanced")
    np.testing.assert_allclose(weights[:, 0], compute_sample_weight("balanced", truth))


def test_balanced_weights_of_each_label_of_many() -> None:
    truth = np.array([[1, 0, 1], [0, 0, 1], [0, 1, 1], [0, 1, 0]])
    weights = targets_of(LABELS, truth).weights("balanced")
    for label in range(3):
        np.testing.assert_allclose(weights[:, label], compute_sample_weight("balanced", truth[:, label]))


def test_what_is_one_for_all_labels_is_no_label() -> None:
    many = targets_of(LABELS, np.array([[1, 0, 1], [0, 1, 0]]))
    assert many.problems == [0, 1, 2] and ALL not in many.problems
    assert targets_of(EMOTIONS, np.array([0, 1, 2])).problems == [ALL]


def test_other_clips_get_the_training_parts_weights() -> None:
    targets = targets_of(EMOTIONS, np.array([0, 0, 0, 1]))
    columns = targets.columns_of(EMOTIONS, np.array([1, 0, 2]))
    np.testing.assert_allclose(targets.weights("balanced", columns)[:, 0], [2.0, 2 / 3, 0.0])


def test_a_class_that_training_lacks_gets_probability_0() -> None:
    targets = targets_of(EMOTIONS, np.array([0, 0, 2, 2]))
    assert targets.fitted.tolist() == [0, 2]
    np.testing.assert_allclose(targets.probability(np.array([[0.3, 0.7]]), EMOTIONS, "none"), [[0.3, 0.0, 0.7]])
    assert constant_labels(EMOTIONS, np.array([0, 0, 2, 2])) == ["fear"]


def test_a_label_that_does_not_vary_is_predicted_at_its_prevalence() -> None:
    targets = targets_of(LABELS, np.array([[1, 0, 1], [1, 0, 0]]))
    assert targets.fitted.tolist() == [2]
    np.testing.assert_allclose(targets.probability(np.array([[0.4]]), LABELS, "none"), [[1.0, 0.0, 0.4]])


def test_binary_probabilities_add_up() -> None:
    probability = targets_of(YES, np.array([0, 1, 1])).probability(np.array([[0.2]]), YES, "none")
    np.testing.assert_allclose(probability, [[0.8, 0.2]])


def test_the_scaler_centres_a_constant_feature_and_leaves_it_finite() -> None:
    features = np.array([[1000.1, 1.0], [1000.1, 3.0]], dtype=np.float32)
    np.testing.assert_allclose(scaler_of(features)(features), [[0, -1], [0, 1]], atol=1e-6)


def test_a_column_too_few_is_refused_and_never_spread_over_two_labels() -> None:
    targets = targets_of(LABELS, np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]]))
    with pytest.raises(ToolkitError, match=r"shape \(2, 1\), 3 labels were fitted"):
        targets.probability(np.array([[0.4], [0.5]]), LABELS, "none")


def test_balanced_weights_are_undone_by_bayes_rule() -> None:
    """Of a label in a fifth of the clips, even odds under weights are odds of 1 to 4."""
    many = targets_of(LABELS, np.array([[1, 0, 1], [0, 0, 1], [0, 1, 1], [0, 1, 0], [0, 1, 0]]))
    weighted = np.array([[0.5, 0.5, 0.5], [0.8, 0.2, 0.0], [1.0, 1.0, 1.0]])
    np.testing.assert_allclose(many.natural(weighted, "balanced"), [[0.2, 0.6, 0.6], [0.5, 3 / 11, 0.0], [1, 1, 1]])
    np.testing.assert_array_equal(many.natural(weighted, "none"), weighted)
    one = targets_of(EMOTIONS, np.array([0, 0, 0, 1, 2, 2]))
    natural = one.probability(np.array([[1 / 3, 1 / 3, 1 / 3], [0.2, 0.8, 0.0]]), EMOTIONS, "balanced")
    np.testing.assert_allclose(natural, [[3 / 6, 1 / 6, 2 / 6], [3 / 7, 4 / 7, 0.0]])


def test_weights_undone_are_what_a_fit_without_weights_says() -> None:
    """Two features' values, no penalty to speak of: the weighted shares of each value, turned back, are its shares."""
    truth = np.repeat([0, 1, 2], [60, 30, 10])
    shares = np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]])
    targets = targets_of(EMOTIONS, truth)
    weighted = shares / targets.prevalence
    weighted /= weighted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(targets.natural(weighted, "balanced"), shares)


STEP = 2.0**-23  # float32's next number after 1


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ((1, 1 + 2 * STEP), 1.0),  # a deviation of one step: rounding of a constant
        ((1, 1 + 3 * STEP), 1.5 * STEP),
        ((1000, 1000 + 2**-13), 1.0),  # the same of a larger one: 0.5 x 2^-13 is below 1000 steps
        ((1000, 1000 + 2**-11), 2.0**-12),
        ((0, 0), 1.0),
        ((-1e-15, 1e-15), 1e-15),  # around 0 nothing is rounding
    ],
)
def test_a_feature_is_constant_where_it_varies_by_no_more_than_its_mean_is_rounded(
    values: tuple[float, float], scale: float
) -> None:
    found = scaler_of(np.array(values, dtype=np.float32)[:, None])
    np.testing.assert_allclose(found.scale, [scale], rtol=1e-6)


def test_numbers_are_learnt_as_deviations_from_their_training_mean() -> None:
    truth = np.array([[1.0, 2.0, 10.0], [3.0, 2.0, np.nan], [5.0, 2.0, 20.0], [3.0, np.nan, 30.0]])
    targets = targets_of(NUMBERS, truth)
    assert targets.fitted.tolist() == targets.problems == [0, 2] and targets.n_problems == 2
    assert targets.prevalence.tolist() == [3.0, 2.0, 20.0] and targets.spread[1] == 0.0
    one, other = 2**0.5, (200 / 3) ** 0.5
    expected = [[-2 / one, -10 / other], [0, np.nan], [2 / one, 0], [0, 10 / other]]
    np.testing.assert_allclose(targets.columns, expected)
    np.testing.assert_allclose(targets.columns_of(NUMBERS, np.array([[4.0, 9.0, 10.0]])), [[1 / one, -10 / other]])
    given = targets.probability(np.array([[1.0, -1.0], [0.0, 0.5]]), NUMBERS, "none")
    np.testing.assert_allclose(given, [[3 + one, 2, 20 - other], [3, 2, 20 + other / 2]])


def test_a_numbers_unit_does_not_matter() -> None:
    truth = np.array([[1.0, 2.0, 10.0], [3.0, 2.0, np.nan], [5.0, 2.0, 20.0]])
    large, small = (targets_of(NUMBERS, truth * unit) for unit in (1.0, 0.01))
    np.testing.assert_allclose(small.columns, large.columns)


def test_a_clip_without_a_number_weighs_nothing_and_the_others_make_up_for_it() -> None:
    truth = np.array([[1.0, 2.0, 10.0], [3.0, 2.0, np.nan], [5.0, 2.0, np.nan], [3.0, 2.0, 30.0]])
    targets = targets_of(NUMBERS, truth)
    assert targets.weights("none").tolist() == [[1, 2], [1, 0], [1, 0], [1, 2]]
    assert targets.weights("none", np.array([[0.5, np.nan]])).tolist() == [[1, 0]]


def test_levels_are_asked_whether_a_clip_is_above_each_that_training_has_but_the_last() -> None:
    targets = targets_of(LEVELS, np.array([0, 1, 2, 4, 4]))
    assert targets.softmax and targets.fitted.tolist() == [0, 1, 2, 4]
    columns = targets.columns_of(LEVELS, np.array([0, 1, 2, 3, 4]))
    assert targets.weights("none", columns)[:, 0].tolist() == [1, 1, 1, 0, 1]  # none of level 3 were learnt from
    above = replace(targets, columns=columns).above
    assert not above.softmax and above.fitted.tolist() == [0, 1, 2] and above.link == "sigmoid"
    np.testing.assert_array_equal(above.columns, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [np.nan] * 3, [1, 1, 1]])
