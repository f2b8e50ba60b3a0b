"""From probabilities to decisions, to scores that rounds can share, and the loss that a search minimises.

A round's model is read against the clips it was fitted on: how often each label occurs there, and where the model's
log-odds are. So nothing of a test clip enters, and rounds whose models are not equally sure can be pooled.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toolkit.corpus.labels import IntArray, Task, one_hot

FloatArray = npt.NDArray[np.float64]
EVEN = 0.5  # the threshold of a label that the clips which choose it cannot give
FLOOR = 1e-3  # a smaller probability of what is true costs no more: one clip must not decide a search
INSIDE = 1e-12  # probabilities of 0 and 1 have finite log-odds
STILL = 1e-9  # log-odds that vary less do not vary


def log_odds(probability: FloatArray) -> FloatArray:
    """log(p / (1 - p)), of probabilities kept within 1e-12 of 0 and 1."""
    inside = np.clip(probability, INSIDE, 1 - INSIDE)
    return np.asarray(np.log(inside / (1 - inside)))


@dataclass(frozen=True)
class Scale:
    """Where one model's log-odds are on the clips it was fitted on: their mean and standard deviation, (n_labels,).

    Scores of different models must not be pooled as they are: an offset of one round's model moves its clips past all
    others (Forman and Scholz, Apples-to-apples in cross-validation studies, SIGKDD Explorations, 2010).
    """

    centre: FloatArray
    spread: FloatArray

    def scores(self, probability: FloatArray) -> FloatArray:
        """(n, n_labels) log-odds in standard deviations from their mean; 0 where the model says one thing of all."""
        moved = log_odds(probability) - self.centre
        return np.divide(moved, self.spread, out=np.zeros_like(moved), where=self.spread > STILL)

    def probability(self, scores: FloatArray) -> FloatArray:
        """The way back, of (n_labels,) or (n, n_labels) scores."""
        return np.asarray(1 / (1 + np.exp(-(self.centre + scores * self.spread))))


def scale_of(probability: FloatArray) -> Scale:
    """The Scale of a model, from its probabilities (n, n_labels) of the clips it was fitted on."""
    odds = log_odds(probability)
    return Scale(odds.mean(axis=0), odds.std(axis=0))


def thresholds_of(task: Task, truth: IntArray, scores: FloatArray) -> FloatArray:
    """(n_labels,) for a multilabel task: per label, the standardised score above which its F1 is highest.

    truth, scores: (n, n_labels) of clips that no model was fitted on when it scored them, NaN for a label that its
    model could not learn. A threshold is half-way between two neighbouring scores; of equals, the one nearest to 0,
    the mean. NaN for a label without a positive, or with one score for every clip: `bars_of` decides it at 0.5. Empty
    for other tasks.
    """
    if not task.multilabel:
        return np.empty(0)
    return np.array([_best_threshold(truth[:, label], scores[:, label]) for label in range(len(task.labels))])


def _best_threshold(truth: IntArray, scores: FloatArray) -> float:
    truth, scores = truth[~np.isnan(scores)], scores[~np.isnan(scores)]
    if not truth.any() or scores.min() == scores.max():
        return np.nan
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    true_positives = np.cumsum(truth[order])
    cuts = np.append(np.flatnonzero(ranked[:-1] > ranked[1:]), len(ranked) - 1)  # the last clip above the threshold
    below = np.append(ranked[1:], ranked[-1] - 1)
    candidates = (ranked[cuts] + below[cuts]) / 2
    f1 = 2 * true_positives[cuts] / (cuts + 1 + truth.sum())
    equals = candidates[f1 >= f1.max()]
    return float(equals[np.argmin(np.abs(equals))])


def bars_of(task: Task, prevalence: FloatArray, scale: Scale, thresholds: FloatArray) -> FloatArray:
    """(n_labels,) what `decide` compares a model's probabilities with.

    prevalence: of each label in the clips that the model was fitted on. Multilabel: `thresholds_of`, carried to this
    model by its scale; 0.5 for a label without one, or of which the model says one thing of all clips. Otherwise the
    prevalence.
    """
    if not task.multilabel:
        return prevalence
    known = ~np.isnan(thresholds) & (scale.spread > STILL)
    return np.where(known, scale.probability(np.where(known, thresholds, 0.0)), EVEN)


def decide(task: Task, probability: FloatArray, bars: FloatArray) -> IntArray:
    """(n, n_labels) of 0 and 1 for a multilabel task: where the probability is above its bar.

    Otherwise (n,): the label whose probability exceeds its prevalence in training the most, which is what an unweighted
    average recall rewards; the most probable one where all labels are equally frequent. bars: (n_labels,), or one row a
    clip.
    """
    if task.multilabel:
        return (probability > bars).astype(np.int64)
    chosen: IntArray = balanced(task, probability, bars).argmax(axis=1)
    return chosen


def balanced(task: Task, probability: FloatArray, prevalence: FloatArray) -> FloatArray:
    """(n, n_labels) as they would be if every class (multilabel: each label's two sides) had been equally frequent.

    Bayes' rule with another prior; a label that is in all or none of the training clips keeps its probability.
    """
    share = np.broadcast_to(prevalence, probability.shape)
    if task.multilabel:
        known = (share > 0) & (share < 1)
        moved = log_odds(probability) - log_odds(share)
        return np.where(known, 1 / (1 + np.exp(-moved)), probability)
    relative = np.divide(probability, share, out=np.zeros_like(probability), where=share > 0)
    total = relative.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(relative, total, out=probability.copy(), where=total > 0))


def balanced_log_loss(task: Task, truth: IntArray, probability: FloatArray, prevalence: FloatArray) -> float:
    """What a search minimises on held-out clips: -log p of what is true, every class counting the same; in nats.

    probability, prevalence: as in `balanced`, which is taken of them. The mean over the classes that occur of their
    clips' mean loss; of a multilabel task over both sides of each label that occurs and does not always. NaN where
    nothing does. A hundredth of a decision moves it, where UAR only sees whole clips, so it chooses with half the
    noise.
    """
    found = balanced(task, probability, prevalence)
    having = one_hot(task, truth).astype(bool)
    true = -np.log(np.maximum(found, FLOOR))
    false = -np.log(np.maximum(1 - found, FLOOR))
    losses = []
    for label in range(len(task.labels)):
        has = having[:, label]
        if task.multilabel and has.any() and not has.all():
            losses.append((true[has, label].mean() + false[~has, label].mean()) / 2)
        elif not task.multilabel and has.any():
            losses.append(true[has, label].mean())
    return float(np.mean(losses)) if losses else float("nan")
