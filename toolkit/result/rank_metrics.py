"""ROC-AUC, average precision and Spearman's correlation: what needs the clips' order, not sums over clips alone."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """NaN for 0 / 0, without a warning."""
    undefined = np.full(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)), np.nan)
    np.divide(numerator, denominator, out=undefined, where=np.asarray(denominator) > 0)
    return undefined


def ranked(
    truth: npt.ArrayLike, score: npt.ArrayLike, weights: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """ROC-AUC and average precision from one walk through the clips, from the highest score down.

    truth: (n_clips,) of 0 and 1; score: (n_clips,); weights: (..., n_clips), how often each clip was drawn; once
    each when left out.
    Both are sums over the positive clips alone, so nothing else is gathered. Returns two arrays of shape (...,).
    """
    descending = -np.asarray(score, dtype=np.float64)
    order = np.argsort(descending, kind="stable")
    positive = np.asarray(truth, dtype=np.int64)[order] == 1
    level, positive_level = descending[order], descending[order][positive]
    drawn = np.ones(len(order)) if weights is None else weights[..., order]
    hit = drawn[..., positive]
    clips, hits = _running_sum(drawn), _running_sum(hit)
    # Up to and with each positive clip's threshold, and up to the one before: equal scores share a threshold.
    clips_with, hits_with = (
        sums[..., np.searchsorted(levels, positive_level, "right")]
        for sums, levels in ((clips, level), (hits, positive_level))
    )
    clips_before, hits_before = (
        sums[..., np.searchsorted(levels, positive_level, "left")]
        for sums, levels in ((clips, level), (hits, positive_level))
    )
    positives, negatives = hits[..., -1], clips[..., -1] - hits[..., -1]
    below = negatives[..., None] - (clips_with - hits_with + clips_before - hits_before) / 2
    auc = ratio((hit * below).sum(axis=-1), positives * negatives)
    reached = np.nan_to_num(ratio(hits_with, clips_with))  # 0 / 0 only where the clip was not drawn
    return auc, ratio((hit * reached).sum(axis=-1), positives)


def _running_sum(values: FloatArray) -> FloatArray:
    """(..., n) -> (..., n + 1), from 0."""
    return np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)


def roc_auc(truth: npt.ArrayLike, score: npt.ArrayLike) -> FloatArray:
    """The probability that a positive clip has a higher score than a negative one (ties count half), 0 .. 1.

    truth: (n_clips,) of 0 and 1; score: (n_clips,). Chance is 0.5. Undefined without a positive or without a negative.
    Source: scikit-learn, roc_auc_score.

    >>> roc_auc([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8])
    array(0.875)
    """
    return ranked(truth, score)[0]


def average_precision(truth: npt.ArrayLike, score: npt.ArrayLike) -> FloatArray:
    """The sum over thresholds of precision times the gain in recall, 0 .. 1; chance is the label's prevalence.

    Arguments as in `roc_auc`. Undefined without a positive. Source: scikit-learn, average_precision_score.

    >>> average_precision([0, 1, 0, 1], [0.1, 0.4, 0.3, 0.8])
    array(1.)
    """
    return ranked(truth, score)[1]


def spearman(truth: npt.ArrayLike, prediction: npt.ArrayLike, weights: FloatArray | None = None) -> FloatArray:
    """Spearman's rank correlation of each target, -1 to 1: Pearson's of the ranks, equal numbers sharing their mean.

    truth, prediction: (n_clips, n_targets), NaN in truth for a clip without the target; weights: (..., n_clips), how
    often each clip counts; once each when left out. Returns (..., n_targets), NaN where either does not vary.
    Source: Spearman, American Journal of Psychology, 1904; scipy.stats.spearmanr.

    >>> spearman([[1.0], [2.0], [3.0]], [[1.0], [5.0], [4.0]])
    array([0.5])
    """
    columns = []
    for true, given in zip(np.asarray(truth, np.float64).T, np.asarray(prediction, np.float64).T, strict=True):
        known = ~np.isnan(true)
        drawn = np.ones(int(known.sum())) if weights is None else weights[..., known]
        first, second = (_centred_ranks(values[known], drawn) for values in (true, given))
        joint, *squares = (
            (drawn * product).sum(axis=-1) for product in (first * second, first * first, second * second)
        )
        columns.append(ratio(joint, np.sqrt(squares[0] * squares[1])))
    return np.stack(columns, axis=-1)


def _centred_ranks(values: FloatArray, drawn: FloatArray) -> FloatArray:
    """(..., n) mid-ranks among the clips as often as they were drawn, less their mean. values: (n,)."""
    order = np.argsort(values, kind="stable")
    ordered, sums = values[order], _running_sum(drawn[..., order])
    below, through = (sums[..., np.searchsorted(ordered, values, side)] for side in ("left", "right"))
    return np.asarray((below + through - sums[..., -1:]) / 2)
