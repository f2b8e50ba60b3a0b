"""The linear probe: L2-penalised logistic regression on standardised statistics of one layer."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from toolkit.features.layout import LayerFeatures
from toolkit.labels import IntArray, Task
from toolkit.probe.fitting import Fit, Model
from toolkit.probe.search import Setting
from toolkit.probe.solver import Penalised, Solution, solve
from toolkit.probe.targets import FloatArray, Scaler, Targets, scaler_of, targets_of


class LinearFitter:
    """Linear probes on one layer. truth: as in Predictions, a row per clip of `features`."""

    def __init__(self, features: LayerFeatures, task: Task, truth: IntArray, seed: int) -> None:
        self._features, self._task, self._truth = features, task, truth

    def search(self, train: IntArray, development: IntArray, settings: Sequence[Setting], name: str) -> list[Fit]:
        """Settings that share a matrix are solved together."""
        targets = targets_of(self._task, self._truth[train])
        fits: list[Fit | None] = [None] * len(settings)
        for statistics in sorted({str(setting["statistics"]) for setting in settings}):
            members = [number for number, setting in enumerate(settings) if setting["statistics"] == statistics]
            for number, fit in zip(
                members,
                self._fit(train, development, statistics, targets, [settings[number] for number in members]),
                strict=True,
            ):
                fits[number] = fit
        return [fit for fit in fits if fit is not None]

    def refit(self, train: IntArray, test: IntArray, setting: Setting, steps: int, name: str) -> Fit:
        """One setting, to be kept: the model holds scaler, coefficients and intercepts in float64."""
        targets = targets_of(self._task, self._truth[train])
        return self._fit(train, test, str(setting["statistics"]), targets, [setting])[0]

    def _fit(
        self, train: IntArray, held_out: IntArray, statistics: str, targets: Targets, settings: Sequence[Setting]
    ) -> list[Fit]:
        matrix = self._features.matrix(statistics)
        scaler = scaler_of(matrix[train])
        if not len(targets.fitted):
            constant = np.tile(targets.prevalence, (len(held_out), 1))
            return [Fit(constant) for _ in settings]
        problems = [Penalised(float(setting["C"]), str(setting["class_weights"])) for setting in settings]
        solutions = solve(scaler(matrix[train]), targets, problems)
        held_out_features = scaler(matrix[held_out])
        return [
            Fit(
                targets.probability(predict(held_out_features, solution, targets.softmax), self._task),
                model=_model(scaler, solution, targets),
            )
            for solution in solutions
        ]


def predict(features: npt.NDArray[np.float32], solution: Solution, as_softmax: bool) -> FloatArray:
    """(n, n_fitted) probabilities from standardised features (n, width), in float64."""
    matrix = torch.from_numpy(features).double()  # torch's product: on one thread, as the run asks
    logits = matrix @ torch.from_numpy(solution.coefficients) + torch.from_numpy(solution.intercepts)
    return (logits.softmax(dim=1) if as_softmax else logits.sigmoid()).numpy()


def _model(scaler: Scaler, solution: Solution, targets: Targets) -> Model:
    return {
        "mean": scaler.mean,
        "scale": scaler.scale,
        "coefficients": solution.coefficients,
        "intercepts": solution.intercepts,
        "fitted": targets.fitted,
        "prevalence": targets.prevalence,
    }
