"""Attention by products of our own against torch's kernel."""

import pytest
import torch
import torch.nn.functional as F

from toolkit.models import attention
from toolkit.models.attention import QUERIES, head_by_head


@pytest.mark.parametrize("masked", ["no", "keys", "all"])
@pytest.mark.parametrize("more", [0, 11])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 2e-6), (torch.bfloat16, 1e-2)])
def test_head_by_head_is_scaled_dot_product_attention(
    masked: str, more: int, dtype: torch.dtype, bound: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "rounded_up", lambda frames, *_: frames + more)
    batch, heads, frames, width = 2, 3, QUERIES + 37, 16
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, batch, heads, frames, width, generator=generator).to(dtype)
    mask = None
    if masked != "no":
        mask = torch.zeros(batch, 1, 1, frames)
        mask[1, ..., frames // 2 :] = float("-inf")
    if masked == "all":
        assert mask is not None
        mask = mask + torch.randn(batch, heads, frames, frames, generator=generator)
    found = head_by_head(query, key, value, mask)
    expected = F.scaled_dot_product_attention(
        query.double(), key.double(), value.double(), attn_mask=None if mask is None else mask.double()
    ).transpose(1, 2)
    assert found.dtype == dtype and found.shape == (batch, frames, heads, width)
    assert (found.double() - expected).norm() <= bound * expected.norm()
