"""A folder with pickled weights becomes a checkpoint of the same values; a pointer of Git LFS is called one."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from tests.conftest import Run
from tests.models import tiny
from toolkit.core.errors import CheckpointError, InputError
from toolkit.core.git_lfs import POINTER
from toolkit.models.checkpoint import inspect, locate
from toolkit.models.convert.pickled import convert
from toolkit.models.load import load
from toolkit.models.proof import relative_error

LFS = POINTER + b"v1\noid sha256:" + b"0" * 64 + b"\nsize 377552111\n"


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return tiny.hubert(tmp_path / "whole")


@pytest.fixture
def pickled(whole: Path, tmp_path: Path) -> Path:
    """What the hub has for facebook/hubert-base-ls960."""
    folder = shutil.copytree(whole, tmp_path / "their-hubert")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


@pytest.fixture
def sharded(pickled: Path) -> Path:
    state = torch.load(pickled / "pytorch_model.bin", weights_only=True)  # noqa: TID251 - of this very test
    (pickled / "pytorch_model.bin").unlink()
    owners = {name: f"pytorch_model-0000{1 + (place > 9)}-of-00002.bin" for place, name in enumerate(state)}
    for file in set(owners.values()):
        torch.save({name: tensor for name, tensor in state.items() if owners[name] == file}, pickled / file)
    index = {"metadata": {"total_size": 1}, "weight_map": owners}
    (pickled / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return pickled


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_pickle_becomes_the_checkpoint_that_its_values_are(pickled: Path, whole: Path, tmp_path: Path) -> None:
    (pickled / "tokenizer.json").write_text("{}")
    made = convert(pickled, tmp_path / "models" / "hubert")
    assert names(made.folder) == ["config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"]
    assert made.name == "hubert" and made.backbone.layers == 3
    got, expected = load_file(made.folder / "model.safetensors"), load_file(whole / "model.safetensors")
    assert got.keys() == expected.keys() and all(torch.equal(got[name], expected[name]) for name in expected)
    assert locate("hubert", tmp_path / "models").weights_sha256 == made.weights_sha256
    with pytest.raises(InputError, match="models/hubert is there already"):
        convert(pickled, tmp_path / "models" / "hubert")


def test_pickled_shards_become_shards_with_their_index(sharded: Path, whole: Path, tmp_path: Path) -> None:
    made = convert(sharded, tmp_path / "models" / "hubert")
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert names(made.folder) == ["config.json", *shards, "model.safetensors.index.json", "preprocessor_config.json"]
    got = load_file(made.folder / shards[0]) | load_file(made.folder / shards[1])
    expected = load_file(whole / "model.safetensors")
    assert got.keys() == expected.keys() and all(torch.equal(got[name], expected[name]) for name in expected)
    (sharded / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(CheckpointError, match=r"has no pytorch_model-00002-of-00002\.bin, .* incomplete"):
        convert(sharded, tmp_path / "models" / "again")
    assert names(tmp_path / "models") == ["hubert"]


def test_the_same_folder_twice_is_converted_in_its_place(sharded: Path) -> None:
    before = names(sharded)
    assert convert(sharded, sharded).weights_sha256 == inspect(sharded, "x").weights_sha256
    assert len(names(sharded)) == len(before) + 3
    with pytest.raises(CheckpointError, match="has its weights as safetensors"):
        convert(sharded, sharded)


def test_what_is_no_checkpoint_in_its_place_is_left_as_it_was(pickled: Path) -> None:
    (pickled / "config.json").write_text('{"model_type": "gpt2"}')
    before = names(pickled)
    with pytest.raises(CheckpointError, match="Bad model_type 'gpt2'"):
        convert(pickled, pickled)
    assert names(pickled) == before


def test_a_hub_cache_is_converted_by_the_command(pickled: Path, tmp_path: Path, run: Run) -> None:
    cache = tmp_path / "models--facebook--their-hubert"
    shutil.copytree(pickled, cache / "snapshots" / "0123")
    code, out, _ = run("models", "convert", str(cache), str(tmp_path / "models" / "theirs"))
    assert code == 0 and "theirs has weights" in out and (tmp_path / "models/theirs/model.safetensors").is_file()


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "preprocessor_config.json", "pytorch_model.bin"])
def test_a_pointer_in_the_place_of_a_file_is_called_one(file: str, whole: Path, tmp_path: Path) -> None:
    if file == "pytorch_model.bin":
        (whole / "model.safetensors").unlink()
    (whole / file).write_bytes(LFS)
    sentence = rf"whole/{file} is a Git LFS pointer, not the (file|weights); run `git lfs pull`"
    with pytest.raises(CheckpointError, match=sentence):
        inspect(whole, "whole")
    if file == "pytorch_model.bin":
        with pytest.raises(CheckpointError, match="is a Git LFS pointer"):
            convert(whole, tmp_path / "models" / "x")


def test_a_pointer_among_the_shards_and_of_another_format_is_called_one(
    sharded: Path, tmp_path: Path, run: Run
) -> None:
    (sharded / "pytorch_model-00002-of-00002.bin").write_bytes(LFS)
    with pytest.raises(CheckpointError, match=r"00002-of-00002\.bin is a Git LFS pointer"):
        convert(sharded, tmp_path / "models" / "x")
    (tmp_path / "ct2").mkdir()
    (tmp_path / "ct2" / "model.bin").write_bytes(LFS)
    code, _, err = run("models", "convert", str(tmp_path / "ct2"), str(tmp_path / "models" / "x"))
    assert code == 4 and "ct2/model.bin is a Git LFS pointer, not the weights; run `git lfs pull`" in err


class Wav2Vec2ForSpeechClassification(transformers.Wav2Vec2PreTrainedModel):
    """audEERING's dimensional model: wav2vec 2.0 with a head of its own, as its model card has it."""

    def __init__(self, config: transformers.Wav2Vec2Config) -> None:
        super().__init__(config)
        self.wav2vec2 = transformers.Wav2Vec2Model(config)
        self.classifier = torch.nn.ModuleDict({name: torch.nn.Linear(32, 32) for name in ("dense", "out_proj")})
        self.post_init()


def test_a_head_of_its_own_is_left_out_and_said(tmp_path: Path, run: Run) -> None:
    config = transformers.Wav2Vec2Config(**tiny.SIZES, **tiny.POSITIONS, **tiny.STABLE)
    model = Wav2Vec2ForSpeechClassification(config)
    folder = tiny.save(tmp_path / "audeering", model, transformers.Wav2Vec2FeatureExtractor(do_normalize=True), 0)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    code, _, err = run("models", "convert", str(folder), str(tmp_path / "models" / "dimensional"))
    assert code == 0, err
    code, out, _ = run("models", "show", "dimensional", "-w", str(tmp_path))
    assert code == 0 and "not used           classifier" in out.splitlines()
    assert "family             wav2vec2" in out and "layers             3" in out.splitlines()
    encoder = load(locate("dimensional", tmp_path / "models"), torch.device("cpu"), torch.float32)
    clip = tiny.speech_like(0.5)
    with torch.no_grad():
        normed = (clip - clip.mean()) / (clip.var() + 1e-7) ** 0.5
        expected = model.wav2vec2.eval()(torch.from_numpy(normed)[None], output_hidden_states=True).hidden_states
    for layer, wanted in zip(encoder.states([clip]), expected, strict=True):
        assert relative_error(layer.values, wanted) < 1e-5
