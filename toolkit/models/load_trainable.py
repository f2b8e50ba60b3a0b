"""A checkpoint as a `Trainable` of its family."""

from torch import nn

from toolkit.core.errors import InputError
from toolkit.core.matmul import allow_tensor_float_32
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.load import MODELS, config_of, feature_extractor_of, model_of
from toolkit.models.trainable import parsed
from toolkit.models.trainable_linear import quicken
from toolkit.models.trainable_wav2vec2 import TrainableWav2Vec2
from toolkit.models.trainable_whisper import TrainableWhisper
from toolkit.models.whisper import Context


def load_trainable(checkpoint: Checkpoint, layer: str | None = None, context: Context = "full") -> nn.Module:
    """A checkpoint's weights as a `Trainable` in float32 on the CPU, everything frozen and in evaluation mode.

    layer: the last one that is computed; None for all of the encoder. "decoder.k" (Whisper) feeds the decoder its
    start token alone. Raises InputError for a layer that the backbone does not have, and what `load.load` raises.
    """
    row = checkpoint.backbone
    if row.family not in MODELS:
        raise InputError(f"{checkpoint.name}: backbones of the family {row.family} cannot be trained yet")
    layer = layer or f"encoder.{row.layers}"
    stack, number = parsed(layer)
    depth = row.decoder_layers if stack == "decoder" else row.layers
    if (stack == "decoder" and not depth) or number > depth:
        known = f"encoder.0 to encoder.{row.layers}"
        known += f", decoder.0 to decoder.{row.decoder_layers}" if row.decoder_layers else ""
        raise InputError(f"Bad layer {layer!r}, expected one of {checkpoint.name}'s: {known}")
    whisper = row.family == "whisper"
    if context == "clip" and not whisper:
        context = "full"  # the others hear the clip alone whatever they are told
    config = config_of(checkpoint)
    allow_tensor_float_32(False)
    extractor = feature_extractor_of(checkpoint, config)
    decoder = stack == "decoder"
    model = model_of(checkpoint, config, decoder=decoder, last_layer=row.layers if decoder else number)
    backbone: nn.Module
    if whisper:
        backbone = TrainableWhisper(model, extractor, layer, context)
    else:
        backbone = TrainableWav2Vec2(model, bool(extractor.do_normalize), layer)
    quicken(backbone)
    return backbone.eval()
