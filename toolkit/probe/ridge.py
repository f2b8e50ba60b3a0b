"""Ridge regression in closed form: every strength and target of one training part from one eigendecomposition.

With a centred matrix X = U S V', ridge's solution (Hoerl and Kennard, Technometrics, 1970) for every penalty alpha is

    w = V (S^2 + alpha)^-1 S U' y,

so that after one decomposition of the smaller Gram matrix (width x width, or n x n for fewer clips than features) each
strength costs a product with a thin matrix. All in float64.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from toolkit.probe.targets import FloatArray

RANK_TOLERANCE = 1e-12  # of the largest eigenvalue; below it is rounding
BLOCK = 192  # columns of a symmetric product; torch's own computes both halves


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


def decompose(features: npt.NDArray[np.floating], device: str = "cpu") -> Decomposed:
    """The principal axes of a matrix (n, width)."""
    matrix = torch.from_numpy(np.asarray(features, dtype=np.float64)).to(device)
    mean = matrix.mean(dim=0)
    matrix = matrix - mean
    wide = len(matrix) < matrix.shape[1]
    values, vectors = torch.linalg.eigh(_lower_gram(matrix.T if wide else matrix))
    kept = values > values[-1].clamp(min=1e-300) * RANK_TOLERANCE
    values, vectors = values[kept], vectors[:, kept]
    if wide:
        vectors = matrix.T @ (vectors / values.sqrt())
    return Decomposed(mean, matrix, vectors, values)


def _lower_gram(matrix: Tensor) -> Tensor:
    """The lower triangle of matrix.T @ matrix, which is all that `eigh` reads; above it are blocks of zeros."""
    width = matrix.shape[1]
    gram = matrix.new_zeros(width, width)
    for begin in range(0, width, BLOCK):
        end = min(begin + BLOCK, width)
        gram[begin:end, :end] = matrix[:, begin:end].T @ matrix[:, :end]
    return gram


def solve(pca: Decomposed, truth: FloatArray, penalties: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Every penalty's coefficients and intercepts for every target.

    Args:
        own: The training clips.
        truth: (n, targets).
        penalties: (strengths,) alpha of sum of squared errors + alpha |w|^2, scikit-learn's Ridge(alpha).

    Returns:
        (strengths, width, targets) coefficients and (strengths, targets) intercepts, float64.
    """
    wanted = torch.from_numpy(np.asarray(truth, dtype=np.float64)).to(pca.axes)
    centre = wanted.mean(dim=0)
    along = pca.axes.T @ ((wanted - centre).T @ pca.matrix).T  # the matrix read by rows: six times as fast
    strengths = torch.from_numpy(np.asarray(penalties, dtype=np.float64)).to(pca.axes)
    shrunk = along[:, None] / (pca.values[:, None] + strengths)[..., None]  # (rank, strengths, targets)
    coefficients = (pca.axes @ shrunk.flatten(1)).view(-1, *shrunk.shape[1:]).movedim(0, 1).contiguous()
    intercepts = centre - torch.einsum("w,swt->st", pca.mean, coefficients)
    return coefficients.cpu().numpy(), intercepts.cpu().numpy()
