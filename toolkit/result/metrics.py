"""What the figures mean. Every metric has one definition, here (of scales in `scale_metrics`), and a row in METRICS;
what is undefined is missing, never 0.

Definitions agree with scikit-learn's, with every label passed and `zero_division=nan`: a label whose value is undefined
is left out of an average over labels. The functions work on `Counts` of any leading shape, so that all clips and the
clips without each speaker cost one call; they return NaN where undefined, which `measure` and the files turn into
"missing".
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from toolkit.core.i18n import ENGLISH, Language
from toolkit.core.registry import Registry
from toolkit.corpus.labels import Kind, Task
from toolkit.result import scale_metrics
from toolkit.result.counts import Counts
from toolkit.result.rank_metrics import ratio
from toolkit.result.scale_metrics import Moments, mean_of_defined

FloatArray = npt.NDArray[np.float64]
Average = Literal["label", "macro", "weighted", "micro"]
Function = Callable[[Any], FloatArray]  # of Counts or Moments of any leading shape (...)
Scale = Literal["unit", "signed", "free"]  # 0 to 1; -1 to 1; anything, such as a distance in a target's unit


def _averaged(counts: Counts, average: Average, top: FloatArray, bottom: FloatArray) -> FloatArray:
    if average == "micro":
        return ratio(top.sum(axis=-1), bottom.sum(axis=-1))
    values = ratio(top, bottom)
    if average == "label":
        return values
    support = counts.true_positive + counts.false_negative
    weights = np.where(np.isnan(values), 0.0, support if average == "weighted" else 1.0)
    return ratio((np.nan_to_num(values) * weights).sum(axis=-1), weights.sum(axis=-1))


def precision(counts: Counts, average: Average = "label") -> FloatArray:
    """TP / (TP + FP), 0 to 1; undefined for a label that is never predicted.

    Source: scikit-learn, precision_score(labels=all, zero_division=nan).

    Args:
        counts: Of any leading shape (...).
        average: "label" gives one value a label; "macro" their mean; "weighted" weights them by how often each occurs;
            "micro" is of the summed counts.

    Returns:
        (..., n_labels) for "label", else (...,); NaN where undefined.

    >>> from toolkit.result.counts import count
    >>> precision(count([0, 0, 1], [0, 1, 1], labels=2))
    array([1. , 0.5])
    """
    return _averaged(counts, average, counts.true_positive, counts.true_positive + counts.false_positive)


def recall(counts: Counts, average: Average = "label") -> FloatArray:
    """TP / (TP + FN), 0 to 1; undefined for a label that never occurs.

    Source: scikit-learn, recall_score(labels=all, zero_division=nan).

    Args:
        counts: Of any leading shape (...).
        average: As in `precision`.

    Returns:
        (..., n_labels) for "label", else (...,); NaN where undefined.

    >>> from toolkit.result.counts import count
    >>> recall(count([0, 0, 1], [0, 1, 1], labels=2))
    array([0.5, 1. ])
    """
    return _averaged(counts, average, counts.true_positive, counts.true_positive + counts.false_negative)


def f1(counts: Counts, average: Average = "label") -> FloatArray:
    """2 TP / (2 TP + FP + FN), 0 to 1; undefined for a label that neither occurs nor is predicted.

    Source: scikit-learn, f1_score(labels=all, zero_division=nan).

    Args:
        counts: Of any leading shape (...).
        average: As in `precision`; macro F1 is the mean of the labels' F1, over the labels that have one.

    Returns:
        (..., n_labels) for "label", else (...,); NaN where undefined.

    >>> from toolkit.result.counts import count
    >>> f1(count([0, 0, 1, 1], [0, 1, 1, 1], labels=2)).round(3)
    array([0.667, 0.8  ])
    """
    top = 2 * counts.true_positive
    return _averaged(counts, average, top, top + counts.false_positive + counts.false_negative)


def f1_both_sides(counts: Counts) -> FloatArray:
    """Of each label the F1 of having it and that of lacking it, weighted by their clips; the mean over labels, 0 to 1.

    For multilabel, and what the hotline paper reports. Clips without a rare label lift it: giving no label at all to
    clips that have it once in ten scores 0.85.
    Source: the mean over labels k of scikit-learn's f1_score(truth[:, k], prediction[:, k], average="weighted").

    >>> from toolkit.result.counts import count
    >>> round(float(f1_both_sides(count([[1], [0], [0], [0]], [[0], [0], [0], [0]], labels=1))), 3)
    0.643
    """
    hit, wrong = counts.true_positive, counts.false_positive + counts.false_negative
    clips = counts.clips[..., None]
    having, rejected = hit + counts.false_negative, clips - hit - wrong
    each = np.zeros_like(hit)
    for right, weight in ((hit, having), (rejected, clips - having)):
        each += np.nan_to_num(ratio(2 * right, 2 * right + wrong)) * weight
    return ratio(each.mean(axis=-1), counts.clips)


def unweighted_average_recall(counts: Counts) -> FloatArray:
    """UAR: the mean recall over the labels that occur in the truth, 0 to 1; chance is 1 / their number.

    Every label counts the same however rare; a label that never occurs has no recall and does not count, though it may
    be predicted. Source: Schuller et al., INTERSPEECH 2009 Emotion Challenge; scikit-learn's balanced_accuracy_score.

    >>> from toolkit.result.counts import count
    >>> unweighted_average_recall(count([0, 0, 1], [0, 1, 1], labels=3))
    array(0.75)
    """
    return recall(counts, "macro")


def accuracy(counts: Counts) -> FloatArray:
    """Clips predicted right / all clips, 0 to 1. For multilabel every label must be right: the exact match.

    >>> from toolkit.result.counts import count
    >>> accuracy(count([0, 0, 1, 1], [0, 1, 1, 1], labels=2))
    array(0.75)
    """
    return ratio(counts.correct, counts.clips)


def hamming_loss(counts: Counts) -> FloatArray:
    """Wrong 0s and 1s / all of them (multilabel), 0 to 1, lower is better. Source: scikit-learn, hamming_loss.

    >>> from toolkit.result.counts import count
    >>> hamming_loss(count([[0, 1], [1, 1]], [[0, 1], [1, 0]], labels=2))
    array(0.25)
    """
    wrong = (counts.false_positive + counts.false_negative).sum(axis=-1)
    return ratio(wrong, counts.clips * counts.true_positive.shape[-1])


@dataclass(frozen=True)
class Metric:
    """A row of METRICS.

    Attributes:
        kinds: Of task that it is reported for.
        function: Of `Counts` of any leading shape (...), of a regression of `Moments`, to values (...,), NaN where
            undefined.
        title: In figures and tables, of a metric that an installed package adds; ours are in the languages' words.
        scale: What values it has; the intervals are taken accordingly.
        per_unit: It is in a target's unit, so that it has no mean over several targets.
    """

    kinds: tuple[Kind, ...]
    function: Function
    title: str = ""
    scale: Scale = "unit"
    per_unit: bool = False


SINGLE: tuple[Kind, ...] = ("binary", "multiclass")
MULTI: tuple[Kind, ...] = ("multilabel",)
ORDINAL: tuple[Kind, ...] = ("ordinal",)
NUMBERS: tuple[Kind, ...] = ("regression",)
# Of each target of a regression; what is given overall is the mean over the targets.
PER_TARGET: dict[str, Function] = {
    "concordance_correlation": scale_metrics.concordance_correlation,
    "pearson": scale_metrics.pearson,
    "mean_absolute_error": scale_metrics.mean_absolute_error,
    "root_mean_squared_error": scale_metrics.root_mean_squared_error,
    "r_squared": scale_metrics.r_squared,
}


def _over_targets(name: str, moments: Moments) -> FloatArray:
    return mean_of_defined(PER_TARGET[name](moments))


def _of_levels(function: Callable[[FloatArray], FloatArray], counts: Counts) -> FloatArray:
    return function(counts.table)


METRICS = Registry(
    "metric",
    "metrics",
    Metric,
    {
        "unweighted_average_recall": Metric(SINGLE, unweighted_average_recall),
        "quadratic_weighted_kappa": Metric(
            ORDINAL, partial(_of_levels, scale_metrics.quadratic_weighted_kappa), scale="signed"
        ),
        "macro_absolute_error": Metric(ORDINAL, partial(_of_levels, scale_metrics.macro_absolute_error), scale="free"),
        "spearman": Metric(ORDINAL, partial(_of_levels, scale_metrics.spearman_of_levels), scale="signed"),
        "accuracy_within_one": Metric(ORDINAL, partial(_of_levels, scale_metrics.accuracy_within_one)),
        "accuracy": Metric(SINGLE + ORDINAL, accuracy),
        "f1_macro": Metric(SINGLE + MULTI, lambda counts: f1(counts, "macro")),
        "f1_weighted": Metric(SINGLE + MULTI, lambda counts: f1(counts, "weighted")),
        "f1_micro": Metric(SINGLE + MULTI, lambda counts: f1(counts, "micro")),
        "f1_both_sides": Metric(MULTI, f1_both_sides),
        "precision_macro": Metric(SINGLE + MULTI, lambda counts: precision(counts, "macro")),
        "precision_weighted": Metric(SINGLE + MULTI, lambda counts: precision(counts, "weighted")),
        "precision_micro": Metric(SINGLE + MULTI, lambda counts: precision(counts, "micro")),
        "recall_macro": Metric(SINGLE + MULTI, lambda counts: recall(counts, "macro")),
        "recall_weighted": Metric(SINGLE + MULTI, lambda counts: recall(counts, "weighted")),
        "recall_micro": Metric(SINGLE + MULTI, lambda counts: recall(counts, "micro")),
        "exact_match": Metric(MULTI, accuracy),
        "hamming_loss": Metric(MULTI, hamming_loss),
        "concordance_correlation": Metric(NUMBERS, partial(_over_targets, "concordance_correlation"), scale="signed"),
        "pearson": Metric(NUMBERS, partial(_over_targets, "pearson"), scale="signed"),
        "mean_absolute_error": Metric(
            NUMBERS, partial(_over_targets, "mean_absolute_error"), scale="free", per_unit=True
        ),
        "root_mean_squared_error": Metric(
            NUMBERS, partial(_over_targets, "root_mean_squared_error"), scale="free", per_unit=True
        ),
        "r_squared": Metric(NUMBERS, partial(_over_targets, "r_squared"), scale="free"),
    },
)
PER_LABEL: dict[str, Function] = {"precision": precision, "recall": recall, "f1": f1}


def of_task(task: Task) -> dict[str, Metric]:
    """The metrics that are reported of a task, by name; of several targets without those in a target's unit."""
    several = task.regression and len(task.labels) > 1
    return {name: row for name, row in METRICS.items() if task.kind in row.kinds and not (several and row.per_unit)}


def title(metric: str, say: Language = ENGLISH) -> str:
    """The metric's name for readers: "UAR", "F1, macro", ...; with its package, where that is not the toolkit."""
    plugin = METRICS.plugin(metric)
    if plugin is not None:
        return f"{METRICS[metric].title or metric} ({plugin.distribution} {plugin.version})"
    return say(f"metric.{metric}")


def missing(value: FloatArray | float) -> float | None:
    """A plain float, or None for NaN."""
    return None if np.isnan(value) else float(value)
