"""How sure a figure is: 95 % intervals from leaving out each speaker in turn.

Clips of one speaker resemble each other, so a figure is as sure as its speakers are alike: it is computed again without
each of them, all clips at once, and the spread of these values is its standard error (delete-one-group jackknife: Efron
and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11), taken on the logit scale, where a score near 0 or 1
has room on one side only, with Student's t of one degree of freedom less than there are speakers. Nothing is drawn. In
simulation it covers what it says (docs/honesty.md), where percentiles of resampled speakers cover 80 to 89 % with 10 of
them. What a metric needs of a speaker is a short row of counts, so one subtraction gives all of it.

What is estimated: the score that these very models, one a round, would have on new speakers. Chance in fitting and in
dealing out the folds is not in an interval; several runs of a series show it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, stdtrit

from toolkit.core import seeds
from toolkit.result import kinds
from toolkit.result.counts import Counts
from toolkit.result.metrics import Function, Metric, missing
from toolkit.result.predictions import Predictions
from toolkit.result.scale_metrics import Moments

FloatArray = npt.NDArray[np.float64]
Totals = Counts | Moments

COVERAGE = 0.95
FEWEST_GROUPS = 5  # fewer have no interval
FEWEST_TESTED = 10  # fewer have no p-value: with 5, p is below .05 in 8 % of studies where nothing is to be found
MOST_UNITS = 500  # of more speakers (or clips, where no speaker is known) so many blocks are left out in turn
NO_ERROR = 1e-12  # a smaller standard error, or difference, is none
EDGE = 1e-3  # on the logit scale a score is kept so far from 0 and 1


def decimal(value: float | None) -> str:
    """A figure as every table, chart and page shows it.

    >>> decimal(0.83149), decimal(-0.0001), decimal(None)
    ('0.831', '0.000', 'missing')
    """
    return "missing" if value is None else f"{value:z.3f}"


@dataclass(frozen=True)
class Score:
    """A figure with its 95 % interval. None: undefined; the bounds also for fewer than 5 speakers."""

    estimate: float | None
    lower: float | None
    upper: float | None

    def __str__(self) -> str:
        if self.lower is None or self.upper is None:
            return decimal(self.estimate)
        return f"{decimal(self.estimate)} [{decimal(self.lower)}, {decimal(self.upper)}]"

    def to_json(self) -> dict[str, float | None]:
        return {"estimate": self.estimate, "lower": self.lower, "upper": self.upper}


def members(predictions: Predictions) -> tuple[int, npt.NDArray[np.intp]]:
    """How many speakers there are, and the number of each clip's, in order of the speakers' names."""
    names, member = np.unique(np.array(predictions.groups, dtype=object).astype(str), return_inverse=True)
    return len(names), member


def units_of(predictions: Predictions) -> tuple[int, npt.NDArray[np.intp]]:
    """As `members`; of more than MOST_UNITS speakers, blocks of them that are left out together, dealt out at random.

    Source: delete-a-group jackknife, Kott, Journal of Official Statistics, 2001.
    """
    units, member = members(predictions)
    if units <= MOST_UNITS:
        return units, member
    block = np.arange(units) % MOST_UNITS
    return MOST_UNITS, seeds.generator(0, "stats", "blocks", units).permutation(block)[member]


def sums_without(predictions: Predictions, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The sum of each column over all clips, (columns,), and without the clips of each unit, (units, columns).

    rows: (n_clips, columns).
    """
    units, member = units_of(predictions)
    sums = np.zeros((units, rows.shape[1]))
    np.add.at(sums, member, rows)
    whole = sums.sum(axis=0)
    return whole, whole - sums


def counts_without(several: Sequence[Predictions]) -> list[tuple[Totals, Totals]]:
    """Of each set of predictions, counts (or moments) of all clips and without each unit, (units,) of them.

    All must have the same speakers in the same order.
    """
    columns = [kinds.clip_rows(one.task, one.truth, one.prediction) for one in several]
    whole, without = sums_without(several[0], np.concatenate(columns, axis=1))
    parts = zip(np.split(whole, len(several)), np.split(without, len(several), axis=1))
    return [(kinds.totals(several[0].task, every), kinds.totals(several[0].task, rest)) for every, rest in parts]


