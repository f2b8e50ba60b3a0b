"""How sure a figure is: 95 % intervals from resampling speakers.

Clips of one speaker resemble each other, so speakers are drawn with replacement, each with all of its clips (cluster
bootstrap, percentile interval: Davison and Hinkley, Bootstrap Methods and their Application, 1997, chapter 3.8). What a
metric needs of a speaker is a short row of counts, so one matrix product gives the counts of every resample.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit import seeds
from toolkit.result.language import ENGLISH, Language
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

    >>> decimal(0.83149), decimal(-0.0001), decimal(None)
    ('0.831', '0.000', 'missing')
    """
    return "missing" if value is None else f"{value:z.3f}"


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


def members(predictions: Predictions) -> tuple[int, npt.NDArray[np.intp]]:
    """How many speakers there are, and the number of each clip's, in order of the speakers' names."""
    names, member = np.unique(np.array(predictions.groups, dtype=object).astype(str), return_inverse=True)
    return len(names), member


def resampled_sums(predictions: Predictions, rows: FloatArray, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """The sum of each column over all clips, (columns,), and over the clips of every resample, (RESAMPLES, columns).

    rows: (n_clips, columns). The same speakers give the same resamples, whatever the columns.
    """
    units, member = members(predictions)
    per_unit = np.zeros((units, rows.shape[1]))
    np.add.at(per_unit, member, rows)
    resampled = np.concatenate([block @ per_unit for block in weights(units, RESAMPLES, seed)])
    return per_unit.sum(axis=0), resampled


def resampled_counts(several: Sequence[Predictions], seed: int = 0) -> list[tuple[Counts, Counts]]:
    """Of each set of predictions, counts of all clips and of every resample, (RESAMPLES,) of them.

    All must have the same speakers in the same order: the resamples are drawn once.
    """
    columns = [clip_counts(one.truth, one.prediction, len(one.task.labels)) for one in several]
    sums, resampled = resampled_sums(several[0], np.concatenate(columns, axis=1), seed)
    parts = zip(np.split(sums, len(several)), np.split(resampled, len(several), axis=1))
    return [(Counts.of(whole), Counts.of(drawn)) for whole, drawn in parts]


def _ranked(predictions: Predictions, seed: int) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Each ranked metric of each label: of all clips (n_labels,), of every resample (RANKED_RESAMPLES, n_labels)."""
    units, member = members(predictions)
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


def score_of(estimate: FloatArray | float, resampled: FloatArray, units: int) -> Score:
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
    ((counts, resampled),) = resampled_counts([predictions], seed)
    overall = {
        name: score_of(row.function(counts), row.function(resampled), units)
        for name, row in METRICS.items()
        if task.kind in row.kinds
    }
    columns = {name: (function(counts), function(resampled)) for name, function in PER_LABEL.items()}
    ranked = _ranked(predictions, seed)
    for name, (estimate, drawn) in ranked.items():
        overall[name] = score_of(over_labels(task, estimate), over_labels(task, drawn), units)
    per_label = {
        label: {
            name: score_of(estimate[number], drawn[:, number], units)
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
    pairs = resampled_counts(layers, seed)
    return [score_of(function(counts), function(resampled), units) for counts, resampled in pairs]


def caution(predictions: Predictions, say: Language = ENGLISH) -> str | None:
    """What the reader of an interval must be told, or None."""
    units, alone = len(set(predictions.groups)), predictions.groups == predictions.ids
    group = "clip" if alone else predictions.group
    fields = {"units": say.counted(units, group), "unit": say.many(group)}
    if units == 1:
        return say("caution.one_group", **fields)
    if units < FEW_GROUPS:
        return say("caution.few_groups", **fields)
    if alone:
        return say("caution.clips" if predictions.group == "clip" else "caution.clips_unknown")
    return None
