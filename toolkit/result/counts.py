"""How often each label was hit, missed and wrongly given: sums over clips that the metrics of labels are made of."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from toolkit.corpus.labels import IntArray

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """How often each label was hit, missed and wrongly given.

    Attributes:
        true_positive: (..., n_labels) float64.
        false_positive: (..., n_labels) float64.
        false_negative: (..., n_labels) float64.
        correct: (...,) float64, clips predicted exactly right, in every label.
        clips: (...,) float64, all clips.
        table: (..., n_labels, n_labels) float64, clips by truth and prediction; of an ordinal task alone.
    """

    true_positive: FloatArray
    false_positive: FloatArray
    false_negative: FloatArray
    correct: FloatArray
    clips: FloatArray
    table: FloatArray = field(default_factory=lambda: np.empty((0, 0)))

    @staticmethod
    def of(columns: FloatArray) -> "Counts":
        """From sums of rows of `clip_counts`.

        Args:
            columns: (..., 3 n_labels + 2).
        """
        labels = (columns.shape[-1] - 2) // 3
        parts = [columns[..., part * labels : (part + 1) * labels] for part in range(3)]
        return Counts(parts[0], parts[1], parts[2], columns[..., -2], columns[..., -1])

    @staticmethod
    def of_table(columns: FloatArray, labels: int) -> "Counts":
        """From sums of rows of `clip_table`, (..., labels * labels)."""
        table = columns.reshape(*columns.shape[:-1], labels, labels)
        hit = np.diagonal(table, axis1=-2, axis2=-1)
        return Counts(
            hit, table.sum(axis=-2) - hit, table.sum(axis=-1) - hit, hit.sum(axis=-1), table.sum(axis=(-1, -2)), table
        )


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


def clip_table(truth: IntArray, prediction: IntArray, labels: int) -> FloatArray:
    """What each clip adds to `Counts.table`, (n_clips, labels * labels). truth, prediction: (n_clips,) indices."""
    rows = np.zeros((len(truth), labels * labels))
    rows[np.arange(len(truth)), truth * labels + prediction] = 1
    return rows


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
