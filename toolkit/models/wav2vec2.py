"""wav2vec 2.0, HuBERT, WavLM and data2vec-audio: one clip or many, the same numbers."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.audio.decode import Samples
from toolkit.models.attention import SelfAttention
from toolkit.models.convolutions import Convolutions, output_frames, receptive_field
from toolkit.models.encoder import LayerStates, attention_mask, check_filled, on_device, own_frames, waveforms
from toolkit.models.fused_linear import Product, feed_forward
from toolkit.models.normalisation import normalise
from toolkit.models.positional_conv import PositionalConvolutions
from toolkit.models.precision import Precision

# Of one clip. The first convolution gives 3,200 frames of 512 float32 values a second, and three of such tensors are
# alive at once: 20 MB a second, 2.4 GB. WavLM's position bias is heads x frames x frames, three times: 16 x 6,000^2 x 4
# bytes x 3 = 6.9 GB. Time grows with the square, too.
LONGEST_SECONDS = 120.0


class Wav2Vec2Encoder:
    """A loaded backbone of this kind; see `encoder.Encoder`.

    Clips shorter than the receptive field (400 samples) are padded with zeros to it, after their normalisation.
    """

    longest_seconds = LONGEST_SECONDS

    def __init__(
        self, model: Any, feature_extractor: Any, device: torch.device, precision: Precision, last_layer: int
    ) -> None:
        """model: the Hugging Face base model in float32; it is taken apart."""
        config = model.config
        self.device, self.precision, self.width = device, precision, int(config.hidden_size)
        self.layer_names = tuple(f"encoder.{number}" for number in range(last_layer + 1))
        self._normalises_input = bool(feature_extractor.do_normalize)
        self._kernels, self._strides = tuple(config.conv_kernel), tuple(config.conv_stride)
        self._shortest = receptive_field(self._kernels, self._strides)
        model.feature_extractor.to(device)
        self._convolutions = Convolutions(model.feature_extractor, precision)
        projection = model.feature_projection.to(device)
        self._projection_norm: nn.LayerNorm | None = getattr(projection, "layer_norm", None)
        self._projection = Product.taken_from(projection.projection)
        model.encoder.to(device)
        self._positions = PositionalConvolutions(model.encoder.pos_conv_embed, precision)
        self._stable = norms_first(model.encoder)
        self._norm: nn.LayerNorm = model.encoder.layer_norm
        self._bias = None
        if last_layer and is_gated(model.encoder.layers[0].attention):
            self._bias = GatedPositionBias(model.encoder.layers[0].attention)
        self._layers = [TransformerLayer(layer, self._stable, precision) for layer in model.encoder.layers[:last_layer]]

    def frames(self, n_samples: int) -> int:
        return output_frames(max(n_samples, self._shortest), self._kernels, self._strides)

    def padded_samples(self, n_samples: int) -> int:
        stride = self._convolutions.total_stride
        return math.ceil(max(n_samples, self._shortest) / stride) * stride

    def states(self, clips: Sequence[Samples]) -> Iterator[LayerStates]:
        check_filled(clips)
        lengths = [self.frames(len(clip)) for clip in clips]
        frames = max(lengths)
        own_lengths = on_device(lengths, self.device)
        valid = None if min(lengths) == frames else own_frames(own_lengths, frames)
        mask = None if valid is None else attention_mask(valid)
        with torch.inference_mode():
            values = self._first_states(clips, frames, None if valid is None else valid[..., None])
            bias = self._bias(frames) if self._bias is not None else None
        yield LayerStates(self.layer_names[0], values, own_lengths)
        for name, layer in zip(self.layer_names[1:], self._layers):
            with torch.inference_mode():
                values = layer(values, mask, bias)
            yield LayerStates(name, values, own_lengths)

    def _first_states(self, clips: Sequence[Samples], frames: int, valid: Tensor | None) -> Tensor:
        """What enters the first layer: (batch, frames, width)."""
        samples = on_device([len(clip) for clip in clips], self.device)
        rows = waveforms(clips, (len(clips), self.padded_samples(max(map(len, clips)))), self.device)
        if self._normalises_input:
            rows = normalise(rows, samples)
        features = self._convolutions(rows, samples.clamp(min=self._shortest))[:, :frames]
        if self._projection_norm is not None:
            features = self._projection_norm(features.float())
        values = self._projection(features)
        if valid is not None:
            values = torch.where(valid, values, 0.0)
        values = values + self._positions(values, valid)
        return values if self._stable else self._norm(values)


class GatedPositionBias:
    """WavLM's relative position bias: one table in the first layer, gated in each layer by its own input."""

    def __init__(self, first_attention: Any) -> None:
        self._attention = first_attention

    def __call__(self, frames: int) -> Tensor:
        """(heads, frames, frames), by the distance from query to key."""
        bias: Tensor = self._attention.compute_bias(frames, frames)
        return bias


