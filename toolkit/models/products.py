"""A layer's product, in the layer's own dtype."""

from collections.abc import Callable

from torch import Tensor, nn
from transformers.activations import GELUActivation

from toolkit.products import linear

Activation = Callable[[Tensor], Tensor]


def apply(layer: nn.Linear, values: Tensor, activation: Activation | None = None) -> Tensor:
    """values: (..., in) of any float dtype. Returns (..., out) in the dtype of the layer's weight."""
    return product(values.to(layer.weight.dtype), layer.weight, layer.bias, activation)


def product(values: Tensor, weight: Tensor, bias: Tensor | None, activation: Activation | None = None) -> Tensor:
    """activation(values @ weight.T + bias), as one operation where the activation is GELU."""
    gelu = isinstance(activation, GELUActivation)
    result = linear(values, weight, bias, gelu=gelu)
    return result if gelu or activation is None else activation(result)
