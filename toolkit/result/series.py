"""Runs that differ in their training seed or the deal of their folds alone: how far chance moves a figure."""

from collections.abc import Sequence

from toolkit.result.kinds import headline_score
from toolkit.result.run import Run


def known_scores(runs: Sequence[Run]) -> list[float]:
    """What the runs score in their headline metric; those where it is undefined are left out."""
    scores = [headline_score(run.task, run.predictions.truth, run.predictions.prediction) for run in runs]
    return [score for score in scores if score is not None]
