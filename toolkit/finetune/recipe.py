"""How a backbone is trained: the recipe's numbers, and which of the weights learn."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from toolkit.core.errors import InputError
from toolkit.finetune.options import Recipe
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.trainable import parsed
from toolkit.models.trainable_linear import accelerate_linears

ADAPTED = ("q_proj", "k_proj", "v_proj", "out_proj", "intermediate_dense", "output_dense", "fc1", "fc2")


def too_shallow(recipe: Recipe, layers: Mapping[int, str], encoder_layers: int) -> dict[int, str]:
    """The rounds, by test fold, whose model has too few layers for the recipe, and why.

    layers: the last layer of each round's model by test fold. encoder_layers: of the whole backbone.
    """
    needed = least_depth(recipe)
    found = {}
    for fold, layer in layers.items():
        stack, number = parsed(layer)
        depth = number if stack == "encoder" else encoder_layers + number
        if depth < needed:
            found[fold] = (
                f"--train {recipe.train} needs {needed} layers, and the model of the round that tests fold {fold} "
                f"ends at {layer}, after {depth}"
            )
    return found


def least_depth(recipe: Recipe) -> int:
    """How many layers a model must have for the recipe."""
    return 1 if recipe.train == "lora" else recipe.top or 0


def check_depth(recipe: Recipe, layers: Mapping[int, str], encoder_layers: int) -> None:
    """Raises InputError for the first round that `too_shallow` finds."""
    for reason in too_shallow(recipe, layers, encoder_layers).values():
        raise InputError(reason)


def check_convolutions(recipe: Recipe, checkpoint: Checkpoint) -> None:
    """Raises InputError for convolutions that learn in any case, and for what a family's own forward does not offer."""
    if checkpoint.family.feed:
        augmentation = {"--train-convolutions": recipe.train_convolutions, "--spec-augment": recipe.spec_augment}
        for option, value in {**augmentation, "--layer-drop": recipe.layer_drop}.items():
            if value:
                raise InputError(
                    f"{option} has no effect on {checkpoint.name}, whose family runs by transformers' own forward; "
                    "leave it out"
                )
    if recipe.train_convolutions and checkpoint.family.fixed_context:
        raise InputError(
            f"--train-convolutions has no effect on {checkpoint.name}: Whisper's learn with all the rest; leave it out"
        )


def choose_weights(backbone: Any, recipe: Recipe) -> None:
    """Let the recipe's weights learn, and no others; LoRA's are added, drawn from torch's generator.

    backbone: a `Trainable`, everything frozen, not too shallow. Raises InputError for a decoder that it does not have.
    """
    if recipe.train == "head":
        return
    stack, _ = parsed(backbone.layer)
    layers = list(backbone.layers)
    if recipe.train == "lora":
        _adapt(backbone, recipe.lora_rank)
    elif recipe.train == "encoder-frozen":
        if stack != "decoder":
            raise InputError(
                f"--train encoder-frozen trains Whisper's decoder, and the model ends at {backbone.layer}; "
                "take a Whisper with --depth full"
            )
        chosen = [*layers[backbone.decoder_start :], backbone.decoder_norm]
        _let_learn(chosen)
        backbone.start.requires_grad_(True)
    elif recipe.top is not None:
        norm = "decoder_norm" if stack == "decoder" else "encoder_norm"
        _let_learn([*layers[-recipe.top :], getattr(backbone, norm, None)])
    else:
        backbone.requires_grad_(True)
        if backbone.convolutions_stay_frozen and not recipe.train_convolutions:
            backbone.convolutions.requires_grad_(False)
    for layer in layers[backbone.decoder_start :]:  # over the start token alone, what it compares changes nothing
        layer.self_attn.q_proj.requires_grad_(False)
        layer.self_attn.k_proj.requires_grad_(False)


def _let_learn(modules: list[nn.Module | None]) -> None:
    for module in modules:
        if module is not None:
            module.requires_grad_(True)


def _adapt(backbone: Any, rank: int) -> None:
    """LoRA (Hu et al., 2021) by peft, on every projection of every layer."""
    import peft

    adapted = getattr(backbone, "adapted", ADAPTED)
    idle = {f"{number}.self_attn.{name}" for number in range(backbone.decoder_start, len(backbone.layers))
            for name in ("q_proj", "k_proj")}  # fmt: skip
    names = [
        name
        for name, module in backbone.layers.named_modules()
        if isinstance(module, nn.Linear) and name.rsplit(".", 1)[-1] in adapted and name not in idle
    ]
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names)
    peft.inject_adapter_in_model(config, backbone.layers)
    accelerate_linears(backbone.layers)


def parameter_groups(classifier: Any, recipe: Recipe) -> list[dict[str, Any]]:
    """For AdamW: the head at its own rate, each layer at `layer_decay` of the one above; no decay of biases."""
    backbone = classifier.backbone
    depth = len(backbone.layers)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, weight in classifier.named_parameters():
        if not weight.requires_grad:
            continue
        rate = recipe.head_lr
        if name.startswith("backbone."):
            parts = name.split(".")
            below = parts[1] in ("front", "convolutions")
            height = int(parts[2]) + 1 if parts[1] == "layers" else 0 if below else depth
            rate = recipe.rate * recipe.layer_decay ** (depth - height)
        decay = recipe.weight_decay if weight.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(weight)
    return [{"params": weights, "lr": rate, "weight_decay": decay} for (rate, decay), weights in groups.items()]


def trained(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The weights that learn, by name."""
    return ((name, weight) for name, weight in module.named_parameters() if weight.requires_grad)


def count(module: nn.Module) -> int:
    """How many numbers learn."""
    return sum(weight.numel() for _, weight in trained(module))


def blank_spans(values: torch.Tensor, share: float, span: int, dim: int) -> torch.Tensor:
    """SpecAugment (Park et al., 2019): about `share` of the positions along `dim` are set to zero, in spans.

    values: (batch, a, b), dim 1 or 2, other positions for each clip, drawn from torch's generator.
    """
    size = values.shape[dim]
    starts = torch.rand(len(values), size, device=values.device) < share / span
    covered = torch.nn.functional.max_pool1d(
        torch.nn.functional.pad(starts.float()[:, None], (span - 1, 0)), span, stride=1
    )[:, 0].bool()
    return values.masked_fill(covered.unsqueeze(2 if dim == 1 else 1), 0.0)
