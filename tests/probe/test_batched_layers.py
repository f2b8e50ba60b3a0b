"""Products and rectified units with gradients of their own, against torch's."""

import pytest
import torch

from toolkit.probe.batched_layers import product, rectified

ROWS = (32, 64, 32, 128)


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 8e-3)])
def test_a_product_and_its_gradient_are_torch_s_to_the_rounding_of_the_inputs(dtype: torch.dtype, bound: float) -> None:
    weight, inputs, back = drawn(sum(ROWS), 96).requires_grad_(), drawn(40, 96).to(dtype), drawn(sum(ROWS), 40)
    found = product(weight, inputs, ROWS)
    (gradient,) = torch.autograd.grad(found, weight, back)
    expected = weight.detach() @ inputs.float().T
    assert found.dtype == gradient.dtype == torch.float32
    assert (found - expected).norm() <= bound * expected.norm()
    expected = back @ inputs.float()
    assert (gradient - expected).norm() <= bound * expected.norm()


def test_in_bfloat16_a_network_s_product_is_the_same_to_the_bit_whatever_the_company() -> None:
    weight, inputs, back = drawn(sum(ROWS), 96).requires_grad_(), drawn(40, 96).bfloat16(), drawn(sum(ROWS), 40)
    together = product(weight, inputs, ROWS)
    (gradient,) = torch.autograd.grad(together, weight, back)
    start = 0
    for rows in ROWS:
        mine = slice(start, start := start + rows)
        own = weight.detach()[mine].clone().requires_grad_()
        alone = product(own, inputs, (rows,))
        assert torch.equal(alone, together[mine])
        assert torch.equal(torch.autograd.grad(alone, own, back[mine])[0], gradient[mine])


@pytest.mark.parametrize("dropping", [True, False])
def test_rectified_units_have_torch_s_gradient(dropping: bool) -> None:
    units, bias, back = drawn(3, 8, 20).requires_grad_(), drawn(3, 8, 1).requires_grad_(), drawn(3, 8, 20)
    scale = torch.tensor([1.0, 1.5, 2.0])[:, None, None]
    kept = (drawn(3, 8, 20).abs() > 0.4).float() if dropping else None
    found = rectified(units, bias, kept, scale)
    expected = (units + bias).relu()
    if kept is not None:
        expected = expected * scale * kept
    torch.testing.assert_close(found, expected)
    for one, other in zip(
        torch.autograd.grad(found, (units, bias), back), torch.autograd.grad(expected, (units, bias), back)
    ):
        torch.testing.assert_close(one, other)
