"""Two groups of callers against each other, by what a run says of their calls, and by what is true of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from toolkit.core import seeds
from toolkit.core.errors import InputError
from toolkit.result.calls import Calls, Measure, Source, per_call
from toolkit.result.jackknife import COVERAGE, FEWEST_GROUPS, NO_ERROR, Score, score_of
from toolkit.result.metrics import missing
from toolkit.result.paired import holm
from toolkit.result.predictions import Predictions

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
PERMUTATIONS = 9_999
AT_ONCE = 1_000  # permutations, for memory's sake


@dataclass(frozen=True)
class Difference:
    """One measure of two groups of callers, each caller the mean of their calls.

    callers: of each group those who have it. means: with intervals over callers. difference: first minus second, by
    Welch's t. welch_p, permutation_p: of no difference, two-sided; corrected by Holm for the labels of a measure. None
    where a group has fewer than 5 callers. effect: Hedges' g.
    """

    measure: Measure
    source: Source
    callers: tuple[int, int]
    means: tuple[Score, Score]
    difference: Score
    welch_p: float | None = None
    permutation_p: float | None = None
    effect: float | None = None


@dataclass(frozen=True)
class Contrast:
    """Two groups of callers.

    column: of the manifest. groups: its two values. calls: all of the run's. side: (n_calls,) 0 or 1, the call's group;
    -1 where its caller counts in neither. few: in each group, callers with fewer than `least` clips; elsewhere: callers
    with another value, or none. rows: every measure, of the prediction and next to it of the truth.
    """

    predictions: Predictions
    column: str
    groups: tuple[str, str]
    negative: tuple[str, ...]
    least: int
    calls: Calls
    side: npt.NDArray[np.int64]
    few: tuple[int, int]
    elsewhere: int
    rows: tuple[Difference, ...]

    @property
    def callers(self) -> tuple[int, int]:
        """Of each group, those who count."""
        counted = zip(self.calls.caller, self.side.tolist())
        sides = [side for _, side in dict.fromkeys(counted)]
        return sides.count(0), sides.count(1)

    def row(self, measure: Measure, source: Source) -> Difference | None:
        return next((one for one in self.rows if (one.measure, one.source) == (measure, source)), None)

    def attenuation(self, measure: Measure) -> float | None:
        """The predicted difference as a part of the true one; None where the latter may be 0, or is not known."""
        predicted, true = self.row(measure, "prediction"), self.row(measure, "truth")
        if predicted is None or true is None or true.difference.lower is None or true.difference.upper is None:
            return None
        if true.difference.lower <= 0 <= true.difference.upper:
            return None
        assert predicted.difference.estimate is not None and true.difference.estimate is not None
        return predicted.difference.estimate / true.difference.estimate


def contrast(
    predictions: Predictions,
    calls: Sequence[str],
    values: Mapping[str, str],
    column: str,
    groups: tuple[str, str],
    negative: Sequence[str],
    least: int = 1,
    places: Sequence[int] | None = None,
) -> Contrast:
    """Hold two groups of callers against each other.

    predictions: of clips that no model learnt from. calls, negative, places: as `per_call` takes them. values: each
    caller's in `column`, by the group's name in the predictions. groups: the two that are meant, the difference is the
    first minus the second. least: clips of a caller, who does not count with fewer.
    Raises InputError where a group has no caller that counts.
    """
    found = per_call(predictions, calls, negative, places)
    clips: dict[str, int] = {}
    for caller, count in zip(found.caller, found.clips.tolist()):
        clips[caller] = clips.get(caller, 0) + count
    enough = {caller for caller, count in clips.items() if count >= least}
    few = [sum(values[caller] == group for caller in clips.keys() - enough) for group in groups]
    elsewhere = sum(values[caller] not in groups for caller in clips)
    sides = {group: side for side, group in enumerate(groups)}
    side = [sides.get(values[caller], -1) if caller in enough else -1 for caller in found.caller]
    for number, group in enumerate(groups):
        if number not in side:
            excluded = f", and {few[number]} with fewer than {least} clips" if few[number] else ""
            raise InputError(f"No {predictions.group} with {column} {group!r} counts{excluded}")
    rows = compared(found, np.array(side))
    return Contrast(predictions, column, groups, tuple(negative), least, found, np.array(side),
                    (few[0], few[1]), elsewhere, tuple(rows))  # fmt: skip


def compared(calls: Calls, side: npt.NDArray[np.int64], permutations: int = PERMUTATIONS) -> list[Difference]:
    """Every measure of two groups of callers. side: (n_calls,) 0 or 1, -1 for calls that do not count."""
    counted = side >= 0
    names, member = np.unique(np.array(calls.caller, dtype=object)[counted].astype(str), return_inverse=True)
    first = np.zeros(len(names), dtype=bool)
    first[member] = side[counted] == 0
    keys = list(calls.values)
    columns = np.stack([_of_callers(calls.values[key][counted], member, len(names)) for key in keys], axis=1)
    by_chance = permutation_p(columns, first, permutations)
    rows = [_difference(*key[::-1], column, first, p) for key, column, p in zip(keys, columns.T, by_chance.tolist())]
    families: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(rows):
        families.setdefault((row.source, row.measure.kind), []).append(number)
    for places in families.values():
        tested = [place for place in places if rows[place].welch_p is not None]
        welch = holm([rows[place].welch_p or 0.0 for place in tested])
        permuted = holm([rows[place].permutation_p or 0.0 for place in tested])
        for place, one, other in zip(tested, welch, permuted):
            rows[place] = replace(rows[place], welch_p=one, permutation_p=other)
    return rows


def _of_callers(values: FloatArray, member: npt.NDArray[np.intp], callers: int) -> FloatArray:
    """The mean over each caller's calls, NaN where none of them has a value."""
    known = ~np.isnan(values)
    sums = np.bincount(member[known], values[known], callers)
    counts = np.bincount(member[known], minlength=callers)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _difference(measure: Measure, source: Source, values: FloatArray, first: BoolArray, permuted: float) -> Difference:
    """By Welch's t over callers, which is the jackknife over the callers of both groups (see `subgroups`).

    Source: Welch, Biometrika, 1947; Hedges, Journal of Educational Statistics, 1981.
    """
    groups = [values[side & ~np.isnan(values)] for side in (first, ~first)]
    sizes = (len(groups[0]), len(groups[1]))
    means = [float(inside.mean()) if len(inside) else np.nan for inside in groups]
    gap = means[0] - means[1]
    scores = tuple(_mean(inside, mean, measure.bounded) for inside, mean in zip(groups, means))
    bare = Difference(measure, source, sizes, (scores[0], scores[1]), Score(missing(gap), None, None))
    if min(sizes) < FEWEST_GROUPS:
        return bare
    squares = [float(inside.var(ddof=1)) for inside in groups]
    errors = [square / size for square, size in zip(squares, sizes)]
    error = float(np.sqrt(sum(errors)))
    if error < NO_ERROR:  # all callers of a group alike
        return replace(bare, welch_p=1.0, permutation_p=1.0) if abs(gap) < NO_ERROR else bare
    freedom = error**4 / sum(one**2 / (size - 1) for one, size in zip(errors, sizes))
    half = float(stdtrit(freedom, (1 + COVERAGE) / 2)) * error
    within = sum(sizes) - 2
    pooled = np.sqrt(sum(square * (size - 1) for square, size in zip(squares, sizes)) / within)
    return replace(
        bare,
        difference=Score(gap, gap - half, gap + half),
        welch_p=2 * float(stdtr(freedom, -abs(gap) / error)),
        permutation_p=permuted,
        effect=float(gap / pooled * (1 - 3 / (4 * within - 1))),
    )


