"""What a fit learns: the training truth as columns, class weights, and the labels it cannot learn."""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from toolkit.core.errors import ToolkitError
from toolkit.corpus.labels import IntArray, Task, Truth, middle_of, one_hot
from toolkit.result import kinds
from toolkit.result.kinds import Link

FloatArray = npt.NDArray[np.float64]
ALL = -1  # in place of a label's index: what is one for all labels


@dataclass(frozen=True)
class Targets:
    """The truth of one training part.

    softmax: one distribution over the fitted labels (multiclass, ordinal) instead of one fit per label.
    fitted: (n_fitted,) the labels that have both positives and negatives in training. A binary task has one column,
        its positive label. Every other label is predicted at its training prevalence, which is then 0 or 1.
    columns: (n_clips, n_fitted) 0 and 1. prevalence: (n_labels,).
    Of a regression: fitted, the targets that vary; columns, their numbers less the mean, over the deviation, NaN where
    there is none; prevalence, the means; spread, the deviations (n_labels,).
    link: how a fit's numbers become what it gives out.
    """

    softmax: bool
    fitted: IntArray
    columns: Truth
    prevalence: FloatArray
    link: Link
    spread: FloatArray = field(default_factory=lambda: np.empty(0))

    @property
    def problems(self) -> list[int]:
        """The independent fits by label: ALL for the one of a softmax, each fitted label otherwise."""
        return [ALL] if self.softmax else self.fitted.tolist()

    @property
    def n_problems(self) -> int:
        """How many independent fits there are."""
        return len(self.problems)

    @property
    def above(self) -> "Targets":
        """Of levels: is a clip above each but the last? Fits of their own; NaN of a clip whose level is not fitted."""
        known = self.columns.any(axis=1, keepdims=True)
        columns = np.where(known, 1.0 - self.columns.cumsum(axis=1)[:, :-1], np.nan)
        return Targets(False, self.fitted[:-1], columns, self.prevalence, "sigmoid")

    def weights(self, class_weights: str, columns: Truth | None = None) -> FloatArray:
        """(n_clips, n_problems), each column adding up to n_clips over the training part.

        "balanced" gives a clip n_clips / (n_classes * clips of its class), as scikit-learn does.
        columns: other clips' truth, which gets the training part's weights; without it the training part's own.
        A clip without a number, or of a level that is not fitted, has none.
        """
        of = self.columns if columns is None else columns
        weights = np.ones((len(of), self.n_problems))
        if of.dtype.kind == "f":
            known = ~np.isnan(of)
            weights = known * (len(of) / np.maximum(known.sum(axis=0), 1))
        elif self.link == "cumulative":
            weights *= of.any(axis=1, keepdims=True)
        if class_weights == "balanced":
            n_clips, positives = len(self.columns), self.columns.sum(axis=0)
            if self.softmax:
                weights[:, 0] = of @ (n_clips / (len(self.fitted) * positives))
            else:
                weights[:] = np.where(of == 1, n_clips / (2 * positives), n_clips / (2 * (n_clips - positives)))
        return weights

    def columns_of(self, task: Task, truth: Truth) -> Truth:
        """Other clips' truth in these columns, (n, n_fitted); a label that is not fitted has none."""
        if task.regression:
            return np.asarray(((truth - self.prevalence) / np.where(self.spread > 0, self.spread, 1))[:, self.fitted])
        return one_hot(task, truth)[:, self.fitted]

    def natural(self, fitted: FloatArray, class_weights: str) -> FloatArray:
        """(n, n_fitted) probabilities as they are without the class weights that they were fitted with.

        "balanced" weights teach a model that every class (of one label: each side) is equally frequent; Bayes' rule
        with the training part's own shares undoes that.
        """
        if class_weights != "balanced":
            return fitted
        share = self.prevalence[self.fitted]
        joint = np.ascontiguousarray(fitted * share)  # a row's sum must not depend on how rows are stored
        total = joint.sum(axis=1, keepdims=True) if self.softmax else joint + (1 - fitted) * (1 - share)
        return np.asarray(joint / total)

    def probability(self, fitted: FloatArray, task: Task, class_weights: str) -> FloatArray:
        """(n, n_labels) from the output of fits with such class weights for the fitted labels, (n, n_fitted).

        They are as if there had been no weights. Raises ToolkitError for another number of columns.
        """
        if fitted.shape[1:] != (len(self.fitted),):
            raise ToolkitError(f"Targets: probabilities of shape {fitted.shape}, {len(self.fitted)} labels were fitted")
        probability = np.tile(self.prevalence, (len(fitted), 1))
        if task.regression:
            probability[:, self.fitted] += self.spread[self.fitted] * fitted
            return probability
        probability[:, self.fitted] = self.natural(fitted, class_weights)
        if task.kind == "binary" and len(self.fitted):
            probability[:, 0] = 1 - probability[:, 1]
        return probability


def targets_of(task: Task, truth: Truth) -> Targets:
    """The Targets of a training part. truth: as in `EvaluationTask`."""
    link = kinds.of(task).link
    if task.regression:
        mean, spread = middle_of(task, truth)
        empty = Targets(False, np.flatnonzero(spread > 0), truth, mean, link, spread)
        return replace(empty, columns=empty.columns_of(task, truth))
    columns = one_hot(task, truth)
    prevalence = columns.mean(axis=0)
    learnable = (prevalence > 0) & (prevalence < 1)
    if task.kind == "binary":
        learnable[0] = False
    fitted = np.flatnonzero(learnable)
    return Targets(link in ("softmax", "cumulative"), fitted, columns[:, fitted], prevalence, link)


@dataclass(frozen=True)
class Scaler:
    """Standardisation by the statistics of a training part, per feature, in float64. mean, scale: (width,)."""

    mean: FloatArray
    scale: FloatArray

    def __call__(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(n, width) float32 -> (n, width) float32, centred and scaled."""
        return ((features - self.mean) / self.scale).astype(np.float32)


def scaler_of(features: npt.NDArray[np.float32]) -> Scaler:
    """The Scaler of a training part (n, width). A feature that does not vary is centred, not scaled."""
    mean = features.mean(axis=0, dtype=np.float64)
    variance = np.square(features - mean).mean(axis=0)
    constant = variance <= (np.abs(mean) * np.finfo(np.float32).eps) ** 2
    return Scaler(mean, np.where(constant, 1.0, np.sqrt(variance)))
