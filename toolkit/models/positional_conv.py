"""The convolutional position embeddings of wav2vec 2.0, HuBERT, WavLM and data2vec."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.core.matmul import rounded_up
from toolkit.models.precision import FLOAT32, Precision


class PositionalConvolutions:
    """One convolution over 128 frames, or data2vec's stack of short ones; padding stays zero before each.

    Without that, what one convolution writes after a clip's end would leak back through the next. The one may be
    computed in bfloat16 (HuBERT-base, all layers: 6.3e-3 instead of 6.2e-3 from float32); the stack would bring a third
    of its error.
    """

    def __init__(self, embedding: Any, precision: Precision = FLOAT32) -> None:
        """precision: of the encoder. Takes over a Hugging Face module."""
        self._dtype = dtype = precision.dtype
        stages = list(embedding.layers) if hasattr(embedding, "layers") else [embedding]
        self.stages: list[tuple[nn.Conv1d, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor] | None]] = [
            (stage.conv, stage.activation, getattr(stage, "layer_norm", None)) for stage in stages
        ]
        if len(self.stages) == 1 and not precision.split and _is_right(self.stages[0][0], dtype):
            self.stages[0][0].to(dtype)
        self.batch_norm: nn.BatchNorm1d | None = getattr(embedding, "batch_norm", None)

    def __call__(self, states: Tensor, valid: Tensor | None) -> Tensor:
        """states: (batch, frames, width) float32, zero in the padding. valid: (batch, frames, 1) bool, or None."""
        frames = states.shape[1]
        if self.batch_norm is not None:
            states = _zero_padding(self.batch_norm(states.transpose(1, 2)).transpose(1, 2), valid)
        for number, (convolution, activation, norm) in enumerate(self.stages):
            if number:
                states = _zero_padding(states, valid)
            dtype = convolution.weight.dtype
            if states.device.type == "cpu" or torch.is_grad_enabled():
                more = rounded_up(frames, self._dtype, states.device) - frames  # zeros, as it would add itself
                padded = F.pad(states.transpose(1, 2).to(dtype), (0, more))
                states = convolution(padded).transpose(1, 2)[:, :frames].float()
            else:
                states = by_group(convolution, states.to(dtype)).float()
            states = activation(states if norm is None else norm(states))
        return states


def by_group(convolution: nn.Conv1d, states: Tensor) -> Tensor:
    """The convolution as one matrix product a group. states: (batch, frames, in); returns (batch, frames, out).

    cuDNN runs a convolution of 16 groups without tensor cores: nine tenths of all that HuBERT-base cost on an H200.
    Here the frames that an output reads are copied side by side, a group at a time: all at once take 10 MB a second.
    """
    (kernel,), padding = convolution.kernel_size, int(convolution.padding[0])
    batch, frames, _ = states.shape
    taps = convolution.weight.view(convolution.groups, -1, *convolution.weight.shape[1:]).transpose(2, 3).flatten(2)
    padded = F.pad(states, (0, 0, padding, kernel - 1 - padding))
    biases = [None] * convolution.groups if convolution.bias is None else convolution.bias.chunk(convolution.groups)
    parts = []
    for group, weight, bias in zip(padded.chunk(convolution.groups, dim=-1), taps, biases):
        windows = group.contiguous().unfold(1, kernel, 1).transpose(2, 3).reshape(batch * frames, -1)
        parts.append(F.linear(windows, weight, bias))
    return torch.cat(parts, dim=-1).view(batch, frames, -1)


def _is_right(convolution: nn.Conv1d, dtype: torch.dtype) -> bool:
    """Whether the library's product in that dtype is what it gives in float32, on one second of tones.

    oneDNN 3.x on a Xeon with AMX is wrong by half in bfloat16, silently, for 2 to 12 channels a group and even kernels
    of 16 and more (480 of 480 shapes tried), and right from 16 channels on (all of 860); real models have 48 and 64.
    """
    weight, bias = convolution.weight, convolution.bias
    ramp = torch.arange(50.0, device=weight.device) * torch.arange(1.0, convolution.in_channels + 1)[:, None].to(weight)
    tones = torch.sin(ramp)[None]
    with torch.inference_mode():
        exact, found = (
            F.conv1d(
                tones.to(precision),
                weight.to(precision),
                None if bias is None else bias.to(precision),
                padding=convolution.padding[0],
                groups=convolution.groups,
            ).float()
            for precision in (weight.dtype, dtype)
        )
        return bool((found - exact).norm() <= 1e-2 * exact.norm())


def _zero_padding(states: Tensor, valid: Tensor | None) -> Tensor:
    return states if valid is None else torch.where(valid, states, 0.0)
