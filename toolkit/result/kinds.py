"""What a kind of task means, here alone: its headline, what its models give out, how that is judged and decided.

How folds share out its truth is `corpus.labels.strata`; how a loss looks inside a fit is each probe's own, by `link`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from toolkit.core.i18n import ENGLISH, Language
from toolkit.corpus.labels import Kind, Task, Truth, one_hot
from toolkit.result import thresholds
from toolkit.result.counts import Counts, clip_counts, clip_table
from toolkit.result.metrics import METRICS, PER_LABEL, PER_TARGET, Function, missing
from toolkit.result.predictions import Predictions
from toolkit.result.scale_metrics import Moments, clip_moments

FloatArray = npt.NDArray[np.float64]
# How a model's numbers become what it gives out: a probability for each label by itself; one distribution over the
# labels; the probability of more than each level, and so a distribution over levels; numbers as they are.
Link = Literal["sigmoid", "softmax", "cumulative", "identity"]
RANKED = ("roc_auc", "average_precision")
LOSSES = ("brier", "log_loss")


@dataclass(frozen=True)
class Meaning:
    """A row of KINDS.

    Attributes:
        headline: The metric that layers are compared by.
        link: What models give out, a column for each of `Task.labels`.
        clip_rows: What each clip adds to the sums of which metrics are functions: of truth, prediction and the number
            of labels, (n_clips, columns).
        totals: `Counts` or `Moments` from such sums, (..., columns).
        per_label: Metrics of each label, level or target, of those totals.
        ranked: Metrics that need the clips' order, see `probability_metrics`.
        losses: Metrics that need probabilities, likewise.
        decide: The decision from what models give out, (n, labels), and what it is compared with.
    """

    headline: str
    link: Link
    clip_rows: Callable[[Truth, Truth, int], FloatArray]
    totals: Callable[[FloatArray, int], Counts | Moments]
    per_label: Mapping[str, Function]
    ranked: tuple[str, ...]
    losses: tuple[str, ...]
    decide: Callable[[Task, FloatArray, FloatArray], Truth]


def _counts(columns: FloatArray, labels: int) -> Counts:
    return Counts.of(columns)


def _moments(truth: Truth, prediction: Truth, targets: int) -> FloatArray:
    return clip_moments(truth, prediction)


def _nearest_level(task: Task, probability: FloatArray, bars: FloatArray) -> Truth:
    """(n,) the level nearest to the mean of the distribution: least squared distance, which the kappa counts."""
    return np.rint(probability @ np.arange(probability.shape[1])).astype(np.int64)


def _as_it_is(task: Task, numbers: FloatArray, bars: FloatArray) -> Truth:
    return numbers


_SINGLE = Meaning(
    "unweighted_average_recall", "softmax", clip_counts, _counts, PER_LABEL, RANKED, LOSSES, thresholds.decide
)
KINDS: dict[Kind, Meaning] = {
    "binary": replace(_SINGLE, link="sigmoid"),
    "multiclass": _SINGLE,
    "multilabel": replace(_SINGLE, headline="f1_macro", link="sigmoid"),
    "ordinal": Meaning(
        "quadratic_weighted_kappa", "cumulative", clip_table, Counts.of_table, PER_LABEL, (), LOSSES, _nearest_level
    ),
    "regression": Meaning(
        "concordance_correlation", "identity", _moments, Moments.of, PER_TARGET, ("spearman",), (), _as_it_is
    ),
}


def of(task: Task) -> Meaning:
    """The row of the task's kind."""
    return KINDS[task.kind]


def headline(task: Task) -> str:
    """The metric that a layer is chosen by: UAR; macro F1 for multilabel, the quadratic weighted kappa for levels, the
    CCC for numbers."""
    return of(task).headline


def clip_rows(task: Task, truth: Truth, prediction: Truth) -> FloatArray:
    """What each clip adds to the sums of which the task's metrics are functions, (n_clips, columns)."""
    return of(task).clip_rows(truth, prediction, len(task.labels))


def totals(task: Task, sums: FloatArray) -> Counts | Moments:
    """What the task's metrics are functions of, from sums of `clip_rows`, (..., columns)."""
    return of(task).totals(sums, len(task.labels))


