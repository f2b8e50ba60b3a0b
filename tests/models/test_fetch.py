"""Fetching from a hub on this machine: what is taken, what is recorded, and what is said when it fails."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import huggingface_hub.file_download
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.models import tiny, tiny_text, zoo
from tests.models.hub_server import COMMIT, Hub
from tests.models.reference import own_states, worst_error
from toolkit.core.errors import CheckpointError, DiskFullError, InputError, MachineError
from toolkit.models.checkpoint import inspect, installed
from toolkit.models.fetch import Source, fetch, source_of
from toolkit.models.load import load

SOURCE = Source("tiny-hubert", "somebody/tiny-hubert")
STAGING = ".tiny-hubert.fetching"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that serves the folder of the fixture `hub`, for the client in this process."""
    with Hub(tmp_path / "hub") as server:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.file_download.time, "sleep", lambda _: None)
        yield server


@pytest.fixture
def hub(tmp_path: Path, served: Hub) -> Path:
    """The folder that is served; the tests change what is in it."""
    folder = tiny.hubert(tmp_path / "hub")
    (folder / "README.md").write_text("not needed")
    (folder / "model.fp32-00001-of-00002.safetensors").write_text("not needed")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_fetched_folder_is_checked_recorded_and_pinned(hub: Path, tmp_path: Path) -> None:
    messages: list[str] = []
    checkpoint = fetch(SOURCE, tmp_path / "models", messages.append)
    target = tmp_path / "models" / "tiny-hubert"
    assert checkpoint.folder == target and checkpoint.backbone.layers == 3
    assert names(target) == ["config.json", "fetched.json", "model.safetensors", "preprocessor_config.json"]
    record = json.loads((target / "fetched.json").read_text())
    assert (record["hub_id"], record["commit"]) == (SOURCE.hub_id, COMMIT) and "converted_from" not in record
    assert record["files"]["config.json"]["bytes"] == (target / "config.json").stat().st_size
    assert names(tmp_path / "models") == ["tiny-hubert"]
    assert "c0ffeec0ffee: 3 files" in messages[0] and str(tmp_path) not in messages[0]


def test_a_pickle_becomes_safetensors_of_the_same_values(hub: Path, tmp_path: Path) -> None:
    weights = load_file(hub / "model.safetensors")
    weights["tied"] = weights["masked_spec_embed"]
    torch.save(weights, hub / "pytorch_model.bin")
    (hub / "model.safetensors").unlink()
    target = fetch(SOURCE, tmp_path / "models", lambda _: None).folder
    assert "pytorch_model.bin" not in names(target)
    got = load_file(target / "model.safetensors")
    assert got.keys() == weights.keys()
    assert all(torch.equal(got[name], tensor) for name, tensor in weights.items())
    assert json.loads((target / "fetched.json").read_text())["converted_from"] == "pytorch_model.bin"


def test_shards_are_taken_with_their_index(hub: Path, tmp_path: Path) -> None:
    (hub / "model.safetensors").rename(hub / "model-00001-of-00001.safetensors")
    owners = dict.fromkeys(load_file(hub / "model-00001-of-00001.safetensors"), "model-00001-of-00001.safetensors")
    (hub / "model.safetensors.index.json").write_text(json.dumps({"weight_map": owners}))
    assert "model-00001-of-00001.safetensors" in names(fetch(SOURCE, tmp_path / "models", lambda _: None).folder)


@pytest.mark.usefixtures("proved_by_two")
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
    fetched = fetch(Source("tiny-qwen", SOURCE.hub_id), tmp_path / "models", lambda _: None)
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
        fetch(SOURCE, tmp_path / "models", lambda _: None)
    assert names(tmp_path / "models") == [] and "run" not in capsys.readouterr().out


def test_a_preprocessor_saved_by_transformers_5_is_fetched_too(hub: Path, tmp_path: Path) -> None:
    nested = json.dumps({"feature_extractor": json.loads((hub / "preprocessor_config.json").read_text())})
    (hub / "preprocessor_config.json").unlink()
    (hub / "processor_config.json").write_text(nested)
    assert not fetch(SOURCE, tmp_path / "models", lambda _: None).backbone.mel_bins
    assert (tmp_path / "models" / "tiny-hubert" / "processor_config.json").read_text() == nested


