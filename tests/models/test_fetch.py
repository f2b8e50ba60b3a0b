"""Fetching, with a hub made of a folder: what is taken, what is recorded, and what is said when it fails."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.models import tiny, zoo
from tests.models.reference import own_states, worst_error
from toolkit.core.errors import CheckpointError, DiskFullError, InputError, MachineError
from toolkit.models.checkpoint import inspect
from toolkit.models.fetch import fetch
from toolkit.models.load import load
from toolkit.models.registry import BACKBONES

COMMIT = "c0ffee" * 6 + "c0ff"
ROW = replace(BACKBONES["hubert-base-ls960"], name="tiny-hubert", hub_id="somebody/tiny-hubert")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the faked client serves; the tests change what lies in it."""
    folder = tiny.hubert(tmp_path / "hub")
    (folder / "README.md").write_text("not needed")
    (folder / "model.fp32-00001-of-00002.safetensors").write_text("not needed")

    def model_info(self: object, repo_id: str, files_metadata: bool) -> Any:
        assert repo_id == ROW.hub_id and files_metadata
        files = [SimpleNamespace(rfilename=path.name, size=path.stat().st_size) for path in folder.iterdir()]
        return SimpleNamespace(sha=COMMIT, siblings=files)

    def snapshot_download(repo_id: str, *, revision: str, allow_patterns: list[str], local_dir: Path) -> None:
        assert (repo_id, revision) == (ROW.hub_id, COMMIT)
        (local_dir / ".cache").mkdir(exist_ok=True)
        for file in allow_patterns:
            (local_dir / file).write_bytes((folder / file).read_bytes())

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_fetched_folder_is_checked_recorded_and_pinned(hub: Path, tmp_path: Path) -> None:
    said: list[str] = []
    checkpoint = fetch(ROW, tmp_path / "models", said.append)
    target = tmp_path / "models" / "tiny-hubert"
    assert checkpoint.folder == target and checkpoint.backbone.layers == 3
    assert names(target) == ["config.json", "fetched.json", "model.safetensors", "preprocessor_config.json"]
    record = json.loads((target / "fetched.json").read_text())
    assert (record["hub_id"], record["commit"]) == (ROW.hub_id, COMMIT) and "converted_from" not in record
    assert record["files"]["config.json"]["bytes"] == (target / "config.json").stat().st_size
    assert names(tmp_path / "models") == ["tiny-hubert"]
    assert "c0ffeec0ffee: 3 files" in said[0] and str(tmp_path) not in said[0]


def test_a_pickle_becomes_safetensors_of_the_same_values(hub: Path, tmp_path: Path) -> None:
    weights = load_file(hub / "model.safetensors")
    weights["tied"] = weights["masked_spec_embed"]
    torch.save(weights, hub / "pytorch_model.bin")
    (hub / "model.safetensors").unlink()
    target = fetch(ROW, tmp_path / "models", lambda _: None).folder
    assert "pytorch_model.bin" not in names(target)
    got = load_file(target / "model.safetensors")
    assert got.keys() == weights.keys()
    assert all(torch.equal(got[name], tensor) for name, tensor in weights.items())
    assert json.loads((target / "fetched.json").read_text())["converted_from"] == "pytorch_model.bin"


def test_shards_are_taken_with_their_index(hub: Path, tmp_path: Path) -> None:
    (hub / "model.safetensors").rename(hub / "model-00001-of-00001.safetensors")
    owners = dict.fromkeys(load_file(hub / "model-00001-of-00001.safetensors"), "model-00001-of-00001.safetensors")
    (hub / "model.safetensors.index.json").write_text(json.dumps({"weight_map": owners}))
    assert "model-00001-of-00001.safetensors" in names(fetch(ROW, tmp_path / "models", lambda _: None).folder)


