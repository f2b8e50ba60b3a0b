"""The clips probe: clip probabilities aggregated to a unit's, plain arithmetic on scikit-learn's own."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import recall_score
from sklearn.preprocessing import StandardScaler

from tests.probe.test_units import UNITS, bags, planted, probed, score
from toolkit.corpus.labels import Task
from toolkit.corpus.units import own_label
from toolkit.features.layout import FloatArray
from toolkit.features.units import UnitFeatures
from toolkit.probe.clips import ClipFitter
from toolkit.probe.protocol import Fit, Setting
from toolkit.probe.rows import CLIPS
from toolkit.probe.search import AGGREGATIONS
from toolkit.probe.targets import targets_of

SETTING: Setting = {"C": 0.01, "statistics": "mean", "class_weights": "none", "aggregation": "mean"}
BINARY = Task("t", "binary", ("not t", "t"), ("t",))
TRAIN, TEST = np.arange(0, UNITS, 2), np.arange(1, UNITS, 2)


def one_clip() -> tuple[UnitFeatures, np.ndarray, FloatArray]:
    """Units in a mixed order, half of them with one odd clip of twenty."""
    clips, labels, *_ = planted("one clip")
    order = np.random.default_rng(3).permutation(UNITS)
    clips = clips.reshape(UNITS, 20, -1)[order]
    return bags(clips.reshape(UNITS * 20, -1), [20] * UNITS), np.array(labels[::20])[order], clips


def fitted(units: UnitFeatures, task: Task, truth: np.ndarray, **changed: str | float) -> Fit:
    setting = {**SETTING, **changed}
    fit = ClipFitter([units], task, truth, "cpu").refit(TRAIN, TEST, setting, {-1: 20 * len(TRAIN)}, "round 0")
    kept = CLIPS.apply([units.rows(TEST)], fit.model, setting, targets_of(task, truth[TRAIN]))
    targets = targets_of(task, truth[TRAIN])
    given = targets.probability(kept, task, str(setting["class_weights"]))
    np.testing.assert_allclose(given, fit.probability, atol=1e-6)  # as it is kept, a clip at a time
    return fit


@pytest.mark.parametrize("aggregation", AGGREGATIONS.values)
def test_an_aggregation_is_numpys_on_scikit_learns_clips_and_only_some_find_one_clip_in_twenty(
    aggregation: str,
) -> None:
    units, truth, clips = one_clip()
    probability = fitted(units, BINARY, truth, aggregation=aggregation).probability[:, 1]
    clips = clips.astype(np.float64)
    flat, each = clips[TRAIN].reshape(-1, clips.shape[2]), np.repeat(truth[TRAIN], 20)
    scaler = StandardScaler().fit(flat)
    clip_model = LogisticRegression(C=0.01, tol=1e-10, max_iter=1000).fit(scaler.transform(flat), each)
    said = np.stack([clip_model.predict_proba(scaler.transform(own))[:, 1] for own in clips])
    highest = -np.sort(-said, axis=1)
    unit = {
        "mean": said.mean(axis=1),
        "noisy-or": 1 - np.prod(1 - said, axis=1),
        **{f"top-{k}": highest[:, :k].mean(axis=1) for k in (1, 3, 10)},
    }[aggregation]
    odds = np.log(unit / (1 - unit))[:, None]
    scaler = StandardScaler().fit(odds[TRAIN])
    model = LogisticRegression(C=1.0, tol=1e-10).fit(scaler.transform(odds[TRAIN]), truth[TRAIN])
    np.testing.assert_allclose(probability, model.predict_proba(scaler.transform(odds[TEST]))[:, 1], atol=2e-4)
    recall = recall_score(truth[TEST], probability > 0.5, average="macro")
    least, most = {"mean": (0.0, 0.75), "noisy-or": (0.75, 0.9), "top-10": (0.75, 0.9)}.get(aggregation, (0.95, 1.0))
    assert least < recall <= most


def test_the_search_chooses_what_finds_the_label() -> None:
    found = probed("one clip", "clips", trials=4)
    assert score(found) > 0.9
    assert {choice.setting["aggregation"] for choice in found.run.choices} <= {"top-1", "top-3", "top-10"}


@pytest.mark.parametrize("aggregation", AGGREGATIONS.values)
def test_a_label_that_is_only_the_speakers_own_scores_chance(aggregation: str) -> None:
    clips, labels, *_ = planted("speaker")
    units, truth, half = bags(clips, [20] * UNITS), np.array(labels[::20]), np.arange(UNITS // 2)
    fitter, setting = ClipFitter([units], BINARY, truth, "cpu"), {**SETTING, "aggregation": aggregation}
    own, others = (  # speakers who were learnt from, and others
        recall_score(truth[tested], fit.probability.argmax(axis=1), average="macro")
        for tested in (half, half + len(half))
        for fit in [fitter.refit(half, tested, setting, {-1: 20 * len(half)}, "round 0")]
    )
    assert 0.2 < others < 0.6 < own


def test_shares_of_clips_are_what_they_add_and_a_units_bits_are_its_own() -> None:
    units, truth, _ = one_clip()
    targets = targets_of(BINARY, truth[TRAIN])
    for aggregation, carrying in (("mean", 20), ("top-3", 3), ("noisy-or", 20)):
        setting = {**SETTING, "aggregation": aggregation}
        fit = fitted(units, BINARY, truth, aggregation=aggregation)
        assert CLIPS.weights is not None
        shares = CLIPS.weights([units], fit.model, setting, targets)
        assert all(own.sum() == pytest.approx(1) and (own > 1e-6).sum() == carrying for own in shares)
        alone, all_ = (CLIPS.apply([own], fit.model, setting, targets) for own in (units.rows(TEST[3:4]), units))
        np.testing.assert_array_equal(alone, all_[TEST[3:4]])


def test_a_clip_learns_its_own_label_where_its_unit_has_several() -> None:
    units, truth, clips = one_clip()
    found = {
        20 * unit + clip: {"t": str(int(clips[unit, clip, 0] > 4))}
        for unit in np.flatnonzero(truth).tolist()
        for clip in range(20)
    }
    told = UnitFeatures(**{**vars(units), "labels": found})
    for own, least, most in ((units, 0.0, 0.8), (told, 0.95, 1.0)):  # a noisy-or needs clips that know themselves
        probability = fitted(own, BINARY, truth, aggregation="noisy-or").probability[:, 1]
        assert least < recall_score(truth[TEST], probability > 0.5, average="macro") <= most


def test_a_cell_is_a_label_of_the_task_or_none() -> None:
    several = Task("s", "multilabel", ("a", "b"), ("a", "b"))
    assert own_label(BINARY, {"t": "1"}) == 1 and own_label(BINARY, {"t": ""}) is None
    assert own_label(BINARY, {"speaker": "1"}) is None
    assert own_label(several, {"a": "1", "b": "0"}) == [1, 0] and own_label(several, {"a": "1", "b": ""}) is None
    assert own_label(Task("e", "multiclass", ("joy", "rage"), ("e",)), {"e": "rage"}) == 1
    number = own_label(Task("v", "regression", ("v", "w"), ("v", "w")), {"v": "2.5", "w": ""})
    np.testing.assert_equal(number, [2.5, np.nan])


def test_numbers_and_levels_of_units_are_aggregated_too() -> None:
    units, _, clips = one_clip()
    numbers = clips[:, :, :1].mean(axis=1) + np.random.default_rng(1).standard_normal((UNITS, 1)) / 20
    given = fitted(units, Task("v", "regression", ("v",), ("v",)), numbers.astype(np.float64), C=1.0).probability[:, 0]
    scaler = StandardScaler().fit(clips[TRAIN].reshape(-1, clips.shape[2]))
    each = np.repeat(numbers[TRAIN, 0], 20)
    model = Ridge(1.0).fit(scaler.transform(clips[TRAIN].reshape(-1, clips.shape[2])), each)
    assert np.corrcoef(given, model.predict(scaler.transform(clips[TEST].mean(axis=1))))[0, 1] > 0.9999
    levels = np.digitize(numbers[:, 0], np.quantile(numbers, [0.33, 0.67]))
    ordinal = fitted(units, Task("l", "ordinal", ("1", "2", "3"), ("l",)), levels, C=1.0, aggregation="noisy-or")
    assert np.allclose(ordinal.probability.sum(axis=1), 1)
    assert (ordinal.probability.argmax(axis=1) == levels[TEST]).mean() > 0.5
