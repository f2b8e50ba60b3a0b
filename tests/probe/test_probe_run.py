"""The protocol, end to end on a tiny corpus in memory."""

import os
from dataclasses import replace
from pathlib import Path

import lightgbm
import numpy as np
import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tests.probe.conftest import Make, run, score
from toolkit.core.errors import InputError, MachineError, SplitError, StoreError
from toolkit.core.i18n import Note
from toolkit.core.matmul import FEW, KEPT, allow_tensor_float_32
from toolkit.corpus.splits import Folds, fixed
from toolkit.features.layout import LayerFeatures
from toolkit.probe import winners
from toolkit.probe.registry import PROBES
from toolkit.probe.run import probe


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_a_label_planted_in_one_layer_is_found_there_by_development(
    make_corpus: Make, tmp_path: Path, kind: str
) -> None:
    found = run(make_corpus(kind), tmp_path)
    assert {choice.layer for choice in found.choices} == {"encoder.1"}
    assert score(found) > (0.65 if kind == "multilabel" else 0.8)
    assert found.predictions.ids == make_corpus(kind).ids
    assert list(found.layers) == ["encoder.0", "encoder.1", "encoder.2"]


def test_boosting_gives_up_the_same_trials_whatever_the_number_of_workers(make_corpus: Make, tmp_path: Path) -> None:
    corpus = make_corpus("multilabel", strength=1.0)
    one, two = (
        run(corpus, tmp_path, probe="lightgbm", trials=8, workers=workers, study=tmp_path / f"{workers}.db")
        for workers in (1, 2)
    )
    assert one.choices == two.choices
    assert one.predictions.probability.tobytes() == two.predictions.probability.tobytes()
    states = [
        [[trial.state for trial in study.trials] for study in studies(tmp_path / f"{workers}.db")] for workers in (1, 2)
    ]
    assert states[0] == states[1]
    assert any(state == TrialState.PRUNED for study in states[0] for state in study)


def studies(path: Path) -> list[optuna.Study]:
    storage = JournalStorage(JournalFileBackend(str(path)))
    names = sorted(optuna.get_all_study_names(storage))  # two workers begin them in either order
    return [optuna.load_study(study_name=name, storage=storage) for name in names]


@pytest.mark.parametrize("name", ["mlp", "lightgbm"])
def test_every_probe_of_one_layer_finds_the_planted_one(make_corpus: Make, tmp_path: Path, name: str) -> None:
    found = run(make_corpus("multiclass", strength=3.0), tmp_path, probe=name, trials=4)
    assert {choice.layer for choice in found.choices} == {"encoder.1"}
    assert score(found) > 0.75


def test_the_mix_weighs_the_planted_layer_most(make_corpus: Make, tmp_path: Path) -> None:
    found = run(
        make_corpus("multiclass", strength=3.0, clips_a_speaker=40),
        tmp_path,
        probe="mix",
        trials=6,
        winners=tmp_path / "kept",
    )
    assert list(found.layers) == ["mix"]
    assert score(found) > 0.75
    for winner in winners.read(tmp_path / "kept"):
        assert np.argmax(winner.model["parameter.layers"]) == 1
    shares = np.array([found.weights[layer] for layer in ("encoder.0", "encoder.1", "encoder.2")])
    np.testing.assert_allclose(shares.sum(axis=0), np.ones(3))
    assert (shares.argmax(axis=0) == 1).all()


def test_a_label_that_is_only_the_speakers_identity_scores_chance(make_corpus: Make, tmp_path: Path) -> None:
    """Every layer knows the speaker, and half of the speakers are 'yes': speaker-disjoint folds are not fooled."""
    corpus = make_corpus("binary", planted=None, clips_a_speaker=30)
    speaker = np.repeat(np.arange(6), 30)
    yes = np.array([0, 1, 1, 0, 0, 1])[speaker]
    voices = np.random.default_rng(3).standard_normal((6, 12)).astype(np.float32) * 5
    features = {name: replace(layer, mean=layer.mean + voices[speaker]) for name, layer in corpus.features.items()}
    folds = replace(corpus.folds, fold=np.array([0, 0, 1, 1, 2, 2])[speaker])
    found = run(replace(corpus, features=features, truth=yes, folds=folds), tmp_path)
    leaky = replace(corpus, features=features, truth=yes, folds=replace(folds, fold=np.arange(180) % 3))
    assert score(run(leaky, tmp_path, study=tmp_path / "leaky.db")) == 1.0
    assert score(found) <= 0.7


