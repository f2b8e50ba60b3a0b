"""What a label's detector is worth for screening: recall at a precision, and false alarms an hour of calls."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toolkit.corpus.labels import IntArray, one_hot
from toolkit.result.jackknife import Score, members, score_of, units_of
from toolkit.result.predictions import Predictions

FloatArray = npt.NDArray[np.float64]
PRECISIONS = (0.5, 0.8, 0.9)


@dataclass(frozen=True)
class Operating:
    """One way to set a detector: as the run decided, or the lowest threshold with a precision.

    precision: the wanted one, None for the run's own decisions. recall: with its 95 % interval. false_alarms: clips
    that are wrongly given the label, an hour of audio; None where the hours are not known.
    """

    precision: float | None
    recall: Score
    false_alarms: float | None


def screening(predictions: Predictions, hours: float | None) -> dict[str, list[Operating]]:
    """By label: the positive one of a binary task, each of a multilabel one; nothing of classes, levels and numbers.

    hours: of audio that was tested. Clips are ranked by standardised scores where there are any. A threshold for a
    precision is chosen on these very clips, so it says what the ranking allows, not what the next calls will give.
    """
    task = predictions.task
    if task.kind not in ("binary", "multilabel") or not predictions.has_probability:
        return {}
    chosen = range(len(task.labels)) if task.multilabel else [1]
    truth, decided = (one_hot(task, values) for values in (predictions.truth, predictions.prediction))
    score = predictions.probability if predictions.score is None else predictions.score
    units, member = units_of(predictions)
    keep, (_, speaker) = [member != unit for unit in range(units)], members(predictions)
    return {
        task.labels[label]: _of_label(truth[:, label], decided[:, label], score[:, label], speaker, keep, hours)
        for label in chosen
    }


def _of_label(
    truth: IntArray,
    decided: IntArray,
    score: FloatArray,
    speaker: npt.NDArray[np.intp],
    keep: Sequence[npt.NDArray[np.bool_]],
    hours: float | None,
) -> list[Operating]:
    """speaker: (n,) the number of each clip's; keep: of each unit, the clips without it."""
    about = len(set(speaker[truth == 1].tolist()))
    alarms = int((decided & (1 - truth)).sum())
    rest = np.array([_ratio(int((decided & truth)[part].sum()), int(truth[part].sum())) for part in keep])
    recall = score_of(_ratio(int((decided & truth).sum()), int(truth.sum())), rest, about)
    found = [Operating(None, recall, None if hours is None else alarms / hours)]
    whole = at_precisions(truth, score, PRECISIONS)
    without = [at_precisions(truth[part], score[part], PRECISIONS) for part in keep]
    for number, precision in enumerate(PRECISIONS):
        value, alarms = whole[number]
        recall = score_of(value, np.array([one[number][0] for one in without]), about)
        found.append(Operating(precision, recall, None if hours is None else alarms / hours))
    return found


def _ratio(top: int, bottom: int) -> float:
    return top / bottom if bottom else np.nan


def at_precisions(truth: IntArray, score: FloatArray, precisions: Sequence[float]) -> list[tuple[float, int]]:
    """The highest recall that a threshold reaches with at least each precision, and its false alarms.

    truth: (n,) of 0 and 1; score: (n,). 0 and no alarm where no threshold is precise enough; NaN without a positive.
    Source: scikit-learn's precision_recall_curve.

    >>> at_precisions(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1]), [0.6, 0.9])
    [(1.0, 1), (0.5, 0)]
    """
    order = np.argsort(-score, kind="stable")
    ranked, hits = score[order], np.cumsum(truth[order])
    last = np.append(ranked[:-1] > ranked[1:], True)  # equal scores share a threshold
    given = np.arange(1, len(score) + 1)[last]
    hits = hits[last]
    positives = int(truth.sum())
    found = []
    for precision in precisions:
        enough = np.flatnonzero(hits / given >= precision)
        best = int(enough[hits[enough].argmax()]) if len(enough) else None
        hit, alarms = (0, 0) if best is None else (int(hits[best]), int(given[best] - hits[best]))
        found.append((_ratio(hit, positives), alarms))
    return found
