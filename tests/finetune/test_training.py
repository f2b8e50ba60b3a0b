"""One round: it learns, in every family and way; only what may learn changes; batches in parts are batches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.finetune.conftest import SHORT, fewer, make_job, one_round
from tests.models.tiny import FAMILIES
from toolkit.core.errors import MachineError
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.splits import Round
from toolkit.finetune import epochs
from toolkit.finetune.options import Recipe
from toolkit.finetune.trainer import EpochOrder
from toolkit.finetune.training import Trained, train
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.load_trainable import load_trainable


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_trains(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, family: str
) -> None:
    recipe = Recipe("full", learning_rate=1e-3, epochs=1, batch_size=4, head_epochs=0)
    done = one_round(manifest_of, checkpoints[family], tmp_path, recipe, "encoder.2", clips=8)
    before = dict(load_trainable(checkpoints[family], "encoder.2").named_parameters())
    changed = {name for name, value in done.weights.items() if name.startswith("backbone.")
               and not torch.equal(value, before[name.removeprefix("backbone.")])}  # fmt: skip
    assert len(changed) > 20 and done.learning > 1000
    assert done.probability.shape == (8, 2) and np.allclose(done.probability.sum(axis=1), 1)


@pytest.mark.parametrize("way", ["full", "encoder-frozen", "top-1", "lora", "head"])
def test_every_way_trains_what_it_names_and_nothing_else(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, way: str
) -> None:
    layer = "decoder.2" if way == "encoder-frozen" else "encoder.2"
    recipe = Recipe(way, refit_on_development=False, **SHORT)  # type: ignore[arg-type]
    done = one_round(manifest_of, checkpoints["whisper-80"], tmp_path, recipe, layer, clips=8)
    names = {name for name in done.weights if name.startswith("backbone.")}
    assert bool(names) == (way != "head")
    assert {"dense.weight", "out.weight", "centre", "scale"} <= set(done.weights)
    untrained = ("centre", "scale", "prevalence")
    assert done.learning == sum(v.numel() for k, v in done.weights.items() if k not in untrained)
    assert 1 <= done.epoch <= done.epochs <= 2 and done.seconds > 0 and done.peak_bytes > 1e6


def test_it_learns_what_pitch_tells(manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    recipe = Recipe("full", learning_rate=1e-3, epochs=8, patience=8, batch_size=4)
    job, question = make_job(manifest_of, checkpoints["hubert-group"], "high", recipe)
    (round_, *_) = question.folds.rounds()
    done = train(job, round_, "encoder.3", tmp_path, lambda sentence: None)
    assert done.development >= 0.9 and (done.prediction == question.truth[round_.test]).mean() >= 0.75


def test_several_labels_get_thresholds_from_development_and_a_label_that_never_occurs_is_never_predicted(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    recipe = Recipe("full", **SHORT)  # type: ignore[arg-type]
    done = one_round(
        manifest_of, checkpoints["hubert-group"], tmp_path, recipe, "encoder.1", "high,noisy,never", clips=8
    )
    assert done.bars.shape == (3,) and done.prediction.shape == (8, 3)
    assert (done.probability[:, 2] == 0).all() and not done.prediction[:, 2].any()


def test_a_batch_in_parts_gives_the_gradient_of_the_whole(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    found = []
    for parts in (1, 3):
        recipe = Recipe("head", epochs=1, batch_size=12, grad_accum_steps=parts)
        found.append(one_round(manifest_of, checkpoints["hubert-group"], tmp_path / str(parts), recipe, "encoder.2"))
    assert torch.allclose(found[0].weights["dense.weight"], found[1].weights["dense.weight"], atol=1e-5)


def test_patience_ends_a_round_and_the_best_epoch_is_what_predicts(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.9, 0.5, 0.7, 0.6, 0.1])
    monkeypatch.setattr(epochs.KeepBest, "_loss", lambda *_: next(losses))
    done = one_round(
        manifest_of,
        checkpoints["hubert-group"],
        tmp_path,
        Recipe("head", epochs=5, patience=2, head_epochs=0, refit_on_development=False),
        "encoder.1",
    )
    assert (done.epoch, done.epochs) == (2, 4)


def test_of_epochs_with_equal_losses_the_first_is_chosen(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.9, 0.4, 0.4])
    monkeypatch.setattr(epochs.KeepBest, "_loss", lambda *_: next(losses))
    recipe = Recipe("head", epochs=3, head_epochs=0, refit_on_development=False)
    done = one_round(manifest_of, checkpoints["hubert-group"], tmp_path, recipe, "encoder.1")
    assert (done.epoch, done.epochs) == (2, 3)


def test_numbers_that_are_not_finite_end_the_run_with_a_sentence(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    recipe = Recipe("full", learning_rate=1e30, head_lr=1e-3, max_grad_norm=0.0, epochs=2, head_epochs=0)
    sentence = (
        "Epoch 1 of the round that tests fold 0: the backbone diverged and gives no finite numbers in float32; take a "
    )
    with pytest.raises(MachineError, match=f"^{sentence}smaller --learning-rate than 1e\\+30$"):
        one_round(manifest_of, checkpoints["hubert-group"], tmp_path, recipe, "encoder.2")


def test_the_clip_that_gives_no_number_is_named_before_the_first_epoch_and_in_one(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, question = make_job(manifest_of, checkpoints["hubert-group"], "high", Recipe("head", head_epochs=0))
    (round_, *_) = question.folds.rounds()
    spoilt = question.folds.ids[round_.train[5]]
    job.recordings.samples[spoilt][100] = np.nan
    message = f"untrained backbone gives no finite numbers for clip '{spoilt}' in "
    with pytest.raises(MachineError, match=f"{message}float32; leave the clip out$"):
        train(job, round_, "encoder.1", tmp_path, lambda sentence: None)
    other = replace(job, recipe=replace(job.recipe, dtype="bfloat16"))
    with pytest.raises(MachineError, match=f"{message}bfloat16; take --dtype float32, or leave the clip out$"):
        train(other, round_, "encoder.1", tmp_path, lambda sentence: None)
    whole = epochs.layer_of
    monkeypatch.setattr(epochs, "layer_of", lambda *given: whole(*given).nan_to_num())
    message = (
        f"Epoch 1 of the round that tests fold 0: the backbone gives no finite numbers for clip '{spoilt}' in float32"
    )
    with pytest.raises(MachineError, match=f"^{message}; leave it out$"):
        train(job, round_, "encoder.1", tmp_path, lambda sentence: None)


def test_a_head_that_diverges_is_what_the_sentence_is_about(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    sentence = (
        "^The head's first fit diverged in epoch [0-9] of 9, in the round that tests fold 0; take a smaller --head-lr"
    )
    with pytest.raises(MachineError, match=f"{sentence} than 1e\\+38$"):
        one_round(
            manifest_of, checkpoints["hubert-group"], tmp_path, Recipe("head", head_lr=1e38, head_epochs=9), "encoder.1"
        )
    sentence = (
        "^Epoch 1 of the round that tests fold 0: the head diverged and gives no finite numbers in bfloat16; take a "
    )
    with pytest.raises(MachineError, match=f"{sentence}smaller --head-lr than 1e\\+38, or take --dtype float32$"):
        recipe = Recipe("head", head_lr=1e38, max_grad_norm=0.0, warmup=0.0, head_epochs=0, dtype="bfloat16")
        one_round(manifest_of, checkpoints["hubert-group"], tmp_path, recipe, "encoder.1")


def test_the_head_alone_competes_with_the_epochs_behind_it(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.1, 0.3, 0.2])
    monkeypatch.setattr(epochs.KeepBest, "_loss", lambda *_: next(losses))
    recipe = Recipe("full", epochs=5, patience=2, batch_size=4)
    done = one_round(manifest_of, checkpoints["hubert-group"], tmp_path, recipe, "encoder.1")
    assert (done.epoch, done.epochs) == (0, 2)
    before = dict(load_trainable(checkpoints["hubert-group"], "encoder.1").named_parameters())
    learnt = [name.removeprefix("backbone.") for name in done.weights if name.startswith("backbone.")]
    assert learnt and all(torch.equal(done.weights[f"backbone.{name}"], before[name]) for name in learnt)


def test_training_with_everything_asked_for_still_gives_finite_predictions(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    for family in ("hubert-group", "whisper-80"):
        recipe = Recipe("full", spec_augment=0.1, layer_drop=0.3, gradient_checkpointing=True, dtype="bfloat16",
                        layer_decay=0.9, train_convolutions=True, **SHORT)  # type: ignore[arg-type] # fmt: skip
        done = one_round(manifest_of, checkpoints[family], tmp_path / family, recipe, "encoder.2", clips=8)
        assert np.isfinite(done.probability).all()


def test_what_is_computed_again_for_the_way_back_teaches_the_same(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    found = []
    for recompute in (False, True):
        recipe = Recipe("full", gradient_checkpointing=recompute, **SHORT)  # type: ignore[arg-type]
        folder = tmp_path / str(recompute)
        found.append(one_round(manifest_of, checkpoints["hubert-group"], folder, recipe, "encoder.2", clips=8))
    assert all(torch.allclose(value, found[1].weights[name], atol=1e-5) for name, value in found[0].weights.items())


def test_rates_rise_for_their_share_of_the_steps_then_fall_to_nothing(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []

    def seen(self: object, args: object, state: object, control: object, optimizer: torch.optim.Optimizer, **_: object):  # type: ignore[no-untyped-def]
        rates.append(optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(epochs.KeepBest, "on_pre_optimizer_step", seen, raising=False)
    recipe = Recipe(
        "head", head_lr=1e-2, epochs=4, patience=4, batch_size=4, warmup=0.25, head_epochs=0, refit_on_development=False
    )
    one_round(manifest_of, checkpoints["hubert-group"], tmp_path, recipe, "encoder.1")
    expected = [0, 1 / 3, 2 / 3, 1, *(1 - step / 9 for step in range(1, 9))]  # 3 of 12 steps
    assert rates == pytest.approx([1e-2 * part for part in expected])


def test_the_disk_that_a_round_takes_is_bounded(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most the last checkpoint and the one before, and the best weights and those that take their place."""
    most: dict[str, int] = {"checkpoint-*": 0, "best-*.safetensors": 0}
    commit = epochs.commit_file
    losses = iter([1 - 0.1 * epoch for epoch in range(6)])

    def counted(*given: object) -> None:
        commit(*given)  # type: ignore[arg-type]
        for pattern in most:
            most[pattern] = max(most[pattern], len(list(tmp_path.glob(f"selection/{pattern}"))))

    monkeypatch.setattr(epochs, "commit_file", counted)
    monkeypatch.setattr(epochs.KeepBest, "_loss", lambda *_: next(losses))
    recipe = Recipe("full", epochs=5, batch_size=4, refit_on_development=False)
    one_round(manifest_of, checkpoints["hubert-group"], tmp_path, recipe, "encoder.2", clips=4)
    assert most == {"checkpoint-*": 2, "best-*.safetensors": 2}
    (optimizer,) = {path.name for path in tmp_path.glob("selection/checkpoint-*/optimizer.pt")}
    whole = sum(path.stat().st_size for path in tmp_path.rglob("*"))
    weights = (tmp_path / "selection" / "best-5.safetensors").stat().st_size
    assert optimizer and whole < 12 * weights  # weights and two moments, twice, next to the best ones


