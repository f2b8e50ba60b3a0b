"""Checkpoint folders: described from their own files, refused with one sentence, hashed by what changes numbers."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import transformers
from safetensors.torch import load_file, save_file

from tests.conftest import Run
from tests.models import tiny
from toolkit.core.errors import CheckpointError, InputError
from toolkit.models.checkpoint import inspect, installed, locate
from toolkit.models.registry import BACKBONES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.hubert(tmp_path / "models" / "mine")


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("kind", tiny.FAMILIES)
def test_a_local_folder_is_described_from_its_files(kind: str, tmp_path: Path) -> None:
    checkpoint = locate(str(tiny.FAMILIES[kind](tmp_path / "own")), tmp_path / "models")
    row = checkpoint.backbone
    assert checkpoint.name == row.name == "own" and checkpoint.folder == tmp_path / "models" / "own"
    assert checkpoint.folder.resolve() == tmp_path / "own" and not checkpoint.folder.readlink().is_absolute()
    assert (row.width, row.licence, row.hub_id, row.sample_rate) == (32, "unknown", "", 16_000)
    assert row.layers == (2 if "whisper" in kind else 3)
    assert row.decoder_layers == (2 if "whisper" in kind else 0)
    assert row.mel_bins == (int(kind.split("-")[1]) if "whisper" in kind else 0)
    norm = "none" if "whisper" in kind else "group" if kind.split("-")[1] in ("group", "batch") else "layer"
    assert row.convolution_norm == norm
    assert row.normalises_input == (kind not in ("wavlm-group", "whisper-80", "whisper-128"))


def test_parameters_leave_out_a_head(tmp_path: Path) -> None:
    bare = locate(str(tiny.wav2vec2(tmp_path / "bare")), tmp_path).backbone.parameters
    weights = load_file(tmp_path / "bare" / "model.safetensors")
    shutil.copytree(tmp_path / "bare", tmp_path / "headed")
    headed = {f"wav2vec2.{name}": tensor for name, tensor in weights.items()}
    save_file(
        headed | {"lm_head.bias": weights["masked_spec_embed"].clone()}, tmp_path / "headed" / "model.safetensors"
    )
    assert locate(str(tmp_path / "headed"), tmp_path).backbone.parameters == bare
    assert bare == sum(weight.numel() for weight in weights.values())


def test_names_are_looked_up_in_the_models_folder(folder: Path) -> None:
    assert locate("mine", folder.parent).folder == folder
    assert installed(folder.parent) == {"mine": folder}
    assert installed(folder / "nowhere") == {}


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Bad model 'whisper-smal', expected one of") as caught:
        locate("whisper-smal", tmp_path / "models")
    assert "whisper-large-v3" in str(caught.value) and "path of a folder" in str(caught.value)
    assert caught.value.exit_code == 2
    with pytest.raises(InputError) as caught:
        locate(str(tmp_path / "gone"), tmp_path)
    assert str(tmp_path) not in str(caught.value)


def test_a_known_name_that_is_absent_tells_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        locate("whisper-medium", tmp_path / "models")
    assert "models/whisper-medium" in str(caught.value) and caught.value.exit_code == 4
    assert "`toolkit models fetch whisper-medium`" in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_a_known_name_with_another_model_in_it_is_refused(tmp_path: Path) -> None:
    tiny.hubert(tmp_path / "hubert-base-ls960")
    with pytest.raises(CheckpointError, match="layers 3, expected 12"):
        locate("hubert-base-ls960", tmp_path)


def test_a_known_name_keeps_its_hub_and_licence(tmp_path: Path) -> None:
    sizes = {"encoder_layers": 4, "decoder_layers": 4, "d_model": 384}
    heads = {"encoder_attention_heads": 6, "decoder_attention_heads": 6}
    tiny.whisper(tmp_path / "whisper-tiny.en", **sizes, **heads)
    row, known = locate("whisper-tiny.en", tmp_path).backbone, BACKBONES["whisper-tiny.en"]
    assert (row.hub_id, row.licence) == (known.hub_id, known.licence)
    assert row.parameters != known.parameters  # counted, not believed


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), r"has no config\.json"),
    "bad JSON": (lambda f: (f / "config.json").write_text("{"), "is not valid JSON"),
    "NaN": (lambda f: (f / "config.json").write_text('{"x": NaN}'), "NaN is not JSON"),
    "deep JSON": (lambda f: (f / "config.json").write_text("[" * 100_000), "is not valid JSON"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), "holds a list, expected an object"),
    "no preprocessor": (lambda f: (f / "preprocessor_config.json").unlink(), r"has no preprocessor_config\.json"),
    "family": (lambda f: edit(f / "config.json", model_type="gpt2"), "Bad model_type 'gpt2', expected one of"),
    "family of odd type": (lambda f: edit(f / "config.json", model_type=[1]), r"Bad model_type \[1\]"),
    "layers": (lambda f: edit(f / "config.json", num_hidden_layers="3"), "num_hidden_layers is '3'"),
    "norm": (lambda f: edit(f / "config.json", feat_extract_norm="batch"), "Bad feat_extract_norm 'batch'"),
    "rate": (lambda f: edit(f / "preprocessor_config.json", sampling_rate=8000), "Bad sampling_rate 8000"),
    "quantised": (
        lambda f: edit(f / "config.json", quantization_config={"load_in_8bit": True}),
        "'quantization_config'",
    ),
    "other weights": (
        lambda f: edit(f / "config.json", transformers_weights="a.safetensors"),
        "'transformers_weights'",
    ),
    "other config": (lambda f: edit(f / "config.json", configuration_files=["config.4.0.0.json"]), "plain weights"),
    "other last state": (lambda f: edit(f / "config.json", tie_last_hidden_states=False), "'tie_last_hidden_states'"),
    "adapter": (
        lambda f: (f / "adapter_config.json").write_text("{}"),
        r"has adapter_config\.json next to its weights",
    ),
    "processor": (
        lambda f: (f / "processor_config.json").write_text('{"feature_extractor": 1}'),
        r"processor_config\.json: feature_extractor is a int, expected an object",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "the weights are missing"),
    "pickle": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        "a pickle, .*`toolkit models convert path/to/mine models/NAME`",
    ),
    "pickled shards": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin.index.json"),
        r"weights in pytorch_model\.bin\.index\.json, a pickle",
    ),
    "cut weights": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-1]),
        "not a whole safetensors file",
    ),
    "empty weights": (lambda f: (f / "model.safetensors").write_bytes(b""), "not a whole safetensors file"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_each_defect_of_a_folder_has_its_sentence(name: str, folder: Path) -> None:
    spoil, sentence = BREAKS[name]
    spoil(folder)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        locate("mine", folder.parent)
    assert str(folder.parent) not in str(caught.value)


@pytest.fixture
def sharded(folder: Path) -> Path:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    owners = {name: f"model-0000{1 + (name > names[9])}-of-00002.safetensors" for name in names}
    for file in set(owners.values()):
        save_file({name: weights[name] for name in names if owners[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": owners}))
    return folder


def test_shards_count_as_one_checkpoint(sharded: Path, tmp_path: Path) -> None:
    whole = locate(str(tiny.hubert(tmp_path / "whole")), tmp_path)
    assert locate(str(sharded), tmp_path).backbone.parameters == whole.backbone.parameters
    assert transformers.HubertModel.from_pretrained(sharded).config.num_hidden_layers == 3


def test_a_missing_or_foreign_shard_is_named(sharded: Path) -> None:
    index = json.loads((sharded / "model.safetensors.index.json").read_text())["weight_map"]
    first = sorted(index)[0]
    for changes, sentence in (
        ({first: "../other.safetensors"}, r"names '\.\./other\.safetensors'"),
        ({"ghost": index[first]}, "lacks the tensor 'ghost'"),
    ):
        (sharded / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index | changes}))
        with pytest.raises(CheckpointError, match=sentence):
            locate("mine", sharded.parent)
    (sharded / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    (sharded / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no model-00002-of-00002\.safetensors"):
        locate("mine", sharded.parent)


def test_a_processor_s_file_counts_as_transformers_would_count_it(folder: Path) -> None:
    """transformers 5 saves a processor's feature extractor in processor_config.json, and prefers it there."""
    before = inspect(folder, "mine")
    extractor = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "Wav2Vec2Processor"}))
    assert inspect(folder, "mine") == before
    (folder / "processor_config.json").write_text(
        json.dumps({"feature_extractor": {**extractor, "do_normalize": False}})
    )
    nested = inspect(folder, "mine")
    assert nested.weights_sha256 != before.weights_sha256 and not nested.backbone.normalises_input
    (folder / "preprocessor_config.json").unlink()
    assert inspect(folder, "mine") == nested
    edit(folder / "processor_config.json", feature_extractor=extractor)
    assert inspect(folder, "mine") == before


