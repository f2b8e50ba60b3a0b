"""The clips probe: logistic regression on the clips of units, whose probabilities are aggregated to one of each unit.

A clip learns its own label where the clips of its unit differ, else its unit's. What a unit's clips add up to (their
mean, the mean of the k highest, a noisy-or) is calibrated by a second regression on its log-odds: the highest
probability of twenty clips is high in every unit.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np
import numpy.typing as npt

from toolkit.corpus.labels import IntArray, Task, Truth
from toolkit.corpus.units import own_label
from toolkit.features.layout import LayerFeatures
from toolkit.features.units import ClipLabels, unit_layer
from toolkit.probe import linear
from toolkit.probe.protocol import Fit, Found, GiveUp, Model, Relabelled, Setting, never
from toolkit.probe.search import NOISY_OR
from toolkit.probe.targets import ALL, FloatArray, Targets, targets_of

LEAST = 1e-12  # of a probability, and of what it lacks to 1, before the logarithm
UNIT: Setting = {"C": 1.0, "statistics": "mean"}  # of the second regression, which has a column a label


class ClipFitter(Relabelled):
    """On one layer of units. truth: a row per unit."""

    def __init__(self, layers: Sequence[LayerFeatures], task: Task, truth: Truth, device: str) -> None:
        self._units, self._task, self._truth, self._device = unit_layer(layers), task, truth, device
        clips = self._units.clips()
        self._labels_of_clips = self._read(self._units.labels)
        self._clip = linear.fitter(_layer(clips), task, self._labels(len(clips)), device)
        self._clips = len(clips)

    def relabelled(self, truth: Truth, clips: ClipLabels | None = None) -> Self:
        """As `Fitter` asks."""
        other = super().relabelled(truth)
        if clips is not None:
            other._labels_of_clips = self._read(clips)
        return other

    def search(
        self, train: IntArray, development: IntArray, settings: Sequence[Setting], name: str, give_up: GiveUp = never
    ) -> list[Fit]:
        """The clips' regressions of all settings are solved together."""
        rows, labels = self._rows(train, development), self._labels(self._clips)
        first = rows[: len(self._rows(train))]
        fits = self._clip.relabelled(labels).search(first, rows, settings, name)
        fitted = targets_of(self._task, labels[first]).fitted
        return [
            Fit(self._unit(train, development, fit.probability[:, fitted], setting, name).probability, fit.found)
            for setting, fit in zip(settings, fits, strict=True)
        ]

    def refit(self, train: IntArray, test: IntArray, setting: Setting, found: Found, name: str) -> Fit:
        """The model holds both regressions, and what the first one was fitted to."""
        rows, labels = self._rows(train, test), self._labels(self._clips)
        first = rows[: len(self._rows(train))]
        clip = self._clip.relabelled(labels).refit(first, rows, setting, found, name)
        targets = targets_of(self._task, labels[first])
        unit = self._unit(train, test, clip.probability[:, targets.fitted], setting, name)
        learnt = {"fitted": targets.fitted, "prevalence": targets.prevalence, "spread": targets.spread}
        parts = {"clip": {**clip.model, **learnt}, "unit": unit.model}
        return replace(
            unit, model={f"{part}.{key}": value for part, model in parts.items() for key, value in model.items()}
        )

    def _read(self, clips: ClipLabels) -> dict[int, list[float] | list[int] | int]:
        """Those that are labels of the task."""
        found = {row: own_label(self._task, cells) for row, cells in clips.items()}
        return {row: label for row, label in found.items() if label is not None}

    def _rows(self, *parts: IntArray) -> IntArray:
        """The clips of units."""
        return np.concatenate([self._units.members[unit] for part in parts for unit in part.tolist()])

    def _labels(self, clips: int) -> Truth:
        """Of every clip of the store; one of no unit here gets any, and is not used."""
        labels = np.zeros((clips, *self._truth.shape[1:]), dtype=self._truth.dtype)
        for rows, label in zip(self._units.members, self._truth, strict=True):
            labels[rows] = label
        for row, cell_label in self._labels_of_clips.items():
            labels[row] = cell_label
        return labels

    def _unit(self, train: IntArray, held_out: IntArray, given: FloatArray, setting: Setting, name: str) -> Fit:
        """The second regression. given: (n_clips, n_fitted) of the clips of both parts, those of `train` first."""
        every = np.append(train, held_out)
        counts = np.array([len(self._units.members[unit]) for unit in every.tolist()])
        layer = _layer(_evidence(given, counts, setting, self._task.regression))
        place = np.arange(len(every))
        fitter = linear.fitter(layer, self._task, self._truth[every], self._device)
        unit_setting = {**UNIT, "class_weights": setting["class_weights"]}
        return fitter.refit(place[: len(train)], place[len(train) :], unit_setting, {ALL: len(train)}, name)


