"""The convolutions in front of wav2vec 2.0, HuBERT, WavLM and data2vec, as matrix products, exact for any batch.

States are kept as (batch, frames, channels), so that the frames which a convolution reads are contiguous: it is one
product with overlapping rows of them, rounded once, and the layout never changes. All clips of a batch follow one
another in one matrix; the last rows of a clip read into the next one, but they are never its own frames, because these
convolutions have no padding.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import GELUActivation

from toolkit.core.matmul import halves, linear, rounded_up
from toolkit.models.encoder import own_frames
from toolkit.models.fused_linear import Product
from toolkit.models.normalisation import widest
from toolkit.models.precision import BFLOAT16, FLOAT32, Precision


def output_frames(n_samples: int, kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Frames that unpadded convolutions give: floor((n - kernel) / stride) + 1, one after the other; 0 if too short."""
    for kernel, stride in zip(kernels, strides):
        n_samples = (n_samples - kernel) // stride + 1
    return max(0, n_samples)


def receptive_field(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Samples that one frame spans: the shortest input that gives a frame. 400 in every model of this family."""
    samples = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides)):
        samples = (samples - 1) * stride + kernel
    return samples


@dataclass(frozen=True)
class StridedConvolution:
    """One convolution without padding.

    product: by its taps, (out, kernel * in), tap by tap. norm, activation: what follows.
    """

    product: Product
    stride: int
    kernel: int
    norm: nn.LayerNorm | None
    activation: Any

    @classmethod
    def of(cls, layer: Any, precision: Precision) -> "StridedConvolution":
        """Takes over a Hugging Face convolution layer; one with a layer norm stays in float32.

        Of a quiet frame the norm amplifies what rounding took off: up to 1.1e-2 after the stack instead of 7.5e-4.
        """
        convolution, norm = layer.conv, getattr(layer, "layer_norm", None)
        (stride,), (kernel,) = convolution.stride, convolution.kernel_size
        taps = convolution.weight.transpose(1, 2).flatten(1).contiguous()
        norm = norm if isinstance(norm, nn.LayerNorm) else None
        product = Product.of(taps, convolution.bias, precision if norm is None else FLOAT32)
        return cls(product, stride, kernel, norm, layer.activation)


COSTLY = 2  # convolutions after the first; they do three quarters of all their multiplications


class Convolutions:
    """The stack of convolutions: the COSTLY ones in the precision where no norm follows, the others in float32.

    The first reads the waveform. The last ones, in bfloat16, would bring most of its error (HuBERT-base, all layers:
    7.8e-3 instead of 6.3e-3) and spare a twelfth of the time.
    """

    def __init__(self, feature_extractor: Any, precision: Precision) -> None:
        first, *rest = feature_extractor.conv_layers
        norm = getattr(first, "layer_norm", None)
        self.group_norm: nn.GroupNorm | None = norm if isinstance(norm, nn.GroupNorm) else None
        self.precision = precision
        self.first = StridedConvolution.of(first, FLOAT32)
        self.rest = [
            StridedConvolution.of(layer, precision if number < COSTLY else FLOAT32) for number, layer in enumerate(rest)
        ]
        self.total_stride = math.prod([self.first.stride, *(convolution.stride for convolution in self.rest)])

    def __call__(self, waveforms: Tensor, n_samples: Tensor) -> Tensor:
        """waveforms: (batch, padded) float32, padded to a multiple of `total_stride`; n_samples: (batch,) own samples.

        Returns (batch, padded / total_stride, channels), right in each clip's own frames.
        """
        batch = len(waveforms)
        padded = F.pad(waveforms, (0, max(0, self.first.kernel - self.first.stride)))
        windows = padded.unfold(1, self.first.kernel, self.first.stride)
        windows = windows[:, : waveforms.shape[1] // self.first.stride]
        if self.group_norm is not None:
            rows = self._first_with_group_norm(windows, n_samples, self.group_norm)
        else:
            states = self.first.product(windows)
            if self.first.norm is not None:
                states = self.first.norm(states)
            rows = self.first.activation(states).flatten(0, 1)
        for convolution in self.rest:
            rows = _convolve(rows, convolution)
        return rows.view(batch, -1, rows.shape[-1])

    def _first_with_group_norm(self, windows: Tensor, n_samples: Tensor, norm: nn.GroupNorm) -> Tensor:
        """The first convolution and its norm over time, each clip by its own frames, as one product.

        A channel's output is y = w . x + b for the windows x, so its mean over the clip's frames is w . mean(x) + b
        and its variance is w' covariance(x) w: both come from the windows, before a single output is there. In
        float64, because a filter may cancel almost all of the signal's energy. Returns (batch * frames, channels).
        """
        frames = (n_samples - self.first.kernel) // self.first.stride + 1
        valid = own_frames(frames, windows.shape[1])[..., None]
        exact = widest(torch.where(valid, windows, 0.0))
        count = widest(frames)[:, None, None]
        centred = torch.where(valid, exact - exact.sum(dim=1, keepdim=True) / count, 0.0)
        covariance = centred.transpose(1, 2) @ centred / count
        taps = widest(self.first.product.weight).T
        variance = (taps * (covariance @ taps)).sum(dim=1)
        scale = widest(norm.weight) * torch.rsqrt(variance + norm.eps)
        weight = (taps * scale[:, None]).float()
        gelu = isinstance(self.first.activation, GELUActivation)
        if gelu and self.precision == BFLOAT16 and windows.device.type == "cpu":
            return _split_product(centred.float(), weight, norm.bias)
        states = torch.baddbmm(norm.bias, centred.float(), weight)
        activated: Tensor = self.first.activation(states)
        return activated.flatten(0, 1)


def _split_product(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """GELU(values @ weight + bias), rounded to bfloat16 once, by bfloat16 products.

    What rounding takes off values and weight is multiplied too, in further columns:

        v w + b = [v' (v - v') v' 1 1] . [w' w' (w - w') b' (b - b')],    x' = x in bfloat16

    less (v - v')(w - w'), which is under 2^-16 of v w. values: (batch, frames, in), weight: (batch, in, out),
    bias: (out,), all float32. Returns (batch * frames, out) bfloat16. Ten times faster than in float32, because GELU
    and the rounding need no pass of their own.
    """
    batch, frames, taps = values.shape
    high, low = halves(values)
    columns = high.new_ones(batch, rounded_up(frames, high.dtype, high.device), 3 * taps + 2)
    columns[:, :frames, :-2] = torch.cat([high, low, high], dim=-1)
    (weight_high, weight_low), biases = halves(weight.transpose(1, 2)), torch.stack(halves(bias), dim=-1)
    rows = torch.cat([weight_high, weight_high, weight_low, biases.expand(batch, -1, -1)], dim=-1)
    return torch.cat([linear(*clip, gelu=True)[:frames] for clip in zip(columns, rows)])


def _convolve(rows: Tensor, convolution: StridedConvolution) -> Tensor:
    """rows: (batch * frames, in), frames a multiple of the stride. Returns (batch * frames / stride, out).

    The windows are copied, since no product takes overlapping rows; where kernel and stride are equal, nothing is.
    """
    product, count = convolution.product, len(rows) // convolution.stride
    stacked = rows.view(count, -1)
    size = stacked.shape[1]
    more = rounded_up(count, product.dtype, rows.device)
    windows = rows.new_empty(more, convolution.kernel * rows.shape[1], dtype=product.dtype)
    windows[:count, :size] = stacked
    windows[: count - 1, size:] = stacked[1:, : windows.shape[1] - size]
    windows[count - 1, size:] = 0.0
    if convolution.norm is None:
        return product.multiply(windows, convolution.activation)[:count]
    normed = convolution.norm(product.multiply(windows)[:count])
    activated: Tensor = convolution.activation(normed)
    return activated
