"""Runs of one series in a line."""

from dataclasses import replace

import numpy as np

from tests.result.conftest import make_run
from toolkit.result.report.terminal import spread
from toolkit.result.run import Run


def scoring(right: int, seed: int) -> Run:
    """A run that gets so many of the clips of each of two labels right, of 10, and all others."""
    run = make_run("binary", clips=20, speakers=5)
    truth = np.arange(20) % 2
    prediction = np.where(np.arange(20) // 2 < right, truth, 1 - truth)
    predictions = replace(run.predictions, truth=truth, prediction=prediction)
    layers = dict.fromkeys(run.layers, predictions)
    provenance = {**run.provenance, "deal": 0, "seed": seed}
    return replace(run, predictions=predictions, layers=layers, provenance=provenance)


def test_mean_and_spread_are_given_and_never_the_best_alone() -> None:
    assert spread([scoring(6, 0), scoring(7, 1), scoring(8, 2)]) == (
        "UAR 0.700 on average over 3 runs (1 deal of the folds, 3 training seeds), standard deviation 0.100, 0.600 to "
        "0.800"
    )