class TransformerLayer:
    """One layer; norms before its halves ("stable") or after them."""

    def __init__(self, layer: Any, stable: bool, precision: Precision) -> None:
        """precision: of its costly products. Takes over a Hugging Face layer."""
        self._stable = stable
        self._attention_norm, self._norm = layer.layer_norm, layer.final_layer_norm
        self._attention = SelfAttention(layer.attention, precision)
        self._gate = gate_of(layer.attention) if is_gated(layer.attention) else None
        self._inner = Product.taken_from(layer.feed_forward.intermediate_dense, precision)
        self._activation = layer.feed_forward.intermediate_act_fn
        self._outer = Product.taken_from(layer.feed_forward.output_dense, precision, exact="bias")
        self._adapter = getattr(layer, "adapter_layer", None)

    def __call__(self, values: Tensor, mask: Tensor | None, bias: Tensor | None) -> Tensor:
        """values: (batch, frames, width) float32; mask of `attention_mask`; bias: (heads, frames, frames) or None."""
        attended = self._attention_norm(values) if self._stable else values
        if bias is not None and self._gate is not None:
            gated = self._gate(attended) * bias
            mask = gated if mask is None else gated + mask
        values = self._attention(attended, mask).add_(values)
        if not self._stable:
            values = self._attention_norm(values)
            normed: Tensor = self._norm(self._feed_forward(values).add_(values))
            return normed
        values = self._feed_forward(self._norm(values)).add_(values)
        if self._adapter is not None:
            inner = self._adapter.act_fn(self._adapter.linear_1(self._adapter.norm(values)))
            values = values + self._adapter.linear_2(inner)
        return values

    def _feed_forward(self, values: Tensor) -> Tensor:
        """values: (batch, frames, width) float32; so is what is returned."""
        return feed_forward(self._inner, self._outer, self._activation, values)


def norms_first(encoder: Any) -> bool:
    """Whether transformers put the norms before the halves of each layer; not every family asks the config for that."""
    return type(encoder).__name__.endswith("StableLayerNorm")


def is_gated(attention: Any) -> bool:
    """Whether it is WavLM's, with a gated position bias."""
    return hasattr(attention, "gru_rel_pos_linear")


def gate_of(attention: Any) -> Callable[[Tensor], Tensor]:
    """WavLM's gate: (batch, frames, width) -> (batch, heads, frames, 1). Source: WavLM, equations 5 and 6."""

    def gate(values: Tensor) -> Tensor:
        per_head = values.view(*values.shape[:2], attention.num_heads, -1).transpose(1, 2)
        sums = attention.gru_rel_pos_linear(per_head).view(*per_head.shape[:3], 2, 4).sum(dim=-1)
        update, reset = torch.sigmoid(sums).chunk(2, dim=-1)
        gated: Tensor = update * (reset * attention.gru_rel_pos_const - 1.0) + 2.0
        return gated

    return gate
