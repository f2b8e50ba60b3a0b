"""Pooling, the head and the loss: what a clip gets does not depend on its batch, and every class counts the same."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from tests.models.tiny import FAMILIES, speech_like
from toolkit.corpus.labels import Task, one_hot
from toolkit.finetune.classifier import Classifier, pool
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.encoder import own_frames
from toolkit.models.load_trainable import load_trainable
from toolkit.models.pooling import mean_and_std

CLASSES = Task("kind", "multiclass", ("a", "b", "c"), ("kind",))
LABELS = Task("two", "multilabel", ("a", "b", "c"), ("a", "b", "c"))


def classifier(checkpoint: Checkpoint, task: Task, truth: np.ndarray, context: str = "full") -> Classifier:
    backbone = load_trainable(checkpoint, context=context)  # type: ignore[arg-type]
    torch.manual_seed(0)
    return Classifier(backbone, task, one_hot(task, truth).mean(axis=0), (torch.zeros(32), torch.ones(32))).eval()


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_clips_logits_do_not_depend_on_its_batch(checkpoints: dict[str, Checkpoint], family: str) -> None:
    clips = [speech_like(seconds, seed) for seed, seconds in enumerate((0.4, 1.3, 0.02, 0.9))]
    for context in ("full", "clip") if family.startswith("whisper") else ("full",):
        model = classifier(checkpoints[family], CLASSES, np.array([0, 1, 2]), context)
        with torch.no_grad():
            together = model(**model.backbone.collate([model.backbone.prepare(clip) for clip in clips]))["logits"]  # type: ignore[operator, union-attr]
            alone = [model(**model.backbone.collate([model.backbone.prepare(clip)]))["logits"][0] for clip in clips]  # type: ignore[operator, union-attr]
        assert torch.allclose(together, torch.stack(alone), rtol=1e-5, atol=1e-5)


def test_pooling_is_that_of_extraction_and_joins_the_pieces_of_a_clip() -> None:
    values, lengths = torch.randn(3, 7, 5), torch.tensor([7, 3, 5])
    mean, _ = mean_and_std(values, lengths)
    assert torch.allclose(pool(values, lengths, torch.arange(3)), mean, atol=1e-6)
    joined = pool(values, lengths, torch.tensor([0, 0, 1]))
    first = torch.cat([values[0], values[1, :3]]).mean(dim=0)
    assert torch.allclose(joined, torch.stack([first, mean[2]]), atol=1e-6)


@given(st.integers(0, 2**31 - 1), st.booleans())
def test_every_statistic_is_that_of_extraction_and_joins_the_pieces_of_a_clip(seed: int, pieces: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 8, (4,), generator=generator)
    values = torch.randn(4, 7, 5, generator=generator) * 3 + 2
    owner = torch.tensor([0, 0, 1, 2]) if pieces else torch.arange(4)
    whole = [
        torch.cat([values[row, : lengths[row]] for row in range(4) if owner[row] == clip])
        for clip in range(int(owner[-1]) + 1)
    ]
    expected = [mean_and_std(frames[None], torch.tensor([len(frames)])) for frames in whole]
    mean, std = (torch.cat([one[number] for one in expected]) for number in (0, 1))
    values[own_frames(lengths, 7).logical_not()] = float("nan")  # what follows a clip's own frames does not count
    for statistics, wanted in (("mean", mean), ("std", std), ("both", torch.cat([mean, std], dim=1))):
        assert torch.allclose(pool(values, lengths, owner, statistics), wanted, atol=1e-5)


def test_a_deviation_has_a_finite_slope_even_of_a_single_frame() -> None:
    values = torch.randn(2, 3, 4, requires_grad=True)
    pool(values, torch.tensor([1, 3]), torch.arange(2), "both").sum().backward()
    assert values.grad is not None and torch.isfinite(values.grad).all()
    frames = values[1].detach()
    slope = (frames - frames.mean(dim=0)) / (3 * frames.std(dim=0, correction=0)) + 1 / 3
    assert torch.allclose(values.grad[1], slope, atol=1e-5)


def _loss_of_one_answer(model: Classifier, logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    logits.grad = None
    loss = model.loss(logits.expand(len(truth), 3), truth)
    loss.backward()
    return loss


def test_class_weights_are_taken_out_of_the_probabilities_again(checkpoints: dict[str, Checkpoint]) -> None:
    """What the loss of a constant model is lowest at, given back as the labels' own shares."""
    for task, truth in (
        (CLASSES, np.array([0] * 6 + [1] * 3 + [2])),
        (LABELS, np.array([[1, 0, 1]] + 3 * [[1, 0, 0]] + 6 * [[0, 1, 0]])),
    ):
        share = one_hot(task, truth).mean(axis=0)
        backbone = load_trainable(checkpoints["hubert-group"])
        for balanced in (True, False):
            model = Classifier(backbone, task, share, (torch.zeros(32), torch.ones(32)), balanced)
            logits = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
            optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-15)
            optimizer.step(partial(_loss_of_one_answer, model, logits, torch.from_numpy(truth)))
            np.testing.assert_allclose(model.probability(logits.detach())[0], share, atol=1e-5)