@pytest.mark.parametrize("name", ["linear", "lightgbm"])
def test_what_happens_in_a_rounds_test_fold_changes_nothing_that_round_chose(
    make_corpus: Make, tmp_path: Path, name: str
) -> None:
    corpus = make_corpus("multiclass")
    tested = corpus.folds.fold == 0
    truth = corpus.truth.copy()
    truth[tested] = (truth[tested] + 1) % 3
    before = run(corpus, tmp_path, probe=name, trials=4)
    after = run(replace(corpus, truth=truth), tmp_path, probe=name, trials=4, study=tmp_path / "other.db")
    assert before.choices[0] == after.choices[0]
    same = before.predictions.probability[tested] == after.predictions.probability[tested]
    assert same.all()
    assert before.choices[1:] != after.choices[1:]  # there it was development or training


@pytest.mark.parametrize(
    ("name", "clips_a_speaker"),
    [
        *((name, 8) for name in sorted(PROBES) if PROBES[name].weights is None),
        ("linear", 3),
    ],  # with more clips than features, and with fewer
)
def test_a_test_clip_s_features_change_nothing_of_the_round_but_its_own_prediction(
    make_corpus: Make, tmp_path: Path, name: str, clips_a_speaker: int
) -> None:
    """Neither scalers, axes, bins nor thresholds may know them, to the bit."""
    corpus = make_corpus("multilabel", clips_a_speaker=clips_a_speaker, layers=2)
    own = np.flatnonzero(corpus.folds.fold == 0)
    changed = own[::2]
    other = {
        layer: replace(values, mean=values.mean.copy(), std=values.std.copy())
        for layer, values in corpus.features.items()
    }
    for values in other.values():
        values.mean[changed] *= -50
        values.std[changed] *= 50
    before = run(corpus, tmp_path, probe=name, trials=2, winners=tmp_path / "before")
    after = run(
        replace(corpus, features=other), tmp_path, probe=name, trials=2, study=tmp_path / "2.db", winners=tmp_path / "2"
    )
    assert before.choices[0] == after.choices[0]
    assert {layer: values[0] for layer, values in before.losses.items()} == {
        layer: values[0] for layer, values in after.losses.items()
    }
    one, two = (winners.read(tmp_path / folder)[0] for folder in ("before", "2"))
    assert one.bars.tobytes() == two.bars.tobytes() and one.scale.centre.tobytes() == two.scale.centre.tobytes()
    same = np.setdiff1d(own, changed)
    assert before.predictions.probability[same].tobytes() == after.predictions.probability[same].tobytes()
    assert before.predictions.probability[changed].tobytes() != after.predictions.probability[changed].tobytes()


def test_the_number_of_workers_changes_no_byte(make_corpus: Make, tmp_path: Path) -> None:
    corpus = make_corpus("multilabel")
    one = run(corpus, tmp_path, trials=4, workers=1)
    three = run(corpus, tmp_path, trials=4, workers=3, study=tmp_path / "three.db")
    assert one.predictions.probability.tobytes() == three.predictions.probability.tobytes()
    assert one.choices == three.choices and one.development == three.development


def test_clips_that_failed_are_left_out_and_named(make_corpus: Make, tmp_path: Path) -> None:
    corpus = make_corpus("binary")
    keep = np.arange(len(corpus.ids)) > 1
    features = {
        name: LayerFeatures(name, layer.ids[2:], layer.mean[keep], layer.std[keep])
        for name, layer in corpus.features.items()
    }
    found = run(replace(corpus, features=features, failed={"clip-0": "no samples"}), tmp_path, trials=2)
    assert found.left_out == {"clip-0": "no samples", "clip-1": "not in the feature store"}
    assert found.predictions.ids == corpus.ids[2:]
    assert found.folds.ids == corpus.ids[2:]


