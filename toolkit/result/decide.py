"""From probabilities to decisions: the most probable label, or one threshold per label from the development set."""

import numpy as np
import numpy.typing as npt

from toolkit.labels import IntArray, Task

FloatArray = npt.NDArray[np.float64]
DEFAULT_THRESHOLD = 0.5


def thresholds_of(task: Task, truth: IntArray, probability: FloatArray) -> FloatArray:
    """(n_labels,) for a multilabel task: per label, the threshold with the highest F1 on the development set.

    It lies half-way between two neighbouring probabilities; of equals, the one nearest to 0.5. A label without a
    positive in the development set, or with one probability for every clip, keeps 0.5. Empty for tasks whose decision
    is the most probable label.
    """
    if not task.multilabel:
        return np.empty(0)
    return np.array([_best_threshold(truth[:, label], probability[:, label]) for label in range(len(task.labels))])


def _best_threshold(truth: IntArray, probability: FloatArray) -> float:
    if not truth.any() or probability.min() == probability.max():
        return DEFAULT_THRESHOLD
    order = np.argsort(-probability, kind="stable")
    ranked = probability[order]
    true_positives = np.cumsum(truth[order])
    cuts = np.append(np.flatnonzero(ranked[:-1] > ranked[1:]), len(ranked) - 1)  # the last clip above the threshold
    below = np.append(ranked[1:], 0.0)
    candidates = (ranked[cuts] + below[cuts]) / 2
    f1 = 2 * true_positives[cuts] / (cuts + 1 + truth.sum())
    equals = candidates[f1 >= f1.max()]
    return float(equals[np.argmin(np.abs(equals - DEFAULT_THRESHOLD))])


def decide(task: Task, probability: FloatArray, thresholds: FloatArray) -> IntArray:
    """(n,) the most probable label's index, or (n, n_labels) of 0 and 1 for a multilabel task."""
    if task.multilabel:
        return (probability > thresholds).astype(np.int64)
    most_probable: IntArray = probability.argmax(axis=1)
    return most_probable
