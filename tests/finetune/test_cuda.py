"""What differs on CUDA devices, as far as it runs without one: the real code, with no more than the device made up."""

import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import psutil
import pytest
import torch

from tests.finetune.conftest import Run, finetune, make_job
from toolkit.core.errors import InputError, MachineError
from toolkit.core.progress import quiet
from toolkit.corpus.labels import Task
from toolkit.corpus.manifest import Manifest
from toolkit.finetune import apply, audio_cache, distributed, epochs
from toolkit.finetune import run as finetune_run
from toolkit.finetune.options import Recipe
from toolkit.finetune.round_context import Inputs, Job
from toolkit.finetune.trainer import arguments
from toolkit.finetune.training import Trained, train
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.load import load
from toolkit.models.load_trainable import load_trainable

SCALE, STEPS = 2.0**24, 18  # a scale of the loss at which its first gradients overflow in float16; steps of six epochs


@pytest.fixture
def scalers(monkeypatch: pytest.MonkeyPatch) -> list[torch.amp.GradScaler]:
    """accelerate leaves float16 off on the CPU, where torch can do it: here it is on, as on CUDA. Every scaler made."""
    made: list[torch.amp.GradScaler] = []
    begin = accelerate.Accelerator.__init__

    def begun(self: Any, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        if self.state.mixed_precision == "fp16":
            self.native_amp, self.scaler = True, torch.amp.GradScaler("cpu", init_scale=SCALE)
            made.append(self.scaler)

    monkeypatch.setattr(accelerate.Accelerator, "__init__", begun)
    return made


def one_round(manifest: Manifest, checkpoint: Checkpoint, folder: Path, recipe: Recipe, stop_at: str = "-") -> Trained:
    """The first round; interrupted at the sentence that begins with `stop_at`."""
    job, question = make_job(manifest, checkpoint, "high", recipe)
    (round_, *_) = question.folds.rounds()
    folder.mkdir(exist_ok=True)

    def say(sentence: str) -> None:
        if sentence.startswith(stop_at):
            raise KeyboardInterrupt

    return train(job, round_, "encoder.2", folder, say)


def test_float16_learns_skips_steps_that_overflow_and_goes_on_with_its_scale(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, scalers: list[torch.amp.GradScaler]
) -> None:
    recipe = Recipe("full", learning_rate=1e-3, epochs=6, patience=6, batch_size=4, dtype="float16",
                    refit_on_development=False)  # fmt: skip
    given = manifest_of, checkpoints["hubert-group"]
    done = one_round(*given, tmp_path / "whole", recipe)
    assert done.development >= 0.9 and np.isfinite(done.probability).all()
    state = scalers[0].state_dict()
    skipped = int(np.log2(SCALE / state["scale"]))
    assert 0 < skipped < STEPS / 2 and state["_growth_tracker"] == STEPS - skipped
    with pytest.raises(KeyboardInterrupt):
        one_round(*given, tmp_path / "stopped", recipe, stop_at="epoch 3")
    again = one_round(*given, tmp_path / "stopped", recipe)
    assert (
        scalers[2].state_dict() == state
        and (tmp_path / "stopped" / "selection" / "checkpoint-15" / "scaler.pt").is_file()
    )
    assert np.array_equal(done.probability, again.probability)
    assert all(torch.equal(value, again.weights[name]) for name, value in done.weights.items())


def test_float16_whose_activations_overflow_ends_with_a_sentence(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = epochs.load_trainable

    def loud(*given: Any) -> Any:
        backbone = load(*given)
        backbone.layers[0].feed_forward.output_dense.weight.mul_(1e6)
        return backbone

    monkeypatch.setattr(epochs, "load_trainable", loud)
    with pytest.raises(MachineError, match=r"no finite numbers for clip 'clip.*' .* in float16; take --dtype float32"):
        one_round(manifest_of, checkpoints["hubert-stable"], tmp_path, Recipe("full", dtype="float16"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_trainer_is_told_of_the_device_and_of_the_recipes_dtype(
    manifest_of: Manifest,
    checkpoints: dict[str, Checkpoint],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dtype: str,
) -> None:
    monkeypatch.setattr("transformers.training_args.is_torch_bf16_gpu_available", lambda: True)
    job, _ = make_job(manifest_of, checkpoints["hubert-group"], "high", Recipe(dtype=dtype))
    for device in ("cpu", "cuda"):
        made = arguments(replace(job, device=torch.device(device), workers=3), tmp_path, 0, keep=True)
        cuda = device == "cuda"
        assert (made.use_cpu, made.dataloader_pin_memory) == (not cuda, cuda)
        assert made.mixed_precision == {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[dtype]
        assert made.dataloader_num_workers == 0  # the clips lie in memory
    without = replace(job, recordings=replace(job.recordings, samples={}), device=torch.device("cuda"), workers=3)
    assert arguments(without, tmp_path, 0, keep=True).dataloader_num_workers == 3


def test_what_accelerate_was_told_of_precision_and_device_is_overruled_and_other_ways_to_share_a_model_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu = torch.device("cpu")
    for name, value in (("MIXED_PRECISION", "bf16"), ("DYNAMO_BACKEND", "INDUCTOR"), ("USE_CPU", "true")):
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    assert distributed.join(cpu) == cpu
    assert [name for name in os.environ if name.startswith("ACCELERATE_")] == []
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InputError, match=r"ACCELERATE_USE_FSDP is set; .* `accelerate launch --multi_gpu`"):
        distributed.join(cpu)


def test_each_process_takes_its_own_device_and_one_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[object] = []
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "3")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch.distributed, "init_process_group", taken.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert distributed.join(torch.device("cuda")) == torch.device("cuda", 1)
    assert taken == [torch.device("cuda", 1), "nccl"]
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(MachineError, match="3 processes want a CUDA device each, here are 2"):
        distributed.join(torch.device("cuda"))


def test_processes_on_one_host_share_its_memory(
    manifest_of: Manifest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The clips fit into what one process may take of the memory, and not into an eighth of it."""
    ids = [clip.id for clip in manifest_of.clips]
    whole = audio_cache.record(manifest_of, ids, 1, quiet)
    size = sum(samples.nbytes for samples in whole.samples.values())
    memory = type("Memory", (), {"available": 4 * size})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert len(audio_cache.record(manifest_of, ids, 1, quiet).samples) == len(ids)
    monkeypatch.setenv("WORLD_SIZE", "16")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    shared = audio_cache.record(manifest_of, ids, 1, quiet)
    assert not shared.samples and np.array_equal(shared[ids[3]], whole[ids[3]])


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA"), MemoryError(), RuntimeError("can't allocate memory")]
)
def test_where_memory_runs_out_it_says_what_takes_less(
    run: Run, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(finetune_run, "train", full)
    words = ("--model", "tiny-hubert", "--target", "high", "--folds", 3, "--seed", 7)
    code, _, err = finetune(run, study, *words)
    assert (
        code == 4
        and "Memory ran out with 4 clips at a time; take --grad-accum-steps 2 or --gradient-checkpointing or --tr"
        in err
    )
    code, _, err = finetune(run, study, *words, "--grad-accum-steps", 4, "--gradient-checkpointing", "--train", "lora")
    assert code == 4 and "with 1 clips at a time; take another device" in err


def test_a_run_in_float16_is_not_predicted_with_on_the_cpu(manifest_of: Manifest) -> None:
    described = {"recipe": asdict(Recipe(dtype="float16")), "bars": [0.5, 0.5], "centre": [0, 0], "spread": [1, 1]}
    kept = apply.kept_in(Path("round-0.safetensors"), described)
    task = Task("high", "binary", ("not high", "high"), ("high",))
    with pytest.raises(InputError, match="trained in float16, which CUDA devices alone compute; take --device cuda"):
        apply.apply(task, [kept], None, None, (), [], "cpu")  # type: ignore[arg-type]


def test_float32_is_not_rounded_in_training_whatever_an_extraction_before_it_allowed(
    checkpoints: dict[str, Checkpoint],
) -> None:
    load(checkpoints["hubert-group"], torch.device("cpu"), torch.bfloat16)
    assert torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32
    load_trainable(checkpoints["hubert-group"])
    assert not (torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32)


def test_clips_that_workers_decode_beside_a_gpu_are_those_of_memory_and_one_that_is_gone_is_named(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("head", epochs=1, batch_size=4, head_epochs=0, refit_on_development=False)
    for name in [clip.path for clip in manifest_of.clips]:
        shutil.copy(manifest_of.root / name, tmp_path)
    job, question = make_job(replace(manifest_of, root=tmp_path), checkpoints["hubert-group"], "high", recipe)
    (round_, *_) = question.folds.rounds()
    told = epochs.arguments

    def with_workers(*given: Any, **options: Any) -> Any:
        made = told(*given, **options)
        made.dataloader_num_workers = 2
        return made

    def trained(job: Job, name: str) -> Trained:
        (tmp_path / name).mkdir()
        return train(job, round_, "encoder.1", tmp_path / name, lambda sentence: None)

    whole = trained(job, "memory")
    monkeypatch.setattr(epochs, "arguments", with_workers)
    without = replace(job, recordings=replace(job.recordings, samples={}), inputs=Inputs(0))
    assert np.array_equal(trained(without, "workers").probability, whole.probability)
    gone = job.ids[round_.train[3]]
    monkeypatch.setattr(epochs, "layer_of", lambda *given: torch.zeros(len(round_.train), 32))
    monkeypatch.setattr(
        epochs.KeepBest, "on_epoch_begin", lambda *_, **__: (tmp_path / job.recordings.clips[gone].path).unlink()
    )
    with pytest.raises(
        MachineError, match=f"^Clip '{gone}' was whole when the run began, and now cannot be read: No such"
    ):
        trained(without, "gone")
