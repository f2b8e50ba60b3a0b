"""Runs that differ in their training seed or the deal of their folds alone: how far chance moves a figure."""

import statistics
from collections.abc import Sequence

from toolkit.result.language import ENGLISH
from toolkit.result.metrics import headline_score
from toolkit.result.run import Run
from toolkit.result.words import metric_name


def known_scores(runs: Sequence[Run]) -> list[float]:
    """What the runs score in their headline metric; those where it is undefined are left out."""
    scores = [headline_score(run.task, run.predictions.truth, run.predictions.prediction) for run in runs]
    return [score for score in scores if score is not None]


def spread(runs: Sequence[Run]) -> str:
    """A series of two runs or more in one line: what they score in their headline metric, never the best of them."""
    known = known_scores(runs)
    if len(known) < len(runs):
        return f"{metric_name(runs[0])} is undefined in {len(runs) - len(known)} of {len(runs)} runs"
    deals, seeds = (len({run.provenance[name] for run in runs}) for name in ("deal", "seed"))
    dealt = ENGLISH.counted(deals, "deal") + " of the folds, " + ENGLISH.counted(seeds, "training seed")
    return (
        f"{metric_name(runs[0])} {statistics.mean(known):.3f} on average over {len(runs)} runs ({dealt}), "
        f"standard deviation {statistics.stdev(known):.3f}, {min(known):.3f} to {max(known):.3f}"
    )
