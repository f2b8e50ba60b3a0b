"""A round of fine-tuning on a device that is not the CPU, with every operation looked at: tests/devices.py."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import accelerate
import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from tests.devices import DEVICES
from tests.finetune.conftest import fewer, make_job
from toolkit.corpus.manifest import Manifest
from toolkit.finetune.options import Recipe
from toolkit.finetune.training import Trained, train
from toolkit.models.checkpoint import Checkpoint, locate


@pytest.mark.parametrize("place", DEVICES)
@pytest.mark.parametrize(("family", "how"), [("hubert-group", "full"), ("wavlm-group", "lora"), ("whisper-80", "full")])
def test_a_round_trains_there_and_predicts_what_the_cpu_does(
    manifest_of: Manifest,
    checkpoints: dict[str, Checkpoint],
    tmp_path: Path,
    family: str,
    how: str,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = Recipe(how, learning_rate=1e-3, epochs=1, head_epochs=2, batch_size=4, dtype="float32")
    folder = shutil.copytree(checkpoints[family].folder, tmp_path / family)
    config = json.loads((folder / "config.json").read_text())
    still = {name: 0.0 if "drop" in name else value for name, value in config.items()}  # each device draws its own
    (folder / "config.json").write_text(json.dumps(still))
    job, question = make_job(manifest_of, locate(str(folder), tmp_path), "high", recipe)
    round_ = fewer(next(iter(question.folds.rounds())))
    layer = "encoder.2"

    def trained(name: str, **changed: object) -> Trained:
        (tmp_path / name).mkdir()
        return train(replace(job, **changed), round_, layer, tmp_path / name, lambda sentence: None)

    here = trained("here")
    save = safetensors.torch.save_file  # which reads a CUDA device's memory itself

    def saved(tensors: dict[str, torch.Tensor], *arguments: object, **options: object) -> None:
        save({name: tensor.cpu() for name, tensor in tensors.items()}, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("safetensors.torch.save_file", saved)
    with DEVICES[place]() as device:
        monkeypatch.setattr(accelerate.Accelerator, "device", property(lambda self: device))
        monkeypatch.setattr(transformers.TrainingArguments, "device", property(lambda self: device))
        there = trained("there", device=device)
    np.testing.assert_allclose(there.probability, here.probability, atol=1e-4)
    assert (there.epoch, there.development) == (here.epoch, here.development)