def test_every_round_begins_with_the_checkpoints_own_weights(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    """A round gives the same whether another one was trained before it in this process or not."""
    recipe = Recipe("full", learning_rate=1e-3, epochs=1, batch_size=4, head_epochs=0, refit_on_development=False)
    job, question = make_job(manifest_of, checkpoints["hubert-group"], "high", recipe)
    first, second, *_ = question.folds.rounds()

    def trained(round_: Round, name: str) -> Trained:
        (tmp_path / name).mkdir()
        return train(job, fewer(round_), "encoder.2", tmp_path / name, lambda sentence: None)

    alone = trained(second, "alone")
    trained(first, "before")
    after = trained(second, "after")
    assert np.array_equal(alone.probability, after.probability)
    assert all(torch.equal(value, after.weights[name]) for name, value in alone.weights.items())


def test_every_epoch_has_every_clip_once_in_another_order_with_like_lengths_together() -> None:
    lengths = list(np.random.default_rng(0).integers(100, 10_000, 403))
    order = EpochOrder(lengths, 4, 0, 1)
    first = list(order)
    order.set_epoch(1)
    second = list(order)
    assert set(first) == set(second) == set(range(403)) and first != second
    assert len(first) == len(order) == 404  # every step has as many clips
    order.set_epoch(0)
    assert list(order) == first != list(EpochOrder(lengths, 4, 0, 2))
    spread = [np.ptp([lengths[clip] for clip in first[i : i + 4]]) for i in range(0, 400, 4)]
    assert np.mean(spread) < 1_500
