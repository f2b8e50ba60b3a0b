"""A layer's product, in the layer's own dtype."""

from torch import Tensor, nn

from toolkit.products import linear


def apply(layer: nn.Linear, values: Tensor) -> Tensor:
    """values: (..., in) of any float dtype. Returns (..., out) in the dtype of the layer's weight."""
    return linear(values.to(layer.weight.dtype), layer.weight, layer.bias)
