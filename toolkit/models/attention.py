"""Self-attention with one projection for query, key and value: the same numbers in fewer, larger matrix products."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.models.products import apply
from toolkit.products import linear


class SelfAttention:
    """Takes over the projections of a Hugging Face attention module.

    The module loses them, so that the weights are not held twice.
    """

    def __init__(self, module: Any) -> None:
        self.heads: int = module.num_heads
        projections = [module.q_proj, module.k_proj, module.v_proj]
        self.weight = torch.cat([projection.weight for projection in projections])
        self.bias = None
        if module.q_proj.bias is not None:  # Whisper's keys alone have none
            zeros = torch.zeros_like(module.q_proj.bias)
            self.bias = torch.cat([zeros if p.bias is None else p.bias for p in projections])
        self.out: nn.Linear = module.out_proj
        module.q_proj = module.k_proj = module.v_proj = None

    def __call__(self, values: Tensor, mask: Tensor | None) -> Tensor:
        """values: (batch, frames, width) float32; so is what is returned, whatever the products are computed in.

        mask: added to the scores in the products' dtype, broadcasts to (batch, heads, frames, frames).
        """
        batch, frames, width = values.shape
        projected = linear(values.to(self.weight.dtype), self.weight, self.bias).view(
            batch, frames, 3, self.heads, width // self.heads
        )
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return apply(self.out, mixed.transpose(1, 2).reshape(batch, frames, width)).float()
