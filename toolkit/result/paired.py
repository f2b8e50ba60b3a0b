"""Two sets of predictions against each other: paired differences, their p-values, equivalence, Holm's correction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from toolkit.core.errors import InputError, ToolkitError
from toolkit.corpus.splits import Folds
from toolkit.result.jackknife import (
    FEWEST_GROUPS,
    FEWEST_TESTED,
    NO_ERROR,
    Score,
    counts_without,
    critical,
    replicates,
    standard_error,
)
from toolkit.result.metrics import METRICS, missing, of_task
from toolkit.result.predictions import Predictions

FloatArray = npt.NDArray[np.float64]
LEVEL = 0.05
EQUAL = 0.02  # two scores closer than this are called equal where that is shown


@dataclass(frozen=True)
class Difference:
    """First minus second, over the same speakers left out in turn.

    score, p_value: of these very models on new speakers; p_value two-sided, before any correction. method, method_p: of
    the two methods, trained again on other speakers: the same estimate, its standard error widened by `widening`.
    equal_p: of the two one-sided tests that the difference is beyond 2 points (Schuirmann, 1987): small where they are
    shown to be equal. p-values are None with fewer than 10 speakers, all is where nothing was compared.
    """

    score: Score | None = None
    p_value: float | None = None
    method: Score | None = None
    method_p: float | None = None
    equal_p: float | None = None


NOTHING = Difference()


@dataclass(frozen=True)
class Against:
    """One run minus a reference. difference: its p-values corrected by Holm for all that were compared. why: there is
    none."""

    difference: Difference = NOTHING
    why: str = ""


def widening(folds: Folds) -> float:
    """What the standard error of a difference grows by where methods are meant, not these models.

    The models of K rounds share most of their training clips, so that their common chance does not show in how their
    speakers differ: sqrt(1 + K / (K - 1)), for a fixed split sqrt(1 + test clips / training clips). Source: Nadeau and
    Bengio, Inference for the Generalization Error, Machine Learning, 2003.
    """
    if folds.scheme == "kfold":
        return float(np.sqrt(1 + folds.count / (folds.count - 1)))
    tested = int((folds.fold == 0).sum())
    return float(np.sqrt(1 + tested / (len(folds.fold) - tested)))


def against(
    best: int | None, several: Sequence[Sequence[Predictions]], metric: str, widen: float = 1.0
) -> list[Against]:
    """Each of several series of runs minus the one in place `best`, which is not compared with itself; None compares
    nothing.

    p-values are corrected for all of them, those of equality, of the models and of the methods each among themselves.
    """
    found: list[Against] = []
    for place, other in enumerate(several):
        try:
            alone = best is None or place == best
            found.append(Against() if alone else Against(difference(other, several[best or 0], metric, widen=widen)))
        except InputError as error:  # other clips failed in this one's extraction
            found.append(Against(why=str(error)))
    known = [one.difference for one in found if one.difference.p_value is not None]
    columns = {name: iter(holm([getattr(one, name) for one in known])) for name in ("p_value", "method_p", "equal_p")}
    return [
        one
        if one.difference.p_value is None
        else replace(one, difference=_corrected(one.difference, {name: next(p) for name, p in columns.items()}))
        for one in found
    ]


def _corrected(one: Difference, p_values: Mapping[str, float]) -> Difference:
    return replace(one, p_value=p_values["p_value"], method_p=p_values["method_p"], equal_p=p_values["equal_p"])


def difference(
    first: Sequence[Predictions],
    second: Sequence[Predictions],
    metric: str,
    same_truth: bool = True,
    widen: float = 1.0,
) -> Difference:
    """First minus second in a count-based metric of METRICS, paired; of each series of runs the mean over it.

    same_truth: False compares with a control whose labels were shuffled. widen: as `widening` gives it, for methods.
    Raises InputError when the two do not predict the same clips, groups and truth, or for an unknown metric.
    """
    one = first[0]
    if metric not in of_task(one.task):
        raise InputError(f"Bad metric {metric!r}, expected one of {list(of_task(one.task))}")
    for other in second:
        if one.task.labels != other.task.labels or one.task.kind != other.task.kind:
            raise InputError(f"The labels differ: {one.task.labels} and {other.task.labels}")
    function = METRICS[metric].function
    (estimate, without), (estimate_2, without_2) = (
        replicates([counts_without([_in_order_of(one, run, same_truth)])[0] for run in series], function)
        for series in (first, second)
    )
    return difference_of(float(estimate - estimate_2), without - without_2, widen)


def differences(
    first: Sequence[Predictions], second: Sequence[Predictions], metric: str, same_truth: bool = True
) -> list[Difference]:
    """`difference` of each pair, e.g. layer by layer."""
    return [difference([one], [other], metric, same_truth) for one, other in zip(first, second, strict=True)]


def difference_of(estimate: float, without: FloatArray, widen: float) -> Difference:
    """By a t test on the values without each unit, (units,), with one degree of freedom less than there are units.

    Where no speaker's absence moves the difference there is no standard error; its p-value is then 2 ** (1 - units),
    that of all speakers on one side, and 1 where it is 0.
    """
    units, nothing = len(without), Score(missing(estimate), None, None)
    if units < FEWEST_GROUPS or np.isnan(estimate) or np.isnan(without).any():
        return Difference(nothing, method=nothing)
    error = standard_error(without)
    if error < NO_ERROR:
        p_value = 1.0 if abs(estimate) < NO_ERROR else 2.0 ** (1 - units)
        score = Score(estimate, estimate, estimate) if p_value == 1 else nothing
        if units < FEWEST_TESTED:
            return Difference(score, method=score)
        return Difference(score, p_value, score, p_value, 2.0 ** (1 - units) if abs(estimate) < EQUAL else 1.0)

    def tail(value: float) -> float:
        return float(stdtr(units - 1, value))

    def scored(width: float) -> tuple[Score, float]:
        half = critical(units) * width
        return Score(estimate, estimate - half, estimate + half), 2 * tail(-abs(estimate) / width)

    score, p_value = scored(error)
    method, method_p = scored(widen * error)
    if units < FEWEST_TESTED:
        return Difference(score, method=method)
    return Difference(score, p_value, method, method_p, tail((abs(estimate) - EQUAL) / error))


def _in_order_of(first: Predictions, second: Predictions, same_truth: bool) -> Predictions:
    """`second` with its clips in the order of `first`."""
    position = {clip: number for number, clip in enumerate(second.ids)}
    if position.keys() != set(first.ids):
        only = sorted(position.keys() ^ set(first.ids))
        raise InputError(f"Not the same clips: {only[0]!r} is in one of the two only (and {len(only) - 1} more)")
    order = np.array([position[clip] for clip in first.ids])
    arrays = {name: getattr(second, name)[order] for name in ("fold", "truth", "prediction", "probability")}
    score = None if second.score is None else second.score[order]
    ordered = replace(
        second, ids=first.ids, groups=tuple(second.groups[number] for number in order), score=score, **arrays
    )
    if ordered.groups != first.groups or (
        same_truth and not np.array_equal(ordered.truth, first.truth, equal_nan=True)
    ):
        raise InputError("The same clips have another group or another truth in the two predictions")
    return ordered


def p_text(p_value: float | None) -> str:
    """A p-value in a table; none is never 0.

    >>> p_text(0.0312), p_text(0.00001), p_text(None)
    ('0.0312', '< 0.0001', '')
    """
    return "" if p_value is None else "< 0.0001" if p_value < 1e-4 else f"{p_value:.4f}"


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values for a family of comparisons, in the order given.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics, 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    if any(not 0 <= value <= 1 for value in p_values):
        raise ToolkitError(f"p-values {list(p_values)}, expected 0 to 1")
    adjusted, reached = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=lambda number: p_values[number])):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = reached
    return adjusted