def test_of_a_large_model_the_shards_that_hold_what_hears_are_taken(hub: Path, tmp_path: Path) -> None:
    zoo.save("qwen2_audio", tmp_path / "qwen2_audio")
    weights = load_file(tmp_path / "qwen2_audio" / "model.safetensors")
    for file in hub.iterdir():
        file.unlink()
    for file in ("config.json", "preprocessor_config.json"):
        (hub / file).write_bytes((tmp_path / "qwen2_audio" / file).read_bytes())
    owners = {name: f"model-0000{1 + ('language' in name)}-of-00002.safetensors" for name in weights}
    for shard in set(owners.values()):
        own = {name: weight for name, weight in weights.items() if owners[name] == shard}
        save_file(own, hub / shard, metadata={"format": "pt"})
    (hub / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": owners}))
    row = replace(BACKBONES["qwen2-audio-7b"], name="tiny-qwen", hub_id=ROW.hub_id)
    fetched = fetch(row, tmp_path / "models", lambda _: None)
    assert [name for name in names(fetched.folder) if name.startswith("model-")] == ["model-00001-of-00002.safetensors"]
    tower = load(fetched, torch.device("cpu"), torch.float32)
    whole = load(inspect(tmp_path / "qwen2_audio", "qwen2_audio"), torch.device("cpu"), torch.float32)
    clip = [tiny.speech_like(0.4)]
    assert worst_error(own_states(tower, clip), own_states(whole, clip)) == 0


class _Runs:
    """A pickle of this would run code."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return print, ("run",)


@pytest.mark.parametrize("content", [{"weight": _Runs()}, {"weight": 3}, [1, 2]])
def test_a_pickle_of_anything_but_tensors_is_refused(
    hub: Path, tmp_path: Path, content: object, capsys: pytest.CaptureFixture[str]
) -> None:
    (hub / "model.safetensors").unlink()
    torch.save(content, hub / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is"):
        fetch(ROW, tmp_path / "models", lambda _: None)
    assert names(tmp_path / "models") == [] and "run" not in capsys.readouterr().out


def test_a_preprocessor_saved_by_transformers_5_is_fetched_too(hub: Path, tmp_path: Path) -> None:
    nested = json.dumps({"feature_extractor": json.loads((hub / "preprocessor_config.json").read_text())})
    (hub / "preprocessor_config.json").unlink()
    (hub / "processor_config.json").write_text(nested)
    assert not fetch(ROW, tmp_path / "models", lambda _: None).backbone.mel_bins
    assert (tmp_path / "models" / "tiny-hubert" / "processor_config.json").read_text() == nested


def test_a_repository_without_what_is_needed_is_refused(hub: Path, tmp_path: Path) -> None:
    (hub / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        fetch(ROW, tmp_path / "models", lambda _: None)
    (hub / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no preprocessor_config\.json on the hub"):
        fetch(ROW, tmp_path / "models", lambda _: None)


def test_what_is_not_the_table_s_model_is_not_kept(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"hubert-base-ls960/config\.json .* layers 3, expected 12"):
        fetch(replace(BACKBONES["hubert-base-ls960"], hub_id=ROW.hub_id), tmp_path / "models", lambda _: None)
    assert names(tmp_path / "models") == []


@pytest.mark.parametrize("error", [ConnectionError("no route"), huggingface_hub.errors.OfflineModeIsEnabled("off")])
@pytest.mark.parametrize("where", ["asking", "downloading"])
def test_without_a_network_the_sentence_tells_what_to_do(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    place = (huggingface_hub.HfApi, "model_info") if where == "asking" else (huggingface_hub, "snapshot_download")
    monkeypatch.setattr(*place, fail)
    with pytest.raises(MachineError, match="hub could not be reached") as caught:
        fetch(ROW, tmp_path / "models", lambda _: None)
    assert ROW.hub_id in str(caught.value) and "models/tiny-hubert/" in str(caught.value)
    assert not (tmp_path / "models").exists() or names(tmp_path / "models") == []


def test_an_http_client_s_own_error_counts_as_no_network(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise huggingface_hub.errors.HfHubHTTPError.__bases__[0]("connect failed")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    with pytest.raises(MachineError, match="connect failed"):
        fetch(ROW, tmp_path / "models", lambda _: None)


def test_a_full_disk_and_an_existing_folder_are_named(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.models.fetch.shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(DiskFullError, match="10 are free"):
        fetch(ROW, tmp_path / "models", lambda _: None)
    (tmp_path / "models" / "tiny-hubert").mkdir()
    with pytest.raises(InputError, match="models/tiny-hubert is there already"):
        fetch(ROW, tmp_path / "models", lambda _: None)
    with pytest.raises(InputError, match="no place to fetch it from"):
        fetch(replace(ROW, hub_id=""), tmp_path / "models", lambda _: None)


def test_an_incomplete_file_is_not_kept(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = huggingface_hub.snapshot_download

    def cut(*arguments: Any, local_dir: Path, **options: Any) -> None:
        whole(*arguments, local_dir=local_dir, **options)
        (local_dir / "model.safetensors").write_bytes(b"half")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cut)
    with pytest.raises(MachineError, match=r"model\.safetensors .* came incomplete"):
        fetch(ROW, tmp_path / "models", lambda _: None)
    assert names(tmp_path / "models") == []
