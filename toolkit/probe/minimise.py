"""Batched L-BFGS for penalised losses that are linear in a shared matrix; see `toolkit.probe.solver` for the objective.

Shapes: n clips, P problems, q columns a problem, r axes. Variables are (r + 1, q, P), the last row the intercepts.
Problems come last: a softmax over q is then five times faster, and what is per problem broadcasts by itself.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from toolkit.products import linear

MEMORY = 5  # pairs of steps and gradient changes; the diagonal below does most of the work
MAX_ITERATIONS = 500
LINE_SEARCH_PASSES = 10
SLOPE_LEFT = 0.3  # a step is accepted when the slope along it has fallen to this share
DROP_SHARE = 0.1  # of the problems must have converged before the others are copied together


class Loss(Protocol):
    """Weighted mean losses of P problems, seen through the error: probability minus truth, (n, q, P).

    The error is computed without cancellation, since separable problems live on errors far below float32's 1e-7 of 1;
    p (1 - p) is then |error| (1 - |error|).
    """

    @property
    def weights(self) -> Tensor:
        """(n, 1, P), each problem's adding up to 1."""
        ...

    def error(self, logits: Tensor) -> Tensor: ...

    def bend(self, error: Tensor, direction: Tensor) -> Tensor:
        """Second derivative along `direction` (n, q, P): (P,) float64."""
        ...

    def keep(self, problems: Tensor) -> "Loss":
        """The same for some of the problems."""
        ...


@dataclass(frozen=True)
class Logistic:
    """sign: (n, 1, P), 1 for positives and -1 for negatives; weights: (n, 1, P), each problem's adding up to 1."""

    sign: Tensor
    weights: Tensor

    def error(self, logits: Tensor) -> Tensor:
        return (self.sign * logits).neg_().sigmoid_().mul_(self.sign).neg_()

    def bend(self, error: Tensor, direction: Tensor) -> Tensor:
        size = error.abs()
        return _sum((1 - size).mul_(size).mul_(direction).mul_(direction).mul_(self.weights))

    def keep(self, problems: Tensor) -> "Logistic":
        return Logistic(self.sign[..., problems], self.weights[..., problems])


@dataclass(frozen=True)
class Softmax:
    """truth: (n, q, 1), one-hot; weights: (n, 1, P), each problem's adding up to 1."""

    truth: Tensor
    weights: Tensor

    def error(self, logits: Tensor) -> Tensor:
        others = logits.softmax(dim=1).mul_(1 - self.truth)
        return others.sub_(self.truth * others.sum(dim=1, keepdim=True))

    def bend(self, error: Tensor, direction: Tensor) -> Tensor:
        probability = error + self.truth
        mean = (probability * direction).sum(dim=1, keepdim=True)
        return _sum((direction - mean).square_().mul_(probability).mul_(self.weights))

    def keep(self, problems: Tensor) -> "Softmax":
        return Softmax(self.truth, self.weights[..., problems])


@dataclass
class _State:
    """The problems that are still being solved."""

    members: Tensor  # (P,) which they are
    loss: Loss
    penalty: Tensor  # (r + 1, 1, P), 0 for the intercept
    variables: Tensor
    logits: Tensor
    error: Tensor
    pairs: deque[tuple[Tensor, Tensor, Tensor]] = field(default_factory=lambda: deque(maxlen=MEMORY))
    last: tuple[Tensor, Tensor] | None = None  # the step just taken, and the gradient before it

    def keep(self, problems: Tensor) -> None:
        self.members, self.loss = self.members[problems], self.loss.keep(problems)
        self.penalty, self.variables = self.penalty[..., problems], self.variables[..., problems]
        self.logits, self.error = self.logits[..., problems], self.error[..., problems]
        pairs = [(step[..., problems], change[..., problems], scale[problems]) for step, change, scale in self.pairs]
        self.pairs = deque(pairs, maxlen=MEMORY)


def minimise(
    matrix: Tensor, spectrum: Tensor, loss: Loss, penalty: Tensor, columns: int, tolerance: float
) -> tuple[Tensor, int]:
    """Minimise every problem from 0; returns the variables (r + 1, q, P) and the iterations it took.

    matrix: (n, r) float32; spectrum: (r,) mean square of each column; penalty: (P,) factor of half the squared norm;
    columns: q. A problem is done when its gap, half the squared gradient in the metric of the inverse Hessian's
    diagonal, is below `tolerance` of the objective.
    """
    n, rank = matrix.shape
    transposed = matrix.T.contiguous()  # a gradient reads it along its rows
    found = matrix.new_zeros(rank + 1, columns, len(penalty))
    penalties = penalty.to(matrix).expand(rank + 1, 1, -1).clone()
    penalties[-1] = 0
    spectrum = torch.cat([spectrum.to(matrix), matrix.new_ones(1)])[:, None, None]
    logits = matrix.new_zeros(n, columns, len(penalty))
    everyone = torch.arange(len(penalty), device=matrix.device)
    state = _State(everyone, loss, penalties, found.clone(), logits, loss.error(logits))
    for iteration in range(MAX_ITERATIONS):  # noqa: B007
        weighted = state.error * state.loss.weights
        penalised = state.penalty * state.variables
        gradient = _backward(transposed, weighted).add_(penalised)
        size = weighted.abs_()
        curvature = _sum((1 - state.error.abs()).mul_(size)) / columns
        inverse = 1 / torch.addcmul(state.penalty, curvature.to(matrix), spectrum).clamp_(min=1e-12)
        if state.last is not None:
            _remember(state, state.last[0], gradient - state.last[1])
        # About the objective: the loss is about the error where it is small, and about 1 where it is not.
        objective = _sum(size) + _dot(penalised, state.variables) / 2
        active = _dot(gradient, inverse * gradient) / 2 > tolerance * objective
        if not active.any():
            break
        if active.double().mean() <= 1 - DROP_SHARE:
            found[..., state.members] = state.variables
            state.keep(active)
            gradient, inverse = gradient[..., active], inverse[..., active]
        _step(matrix, state, gradient, inverse)
    found[..., state.members] = state.variables
    return found, iteration


