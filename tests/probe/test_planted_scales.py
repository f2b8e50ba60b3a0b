"""A scale that was planted is recovered with its known score, and noise scores chance, by every probe."""

from pathlib import Path

import numpy as np
import pytest

from toolkit import probe_arrays
from toolkit.probe.stage import ProbeResult
from toolkit.result.report import narrative

SPEAKERS, CLIPS, WIDTH = 20, 30, 12
QUICK = {"trials": 10, "folds": "4", "workers": 1}


def planted(
    folder: Path, kind: str, share: float, probe: str = "linear", clips: int = CLIPS, seed: int = 1, **more: int
) -> ProbeResult:
    """A number of which a layer's first column tells this share of the variance, and a layer of noise."""
    generator = np.random.default_rng(seed)
    n = SPEAKERS * clips
    told, noise = (generator.standard_normal((n, WIDTH)).astype(np.float32) for _ in range(2))
    latent = np.sqrt(share) * told[:, 0] + np.sqrt(1 - share) * generator.standard_normal(n)
    y = 50 + 10 * latent if kind == "regression" else np.searchsorted([-1, 0, 1], latent)
    groups = [f"s{number % SPEAKERS}" for number in range(n)]
    layers = {"encoder.0": noise, "encoder.1": told}
    return probe_arrays(layers, y, groups, folder=folder, probe=probe, kind=kind, **QUICK | more)


def inside(result: ProbeResult, layer: str, expected: float) -> None:
    (score,) = [point.test for point in result.points if point.layer == layer]
    assert score.lower is not None and score.upper is not None
    assert score.lower < expected < score.upper, score


def test_ridge_recovers_a_planted_number_with_its_true_ccc(tmp_path: Path) -> None:
    """The best that squared error can do tells the share r of the variance, and has a CCC of 2 r / (1 + r)."""
    found = planted(tmp_path, "regression", 0.6)
    assert {choice.layer for choice in found.run.choices} == {"encoder.1"}
    inside(found, "encoder.1", 2 * 0.6 / 1.6)
    overall = found.evaluation.overall
    assert overall["r_squared"].estimate == pytest.approx(0.6, abs=0.06)
    assert overall["root_mean_squared_error"].estimate == pytest.approx(10 * np.sqrt(0.4), abs=0.5)


def test_proportional_odds_recover_planted_levels(tmp_path: Path) -> None:
    """Against the kappa of the rule that knows the column and the noise."""
    found = planted(tmp_path, "ordinal", 0.6)
    assert {choice.layer for choice in found.run.choices} == {"encoder.1"}
    generator = np.random.default_rng(1)
    column = generator.standard_normal(200_000)
    level = np.searchsorted([-1, 0, 1], np.sqrt(0.6) * column + np.sqrt(0.4) * generator.standard_normal(len(column)))
    from scipy.stats import norm
    from sklearn.metrics import cohen_kappa_score

    above = norm.sf((np.array([[-1], [0], [1]]) - np.sqrt(0.6) * column) / np.sqrt(0.4))
    best = cohen_kappa_score(level, np.rint(above.sum(axis=0)).astype(int), weights="quadratic")
    inside(found, "encoder.1", float(best))


@pytest.mark.parametrize(("kind", "draws"), [("regression", 5), ("ordinal", 3)])
def test_noise_scores_chance(tmp_path: Path, kind: str, draws: int) -> None:
    """Of a null, cross-validation counts each pair of clips twice: what is said follows the widened interval."""
    scores, messages = [], 0
    for seed in range(draws):
        (folder := tmp_path / str(seed)).mkdir()
        found = planted(folder, kind, 0.0, seed=seed)
        scores.append(found.evaluation.overall[found.run.metric].estimate)
        messages += not narrative.answer(found.run, found.evaluation).endswith("Not distinguishable from chance.")
    assert np.mean(scores) == pytest.approx(0.0, abs=0.03), scores
    assert messages <= 1, scores


@pytest.mark.parametrize("kind", ["regression", "ordinal"])
@pytest.mark.parametrize("probe", ["lightgbm", "mlp", "mix"])
def test_the_other_probes_find_it_too(tmp_path: Path, probe: str, kind: str) -> None:
    found = planted(tmp_path, kind, 0.8, probe, clips=12, trials=10 if probe == "mix" else 3)
    if probe != "mix":
        assert {choice.layer for choice in found.run.choices} == {"encoder.1"}
    score = found.evaluation.overall[found.run.metric]
    assert score.lower is not None and score.lower > 0.25
