"""Every metric of a set of predictions with its interval, and which layers may be the best; see `jackknife`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from toolkit.core.i18n import ENGLISH, Language
from toolkit.result import kinds
from toolkit.result.jackknife import (
    COVERAGE,
    FEWEST_GROUPS,
    FEWEST_TESTED,
    MOST_UNITS,
    Score,
    Totals,
    counts_without,
    interval,
    mean_of,
    members,
    replicates,
    score_of,
    sums_without,
    units_of,
)
from toolkit.result.kinds import headline
from toolkit.result.metrics import METRICS, of_task
from toolkit.result.predictions import Predictions
from toolkit.result.probability_metrics import losses_of, over_labels, ranked_per_label
from toolkit.result.rank_metrics import ratio
from toolkit.result.scale_metrics import Moments

FloatArray = npt.NDArray[np.float64]
FEW_GROUPS = 20  # fewer are cautioned of
SCALES = {"unit": "the logit scale", "signed": "Fisher's z", "free": "its own scale"}
WEIGHTS = 2_000_000  # of clips walked through at a time for ROC-AUC and average precision: 16 MB


@dataclass(frozen=True)
class Evaluation:
    """Every metric of one set of predictions, or the mean over a series of runs.

    Attributes:
        headline: Name of the metric that layers are compared by.
        overall: By metric name.
        per_label: By label, then "precision", "recall", "f1", "roc_auc", "average_precision".
        support: By label, the clips that have it (of the series' first run).
        predicted: By label, the clips that were given it (of the series' first run).
        clips: How many were scored.
        unit: What was left out in turn, "speakers" or "clips".
        units: How many of these there are.
        caution: A sentence for the reader where the intervals say little, else None.
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
        """All of it in values that JSON can hold, as in metrics.json."""
        return {
            "headline": self.headline,
            "clips": self.clips,
            "intervals": {
                "method": f"delete-one-group jackknife, t on {SCALES[METRICS[self.headline].scale]}",
                "unit": self.unit,
                "number": self.units,
                "left_out_in_turn": min(self.units, MOST_UNITS),
                "coverage": COVERAGE,
            },
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


def evaluate(*series: Predictions) -> Evaluation:
    """Every metric with its interval, overall and per label.

    Args:
        *series: Predictions of the same clips; of several runs the means over them are given.
    """
    first = series[0]
    task = first.task
    counted = [pair for one in series for pair in counts_without([one])]
    overall = {name: interval(row, *replicates(counted, row.function)) for name, row in of_task(task).items()}
    columns = {name: replicates(counted, function) for name, function in kinds.of(task).per_label.items()}
    for name, (estimate, without) in _ranked(series).items():
        overall[name] = _interval(name, over_labels(task, estimate), over_labels(task, without))
        if name in kinds.of(task).ranked:
            columns[name] = estimate, without
    for name, loss in losses_of(task).items():
        overall[name] = score_of(*mean_of([_mean_without(one, loss(one)) for one in series]), bounded=False)
    about = _speakers_of_each_label(series)
    per_label = {
        label: {
            name: _interval(name, estimate[number], without[:, number], about[name][number])
            for name, (estimate, without) in columns.items()
        }
        for number, label in enumerate(task.labels)
    }
    having, given = _support(counted[0][0])
    return Evaluation(
        headline(task),
        overall,
        per_label,
        dict(zip(task.labels, having.astype(int).tolist())),
        dict(zip(task.labels, given.astype(int).tolist())),
        len(first.ids),
        first.unit,
        len(set(first.groups)),
        caution(first),
    )


def _interval(name: str, estimate: FloatArray | float, without: FloatArray, groups: int | None = None) -> Score:
    """By the metric's row, as 0 to 1 where it has none."""
    if name in METRICS:
        return interval(METRICS[name], estimate, without, groups)
    return score_of(estimate, without, groups)


def _support(summed: Totals) -> tuple[FloatArray, FloatArray]:
    """Clips that have each label and those that were given it, (..., n_labels); of a target those with a number."""
    if isinstance(summed, Moments):
        return summed.sums[..., 0], summed.sums[..., 0]
    return summed.true_positive + summed.false_negative, summed.true_positive + summed.false_positive


def _mean_without(predictions: Predictions, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The mean of a value of each clip, (n_clips,), and without each unit."""
    whole, without = sums_without(predictions, np.stack([values, np.ones_like(values)], axis=1))
    return ratio(whole[0], whole[1]), ratio(without[:, 0], without[:, 1])


def _speakers_of_each_label(series: Sequence[Predictions]) -> dict[str, list[int]]:
    """By metric, how many speakers each label's figure is about; of a series, the run with fewest."""
    found: dict[str, list[list[int]]] = {}
    for one in series:
        units, member = members(one)
        rows = kinds.clip_rows(one.task, one.truth, one.prediction)
        sums = np.zeros((units, rows.shape[1]))
        np.add.at(sums, member, rows)
        having, given = _support(kinds.totals(one.task, sums))
        concerned = dict.fromkeys((*kinds.of(one.task).per_label, *kinds.of(one.task).ranked), having)
        concerned |= {} if one.task.regression else {"precision": given, "f1": having + given}
        for name, clips in concerned.items():
            found.setdefault(name, []).append((clips > 0).sum(axis=0).tolist())
    return {name: np.min(numbers, axis=0).tolist() for name, numbers in found.items()}


def _ranked(series: Sequence[Predictions]) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Each ranked metric of each label, of all clips (n_labels,) and without each unit (units, n_labels)."""
    found: dict[str, list[tuple[FloatArray, FloatArray]]] = {}
    for one in series:
        units, member = units_of(one)
        size = max(1, WEIGHTS // len(member))
        parts = []
        for start in range(0, units, size):
            left_out = np.arange(start, min(start + size, units))
            parts.append(ranked_per_label(one, (member != left_out[:, None]).astype(np.float64)))
        for name, whole in ranked_per_label(one).items():
            found.setdefault(name, []).append((whole, np.concatenate([part[name] for part in parts])))
    return {name: mean_of(pairs) for name, pairs in found.items()}


def headline_score(*series: Predictions) -> Score:
    """The headline metric with its interval.

    Args:
        *series: Predictions of the same clips; of several runs the mean over them is given.
    """
    counted = [pair for one in series for pair in counts_without([one])]
    metric = METRICS[headline(series[0].task)]
    return interval(metric, *replicates(counted, metric.function))


def headline_scores(layers: Sequence[Predictions]) -> list[Score]:
    """The headline metric with its interval, of each layer: the points of the layer curve.

    Args:
        layers: Predictions of the same task for the same clips.
    """
    metric = METRICS[headline(layers[0].task)]
    return [interval(metric, metric.function(whole), metric.function(rest)) for whole, rest in counts_without(layers)]


def may_be_best(layers: Sequence[Predictions]) -> list[bool]:
    """Of each layer, whether it may be the best one: no other is shown to be ahead of it.

    Every pair is compared by a paired jackknife and a one-sided t test at 5 % over the number of other layers
    (Bonferroni), so that in 95 of 100 studies the truly best layer is among those that may be: multiple comparisons
    with the best, Hsu, Multiple Comparisons, 1996. All may be where there are fewer than 10 speakers. Where a layer has
    no score it cannot be.

    Args:
        layers: As in `headline_scores`.

    Returns:
        One value a layer.
    """
    function = METRICS[headline(layers[0].task)].function
    pairs = [(function(whole), function(rest)) for whole, rest in counts_without(layers)]
    scores, without = np.array([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])
    units, others = without.shape[1], len(layers) - 1
    if others == 0 or units < FEWEST_TESTED:
        return [not np.isnan(score) for score in scores]
    limit = float(stdtrit(units - 1, 1 - (1 - COVERAGE) / others))
    ahead = scores[None] - scores[:, None]  # [layer, other]
    spread = without[None] - without[:, None]
    error = np.sqrt((units - 1) / units * np.square(spread - spread.mean(axis=-1, keepdims=True)).sum(axis=-1))
    beaten = ahead > limit * error
    return [not np.isnan(score) and not ahead.any() for score, ahead in zip(scores, beaten)]


def caution(predictions: Predictions, say: Language = ENGLISH) -> str | None:
    """What the reader of an interval must know.

    Args:
        predictions: That the interval is of.
        say: Language of the sentence.

    Returns:
        A sentence, or None.
    """
    units, alone = len(set(predictions.groups)), predictions.groups == predictions.ids
    group = "clip" if alone else predictions.group
    fields = {"units": say.counted(units, group), "unit": say.many(group), "fewest": FEWEST_GROUPS}
    if units < FEWEST_GROUPS:
        return say("caution.too_few_groups", **fields)
    if units < FEW_GROUPS:
        return say("caution.few_groups", **fields)
    if alone:
        return say("caution.clips" if predictions.group == "clip" else "caution.clips_unknown")
    return say("caution.recordings") if predictions.group == "recording" else None
