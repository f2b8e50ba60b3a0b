"""Whether probabilities can be trusted: predicted against true in bins, slope and intercept, calibration error."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from toolkit.result.jackknife import Score, members, score_of, sums_without, units_of
from toolkit.result.predictions import Predictions
from toolkit.result.rank_metrics import ratio
from toolkit.result.thresholds import log_odds

FloatArray = npt.NDArray[np.float64]
BINS = 10  # of equal width
STEPS = 50  # of Newton's method, at most; until one is below ENOUGH
ENOUGH = 1e-8
SINGULAR = 1e-9
STEEP = 100.0  # a steeper regression separates the true from the false


@dataclass(frozen=True)
class Bin:
    """Probabilities from `low` up to `high`. count: how many. predicted: their mean, None without any. happened: the
    share that was true, with its 95 % interval."""

    low: float
    high: float
    count: int
    predicted: float | None
    happened: Score


@dataclass(frozen=True)
class Calibration:
    """error: the expected calibration error, 0 .. 1. noise: what counting alone would make of it if every probability
    were right and every clip by itself.

    slope, intercept: of the logistic regression of what was true on the log-odds that were predicted, 1 and 0 if all is
    right; a slope below 1 is a model too sure of itself, an intercept below 0 one that promises too much.
    """

    bins: tuple[Bin, ...]
    error: float
    noise: float
    slope: Score
    intercept: Score


def calibrate(predictions: Predictions) -> Calibration | None:
    """Of the probability of the given label (one label a clip), or of every clip's every label (multilabel).

    The error is sum over bins of |true - predicted| / all: Guo et al., On Calibration of Modern Neural Networks, ICML
    2017. It adds up distances, so that counting alone makes it positive: hence `noise`, the mean of a normal deviate's
    absolute value in each bin, and hence no interval, which no method tried covered near 0. Slope and intercept: Cox,
    Two further applications of a model for binary regression, Biometrika, 1958. None where there are no probabilities.
    """
    if not predictions.has_probability:
        return None
    predicted, true = _pairs(predictions)
    clips, columns = predicted.shape
    place = np.minimum((predicted * BINS).astype(np.int64), BINS - 1)
    rows = np.zeros((clips, 4, BINS))
    clip = np.repeat(np.arange(clips), columns)
    for part, values in enumerate((np.ones_like(predicted), predicted, true, predicted * (1 - predicted))):
        np.add.at(rows[:, part], (clip, place.ravel()), values.ravel())
    whole, without = sums_without(predictions, rows.reshape(clips, -1))
    sums, rest = whole.reshape(4, BINS), without.reshape(-1, 4, BINS)
    _, member = members(predictions)
    bins = []
    for number in range(BINS):
        count, foretold, happened, _ = sums[:, number]
        inside = len(set(member[rows[:, 0, number] > 0].tolist()))
        share = score_of(ratio(happened, count), ratio(rest[:, 2, number], rest[:, 0, number]), inside)
        mean = float(foretold / count) if count else None
        bins.append(Bin(number / BINS, (number + 1) / BINS, int(count), mean, share))
    total = sums[0].sum()
    error = np.abs(sums[2] - sums[1]).sum() / total
    noise = np.sqrt(2 / np.pi * sums[3]).sum() / total
    intercept, slope = _regressed(predictions, log_odds(predicted), true)
    return Calibration(tuple(bins), float(error), float(noise), slope, intercept)


def _pairs(predictions: Predictions) -> tuple[FloatArray, FloatArray]:
    """What was predicted and whether it was true, (n_clips, 1 or n_labels)."""
    if predictions.task.multilabel:
        return predictions.probability, predictions.truth.astype(np.float64)
    given = predictions.prediction[:, None]
    right = (predictions.prediction == predictions.truth)[:, None]
    return np.take_along_axis(predictions.probability, given, axis=1), right.astype(np.float64)


def _regressed(predictions: Predictions, odds: FloatArray, true: FloatArray) -> tuple[Score, Score]:
    """Intercept and slope of `true` on `odds`, (n_clips, columns) each, with their intervals.

    Undefined where all is true, or nothing is, or where one number separates the two.
    """
    whole = _fitted(odds, true, np.zeros(2))
    units, member = units_of(predictions)
    rest = [_fitted(odds[member != unit], true[member != unit], whole) for unit in range(units if units > 1 else 0)]
    without = np.stack(rest) if rest else np.empty((0, 2))
    intercept, slope = (score_of(whole[k], without[:, k], bounded=False) for k in range(2))
    return intercept, slope


def _fitted(odds: FloatArray, true: FloatArray, start: FloatArray) -> FloatArray:
    """Intercept and slope, (2,), by Newton's method from `start`; NaN where there are none."""
    weights, nothing = start, np.full(2, np.nan)
    for _ in range(STEPS):
        if not np.isfinite(weights).all() or abs(weights).max() > STEEP:
            return nothing
        chance = expit(weights[0] + weights[1] * odds)
        error, weight = true - chance, chance * (1 - chance)
        moved = weight * odds
        bend = np.array([[weight.sum(), moved.sum()], [moved.sum(), (moved * odds).sum()]])
        if np.linalg.det(bend) < SINGULAR * len(odds):
            return nothing
        step = np.linalg.solve(bend, np.array([error.sum(), (error * odds).sum()]))
        weights = weights + step
        if np.abs(step).max() < ENOUGH:
            return weights
    return nothing
