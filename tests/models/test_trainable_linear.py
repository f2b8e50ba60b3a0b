"""The faster linear layer: values and all three gradients of the plain one."""

import copy

import pytest
import torch
from torch import nn

from toolkit.models import trainable_linear
from toolkit.models.trainable_linear import accelerate_linears


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 24), (3, 5, 24), (1, 24)])
def test_it_is_exact_to_rounding(shape: tuple[int, ...], bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainable_linear, "onednn_is_faster", lambda: True)
    plain = nn.Linear(24, 10, bias=bias)
    quick = copy.deepcopy(plain)
    accelerate_linears(quick)
    assert type(quick) is not nn.Linear and quick.state_dict().keys() == plain.state_dict().keys()
    entering = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    gradients = []
    for layer in (plain, quick):
        values = entering.clone().requires_grad_()
        (layer(values).tanh() ** 2).sum().backward()
        gradients.append([values.grad, *(weight.grad for weight in layer.parameters())])
    assert torch.allclose(plain(entering), quick(entering), atol=1e-5)
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(*gradients, strict=True))  # type: ignore[arg-type]


def test_what_is_frozen_gets_no_gradient_and_autocast_stays_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainable_linear, "onednn_is_faster", lambda: True)
    layer = nn.Sequential(nn.Linear(24, 8), nn.Linear(8, 4))
    accelerate_linears(layer)
    layer[0].requires_grad_(False)
    layer(torch.ones(2, 24)).sum().backward()
    assert layer[0].weight.grad is None and layer[1].weight.grad is not None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(torch.ones(2, 24)).dtype == torch.bfloat16
