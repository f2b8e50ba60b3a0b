"""Statistics that a store keeps besides mean and deviation: exact, searched by every probe, applied to new clips."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import toolkit
from tests.extract.conftest import corpus
from tests.probe.conftest import corpus as probed_corpus
from tests.probe.conftest import run, score
from toolkit.audio.decode import decode
from toolkit.core.errors import InputError, MachineError
from toolkit.extract.options import Options
from toolkit.extract.run import extract
from toolkit.features import shard
from toolkit.features.store import Store
from toolkit.finetune.origin import _statistics
from toolkit.models import pooling
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.load import load
from toolkit.probe import search, winners
from toolkit.probe.protocol import OneOf
from toolkit.result import run_files


def test_the_greatest_value_is_of_a_clips_own_frames() -> None:
    values = torch.randn(3, 9, 5, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([9, 1, 4])
    values[1, 1:], values[2, 4:] = torch.nan, torch.inf
    found = pooling.statistic("max")(values, lengths)
    for place, length in enumerate(lengths.tolist()):
        np.testing.assert_array_equal(found[place].numpy(), values[place, :length].numpy().max(axis=0))


@pytest.mark.parametrize(
    ("pool", "told"),
    [
        (
            lambda values, lengths: values.nan_to_num(9).amax(dim=1),
            "another vector of a clip in a batch than of the clip",
        ),
        (lambda values, lengths: values[:, :, 0], r"the shape \(3, 7\), expected \(3, 4\)"),
        (lambda values, lengths: values.no_such_thing(), "AttributeError"),
    ],
)
def test_a_statistic_that_cannot_be_used_is_refused(
    pool: Callable[[Tensor, Tensor], Tensor], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pooling.MORE_STATISTICS._loaded, "max", pooling.Statistic(pool, ""))
    with pytest.raises(MachineError, match=f"The statistic 'max' of --statistics gives {told}"):
        pooling.statistic("max")


def test_a_store_keeps_it_next_to_the_others_and_without_it_is_as_before(tmp_path: Path, hubert: Checkpoint) -> None:
    clips, features = corpus(tmp_path), tmp_path / "features"
    plain = extract(clips, hubert, features, Options(dtype="float32")).store
    store = extract(clips, hubert, features, Options(dtype="float32", statistics=["max"])).store
    assert (plain.statistics, store.statistics) == (("mean", "std"), ("mean", "std", "max"))
    assert "statistics" not in plain.settings and plain.signature != store.signature
    encoder = load(hubert, torch.device("cpu"), torch.float32)
    for name in store.layers:
        found, before = store.layer(name), plain.layer(name)
        np.testing.assert_array_equal(found.matrix("both"), before.matrix("both"))
        assert (dict(before.more), found.rows(np.array([2, 0])).more["max"].shape) == ({}, (2, store.width))
    for row, clip in enumerate(clips.clips):
        for states in encoder.states([decode(clips.audio_path(clip)).samples]):
            greatest = states.values[0].numpy().max(axis=0)
            stored = store.layer(states.name).matrix("max")[row]
            np.testing.assert_allclose(stored, greatest, rtol=2e-3, atol=2e-4)  # float16 on disk
    shard.without(store.folder / "shard-00000.json", lambda clip: clip == "clip3")
    assert Store(store.folder).layer(name).more["max"].tolist() == np.delete(found.more["max"], 3, axis=0).tolist()
    with pytest.raises(InputError, match=r"Bad statistic 'maxx', expected one of .*; did you mean 'max'"):
        extract(clips, hubert, features, Options(statistics=["maxx"]))


@pytest.mark.parametrize("name", ["linear", "mlp", "mix", "lightgbm"])
def test_every_probe_finds_what_it_alone_knows(name: str, tmp_path: Path) -> None:
    planted = probed_corpus(strength=6.0)
    features = {
        layer: replace(each, mean=np.flip(each.mean, 0).copy(), more={"max": each.mean})
        for layer, each in planted.features.items()
    }
    data = replace(planted, features=features, statistics=("mean", "std", "max"))
    found = run(data, tmp_path, probe=name, winners=tmp_path / "kept", trials=10)
    assert {choice.setting["statistics"] for choice in found.choices} == {"max"} and score(found) > 0.9
    for winner in winners.read(tmp_path / "kept"):
        probability, _ = winner.apply([data.layer(layer) for layer in winner.layers])
        tested = data.folds.fold == winner.fold
        assert (probability[tested].astype(np.float32) == found.predictions.probability[tested]).all()


def test_new_clips_get_it_too_and_an_estimator_reads_all_side_by_side(
    tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrowed = search.narrowed
    monkeypatch.setattr(
        "toolkit.probe.run.narrowed", lambda *given: {**narrowed(*given), "statistics": OneOf(("max",))}
    )
    corpus(tmp_path, count=18)
    head, *rows = (tmp_path / "manifest.csv").read_text().splitlines()
    moods = [f"{row},{'ab'[number // 2 % 2]}" for number, row in enumerate(rows)]
    (tmp_path / "manifest.csv").write_text("\n".join([f"{head},mood", *moods, ""]))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny-hubert").symlink_to(hubert.folder)
    study = toolkit.open(tmp_path)
    store = study.extract("tiny-hubert", statistics="max", dtype="float32").by_model["tiny-hubert"].store
    (made,) = study.probe("tiny-hubert", "mood", folds=3, trials=1).runs
    assert {choice.setting["statistics"] for choice in made.run.choices} == {"max"}
    (tmp_path / "features").rename(tmp_path / "gone")
    predicted = study.predict(made.name, [tmp_path / f"{number}.wav" for number in range(18)], round_=0).table()
    (tmp_path / "gone").rename(tmp_path / "features")
    own = made.run.predictions
    for row, clip in enumerate(own.ids):
        if own.fold[row] == 0:
            given = predicted.loc[predicted.id == f"{clip.removeprefix('clip')}.wav", "probability:b"].item()
            assert given == pytest.approx(own.probability[row, 1], abs=1e-5)
    layer = made.run.choices[0].layer
    features = Store(store.folder).layer(layer)
    estimator = made.estimator(layer)
    wide = np.concatenate([features.mean, features.std, features.more["max"]], axis=1)
    assert estimator.predict_proba(wide[:, : estimator.n_features_in_]).shape == (18, 2)
    assert run_files.read(made.folder).provenance["features"]["statistics"] == ["mean", "std", "max"]


def test_fine_tuning_asks_for_one_that_it_has() -> None:
    with pytest.raises(InputError, match=r"chose the statistic 'max' of encoder\.3; fine-tuning has"):
        _statistics("encoder.3", None, "max")
    assert (_statistics("encoder.3", "std", "max"), _statistics("decoder.1", None, "max")) == ("std", "mean")
