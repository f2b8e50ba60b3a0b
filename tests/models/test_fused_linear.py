"""The products of a layer, and what of them is not rounded to bfloat16."""

import pytest
import torch

from toolkit.models.fused_linear import Product
from toolkit.models.precision import BFLOAT16, FLOAT32


@pytest.fixture
def drawn() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values (50, 96); a weight (64, 96) and a bias (64,) thirty times as large as what they are multiplied to."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(50, 96, generator=generator).bfloat16().float()
    weight = torch.randn(64, 96, generator=generator) / 96**0.5
    return values, weight, 30 * torch.randn(64, generator=generator)


def error(product: Product, values: torch.Tensor, expected: torch.Tensor) -> float:
    return float((product(values).float() - expected).norm() / (expected - expected.mean(dim=0)).norm())


def test_an_exact_bias_is_not_rounded_and_rounds_nothing(
    drawn: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    values, weight, bias = drawn
    expected = values @ weight.T + bias
    rounded = Product.of(weight, bias, BFLOAT16)
    exact = Product.of(weight, bias, BFLOAT16, exact="bias")
    assert (rounded(values).dtype, exact(values).dtype) == (torch.bfloat16, torch.float32)
    assert error(rounded, values, expected) > 2e-2
    assert error(exact, values, expected) < 4e-3


@pytest.mark.parametrize("biased", [True, False])
def test_an_exact_weight_leaves_only_the_rounding_of_the_product(
    biased: bool, drawn: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
) -> None:
    values, weight, bias = drawn
    expected = values @ weight.T + (bias if biased else 0)
    both = Product.of(weight, bias if biased else None, BFLOAT16, exact="both")
    assert both(values).dtype == torch.float32
    assert error(both, values, expected) < 2e-3


def test_in_float32_nothing_is_rounded(drawn: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    values, weight, bias = drawn
    for exact in ("", "bias", "both"):
        product = Product.of(weight, bias, FLOAT32, exact=exact)  # type: ignore[arg-type]
        torch.testing.assert_close(product(values), values @ weight.T + bias)
