"""The batched solver against scikit-learn, on matrices as badly conditioned as a backbone's layer."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from toolkit.corpus.labels import Task
from toolkit.probe import lbfgs, reference
from toolkit.probe.lbfgs import MAX_ITERATIONS, Logistic, minimise
from toolkit.probe.solver import Penalised, Solution, principal_axes, rotate, solve
from toolkit.probe.targets import Targets, scaler_of, targets_of

TASKS = {
    "binary": Task("t", "binary", ("no", "yes"), ("t",)),
    "multiclass": Task("t", "multiclass", ("a", "b", "c", "d"), ("t",)),
    "multilabel": Task("t", "multilabel", ("a", "b", "c"), ("a", "b", "c")),
}


def problem(kind: str, clips: int, width: int, seed: int = 0) -> tuple[npt.NDArray[np.float32], Targets]:
    """Standardised features whose spectrum falls over four decades, and a truth that they half explain."""
    generator = np.random.default_rng(seed)
    spectrum = np.logspace(0, -4, width)
    mixing = np.linalg.qr(generator.standard_normal((width, width)))[0]
    raw = (generator.standard_normal((clips, width)) * np.sqrt(spectrum) @ mixing).astype(np.float32)
    features = scaler_of(raw)(raw)
    labels = len(TASKS[kind].labels)
    logits = features @ generator.standard_normal((width, labels)) / 4 + generator.standard_normal((clips, labels))
    if kind == "multilabel":
        truth = (logits > [0.0, 1.0, 2.0]).astype(np.int64)
    else:
        truth = logits.argmax(axis=1)
    return features, targets_of(TASKS[kind], truth)


def objectives(features: npt.NDArray[np.float32], targets: Targets, at: Penalised, solution: Solution) -> list[float]:
    """scikit-learn's objective over C, of each of the setting's problems, in float64."""
    logits = features.astype(np.float64) @ solution.coefficients + solution.intercepts
    weights, truth = targets.weights(at.class_weights), targets.columns
    squares = (solution.coefficients**2).sum(axis=0) / (2 * at.C)
    if targets.softmax:
        losses = np.log(np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)) + logits.max(axis=1)
        losses = losses - (logits * truth).sum(axis=1)
        return [float((losses * weights[:, 0]).sum() + squares.sum())]
    losses = np.logaddexp(0, logits) - truth * logits
    return list((losses * weights).sum(axis=0) + squares)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize(("clips", "width"), [(160, 24), (40, 64)])
def test_agrees_with_scikit_learn_at_every_strength(
    kind: str, clips: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Newton's steps, and by L-BFGS's, which matrices of this size are too small for."""
    features, targets = problem(kind, clips, width)
    settings = [Penalised(c, weights) for c in (1e-5, 1e-2, 1.0, 30.0, 1e3) for weights in ("none", "balanced")]
    newton = solve(features, targets, settings)
    monkeypatch.setattr(lbfgs, "SMALL", 0)
    for setting, ours, theirs in zip(
        [*settings, *settings],
        [*newton, *solve(features, targets, settings)],
        2 * reference.solve(features, targets, settings),
        strict=True,
    ):
        for our_value, their_value in zip(
            objectives(features, targets, setting, ours), objectives(features, targets, setting, theirs), strict=True
        ):
            assert our_value <= their_value * (1 + 1e-6)
        if setting.C <= 1:
            difference = np.linalg.norm(ours.coefficients - theirs.coefficients)
            assert difference <= 1e-3 * np.linalg.norm(theirs.coefficients)
        agree = np.isclose(
            features @ ours.coefficients + ours.intercepts,
            features @ theirs.coefficients + theirs.intercepts,
            rtol=2e-2,
            atol=2e-2,
        )
        assert agree.mean() >= 0.999


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_a_problem_does_not_depend_on_those_solved_beside_it(kind: str) -> None:
    features, targets = problem(kind, 120, 20)
    settings = [Penalised(c) for c in (1e-4, 1e-1, 1e2)]
    together = solve(features, targets, settings)
    for setting, one in zip(settings, together):
        (alone,) = solve(features, targets, [setting])
        np.testing.assert_allclose(one.coefficients, alone.coefficients, rtol=2e-3, atol=1e-4)


def test_other_axes_have_the_same_minimum() -> None:
    features, targets = problem("binary", 150, 16)
    (own,) = solve(features, targets, [Penalised(1.0)])
    (others,) = solve(rotate(features, principal_axes(features[:60])), targets, [Penalised(1.0)])
    np.testing.assert_allclose(own.coefficients, others.coefficients, rtol=1e-3, atol=1e-5)


def test_separable_clips_with_almost_no_penalty_still_converge() -> None:
    """Errors far below float32's resolution of 1 decide here: probability minus truth must not cancel."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(60, 90, generator=generator)
    rotated = rotate(matrix.numpy())
    against = torch.where(torch.rand(1, 1, 60, generator=generator) < 0.5, -1.0, 1.0)
    loss = Logistic(against, torch.full((1, 1, 60), 1 / 60))
    penalty = torch.tensor([1 / (1e4 * 60)], dtype=torch.float64)
    found, iterations = minimise(rotated.shared, loss, penalty, 1, 1e-9)
    assert iterations < MAX_ITERATIONS / 2
    assert found.isfinite().all()
