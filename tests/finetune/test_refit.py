"""The chosen model, learnt again from training and development clips."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.finetune.conftest import fewer, make_job
from toolkit.core import seeds
from toolkit.corpus.labels import one_hot
from toolkit.corpus.manifest import Manifest
from toolkit.finetune import epochs
from toolkit.finetune.classifier import Classifier
from toolkit.finetune.head import standard, teach
from toolkit.finetune.options import Recipe
from toolkit.finetune.round_context import layer_of, scored
from toolkit.finetune.training import train
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.load_trainable import load_trainable
from toolkit.result.thresholds import log_odds


@pytest.fixture
def rising(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Development likes epoch 1 best, of 3."""
    losses = iter([0.9, 0.3, 0.5, 0.4])
    monkeypatch.setattr(epochs.KeepBest, "_loss", lambda *_: next(losses))
    yield


def test_the_chosen_epochs_are_learnt_again_from_training_and_development_at_the_plans_rates(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    rising: None,
) -> None:  # fmt: skip
    rates: dict[type, list[float]] = {epochs.KeepBest: [], epochs.Watch: []}

    def seen(self: object, args: object, state: object, control: object, optimizer: torch.optim.Optimizer, **_: object):  # type: ignore[no-untyped-def]
        rates[type(self)].append(max(group["lr"] for group in optimizer.param_groups))

    monkeypatch.setattr(epochs.Watch, "on_pre_optimizer_step", seen, raising=False)
    recipe = Recipe("top-1", epochs=3, patience=3, batch_size=4, warmup=0.25, head_lr=1e-2, head_epochs=2)
    job, question = make_job(manifest_of, checkpoints["hubert-group"], "kind", recipe)
    (round_, *_) = question.folds.rounds()
    done = train(job, round_, "encoder.2", tmp_path, lambda sentence: None)
    assert (done.epoch, done.epochs) == (1, 3)
    both = np.union1d(round_.train, round_.development)
    expected = np.bincount(question.truth[both], minlength=3) / len(both)
    assert done.weights["prevalence"].numpy() == pytest.approx(expected)
    np.testing.assert_array_equal(done.bars, expected)
    backbone = load_trainable(checkpoints["hubert-group"], "encoder.2", "clip")
    pooled = layer_of(job, backbone, both).double()
    assert torch.allclose(done.weights["centre"].double(), pooled.mean(dim=0), atol=1e-5)
    assert torch.allclose(done.weights["scale"].double(), pooled.std(dim=0, correction=0), atol=1e-5)
    steps = -(-len(round_.train) // 4), -(-len(both) // 4)
    assert [len(own) for own in rates.values()] == [3 * steps[0], steps[1]]
    warm, every = 5, 18  # of 3 epochs of 6 steps
    planned = [step / warm if step <= warm else (every - step) / (every - warm) for step in range(6)]
    assert steps[1] == 6 and rates[epochs.Watch] == pytest.approx([1e-2 * share for share in planned])
    assert not (tmp_path / "selection").exists()


def test_where_no_epoch_was_better_the_head_alone_learns_again(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.1, 0.3, 0.2])
    monkeypatch.setattr(epochs.KeepBest, "_loss", lambda *_: next(losses))
    recipe = Recipe("full", epochs=2, patience=2, batch_size=4, head_epochs=3)
    job, question = make_job(manifest_of, checkpoints["hubert-group"], "high", recipe)
    (round_, *_) = question.folds.rounds()
    done = train(job, round_, "encoder.1", tmp_path, lambda sentence: None)
    both = np.union1d(round_.train, round_.development)
    backbone = load_trainable(checkpoints["hubert-group"], "encoder.1", "clip")
    pooled = layer_of(job, backbone, both)
    torch.manual_seed(seeds.integer(0, "finetune", 0, "weights"))
    share = one_hot(question.task, question.truth[both]).mean(axis=0)
    model = Classifier(backbone, question.task, share, standard(pooled))
    teach(job, model, 0, both, pooled)
    assert torch.equal(done.weights["dense.weight"], model.dense.weight)
    assert torch.equal(done.weights["out.bias"], model.out.bias)


