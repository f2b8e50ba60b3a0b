"""Stacked networks: each is the network that would have been trained alone."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.probe.conftest import Corpus
from toolkit.probe.networks import NetworkFitter
from toolkit.probe.protocol import Setting
from toolkit.probe.targets import ALL

SETTINGS: list[Setting] = [
    {"width": width, "depth": depth, "dropout": dropout, "learning_rate": rate, "weight_decay": 0.01,
     "statistics": statistics, "class_weights": weights}
    for width, depth, dropout, rate, statistics, weights in (
        (32, 1, 0.0, 1e-3, "mean", "none"),
        (128, 2, 0.4, 3e-3, "mean", "balanced"),
        (64, 1, 0.5, 1e-2, "mean", "none"),
        (64, 2, 0.2, 5e-4, "both", "none"),
    )
]  # fmt: skip


@pytest.mark.parametrize("mix", [False, True])
@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_a_network_is_the_same_alone_and_in_company(make_corpus: Callable[..., Corpus], kind: str, mix: bool) -> None:
    corpus = make_corpus(kind)
    layers = list(corpus.features.values()) if mix else [corpus.layer("encoder.1")]
    fitter = NetworkFitter(layers, corpus.task, corpus.truth, seed=0, mix=mix)
    train, development = np.flatnonzero(corpus.folds.fold != 0), np.flatnonzero(corpus.folds.fold == 0)
    together = fitter.search(train, development, SETTINGS, "round 0")
    for setting, fit in zip(SETTINGS, together, strict=True):
        (alone,) = fitter.search(train, development, [setting], "round 0")
        assert alone.found == fit.found
        np.testing.assert_allclose(alone.probability, fit.probability, atol=2e-4)


def test_a_refit_of_the_same_clips_and_epochs_is_the_searched_network(make_corpus: Callable[..., Corpus]) -> None:
    corpus = make_corpus("multiclass")
    fitter = NetworkFitter([corpus.layer("encoder.1")], corpus.task, corpus.truth, seed=0, mix=False)
    train, development = np.flatnonzero(corpus.folds.fold != 0), np.flatnonzero(corpus.folds.fold == 0)
    (searched,) = fitter.search(train, development, SETTINGS[1:2], "round 0")
    again = fitter.refit(train, development, SETTINGS[1], searched.found, "round 0")
    np.testing.assert_allclose(again.probability, searched.probability, atol=1e-6)
    assert searched.found[ALL] >= 1
