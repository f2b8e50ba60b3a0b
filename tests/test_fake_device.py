"""The made-up device refuses what CUDA refuses, and computes what the CPU does."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.fake_device import elsewhere


@pytest.mark.parametrize(
    "mixed",
    [
        lambda there, here: there + here,
        lambda there, here: here @ there,
        lambda there, here: here[there[0].long()],
        lambda there, here: torch.cat([there, here]),
        lambda there, here: torch.where(there > 0, here, 0.0),
        lambda there, here: torch.mm(there, there, out=here),
        lambda there, here: there.numpy(),
    ],
)
def test_what_mixes_devices_is_refused(mixed: Callable[[Tensor, Tensor], object]) -> None:
    with elsewhere() as device, pytest.raises((RuntimeError, TypeError)):
        mixed(torch.eye(3, device=device), torch.eye(3))


def test_numbers_views_gradients_and_copies_are_the_cpu_s() -> None:
    here = torch.arange(12.0).view(3, 4)
    with elsewhere() as device:
        there = here.to(device)
        there[0].mul_(2)
        there[:, torch.tensor([1])] = 7.0
        weight = torch.tensor([[1.0], [2.0], [3.0], [4.0]], device=device, requires_grad=True)
        (there @ weight).square().sum().backward()  # type: ignore[no-untyped-call]
        assert weight.grad is not None and weight.grad.device == there.device == device
        found, gradient = there.cpu(), weight.grad.cpu()
        assert (float(there.sum()), bool((there > 0).any())) == (float(found.sum()), True)
    assert torch.equal(here, torch.arange(12.0).view(3, 4))
    expected = here.clone()
    expected[0] *= 2
    expected[:, 1] = 7.0
    assert torch.equal(found, expected)
    assert torch.equal(gradient, 2 * expected.T @ (expected @ torch.tensor([[1.0], [2.0], [3.0], [4.0]])))
