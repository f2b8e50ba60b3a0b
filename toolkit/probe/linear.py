"""The linear probe: L2-penalised logistic regression on standardised statistics of one layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from toolkit.core.matmul import sigmoid
from toolkit.corpus.labels import IntArray, Task, Truth
from toolkit.features.layout import LayerFeatures
from toolkit.probe import linear_scales
from toolkit.probe.linear_scales import ScaleFitter
from toolkit.probe.protocol import (
    Fit,
    Fitter,
    Found,
    GiveUp,
    Model,
    Relabelled,
    Setting,
    by_statistics,
    never,
)
from toolkit.probe.search import weight_of
from toolkit.probe.solver import Penalised, Rotated, Solution, principal_axes, rotate, rotate_blocks, solve
from toolkit.probe.targets import ALL, FloatArray, Scaler, Targets, scaler_of, targets_of

SEARCH_TOLERANCE = 1e-6  # of the objective; moves fewer than one decision in a thousand
Prepared = tuple[Scaler, Rotated]


@dataclass(frozen=True)
class _Part:
    """A training part, by its statistics standardised and rotated once for all the trials of its round."""

    clips: IntArray
    prepared: dict[str, Prepared]


@dataclass(frozen=True)
class _Round:
    """clips: that it may learn from or choose by; axes: theirs, by statistics; parts: of them, that were fitted."""

    clips: IntArray
    axes: dict[str, list[Tensor | None]]
    parts: list[_Part]

    def part(self, clips: IntArray) -> _Part:
        """The one of these clips."""
        for part in self.parts:
            if np.array_equal(part.clips, clips):
                return part
        self.parts.append(_Part(clips, {}))
        return self.parts[-1]


class LinearFitter(Relabelled):
    """Linear probes on one layer. truth: a row per clip of `features`; device: of the products.

    blocks: the widths by name, where the features are several stores' side by side: each one's penalty has a weight.

    A round's fits share one set of principal axes. These only precondition, for the minimum is the same on any; but a
    search stops short of it, so that axes which a test clip had shaped could move a choice. They are of the clips that
    the round's first fit gets, which are all that it does not test.
    """

    def __init__(
        self,
        features: LayerFeatures,
        task: Task,
        truth: IntArray,
        device: str = "cpu",
        blocks: Mapping[str, int] | None = None,
    ) -> None:
        self._features, self._task, self._truth, self._device = features, task, truth, device
        self._blocks = dict(blocks or {})
        self._rounds: dict[str, _Round] = {}

    def search(
        self, train: IntArray, development: IntArray, settings: Sequence[Setting], name: str, give_up: GiveUp = never
    ) -> list[Fit]:
        """Settings that share a matrix are solved together."""
        round_ = self._round(name, np.union1d(train, development))
        targets = targets_of(self._task, self._truth[train])
        fits: dict[int, Fit] = {}
        for statistics, members in by_statistics(settings):
            mine = [settings[number] for number in members]
            solved = self._fit(round_, round_.part(train), development, statistics, targets, mine, SEARCH_TOLERANCE)
            fits.update(zip(members, (Fit(probability, {ALL: len(train)}) for probability, _ in solved), strict=True))
        return [fits[number] for number in range(len(settings))]

    def refit(self, train: IntArray, test: IntArray, setting: Setting, found: Found, name: str) -> Fit:
        """The model holds scaler, coefficients (for standardised features) and intercepts, in float64.

        C weighs the sum over clips against the penalty, so the same C would shrink less on more clips and carry the
        probabilities away from the thresholds that development gave: C times clips is kept instead.
        """
        round_ = self._round(name, train)
        round_.parts.clear()  # the round's search is over
        targets = targets_of(self._task, self._truth[train])
        scaled = {**setting, "C": float(setting["C"]) * found[ALL] / len(train)}
        ((probability, model),) = self._fit(
            round_, _Part(train, {}), test, str(setting["statistics"]), targets, [scaled]
        )
        return Fit(probability, model=model)

    def _round(self, name: str, clips: IntArray) -> _Round:
        return self._rounds.setdefault(name, _Round(clips, {}, []))

    def _fit(
        self,
        round_: _Round,
        part: _Part,
        held_out: IntArray,
        statistics: str,
        targets: Targets,
        settings: Sequence[Setting],
        tolerance: float | None = None,
    ) -> list[tuple[FloatArray, Model]]:
        if statistics not in part.prepared:
            part.prepared[statistics] = self._prepare(round_, part.clips, statistics)
        scaler, rotated = part.prepared[statistics]
        problems = [
            Penalised(
                float(setting["C"]),
                str(setting["class_weights"]),
                tuple(float(setting.get(weight_of(name), 1)) for name in self._blocks),  # the first one's is 1
            )
            for setting in settings
        ]
        solutions = solve(rotated, targets, problems, *([] if tolerance is None else [tolerance]))
        features = scaler(self._features.matrix(statistics)[held_out])
        return [
            (
                targets.probability(predict(features, solution, targets.softmax), self._task, problem.class_weights),
                {
                    "mean": scaler.mean,
                    "scale": scaler.scale,
                    "coefficients": solution.coefficients,
                    "intercepts": solution.intercepts,
                },
            )
            for problem, solution in zip(problems, solutions, strict=True)
        ]

    def _prepare(self, round_: _Round, clips: IntArray, statistics: str) -> Prepared:
        matrix = self._features.matrix(statistics)
        train = matrix[clips]
        scaler = scaler_of(train)
        widths = list(self._blocks.values()) or [matrix.shape[1]]
        axes = round_.axes.setdefault(statistics, [None] * len(widths))
        for number, first in enumerate([0, *np.cumsum(widths)[:-1].tolist()]):
            if axes[number] is None and len(train) >= widths[number]:
                every = np.ascontiguousarray(matrix[round_.clips, first : first + widths[number]])
                axes[number] = principal_axes(scaler_of(every)(every), self._device)
        if self._blocks:
            return scaler, rotate_blocks(scaler(train), widths, axes, self._device)
        return scaler, rotate(scaler(train), axes[0], self._device)


def fitter(
    features: LayerFeatures, task: Task, truth: Truth, device: str, blocks: Mapping[str, int] | None = None
) -> Fitter:
    """Of the task's kind. blocks: as `LinearFitter`."""
    scaled = task.ordinal or task.regression
    return (ScaleFitter if scaled else LinearFitter)(features, task, truth, device, blocks)