def _mean(values: FloatArray, mean: float, bounded: bool) -> Score:
    if len(values) < FEWEST_GROUPS:
        return Score(missing(mean), None, None)
    without = (values.sum() - values) / (len(values) - 1)
    return score_of(mean, without, bounded=bounded)


def permutation_p(values: FloatArray, first: BoolArray, permutations: int = PERMUTATIONS) -> FloatArray:
    """Of no difference between two groups, two-sided, of each column by itself.

    values: (callers, columns), NaN where a caller has none. first: (callers,). The callers' groups are dealt out again
    `permutations` times, the same for all columns; what is compared is Welch's t, so that groups may differ in spread.
    Source: Janssen, Statistics and Probability Letters, 1997.
    """
    known = (~np.isnan(values)).astype(np.float64)
    centred = np.where(known > 0, values - np.nansum(values, axis=0) / np.maximum(known.sum(axis=0), 1), 0.0)
    spread = np.sqrt((centred**2).sum(axis=0) / np.maximum(known.sum(axis=0), 1))
    scaled = centred / np.where(spread > 0, spread, 1.0)
    random = seeds.generator(0, "contrast", "permutations", len(first))
    observed = _welch(first[None].astype(np.float64), known, scaled)
    beyond = np.zeros(values.shape[1])
    for begun in range(0, permutations, AT_ONCE):
        some = min(AT_ONCE, permutations - begun)
        dealt = random.permuted(np.tile(first.astype(np.float64), (some, 1)), axis=1)
        beyond += (_welch(dealt, known, scaled) >= observed - 1e-9).sum(axis=0)
    return np.asarray((1 + beyond) / (1 + permutations))


def _welch(dealt: FloatArray, known: FloatArray, values: FloatArray) -> FloatArray:
    """(deals, columns) |t|; infinite where it is not defined, which counts against a difference."""
    sides = []
    for chosen in (dealt, 1 - dealt):
        count = chosen @ known
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = chosen @ values / count
            error = (chosen @ values**2 / count - mean**2) / (count - 1)
        sides.append((mean, np.where(count > 1, error.clip(min=0), np.nan)))
    (one, error), (other, more) = sides
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.abs(one - other) / np.sqrt(error + more)
    return np.where(np.isnan(found), np.inf, found)
