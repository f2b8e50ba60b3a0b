"""The random-weights control is the same architecture, untrained, and loads like any checkpoint."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.models import tiny, zoo
from tests.models.reference import own_states, relative_error
from toolkit.core.errors import InputError
from toolkit.models.checkpoint import inspect
from toolkit.models.load import load
from toolkit.models.randomise import randomise


@pytest.mark.parametrize("family", [tiny.hubert, tiny.wavlm, tiny.whisper])
def test_the_architecture_stays_and_the_weights_are_drawn_anew(tmp_path: Path, family: Callable[..., Path]) -> None:
    trained = inspect(family(tmp_path / "tiny"), "tiny")
    before = torch.get_rng_state()
    made = randomise(trained, tmp_path)
    assert torch.equal(before, torch.get_rng_state())
    assert made.name == "tiny-random" and made.weights_sha256 != trained.weights_sha256
    assert made.backbone.layers == trained.backbone.layers and made.backbone.width == trained.backbone.width
    old, new = (load_file(folder / "model.safetensors") for folder in (trained.folder, made.folder))
    weights = [name for name, tensor in new.items() if tensor.ndim == 2 and name.endswith("fc1.weight")]
    assert all(not torch.equal(old[name], new[name]) for name in weights if name in old)
    norms = [tensor for name, tensor in new.items() if name.endswith("final_layer_norm.weight")]
    assert norms and all(torch.equal(norm, torch.ones_like(norm)) for norm in norms)
    load(made, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("name", ["wav2vec2-bert", "parakeet_ctc"])
def test_a_family_by_transformers_own_forward_is_drawn_anew_too(tmp_path: Path, name: str) -> None:
    trained = inspect(zoo.save(name, tmp_path / "tiny"), "tiny")
    made = randomise(trained, tmp_path)
    assert made.backbone == replace(trained.backbone, name="tiny-random", parameters=made.backbone.parameters)
    clip = [tiny.speech_like(0.5)]
    old, new = (own_states(load(one, torch.device("cpu"), torch.float32), clip)[0] for one in (trained, made))
    assert relative_error(new["encoder.2"], old["encoder.2"]) > 0.1


def test_a_preprocessor_saved_by_transformers_5_goes_along(tmp_path: Path) -> None:
    plain, nested = tiny.hubert(tmp_path / "tiny"), tiny.hubert(tmp_path / "nested" / "tiny")
    extractor = json.loads((nested / "preprocessor_config.json").read_text())
    (nested / "preprocessor_config.json").unlink()
    (nested / "processor_config.json").write_text(json.dumps({"feature_extractor": extractor}))
    one, same = (randomise(inspect(folder, "tiny"), folder.parent) for folder in (plain, nested))
    assert one.weights_sha256 == same.weights_sha256


def test_a_seed_gives_its_weights_and_a_folder_is_never_overwritten(tmp_path: Path) -> None:
    trained = inspect(tiny.hubert(tmp_path / "tiny"), "tiny")
    one, same, other = (randomise(trained, tmp_path / name, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert one.weights_sha256 == same.weights_sha256 != other.weights_sha256
    with pytest.raises(InputError, match="there already"):
        randomise(trained, tmp_path / "a")
