"""What L-BFGS remembers of its last steps, for many problems at once; see `toolkit.probe.lbfgs` for the shapes."""

import torch
from torch import Tensor

MEMORY = 8  # pairs of steps and gradient changes; 3 to 20 differ by a tenth, the diagonal given does most of the work
CURVED = 1e-10  # product of a step and its change of gradient, over the step's square, below which it is useless


class Pairs:
    """The last steps and gradient changes of P problems, oldest first, each pair scaled so that their product is 1.

    (P, pairs, q R) both. A useless pair is 0 and does nothing.
    """

    def __init__(self, variables: Tensor) -> None:
        self._steps = self._changes = variables.flatten(1)[:, None][:, :0]

    def add(self, step: Tensor, change: Tensor) -> None:
        product = dot(step, change)
        scale = torch.where(product > CURVED * dot(step, step), product.rsqrt(), 0).to(step)[:, None, None]
        self._steps, self._changes = (
            torch.cat([before[:, -(MEMORY - 1) :], one.flatten(1)[:, None] * scale], dim=1)
            for before, one in ((self._steps, step), (self._changes, change))
        )

    def keep(self, problems: Tensor) -> None:
        self._steps, self._changes = self._steps[problems], self._changes[problems]

    def direction(self, gradient: Tensor, inverse: Tensor) -> Tensor:
        """Minus the inverse Hessian times the gradient (P, q, R), L-BFGS around the diagonal `inverse` (P, 1, R).

        In the compact form of Byrd, Nocedal and Schnabel (1994, theorem 2.2): four products in place of two loops.
        """
        first, pairs = gradient * inverse, self._steps.shape[1]
        if not pairs:
            return first.neg_()
        per_column = self._changes.view(*self._changes.shape[:2], *gradient.shape[1:])
        both = torch.cat([self._steps, (per_column * inverse[:, None]).flatten(2)], dim=1)  # (P, 2 pairs, q R)
        along = (both @ gradient.flatten(1)[:, :, None]).double()
        crossed = (both @ self._changes.mT).double()
        triangle = crossed[:, :pairs].triu()
        diagonal = triangle.diagonal(dim1=1, dim2=2)
        diagonal += diagonal == 0  # a pair of zeros
        inner = torch.linalg.solve_triangular(triangle, along[:, :pairs], upper=True)
        outer = diagonal[:, :, None] * inner + crossed[:, pairs:] @ inner - along[:, pairs:]
        outer = torch.linalg.solve_triangular(triangle.mT, outer, upper=False)
        shares = torch.cat([outer, -inner], dim=1).to(first)
        return torch.baddbmm(first.flatten(1)[:, :, None], both.mT, shares, beta=-1, alpha=-1).view_as(first)


def total(values: Tensor) -> Tensor:
    """(P, any, any) float32 -> (P,) float64. torch adds float32 in pairs; a sum in float64 would first copy it all."""
    return values.sum(dim=(1, 2)).double()


def dot(left: Tensor, right: Tensor) -> Tensor:
    """(P, q, R) twice -> (P,) float64."""
    return total(left * right)
