"""L-BFGS in its compact form against the two loops it stands for."""

import pytest
import torch
from torch import Tensor

from toolkit.probe.memory import MEMORY, Pairs

PROBLEMS, COLUMNS, AXES = 3, 2, 16


def two_loops(pairs: list[tuple[Tensor, Tensor]], gradient: Tensor, inverse: Tensor) -> Tensor:
    """Of one problem, in float64; Nocedal and Wright (2006), algorithm 7.4."""
    result, shares = gradient.clone(), []
    for step, change in reversed(pairs):
        shares.append((step * result).sum() / (step * change).sum())
        result = result - shares[-1] * change
    result = result * inverse
    for (step, change), share in zip(pairs, reversed(shares)):
        result = result + step * (share - (change * result).sum() / (step * change).sum())
    return -result


@pytest.mark.parametrize("steps", [0, 1, MEMORY, 2 * MEMORY + 3])
def test_the_direction_is_that_of_the_two_loops_over_the_last_pairs(steps: int) -> None:
    generator = torch.Generator().manual_seed(steps)
    shape = (PROBLEMS, COLUMNS, AXES)
    root = torch.randn(PROBLEMS, COLUMNS * AXES, COLUMNS * AXES, generator=generator)
    hessian = root @ root.mT / AXES + torch.eye(COLUMNS * AXES)
    inverse = torch.rand(PROBLEMS, 1, AXES, generator=generator) + 0.5
    pairs, history = Pairs(torch.zeros(shape)), []
    gradient = torch.randn(shape, generator=generator)
    for number in range(steps):
        step = torch.randn(shape, generator=generator)
        change = (hessian @ step.flatten(1)[..., None]).view(shape)
        if number == steps - 1:
            change[0] = -change[0]  # the first problem learnt nothing from it
        pairs.add(step, change)
        history.append((step.double(), change.double()))
    found = pairs.direction(gradient, inverse)
    for problem in range(PROBLEMS):
        own = [(step[problem], change[problem]) for step, change in history[-MEMORY:]]
        own = [(step, change) for step, change in own if (step * change).sum() > 0]
        expected = two_loops(own, gradient[problem].double(), inverse[problem].double())
        assert (found[problem] - expected).norm() <= 1e-4 * expected.norm()