def test_the_hash_follows_what_changes_numbers_and_nothing_else(folder: Path) -> None:
    def now() -> str:
        return inspect(folder, "mine").weights_sha256

    before = now()
    edit(folder / "config.json", transformers_version="0", torch_dtype="float16", dtype="float16", _name_or_path="x")
    edit(folder / "preprocessor_config.json", processor_class="P")
    assert now() == before
    edit(folder / "preprocessor_config.json", do_normalize=False)
    changed = now()
    assert changed != before
    edit(folder / "config.json", layer_norm_eps=1e-3)
    assert now() not in (before, changed)
    edit(folder / "config.json", layer_norm_eps=1e-5)
    weights = load_file(folder / "model.safetensors")
    weights["masked_spec_embed"] += 1
    save_file(weights, folder / "model.safetensors")
    assert now() not in (before, changed)


def test_weights_are_pinned_at_their_first_use(tmp_path: Path, run: Run) -> None:
    models = tmp_path / "models"
    tiny.hubert(models / "mine")
    tiny.hubert(tmp_path / "elsewhere" / "other", seed=1)
    first, other = locate("mine", models), locate(str(tmp_path / "elsewhere" / "other"), models)
    assert first.weights_sha256 != other.weights_sha256
    assert sorted(path.name for path in models.glob("*.pin.json")) == ["mine.pin.json", "other.pin.json"]
    assert locate("mine", models) == first
    config = models / "mine" / "config.json"
    config.write_text(config.read_text().replace('"layer_norm_eps": 1e-05', '"layer_norm_eps": 1e-06'))
    now = inspect(models / "mine", "mine").weights_sha256
    code, out, err = run("models", "show", "mine", "-w", tmp_path)
    assert (code, out) == (4, "") and first.weights_sha256 in err and now in err
    assert "`toolkit models accept mine`" in err
    assert run("models", "accept", "mine", "-w", tmp_path)[:2] == (0, f"mine is pinned at SHA-256 {now}\n")
    assert locate("mine", models).weights_sha256 == now
    (models / "mine.pin.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"models/mine\.pin\.json is damaged"):
        locate("mine", models)


@pytest.mark.parametrize("given", ["", "snapshots/0123abc"])
def test_a_cache_of_the_hub_is_found_by_the_name_that_the_hub_gives_it(given: str, tmp_path: Path) -> None:
    cache, models = tmp_path / "hub" / "models--someone--my-hubert", tmp_path / "models"
    tiny.hubert(cache / "snapshots" / "0123abc")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("0123abc")
    first = locate(str(cache / given), models)
    assert first.name == "my-hubert" and locate("my-hubert", models) == first == locate(
        str(models / "my-hubert"), models
    )
    (cache / "snapshots" / "4567def").mkdir()
    (cache / "refs" / "main").unlink()
    with pytest.raises(CheckpointError, match="snapshots/ has 2 folders"):
        locate(str(cache), models)


def test_two_checkpoints_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    tiny.wav2vec2(tmp_path / "elsewhere" / "mine")
    with pytest.raises(
        InputError, match="models/mine is another checkpoint than the folder mine that was given; rename"
    ):
        locate(str(tmp_path / "elsewhere" / "mine"), folder.parent)
