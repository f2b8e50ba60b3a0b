"""How sure a figure is: 95 % intervals from resampling speakers, paired differences, Holm's correction.

Clips of one speaker resemble each other, so speakers are drawn with replacement, each with all of its clips (cluster
bootstrap, percentile interval: Davison and Hinkley, Bootstrap Methods and their Application, 1997, chapter 3.8). What a
metric needs of a speaker is a short row of counts, so one matrix product gives the counts of every resample.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit import seeds
from toolkit.errors import InputError, ToolkitError
from toolkit.result.metrics import (
    METRICS,
    PER_LABEL,
    RANKED,
    Counts,
    clip_counts,
    headline,
    missing,
    over_labels,
    ranked_per_label,
)
from toolkit.result.predictions import Predictions

FloatArray = npt.NDArray[np.float64]

RESAMPLES = 10_000
RANKED_RESAMPLES = 1_000  # of ROC-AUC and average precision, which walk through all clips for each resample
COVERAGE = 0.95
FEW_GROUPS = 5
DEFINED_SHARE = 0.5  # an interval needs the metric to be defined in this share of the resamples
BLOCK = 4_000_000  # weights drawn at a time: 32 MB
RANKED_BLOCK = 1_000_000  # weights of clips walked through at a time: 8 MB


def decimal(value: float | None) -> str:
    """A figure as every table, chart and page shows it.

    >>> decimal(0.83149), decimal(None)
    ('0.831', 'missing')
    """
    return "missing" if value is None else f"{value:.3f}"


@dataclass(frozen=True)
class Score:
    """A figure with its 95 % interval. None: undefined; the bounds also for a single speaker."""

    estimate: float | None
    lower: float | None
    upper: float | None

    def __str__(self) -> str:
        if self.lower is None or self.upper is None:
            return decimal(self.estimate)
        return f"{decimal(self.estimate)} [{decimal(self.lower)}, {decimal(self.upper)}]"

    def to_json(self) -> dict[str, float | None]:
        return {"estimate": self.estimate, "lower": self.lower, "upper": self.upper}


@dataclass(frozen=True)
class Evaluation:
    """Every metric of one set of predictions.

    overall: by metric name. per_label: by label, then "precision", "recall", "f1", "roc_auc", "average_precision".
    support, predicted: clips that have, that were given the label. unit: what was resampled, "speakers" or "clips", and
    `units` how many there are. caution: a sentence for the reader where the intervals say little, else None.
    """

    headline: str
    overall: dict[str, Score]
    per_label: dict[str, dict[str, Score]]
    support: dict[str, int]
    predicted: dict[str, int]
    clips: int
    unit: str
    units: int
    caution: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "headline": self.headline,
            "clips": self.clips,
            "resampled": {"unit": self.unit, "number": self.units, "coverage": COVERAGE},
            "resamples": {"counts": RESAMPLES, "ranked": RANKED_RESAMPLES},
            "caution": self.caution,
            "metrics": {name: score.to_json() for name, score in self.overall.items()},
            "labels": {
                label: {
                    "support": self.support[label],
                    "predicted": self.predicted[label],
                    **{name: score.to_json() for name, score in scores.items()},
                }
                for label, scores in self.per_label.items()
            },
        }


@dataclass(frozen=True)
class Difference:
    """First minus second on the same resamples. p_value: two-sided, before any correction; None with one speaker."""

    score: Score
    p_value: float | None


def weights(units: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    """How often each of `units` was drawn in each resample: blocks of (n, units), in all `resamples` rows.

    The rows depend on (units, seed) alone, so that all metrics, layers and runs share them; each sums to `units`.
    """
    generator = seeds.generator(seed, "stats", "resamples", units)
    rows = max(1, BLOCK // units)
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn = generator.integers(0, units, size=(size, units))
        flat = (drawn + units * np.arange(size)[:, None]).ravel()
        yield np.bincount(flat, minlength=size * units).reshape(size, units).astype(np.float64)


def _members(predictions: Predictions) -> tuple[int, npt.NDArray[np.intp]]:
    """How many speakers there are, and the number of each clip's, in order of the speakers' names."""
    names, member = np.unique(np.array(predictions.groups, dtype=object).astype(str), return_inverse=True)
    return len(names), member


def _resampled_counts(several: Sequence[Predictions], seed: int) -> list[tuple[Counts, Counts]]:
    """Of each set of predictions, counts of all clips and of every resample, (RESAMPLES,) of them.

    All must have the same speakers in the same order: the resamples are drawn once.
    """
    units, member = _members(several[0])
    columns = []
    for predictions in several:
        rows = clip_counts(predictions.truth, predictions.prediction, len(predictions.task.labels))
        per_unit = np.zeros((units, rows.shape[1]))
        np.add.at(per_unit, member, rows)
        columns.append(per_unit)
    together = np.concatenate(columns, axis=1)
    resampled = np.concatenate([block @ together for block in weights(units, RESAMPLES, seed)])
    parts = np.split(resampled, len(several), axis=1)
    return [(Counts.of(part.sum(axis=0)), Counts.of(drawn)) for part, drawn in zip(columns, parts)]


def _ranked(predictions: Predictions, seed: int) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Each ranked metric of each label: of all clips (n_labels,), of every resample (RANKED_RESAMPLES, n_labels)."""
    units, member = _members(predictions)
    rows = max(1, RANKED_BLOCK // len(member))
    parts = [
        ranked_per_label(predictions, block[first : first + rows][:, member])
        for block in weights(units, RANKED_RESAMPLES, seed)
        for first in range(0, len(block), rows)
    ]
    estimates = ranked_per_label(predictions)
    return {
        name: (estimates[number], np.concatenate([part[number] for part in parts]))
        for number, name in enumerate(RANKED)
    }


def _score(estimate: FloatArray | float, resampled: FloatArray, units: int) -> Score:
    """The percentile interval over the resamples in which the metric is defined."""
    defined = resampled[~np.isnan(resampled)]
    if np.isnan(estimate) or units < 2 or len(defined) < DEFINED_SHARE * len(resampled):
        return Score(missing(estimate), None, None)
    tail = (1 - COVERAGE) / 2
    lower, upper = np.quantile(defined, [tail, 1 - tail])
    return Score(float(estimate), float(lower), float(upper))


def evaluate(predictions: Predictions, seed: int = 0) -> Evaluation:
    """Every metric with its interval, overall and per label. The same seed gives the same figures."""
    task, units = predictions.task, len(set(predictions.groups))
    ((counts, resampled),) = _resampled_counts([predictions], seed)
    overall = {
        name: _score(row.function(counts), row.function(resampled), units)
        for name, row in METRICS.items()
        if task.kind in row.kinds
    }
    columns = {name: (function(counts), function(resampled)) for name, function in PER_LABEL.items()}
    ranked = _ranked(predictions, seed)
    for name, (estimate, drawn) in ranked.items():
        overall[name] = _score(over_labels(task, estimate), over_labels(task, drawn), units)
    per_label = {
        label: {
            name: _score(estimate[number], drawn[:, number], units)
            for name, (estimate, drawn) in {**columns, **ranked}.items()
        }
        for number, label in enumerate(task.labels)
    }
    hits = counts.true_positive
    return Evaluation(
        headline(task),
        overall,
        per_label,
        dict(zip(task.labels, (hits + counts.false_negative).astype(int).tolist())),
        dict(zip(task.labels, (hits + counts.false_positive).astype(int).tolist())),
        len(predictions.ids),
        predictions.unit,
        units,
        caution(predictions),
    )


def headline_scores(layers: Sequence[Predictions], seed: int = 0) -> list[Score]:
    """The headline metric with its interval, of each layer, on the same resamples: the points of the layer curve.

    layers: predictions of the same task for the same clips.
    """
    function, units = METRICS[headline(layers[0].task)].function, len(set(layers[0].groups))
    pairs = _resampled_counts(layers, seed)
    return [_score(function(counts), function(resampled), units) for counts, resampled in pairs]


def caution(predictions: Predictions) -> str | None:
    """What the reader of an interval must be told, or None."""
    units = len(set(predictions.groups))
    if units == 1:
        return f"1 {predictions.group}: there is no interval over {predictions.unit}."
    if units < FEW_GROUPS:
        return f"{units} {predictions.unit}: the interval says little."
    if predictions.unit == "clips":
        why = "" if predictions.group == "clip" else ", for no speaker is known"
        return f"Intervals resample clips{why}; clips of one speaker make them too narrow."
    return None


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
    pairs = _resampled_counts([*first, *ordered], seed)
    return [
        _difference(function(counts) - function(counts_2), function(drawn) - function(drawn_2), units)
        for (counts, drawn), (counts_2, drawn_2) in zip(pairs, pairs[len(first) :])
    ]


def _difference(estimate: FloatArray, resampled: FloatArray, units: int) -> Difference:
    score = _score(estimate, resampled, units)
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
