"""A checkpoint as a `Trainable` of its family."""

from typing import Any

from torch import nn

from toolkit.core.errors import InputError
from toolkit.core.matmul import allow_tensor_float_32
from toolkit.core.registry import resolve
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.load import config_of, feature_extractor_of, model_of
from toolkit.models.trainable import parsed
from toolkit.models.trainable_linear import accelerate_linears
from toolkit.models.whisper import Context


def load_trainable(checkpoint: Checkpoint, layer: str | None = None, context: Context = "full") -> nn.Module:
    """A checkpoint's weights as a `Trainable` in float32 on the CPU, everything frozen and in evaluation mode.

    layer: the last one that is computed; None for all of the encoder. "decoder.k" (Whisper) feeds the decoder its
    start token alone. Raises InputError for a layer that the backbone does not have, and what `load.load` raises.
    """
    row = checkpoint.backbone
    if not checkpoint.family.trainable:
        raise InputError(f"{checkpoint.name}: backbones of the family {row.family} cannot be fine-tuned")
    layer = layer or f"encoder.{row.layers}"
    stack, number = parsed(layer)
    depth = row.decoder_layers if stack == "decoder" else row.layers
    start = checkpoint.family.feed.first if checkpoint.family.feed else 0
    if (stack == "decoder" and not depth) or not start <= number <= depth:
        known = f"encoder.{start} to encoder.{row.layers}"
        known += f", decoder.0 to decoder.{row.decoder_layers}" if row.decoder_layers else ""
        raise InputError(f"Bad layer {layer!r}, expected one of {checkpoint.name}'s: {known}")
    config = config_of(checkpoint)
    allow_tensor_float_32(False)
    extractor = feature_extractor_of(checkpoint, config)
    decoder = stack == "decoder"
    model = model_of(checkpoint, config, decoder=decoder, last_layer=row.layers if decoder else number)
    return trainable_of(checkpoint, model, extractor, layer, context)


def trainable_of(checkpoint: Checkpoint, model: Any, feature_extractor: Any, layer: str, context: Context) -> nn.Module:
    """The `Trainable` whose modules are those of `model`, the checkpoint's base model up to `layer`."""
    family = checkpoint.family
    more: dict[str, Any] = {"context": context} if family.fixed_context else {}  # the others hear the clip alone
    if family.feed:
        more = {"feed": family.feed, "width": checkpoint.backbone.width}
    try:
        backbone: nn.Module = resolve(family.trainable)(model, feature_extractor, layer, **more)
    except InputError as error:
        raise InputError(f"{checkpoint.name}: {error}") from error
    accelerate_linears(backbone)
    return backbone.eval()
