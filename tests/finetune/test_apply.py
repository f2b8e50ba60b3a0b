"""Kept models on clips: the run's own test clips get the run's own bits, in any order and company."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.finetune.conftest import fewer, make_job
from toolkit.corpus.labels import one_hot
from toolkit.corpus.manifest import Manifest
from toolkit.finetune import rounds
from toolkit.finetune.apply import apply, kept_in
from toolkit.finetune.options import Recipe
from toolkit.finetune.training import train
from toolkit.models.checkpoint import Checkpoint
from toolkit.result.thresholds import decide, scale_of

# One of each trainable module, and of each way that its layers and positions differ; test_export.py has every family.
FAMILIES = ("wav2vec2-layer", "wav2vec2-adapters", "hubert-batch-norm", "wavlm-group", "data2vec-audio", "whisper-80")
WAYS = [(family, "full", "high", "float32") for family in FAMILIES]
WAYS += [
    ("whisper-80", "encoder-frozen", "high,noisy,never", "float32"),
    ("hubert-group", "lora", "kind", "float32"),
    ("hubert-stable", "top-1", "high", "bfloat16"),
]


@pytest.mark.parametrize(("family", "way", "target", "dtype"), WAYS)
def test_the_runs_test_clips_get_the_runs_own_bits(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, family: str, way: str, target: str,
    dtype: str,
) -> None:  # fmt: skip
    checkpoint = checkpoints[family]
    statistics = "mean" if way == "encoder-frozen" else "both"
    recipe = Recipe(way, learning_rate=1e-3, epochs=1, batch_size=4, dtype=dtype, statistics=statistics)
    job, question = make_job(manifest_of, checkpoint, target, recipe)
    round_ = fewer(list(question.folds.rounds())[1])
    done = train(job, round_, "decoder.2" if way == "encoder-frozen" else "encoder.2", tmp_path, lambda _: None)
    settings = {"context": "clip", "recipe": asdict(recipe), "threads": torch.get_num_threads()}
    rounds.write(tmp_path, round_, done, settings)
    weights = tmp_path / "weights" / "round-1.safetensors"
    kept = kept_in(weights, json.loads(weights.with_suffix(".json").read_text()))

    some = round_.test[[5, 2, 7]]
    (again,) = apply(question.task, [kept], checkpoint, job.recordings, job.ids, [some], "cpu")
    np.testing.assert_array_equal(again, done.probability[[5, 2, 7]])
    np.testing.assert_array_equal(kept.scale.scores(again), done.score[[5, 2, 7]])
    np.testing.assert_array_equal(decide(question.task, again, kept.bars), done.prediction[[5, 2, 7]])
    assert len(np.unique(again)) > 1
    clips = np.concatenate([round_.train, round_.development]) if recipe.refit_on_development else round_.train
    shares = one_hot(question.task, question.truth)[clips].mean(axis=0)
    np.testing.assert_allclose(kept.prevalence, shares, rtol=1e-6)
    (learnt,) = apply(question.task, [kept], checkpoint, job.recordings, job.ids, [clips], "cpu")
    own = scale_of(learnt)
    np.testing.assert_allclose(kept.scale.centre, own.centre, atol=0.03 if dtype == "bfloat16" else 1e-4)
    np.testing.assert_allclose(kept.scale.spread, own.spread, atol=0.03 if dtype == "bfloat16" else 1e-4)
