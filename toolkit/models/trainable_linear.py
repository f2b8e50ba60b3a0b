"""Linear layers that learn, in float32 on the CPU by the library that is faster there; see `toolkit.core.matmul`.

Measured on an AMD EPYC (Zen 5), two threads, 800 x 384 x 1536: 170 GFLOP/s by torch's own way, 390 forward, 400 for the
gradient of what enters and 250 for that of the weights by this one; bfloat16, where the processor has it, 750.
"""

from typing import Any

import torch
from torch import Tensor, nn

from toolkit.core.matmul import linear, onednn_is_faster


def accelerate_linears(module: nn.Module) -> None:
    """Every plain linear layer inside takes the faster product; its name, weights and gradients stay what they are."""
    for part in module.modules():
        if type(part) is nn.Linear:
            part.__class__ = _Linear


class _Linear(nn.Linear):
    def forward(self, values: Tensor) -> Tensor:
        float32 = values.dtype == self.weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        if not (float32 and values.device.type == "cpu" and onednn_is_faster()):
            return super().forward(values)
        product: Tensor = _Product.apply(values, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return product


class _Product(torch.autograd.Function):
    """values @ weight.T + bias, and its three gradients."""

    @staticmethod
    def forward(context: Any, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        context.save_for_backward(values, weight)
        return linear(values, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, weight = context.saved_tensors
        of_values, of_weight, of_bias = context.needs_input_grad
        rows = gradient.flatten(0, -2)
        return (
            linear(gradient, weight.T) if of_values else None,
            linear(rows.T, values.flatten(0, -2).T) if of_weight else None,
            rows.sum(dim=0) if of_bias else None,
        )