def test_the_stores_order_of_clips_does_not_matter(make_corpus: Make, tmp_path: Path) -> None:
    corpus = make_corpus("binary")
    order = np.random.default_rng(1).permutation(len(corpus.ids))
    shuffled = {
        name: LayerFeatures(name, tuple(layer.ids[row] for row in order), layer.mean[order], layer.std[order])
        for name, layer in corpus.features.items()
    }
    found = run(corpus, tmp_path, trials=2)
    again = run(replace(corpus, features=shuffled), tmp_path, trials=2)  # the same study is accepted
    assert found.predictions.probability.tobytes() == again.predictions.probability.tobytes()


def test_a_fixed_split_tests_its_test_part_alone(make_corpus: Make, tmp_path: Path) -> None:
    corpus = make_corpus("multiclass")
    split = ["test" if one in ("s0", "s1") else "dev" if one == "s2" else "train" for one in corpus.speakers]
    folds = fixed(corpus.ids, corpus.speakers, split, "speaker", 0)
    found = run(replace(corpus, folds=folds), tmp_path, trials=3)
    assert set(found.predictions.groups) == {"s0", "s1"}
    assert len(found.choices) == 1


def test_a_label_without_a_positive_in_training_is_predicted_at_prevalence_and_flagged(
    make_corpus: Make, tmp_path: Path
) -> None:
    corpus = make_corpus("multilabel")
    truth = corpus.truth.copy()
    truth[corpus.folds.fold != 0, 2] = 0  # only fold 0 has the third label
    truth[np.flatnonzero(corpus.folds.fold == 0)[:5], 2] = 1
    found = run(replace(corpus, truth=truth), tmp_path, trials=2)
    assert Note("constant_label", {"fold": 0, "label": "c", "what": "prevalence"}) in found.notes
    tested = found.predictions.fold == 0
    assert (found.predictions.probability[tested, 2] == 0).all()
    assert (found.predictions.prediction[tested, 2] == 0).all()


def test_folds_that_leave_nothing_to_tell_apart_are_refused(make_corpus: Make, tmp_path: Path) -> None:
    corpus = make_corpus("binary")
    truth = (corpus.folds.fold == 0).astype(np.int64)
    with pytest.raises(SplitError, match=r"tests fold 0 .*nothing to tell apart"):
        run(replace(corpus, truth=truth), tmp_path)


def test_a_device_that_is_not_there_is_the_machine_s_fault(
    make_corpus: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = []

    def refused(parameters: dict[str, object], part: lightgbm.Dataset) -> None:
        requests.append(parameters["device_type"])
        raise lightgbm.basic.LightGBMError("it was built without it")

    monkeypatch.setattr(lightgbm, "Booster", refused)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(MachineError, match="no device_type cuda here: it was built without it"):
        run(make_corpus("binary"), tmp_path, probe="lightgbm", trials=1, device="cuda")
    assert set(requests) == {"cuda"}  # by each round at work
    with pytest.raises(MachineError, match="No device cuda here"):
        run(make_corpus("binary"), tmp_path, trials=1, device="cuda")


def test_float32_is_not_rounded_whatever_an_extraction_before_it_allowed(make_corpus: Make, tmp_path: Path) -> None:
    allow_tensor_float_32(True)
    run(make_corpus("binary"), tmp_path, trials=1)
    assert not (torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32)


def test_bad_usage_is_named(make_corpus: Make, tmp_path: Path) -> None:
    corpus = make_corpus("binary")
    with pytest.raises(InputError, match="Bad probe 'svm', expected one of"):
        run(corpus, tmp_path, probe="svm")
    with pytest.raises(InputError, match="0 trials"):
        run(corpus, tmp_path, trials=0)
    others = replace(corpus, folds=Folds(("x", "y", "z"), ("x", "y", "z"), np.arange(3), "speaker", 0))
    with pytest.raises(InputError, match="none of the manifest's clips"):
        probe(others, corpus.task, np.arange(3) % 2, others.folds, ("x", "y", "z"), study=tmp_path / "s.db")
    run(corpus, tmp_path, trials=1)
    with pytest.raises(StoreError, match="other clips, labels, folds, seed"):
        run(corpus, tmp_path, trials=1, seed=1)


def test_kernels_are_kept_for_batches_that_shrink_as_columns_converge(
    make_corpus: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEPT:
        monkeypatch.setenv(name, FEW)
    run(make_corpus("binary"), tmp_path, trials=1)
    assert [os.environ[name] for name in KEPT] == ["512", "512"]
