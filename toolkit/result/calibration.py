"""Whether probabilities can be trusted: what was said against what was true, in bins; expected calibration error."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toolkit.result.predictions import Predictions
from toolkit.result.ranking import ratio
from toolkit.result.stats import COVERAGE, Score, members, resampled_sums, score_of

FloatArray = npt.NDArray[np.float64]
BINS = 10  # of equal width


@dataclass(frozen=True)
class Bin:
    """Probabilities from `low` up to `high`. count: how many. said: their mean, None without any. happened: the share
    that was true, with its 95 % interval."""

    low: float
    high: float
    count: int
    said: float | None
    happened: Score


@dataclass(frozen=True)
class Calibration:
    """error: the expected calibration error, 0 .. 1. corrected: the same less its bias, with its 95 % interval."""

    bins: tuple[Bin, ...]
    error: float
    corrected: Score


def calibrate(predictions: Predictions, seed: int = 0) -> Calibration | None:
    """Bins of the probability of the given label (one label a clip), or of every clip's every label (multilabel).

    The error is sum over bins of |true - said| / all, Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    Counts in bins are noisy and the error only adds up distances, so it is too large, and each resample's is larger
    still: 2 error - median and the basic bootstrap's interval take that off, none of them below 0 (Kumar, Liang, Ma,
    Verified Uncertainty Calibration, NeurIPS 2019). None where there are no probabilities.
    """
    if not predictions.has_probability:
        return None
    said, true = _pairs(predictions)
    clips, columns = said.shape
    place = np.minimum((said * BINS).astype(np.int64), BINS - 1)
    rows = np.zeros((clips, 3, BINS))
    clip = np.repeat(np.arange(clips), columns)
    for part, values in enumerate((np.ones_like(said), said, true)):
        np.add.at(rows[:, part], (clip, place.ravel()), values.ravel())
    sums, resampled = resampled_sums(predictions, rows.reshape(clips, -1), seed)
    sums, resampled = sums.reshape(3, BINS), resampled.reshape(-1, 3, BINS)
    units, member = members(predictions)
    bins = []
    for number in range(BINS):
        count, spoken, happened = sums[:, number]
        inside = len(set(member[rows[:, 0, number] > 0].tolist()))
        share = score_of(ratio(happened, count), ratio(resampled[:, 2, number], resampled[:, 0, number]), inside)
        mean = float(spoken / count) if count else None
        bins.append(Bin(number / BINS, (number + 1) / BINS, int(count), mean, share))
    error = float(_error(sums))
    if units < 2:
        return Calibration(tuple(bins), error, Score(None, None, None))
    tail = (1 - COVERAGE) / 2
    high, median, low = np.quantile(_error(resampled), [tail, 0.5, 1 - tail])
    lower, estimate, upper = (max(0.0, float(2 * error - value)) for value in (low, median, high))
    return Calibration(tuple(bins), error, Score(estimate, lower, upper))


def _pairs(predictions: Predictions) -> tuple[FloatArray, FloatArray]:
    """What was said and whether it was true, (n_clips, 1 or n_labels)."""
    if predictions.task.multilabel:
        return predictions.probability, predictions.truth.astype(np.float64)
    given = predictions.prediction[:, None]
    right = (predictions.prediction == predictions.truth)[:, None]
    return np.take_along_axis(predictions.probability, given, axis=1), right.astype(np.float64)


def _error(sums: FloatArray) -> FloatArray:
    """From counts, sums said and sums true, (..., 3, BINS) -> (...,)."""
    distance = np.abs(sums[..., 2, :] - sums[..., 1, :]).sum(axis=-1)
    return np.asarray(distance / sums[..., 0, :].sum(axis=-1))
