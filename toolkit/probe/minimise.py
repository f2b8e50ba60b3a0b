"""Batched L-BFGS for penalised losses that are linear in a shared matrix; see `toolkit.probe.solver` for the objective.

Shapes: n clips, P problems, q columns a problem, r axes. Variables are (P, q, R), of the axes, then the intercept, then
padding that stays 0. Clips and axes come last: every pass runs along memory (a softmax over q is seven times faster
than with problems last), and problems that are done are dropped without touching the others.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from toolkit.products import linear

VECTOR = 16  # float32 values in the widest vector register
MEMORY = 5  # pairs of steps and gradient changes; the diagonal below does most of the work
MAX_ITERATIONS = 500
LINE_SEARCH_PASSES = 10
SLOPE_LEFT = 0.3  # a step is accepted when the slope along it has fallen to this share
DROP_SHARE = 0.1  # of the problems must have converged before the others are copied together


class Loss(Protocol):
    """Weighted mean losses of P problems, seen through the error: probability minus truth, (P, q, n).

    The error is computed without cancellation, since separable problems live on errors far below float32's 1e-7 of 1;
    p (1 - p) is then |error| (1 - |error|).
    """

    @property
    def weights(self) -> Tensor:
        """(P, 1, n), each problem's adding up to 1."""
        ...

    def error(self, logits: Tensor) -> Tensor: ...

    def bend(self, error: Tensor, direction: Tensor) -> Tensor:
        """Second derivative along `direction` (P, q, n): (P,) float64."""
        ...

    def keep(self, problems: Tensor) -> "Loss":
        """The same for some of the problems."""
        ...


@dataclass(frozen=True)
class Logistic:
    """sign: (P, 1, n), 1 for positives and -1 for negatives; weights: (P, 1, n), each problem's adding up to 1."""

    sign: Tensor
    weights: Tensor

    def error(self, logits: Tensor) -> Tensor:
        return (self.sign * logits).neg_().sigmoid_().mul_(self.sign).neg_()

    def bend(self, error: Tensor, direction: Tensor) -> Tensor:
        size = error.abs()
        return _sum((1 - size).mul_(size).mul_(direction).mul_(direction).mul_(self.weights))

    def keep(self, problems: Tensor) -> "Logistic":
        return Logistic(self.sign[problems], self.weights[problems])


@dataclass(frozen=True)
class Softmax:
    """truth: (1, q, n), one-hot; weights: (P, 1, n), each problem's adding up to 1."""

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
        return Softmax(self.truth, self.weights[problems])


@dataclass
class _State:
    """The problems that are still being solved."""

    members: Tensor  # (P,) which they are
    loss: Loss
    penalty: Tensor  # (P, 1, R), 0 for the intercept
    variables: Tensor
    logits: Tensor
    error: Tensor
    pairs: deque[tuple[Tensor, Tensor, Tensor]] = field(default_factory=lambda: deque(maxlen=MEMORY))
    last: tuple[Tensor, Tensor] | None = None  # the step just taken, and the gradient before it

    def keep(self, problems: Tensor) -> None:
        self.members, self.loss = self.members[problems], self.loss.keep(problems)
        self.penalty, self.variables = self.penalty[problems], self.variables[problems]
        self.logits, self.error = self.logits[problems], self.error[problems]
        pairs = [(step[problems], change[problems], scale[problems]) for step, change, scale in self.pairs]
        self.pairs = deque(pairs, maxlen=MEMORY)


class _Matrix:
    """The shared matrix with a column of ones for the intercepts, zero-padded to whole vectors, held both ways.

    A thin product is fast where its right factor lies as it is read: 85 to 160 GFLOP/s with 3 to 10 rows on the left,
    30 to 80 the other way round.
    """

    def __init__(self, matrix: Tensor) -> None:
        ones = matrix.new_ones(len(matrix), 1)
        padding = matrix.new_zeros(len(matrix), -(matrix.shape[1] + 1) % VECTOR)
        self._matrix = torch.cat([matrix, ones, padding], dim=1)
        self._transposed = self._matrix.T.contiguous()

    def forward(self, variables: Tensor) -> Tensor:
        """(P, q, R) -> logits (P, q, n)."""
        return _product(variables, self._transposed)

    def backward(self, residual: Tensor) -> Tensor:
        """(P, q, n) -> (P, q, R)."""
        return _product(residual, self._matrix)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """(P, q, k), (k, m) -> (P, q, m)."""
    return linear(left.flatten(0, 1), right.T).view(*left.shape[:2], -1)


