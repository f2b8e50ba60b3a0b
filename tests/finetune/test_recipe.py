"""Which weights learn, and how fast."""

import numpy as np
import pytest
import torch

from tests.models.tiny import FAMILIES
from toolkit.core.errors import InputError
from toolkit.corpus.labels import Task
from toolkit.finetune.classifier import Classifier
from toolkit.finetune.options import Recipe
from toolkit.finetune.recipe import blank_spans, check_depth, choose_weights, count, parameter_groups, trained
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.load_trainable import load_trainable

TASK = Task("high", "binary", ("not high", "high"), ("high",))


def classifier(checkpoint: Checkpoint, recipe: Recipe, layer: str | None = None) -> Classifier:
    backbone = load_trainable(checkpoint, layer)
    choose_weights(backbone, recipe)
    statistics = (torch.zeros(32), torch.ones(32))
    return Classifier(backbone, TASK, np.array([0.5, 0.5]), statistics)


def learning(model: Classifier) -> set[str]:
    return {name.removeprefix("backbone.") for name, _ in trained(model) if name.startswith("backbone.")}


def test_head_trains_the_head_alone(checkpoints: dict[str, Checkpoint]) -> None:
    model = classifier(checkpoints["hubert-group"], Recipe("head"))
    assert not learning(model) and count(model) == 32 * 32 + 32 + 2 * 32 + 2


def test_full_leaves_the_convolutions_of_wav2vec_and_its_kin_alone_unless_told(
    checkpoints: dict[str, Checkpoint],
) -> None:
    whole = {name for name, _ in load_trainable(checkpoints["hubert-group"]).named_parameters()}
    frozen = whole - learning(classifier(checkpoints["hubert-group"], Recipe("full")))
    assert frozen and all(name.startswith("convolutions.") for name in frozen)
    told = classifier(checkpoints["hubert-group"], Recipe("full", train_convolutions=True))
    assert learning(told) == whole
    whisper = classifier(checkpoints["whisper-80"], Recipe("full"))
    assert learning(whisper) == {name for name, _ in load_trainable(checkpoints["whisper-80"]).named_parameters()}


def test_the_top_layers_learn_with_the_norm_above_them(checkpoints: dict[str, Checkpoint]) -> None:
    names = learning(classifier(checkpoints["whisper-80"], Recipe("top-1")))
    assert all(name.startswith(("layers.1.", "encoder_norm.")) for name in names)
    names = learning(classifier(checkpoints["hubert-stable"], Recipe("top-2"), "encoder.2"))
    assert {name.split(".")[1] for name in names} == {"0", "1"}


def test_encoder_frozen_trains_the_decoder_and_what_it_starts_from(checkpoints: dict[str, Checkpoint]) -> None:
    names = learning(classifier(checkpoints["whisper-80"], Recipe("encoder-frozen"), "decoder.2"))
    assert "start" in names and "decoder_norm.weight" in names
    assert all(name.startswith(("layers.2.", "layers.3.", "start", "decoder_norm.")) for name in names)
    assert not any(".self_attn.q_proj" in name for name in names)  # one token compares itself with itself
    for other in (("whisper-80", "encoder.2"), ("hubert-group", None)):
        with pytest.raises(InputError, match="Whisper's decoder"):
            classifier(checkpoints[other[0]], Recipe("encoder-frozen"), other[1])


def test_lora_adapts_each_projection_and_every_adapter_gets_a_gradient(checkpoints: dict[str, Checkpoint]) -> None:
    for name in FAMILIES:
        checkpoint = checkpoints[name]
        layer = f"decoder.{checkpoint.backbone.decoder_layers}" if checkpoint.backbone.decoder_layers else None
        model = classifier(checkpoint, Recipe("lora", lora_rank=2), layer)
        assert all("lora_" in weight for weight in learning(model)), name
        clips = [torch.randn(9_000).numpy(), torch.randn(5_000).numpy()]
        batch = model.backbone.collate([model.backbone.prepare(clip) for clip in clips])  # type: ignore[operator, union-attr]
        model.train()(**batch)["logits"].square().sum().backward()
        second = [weight for weight_name, weight in trained(model) if "lora_B" in weight_name]
        assert len(second) >= 6 * checkpoint.backbone.layers
        # Of a key, only what differs between frames counts; all others must hear of the loss.
        silent = [n for n, w in trained(model) if "lora_B" in n and (w.grad is None or not w.grad.any())]
        assert silent == [], (name, silent)


def test_the_head_learns_at_its_own_rate_and_lower_layers_slower(checkpoints: dict[str, Checkpoint]) -> None:
    recipe = Recipe("full", learning_rate=1e-4, head_lr=1e-2, layer_decay=0.5)
    model = classifier(checkpoints["hubert-group"], recipe)
    groups = parameter_groups(model, recipe)
    rates = {id(weight): group["lr"] for group in groups for weight in group["params"]}
    named = dict(trained(model))
    assert rates[id(named["out.weight"])] == 1e-2
    assert rates[id(named["backbone.layers.2.layer_norm.weight"])] == 1e-4
    assert rates[id(named["backbone.layers.0.layer_norm.weight"])] == pytest.approx(2.5e-5)
    assert rates[id(named["backbone.front.1.projection.weight"])] == pytest.approx(1.25e-5)
    assert {group["weight_decay"] for group in groups} == {0.0, 0.01} and len(rates) == len(named)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"train": "all"}, "Bad --train 'all'"),
        ({"train": "top-K"}, "such as top-4"),
        ({"train": "top-0"}, "Bad --train"),
        ({"batch_size": 8, "grad_accum_steps": 3}, "no so many equal parts"),
        ({"class_weights": "some"}, "Bad --class-weights 'some', expected one of"),
        ({"layer_drop": 1.5}, "Bad --layer-drop"),
        ({"learning_rate": float("inf")}, "Bad --learning-rate inf, expected a number"),
        ({"head_lr": float("inf")}, "Bad --head-lr inf"),
        ({"weight_decay": float("nan")}, "Bad --weight-decay nan"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Recipe(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("train", "layer", "sentence"),
    [("lora", "encoder.0", "needs 1 layers, .* after 0"), ("top-2", "encoder.1", "needs 2 layers, .* after 1"),
     ("top-6", "decoder.1", "needs 6 layers, .* after 5")],
)  # fmt: skip
def test_a_round_too_shallow_for_the_recipe_is_refused_before_the_first_is_trained(
    train: str, layer: str, sentence: str
) -> None:
    check_depth(Recipe(train=train), {0: "decoder.2", 1: "decoder.3"}, 4)
    with pytest.raises(InputError, match=sentence):
        check_depth(Recipe(train=train), {0: "decoder.2", 1: layer}, 4)


def test_about_the_share_that_is_asked_for_is_blanked_in_spans() -> None:
    torch.manual_seed(0)
    values = blank_spans(torch.ones(64, 300, 4), 0.2, 10, 1)
    assert 0.12 < float((values == 0).float().mean()) < 0.25
    assert torch.equal(values.amin(dim=2), values.amax(dim=2))  # whole frames
    lengths = [len(run) for run in "".join(str(int(v)) for v in values[:, :, 0].flatten()).split("1") if run]
    assert sorted(lengths)[len(lengths) // 2] >= 10