def headline_score(task: Task, truth: Truth, prediction: Truth) -> float | None:
    """The headline metric, e.g. of a development set.

    Args:
        task: Says which metric, and how many labels.
        truth: As in `Predictions`.
        prediction: As in `Predictions`.

    Returns:
        At most 1; None where undefined.
    """
    counted = totals(task, clip_rows(task, truth, prediction).sum(axis=0))
    return missing(METRICS[headline(task)].function(counted))


def decide(task: Task, probability: FloatArray, bars: FloatArray) -> Truth:
    """What is predicted, from what models give out, (n, n_labels); see `thresholds.decide` for labels.

    Of levels the one nearest to the mean of the distribution; of numbers themselves.
    """
    return of(task).decide(task, probability, bars)


def criterion(task: Task, truth: Truth, given: FloatArray, known: Truth, loss: str = "") -> float:
    """What a search minimises on held-out clips.

    Labels: `thresholds.balanced_log_loss`. Levels: the mean of -log of the true one's probability, in nats. Numbers:
    the mean over the targets of the squared error, in variances of the training clips; of models that are trained by it
    (loss "ccc") of 1 - CCC: for others the CCC of a few clips is too noisy to choose by.

    Args:
        task: Says which.
        truth: Of the held-out clips.
        given: (n, n_labels) what a model gave out for them.
        known: Truth of the clips that it was fitted on.
        loss: "ccc", or "" for any other.
    """
    if task.regression:
        if loss == "ccc":
            moments = Moments.of(clip_moments(truth, given).sum(axis=0), len(task.labels))
            return 1 - float(np.nanmean(PER_TARGET["concordance_correlation"](moments)))
        spread = np.nanstd(known, axis=0)
        squares = np.nanmean(np.square(given - truth), axis=0)
        return float(np.nanmean(squares[spread > 0] / np.square(spread[spread > 0])))
    if task.ordinal:
        true = np.take_along_axis(given, truth[:, None], axis=1)
        return float(-np.log(np.maximum(true, thresholds.FLOOR)).mean())
    return thresholds.balanced_log_loss(task, truth, given, one_hot(task, known).mean(axis=0))


def guess(predictions: Predictions) -> Predictions:
    """The same clips by a guesser without audio: what every chance level is the score of.

    It gives every clip the label or level that occurs most often, the first of equals; of a multilabel task every label
    that occurs, to every clip, the best that guessing reaches in macro F1: 2 p / (1 + p) for a label of prevalence p;
    of numbers their mean. Its scores are one and the same for all clips, its probabilities the labels' shares.
    """
    task, truth = predictions.task, predictions.truth
    if task.regression:
        mean = np.broadcast_to(np.nanmean(truth, axis=0), truth.shape).copy()
        return replace(predictions, prediction=mean, score=None)
    share = one_hot(task, truth).mean(axis=0)
    given = (share > 0).astype(np.int64) if task.multilabel else np.int64(share.argmax())
    return replace(
        predictions,
        prediction=np.broadcast_to(given, truth.shape).copy(),
        probability=np.tile(share, (len(predictions.ids), 1)),
        score=None,
    )


def chance(predictions: Predictions, say: Language = ENGLISH) -> tuple[float, str]:
    """What the guesser of `guess` scores in the headline metric on these very clips, and its name.

    UAR: 1 / the labels that occur, as any other guess does. Kappa and CCC: 0.

    Args:
        predictions: Whose clips are guessed.
        say: Language of the sentence.

    Returns:
        The score, 0 to 1, and how the guess is made, in words.
    """
    guessed = guess(predictions)
    task = predictions.task
    score = headline_score(task, guessed.truth, guessed.prediction)
    if task.regression or task.ordinal or task.multilabel:
        key = {"regression": "mean", "ordinal": "level"}.get(task.kind, "every_label")
        return score or 0.0, say(f"chance.{key}")
    occurring = int(one_hot(task, predictions.truth).any(axis=0).sum())
    return score or 0.0, say("chance.labels", number=occurring)
