"""How a backbone is trained: the recipe's numbers, and which of the weights learn."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from toolkit.core.errors import InputError, one_of
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.trainable import parsed
from toolkit.models.trainable_linear import quicken

WAYS = ("full", "encoder-frozen", "top-K", "lora", "head")
TOP = re.compile(r"top-([1-9][0-9]*)")
# Of the backbone's weights. Low-rank factors start at zero and take more.
LEARNING_RATES = {"full": 1e-5, "encoder-frozen": 5e-5, "top": 1e-5, "lora": 5e-4, "head": 0.0}
CLASS_WEIGHTS = ("balanced", "none")
STATISTICS = ("mean", "std", "both")
ADAPTED = ("q_proj", "k_proj", "v_proj", "out_proj", "intermediate_dense", "output_dense", "fc1", "fc2")


@dataclass(frozen=True)
class Recipe:
    """Everything that changes what is learnt.

    train: one of WAYS, K a number. learning_rate: of the backbone's weights, None for the way's own; head_rate: of the
    head's. layer_decay: factor on the learning rate from one layer to the one below. warmup: share of all steps.
    epochs: at most; patience: epochs without a better development score before a round stops. batch: clips a step,
    in `accumulate` parts. gradient_norm: gradients are scaled down to it. rank: of LoRA. spec_augment: share of
    the frames, and of the channels, that are blanked; layer_drop: probability that a layer is skipped; both 0 for none.
    train_convolutions: those of wav2vec 2.0 and its kin too, which its authors keep frozen. dtype: of the products.
    head_epochs: of the head alone, on the frozen layer, before the backbone learns too; what that gives competes with
    the epochs behind it. class_weights: "balanced" lets every class count the same in the loss, "none" every clip.
    recompute: keep less for the backward pass and compute it again (gradient checkpointing). statistics: over its own
    frames, that stand for a clip: one of STATISTICS. refit_on_development: once development has chosen the epoch, begin
    again and learn that many epochs from training and development clips together, as a probe is fitted again.
    """

    train: str = "full"
    learning_rate: float | None = None
    head_rate: float = 1e-3
    layer_decay: float = 1.0
    weight_decay: float = 0.01
    warmup: float = 0.3
    epochs: int = 10
    patience: int = 5
    batch: int = 8
    accumulate: int = 1
    gradient_norm: float = 1.0
    rank: int = 8
    spec_augment: float = 0.0
    layer_drop: float = 0.0
    train_convolutions: bool = False
    dtype: str = "float32"
    recompute: bool = False
    head_epochs: int = 30
    class_weights: str = "balanced"
    statistics: str = "mean"
    refit_on_development: bool = True

    def __post_init__(self) -> None:
        if self.train not in WAYS and not TOP.fullmatch(self.train):
            raise InputError(one_of("--train", self.train, WAYS))
        if self.train == "top-K":
            raise InputError("--train top-K: give the number of layers, such as top-4")
        if self.accumulate < 1 or self.batch % self.accumulate:
            raise InputError(
                f"--accumulate {self.accumulate}: a batch of {self.batch} clips has no so many equal parts"
            )
        if self.class_weights not in CLASS_WEIGHTS:
            raise InputError(one_of("--class-weights", self.class_weights, CLASS_WEIGHTS))
        if self.statistics not in STATISTICS:
            raise InputError(one_of("--statistics", self.statistics, STATISTICS))
        for name in ("warmup", "spec_augment", "layer_drop"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"Bad --{name.replace('_', '-')} {getattr(self, name)}, expected 0 to below 1")
        for name in ("rate", "head_rate", "layer_decay", "weight_decay", "gradient_norm"):
            if not 0 <= getattr(self, name) < math.inf:
                option = "learning-rate" if name == "rate" else name.replace("_", "-")
                raise InputError(f"Bad --{option} {getattr(self, name)}, expected a number from 0")

    @property
    def rate(self) -> float:
        """The learning rate of the backbone's weights."""
        if self.learning_rate is not None:
            return self.learning_rate
        return LEARNING_RATES["top" if self.top else self.train]

    @property
    def top(self) -> int | None:
        match = TOP.fullmatch(self.train)
        return int(match.group(1)) if match else None


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


def refuse_too_shallow(recipe: Recipe, layers: Mapping[int, str], encoder_layers: int) -> None:
    """Raises InputError for the first round that `too_shallow` finds."""
    for reason in too_shallow(recipe, layers, encoder_layers).values():
        raise InputError(reason)


def refuse_convolutions(recipe: Recipe, checkpoint: Checkpoint) -> None:
    """Raises InputError for convolutions that learn in any case."""
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
        _adapt(backbone, recipe.rank)
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

    idle = {f"{number}.self_attn.{name}" for number in range(backbone.decoder_start, len(backbone.layers))
            for name in ("q_proj", "k_proj")}  # fmt: skip
    names = [
        name
        for name, module in backbone.layers.named_modules()
        if isinstance(module, nn.Linear) and name.rsplit(".", 1)[-1] in ADAPTED and name not in idle
    ]
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names)
    peft.inject_adapter_in_model(config, backbone.layers)
    quicken(backbone.layers)


def parameter_groups(classifier: Any, recipe: Recipe) -> list[dict[str, Any]]:
    """For AdamW: the head at its own rate, each layer at `layer_decay` of the one above; no decay of biases."""
    backbone = classifier.backbone
    depth = len(backbone.layers)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, weight in classifier.named_parameters():
        if not weight.requires_grad:
            continue
        rate = recipe.head_rate
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
