"""Self-attention with one projection for query, key and value: the same numbers in fewer, larger matrix products."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from toolkit.core.matmul import linear, onednn_is_faster, rounded_up
from toolkit.models.fused_linear import Product
from toolkit.models.precision import Precision

LONG = 300  # frames from which `head_by_head` is faster where it may be used at all
QUERIES = 512  # at once, so that their scores stay in the processor's caches


class SelfAttention:
    """Takes over the projections of a Hugging Face attention module.

    The module loses them, so that the weights are not held twice.
    """

    def __init__(self, module: Any, precision: Precision) -> None:
        """precision: of query, key and value. Takes the projections of a Hugging Face module."""
        self.heads: int = module.num_heads
        projections = [module.q_proj, module.k_proj, module.v_proj]
        weight, bias = torch.cat([projection.weight for projection in projections]), None
        if module.q_proj.bias is not None:  # Whisper's keys alone have none
            zeros = torch.zeros_like(module.q_proj.bias)
            bias = torch.cat([zeros if p.bias is None else p.bias for p in projections])
        self.projection = Product.of(weight, bias, precision)
        self.out = Product.taken_from(module.out_proj, precision, exact="both")
        module.q_proj = module.k_proj = module.v_proj = None

    def __call__(self, values: Tensor, mask: Tensor | None) -> Tensor:
        """values: (batch, frames, width) float32; so is what is returned, a tensor of its own.

        mask: float32, added to the scores, broadcasts to (batch, heads, frames, frames).
        """
        batch, frames, width = values.shape
        projected = self.projection(values).view(batch, frames, 3, self.heads, width // self.heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        if values.device.type == "cpu" and frames >= LONG and onednn_is_faster():
            mixed = head_by_head(query, key, value, mask)
        else:
            if mask is not None and mask.device.type != "cpu":  # whose kernel alone takes it in float32
                mask = mask.to(query.dtype)
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2)
        return self.out(mixed.reshape(batch, frames, width))


def head_by_head(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention by oneDNN, where torch's own kernel multiplies by MKL, slowly: half of its time.

    query, key, value: (batch, heads, frames, head width), mask as above. Scores and their softmax are float32. Returns
    (batch, frames, heads, head width) in the dtype of the values.
    """
    batch, heads, frames, width = query.shape
    more = rounded_up(frames, value.dtype, value.device)
    query, key, value = (F.pad(values, (0, 0, 0, more - frames)) for values in (query * width**-0.5, key, value))
    query, key, value = query.float().contiguous(), key.float().contiguous(), value.transpose(2, 3).contiguous()
    bias = None if mask is None else mask.expand(batch, heads, -1, frames)
    mixed = value.new_empty(batch, more, heads, width)
    for clip in range(batch):
        for head in range(heads):
            for first in range(0, frames, QUERIES):
                block = slice(first, first + QUERIES)
                scores = linear(query[clip, head, block], key[clip, head])
                block_scores = scores[: frames - first, :frames]
                if bias is not None:
                    block_scores += bias[clip, head, block if bias.shape[2] > 1 else slice(None)]
                scores[:, frames:] = -torch.inf
                share = torch.softmax(scores, dim=-1).to(value.dtype)
                mixed[clip, block, head] = linear(share, value[clip, head])
    return mixed[:, :frames]