def replicates(series: Sequence[tuple[Totals, Totals]], function: Function) -> tuple[FloatArray, FloatArray]:
    """The mean of a metric over runs of the same speakers, (...), and without each unit, (units, ...).

    series: of each run what `counts_without` gives.
    """
    return mean_of([(function(whole), function(rest)) for whole, rest in series])


def mean_of(pairs: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    """The mean of estimates, and of their values without each unit."""
    return np.mean([pair[0] for pair in pairs], axis=0), np.mean([pair[1] for pair in pairs], axis=0)


def standard_error(without: FloatArray) -> float:
    """Of an estimate, from its values without each unit, (units,)."""
    units = len(without)
    return float(np.sqrt((units - 1) / units * np.square(without - without.mean()).sum()))


def critical(groups: int) -> float:
    """Student's t that 95 % are within, for so many groups."""
    return float(stdtrit(groups - 1, (1 + COVERAGE) / 2))


def score_of(
    estimate: FloatArray | float,
    without: FloatArray,
    groups: int | None = None,
    bounded: bool = True,
    signed: bool = False,
) -> Score:
    """A figure with its interval.

    without: (units,) its value without each unit. groups: the speakers that it is about, all by default; a label's
    recall is about those who have the label. bounded: a score of 0 to 1, on the logit scale. signed: one of -1 to 1,
    such as a correlation, on that of (1 + score) / 2, which is twice Fisher's z. The interval reaches as far as the
    root of the mean squared error does: standard error and the jackknife's estimate of bias, squared and added
    (Quenouille, 1956): the F1 of rare labels is too low in small samples. Within EDGE of 0 or 1 the logit scale ends:
    where a value is there, the standard error is that of the score over the scale's slope (delta method), since a
    recall that is 1 without one speaker would make it as large as the scale; the interval has at least the room of the
    one-sided binomial limit for so many speakers (Clopper and Pearson, 1934), as if each were one trial; and no bias is
    estimated. There is no interval where the figure is undefined without some speaker, is about fewer than 5, or is the
    same without any of them.
    """
    if signed:
        inside = score_of((1 + estimate) / 2, (1 + without) / 2, groups)
        return Score(*(None if value is None else 2 * value - 1 for value in vars(inside).values()))
    groups = len(without) if groups is None else min(groups, len(without))
    if np.isnan(estimate) or groups < FEWEST_GROUPS or np.isnan(without).any():
        return Score(missing(estimate), None, None)
    value = float(estimate)
    values = np.append(without, value)
    edge = bounded and bool(((values < EDGE) | (values > 1 - EDGE)).any())
    centre, repeated = (_logit(np.array(value)), _logit(without)) if bounded else (value, without)
    if edge:
        point = float(np.clip(value, EDGE, 1 - EDGE))
        error, bias = standard_error(without) / (point * (1 - point)), 0.0
    else:
        error, bias = standard_error(repeated), float((len(without) - 1) * (repeated.mean() - centre))
        if error < NO_ERROR:
            return Score(value, None, None)
    half = critical(groups) * float(np.hypot(error, bias))
    if not bounded:
        return Score(value, value - half, value + half)
    lower, upper = (float(expit(centre + side * half)) for side in (-1, 1))
    if edge:
        room = 1 - ((1 - COVERAGE) / 2) ** (1 / groups)
        lower, upper = min(lower, max(0.0, value - room)), max(upper, min(1.0, value + room))
    return Score(value, min(value, lower), max(value, upper))


def interval(metric: Metric, estimate: FloatArray | float, without: FloatArray, groups: int | None = None) -> Score:
    """`score_of` a metric, by what values it has."""
    return score_of(estimate, without, groups, metric.scale != "free", metric.scale == "signed")


def _logit(score: FloatArray) -> FloatArray:
    return np.asarray(logit(np.clip(score, EDGE, 1 - EDGE)))
