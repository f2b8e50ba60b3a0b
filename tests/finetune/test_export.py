"""An exported model, run by the lines of its own README with nothing of the toolkit: the kept model's probabilities."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

import toolkit
from tests.conftest import Run
from tests.finetune.conftest import fewer, make_job
from tests.models.tiny import FAMILIES
from tests.predict.test_cli_predict import runs, study
from toolkit.core.errors import InputError
from toolkit.corpus.manifest import Manifest
from toolkit.finetune import rounds
from toolkit.finetune.apply import Kept, apply, kept_in
from toolkit.finetune.audio_cache import decoded
from toolkit.finetune.export import export
from toolkit.finetune.recipe import Recipe
from toolkit.finetune.round_context import Job
from toolkit.finetune.training import train
from toolkit.models.checkpoint import Checkpoint, locate

__all__ = ["study"]
CASES = [(family, "full", "high", "encoder.2", "both") for family in FAMILIES if family != "whisper-80"]
CASES += [
    ("hubert-group", "lora", "kind", "encoder.3", "mean"),
    ("wavlm-stable", "lora", "high,noisy,never", "encoder.1", "std"),
    ("hubert-stable", "top-1", "high,noisy,never", "encoder.3", "both"),
    ("wav2vec2-stable", "head", "kind", "encoder.0", "mean"),
    ("whisper-80", "full", "kind", "encoder.1", "both"),
]


def trained(
    manifest: Manifest, checkpoint: Checkpoint, folder: Path, way: str, target: str, layer: str, statistics: str,
    context: str,
) -> tuple[Job, Kept, np.ndarray]:  # fmt: skip
    recipe = Recipe(
        way, learning_rate=1e-3, epochs=1, warmup=0.0, batch_size=4, head_epochs=0, refit_on_development=False,
        dtype="float32", statistics=statistics,
    )  # fmt: skip
    job, question = make_job(manifest, checkpoint, target, recipe)
    job = Job(**{**job.__dict__, "context": context})
    whole = list(question.folds.rounds())[1]
    round_ = replace(fewer(whole, 4), train=whole.train[[0, 3, 7, 8]])  # in which every label varies
    done = train(job, round_, layer, folder, lambda _: None)
    rounds.write(folder, round_, done, {"context": context, "recipe": asdict(recipe), "threads": 1})
    weights = folder / "weights" / "round-1.safetensors"
    return job, kept_in(weights, json.loads(weights.with_suffix(".json").read_text())), round_.test[[3, 0, 2]]


def said_by_the_readme(out: Path, manifest: Manifest, job: Job, clips: np.ndarray) -> torch.Tensor:
    """The logits of these clips, by an exported folder's own lines."""
    lines = re.search(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL)
    assert lines and "toolkit" not in lines[1]
    space: dict[str, object] = {}
    exec(lines[1].replace('Path(".")', f"Path({str(out)!r})"), space)  # noqa: S102 - as a reader would
    samples = [decoded(manifest, job.recordings.clips[job.ids[clip]]).samples for clip in clips]
    return torch.stack([space["logits"](own) for own in samples])  # type: ignore[operator]


