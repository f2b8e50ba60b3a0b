"""Units: one prediction a call. What pooling finds and misses, what attention adds, and that it is plain arithmetic."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.preprocessing import StandardScaler

from toolkit import probe_arrays
from toolkit.core.errors import InputError
from toolkit.corpus.labels import Task
from toolkit.features.layout import FloatArray, LayerFeatures
from toolkit.features.units import UnitFeatures, gathered
from toolkit.probe.bags import attention
from toolkit.probe.mil import BagFitter
from toolkit.probe.protocol import Setting
from toolkit.probe.registry import PROBES
from toolkit.probe.stage import ProbeResult
from toolkit.probe.targets import targets_of
from toolkit.result import units as kept_units
from toolkit.result.kinds import headline_score

UNITS, SPEAKERS, CLIPS, WIDTH = 160, 20, 20, 8
SETTING: Setting = {"learning_rate": 0.01, "weight_decay": 0.01, "statistics": "mean", "class_weights": "none"}


def planted(kind: str, seed: int = 0) -> tuple[FloatArray, list[int], list[str], list[str]]:
    """Clips, their units' labels, speakers and units; of all units half have the label."""
    generator = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(SPEAKERS), UNITS // SPEAKERS)
    label = speaker % 2 if kind == "speaker" else np.tile([0, 1], UNITS // 2)
    clips = generator.standard_normal((UNITS, CLIPS, WIDTH)).astype(np.float32)
    for unit in range(UNITS):
        if kind == "one clip" and label[unit]:
            clips[unit, generator.integers(CLIPS), 0] += 6
        if kind == "mean":
            clips[unit, :, 0] += 2 * label[unit] - 1
        if kind == "order":
            clips[unit, :, 0] += np.linspace(-3, 3, CLIPS) * (2 * label[unit] - 1)
        if kind == "speaker":
            clips[unit] += 2 * np.random.default_rng(100 + speaker[unit]).standard_normal(WIDTH)
    each = np.repeat(np.arange(UNITS), CLIPS)
    return (
        clips.reshape(-1, WIDTH),
        label[each].tolist(),
        [f"s{speaker[unit]}" for unit in each],
        [f"call{unit}" for unit in each],
    )


@cache
def probed(kind: str, probe: str, trials: int = 2) -> ProbeResult:
    clips, labels, speakers, units = planted(kind)
    if kind != "one clip" and "mil" in probe:  # half of the units; clip after clip takes its time: every fourth of each
        few = slice(0, len(clips) // 2, 4 if probe == "mil-gru" else 1)
        clips, labels, speakers, units, trials = clips[few], labels[few], speakers[few], units[few], 1
    with pytest.MonkeyPatch.context() as patch:
        if probe == "mil-gru":
            patch.setattr("toolkit.probe.bags.EPOCHS", 25)
        return probe_arrays({"layer": clips}, labels, speakers, units=units, probe=probe, trials=trials, folds=3)


def score(result: ProbeResult) -> float:
    found = headline_score(result.run.task, result.run.predictions.truth, result.run.predictions.prediction)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("kind", "probe", "least", "most"),
    [
        ("one clip", "mil", 0.8, 1.0),
        ("mean", "linear", 0.9, 1.0),
        ("mean", "mil", 0.9, 1.0),
        ("order", "mil", 0.3, 0.7),
        ("order", "linear", 0.3, 0.7),
        ("order", "mil-gru", 0.9, 1.0),
        ("speaker", "mil", 0.2, 0.75),
        ("speaker", "linear", 0.2, 0.75),
    ],
)
def test_a_planted_label_is_found_by_what_can_see_it_alone(kind: str, probe: str, least: float, most: float) -> None:
    assert least <= score(probed(kind, probe)) <= most


def test_mean_pooled_units_are_a_plain_computation_of_the_same_folds_and_miss_the_one_clip() -> None:
    """scikit-learn on numpy's means, with the C that the toolkit chose: the same decisions but on the border."""
    clips, labels, speakers, units = planted("one clip")
    means = clips.reshape(UNITS, CLIPS, WIDTH).mean(axis=1)
    pooled = probe_arrays(
        {"layer": means}, labels[::CLIPS], speakers[::CLIPS], ids=units[::CLIPS], trials=3, folds=4
    ).run  # fmt: skip
    own = probe_arrays({"layer": clips}, labels, speakers, units=units, trials=3, folds=4).run
    assert own.folds.sha256 == pooled.folds.sha256
    assert (own.predictions.ids, own.predictions.groups) == (pooled.predictions.ids, pooled.predictions.groups)
    truth, place = np.array(labels[::CLIPS]), {unit: row for row, unit in enumerate(units[::CLIPS])}
    order = np.array([place[unit] for unit in pooled.folds.ids])
    expected = np.empty(UNITS)
    for round_, choice in zip(pooled.folds.rounds(), pooled.choices, strict=True):
        learnt, tested = order[np.union1d(round_.train, round_.development)], order[round_.test]
        scaler, balanced = StandardScaler().fit(means[learnt]), choice.setting["class_weights"] == "balanced"
        model = LogisticRegression(
            C=float(choice.setting["C"]) * len(round_.train) / len(learnt), tol=1e-8, max_iter=1000,
            class_weight="balanced" if balanced else None,
        ).fit(scaler.transform(means[learnt]), truth[learnt])  # fmt: skip
        given = model.predict_proba(scaler.transform(means[tested]))[:, 1]
        share = truth[learnt].mean() if balanced else 0.5  # natural again, by Bayes' rule
        expected[tested] = given * share / (given * share + (1 - given) * (1 - share))
    rows = [place[unit] for unit in pooled.predictions.ids]
    np.testing.assert_allclose(pooled.predictions.probability[:, 1], expected[rows], atol=2e-3)
    reference = recall_score(truth, expected > 0.5, average="macro")
    assert reference < 0.75
    found = headline_score(pooled.task, pooled.predictions.truth, pooled.predictions.prediction)
    assert found == pytest.approx(reference, abs=0.08)


def bags(clips: FloatArray, counts: list[int], order: list[int] | None = None) -> UnitFeatures:
    ends = np.cumsum(counts)
    members = tuple(np.arange(end - count, end) for end, count in zip(ends, counts))
    if order is not None:
        members = tuple(own[np.argsort(np.array(order)[: len(own)])] for own in members)
    layer = LayerFeatures("layer", tuple(f"c{row}" for row in range(len(clips))), clips, np.zeros_like(clips))
    return gathered(layer, tuple(f"u{unit}" for unit in range(len(counts))), members, lambda: clips)


def test_pooled_features_are_numpys() -> None:
    clips = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
    units = bags(clips, [1, 4, 5])
    for row, own in enumerate((clips[:1], clips[1:5], clips[5:])):
        np.testing.assert_allclose(units.matrix("mean")[row], own.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(units.matrix("std")[row], own.std(axis=0), atol=1e-6)
        np.testing.assert_array_equal(units.matrix("max")[row], own.max(axis=0))
    picked = units.rows(np.array([2, 0]))
    assert picked.ids == ("u2", "u0")
    np.testing.assert_array_equal(picked.clips()[picked.members[0]], clips[5:])


@pytest.mark.parametrize("probe", ["mil", "mil-gru"])
def test_the_order_of_clips_changes_rounding_alone_where_it_is_ignored(probe: str) -> None:
    generator = np.random.default_rng(1)
    counts = [int(count) for count in generator.integers(1, 9, 40)]
    clips = generator.standard_normal((sum(counts), 5)).astype(np.float32)
    truth = generator.permutation(np.arange(40) % 2)
    task, every = Task("t", "binary", ("no", "yes"), ("t",)), np.arange(40)
    straight, shuffled = bags(clips, counts), bags(clips, counts, generator.permutation(9).tolist())
    fitter = PROBES[probe].build([straight], task, truth, 0, "cpu")
    (searched,) = fitter.search(every[:30], every[30:], [SETTING], "round 0")
    fit = fitter.refit(every[:30], every[30:], SETTING, searched.found, "round 0")
    targets = targets_of(task, truth[:30])
    own, other = (PROBES[probe].apply([layer], fit.model, SETTING, targets) for layer in (straight, shuffled))
    np.testing.assert_allclose(own[30:, 0], fit.probability[:, 1], atol=1e-5)
    assert (np.abs(own - other).max() < 1e-5) == (probe == "mil")
    weigh = PROBES[probe].weights
    assert weigh is not None
    shares = weigh([straight], fit.model, SETTING, targets)
    assert [len(share) for share in shares] == counts
    assert all(share.sum() == pytest.approx(1, abs=1e-5) for share in shares)
    alone = PROBES[probe].apply([straight.rows(every[7:8])], fit.model, SETTING, targets)
    np.testing.assert_array_equal(alone, own[7:8])  # a unit's own bits, whatever its company


def test_a_network_on_units_is_the_same_alone_and_in_company() -> None:
    generator = np.random.default_rng(2)
    clips = generator.standard_normal((200, 5)).astype(np.float32)
    units, truth = bags(clips, [5] * 40), np.arange(40) % 3
    fitter = BagFitter(attention, [units], Task("t", "multiclass", ("a", "b", "c"), ("t",)), truth, 0)
    settings = [SETTING, {**SETTING, "learning_rate": 0.03}, {**SETTING, "class_weights": "balanced"}]
    together = fitter.search(np.arange(30), np.arange(30, 40), settings, "round 0")
    for setting, fit in zip(settings, together, strict=True):
        (alone,) = fitter.search(np.arange(30), np.arange(30, 40), [setting], "round 0")
        assert alone.found == fit.found
        np.testing.assert_allclose(alone.probability, fit.probability, atol=2e-4)


def test_the_run_keeps_every_clips_weight_and_the_page_shows_the_heaviest() -> None:
    result = probed("one clip", "mil")
    members = kept_units.read(result.folder)
    assert members is not None
    assert len(members) == UNITS * CLIPS
    by_unit: dict[str, float] = {}
    for one in members:
        by_unit[one.unit] = by_unit.get(one.unit, 0.0) + (one.weight or 0.0)
    assert set(by_unit) == set(result.run.predictions.ids)
    assert all(total == pytest.approx(1, abs=1e-4) for total in by_unit.values())
    heavy = [one for one in members if one.weight is not None and one.weight > 0.5]
    clips, labels, *_ = planted("one clip")
    rows = [int(one.clip.removeprefix("clip")) for one in heavy]
    found = [clips[row, 0] > 3 for row in rows if labels[row]]
    assert len(found) > UNITS / 4
    assert np.mean(found) > 0.9
    html = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "Which clips carried each unit" in html
    assert "One prediction a unit of the column" in html
    rows = (result.folder / kept_units.TABLE).read_text(encoding="utf-8").splitlines()
    assert rows[0] == "clip,unit,round,weight"
    with pytest.raises(InputError, match="an estimator reads one vector a clip"):
        result.estimator()


def test_a_layer_of_several_probes_is_pooled_once_more_and_networks_read_the_maximum() -> None:
    assert score(probed("one clip", "mlp")) > 0.7


@pytest.mark.parametrize(("probe", "match"), [("mil", "without --unit a clip is all there is|without unit a clip")])
def test_a_probe_of_clips_in_units_is_refused_without_units(probe: str, match: str) -> None:
    clips, labels, speakers, _ = planted("mean")
    with pytest.raises(InputError, match=match):
        probe_arrays({"layer": clips}, labels, speakers, probe=probe)


def test_numbers_and_levels_of_units() -> None:
    clips, labels, speakers, units = (values[: len(values) // 4] for values in planted("mean"))
    numbers = np.array(labels, dtype=np.float64) + np.tile([0.0, 0.5], len(labels) // 2)
    run = probe_arrays(
        {"layer": clips}, numbers, speakers, units=units, unit_label="mean", kind="regression", probe="mil", trials=1,
        folds=3,
    ).run  # fmt: skip
    assert set(np.unique(run.predictions.truth)) == {0.25, 1.25}
    assert replace(run).predictions.prediction.shape == (UNITS // 4, 1)
