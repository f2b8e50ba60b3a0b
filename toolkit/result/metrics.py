"""What the figures mean. Every metric has one definition, here; what is undefined is missing, never 0.

Definitions agree with scikit-learn's, with every label passed and `zero_division=nan`: a label whose value is undefined
is left out of an average over labels. The functions work on `Counts` of any leading shape, so that all clips and the
clips without each speaker cost one call; they return NaN where undefined, which `measure` and the files turn into
"missing".
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from toolkit.core.i18n import ENGLISH, Language
from toolkit.core.registry import Registry
from toolkit.corpus.labels import IntArray, Kind, Task, one_hot
from toolkit.result.predictions import Predictions
from toolkit.result.rank_metrics import ratio

FloatArray = npt.NDArray[np.float64]
Average = Literal["label", "macro", "weighted", "micro"]


@dataclass(frozen=True)
class Counts:
    """How often each label was hit, missed and wrongly given.

    Attributes:
        true_positive: (..., n_labels) float64.
        false_positive: (..., n_labels) float64.
        false_negative: (..., n_labels) float64.
        correct: (...,) float64, clips predicted exactly right, in every label.
        clips: (...,) float64, all clips.
    """

    true_positive: FloatArray
    false_positive: FloatArray
    false_negative: FloatArray
    correct: FloatArray
    clips: FloatArray

    @staticmethod
    def of(columns: FloatArray) -> "Counts":
        """From sums of rows of `clip_counts`.

        Args:
            columns: (..., 3 n_labels + 2).
        """
        labels = (columns.shape[-1] - 2) // 3
        parts = [columns[..., part * labels : (part + 1) * labels] for part in range(3)]
        return Counts(parts[0], parts[1], parts[2], columns[..., -2], columns[..., -1])


def clip_counts(truth: IntArray, prediction: IntArray, labels: int) -> FloatArray:
    """What each clip adds to the counts, to be summed over clips or speakers.

    Args:
        truth: (n_clips,) label indices, or (n_clips, labels) of 0 and 1.
        prediction: Of the same shape.
        labels: How many there are, whether they occur or not.

    Returns:
        (n_clips, 3 labels + 2) float64, the columns those of `Counts`.
    """
    if truth.ndim == 1:
        identity = np.eye(labels, dtype=np.int64)
        truth, prediction = identity[truth], identity[prediction]
    correct = (truth == prediction).all(axis=1, keepdims=True)
    parts = [truth & prediction, (1 - truth) & prediction, truth & (1 - prediction), correct, np.ones_like(correct)]
    return np.concatenate(parts, axis=1).astype(np.float64)


def count(truth: npt.ArrayLike, prediction: npt.ArrayLike, labels: int) -> Counts:
    """Counts over all clips.

    Args:
        truth: (n_clips,) label indices, or (n_clips, labels) of 0 and 1.
        prediction: Of the same shape.
        labels: How many there are, whether they occur or not.

    >>> count([0, 0, 1], [0, 1, 1], labels=2).true_positive
    array([1., 1.])
    """
    rows = clip_counts(np.asarray(truth, dtype=np.int64), np.asarray(prediction, dtype=np.int64), labels)
    return Counts.of(rows.sum(axis=0))


def _averaged(counts: Counts, average: Average, top: FloatArray, bottom: FloatArray) -> FloatArray:
    if average == "micro":
        return ratio(top.sum(axis=-1), bottom.sum(axis=-1))
    values = ratio(top, bottom)
    if average == "label":
        return values
    support = counts.true_positive + counts.false_negative
    weights = np.where(np.isnan(values), 0.0, support if average == "weighted" else 1.0)
    return ratio((np.nan_to_num(values) * weights).sum(axis=-1), weights.sum(axis=-1))


def precision(counts: Counts, average: Average = "label") -> FloatArray:
    """TP / (TP + FP), 0 to 1; undefined for a label that is never predicted.

    Source: scikit-learn, precision_score(labels=all, zero_division=nan).

    Args:
        counts: Of any leading shape (...).
        average: "label" gives one value a label; "macro" their mean; "weighted" weights them by how often each occurs;
            "micro" is of the summed counts.

    Returns:
        (..., n_labels) for "label", else (...,); NaN where undefined.

    >>> precision(count([0, 0, 1], [0, 1, 1], labels=2))
    array([1. , 0.5])
    """
    return _averaged(counts, average, counts.true_positive, counts.true_positive + counts.false_positive)


def recall(counts: Counts, average: Average = "label") -> FloatArray:
    """TP / (TP + FN), 0 to 1; undefined for a label that never occurs.

    Source: scikit-learn, recall_score(labels=all, zero_division=nan).

    Args:
        counts: Of any leading shape (...).
        average: As in `precision`.

    Returns:
        (..., n_labels) for "label", else (...,); NaN where undefined.

    >>> recall(count([0, 0, 1], [0, 1, 1], labels=2))
    array([0.5, 1. ])
    """
    return _averaged(counts, average, counts.true_positive, counts.true_positive + counts.false_negative)


def f1(counts: Counts, average: Average = "label") -> FloatArray:
    """2 TP / (2 TP + FP + FN), 0 to 1; undefined for a label that neither occurs nor is predicted.

    Source: scikit-learn, f1_score(labels=all, zero_division=nan).

    Args:
        counts: Of any leading shape (...).
        average: As in `precision`; macro F1 is the mean of the labels' F1, over the labels that have one.

    Returns:
        (..., n_labels) for "label", else (...,); NaN where undefined.

    >>> f1(count([0, 0, 1, 1], [0, 1, 1, 1], labels=2)).round(3)
    array([0.667, 0.8  ])
    """
    top = 2 * counts.true_positive
    return _averaged(counts, average, top, top + counts.false_positive + counts.false_negative)


def f1_both_sides(counts: Counts) -> FloatArray:
    """Of each label the F1 of having it and that of lacking it, weighted by their clips; the mean over labels, 0 to 1.

    For multilabel, and what the hotline paper reports. Clips without a rare label lift it: giving no label at all to
    clips that have it once in ten scores 0.85.
    Source: the mean over labels k of scikit-learn's f1_score(truth[:, k], prediction[:, k], average="weighted").

    >>> round(float(f1_both_sides(count([[1], [0], [0], [0]], [[0], [0], [0], [0]], labels=1))), 3)
    0.643
    """
    hit, wrong = counts.true_positive, counts.false_positive + counts.false_negative
    clips = counts.clips[..., None]
    having, rejected = hit + counts.false_negative, clips - hit - wrong
    each = np.zeros_like(hit)
    for right, own in ((hit, having), (rejected, clips - having)):
        each += np.nan_to_num(ratio(2 * right, 2 * right + wrong)) * own
    return ratio(each.mean(axis=-1), counts.clips)


def unweighted_average_recall(counts: Counts) -> FloatArray:
    """UAR: the mean recall over the labels that occur in the truth, 0 to 1; chance is 1 / their number.

    Every label counts the same however rare; a label that never occurs has no recall and does not count, though it may
    be predicted. Source: Schuller et al., INTERSPEECH 2009 Emotion Challenge; scikit-learn's balanced_accuracy_score.

    >>> unweighted_average_recall(count([0, 0, 1], [0, 1, 1], labels=3))
    array(0.75)
    """
    return recall(counts, "macro")


def accuracy(counts: Counts) -> FloatArray:
    """Clips predicted right / all clips, 0 to 1. For multilabel every label must be right: the exact match.

    >>> accuracy(count([0, 0, 1, 1], [0, 1, 1, 1], labels=2))
    array(0.75)
    """
    return ratio(counts.correct, counts.clips)


def hamming_loss(counts: Counts) -> FloatArray:
    """Wrong 0s and 1s / all of them (multilabel), 0 to 1, lower is better. Source: scikit-learn, hamming_loss.

    >>> hamming_loss(count([[0, 1], [1, 1]], [[0, 1], [1, 0]], labels=2))
    array(0.25)
    """
    wrong = (counts.false_positive + counts.false_negative).sum(axis=-1)
    return ratio(wrong, counts.clips * counts.true_positive.shape[-1])


@dataclass(frozen=True)
class Metric:
    """A row of METRICS.

    Attributes:
        kinds: Of task that it is reported for.
        function: Of `Counts` of any leading shape (...), to values (...,) of 0 to 1, NaN where undefined.
        title: In figures and tables, of a metric that an installed package adds; ours are in the languages' words.
    """

    kinds: tuple[Kind, ...]
    function: Callable[[Counts], FloatArray]
    title: str = ""


SINGLE: tuple[Kind, ...] = ("binary", "multiclass")
MULTI: tuple[Kind, ...] = ("multilabel",)
METRICS = Registry(
    "metric",
    "metrics",
    Metric,
    {
        "unweighted_average_recall": Metric(SINGLE, unweighted_average_recall),
        "accuracy": Metric(SINGLE, accuracy),
        "f1_macro": Metric(SINGLE + MULTI, lambda counts: f1(counts, "macro")),
        "f1_weighted": Metric(SINGLE + MULTI, lambda counts: f1(counts, "weighted")),
        "f1_micro": Metric(SINGLE + MULTI, lambda counts: f1(counts, "micro")),
        "f1_both_sides": Metric(MULTI, f1_both_sides),
        "precision_macro": Metric(SINGLE + MULTI, lambda counts: precision(counts, "macro")),
        "precision_weighted": Metric(SINGLE + MULTI, lambda counts: precision(counts, "weighted")),
        "precision_micro": Metric(SINGLE + MULTI, lambda counts: precision(counts, "micro")),
        "recall_macro": Metric(SINGLE + MULTI, lambda counts: recall(counts, "macro")),
        "recall_weighted": Metric(SINGLE + MULTI, lambda counts: recall(counts, "weighted")),
        "recall_micro": Metric(SINGLE + MULTI, lambda counts: recall(counts, "micro")),
        "exact_match": Metric(MULTI, accuracy),
        "hamming_loss": Metric(MULTI, hamming_loss),
    },
)
PER_LABEL: dict[str, Callable[[Counts], FloatArray]] = {"precision": precision, "recall": recall, "f1": f1}


def title(metric: str, say: Language = ENGLISH) -> str:
    """The metric's name for readers: "UAR", "F1, macro", ...; with its package, where that is not the toolkit."""
    plugin = METRICS.plugin(metric)
    if plugin is not None:
        return f"{METRICS[metric].title or metric} ({plugin.distribution} {plugin.version})"
    return say(f"metric.{metric}")