def predict(features: npt.NDArray[np.float32], solution: Solution, as_softmax: bool) -> FloatArray:
    """(n, n_fitted) probabilities from standardised features (n, width), in float64."""
    matrix = torch.from_numpy(features).double()  # torch's product: on one thread, as the run asks
    logits = matrix @ torch.from_numpy(solution.coefficients) + torch.from_numpy(solution.intercepts)
    return (logits.softmax(dim=1) if as_softmax else sigmoid(logits)).numpy()


def apply(layers: Sequence[LayerFeatures], model: Model, setting: Setting, targets: Targets) -> FloatArray:
    """A kept model to one layer's clips: (n, n_fitted) probabilities, bit for bit the same in any batch."""
    mean, scale, coefficients, intercepts = (  # copied, for a product's last bit can depend on where its numbers are
        torch.tensor(np.asarray(model[name], dtype=np.float64)).numpy()
        for name in ("mean", "scale", "coefficients", "intercepts")
    )
    solution = Solution(coefficients, intercepts)
    features = Scaler(mean, scale)(layers[0].matrix(str(setting["statistics"])))
    rows = (features[row : row + 1] for row in range(len(features)))
    if targets.link in ("cumulative", "identity"):
        return np.concatenate([linear_scales.predict(row, solution, targets) for row in rows])
    return np.concatenate([predict(row, solution, targets.softmax) for row in rows])