def test_each_class_counts_the_same_over_the_training_clips(checkpoints: dict[str, Checkpoint]) -> None:
    truth = np.array([0, 0, 0, 0, 0, 1, 1, 2])
    model = classifier(checkpoints["hubert-group"], CLASSES, truth)
    logits = torch.zeros(8, 3)
    assert float(model.loss(logits, torch.from_numpy(truth))) == pytest.approx(np.log(3))
    weights = model.weights[torch.from_numpy(truth)]
    assert float(weights.mean()) == pytest.approx(1.0)
    assert float(weights[:5].sum()) == pytest.approx(float(weights[7]))


def test_each_labels_two_sides_count_the_same(checkpoints: dict[str, Checkpoint]) -> None:
    truth = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 1, 0]])
    model = classifier(checkpoints["hubert-group"], LABELS, truth)
    logits = torch.randn(4, 3)
    expected = F.binary_cross_entropy_with_logits(
        logits[:, :2], torch.from_numpy(truth[:, :2]).float(), pos_weight=torch.tensor([3.0, 1 / 3])
    )
    assert torch.allclose(model.loss(logits, torch.from_numpy(truth)), expected)


def test_each_label_of_several_has_a_head_of_its_own(checkpoints: dict[str, Checkpoint]) -> None:
    model = classifier(checkpoints["hubert-group"], LABELS, np.array([[1, 1, 0], [0, 0, 1]]))
    pooled = torch.randn(4, 32)
    logits = model.head(pooled)
    for label in range(3):
        own = slice(32 * label, 32 * (label + 1))
        inner = torch.tanh(pooled @ model.dense.weight[own].T + model.dense.bias[own])
        expected = inner @ model.out.weight[label] + model.out.bias[label]
        assert torch.allclose(logits[:, label], expected, atol=1e-6)
    model.head(pooled)[:, 1].sum().backward()
    assert model.dense.weight.grad is not None
    learnt = model.dense.weight.grad.abs().sum(dim=1) > 0
    assert learnt.tolist() == [False] * 32 + [True] * 32 + [False] * 32


def test_without_class_weights_every_clip_counts_the_same(checkpoints: dict[str, Checkpoint]) -> None:
    backbone, statistics = load_trainable(checkpoints["hubert-group"]), (torch.zeros(32), torch.ones(32))
    for task, truth in ((CLASSES, np.array([0, 0, 0, 1, 2])), (LABELS, np.array([[1, 1, 0], [0, 1, 1], [0, 0, 1]]))):
        model = Classifier(backbone, task, one_hot(task, truth).mean(axis=0), statistics, balanced=False)
        logits, labels = torch.randn(len(truth), 3), torch.from_numpy(truth)
        plain = F.binary_cross_entropy_with_logits(logits, labels.float()) if task is LABELS else None
        expected = F.cross_entropy(logits, labels) if plain is None else plain
        assert torch.allclose(model.loss(logits, labels), expected)


def test_a_label_that_does_not_vary_in_training_is_predicted_at_its_prevalence(
    checkpoints: dict[str, Checkpoint],
) -> None:
    model = classifier(checkpoints["hubert-group"], LABELS, np.array([[1, 0, 1], [0, 0, 1]]))
    probability = model.probability(torch.randn(5, 3))
    assert (probability[:, 1] == 0).all() and (probability[:, 2] == 1).all() and (probability[:, 0] != 0).all()
    model = classifier(checkpoints["hubert-group"], CLASSES, np.array([0, 2, 2]))
    probability = model.probability(torch.randn(5, 3))
    assert (probability[:, 1] == 0).all() and np.allclose(probability.sum(axis=1), 1)


def test_parts_that_do_not_learn_stay_in_evaluation_mode(checkpoints: dict[str, Checkpoint]) -> None:
    model = classifier(checkpoints["hubert-group"], CLASSES, np.array([0, 1, 2]))
    model.backbone.layers[2].requires_grad_(True)  # type: ignore[union-attr, index]
    model.train()
    assert [layer.training for layer in model.backbone.layers] == [False, False, True]  # type: ignore[union-attr]
    assert model.training and not model.backbone.front.training  # type: ignore[union-attr]
    assert set(model.state_dict()) == {name for name, w in model.named_parameters() if w.requires_grad} | {
        "centre",
        "prevalence",
        "scale",
    }
