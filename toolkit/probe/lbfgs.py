"""Batched L-BFGS for penalised losses that are linear in a shared matrix; see `toolkit.probe.solver` for the objective.

Shapes: n clips, P problems, q columns a problem, r axes. Variables are (P, q, R), of the axes, then the intercept, then
padding that stays 0. Clips and axes come last: every pass runs along memory (a softmax over q is seven times faster
than with problems last), and problems that are done are dropped without touching the others.

After a few iterations few columns are left, and a pass over them takes hardly more time than its call: what counts is
the number of calls. So where the matrix is small, where a product takes no longer than a call, steps are Newton's
instead, found by conjugate gradients to a share of the way (Dembo and Steihaug, Truncated-Newton algorithms, 1983):
they take half as many products again, and a third of the calls.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from toolkit.core.matmul import linear
from toolkit.probe.memory import Pairs, dot, total

VECTOR = 16  # float32 values in the widest vector register
MAX_ITERATIONS = 500
LINE_SEARCH_PASSES = 10
SLOPE_LEFT = 0.3  # a step is accepted when the slope along it has fallen to this share
DROP_SHARE = 0.1  # of the problems must have converged before the others are copied together
SMALL = 500_000  # elements of a matrix, up to which steps are Newton's
MAX_PRODUCTS = 60  # of the Hessian with a direction, for one of them
RESIDUAL = 0.1  # squared, of a step's equations, at which it is taken; 0.01 to 0.25 differ by a fifth
RESIDUAL_LEFT = 0.3  # of what is tolerated


class Loss(Protocol):
    """Weighted mean losses of P problems, seen through the error: probability minus truth, (P, q, n).

    The error is computed without cancellation, since separable problems live on errors far below float32's 1e-7 of 1;
    p (1 - p) is then |error| (1 - |error|). Logits are held as `orient` gives them, and the error with their sign.
    """

    @property
    def weights(self) -> Tensor:
        """(P, 1, n), each problem's adding up to 1."""
        ...

    def orient(self, logits: Tensor) -> Tensor:
        """To the sign that errors are held in, or back."""
        ...

    def error(self, logits: Tensor) -> Tensor: ...

    def curvature(self, weighted: Tensor, error: Tensor) -> Tensor:
        """w |e| (1 - |e|), from w e and e."""
        ...

    def bend(self, error: Tensor, curvature: Tensor) -> Callable[[Tensor], Tensor]:
        """What multiplies a change of the logits (P, q, n) by the second derivatives there."""
        ...

    def keep(self, problems: Tensor) -> "Loss":
        """The same for some of the problems, (kept,) their numbers."""
        ...