@pytest.mark.parametrize(("family", "way", "target", "layer", "statistics"), CASES)
def test_plain_transformers_gives_the_kept_models_probabilities(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, family: str, way: str, target: str,
    layer: str, statistics: str,
) -> None:  # fmt: skip
    checkpoint = checkpoints[family]
    job, kept, clips = trained(manifest_of, checkpoint, tmp_path, way, target, layer, statistics, "full")
    out = tmp_path / "exported"
    export(job.task, kept, checkpoint, out)

    found = said_by_the_readme(out, manifest_of, job, clips)
    shares = found.sigmoid() if job.task.multilabel else found.softmax(dim=1)
    (expected,) = apply(job.task, [kept], checkpoint, job.recordings, job.ids, [clips], "cpu")
    np.testing.assert_allclose(shares.numpy(), expected, atol=1e-5)
    if job.task.multilabel:
        varied = (expected > 0) & (expected < 1)
        logits = np.log(expected[varied] / (1 - expected[varied]))
        np.testing.assert_allclose(found.numpy()[varied], logits, rtol=1e-5, atol=1e-5)
        assert json.loads((out / "head.json").read_text())["thresholds"] == kept.bars.tolist()
    else:
        logits = np.log(expected / expected[:, :1])
        np.testing.assert_allclose((found - found[:, :1]).numpy(), logits, rtol=1e-5, atol=1e-5)
    assert len(np.unique(expected)) > 1
    assert tuple(AutoConfig.from_pretrained(out).id2label.values()) == job.task.labels
    assert locate(str(out), tmp_path).backbone.family == checkpoint.backbone.family  # the toolkit takes it, too


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft looks at every attribute
@pytest.mark.parametrize(("family", "layer"), [("hubert-group", "encoder.2"), ("whisper-80", "encoder.2")])
def test_the_adapter_puts_what_lora_learnt_on_the_original_checkpoint(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, family: str, layer: str
) -> None:
    checkpoint, out = checkpoints[family], tmp_path / "exported"
    job, kept, clips = trained(manifest_of, checkpoint, tmp_path, "lora", "kind", layer, "mean", "full")
    drawn, values = torch.Generator().manual_seed(0), load_file(kept.weights)
    for name in values:  # an epoch leaves the second factor near the zero that it starts from
        if "lora_B" in name:
            values[name] = 0.1 * torch.randn(values[name].shape, generator=drawn)
    save_file(values, kept.weights)
    export(job.task, kept, checkpoint, out)
    samples = decoded(manifest_of, job.recordings.clips[job.ids[clips[0]]]).samples
    heard = AutoFeatureExtractor.from_pretrained(out)(samples, sampling_rate=16_000, return_tensors="pt")

    def states(model: Any) -> torch.Tensor:
        part = model.get_encoder() if "input_features" in heard else model
        found: torch.Tensor = part(**heard, output_hidden_states=True).hidden_states[2]
        return found.detach()

    merged, plain = (AutoModel.from_pretrained(folder).eval() for folder in (out, checkpoint.folder))
    before = states(plain)
    adapted = peft.PeftModel.from_pretrained(plain, str(out / "adapter")).eval()
    assert not torch.allclose(before, states(merged), atol=1e-4)
    torch.testing.assert_close(states(adapted.base_model.model), states(merged), atol=1e-5, rtol=1e-5)


def test_a_round_is_named_where_a_run_kept_several(run: Run, study: Path, tmp_path: Path) -> None:
    tuned = runs(study)["finetune-head"].name
    code, _, err = run("models", "export", tuned, tmp_path / "out", "-w", study)
    assert code == 2 and "Bad --round None, expected one of [0, 1, 2]; " in err
    code, out, err = run("models", "export", tuned, tmp_path / "out", "-w", study, "--round", 1)
    assert code == 0 and "out has the model of round 1" in out, err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md", "config.json", "head.json", "head.safetensors", "model.safetensors", "preprocessor_config.json",
    }  # fmt: skip
    code, _, err = run("models", "export", tuned, tmp_path / "out", "-w", study, "--round", 1)
    assert code == 2 and "is there already" in err
    with pytest.raises(InputError, match=r"Bad round_ 7, expected one of \[0, 1, 2\]"):
        toolkit.open(study).export_model(tuned, tmp_path / "other", round_=7)
    same = toolkit.open(study).export_model(tuned, tmp_path / "other", round_=1)
    for path in same.iterdir():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()


def test_what_transformers_could_not_run_is_refused(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    checkpoint = checkpoints["whisper-80"]
    job, kept, _ = trained(manifest_of, checkpoint, tmp_path / "a", "head", "high", "decoder.1", "mean", "full")
    with pytest.raises(InputError, match=r"ends at decoder\.1; models that end in the encoder"):
        export(job.task, kept, checkpoint, tmp_path / "out")
    job, kept, _ = trained(manifest_of, checkpoint, tmp_path / "b", "head", "high", "encoder.1", "mean", "clip")
    with pytest.raises(InputError, match="hears the clip alone, transformers' Whisper 30 s"):
        export(job.task, kept, checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()
