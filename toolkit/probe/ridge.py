"""Ridge regression in closed form: every strength and target of one training part from one reduction.

With a centred matrix X, ridge's solution (Hoerl and Kennard, Technometrics, 1970) for every penalty alpha is

    w = (X'X + alpha)^-1 X'y = X' (XX' + alpha)^-1 y.

The smaller Gram matrix (width x width, or n x n for fewer clips than features) is made tridiagonal once, Q T Q'
(Householder, as LAPACK's sytrd), and (T + alpha)^-1 costs as much as T has rows: a fourth of the time that its
eigenvectors take (Elden, BIT, 1977, reduces X itself). Proportional odds need these. All in float64.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import lapack
from torch import Tensor

from toolkit.probe.targets import FloatArray

RANK_TOLERANCE = 1e-12  # of the largest eigenvalue; below it is rounding


@dataclass(frozen=True)
class Decomposed:
    """A centred matrix on its principal axes.

    mean: (width,) that was taken off. matrix: (n, width) without it. axes: (width, rank) orthonormal. values: (rank,)
    the sums of squares along them.
    """

    mean: Tensor
    matrix: Tensor
    axes: Tensor
    values: Tensor

    @cached_property
    def scores(self) -> Tensor:
        """(n, rank) the clips on the axes."""
        return self.matrix @ self.axes


@dataclass(frozen=True)
class Tridiagonal:
    """A centred matrix whose smaller Gram matrix is Q T Q'.

    mean: (width,) that was taken off. matrix: (n, width) without it. reflectors: (m, m) and factors: (m - 1,) make Q, m
    the smaller of n and width. diagonal: (m,) and off_diagonal: (m - 1,), of m = 1 a zero, are T.
    """

    mean: Tensor
    matrix: Tensor
    reflectors: FloatArray
    factors: FloatArray
    diagonal: FloatArray
    off_diagonal: FloatArray

    @property
    def wide(self) -> bool:
        """Whether there are fewer clips than features."""
        return len(self.matrix) < self.matrix.shape[1]

    def rotated(self, columns: FloatArray, back: bool = False) -> FloatArray:
        """Q' columns, or Q columns; (m, any)."""
        rows = len(self.diagonal)
        if rows == 1:
            return columns
        below, *_ = lapack.dormqr(
            "L", "N" if back else "T", self.reflectors[1:, :-1], self.factors, columns[1:], 64 * columns.shape[1]
        )
        return np.concatenate([columns[:1], below])


def decompose(features: npt.NDArray[np.floating], device: str = "cpu") -> Decomposed:
    """The principal axes of a matrix (n, width)."""
    mean, matrix = _centred(features, device)
    wide = len(matrix) < matrix.shape[1]
    values, vectors = torch.linalg.eigh(_gram(matrix))
    kept = values > values[-1].clamp(min=1e-300) * RANK_TOLERANCE
    values, vectors = values[kept], vectors[:, kept]
    if wide:
        vectors = matrix.T @ (vectors / values.sqrt())
    return Decomposed(mean, matrix, vectors, values)


def tridiagonal(features: npt.NDArray[np.floating], device: str = "cpu") -> Tridiagonal:
    """What `solve` takes, of a matrix (n, width). device: of the products; LAPACK's are the CPU's."""
    mean, matrix = _centred(features, device)
    gram = _gram(matrix).cpu().numpy()
    room = int(lapack.dsytrd_lwork(len(gram), lower=1)[0])
    reflectors, diagonal, off_diagonal, factors, _ = lapack.dsytrd(gram.T, lower=1, lwork=room, overwrite_a=1)
    return Tridiagonal(mean, matrix, reflectors, factors, diagonal, off_diagonal if off_diagonal.size else np.zeros(1))


def _centred(features: npt.NDArray[np.floating], device: str) -> tuple[Tensor, Tensor]:
    matrix = torch.from_numpy(np.asarray(features, dtype=np.float64)).to(device)
    mean = matrix.mean(dim=0)
    return mean, matrix - mean


def _gram(matrix: Tensor) -> Tensor:
    """The smaller Gram matrix. numpy sees that it is symmetric and computes one half; torch computes both."""
    across = matrix.T if len(matrix) < matrix.shape[1] else matrix
    if matrix.device.type != "cpu":
        return across.T @ across
    return torch.from_numpy(across.numpy().T @ across.numpy())


def solve(reduced: Tridiagonal, truth: FloatArray, penalties: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Every penalty's coefficients and intercepts for every target.

    Args:
        reduced: The training clips.
        truth: (n, targets).
        penalties: (strengths,) alpha of sum of squared errors + alpha |w|^2, scikit-learn's Ridge(alpha).

    Returns:
        (strengths, width, targets) coefficients and (strengths, targets) intercepts, float64.

    Raises:
        numpy.linalg.LinAlgError: for a penalty that is nothing to the features' own rounding.
    """
    wanted = torch.from_numpy(np.asarray(truth, dtype=np.float64)).to(reduced.matrix)
    centre, matrix = wanted.mean(dim=0), reduced.matrix
    known = wanted - centre
    if not reduced.wide:
        known = (known.T @ matrix).T  # the matrix read by rows: six times as fast
    along, solved = reduced.rotated(known.cpu().numpy()), []
    for penalty in penalties:
        *_, found, failed = lapack.dptsv(reduced.diagonal + penalty, reduced.off_diagonal, along)
        if failed:
            raise np.linalg.LinAlgError(f"A penalty of {penalty:g} is too small for these features")
        solved.append(found)
    columns = torch.from_numpy(reduced.rotated(np.concatenate(solved, axis=1), back=True)).to(matrix)
    if reduced.wide:
        columns = matrix.T @ columns
    coefficients = columns.view(len(columns), len(solved), -1).movedim(1, 0).contiguous()
    intercepts = centre - torch.einsum("w,swt->st", reduced.mean, coefficients)
    return coefficients.cpu().numpy(), intercepts.cpu().numpy()
