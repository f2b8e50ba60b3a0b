"""What is measured of probabilities and scores, where counts of decisions do not do."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from toolkit.corpus.labels import Task, one_hot
from toolkit.result import kinds
from toolkit.result.kinds import RANKED, clip_rows, totals
from toolkit.result.metrics import missing, of_task
from toolkit.result.predictions import Predictions
from toolkit.result.rank_metrics import ranked, spearman
from toolkit.result.scale_metrics import mean_of_defined

FloatArray = npt.NDArray[np.float64]

# These need the clips' order by score, not counts alone; in the order that `ranked` returns them. The first two are of
# the clips of all rounds together, by standardised scores where there are any; the others the mean over the test folds.
RANKED_BY_FOLD = ("roc_auc_by_fold", "average_precision_by_fold")
SMALLEST = 1e-7  # a smaller probability of what is true costs no more in the log loss


def brier(predictions: Predictions) -> FloatArray:
    """Each clip's squared distance between probabilities and truth, (n_clips,); 0 .. 1, of several classes 0 .. 2.

    Binary: of the positive label. Multilabel: the mean over the labels. Multiclass: the sum over the labels.
    Source: Brier, Monthly Weather Review, 1950; scikit-learn's brier_score_loss.
    """
    squares = np.square(predictions.probability - one_hot(predictions.task, predictions.truth))
    if predictions.task.kind == "binary":
        return np.asarray(squares[:, -1])
    return np.asarray(squares.mean(axis=1) if predictions.task.multilabel else squares.sum(axis=1))


def log_loss(predictions: Predictions) -> FloatArray:
    """Each clip's -log of the probability of its truth, (n_clips,), in nats; multilabel: the mean over the labels.

    Source: scikit-learn's log_loss, with probabilities kept 1e-7 from 0.
    """
    if not predictions.task.multilabel:
        true = np.take_along_axis(predictions.probability, predictions.truth[:, None], axis=1)[:, 0]
    else:
        true = np.where(predictions.truth == 1, predictions.probability, 1 - predictions.probability)
    loss = -np.log(np.clip(true, SMALLEST, 1.0))
    return np.asarray(loss if loss.ndim == 1 else loss.mean(axis=1))


# Means over the clips of these; NaN where there are no probabilities. Lower is better.
LOSSES: dict[str, Callable[[Predictions], FloatArray]] = {"brier": brier, "log_loss": log_loss}


def measure(predictions: Predictions) -> dict[str, float | None]:
    """Every metric of the task's kind by name, over all clips, without intervals; None when undefined.

    ROC-AUC and average precision are means over the labels that have them, one label against the rest; for a binary
    task they are the positive label's.
    """
    task = predictions.task
    whole = totals(task, clip_rows(task, predictions.truth, predictions.prediction).sum(axis=0))
    values = {name: missing(row.function(whole)) for name, row in of_task(task).items()}
    for name, per_label in ranked_per_label(predictions).items():
        values[name] = missing(over_labels(task, per_label))
    return values | {name: missing(loss(predictions).mean()) for name, loss in losses_of(task).items()}


def losses_of(task: Task) -> dict[str, Callable[[Predictions], FloatArray]]:
    """Those of LOSSES that are measured of the task."""
    return {name: loss for name, loss in LOSSES.items() if name in kinds.of(task).losses}


def ranked_per_label(predictions: Predictions, weights: FloatArray | None = None) -> dict[str, FloatArray]:
    """By name, each ranked metric of every label, (..., n_labels); NaN where there are no probabilities.

    weights: (..., n_clips), how often each clip counts; once each when left out. RANKED_BY_FOLD are given where there
    is more than one test fold: of each label the mean over the folds that have it and lack it. Of a regression
    Spearman's correlation of each target, of the numbers of all folds; of levels nothing.
    """
    if predictions.task.regression:
        return {"spearman": spearman(predictions.truth, predictions.prediction, weights)}
    if not kinds.of(predictions.task).ranked:
        return {}
    folds = np.unique(predictions.fold)
    names = RANKED if len(folds) == 1 else (*RANKED, *RANKED_BY_FOLD)
    leading = () if weights is None else weights.shape[:-1]
    if not predictions.has_probability:
        return dict.fromkeys(names, np.full((*leading, len(predictions.task.labels)), np.nan))
    pooled = predictions.probability if predictions.score is None else predictions.score
    found = dict(zip(RANKED, _ranked_labels(predictions, pooled, np.arange(len(pooled)), weights)))
    if len(folds) > 1:
        clips = [np.flatnonzero(predictions.fold == fold) for fold in folds]
        by_fold = [_ranked_labels(predictions, predictions.probability, part, weights) for part in clips]
        area, precision = (np.stack(each, axis=-1) for each in zip(*by_fold))
        precision[np.isnan(area)] = np.nan  # among positives alone it is 1, whatever the order
        found |= zip(RANKED_BY_FOLD, (mean_of_defined(area), mean_of_defined(precision)))
    return found


def _ranked_labels(
    predictions: Predictions, score: FloatArray, clips: npt.NDArray[np.intp], weights: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """ROC-AUC and average precision of every label among some of the clips, (..., n_labels) each."""
    indicators = one_hot(predictions.task, predictions.truth)[clips]
    weight = None if weights is None else weights[..., clips]
    pairs = [ranked(indicators[:, k], score[clips, k], weight) for k in range(indicators.shape[1])]
    return np.stack([pair[0] for pair in pairs], axis=-1), np.stack([pair[1] for pair in pairs], axis=-1)


def over_labels(task: Task, values: FloatArray) -> FloatArray:
    """The one value of a ranked metric from those of each label, (..., n_labels): see `measure`."""
    return values[..., -1] if task.kind == "binary" else mean_of_defined(values)
