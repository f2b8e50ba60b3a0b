"""The linear probe of scales: ridge regression for numbers, proportional odds for levels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from toolkit.corpus.labels import IntArray, Task, Truth
from toolkit.features.layout import LayerFeatures
from toolkit.probe import proportional_odds, ridge
from toolkit.probe.protocol import Fit, Found, GiveUp, Model, Relabelled, Setting, by_statistics, never
from toolkit.probe.search import weight_of
from toolkit.probe.solver import Solution
from toolkit.probe.targets import ALL, FloatArray, Scaler, Targets, scaler_of, targets_of
from toolkit.result.links import given_out

SEARCH_TOLERANCE = 1e-7  # of proportional odds, relative to the objective


class ScaleFitter(Relabelled):
    """On one layer. truth: a row per clip of `features`; device: of the products. blocks: as `linear.LinearFitter`.

    A training part is reduced once, for all strengths and targets, and for other truths of the same clips.
    """

    def __init__(
        self,
        features: LayerFeatures,
        task: Task,
        truth: Truth,
        device: str = "cpu",
        blocks: Mapping[str, int] | None = None,
    ) -> None:
        self._features, self._task, self._truth, self._device = features, task, truth, device
        self._blocks = dict(blocks or {})
        self._kept: dict[str, dict[tuple[object, ...], tuple[Scaler, FloatArray, Any]]] = {}

    def search(
        self, train: IntArray, development: IntArray, settings: Sequence[Setting], name: str, give_up: GiveUp = never
    ) -> list[Fit]:
        """Settings of one matrix are solved together."""
        targets = targets_of(self._task, self._truth[train])
        fits: dict[int, Fit] = {}
        for statistics, members in by_statistics(settings):
            weights = {member: self._weights(settings[member]) for member in members}
            for alike in dict.fromkeys(weights.values()):
                mine = [member for member in members if weights[member] == alike]
                strengths = [float(settings[member]["C"]) for member in mine]
                solved = self._solved(name, train, statistics, alike, targets, strengths, SEARCH_TOLERANCE)
                for member, (scaler, solution) in zip(mine, solved, strict=True):
                    given = self._given(scaler, solution, statistics, development, targets)
                    fits[member] = Fit(given, {ALL: len(train)})
        return [fits[number] for number in range(len(settings))]

    def refit(self, train: IntArray, test: IntArray, setting: Setting, found: Found, name: str) -> Fit:
        """C times clips is kept, as `linear.LinearFitter` does; the model holds the same arrays."""
        targets, statistics = targets_of(self._task, self._truth[train]), str(setting["statistics"])
        self._kept.pop(name, None)  # the round's search is over
        strength = float(setting["C"]) * found[ALL] / len(train)
        ((scaler, solution),) = self._solved(
            name, train, statistics, self._weights(setting), targets, [strength], proportional_odds.TOLERANCE
        )
        self._kept.pop(name, None)
        model: Model = {"mean": scaler.mean, "scale": scaler.scale, **vars(solution)}
        return Fit(self._given(scaler, solution, statistics, test, targets), model=model)

    def _weights(self, setting: Setting) -> tuple[float, ...]:
        """Of the blocks; the first one's is 1."""
        return tuple(float(setting.get(weight_of(block), 1)) for block in self._blocks)

    def _given(
        self, scaler: Scaler, solution: Solution, statistics: str, clips: IntArray, targets: Targets
    ) -> FloatArray:
        features = scaler(self._features.matrix(statistics)[clips])
        return targets.probability(predict(features, solution, targets), self._task, "none")

    def _solved(
        self,
        name: str,
        clips: IntArray,
        statistics: str,
        weights: tuple[float, ...],
        targets: Targets,
        strengths: Sequence[float],
        tolerance: float,
    ) -> list[tuple[Scaler, Solution]]:
        if self._task.ordinal:
            level = targets.columns.argmax(axis=1)
            scaler, factors, pca = self._reduced(name, clips, clips, statistics, weights)
            solutions = proportional_odds.solve(pca, level, strengths, tolerance)
            return [(scaler, Solution(factors[:, None] * one.coefficients, one.intercepts)) for one in solutions]
        width = self._features.matrix(statistics).shape[1]
        coefficients = np.zeros((len(strengths), width, len(targets.fitted)))
        intercepts = np.zeros((len(strengths), len(targets.fitted)))
        known = ~np.isnan(targets.columns)
        for mask in np.unique(known, axis=1).T:  # targets that miss a number in the same clips share a reduction
            mine = np.flatnonzero((known == mask[:, None]).all(axis=0))
            scaler, factors, part = self._reduced(name, clips, clips[mask], statistics, weights)
            found, ahead = ridge.solve(part, targets.columns[mask][:, mine], 1 / np.array(strengths))
            coefficients[:, :, mine], intercepts[:, mine] = factors[:, None] * found, ahead
        return [(scaler, Solution(*pair)) for pair in zip(coefficients, intercepts, strict=True)]

    def _reduced(
        self, name: str, clips: IntArray, known: IntArray, statistics: str, weights: tuple[float, ...]
    ) -> tuple[Scaler, FloatArray, Any]:
        """Standardised by all the part's clips, and factors of its columns: a block of weight v is penalised 1 / v."""
        kept, key = self._kept.setdefault(name, {}), (clips.tobytes(), known.tobytes(), statistics, weights)
        if key not in kept:
            matrix = self._features.matrix(statistics)
            scaler = scaler_of(matrix[clips])
            widths = list(self._blocks.values()) or [matrix.shape[1]]
            factors = np.repeat(np.sqrt(weights or (1.0,)), widths)
            reduce = ridge.decompose if self._task.ordinal else ridge.tridiagonal
            kept[key] = scaler, factors, reduce(scaler(matrix[known]) * factors, self._device)
        return kept[key]


def predict(features: np.ndarray, solution: Solution, targets: Targets) -> FloatArray:
    """(n, n_fitted) from standardised features (n, width), in float64."""
    fitted = torch.from_numpy(features).double() @ torch.from_numpy(solution.coefficients)
    return given_out(fitted + torch.from_numpy(solution.intercepts), targets.link, 1).numpy()
