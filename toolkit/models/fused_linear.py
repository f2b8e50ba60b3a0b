"""A layer's product, in the layer's own dtype."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from transformers.activations import GELUActivation

from toolkit.core.matmul import (
    goes_to_onednn,
    linear,
    packed,
    rounded_up,
    side_by_side,
    split_linear,
    weight_side_by_side,
)
from toolkit.models.precision import FLOAT32, Precision

Activation = Callable[[Tensor], Tensor]
Exact = Literal["", "bias", "both"]  # what of a product, if its dtype is a half, is not rounded: of weight and bias

# oneDNN 3.12 on a Xeon with AMX multiplies 512 to 1,200 rows into 768 columns at half the speed of 256 rows.
SLOW_GEMM_ROWS, SLOW_COLUMNS, FAST_ROWS = range(512, 1280), 768, 256


@dataclass(frozen=True)
class Product:
    """activation(values @ weight.T + bias). weight: (out, in) in dtype, laid out for it once.

    bias: (out,) in dtype, or in float32 and then added in float32. rest: what rounding to bfloat16 took off the weight,
    multiplied too, or None. split: weight is (out, 3 * in) for `split_linear`, and dtype float32.
    """

    weight: Tensor
    bias: Tensor | None
    dtype: torch.dtype
    rest: Tensor | None = None
    split: bool = False

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None, precision: Precision, *, exact: Exact = "") -> "Product":
        """weight, bias: float32, as which they stay if exact; on CPUs a weight becomes the sum of two in bfloat16."""
        if precision.split:
            return cls(weight_side_by_side(weight), bias, torch.float32, split=True)
        dtype, rest = precision.dtype, None
        if exact and bias is None:
            bias = torch.zeros_like(weight[:, 0])
        if exact == "both" and goes_to_onednn(dtype, weight.device):
            rest = packed((weight - weight.to(dtype)).to(dtype))
        elif exact == "both":
            dtype = torch.float32
        return cls(packed(weight.to(dtype)), bias if exact or bias is None else bias.to(dtype), dtype, rest)

    @classmethod
    def taken_from(cls, layer: nn.Linear, precision: Precision = FLOAT32, *, exact: Exact = "") -> "Product":
        """The layer loses its weight, so that it is not held twice."""
        weight, layer.weight = layer.weight, None  # type: ignore[assignment]
        return cls.of(weight, layer.bias, precision, exact=exact)

    def rows(self, values: Tensor) -> Tensor:
        """Values of (..., in), any float dtype, as rows (n, in) in `dtype`; after them some without meaning.

        Of the few numbers of rows for which kernels are kept, n is the next; what `multiply` gives is to be cut.
        """
        count = values.shape[:-1].numel()
        more = rounded_up(count, torch.bfloat16 if self.split else self.dtype, values.device)
        flat = values.reshape(count, values.shape[-1])
        if more == count:
            return flat.to(self.dtype)
        rows = flat.new_empty(more, flat.shape[1], dtype=self.dtype)
        rows[:count] = flat
        return rows

    def multiply(self, rows: Tensor, activation: Activation | None = None) -> Tensor:
        """rows: (n, in) in `dtype`. Returns (n, out) in the dtype of the bias. GELU is part of it."""
        if self.split:
            gelu = isinstance(activation, GELUActivation)
            result = split_linear(side_by_side(rows), self.weight, self.bias, gelu=gelu)
            return result if gelu or activation is None else activation(result)
        if len(rows) in SLOW_GEMM_ROWS and len(self.weight) == SLOW_COLUMNS and goes_to_onednn(self.dtype, rows.device):
            return torch.cat([self.multiply(block, activation) for block in torch.split(rows, FAST_ROWS)])
        later = None if self.bias is None or self.bias.dtype == self.dtype else self.bias
        gelu = isinstance(activation, GELUActivation) and later is None
        result = linear(rows, self.weight, self.bias if later is None else None, gelu=gelu)
        if later is not None:
            result = result.float().add_(later)
        if self.rest is not None:
            result += linear(rows, self.rest)
        return result if gelu or activation is None else activation(result)

    def __call__(self, values: Tensor) -> Tensor:
        """values: (..., in) of any float dtype. Returns (..., out), as `multiply` does."""
        return cut(self.multiply(self.rows(values)), values)


def cut(rows: Tensor, values: Tensor) -> Tensor:
    """rows (n, out) without those after the ones of `values` (..., in), in its shape: (..., out)."""
    return rows[: values.shape[:-1].numel()].view(*values.shape[:-1], rows.shape[-1])


def feed_forward(inner: Product, outer: Product, activation: Activation, values: Tensor) -> Tensor:
    """The second half of a layer. values: (..., width) float32; so is what is returned, a tensor of its own."""
    return cut(outer.multiply(inner.multiply(inner.rows(values), activation)), values).float()
