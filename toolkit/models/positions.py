"""The convolutional position embeddings of wav2vec 2.0, HuBERT, WavLM and data2vec."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.products import rounded_up


class PositionalConvolutions:
    """One convolution over 128 frames, or data2vec's stack of short ones; padding stays zero before each.

    Without that, what one convolution writes behind a clip's end would leak back through the next. The one may be
    computed in bfloat16 (HuBERT-base, all layers: 6.3e-3 instead of 6.2e-3 from float32); the stack would bring a third
    of its error.
    """

    def __init__(self, embedding: Any, dtype: torch.dtype = torch.float32) -> None:
        """Takes over a Hugging Face module."""
        stages = list(embedding.layers) if hasattr(embedding, "layers") else [embedding]
        self.stages: list[tuple[nn.Conv1d, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor] | None]] = [
            (stage.conv, stage.activation, getattr(stage, "layer_norm", None)) for stage in stages
        ]
        if len(self.stages) == 1:
            self.stages[0][0].to(dtype)
        self.batch_norm: nn.BatchNorm1d | None = getattr(embedding, "batch_norm", None)

    def __call__(self, states: Tensor, own: Tensor | None) -> Tensor:
        """states: (batch, frames, width) float32, zero in the padding. own: (batch, frames, 1) bool, or None."""
        frames = states.shape[1]
        if self.batch_norm is not None:
            states = _zero_padding(self.batch_norm(states.transpose(1, 2)).transpose(1, 2), own)
        for number, (convolution, activation, norm) in enumerate(self.stages):
            if number:
                states = _zero_padding(states, own)
            dtype = convolution.weight.dtype
            more = rounded_up(frames, dtype, states.device) - frames  # zeros, as the convolution would add itself
            states = (
                F.conv1d(
                    F.pad(states.transpose(1, 2).to(dtype), (0, more)),
                    convolution.weight,
                    convolution.bias,
                    padding=convolution.padding[0],
                    groups=convolution.groups,
                )
                .transpose(1, 2)[:, :frames]
                .float()
            )
            states = activation(states if norm is None else norm(states))
        return states


def _zero_padding(states: Tensor, own: Tensor | None) -> Tensor:
    return states if own is None else torch.where(own, states, 0.0)
