"""Extraction through transformers' own forward: its mode and its proof, in the store and while it runs."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from tests.extract.conftest import corpus
from tests.models import zoo
from toolkit.audio.decode import Samples, decode
from toolkit.core.errors import CheckpointError, InputError
from toolkit.extract import pipeline, setup
from toolkit.extract.check import check_checkpoint
from toolkit.extract.options import Options
from toolkit.extract.run import extract
from toolkit.models import generic
from toolkit.models.checkpoint import Checkpoint, inspect
from toolkit.models.encoder import LayerStates
from toolkit.models.generic import GenericEncoder
from toolkit.models.load import load
from toolkit.models.pooling import mean_and_std


@pytest.fixture(autouse=True)
def proved_by_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proof of two clips: tests/models/test_generic.py proves each family by more."""
    monkeypatch.setattr(generic, "PROOF_CLIPS", 2)
    monkeypatch.setattr(generic, "FIXED_PROOF_CLIPS", 2)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return inspect(zoo.save("wav2vec2-bert", tmp_path_factory.mktemp("models") / "wav2vec2-bert"), "tiny-bert")


@pytest.fixture(scope="module")
def sew(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return inspect(zoo.save("sew", tmp_path_factory.mktemp("models") / "sew"), "tiny-sew")


def test_stored_features_are_those_of_each_clip_alone(tmp_path: Path, bert: Checkpoint, sew: Checkpoint) -> None:
    for checkpoint, modes in ((bert, {"masked", "equal"}), (sew, {"mended", "equal"})):
        clips = corpus(tmp_path)
        messages: list[str] = []
        done = extract(clips, checkpoint, tmp_path / "features", Options(frames="encoder.2"), messages.append)
        assert (done.new, done.failed, done.flags["unbatched"]) == (7, {}, 0)
        settings = done.store.settings
        assert settings["batches"]["mode"] in modes and settings["dtype"] == "float32"
        assert any(": 2 clips were off by" in sentence for sentence in messages)
        proof = json.loads((done.store.folder / "proof.json").read_text())
        assert proof["errors"][settings["batches"]["mode"]] <= generic.BOUND
        alone = load(checkpoint, torch.device("cpu"), torch.float32).in_mode("alone")  # type: ignore[attr-defined]
        frames = dict(done.store.frames("encoder.2"))
        for row, clip in enumerate(clips.clips):
            for states in alone.states([decode(clips.audio_path(clip)).samples]):
                mean, std = (values[0].numpy() for values in mean_and_std(states.values, states.lengths))
                layer = done.store.layer(states.name)
                np.testing.assert_allclose(layer.mean[row], mean, rtol=2e-3, atol=2e-4)  # float16 on disk
                np.testing.assert_allclose(layer.std[row], std, rtol=2e-3, atol=2e-4)
                if states.name == "encoder.2":
                    np.testing.assert_allclose(frames[clip.id], states.values[0], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("mode", ["masked", "equal", "alone"])
def test_a_store_is_gone_on_with_in_its_mode_and_a_finished_one_needs_no_model(
    mode: str, tmp_path: Path, bert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = setup.load
    monkeypatch.setattr(setup, "load", lambda *args, **options: honest(*args, **{**options, "mode": mode}))
    clips = corpus(tmp_path)
    begun = extract(clips, bert, tmp_path / "features", Options()).store
    assert begun.settings["batches"]["mode"] == mode
    taken: list[str] = []

    def loaded(*args: Any, **options: Any) -> Any:
        found = honest(*args, **options)
        taken.append(found.mode)
        return found

    monkeypatch.setattr(setup, "load", loaded)
    more = extract(corpus(tmp_path, count=9), bert, tmp_path / "features", Options())
    assert (more.store.folder, more.new, taken) == (begun.folder, 2, [mode])
    monkeypatch.setattr(setup, "load", lambda *_, **__: pytest.fail("a finished store needs no model"))
    assert extract(corpus(tmp_path, count=9), bert, tmp_path / "features", Options()).new == 0


def test_a_batch_that_is_not_exact_is_found_done_anew_and_counted(
    tmp_path: Path, bert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = extract(corpus(tmp_path), bert, tmp_path / "expected", Options()).store
    honest = GenericEncoder.states

    def leaking(self: GenericEncoder, clips: list[Samples]) -> Iterator[LayerStates]:
        for layer in honest(self, clips):
            leak = 1e-3 if self.mode in generic.PADDED and len(clips) > 1 else 0.0
            yield replace(layer, values=layer.values + leak)

    seen: list[str] = []
    monkeypatch.setattr(pipeline, "measure_budget", lambda *_: 100.0)
    monkeypatch.setattr("toolkit.extract.run.measure_budget", lambda *_: 100.0)
    encoder = setup.load

    def loaded(*args: Any, **options: Any) -> Any:
        found = encoder(*args, **{**options, "mode": "masked"})
        monkeypatch.setattr(GenericEncoder, "states", leaking)  # once the proof at load has passed
        seen.append(found.mode)
        return found

    monkeypatch.setattr(setup, "load", loaded)
    monkeypatch.setattr(pipeline, "batches", lambda lengths, *_: [list(range(len(lengths)))])
    done = extract(corpus(tmp_path), bert, tmp_path / "features", Options())
    assert seen == ["masked"] and done.flags["unbatched"] == 7
    for layer in expected.layers:
        np.testing.assert_allclose(done.store.layer(layer).mean, expected.layer(layer).mean, rtol=2e-3, atol=2e-4)


def test_bfloat16_and_options_of_whisper_are_refused(tmp_path: Path, bert: Checkpoint) -> None:
    with pytest.raises(InputError, match=r"tiny-bert: Bad dtype 'bfloat16', .* runs by its own forward"):
        extract(corpus(tmp_path, count=1), bert, tmp_path / "features", Options(dtype="bfloat16"))
    with pytest.raises(InputError, match="no decoder"):
        extract(corpus(tmp_path, count=1), bert, tmp_path / "features", Options(decoder=True))
    assert not (tmp_path / "features").exists()


def test_layers_that_are_not_asked_for_are_not_computed(tmp_path: Path, bert: Checkpoint) -> None:
    store = extract(corpus(tmp_path), bert, tmp_path / "features", Options(layers="0-1")).store
    whole = extract(corpus(tmp_path), bert, tmp_path / "features", Options()).store
    assert store.layers == ("encoder.0", "encoder.1")
    np.testing.assert_allclose(store.layer("encoder.1").mean, whole.layer("encoder.1").mean, rtol=2e-3, atol=2e-4)


def test_the_self_test_passes_and_is_kept(tmp_path: Path, bert: Checkpoint, sew: Checkpoint) -> None:
    for checkpoint in (bert, sew):
        result = check_checkpoint(checkpoint, tmp_path, Options(), lambda sentence: None)
        assert result.passed and result.mode in generic.MODES and result.worst <= generic.BOUND


def test_a_clip_longer_than_the_model_hears_fails_with_the_option_named(tmp_path: Path) -> None:
    kin = inspect(zoo.save("voxtral", tmp_path / "voxtral"), "voxtral")
    clips = corpus(tmp_path, count=2)
    soundfile.write(tmp_path / "1.wav", np.zeros(31 * 16_000, np.float32), 16_000)
    done = extract(clips, kin, tmp_path / "features", Options())
    assert done.failed.keys() == {"clip1"}
    assert "lasts 31.0 s, expected at most 30 s, which is all that the model hears; --window" in done.failed["clip1"]


def test_a_width_that_changes_and_an_extractor_that_fails_are_said_in_a_sentence(
    tmp_path: Path, bert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = replace(bert, backbone=replace(bert.backbone, width=16))
    with pytest.raises(CheckpointError, match=r"tiny-bert: its layers are \[32\] wide, expected 16"):
        load(narrow, torch.device("cpu"), torch.float32)
    deeper = replace(bert, backbone=replace(bert.backbone, layers=5))
    with pytest.raises(CheckpointError, match="its model has 3 modules whose states transformers records, expected 5"):
        load(deeper, torch.device("cpu"), torch.float32)
    kind = type(zoo.ZOO["wav2vec2-bert"].build()[1])
    monkeypatch.setattr(kind, "__call__", lambda *_, **__: 1 / 0)
    with pytest.raises(CheckpointError, match=r"its feature extractor fails on a clip of 0\.73 s: ZeroDivisionError"):
        load(bert, torch.device("cpu"), torch.float32)