def test_an_encoder_of_text_comes_with_its_tokenizer_and_has_no_preprocessor(hub: Path, tmp_path: Path) -> None:
    shutil.rmtree(hub)
    tiny_text.encoder(hub, "roberta")
    found = fetch(SOURCE, tmp_path / "models", lambda _: None)
    assert found.family.reads and found.backbone.layers == 3
    kept = names(tmp_path / "models" / "tiny-hubert")
    assert {"tokenizer.json", "tokenizer_config.json", "model.safetensors"} < set(kept)
    (hub / "config.json").write_text('{"model_type": "hubert"}')
    with pytest.raises(CheckpointError, match=r"no preprocessor_config\.json on the hub"):
        fetch(Source("other", SOURCE.hub_id), tmp_path / "models", lambda _: None)


def test_a_repository_without_what_is_needed_is_refused(hub: Path, tmp_path: Path) -> None:
    (hub / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        fetch(SOURCE, tmp_path / "models", lambda _: None)
    (hub / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no preprocessor_config\.json on the hub"):
        fetch(SOURCE, tmp_path / "models", lambda _: None)


def test_what_is_not_the_table_s_model_is_not_kept(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"hubert-base-ls960/config\.json .* layers 3, expected 12"):
        fetch(Source("hubert-base-ls960", SOURCE.hub_id), tmp_path / "models", lambda _: None)
    assert names(tmp_path / "models") == []


@pytest.mark.parametrize("error", [ConnectionError("no route"), huggingface_hub.errors.OfflineModeIsEnabled("off")])
@pytest.mark.parametrize("where", ["asking", "downloading"])
def test_without_a_network_the_sentence_tells_what_to_do(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    place = (
        (huggingface_hub, "get_hf_file_metadata") if where == "downloading" else (huggingface_hub.HfApi, "model_info")
    )
    monkeypatch.setattr(*place, fail)
    with pytest.raises(MachineError, match="hub could not be reached") as caught:
        fetch(SOURCE, tmp_path / "models", lambda _: None)
    assert SOURCE.hub_id in str(caught.value) and "models/tiny-hubert/" in str(caught.value)
    assert (where == "downloading") == (f"kept in models/{STAGING}; the same command goes on" in str(caught.value))
    assert not (tmp_path / "models").exists() or names(tmp_path / "models") == [STAGING]


def test_an_http_client_s_own_error_counts_as_no_network(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise huggingface_hub.errors.HfHubHTTPError.__bases__[0]("connect failed")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    with pytest.raises(MachineError, match="connect failed"):
        fetch(SOURCE, tmp_path / "models", lambda _: None)


def test_a_full_disk_and_an_existing_folder_are_named(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.models.fetch.shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(DiskFullError, match="10 are free"):
        fetch(SOURCE, tmp_path / "models", lambda _: None)
    (tmp_path / "models" / "tiny-hubert").mkdir()
    with pytest.raises(InputError, match="models/tiny-hubert is there already"):
        fetch(SOURCE, tmp_path / "models", lambda _: None)


def test_a_file_that_is_not_what_the_hub_says_is_not_kept(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(url: str, out: Any, **_: object) -> None:
        out.write(b"half")

    monkeypatch.setattr(huggingface_hub.file_download, "http_get", spoilt)
    with pytest.raises(MachineError, match=r"config\.json .* came damaged or incomplete"):
        fetch(SOURCE, tmp_path / "models", lambda _: None)
    assert [path.name for path in (tmp_path / "models" / STAGING).rglob("*.json")] == []


def grown(hub: Path, megabytes: int = 24) -> Path:
    """Its weights with a head that nobody needs: the client writes ten megabytes at a time."""
    weights = load_file(hub / "model.safetensors") | {"lm_head.weight": torch.zeros(megabytes, 250_000)}
    save_file(weights, hub / "model.safetensors", metadata={"format": "pt"})
    return hub / "model.safetensors"


def test_what_broke_off_goes_on_where_it_was(hub: Path, served: Hub, tmp_path: Path) -> None:
    weights = grown(hub)
    served.broken = 15_000_000
    with pytest.raises(MachineError, match=r"kept in models/\.tiny-hubert\.fetching; the same command goes on"):
        fetch(SOURCE, tmp_path / "models", lambda _: None)
    assert names(tmp_path / "models") == [STAGING] and installed(tmp_path / "models") == {}
    (part,) = (tmp_path / "models" / STAGING).rglob("*.part")
    came = part.stat().st_size
    assert 10_000_000 <= came <= 15_000_000
    served.broken, messages, before = None, list[str](), len(served.asked)
    target = fetch(SOURCE, tmp_path / "models", messages.append).folder
    assert any("of it came before; going on from there" in sentence for sentence in messages)
    asked = [one for one in served.asked[before:] if one.startswith("GET") and "/resolve/" in one]
    assert asked == [f"GET /somebody/tiny-hubert/resolve/{COMMIT}/model.safetensors bytes={came}-"]
    assert (target / "model.safetensors").read_bytes() == weights.read_bytes()
    assert names(tmp_path / "models") == ["tiny-hubert"]


def test_what_was_kept_of_other_files_is_not_mixed_with_these(hub: Path, served: Hub, tmp_path: Path) -> None:
    grown(hub)
    served.broken = 15_000_000
    with pytest.raises(MachineError):
        fetch(SOURCE, tmp_path / "models", lambda _: None)
    (tmp_path / "models" / STAGING / ("0" * 40)).mkdir()
    expected = grown(hub, 20).read_bytes()
    served.broken = None
    target = fetch(SOURCE, tmp_path / "models", lambda _: None).folder
    assert (target / "model.safetensors").read_bytes() == expected


@pytest.mark.parametrize("lengths", [True, False])
def test_a_mirror_that_tells_no_sizes(hub: Path, served: Hub, tmp_path: Path, lengths: bool) -> None:
    served.sizes, served.lengths, messages = False, lengths, list[str]()
    target = fetch(SOURCE, tmp_path / "models", messages.append).folder
    assert (target / "model.safetensors").read_bytes() == (hub / "model.safetensors").read_bytes()
    assert "of unknown size" in messages[0] and "No sizes are known" in messages[-1]


def test_the_command_takes_an_id_and_a_mirror_by_its_variable(hub: Path, served: Hub, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "toolkit", "models", "fetch", "someone/their-hubert", "-w", str(tmp_path)]
    environment = {**os.environ, "HF_ENDPOINT": served.address, "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "someone/their-hubert is in models/their-hubert" in done.stdout
    assert (tmp_path / "models" / "their-hubert" / "fetched.json").is_file()
    served.refused = True
    words[5] = "someone/another"
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 4 and "the mirror that HF_ENDPOINT names could not be reached or refused" in done.stderr


def test_what_a_name_or_an_id_means() -> None:
    assert source_of("hubert-base-ls960") == Source("hubert-base-ls960", "facebook/hubert-base-ls960")
    assert source_of("Facebook/HuBERT-base-ls960") == source_of("hubert-base-ls960")
    assert source_of("jingmiao/whisper-small-chinese_base").name == "whisper-small-chinese-base"
    for bad in ("hubert-base", "a/b/c", "../x", "a/..", "https://x/y", ""):
        with pytest.raises(InputError, match=r"or an id of the hub: owner/name"):
            source_of(bad)


def test_another_architecture_is_refused_before_its_weights_come(hub: Path, served: Hub, tmp_path: Path) -> None:
    (hub / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(CheckpointError, match=r"tiny-hubert/config\.json: Bad model_type 'gpt2'"):
        fetch(SOURCE, tmp_path / "models", lambda _: None)
    assert not any(one.endswith("model.safetensors") for one in served.asked) and names(tmp_path / "models") == []