def test_without_a_refit_the_chosen_epochs_own_model_predicts(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, rising: None
) -> None:
    recipe = Recipe("full", epochs=3, patience=3, batch_size=4, learning_rate=1e-3, refit_on_development=False)
    job, question = make_job(manifest_of, checkpoints["hubert-group"], "high", recipe)
    (round_, *_) = question.folds.rounds()
    done = train(job, round_, "encoder.2", tmp_path, lambda sentence: None)
    kept = load_file(tmp_path / "selection" / "best-1.safetensors")
    assert all(torch.equal(value, done.weights[name]) for name, value in kept.items())
    expected = np.bincount(question.truth[round_.train]) / len(round_.train)
    np.testing.assert_array_equal(done.bars, expected)


def test_the_scale_and_the_scores_are_of_the_clips_that_the_model_learnt_from(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    for refit in (True, False):
        recipe = Recipe("head", epochs=1, batch_size=4, refit_on_development=refit)
        job, question = make_job(manifest_of, checkpoints["hubert-group"], "high,noisy", recipe)
        (round_, *_) = question.folds.rounds()
        folder = tmp_path / str(refit)
        folder.mkdir()
        done = train(job, round_, "encoder.2", folder, lambda sentence: None)
        clips = np.union1d(round_.train, round_.development) if refit else round_.train
        backbone = load_trainable(checkpoints["hubert-group"], "encoder.2", "clip")
        share = one_hot(question.task, question.truth[clips]).mean(axis=0)
        model = Classifier(backbone, question.task, share, (done.weights["centre"], done.weights["scale"]))
        model.load_state_dict(done.weights, strict=False)
        own = log_odds(model.probability(scored(job, model, clips)))
        np.testing.assert_allclose(done.scale.centre, own.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(done.scale.spread, own.std(axis=0), atol=1e-5)
        expected = (log_odds(done.probability) - own.mean(axis=0)) / own.std(axis=0)
        np.testing.assert_allclose(done.score, expected, atol=1e-4)


def test_stopped_while_it_learns_again_it_ends_in_the_same_bytes(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs.KeepBest, "_loss", lambda self, *_: 1.0 / (1 + self.epochs))  # the last is the best
    recipe = Recipe("full", learning_rate=1e-3, epochs=2, batch_size=4, head_epochs=2, dtype="float32")
    job, question = make_job(manifest_of, checkpoints["hubert-group"], "high,noisy", recipe)
    round_ = fewer(next(iter(question.folds.rounds())))
    (tmp_path / "whole").mkdir()
    whole = train(job, round_, "encoder.2", tmp_path / "whole", lambda sentence: None)
    assert whole.epoch == 2
    begins = epochs.Watch.on_epoch_begin

    def stopped(stop_at: str, folder: Path) -> None:
        def say(sentence: str) -> None:
            if stop_at in sentence:
                raise KeyboardInterrupt

        def on_epoch_begin(self: epochs.Watch, args: object, state: object, control: object, **more: object) -> None:
            if type(self) is epochs.Watch and self.epochs == 1 and stop_at == "second epoch":
                raise KeyboardInterrupt
            begins(self, args, state, control, **more)

        with monkeypatch.context() as patch:
            patch.setattr(epochs.Watch, "on_epoch_begin", on_epoch_begin)
            with pytest.raises(KeyboardInterrupt):
                train(job, round_, "encoder.2", folder, say)

    for stop_at in ("learns again", "second epoch"):
        folder = tmp_path / stop_at
        folder.mkdir()
        stopped(stop_at, folder)
        assert (folder / "selected.json").exists() and not (folder / "selection").exists()
        assert (folder / "refit" / "trusted.json").exists() == (stop_at == "second epoch")
        again = train(job, round_, "encoder.2", folder, lambda sentence: None)
        assert (again.epoch, again.epochs, again.development) == (whole.epoch, whole.epochs, whole.development)
        np.testing.assert_array_equal(again.probability, whole.probability)
        np.testing.assert_array_equal(again.bars, whole.bars)
        assert all(torch.equal(value, again.weights[name]) for name, value in whole.weights.items())
        assert again.heard_seconds == whole.heard_seconds
