"""The linear probe as rounds use it: what a refit takes over from its search, and that clips count as they are many."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tests.probe.conftest import WIDTH, Corpus, run
from toolkit.core.errors import StoreError
from toolkit.features.layout import LayerFeatures
from toolkit.probe import linear, reference
from toolkit.probe.linear import LinearFitter, predict
from toolkit.probe.protocol import Setting
from toolkit.probe.search import weight_of
from toolkit.probe.solver import Penalised, principal_axes
from toolkit.probe.targets import ALL, scaler_of, targets_of

Make = Callable[..., Corpus]
SETTINGS: list[Setting] = [
    {"C": strength, "statistics": "mean", "class_weights": weights}
    for strength in (1e-3, 0.1, 10.0)
    for weights in ("none", "balanced")
]


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_a_refit_on_the_same_clips_is_the_search_s_fit(make_corpus: Make, kind: str) -> None:
    corpus = make_corpus(kind)
    fitter = LinearFitter(corpus.layer("encoder.1"), corpus.task, corpus.truth)
    train, development = np.flatnonzero(corpus.folds.fold != 0), np.flatnonzero(corpus.folds.fold == 0)
    for setting, searched in zip(SETTINGS, fitter.search(train, development, SETTINGS, "r"), strict=True):
        assert searched.found == {ALL: len(train)}
        again = fitter.refit(train, development, setting, searched.found, "r")
        np.testing.assert_allclose(again.probability, searched.probability, atol=5e-3)


def test_blocks_that_weigh_1_are_one_matrix_and_the_first_always_does(make_corpus: Make) -> None:
    corpus = make_corpus("binary")
    train, test = np.flatnonzero(corpus.folds.fold != 0), np.flatnonzero(corpus.folds.fold == 0)
    setting, found = SETTINGS[2], {ALL: len(train)}
    blocks = {"a": WIDTH // 2, "b": WIDTH - WIDTH // 2}
    whole, parts = (
        LinearFitter(corpus.layer("encoder.1"), corpus.task, corpus.truth, blocks=own) for own in (None, blocks)
    )
    expected = whole.refit(train, test, setting, found, "r").probability
    fused = parts.refit(train, test, {**setting, weight_of("b"): 1.0}, found, "r").probability
    np.testing.assert_allclose(fused, expected, atol=2e-4)
    light = parts.refit(train, test, {**setting, weight_of("b"): 0.01}, found, "r").probability
    assert np.abs(light - expected).max() > 0.01


def test_a_rounds_axes_are_of_all_its_clips_but_the_test_s_and_are_made_once(
    make_corpus: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, made = make_corpus("binary"), []

    def spied(features: np.ndarray, device: str) -> torch.Tensor:
        made.append(features)
        return principal_axes(features, device)

    monkeypatch.setattr(linear, "principal_axes", spied)
    fitter = LinearFitter(corpus.layer("encoder.1"), corpus.task, corpus.truth)
    train, development, test = (np.flatnonzero(corpus.folds.fold == fold) for fold in range(3))
    (searched,) = fitter.search(train, development, SETTINGS[:1], "r")
    both = np.union1d(train, development)
    fitter.refit(both, test, SETTINGS[0], searched.found, "r")
    (only,) = made
    mean = corpus.layer("encoder.1").mean[both]
    np.testing.assert_allclose(only, scaler_of(mean)(mean))
    fitter.refit(train[:WIDTH], test, SETTINGS[0], searched.found, "as many clips as features")
    fitter.refit(train[: WIDTH - 1], test, SETTINGS[0], searched.found, "fewer clips than features")
    assert [len(features) for features in made[1:]] == [WIDTH]


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_probabilities_of_clips_that_were_not_fitted_are_scikit_learns(make_corpus: Make, kind: str) -> None:
    """Of labels as rare as one in four, so that the intercept counts."""
    corpus = make_corpus(kind)
    truth = corpus.truth if kind == "multilabel" else np.where(np.arange(len(corpus.ids)) % 2, 0, corpus.truth)
    train, test = np.flatnonzero(corpus.folds.fold != 0), np.flatnonzero(corpus.folds.fold == 0)
    setting: Setting = {"C": 0.1, "statistics": "mean", "class_weights": "none"}
    fitter = LinearFitter(corpus.layer("encoder.1"), corpus.task, truth)
    found = fitter.refit(train, test, setting, {ALL: len(train)}, "r").probability
    mean = corpus.layer("encoder.1").mean
    scaled = scaler_of(mean[train])(mean).astype(np.float64)
    labels = truth.T if kind == "multilabel" else [truth]
    said = [
        LogisticRegression(C=0.1, tol=1e-8).fit(scaled[train], own[train]).predict_proba(scaled[test]) for own in labels
    ]
    expected = np.stack([one[:, 1] for one in said], axis=1) if kind == "multilabel" else said[0]
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_a_kept_model_gives_each_clip_the_probabilities_of_its_refit(make_corpus: Make, kind: str) -> None:
    corpus = make_corpus(kind)
    layer, clips = corpus.layer("encoder.1"), np.arange(len(corpus.ids))
    setting: Setting = {"C": 0.1, "statistics": "both", "class_weights": "none"}
    fit = LinearFitter(layer, corpus.task, corpus.truth).refit(clips, clips, setting, {ALL: len(clips)}, "r")
    targets = targets_of(corpus.task, corpus.truth)
    found = targets.probability(linear.apply([layer], fit.model, setting, targets), corpus.task, "none")
    np.testing.assert_allclose(found, fit.probability, atol=1e-12)


def test_two_parts_of_one_round_are_each_fitted_on_their_own_clips(make_corpus: Make) -> None:
    """As inner folds are: the second part is not the first one's, nor are other labels the same ones."""
    corpus = make_corpus("multiclass")
    layer, folds = corpus.layer("encoder.1"), [np.flatnonzero(corpus.folds.fold == fold) for fold in range(2)]
    fitter = LinearFitter(layer, corpus.task, corpus.truth)
    for train, development in (folds, folds[::-1], folds):
        (found,) = fitter.search(train, development, SETTINGS[2:3], "r")
        (alone,) = LinearFitter(layer, corpus.task, corpus.truth).search(train, development, SETTINGS[2:3], "r")
        np.testing.assert_allclose(found.probability, alone.probability, atol=1e-3)
    (other,) = fitter.relabelled((corpus.truth + 1) % 3).search(*folds, SETTINGS[2:3], "r")
    np.testing.assert_allclose(other.probability, np.roll(alone.probability, 1, axis=1), atol=1e-3)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_every_clip_twice_at_half_the_c_is_the_same_fit(make_corpus: Make, kind: str, setting: Setting) -> None:
    """C weighs a sum over clips: a refit of a setting that was searched on half as many takes half of it."""
    corpus = make_corpus(kind, clips_a_speaker=12)
    layer, n = corpus.layer("encoder.1"), len(corpus.ids)
    twice = LayerFeatures("encoder.1", (*layer.ids, *(f"{clip}-again" for clip in layer.ids)),
                          np.tile(layer.mean, (2, 1)), np.tile(layer.std, (2, 1)))  # fmt: skip
    doubled_truth = np.concatenate([corpus.truth, corpus.truth])
    once, clips = np.arange(n), np.arange(2 * n)
    single = LinearFitter(layer, corpus.task, corpus.truth).refit(once, once, setting, {ALL: n}, "r")
    doubled = LinearFitter(twice, corpus.task, doubled_truth).refit(clips, once, setting, {ALL: n}, "r")
    np.testing.assert_allclose(doubled.probability, single.probability, atol=1e-4)
    scaler, targets = scaler_of(twice.mean), targets_of(corpus.task, doubled_truth)
    half = Penalised(float(setting["C"]) / 2, str(setting["class_weights"]))
    (theirs,) = reference.solve(scaler(twice.mean), targets, [half])
    fitted = predict(scaler(layer.mean), theirs, targets.softmax)
    expected = targets.probability(fitted, corpus.task, half.class_weights)
    np.testing.assert_allclose(doubled.probability, expected, atol=1e-3)
    unscaled = LinearFitter(twice, corpus.task, doubled_truth).refit(clips, once, setting, {ALL: 2 * n}, "r")
    assert np.abs(unscaled.probability - single.probability).max() > 1e-4


def test_a_study_of_other_labels_of_the_same_kind_is_refused(make_corpus: Make, tmp_path: Path) -> None:
    corpus = make_corpus("multiclass", clips_a_speaker=8)
    run(corpus, tmp_path, trials=1)
    renamed = replace(corpus, task=replace(corpus.task, labels=("a", "b", "d")))
    with pytest.raises(StoreError, match="made with other clips, labels"):
        run(renamed, tmp_path, trials=1)
