"""Thresholds and decisions."""

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.labels import Task
from toolkit.result.decide import carried_over, decide, thresholds_of

ONE = Task("one", "multilabel", ("a",), ("a",))
EMOTION = Task("emotion", "multiclass", ("a", "b", "c"), ("emotion",))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=2, max_size=30))
def test_no_threshold_has_a_better_f1(clips: list[tuple[bool, int]]) -> None:
    truth = np.array([[int(positive)] for positive, _ in clips])
    probability = np.array([[(number + 1) / 14] for _, number in clips])
    threshold = thresholds_of(ONE, truth, probability)
    if not truth.any() or probability.min() == probability.max():
        assert threshold.tolist() == [0.5]
        return

    def f1(prediction: npt.NDArray[np.int64]) -> float:
        return float(2 * (truth * prediction).sum() / (truth.sum() + prediction.sum()))

    reached = f1(decide(ONE, probability, threshold))
    assert reached >= max(f1((probability > cut).astype(int)) for cut in np.linspace(0, 1, 29)) - 1e-12


def test_single_labels_take_the_most_probable_and_no_threshold() -> None:
    probability = np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]])
    assert thresholds_of(EMOTION, np.array([0, 1]), probability).size == 0
    assert decide(EMOTION, probability, np.empty(0)).tolist() == [1, 0]


def test_a_threshold_keeps_its_place_when_a_refit_shifts_and_stretches_the_log_odds() -> None:
    generator = np.random.default_rng(0)
    log_odds = generator.standard_normal((200, 1))
    before, after = 1 / (1 + np.exp(-(0.001 * log_odds - 1))), 1 / (1 + np.exp(-(0.002 * log_odds - 1.3)))
    threshold = np.sort(before, axis=0)[150]
    moved = carried_over(threshold, before, after)
    assert ((before > threshold) == (after > moved)).mean() > 0.99
    assert carried_over(np.array([0.5]), np.zeros((9, 1)), after).tolist() == [0.5]
