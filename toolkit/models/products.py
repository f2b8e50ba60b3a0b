"""A layer's product, in the layer's own dtype."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.activations import GELUActivation

from toolkit.products import linear, packed

Activation = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Product:
    """activation(values @ weight.T + bias), in the dtype of weight (out, in) and bias (out,), laid out for it once."""

    weight: Tensor
    bias: Tensor | None
    dtype: torch.dtype

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> "Product":
        return cls(packed(weight.to(dtype)), None if bias is None else bias.to(dtype), dtype)

    @classmethod
    def taken_from(cls, layer: nn.Linear, dtype: torch.dtype) -> "Product":
        """The layer loses its weight, so that it is not held twice."""
        weight, layer.weight = layer.weight, None  # type: ignore[assignment]
        return cls.of(weight, layer.bias, dtype)

    def __call__(self, values: Tensor, activation: Activation | None = None) -> Tensor:
        """values: (..., in) of any float dtype. Returns (..., out) in `dtype`; GELU is part of the product."""
        gelu = isinstance(activation, GELUActivation)
        result = linear(values.to(self.dtype), self.weight, self.bias, gelu=gelu)
        return result if gelu or activation is None else activation(result)
