"""The yardstick: scikit-learn's logistic regression, one fit at a time, in float64 to a tight tolerance."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from toolkit.probe.solver import Penalised, Solution
from toolkit.probe.targets import Targets

TOLERANCE = 1e-9
MAX_ITERATIONS = 100_000


def solve(
    features: npt.NDArray[np.float32], targets: Targets, problems: Sequence[Penalised], tolerance: float = TOLERANCE
) -> list[Solution]:
    """As `toolkit.probe.solver.solve`, by scikit-learn: softmax for multiclass, one against the rest otherwise."""
    matrix = features.astype(np.float64)
    solutions = []
    for problem in problems:
        weights = targets.weights(problem.class_weights)
        if targets.softmax:
            fits = [_fit(matrix, targets.columns.argmax(axis=1), weights[:, 0], problem.C, tolerance)]
        else:
            fits = [
                _fit(matrix, column, weight, problem.C, tolerance)
                for column, weight in zip(targets.columns.T, weights.T)
            ]
        solutions.append(
            Solution(
                np.concatenate([fit.coef_ for fit in fits]).T,
                np.concatenate([fit.intercept_ for fit in fits]),
            )
        )
    return solutions


def _fit(
    matrix: npt.NDArray[np.float64],
    truth: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
    strength: float,
    tolerance: float,
) -> LogisticRegression:
    model = LogisticRegression(C=strength, tol=tolerance, max_iter=MAX_ITERATIONS)
    return model.fit(matrix, truth, sample_weight=weights)
