"""Whatever labels are rare or constant where: each label's column of the probabilities is its own."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.finetune.conftest import make_job
from toolkit.corpus.labels import Task
from toolkit.corpus.manifest import Manifest
from toolkit.finetune.classifier import Classifier
from toolkit.finetune.options import Recipe
from toolkit.finetune.round_context import scored
from toolkit.finetune.training import train
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.load_trainable import load_trainable
from toolkit.result.thresholds import log_odds


@settings(max_examples=4, phases=[Phase.generate])
@given(st.integers(0, 2**31 - 1), st.booleans())
def test_each_labels_column_is_its_own(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], seed: int, refit: bool
) -> None:
    recipe = Recipe("head", head_lr=1e-2, head_epochs=100, epochs=1, batch_size=4, refit_on_development=refit)
    job, question = make_job(manifest_of, checkpoints["hubert-group"], "high", recipe)
    (round_, *_) = question.folds.rounds()
    draw = np.random.default_rng(seed)
    truth = np.zeros((36, 5), dtype=np.int64)
    truth[:, 0] = draw.permutation(36) % 2
    truth[draw.choice(round_.development, 2, replace=False), 1] = 1  # in development only
    truth[draw.choice(36, 3, replace=False), 2] = 1  # rare, wherever that is
    truth[round_.train, 3] = 1  # always in training, mixed elsewhere
    truth[round_.development[:5], 3] = 1
    truth[round_.test, 4] = 1  # never heard of before the test
    names = tuple("abcde")
    truth = truth[:, draw.permutation(5)]
    job = replace(job, task=Task("many", "multilabel", names, names), truth=truth)
    with TemporaryDirectory() as folder:
        done = train(job, round_, "encoder.2", Path(folder), lambda sentence: None)
    clips = np.union1d(round_.train, round_.development) if refit else round_.train
    share = truth[clips].mean(axis=0)
    backbone = load_trainable(job.checkpoint, "encoder.2", "clip")
    model = Classifier(backbone, job.task, share, (done.weights["centre"], done.weights["scale"]))
    model.load_state_dict(done.weights, strict=False)
    own = model.probability(scored(job, model, clips))
    assert torch.allclose(done.weights["prevalence"], torch.from_numpy(share).float())
    for label in range(5):
        column = truth[clips, label]
        if share[label] in (0.0, 1.0):
            assert (own[:, label] == share[label]).all() and (done.probability[:, label] == share[label]).all()
            assert (done.score[:, label] == 0).all()
        else:  # more weights than clips: its column has learnt its clips, and no other's
            odds = log_odds(own[:, label])
            assert odds[column == 1].mean() > odds[column == 0].mean() + 2
        chosen_by = truth[round_.development, label]
        if truth[round_.train, label].min() == truth[round_.train, label].max() or not chosen_by.any():
            assert done.bars[label] == 0.5  # nothing to choose a threshold by
