"""From probabilities to decisions: thresholds from the development set, and the score that a search maximises."""

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


def carried_over(thresholds: FloatArray, before: FloatArray, after: FloatArray) -> FloatArray:
    """The thresholds of one fit, for another of the same setting on more clips, (n_labels,).

    before, after: each fit's probabilities (n, n_labels) of the clips it was fitted on. A threshold keeps its place
    among its fit's log-odds, so many standard deviations from their mean: a strongly penalised fit says nearly the same
    of every clip, and a little more clips move all of it past a fixed threshold.
    """
    first, second = _log_odds(before), _log_odds(after)
    spread = first.std(axis=0)
    place = np.divide(_log_odds(thresholds) - first.mean(axis=0), spread, out=np.zeros_like(spread), where=spread > 0)
    moved = 1 / (1 + np.exp(-(second.mean(axis=0) + place * second.std(axis=0))))
    return np.where(spread > 0, moved, thresholds)


def _log_odds(probability: FloatArray) -> FloatArray:
    inside = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.asarray(np.log(inside / (1 - inside)))


def decide(task: Task, probability: FloatArray, thresholds: FloatArray) -> IntArray:
    """(n,) the most probable label's index, or (n, n_labels) of 0 and 1 for a multilabel task."""
    if task.multilabel:
        return (probability > thresholds).astype(np.int64)
    most_probable: IntArray = probability.argmax(axis=1)
    return most_probable