def minimise(
    matrix: Tensor, spectrum: Tensor, loss: Loss, penalty: Tensor, columns: int, tolerance: float
) -> tuple[Tensor, int]:
    """Minimise every problem from 0; returns the variables (P, q, r + 1) and the iterations it took.

    matrix: (n, r) float32; spectrum: (r,) mean square of each column; penalty: (P,) factor of half the squared norm;
    columns: q. A problem is done when its gap, half the squared gradient in the metric of the inverse Hessian's
    diagonal, is below `tolerance` of the objective.
    """
    n, rank = matrix.shape
    shared = _Matrix(matrix)
    logits = matrix.new_zeros(len(penalty), columns, n)
    found = torch.zeros_like(shared.backward(logits))
    penalties = penalty.to(matrix)[:, None, None].repeat(1, 1, found.shape[2])
    penalties[..., rank] = 0
    spectrum = functional.pad(torch.cat([spectrum.to(matrix), matrix.new_ones(1)]), (0, found.shape[2] - rank - 1))
    everyone = torch.arange(len(penalty), device=matrix.device)
    state = _State(everyone, loss, penalties, found.clone(), logits, loss.error(logits))
    for iteration in range(MAX_ITERATIONS):  # noqa: B007
        weighted = state.error * state.loss.weights
        penalised = state.penalty * state.variables
        gradient = shared.backward(weighted).add_(penalised)
        size = weighted.abs_()
        curvature = _sum((1 - state.error.abs()).mul_(size)) / columns
        inverse = 1 / torch.addcmul(state.penalty, _each(curvature, matrix), spectrum).clamp_(min=1e-12)
        if state.last is not None:
            _remember(state, state.last[0], gradient - state.last[1])
        # About the objective: the loss is about the error where it is small, and about 1 where it is not.
        objective = _sum(size) + _dot(penalised, state.variables) / 2
        active = _dot(gradient, inverse * gradient) / 2 > tolerance * objective
        if not active.any():
            break
        if active.double().mean() <= 1 - DROP_SHARE:
            found[state.members] = state.variables
            state.keep(active)
            gradient, inverse = gradient[active], inverse[active]
        _step(shared, state, gradient, inverse)
    found[state.members] = state.variables
    return found[..., : rank + 1], iteration


def _step(matrix: _Matrix, state: _State, gradient: Tensor, inverse: Tensor) -> None:
    """Move along the L-BFGS direction, or against the gradient where that does not lead down."""
    direction = _direction(state, gradient, inverse)
    slope = _dot(direction, gradient)
    if (slope >= 0).any():
        direction = torch.where((slope >= 0)[:, None, None], -inverse * gradient, direction)
        slope = _dot(direction, gradient)
    length = _line_search(state, matrix.forward(direction), direction, slope)
    step = direction.mul_(length)
    state.variables = state.variables + step
    state.last = (step, gradient)


def _line_search(state: _State, along: Tensor, direction: Tensor, first: Tensor) -> Tensor:
    """(P, 1, 1) step lengths that leave SLOPE_LEFT of the slope `first`, by Newton's method inside a bracket.

    along: the change of the logits for a step of 1. Moves the state's logits and errors.
    """
    linear = _dot(state.penalty * state.variables, direction)
    square = _dot(state.penalty * direction, direction)
    length = -first / (state.loss.bend(state.error, along) + square)
    low, high = torch.zeros_like(first), torch.full_like(first, torch.inf)
    for trial in range(LINE_SEARCH_PASSES):
        logits = torch.addcmul(state.logits, along, _each(length, along))
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
    return _each(length, along)


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
        share = _each(scale * _dot(step, result), result)
        result.sub_(share * change)
        shares.append(share)
    result.mul_(inverse)
    for (step, change, scale), share in zip(state.pairs, reversed(shares), strict=True):
        result.add_(step * (share - _each(scale * _dot(change, result), result)))
    return result.neg_()


def _each(values: Tensor, like: Tensor) -> Tensor:
    """(P,) float64 -> (P, 1, 1) in the dtype of `like`."""
    return values.to(like)[:, None, None]


def _sum(values: Tensor) -> Tensor:
    """(P, any, any) float32 -> (P,) float64."""
    return values.sum(dim=(1, 2), dtype=torch.float64)


def _dot(left: Tensor, right: Tensor) -> Tensor:
    """(P, q, R) twice -> (P,) float64."""
    return _sum(left * right)
