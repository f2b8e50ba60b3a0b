"""Cumulative logits with shared slopes (McCullagh, Regression models for ordinal data, JRSS B, 1980), many at a time.

P(y > j) = sigmoid(x w + b_j) with b falling in j. A problem minimises

    f(w, b) = sum_i -log P(y_i) / n + |w|^2 / (2 C n),

which is convex; strengths of one training part are side by side, so that an iteration of L-BFGS costs two products
whatever their number. On principal axes one over the diagonal of the Hessian is a good first inverse. All in float64.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from toolkit.corpus.labels import IntArray
from toolkit.probe.memory import Pairs, dot
from toolkit.probe.ridge import Decomposed
from toolkit.probe.solver import Solution

TOLERANCE = 1e-10  # distance from the minimum, relative to the objective
MAX_ITERATIONS = 500
HALVINGS = 40
ENOUGH = 1e-4  # of the decrease that the slope promises (Armijo)


def solve(pca: Decomposed, level: IntArray, strengths: Sequence[float], tolerance: float = TOLERANCE) -> list[Solution]:
    """Fit every strength C; `Solution` has one column of coefficients, and the b as intercepts.

    level: (n,) from 0, each up to the highest of at least one clip.
    """
    problems = _Problems(pca, level, strengths)
    variables, shifts = problems.start()
    pairs, last = Pairs(variables), None
    value, gradient, inverse = problems.at(variables, shifts)
    for _ in range(MAX_ITERATIONS):
        if last is not None:
            pairs.add(last[0], gradient - last[1])
        gap = (gradient * gradient * inverse).sum(dim=(1, 2)) / 2
        active = gap > tolerance * value
        if not active.any():
            break
        direction = pairs.direction(gradient, inverse)
        slope = dot(direction, gradient)
        direction = torch.where((slope < 0)[:, None, None], direction, -inverse * gradient)
        slope = dot(direction, gradient)
        along, length = problems.forward(direction), active.double()
        for _ in range(HALVINGS):
            moved = variables + length[:, None, None] * direction
            tried = problems.value(moved, shifts + length[:, None] * along)
            good = tried <= value + ENOUGH * length * slope + 1e-15 * value.abs()
            if good.all():
                break
            length = torch.where(good, length, length / 2)
        length = torch.where(good, length, 0.0)
        step = length[:, None, None] * direction
        if not step.any():
            break  # nothing lower in float64
        last = step, gradient
        variables, shifts = variables + step, shifts + length[:, None] * along
        value, gradient, inverse = problems.at(variables, shifts)
    rank = pca.axes.shape[1]
    coefficients = (pca.axes @ variables[:, 0, :rank].T).cpu().numpy()
    intercepts = variables[:, 0, rank:].cpu().numpy() - (pca.mean.cpu().numpy() @ coefficients)[:, None]
    return [
        Solution(np.ascontiguousarray(coefficients[:, [number]]), intercepts[number])
        for number in range(len(strengths))
    ]


class _Problems:
    """P strengths. Variables are (P, 1, rank + levels - 1), slopes then b; shifts (P, n) are the clips' x w."""

    def __init__(self, pca: Decomposed, level: IntArray, strengths: Sequence[float]) -> None:
        self._scores, self._level = pca.scores, torch.from_numpy(level).to(pca.scores.device)
        self._clips, self._rank = pca.scores.shape
        counts = torch.bincount(self._level).double()
        self._above = 1 - counts.cumsum(0)[:-1] / self._clips  # P(y > j) in training
        self._bends = len(counts) - 1
        self._penalty = 1 / (torch.tensor(list(strengths), dtype=torch.float64).to(pca.scores) * self._clips)
        self._spectrum = pca.values / self._clips
        # Each clip's b above and below its level; the first and last level have one of them alone.
        self._high, self._low = (self._level - 1).clamp(min=0), self._level.clamp(max=self._bends - 1)
        self._first, self._last = self._level == 0, self._level == self._bends

    def start(self) -> tuple[Tensor, Tensor]:
        """No slopes, and the b of the training clips' shares."""
        variables = self._scores.new_zeros(len(self._penalty), 1, self._rank + self._bends)
        variables[..., self._rank :] = (self._above / (1 - self._above)).log()
        return variables, self._scores.new_zeros(len(self._penalty), self._clips)

    def forward(self, variables: Tensor) -> Tensor:
        return variables[:, 0, : self._rank] @ self._scores.T

    def _ends(self, variables: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
        """(P, n) twice: log-odds of more than the level below, and of more than its own."""
        bends = variables[:, 0, self._rank :]
        high = (bends[:, self._high] + shifts).masked_fill(self._first, torch.inf)
        return high, (bends[:, self._low] + shifts).masked_fill(self._last, -torch.inf)

    def value(self, variables: Tensor, shifts: Tensor) -> Tensor:
        """(P,) objectives; infinite where the b are out of order."""
        high, low = self._ends(variables, shifts)
        apart = torch.log1p(-torch.exp((low - high).clamp(max=0)))  # log(1 - e^(low - high))
        loss = -(logsigmoid(high) + logsigmoid(-low) + apart).mean(dim=1)
        bends = variables[:, 0, self._rank :]
        ordered = (bends.diff(dim=1) < 0).all(dim=1)
        slopes = variables[:, 0, : self._rank]
        return torch.where(ordered, loss + self._penalty * slopes.square().sum(dim=1) / 2, torch.inf)

    def at(self, variables: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Objectives, gradients and the inverse of the Hessian's diagonal."""
        high, low = self._ends(variables, shifts)
        a, b = high.sigmoid(), low.sigmoid()
        apart = -torch.expm1(low - high)
        upper, lower = (-high).sigmoid() / ((-low).sigmoid() * apart), b / (a * apart)  # a (1 - a) and b (1 - b) / P
        gradient, curvature = torch.zeros_like(variables), torch.zeros_like(variables)
        rank = self._rank
        slopes = self._penalty[:, None] * variables[:, 0, :rank]
        gradient[:, 0, :rank] = (a + b - 1) @ self._scores / self._clips + slopes
        bend = (a * (1 - a) + b * (1 - b)).mean(dim=1, keepdim=True)
        curvature[:, 0, :rank] = bend * self._spectrum + self._penalty[:, None]
        places = gradient[:, 0, rank:], curvature[:, 0, rank:]
        for ends, none, first, second in (
            (self._high, self._first, -upper, upper * (upper - 1 + 2 * a)),
            (self._low, self._last, lower, lower * (lower + 1 - 2 * b)),
        ):
            for place, values in zip(places, (first, second), strict=True):
                place.index_add_(1, ends, values.masked_fill(none, 0.0) / self._clips)
        return self.value(variables, shifts), gradient, curvature.clamp(min=1e-12).reciprocal()
