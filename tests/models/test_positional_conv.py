"""The positional convolution as products, against torch's own."""

import pytest
import torch
from torch import nn

from toolkit.models.positional_conv import by_group


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "groups"), [(128, 16), (19, 16), (4, 2), (1, 1)])
def test_a_product_a_group_is_the_convolution(
    kernel: int, groups: int, bias: bool, dtype: torch.dtype, bound: float
) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv1d(64, 64, kernel, padding=kernel // 2, groups=groups, bias=bias)
    states = torch.randn(3, 37, 64)
    with torch.inference_mode():
        expected = convolution.double()(states.double().transpose(1, 2)).transpose(1, 2)[:, :37]
        found = by_group(convolution.to(dtype), states.to(dtype)).double()
    assert found.shape == expected.shape
    assert float((found - expected).norm() / expected.norm()) < bound