@dataclass(frozen=True)
class Logistic:
    """against: (P, 1, n), -1 for positives and 1 for negatives; weights: (P, 1, n), each problem's adding up to 1."""

    against: Tensor
    weights: Tensor

    def orient(self, logits: Tensor) -> Tensor:
        return logits * self.against

    def error(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def curvature(self, weighted: Tensor, error: Tensor) -> Tensor:
        return torch.addcmul(weighted, weighted, error, value=-1)

    def bend(self, error: Tensor, curvature: Tensor) -> Callable[[Tensor], Tensor]:
        return curvature.mul

    def keep(self, problems: Tensor) -> "Logistic":
        return Logistic(self.against[problems], self.weights[problems])


@dataclass(frozen=True)
class Softmax:
    """truth: (1, q, n), one-hot; weights: (P, 1, n), each problem's adding up to 1."""

    truth: Tensor
    weights: Tensor

    def orient(self, logits: Tensor) -> Tensor:
        return logits

    def error(self, logits: Tensor) -> Tensor:
        others = logits.softmax(dim=1).mul_(1 - self.truth)
        return others.sub_(self.truth * others.sum(dim=1, keepdim=True))

    def curvature(self, weighted: Tensor, error: Tensor) -> Tensor:
        return torch.addcmul(weighted.abs(), weighted, error, value=-1)

    def bend(self, error: Tensor, curvature: Tensor) -> Callable[[Tensor], Tensor]:
        probability = error + self.truth
        others = (error * self.weights).mul_(1 - self.truth)

        def times(change: Tensor) -> Tensor:
            mean = (probability * change).sum(dim=1, keepdim=True)
            bent = (change - mean).mul_(others)
            return bent.sub_(self.truth * bent.sum(dim=1, keepdim=True))  # as in `error`, without cancellation

        return times

    def keep(self, problems: Tensor) -> "Softmax":
        return Softmax(self.truth, self.weights[problems])


class Shared:
    """The matrix that all problems share, with a column of ones for the intercepts, zero-padded to whole vectors.

    It is held both ways: a thin product is fast where its right factor is stored as it is read, 64 to 160 GFLOP/s with
    5 to 45 rows on the left, 33 to 106 the other way round. spectrum: (R,) mean square of each column, 0 of the
    padding.
    """

    def __init__(self, matrix: Tensor) -> None:
        self.clips, self.rank = matrix.shape
        self.small = matrix.numel() <= SMALL
        self._matrix = functional.pad(matrix, (0, -(self.rank + 1) % VECTOR + 1))
        self._matrix[:, self.rank] = 1
        self._transposed = self._matrix.T.contiguous()
        self.spectrum = self._transposed.square().mean(dim=1, dtype=torch.float64).to(matrix)

    def zeros(self, problems: int, columns: int) -> tuple[Tensor, Tensor]:
        """Variables and logits of 0."""
        return (
            self._matrix.new_zeros(problems, columns, self._matrix.shape[1]),
            self._matrix.new_zeros(problems, columns, self.clips),
        )

    def forward(self, variables: Tensor) -> Tensor:
        """(P, q, R) -> logits (P, q, n)."""
        return _product(variables, self._transposed)

    def backward(self, residual: Tensor) -> Tensor:
        """(P, q, n) -> (P, q, R)."""
        return _product(residual, self._matrix)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """(P, q, k), (k, m) -> (P, q, m)."""
    return linear(left.flatten(0, 1), right.T).view(*left.shape[:2], -1)


@dataclass
class _State:
    """The problems that are still being solved."""

    members: Tensor  # (P,) which they are
    loss: Loss
    penalty: Tensor  # (P, 1, R), 0 for the intercept
    variables: Tensor
    logits: Tensor  # oriented
    error: Tensor
    pairs: Pairs
    last: tuple[Tensor, Tensor] | None = None  # the step just taken, and the gradient before it

    def keep(self, problems: Tensor) -> None:
        self.members, self.loss = self.members[problems], self.loss.keep(problems)
        self.penalty, self.variables = self.penalty[problems], self.variables[problems]
        self.logits, self.error = self.logits[problems], self.error[problems]
        self.pairs.keep(problems)


def minimise(shared: Shared, loss: Loss, penalty: Tensor, columns: int, tolerance: float) -> tuple[Tensor, int]:
    """Minimise every problem from 0; returns the variables (P, q, r + 1) and the iterations it took.

    penalty: (P,) factor of half the squared norm, or (P, r) one for each axis; columns: q. A problem is done when its
    gap, half the squared gradient in the metric of the inverse Hessian's diagonal, is below `tolerance` of the
    objective.
    """
    found, logits = shared.zeros(len(penalty), columns)
    penalties = found.new_zeros(len(penalty), 1, found.shape[2])
    penalties[..., : shared.rank] = penalty.to(found).view(len(penalty), 1, -1)
    everyone = torch.arange(len(penalty), device=found.device)
    state = _State(everyone, loss, penalties, found.clone(), logits, loss.error(logits), Pairs(found))
    for iteration in range(MAX_ITERATIONS):  # noqa: B007
        weighted = state.error * state.loss.weights
        penalised = state.penalty * state.variables
        gradient = shared.backward(state.loss.orient(weighted)).add_(penalised)
        curvature = state.loss.curvature(weighted, state.error)
        mean = _each(total(curvature) / columns, curvature)
        inverse = torch.addcmul(state.penalty, mean, shared.spectrum).clamp_(min=1e-12).reciprocal_()
        if state.last is not None and not shared.small:
            state.pairs.add(state.last[0], gradient - state.last[1])
        # About the objective: the loss is about the error where it is small, and about 1 where it is not.
        allowed = 2 * tolerance * (total(weighted.abs_()) + dot(penalised, state.variables) / 2)
        active = (total((gradient * gradient).mul_(inverse)) > allowed).nonzero().flatten()
        if not len(active):
            break
        if len(active) <= (1 - DROP_SHARE) * len(state.members):
            found[state.members] = state.variables
            state.keep(active)
            gradient, inverse, curvature, allowed = (each[active] for each in (gradient, inverse, curvature, allowed))
        _step(shared, state, gradient, inverse, curvature, allowed)
    found[state.members] = state.variables
    return found[..., : shared.rank + 1], iteration


def _step(shared: Shared, state: _State, gradient: Tensor, inverse: Tensor, curvature: Tensor, allowed: Tensor) -> None:
    """Move along Newton's or L-BFGS's direction, or against the gradient where that does not lead down."""
    bend = state.loss.bend(state.error, curvature)
    if shared.small:
        direction = _newton(shared, bend, state.penalty, gradient, inverse, RESIDUAL_LEFT * allowed)
    else:
        direction = state.pairs.direction(gradient, inverse)
    slope = dot(direction, gradient)
    if not (slope < 0).all():
        direction = torch.where((slope < 0)[:, None, None], direction, -inverse * gradient)
        slope = dot(direction, gradient)
    along = state.loss.orient(shared.forward(direction))
    step = direction.mul_(_line_search(state, along, direction, slope, bend))
    state.variables = state.variables + step
    state.last = (step, gradient)


def _newton(
    shared: Shared,
    bend: Callable[[Tensor], Tensor],
    penalty: Tensor,
    gradient: Tensor,
    inverse: Tensor,
    allowed: Tensor,
) -> Tensor:
    """About minus the inverse Hessian times the gradient (P, q, R), by conjugate gradients.

    They begin with the diagonal `inverse` (P, 1, R), and a problem ends where its squared residual in that metric is
    RESIDUAL of the gradient's, or `allowed` (P,).
    """
    residual, found = gradient.neg(), torch.zeros_like(gradient)
    direction = residual * inverse
    square = dot(residual, direction)
    goal = torch.maximum(RESIDUAL * square, allowed)
    for _ in range(MAX_PRODUCTS):
        product = shared.backward(bend(shared.forward(direction))).addcmul_(penalty, direction)
        length = _each(torch.where(square > goal, square / dot(direction, product), 0), found)
        found.addcmul_(length, direction)
        residual.addcmul_(length, product, value=-1)
        scaled = residual * inverse
        before, square = square, dot(residual, scaled)
        if not (square > goal).any():
            break
        direction = torch.addcmul(scaled, _each(square / before.clamp(min=1e-300), found), direction)
    return found


def _line_search(
    state: _State, along: Tensor, direction: Tensor, first: Tensor, bend: Callable[[Tensor], Tensor]
) -> Tensor:
    """(P, 1, 1) step lengths that leave SLOPE_LEFT of the slope `first`, by Newton's method inside a bracket.

    along: the change of the logits for a step of 1. Moves the state's logits and errors.
    """
    penalised = state.penalty * direction
    linear, square = dot(penalised, state.variables), dot(penalised, direction)
    length = -first / (dot(bend(along), along) + square)
    weighted = along * state.loss.weights
    low, high = torch.zeros_like(first), torch.full_like(first, torch.inf)
    for trial in range(LINE_SEARCH_PASSES):
        logits = torch.addcmul(state.logits, along, _each(length, along))
        error = state.loss.error(logits)
        slope = dot(error, weighted) + linear + length * square
        done = slope.abs() <= SLOPE_LEFT * first.abs()
        if trial == LINE_SEARCH_PASSES - 1 or done.all():
            break
        low, high = torch.where(slope < 0, length, low), torch.where(slope > 0, length, high)
        bend = state.loss.bend(error, state.loss.curvature(error * state.loss.weights, error))
        newton = length - slope / (dot(bend(along), along) + square)
        middle = torch.where(high.isinf(), 4 * length, (low + high) / 2)
        inside = (newton > low) & (newton < high) & (newton < 10 * length)
        length = torch.where(done, length, torch.where(inside, newton, middle))
    state.logits, state.error = logits, error
    return _each(length, along)


def _each(values: Tensor, like: Tensor) -> Tensor:
    """(P,) float64 -> (P, 1, 1) in the dtype of `like`."""
    return values.to(like)[:, None, None]
