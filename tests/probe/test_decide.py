"""Thresholds and decisions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from toolkit.labels import Task
from toolkit.probe.decide import decide, thresholds_of

ONE = Task("one", "multilabel", ("a",), ("a",))
EMOTION = Task("emotion", "multiclass", ("a", "b", "c"), ("emotion",))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=2, max_size=30))
def test_no_threshold_has_a_better_f1(clips: list[tuple[bool, int]]) -> None:
    truth = np.array([[int(positive)] for positive, _ in clips])
    probability = np.array([[(number + 1) / 14] for _, number in clips])
    threshold = thresholds_of(ONE, truth, probability)
    if not truth.any() or probability.min() == probability.max():
        assert threshold.tolist() == [0.5]
        return
    reached = f1_score(truth, decide(ONE, probability, threshold), zero_division=0)
    grid = [f1_score(truth, (probability > cut).astype(int), zero_division=0) for cut in np.linspace(0, 1, 29)]
    assert reached >= max(grid) - 1e-12


def test_single_labels_take_the_most_probable_and_no_threshold() -> None:
    probability = np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]])
    assert thresholds_of(EMOTION, np.array([0, 1]), probability).size == 0
    assert decide(EMOTION, probability, np.empty(0)).tolist() == [1, 0]
