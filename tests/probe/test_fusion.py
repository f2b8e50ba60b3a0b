"""Fusions of planted stores: what the second adds is found, and nothing is claimed of noise or of a copy."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.probe.conftest import Corpus, corpus
from toolkit.corpus.labels import Task
from toolkit.features.fused import View
from toolkit.features.layout import LayerFeatures
from toolkit.probe import winners
from toolkit.probe.data import Part
from toolkit.probe.fused_rows import fused_name, parsed, pool, row_of, unpacked
from toolkit.probe.fusion import Block, FusedExecutor, LateFitter
from toolkit.probe.protocol import Fit
from toolkit.probe.run import probe
from toolkit.probe.solver import Penalised, rotate_blocks, solve
from toolkit.probe.targets import FloatArray, targets_of
from toolkit.result.paired import difference
from toolkit.result.run import Run

FUSIONS = ("early", "late")


def made(base: Corpus, first: int, last: int, seed: int, width: int = 6, strength: float = 2.0) -> Corpus:
    """A store of two layers on the clips of another one, whose second knows the classes from `first` to `last`."""
    generator = np.random.default_rng(seed)
    features = {}
    for name in ("x.0", "x.1"):
        mean, std = generator.standard_normal((2, len(base.ids), width)).astype(np.float32)
        if name == "x.1":
            for label in range(first, last):
                mean[:, label] += strength * (base.truth == label)
        features[name] = LayerFeatures(name, base.ids, mean, np.abs(std))
    return replace(base, features=features)


def fit(own: Corpus | View, base: Corpus, folder: Path, name: str, alone: Mapping[str, Run] | None = None,
        trials: int = 10, **more: object) -> Run:  # fmt: skip
    fused = {} if alone is None else {"executor": FusedExecutor(alone)}
    return probe(
        own, base.task, base.truth, base.folds, base.speakers, study=folder / f"{name}.db", trials=trials, workers=1,
        probe=name.partition(" ")[0], winners=folder / name, **fused, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def fused(parts: Mapping[str, Corpus], base: Corpus, folder: Path, fusion: str, trials: int = 10,
          kind: str = "linear") -> tuple[Run, dict[str, Run]]:  # fmt: skip
    alone = {name: fit(part, base, folder, f"{kind} {name}", trials=trials) for name, part in parts.items()}
    name = fused_name(fusion, kind)
    return fit(View(parts), base, folder, name, alone, trials), alone


def gain(whole: Run, part: Run) -> tuple[float, float, float]:
    score = difference([whole.predictions], [part.predictions], whole.metric).score
    assert score.estimate is not None and score.lower is not None and score.upper is not None
    return score.lower, score.estimate, score.upper


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("kind", ["linear", "lightgbm"])
def test_what_a_second_store_knows_and_the_first_does_not_is_found_with_its_sign(
    tmp_path: Path, fusion: str, kind: str
) -> None:
    base = corpus("multiclass", planted=None, clips_a_speaker=40)
    parts = {"A": made(base, 0, 1, 1, strength=3.0), "B": made(base, 1, 2, 2, width=9, strength=3.0)}
    whole, alone = fused(parts, base, tmp_path, fusion, 10 if kind == "linear" else 4, kind)
    for part in alone.values():
        lower, estimate, _ = gain(whole, part)
        assert lower > 0 and estimate > 0.1
    assert whole.fusion == fusion and list(whole.layers) == [f"{fusion}-{kind}"]
    assert {(choice.setting["A:layer"], choice.setting["B:layer"]) for choice in whole.choices} == {("x.1", "x.1")}


@pytest.mark.parametrize("kind", ["linear", "lightgbm"])
def test_a_late_fusion_has_the_very_probes_of_each_store_alone(tmp_path: Path, kind: str) -> None:
    parts = {"A": corpus("multilabel", clips_a_speaker=8)}
    parts["B"] = corpus("multilabel", planted="encoder.2", clips_a_speaker=8)
    base = parts["A"]
    fused(parts, base, tmp_path, "late", 2, kind)
    kept = winners.read(tmp_path / f"late-{kind}")
    for number, name in enumerate(parts):
        for pooled, alone in zip(kept, winners.read(tmp_path / f"{kind} {name}"), strict=True):
            own = unpacked(pooled.model, number)
            assert own.keys() == alone.model.keys()
            assert all(np.array_equal(own[key], alone.model[key]) for key in own)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_copy_adds_nothing(tmp_path: Path, fusion: str) -> None:
    base = corpus("multiclass", planted=None, clips_a_speaker=40)
    own = made(base, 0, 3, 1, strength=1.5)
    whole, alone = fused({"A": own, "B": own}, base, tmp_path, fusion, trials=5)
    lower, estimate, upper = gain(whole, alone["A"])
    assert lower <= 0 <= upper and abs(estimate) < 0.03


@pytest.mark.parametrize("fusion", FUSIONS)
def test_noise_is_seldom_said_to_add(tmp_path: Path, fusion: str) -> None:
    """One draw in 40 may be; two of these three have a probability of 2e-3."""
    claims = 0
    for draw in range(3):
        base = corpus("binary", planted=None, clips_a_speaker=16, seed=draw)
        parts = {"A": made(base, 0, 2, 100 + draw, strength=1.0), "B": made(base, 0, 0, 200 + draw)}
        folder = tmp_path / str(draw)
        folder.mkdir()
        whole, alone = fused(parts, base, folder, fusion, trials=4)
        claims += gain(whole, alone["A"])[0] > 0
    assert claims <= 1


@pytest.mark.parametrize("fusion", FUSIONS)
def test_labels_of_a_round_s_test_fold_change_nothing_that_the_round_chose_or_learnt(
    tmp_path: Path, fusion: str
) -> None:
    base = corpus("multiclass", planted=None)
    parts = {"A": made(base, 0, 2, 1), "B": made(base, 1, 3, 2)}
    round_ = next(iter(base.folds.rounds()))
    truth = base.truth.copy()
    truth[round_.test] = np.random.default_rng(9).permutation(truth[round_.test])
    other = replace(base, truth=truth)
    runs = []
    for number, one in enumerate((base, other)):
        folder = tmp_path / str(number)
        folder.mkdir()
        whole, _ = fused(parts, one, folder, fusion, trials=3)
        runs.append(whole)
    first, second = runs
    assert first.choices[0] == second.choices[0]
    mine = first.predictions.fold == round_.fold
    assert first.predictions.probability[mine].tobytes() == second.predictions.probability[mine].tobytes()


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_kept_winners_predict_what_they_predicted_whatever_the_company(tmp_path: Path, fusion: str, kind: str) -> None:
    base = corpus(kind, clips_a_speaker=12)
    parts = {"A": base, "B": corpus(kind, planted="encoder.2", clips_a_speaker=12)}
    whole, _ = fused(parts, base, tmp_path, fusion, trials=3)
    kept = winners.read(tmp_path / fused_name(fusion, "linear"))
    rows = [np.flatnonzero(base.folds.fold == winner.fold) for winner in kept]
    said = np.concatenate(winners.apply(View(parts), kept, rows))
    order = np.argsort(np.concatenate(rows))
    assert said[order].astype(np.float32).tobytes() == whole.predictions.probability.astype(np.float32).tobytes()
    (alone,) = winners.apply(View(parts), kept[:1], [rows[0][:1]])
    assert alone.tobytes() == said[:1].tobytes()


def test_workers_change_no_byte(tmp_path: Path) -> None:
    base = corpus("multiclass", planted=None)
    parts = {"A": made(base, 0, 1, 1), "B": made(base, 1, 2, 2)}
    _, alone = fused(parts, base, tmp_path, "early", trials=4)
    said = [
        probe(View(parts), base.task, base.truth, base.folds, base.speakers, study=tmp_path / f"{workers}.db",
              trials=4, workers=workers, probe="early-linear", executor=FusedExecutor(alone)).predictions.probability
        for workers in (1, 3)
    ]  # fmt: skip
    assert said[0].tobytes() == said[1].tobytes()


def test_a_pool_of_one_is_itself_and_independent_evidence_adds_up_by_bayes_rule() -> None:
    base = corpus("multiclass", planted=None)
    targets = targets_of(base.task, base.truth)
    generator = np.random.default_rng(0)
    one, other = generator.dirichlet(np.ones(3), (2, 50))
    assert pool([one, other], [1.0, 0.0], targets) == pytest.approx(one)
    product = one * other / targets.prevalence
    assert pool([one, other], [1.0, 1.0], targets) == pytest.approx(product / product.sum(axis=1, keepdims=True))


def test_blocks_of_equal_weight_have_the_minimum_of_one_matrix_and_a_light_one_is_shrunk_away() -> None:
    base = corpus("multiclass", planted="encoder.1")
    matrix = base.layer("encoder.1").mean
    features = ((matrix - matrix.mean(axis=0)) / matrix.std(axis=0)).astype(np.float32)
    targets = targets_of(base.task, base.truth)
    (whole,) = solve(features, targets, [Penalised(0.1)])
    rotated = rotate_blocks(features, [5, 7], [None, None])
    equal, light = solve(rotated, targets, [Penalised(0.1, weights=(1.0, 1.0)), Penalised(0.1, weights=(1.0, 1e-6))])
    assert equal.coefficients == pytest.approx(whole.coefficients, abs=1e-3)
    assert np.abs(light.coefficients[5:]).max() < 1e-4 < np.abs(light.coefficients[:5]).max()


def test_a_fusion_s_name_is_told_from_a_probe_s() -> None:
    assert parsed("late-lightgbm") == ("late", "lightgbm") and parsed("linear") == ("", "linear")
    assert row_of("early-linear").title == row_of("linear").title


def test_the_pool_weighs_a_store_as_its_odds_deserve() -> None:
    """One that doubles its log-odds half, one that knows nothing not at all."""
    generator = np.random.default_rng(0)
    task = Task("mood", "binary", ("low", "high"), ("mood",))
    odds, noise = generator.normal(0, 1.5, (2, 4_000))
    truth = (generator.random(4_000) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    every = np.arange(4_000)
    part = Part(every[:2_000], every[2_000:])

    def says(log_odds: FloatArray) -> SimpleNamespace:
        high = 1 / (1 + np.exp(-log_odds))
        fits = lambda train, held_out, settings, name: [Fit(np.stack([1 - high, high], axis=1)[held_out], {})]  # noqa: E731
        return SimpleNamespace(search=fits)

    blocks = [Block(name, "encoder.1", {}) for name in ("sure", "noise")]
    fitter = LateFitter(blocks, [says(2 * odds), says(noise)], ["a", "b"], task, truth)  # type: ignore[list-item]
    fitter.stack(SimpleNamespace(task=task, truth=truth, loss=""), [part])  # type: ignore[arg-type]
    assert list(fitter.weights.values()) == pytest.approx([0.5, 0.0], abs=0.06)
    (found,) = fitter.search(part.train, part.held_out, [{}], "a")
    pooled = np.log(found.probability[:, 1] / found.probability[:, 0])
    expected = fitter.weights["weight:sure"] * 2 * odds + fitter.weights["weight:noise"] * noise
    np.testing.assert_allclose(pooled - pooled.mean(), (expected - expected[2_000:].mean())[2_000:], atol=1e-6)