def headline(task: Task) -> str:
    """The metric that a layer is chosen by: UAR, or the macro F1 for multilabel."""
    return "f1_macro" if task.multilabel else "unweighted_average_recall"


def headline_score(task: Task, truth: IntArray, prediction: IntArray) -> float | None:
    """The headline metric, e.g. of a development set.

    Args:
        task: Says which metric, and how many labels.
        truth: As in `clip_counts`.
        prediction: As in `clip_counts`.

    Returns:
        0 to 1; None where undefined.
    """
    return missing(METRICS[headline(task)].function(count(truth, prediction, len(task.labels))))


def missing(value: FloatArray | float) -> float | None:
    """A plain float, or None for NaN."""
    return None if np.isnan(value) else float(value)


def guess(predictions: Predictions) -> Predictions:
    """The same clips by a guesser who hears nothing: what every chance level is the score of.

    It gives every clip the label that occurs most often, the first of equals; of a multilabel task every label that
    occurs, to every clip, the best that guessing reaches in macro F1: 2 p / (1 + p) for a label of prevalence p. Its
    scores are one and the same for all clips, its probabilities the labels' shares.
    """
    task, share = predictions.task, one_hot(predictions.task, predictions.truth).mean(axis=0)
    given = (share > 0).astype(np.int64) if task.multilabel else np.int64(share.argmax())
    return replace(
        predictions,
        prediction=np.broadcast_to(given, predictions.truth.shape).copy(),
        probability=np.tile(share, (len(predictions.ids), 1)),
        score=None,
    )


def chance(predictions: Predictions, say: Language = ENGLISH) -> tuple[float, str]:
    """What the guesser of `guess` scores in the headline metric on these very clips, and how to say so.

    UAR: 1 / the labels that occur, as any other guess does.

    Args:
        predictions: Whose clips are guessed.
        say: Language of the sentence.

    Returns:
        The score, 0 to 1, and how the guess is made, in words.
    """
    guessed = guess(predictions)
    score = headline_score(guessed.task, guessed.truth, guessed.prediction)
    if predictions.task.multilabel:
        return score or 0.0, say("chance.every_label")
    occurring = int(one_hot(predictions.task, predictions.truth).any(axis=0).sum())
    return score or 0.0, say("chance.labels", number=occurring)
