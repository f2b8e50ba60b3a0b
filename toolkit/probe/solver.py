"""Many L2-penalised logistic regressions that share a matrix, solved together as columns of the same products.

A problem minimises, over coefficients w (width, q) and intercepts b (q,),

    f(w, b) = sum_i v_i loss(y_i, x_i w + b) / n + |w|^2 / (2 C n),    with sum_i v_i = n,

which is scikit-learn's LogisticRegression objective divided by C n; q is 1 with a logistic loss, or the number of
classes with a softmax. The columns of all problems are side by side: one iteration of L-BFGS (Liu and Nocedal, 1989),
or of conjugate gradients where the matrix is small, costs two products with the matrix, however many problems there
are. What makes it fast on badly conditioned features:

- The matrix is rotated onto its principal axes, where the Hessian is nearly diagonal: the loss's mean curvature times
  the variance there, plus the penalty. One over that diagonal is the initial inverse Hessian.
- Logits are linear in the step, so a line search needs no product, only passes over (n, columns).
- Problems that have converged are dropped.

Products are float32; sums, dot products and decisions are float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from toolkit.core.matmul import linear
from toolkit.probe.lbfgs import Logistic, Loss, Shared, Softmax, minimise
from toolkit.probe.targets import FloatArray, Targets

RANK_TOLERANCE = 1e-10  # of the largest eigenvalue; below it is standardised features' rounding to float32
TOLERANCE = 1e-9  # distance from the minimum, relative to the objective


@dataclass(frozen=True)
class Penalised:
    """One regularised fit.

    C: inverse strength of the L2 penalty. class_weights: "none" or "balanced". weights: of blocks of features, what
    each one's C is C times; empty for a matrix of one.
    """

    C: float
    class_weights: str = "none"
    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class Solution:
    """coefficients: (width, n_fitted) float64; intercepts: (n_fitted,)."""

    coefficients: FloatArray
    intercepts: FloatArray


@dataclass(frozen=True)
class Rotated:
    """A standardised matrix on orthonormal axes.

    shared: (n, rank) float32. axes: (width, rank). ranks: of each block where blocks have axes of their own, which
    leaves the penalty of each diagonal.
    """

    shared: Shared
    axes: Tensor
    ranks: tuple[int, ...] = ()


def rotate(features: npt.NDArray[np.float32], axes: Tensor | None = None, device: str = "cpu") -> Rotated:
    """Rotate a standardised matrix (n, width), onto its own principal axes unless given (width, width) others.

    With fewer clips than features its own axes are always taken: n of them span all that the fits can use. Any
    orthonormal axes give the same minimum; poor ones only make it slower to find.
    """
    matrix = torch.from_numpy(features).to(device)
    if len(matrix) < matrix.shape[1]:
        axes = _row_axes(matrix.double())
    elif axes is None:
        axes = principal_axes(features, device)
    return Rotated(Shared(linear(matrix, axes.T.float())), axes)


def rotate_blocks(
    features: npt.NDArray[np.float32], widths: Sequence[int], axes: Sequence[Tensor | None], device: str = "cpu"
) -> Rotated:
    """`rotate`, block by block of a standardised matrix (n, sum of widths). axes: of each block, as `rotate` has it."""
    parts, given_axes = [], []
    for block, given in zip(np.split(features, np.cumsum(widths)[:-1], axis=1), axes, strict=True):
        matrix = torch.from_numpy(np.ascontiguousarray(block)).to(device)
        if len(matrix) < matrix.shape[1]:
            given = _row_axes(matrix.double())
        elif given is None:
            given = principal_axes(np.ascontiguousarray(block), device)
        parts.append(linear(matrix, given.T.float()))
        given_axes.append(given)
    ranks = tuple(given.shape[1] for given in given_axes)
    return Rotated(Shared(torch.cat(parts, dim=1)), _block_diagonal(given_axes), ranks)


def _block_diagonal(blocks: Sequence[Tensor]) -> Tensor:
    """(sum of widths, sum of ranks) float64."""
    whole: Tensor = torch.block_diag(*[block.double() for block in blocks])  # type: ignore[no-untyped-call]
    return whole


def principal_axes(features: npt.NDArray[np.float32], device: str = "cpu") -> Tensor:
    """(width, width) float32: eigenvectors of the Gram matrix of standardised features (n, width).

    Orthonormal to float32's rounding: at the minimum, that moves the objective by the square of it.
    """
    matrix = torch.from_numpy(features).to(device)
    transposed = matrix.T.contiguous()
    axes: Tensor = torch.linalg.eigh(linear(transposed, transposed))[1]
    return axes


def _row_axes(matrix: Tensor) -> Tensor:
    """(width, rank) float64: orthonormal axes of what n rows of (n, width) span, n below the width.

    From the Gram matrix of the rows, n x n, which is far smaller than a decomposition of the matrix itself. Its small
    eigenvalues lose digits to the largest: the axes of the last that is kept are orthonormal to 2e-6, as float32's are.
    """
    values, vectors = torch.linalg.eigh(matrix @ matrix.T)
    kept = values > values[-1] * RANK_TOLERANCE
    axes: Tensor = matrix.T @ (vectors[:, kept] / values[kept].sqrt())
    return axes


def solve(
    features: npt.NDArray[np.float32] | Rotated,
    targets: Targets,
    problems: Sequence[Penalised],
    tolerance: float = TOLERANCE,
) -> list[Solution]:
    """Fit every problem to the standardised features (n_clips, width) of one training part."""
    rotated = features if isinstance(features, Rotated) else rotate(features)
    clips, like = rotated.shared.clips, rotated.axes.float()
    weights = np.concatenate([targets.weights(problem.class_weights).T for problem in problems]) / clips
    weights_of = torch.from_numpy(weights).to(like).unsqueeze(1)
    truth = torch.from_numpy(np.ascontiguousarray(targets.columns.T)).to(like)
    loss: Loss
    if targets.softmax:
        loss, columns = Softmax(truth.unsqueeze(0), weights_of), len(targets.fitted)
    else:
        loss, columns = Logistic((1 - 2 * truth).repeat(len(problems), 1).unsqueeze(1), weights_of), 1
    penalty = torch.tensor(
        [1 / (problem.C * clips) for problem in problems for _ in range(targets.n_problems)], dtype=torch.float64
    )
    if rotated.ranks:
        shares = np.repeat([problem.weights for problem in problems], targets.n_problems, axis=0)
        of_axes = torch.from_numpy(np.repeat(shares, rotated.ranks, axis=1))
        penalty = penalty[:, None] / of_axes
    found, _ = minimise(rotated.shared, loss, penalty, columns, tolerance)
    # A softmax's columns are classes, the others' problems are labels: a row for each, setting by setting.
    variables = found.double().view(-1, rotated.axes.shape[1] + 1)
    coefficients = (rotated.axes.double() @ variables[:, :-1].T).cpu().numpy()
    intercepts = variables[:, -1].cpu().numpy()
    slices = [slice(start, start + len(targets.fitted)) for start in range(0, len(variables), len(targets.fitted))]
    return [Solution(np.ascontiguousarray(coefficients[:, mine]), intercepts[mine]) for mine in slices]
