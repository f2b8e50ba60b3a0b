"""wav2vec 2.0, HuBERT, WavLM and data2vec-audio as trainable modules; see `trainable.Trainable`."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.audio.decode import Samples
from toolkit.models.convolutions import output_frames, receptive_field
from toolkit.models.encoder import check_filled, own_frames, waveforms
from toolkit.models.normalisation import normalise
from toolkit.models.positional_conv import PositionalConvolutions
from toolkit.models.trainable import Batch, Prepared, attention, own_mask, parsed, through
from toolkit.models.wav2vec2 import gate_of, is_gated, norms_first

CPU = torch.device("cpu")


class TrainableWav2Vec2(nn.Module):
    """From samples to one layer. `own` of a batch: samples of each clip, at least the receptive field."""

    convolutions_stay_frozen = True  # Baevski et al., wav2vec 2.0, 2020, section 4.3
    recompute = False
    layer_drop = 0.0
    augment: Callable[[Tensor], Tensor] | None = None

    def __init__(self, model: Any, feature_extractor: Any, layer: str) -> None:
        """model: the Hugging Face base model in float32, with the layers up to `layer`."""
        super().__init__()
        config = model.config
        self.layer, self.width = layer, int(config.hidden_size)
        self._normalises_input = bool(feature_extractor.do_normalize)
        self._kernels, self._strides = tuple(config.conv_kernel), tuple(config.conv_stride)
        self._shortest = receptive_field(self._kernels, self._strides)
        self._total_stride: int = math.prod(self._strides)
        self._stable = norms_first(model.encoder)
        self.convolutions = model.feature_extractor.conv_layers
        encoder = model.encoder
        rest = [model.feature_projection, encoder.pos_conv_embed]
        # Norms before the halves of each layer: what the encoder's own norm would give is no hidden state.
        rest += [] if self._stable else [encoder.layer_norm]
        self.front = nn.ModuleList([self.convolutions, *rest])
        self._dropout = float(config.hidden_dropout)
        self.layers = encoder.layers[: parsed(layer)[1]]
        self.decoder_start = len(self.layers)
        self._positions = PositionalConvolutions(encoder.pos_conv_embed)

    def cost(self, n_samples: int) -> int:
        return math.ceil(max(n_samples, self._shortest) / self._total_stride) * self._total_stride

    def prepare(self, clip: Samples) -> Prepared:
        check_filled([clip])
        size = max(len(clip), self._shortest)
        rows = waveforms([clip], (1, size), CPU)
        if self._normalises_input:
            rows = normalise(rows, torch.tensor([len(clip)]))
        return Prepared((rows[0],), (size,))

    def collate(self, clips: Sequence[Prepared]) -> Batch:
        input_lengths = [clip.input_lengths[0] for clip in clips]
        signal = waveforms((clip.pieces[0].numpy() for clip in clips), (len(clips), self.cost(max(input_lengths))), CPU)
        return {"signal": signal, "input_lengths": torch.tensor(input_lengths), "owner": torch.arange(len(clips))}

    def states(self, signal: Tensor, input_lengths: Tensor, owner: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        lengths = _frames(input_lengths, self._kernels, self._strides)
        frames = output_frames(int(input_lengths.max()), self._kernels, self._strides)
        mask = own_mask(lengths, frames)
        values = self._first_states(signal, input_lengths, frames, None if mask is None else mask[..., None])
        yield "encoder.0", values, lengths
        bias = None
        if len(self.layers) and is_gated(self.layers[0].attention):
            bias = self.layers[0].attention.compute_bias(frames, frames)
        seen = None if mask is None else mask[:, None, None]
        for number, layer in enumerate(self.layers, start=1):
            values = through(self, layer, self._through, values, seen, bias)
            yield f"encoder.{number}", values, lengths

    def _first_states(self, signal: Tensor, input_lengths: Tensor, frames: int, mask: Tensor | None) -> Tensor:
        values = signal[:, None]
        for number, convolution in enumerate(self.convolutions):
            if isinstance(getattr(convolution, "layer_norm", None), nn.GroupNorm):
                lengths = _frames(input_lengths, self._kernels[: number + 1], self._strides[: number + 1])
                normed = norm_over_own_frames(convolution.conv(values), lengths, convolution.layer_norm)
                values = convolution.activation(normed)
            else:
                values = convolution(values)
        projection: Any = self.front[1]
        features = values.transpose(1, 2)[:, :frames]
        norm = getattr(projection, "layer_norm", None)
        values = projection.projection(features if norm is None else norm(features)).float()
        values = nn.functional.dropout(values, float(projection.dropout.p), projection.training)
        if self.augment is not None and self.training:
            values = self.augment(values)
        if mask is not None:
            values = torch.where(mask, values, 0.0)
        values = values + self._positions(values, mask)
        if not self._stable:
            values = self.front[-1](values)
        return nn.functional.dropout(values, self._dropout, self.front.training)

    def _through(self, layer: Any, values: Tensor, mask: Tensor | None, bias: Tensor | None) -> Tensor:
        """One layer; norms before its halves ("stable") or after them. values: (batch, frames, width)."""
        attended = layer.layer_norm(values) if self._stable else values
        if bias is not None:
            gated = gate_of(layer.attention)(attended) * bias
            mask = gated if mask is None else gated.masked_fill(~mask, float("-inf"))
        values = values + layer.dropout(attention(layer.attention, attended, mask))
        if not self._stable:
            values = layer.layer_norm(values)
            normed: Tensor = layer.final_layer_norm(values + layer.feed_forward(values))
            return normed
        values = values + layer.feed_forward(layer.final_layer_norm(values))
        if getattr(layer, "adapter_layer", None) is not None:
            values = values + layer.adapter_layer(values)
        return values


def _frames(samples: Tensor, kernels: Sequence[int], strides: Sequence[int]) -> Tensor:
    """`convolutions.output_frames` for (batch,) sample counts that give at least one frame."""
    for kernel, stride in zip(kernels, strides):
        samples = torch.div(samples - kernel, stride, rounding_mode="floor") + 1
    return samples


def norm_over_own_frames(values: Tensor, lengths: Tensor, norm: nn.GroupNorm) -> Tensor:
    """A group norm of one channel a group, each clip by its own frames, in two passes.

    values: (batch, channels, frames); lengths: (batch,). What follows a clip's own frames is without meaning.
    """
    with torch.autocast(values.device.type, enabled=False):
        values = values.float()
        valid = own_frames(lengths, values.shape[2])[:, None]
        count = lengths[:, None, None].float()
        mean = torch.where(valid, values, 0.0).sum(dim=2, keepdim=True) / count
        centred = torch.where(valid, values - mean, 0.0)
        variance = centred.square().sum(dim=2, keepdim=True) / count
        return centred * torch.rsqrt(variance + norm.eps) * norm.weight[:, None] + norm.bias[:, None]
