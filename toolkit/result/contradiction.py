"""Probabilities of a file from elsewhere that cannot be what their columns are called."""

import numpy as np

from toolkit.core.errors import PredictionsError
from toolkit.corpus.labels import one_hot
from toolkit.result.predictions import Predictions
from toolkit.result.rank_metrics import roc_auc

FEWEST = 5  # clips with a label predicted, and without: of fewer the order is chance
ROUNDING = 0.02  # of a row's sum, and half a hundredth more for each label
CHANCE = 0.6  # at most what the order of another label's column agrees with a decision (ROC-AUC)
REMEDY = "or leave the columns probability:LABEL out"


def check_probabilities(name: str, predictions: Predictions) -> None:
    """That one label's probabilities add up to 1, and are higher where that label is predicted.

    A decision is by a threshold, whatever it is, so within a fold clips that are predicted a label have more of it; not
    so of columns in another order than their headings.

    name: of the file. Raises PredictionsError.
    """
    task, probability = predictions.task, predictions.probability
    if not predictions.has_probability or task.regression:
        return
    sums = probability.sum(axis=1)
    far = np.flatnonzero(np.abs(sums - 1) > ROUNDING + 0.005 * len(task.labels))
    if len(far) and not task.multilabel:
        raise PredictionsError(
            f"{name}: the probabilities of clip {predictions.ids[far[0]]!r} add up to {sums[far[0]]:.3g} "
            f"({len(far):,} clips are so), expected 1; divide each row by its sum, {REMEDY}"
        )
    if task.ordinal:  # the level nearest to the mean of a distribution may be an improbable one
        return
    for label, given, said in zip(task.labels, probability.T, one_hot(task, predictions.prediction).T):
        pairs = ordered = 0.0
        for fold in np.unique(predictions.fold):
            inside = predictions.fold == fold
            weight = float(said[inside].sum() * (1 - said[inside]).sum())
            pairs += weight
            ordered += weight * float(roc_auc(said[inside], given[inside])) if weight else 0.0
        if min(said.sum(), (1 - said).sum()) >= FEWEST and ordered < CHANCE * pairs:
            raise PredictionsError(
                f"{name}: clips that are predicted {label!r} have no higher probabilities of {label!r} than others; "
                f"expected each column under the name of its own label: correct the headings, {REMEDY}"
            )