def _layer(matrix: npt.NDArray[np.floating]) -> LayerFeatures:
    """Features (n, width) of what needs no name."""
    features = matrix.astype(np.float32, copy=False)
    return LayerFeatures("", ("",) * len(matrix), features, features[:, :0])


def amounts(given: FloatArray, counts: IntArray, aggregation: str) -> FloatArray:
    """What each clip adds to its unit's sum, (n_clips, n_fitted).

    given: of clips, unit by unit. counts: (n_units,) of clips. A sum is the mean, the mean of the k highest, or of a
    noisy-or (Pearl, 1988: one clip suffices, each by itself) the negative logarithm of the probability of none.
    """
    if aggregation == NOISY_OR:
        return np.asarray(-np.log1p(-given.clip(max=1 - LEAST)))
    each = np.repeat(counts, counts)[:, None]
    if aggregation == "mean":
        return given / each
    most, unit = int(aggregation.removeprefix("top-")), np.repeat(np.arange(len(counts)), counts)
    starts = np.repeat(counts.cumsum() - counts, counts)
    taken = np.zeros(given.shape)
    for column, values in enumerate(given.T):
        order = np.lexsort((-values, unit))
        taken[order, column] = np.arange(len(values)) - starts < most
    return np.asarray(given * taken / np.minimum(each, most))


def _evidence(given: FloatArray, counts: IntArray, setting: Setting, numbers: bool) -> FloatArray:
    """(n_units, n_fitted): of numbers the sums, of probabilities their log-odds."""
    aggregation = str(setting["aggregation"])
    sums = np.add.reduceat(amounts(given, counts, aggregation), counts.cumsum() - counts, axis=0)
    if numbers:
        return np.asarray(sums)
    if aggregation == NOISY_OR:
        return np.asarray(np.log(np.expm1(sums.clip(LEAST, 500))))  # of 1 - exp(-sum)
    sums = sums.clip(LEAST, 1 - LEAST)
    return np.asarray(np.log(sums) - np.log1p(-sums))


def _read(
    layers: Sequence[LayerFeatures], model: Model, setting: Setting, targets: Targets
) -> tuple[FloatArray, IntArray]:
    """What the first regression gives for every clip, unit by unit, (n_clips, n_fitted), and how many each unit has."""
    units, clip_model = unit_layer(layers), _part(model, "clip")
    fitted, prevalence, spread = (np.asarray(clip_model[name]) for name in ("fitted", "prevalence", "spread"))
    learnt = replace(targets, fitted=fitted, prevalence=prevalence, spread=spread)
    outputs = linear.apply([_layer(units.clips()[np.concatenate(units.members)])], clip_model, setting, learnt)
    counts = np.array([len(rows) for rows in units.members])
    if targets.link == "identity":
        return prevalence[fitted] + spread[fitted] * outputs, counts
    return learnt.natural(outputs, str(setting["class_weights"])), counts


def _part(model: Model, part: str) -> Model:
    return {name.removeprefix(f"{part}."): value for name, value in model.items() if name.startswith(f"{part}.")}


def apply(layers: Sequence[LayerFeatures], model: Model, setting: Setting, targets: Targets) -> FloatArray:
    """A kept model to units: (n, n_fitted) probabilities, bit for bit the same in any batch."""
    given, counts = _read(layers, model, setting, targets)
    evidence = _evidence(given, counts, setting, targets.link == "identity")
    return linear.apply([_layer(evidence)], _part(model, "unit"), UNIT, targets)


def weights(layers: Sequence[LayerFeatures], model: Model, setting: Setting, targets: Targets) -> list[FloatArray]:
    """Of each unit the part of its sum that each of its clips adds, the mean over labels."""
    given, counts = _read(layers, model, setting, targets)
    added = np.abs(amounts(given, counts, str(setting["aggregation"]))) + LEAST
    sums = np.add.reduceat(added, counts.cumsum() - counts, axis=0)
    return np.split((added / np.repeat(sums, counts, axis=0)).mean(axis=1), counts.cumsum()[:-1])
