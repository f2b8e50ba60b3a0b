"""Two sets of predictions against each other: paired differences, their p-values, Holm's correction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from toolkit.errors import InputError, ToolkitError
from toolkit.result.metrics import METRICS
from toolkit.result.predictions import Predictions
from toolkit.result.stats import Score, resampled_counts, score_of

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """First minus second on the same resamples. p_value: two-sided, before any correction; None with one speaker."""

    score: Score
    p_value: float | None


@dataclass(frozen=True)
class Against:
    """One run minus a reference. p_value: corrected by Holm for all that were compared. why: there is no difference."""

    score: Score | None = None
    p_value: float | None = None
    why: str = ""


def against(best: int | None, several: Sequence[Predictions], metric: str) -> list[Against]:
    """Each of several minus the one in place `best`, which is not compared with itself; None compares nothing.

    p-values are corrected for all of them.
    """
    found: list[Difference | str] = []
    for place, other in enumerate(several):
        try:
            alone = best is None or place == best
            found.append("" if alone else difference(other, several[best or 0], metric))
        except InputError as error:  # other clips failed in this one's extraction
            found.append(str(error))
    known = [one.p_value for one in found if isinstance(one, Difference) and one.p_value is not None]
    corrected = iter(holm(known))
    return [
        Against(why=one) if isinstance(one, str) else
        Against(one.score, None if one.p_value is None else next(corrected))
        for one in found
    ]  # fmt: skip


def difference(
    first: Predictions, second: Predictions, metric: str, seed: int = 0, same_truth: bool = True
) -> Difference:
    """First minus second in a count-based metric of METRICS, paired: both from the same resamples of the same clips.

    same_truth: False compares with a control whose labels were shuffled. p_value: twice the share of resamples on the
    smaller side of zero, each tail counted with one added, at most 1.
    Raises InputError when the two do not predict the same clips, groups and truth, or for an unknown metric.
    """
    (only,) = differences([first], [second], metric, seed, same_truth)
    return only


def differences(
    first: Sequence[Predictions],
    second: Sequence[Predictions],
    metric: str,
    seed: int = 0,
    same_truth: bool = True,
) -> list[Difference]:
    """`difference` of each pair, e.g. layer by layer; all of the first predict the same clips in the same order."""
    one = first[0]
    if metric not in METRICS or one.task.kind not in METRICS[metric].kinds:
        known = [name for name, row in METRICS.items() if one.task.kind in row.kinds]
        raise InputError(f"Bad metric {metric!r}, expected one of {known}")
    for other in second:
        if one.task.labels != other.task.labels or one.task.kind != other.task.kind:
            raise InputError(f"The labels differ: {one.task.labels} and {other.task.labels}")
    ordered = [_in_order_of(one, other, same_truth) for other in second]
    function, units = METRICS[metric].function, len(set(one.groups))
    pairs = resampled_counts([*first, *ordered], seed)
    return [
        _difference(function(counts) - function(counts_2), function(drawn) - function(drawn_2), units)
        for (counts, drawn), (counts_2, drawn_2) in zip(pairs, pairs[len(first) :])
    ]


def _difference(estimate: FloatArray, resampled: FloatArray, units: int) -> Difference:
    score = score_of(estimate, resampled, units)
    if score.lower is None:
        return Difference(score, None)
    defined = resampled[~np.isnan(resampled)]
    smaller = min((defined <= 0).sum(), (defined >= 0).sum())
    return Difference(score, min(1.0, 2 * float(smaller + 1) / (len(defined) + 1)))


def _in_order_of(first: Predictions, second: Predictions, same_truth: bool) -> Predictions:
    """`second` with its clips in the order of `first`."""
    position = {clip: number for number, clip in enumerate(second.ids)}
    if position.keys() != set(first.ids):
        only = sorted(position.keys() ^ set(first.ids))
        raise InputError(f"Not the same clips: {only[0]!r} is in one of the two only (and {len(only) - 1} more)")
    order = np.array([position[clip] for clip in first.ids])
    arrays = {name: getattr(second, name)[order] for name in ("fold", "truth", "prediction", "probability")}
    ordered = replace(second, ids=first.ids, groups=tuple(second.groups[number] for number in order), **arrays)
    if ordered.groups != first.groups or (same_truth and not np.array_equal(ordered.truth, first.truth)):
        raise InputError("The same clips have another group or another truth in the two predictions")
    return ordered


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
