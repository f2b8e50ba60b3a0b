"""Recall at a precision and false alarms an hour, against scikit-learn and by hand."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from toolkit.corpus.labels import Task
from toolkit.result.jackknife import Score
from toolkit.result.predictions import Predictions
from toolkit.result.screening import at_precisions, screening


@given(st.integers(0, 10_000), st.integers(2, 40), st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_recall_at_a_precision_is_scikit_learns(seed: int, clips: int, wanted: float) -> None:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, clips)
    truth[0] = 1
    score = random.integers(0, 6, clips) / 6
    precision, recall, thresholds = sklearn.metrics.precision_recall_curve(truth, score)
    enough = precision[:-1] >= wanted  # the last point is no threshold
    ((found, alarms),) = at_precisions(truth, score, [wanted])
    assert found == pytest.approx(max(recall[:-1][enough], default=0.0))
    if found:
        allowed = {int(((score >= t) & (truth == 0)).sum()) for t, r in zip(thresholds[enough], recall[:-1][enough])
                   if r == found}  # fmt: skip
        assert alarms == min(allowed)


def test_where_no_threshold_is_precise_enough_nothing_is_found_and_nothing_alarms() -> None:
    assert at_precisions(np.array([0, 1, 0]), np.array([0.9, 0.5, 0.1]), [0.8, 0.5]) == [(0.0, 0), (1.0, 1)]


def test_a_detector_by_hand(predictions_of: Callable[..., Predictions], tasks: dict[str, Task]) -> None:
    """Six speakers of ten clips in half an hour: of 30 positives 27 are found, with 3 false alarms."""
    truth = np.tile([1, 0], 30)
    decided = truth.copy()
    decided[[0, 10, 20]] = 0
    decided[[31, 41, 51]] = 1
    positive = np.where(truth == 1, 0.6, 0.4)
    given = replace(
        predictions_of(tasks["binary"], clips=60), groups=tuple(f"s{k // 10}" for k in range(60)), truth=truth,
        prediction=decided, probability=np.stack([1 - positive, positive], axis=1),
    )  # fmt: skip
    (own, *at) = screening(given, 0.5)["negative"]
    assert own.precision is None and own.recall.estimate == 0.9 and own.false_alarms == 6.0
    assert own.recall.lower is not None and own.recall.lower < 0.9 < own.recall.upper  # type: ignore[operator]
    assert [one.precision for one in at] == [0.5, 0.8, 0.9]
    assert at[1].recall == Score(1.0, pytest.approx(0.025 ** (1 / 6)), 1.0) and at[1].false_alarms == 0.0  # type: ignore[arg-type]
    assert screening(given, None)["negative"][0].false_alarms is None


def test_labels_are_ranked_by_scores_and_classes_are_not_detected(
    predictions_of: Callable[..., Predictions], tasks: dict[str, Task]
) -> None:
    given = predictions_of(tasks["multilabel"])
    assert list(screening(given, 1.0)) == list(given.task.labels)
    turned = replace(given, score=-given.probability)
    assert screening(given, 1.0)["despair"][2].recall.estimate > screening(turned, 1.0)["despair"][2].recall.estimate  # type: ignore[operator]
    assert screening(predictions_of(tasks["multiclass"]), 1.0) == {}
    assert screening(replace(given, probability=np.full_like(given.probability, np.nan)), 1.0) == {}