def _step(matrix: Tensor, state: _State, gradient: Tensor, inverse: Tensor) -> None:
    """Move along the L-BFGS direction, or against the gradient where that does not lead down."""
    direction = _direction(state, gradient, inverse)
    slope = _dot(direction, gradient)
    if (slope >= 0).any():
        direction = torch.where(slope >= 0, -inverse * gradient, direction)
        slope = _dot(direction, gradient)
    length = _line_search(state, _forward(matrix, direction), direction, slope)
    step = direction.mul_(length)
    state.variables = state.variables + step
    state.last = (step, gradient)


def _line_search(state: _State, along: Tensor, direction: Tensor, first: Tensor) -> Tensor:
    """(P,) step lengths that leave SLOPE_LEFT of the slope `first`, by Newton's method inside a bracket.

    along: the change of the logits for a step of 1. Moves the state's logits and errors.
    """
    linear = _dot(state.penalty * state.variables, direction)
    square = _dot(state.penalty * direction, direction)
    length = -first / (state.loss.bend(state.error, along) + square)
    low, high = torch.zeros_like(first), torch.full_like(first, torch.inf)
    for trial in range(LINE_SEARCH_PASSES):
        logits = torch.addcmul(state.logits, along, length.to(along))
        error = state.loss.error(logits)
        slope = _sum((error * state.loss.weights).mul_(along)) + linear + length * square
        done = slope.abs() <= SLOPE_LEFT * first.abs()
        if done.all() or trial == LINE_SEARCH_PASSES - 1:
            break
        low, high = torch.where(slope < 0, length, low), torch.where(slope > 0, length, high)
        newton = length - slope / (state.loss.bend(error, along) + square)
        middle = torch.where(high.isinf(), 4 * length, (low + high) / 2)
        inside = (newton > low) & (newton < high) & (newton < 10 * length)
        length = torch.where(done, length, torch.where(inside, newton, middle))
    state.logits, state.error = logits, error
    return length.to(along)


def _remember(state: _State, step: Tensor, change: Tensor) -> None:
    """Keep the pair; where it has no curvature to tell of, with scale 0, which makes it do nothing."""
    product = _dot(step, change)
    scale = torch.where(product > 1e-10 * _dot(step, step), 1 / product, 0)
    state.pairs.append((step, change, scale))


def _direction(state: _State, gradient: Tensor, inverse: Tensor) -> Tensor:
    """Minus the inverse Hessian times the gradient: the two loops of L-BFGS around the diagonal `inverse`."""
    result = gradient.clone()
    shares = []
    for step, change, scale in reversed(state.pairs):
        share = (scale * _dot(step, result)).to(result)
        result.sub_(share * change)
        shares.append(share)
    result.mul_(inverse)
    for (step, change, scale), share in zip(state.pairs, reversed(shares), strict=True):
        result.add_(step * (share - (scale * _dot(change, result)).to(result)))
    return result.neg_()


def _forward(matrix: Tensor, variables: Tensor) -> Tensor:
    """(r + 1, q, P) -> logits (n, q, P)."""
    flat = variables.reshape(len(variables), -1)
    return linear(matrix, flat[:-1].T, flat[-1]).view(len(matrix), *variables.shape[1:])


def _backward(transposed: Tensor, residual: Tensor) -> Tensor:
    """(n, q, P) -> (r + 1, q, P). transposed: (r, n), the matrix."""
    flat = residual.reshape(len(residual), -1)
    gradient = torch.cat([linear(transposed, flat.T), flat.sum(dim=0, dtype=torch.float64).to(flat)[None]])
    return gradient.view(-1, *residual.shape[1:])


def _sum(values: Tensor) -> Tensor:
    """(any, q, P) float32 -> (P,) float64."""
    return values.sum(dim=(0, 1), dtype=torch.float64)


def _dot(left: Tensor, right: Tensor) -> Tensor:
    """(r + 1, q, P) twice -> (P,) float64."""
    return _sum(left * right)
