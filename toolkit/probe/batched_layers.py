"""The parts of a stacked layer, with their backward pass: products by the fastest library, and rectified units.

Where the processor multiplies bfloat16 (AMX, AVX-512 BF16), the first layer of a training step is multiplied in it:
inputs are rounded once, weights and gradients as they are multiplied; weights, sums and all that is evaluated or kept
are float32. A rounding would carry another one's last bit far, so there each network has a product of its own, the same
with any others.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from toolkit.core.matmul import linear


def _split(rows: Sequence[int], *whole: Tensor) -> list[tuple[Tensor, ...]]:
    return [torch.split(values, list(rows)) for values in whole]


class _Product(torch.autograd.Function):
    """As `product`, in float32 and all at once, or in bfloat16 and piece by piece."""

    @staticmethod
    def forward(context: Any, weight: Tensor, inputs: Tensor, rows: Sequence[int]) -> Tensor:
        context.save_for_backward(inputs)
        context.rows = rows
        if inputs.dtype == torch.float32:
            return linear(weight, inputs)
        found = weight.new_empty(len(weight), len(inputs))
        for target, rounded in zip(*_split(rows, found, weight.to(inputs.dtype)), strict=True):
            target.copy_(linear(rounded, inputs))
        return found

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inputs,) = context.saved_tensors
        gradient = gradients[0].contiguous()  # a copy of the transposed would be slower to read
        if inputs.dtype == torch.float32:
            return linear(gradient, inputs.T), None, None
        found = gradient.new_empty(len(gradient), inputs.shape[1])
        for target, rounded in zip(*_split(context.rows, found, gradient.to(inputs.dtype)), strict=True):
            target.copy_(linear(rounded, inputs.T))
        return found, None, None


def product(weight: Tensor, inputs: Tensor, rows: Sequence[int]) -> Tensor:
    """weight (all rows, width) float32, inputs (n, width) -> (all rows, n) float32; differentiable in the weight alone.

    rows: how many each network has. Inputs in bfloat16 are multiplied in it.
    """
    result: Tensor = _Product.apply(weight, inputs, rows)  # type: ignore[no-untyped-call]
    return result


class _Rectified(torch.autograd.Function):
    """As `rectified`; the output holds all that the backward pass needs."""

    @staticmethod
    def forward(context: Any, units: Tensor, bias: Tensor, kept: Tensor | None, scale: Tensor) -> Tensor:
        found = (units + bias).relu_()
        if kept is not None:
            found.mul_(kept).mul_(scale)
        context.save_for_backward(found, scale)
        context.scaled = kept is not None
        return found

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        found, scale = context.saved_tensors
        gradient = torch.ops.aten.threshold_backward(gradients[0], found, 0)
        if context.scaled:
            gradient.mul_(scale)
        return gradient, gradient.sum(dim=2, keepdim=True), None, None


def rectified(units: Tensor, bias: Tensor, kept: Tensor | None, scale: Tensor) -> Tensor:
    """max(0, units + bias) times `scale` where `kept` is 1, 0 where it is 0; with None for it, no dropout.

    units: (networks, width, n); bias: (networks, width, 1); kept: as units, float32, since torch is slow with bool;
    scale: (networks, 1, 1).
    """
    result: Tensor = _Rectified.apply(units, bias, kept, scale)  # type: ignore[no-untyped-call]
    return result


def training_dtype(device: str) -> torch.dtype:
    """Of the inputs that an mlp is trained on: as the head of this module says."""
    multiplied = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if device == "cpu" and multiplied else torch.float32
