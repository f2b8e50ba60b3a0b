import pytest
import torch
import torch.nn.functional as F

from toolkit.products import linear


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 4e-3)])
@pytest.mark.parametrize("shape", [(33, 64), (2, 17, 64)])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("gelu", [True, False])
def test_a_product_is_torch_s_whichever_library_multiplies(
    dtype: torch.dtype, bound: float, shape: tuple[int, ...], biased: bool, gelu: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    values, weight, bias = (torch.randn(size, generator=generator) for size in (shape, (24, 64), (24,)))
    found = linear(values.to(dtype), weight.to(dtype), bias.to(dtype) if biased else None, gelu=gelu)
    expected = F.linear(
        values.to(dtype).double(), weight.to(dtype).double(), bias.to(dtype).double() if biased else None
    )
    expected = F.gelu(expected) if gelu else expected
    assert found.dtype == dtype and found.shape == (*shape[:-1], 24)
    assert (found.double() - expected).norm() <= bound * expected.norm()
