"""Probes of several stores: in every round each by the layer and setting that its own search chose there.

What fits a fusion has the signature of `probe.run.here`. A round's own development set chooses all of it: each store's
layer and setting by the store's own search, how they are joined by a search after that. No test clip is used.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from toolkit.core.artifacts import signature
from toolkit.core.forks import Ask
from toolkit.corpus.labels import IntArray, Task
from toolkit.corpus.splits import Round
from toolkit.features.fused import layer_of
from toolkit.features.layout import LayerFeatures
from toolkit.features.units import ClipLabels
from toolkit.probe.data import Data, Layers, Part, inner_parts, rows_of
from toolkit.probe.fused_rows import EARLY, packed, parsed, pool, row_of, side_by_side, space_of
from toolkit.probe.protocol import Fit, Fitter, Found, GiveUp, Setting, never
from toolkit.probe.registry import PROBES
from toolkit.probe.round import LayerResult, loss_of, test
from toolkit.probe.run import Budget, Progress, signature_of
from toolkit.probe.search import weight_of
from toolkit.probe.targets import FloatArray, targets_of
from toolkit.probe.workers import in_turn
from toolkit.result.run import Choice, Run

if TYPE_CHECKING:
    from toolkit.core.study_file import StudyFile
    from toolkit.probe.optuna_study import Trials

MOST = 3.0  # of a pool's weight: three times as sure as the store's own probe


@dataclass(frozen=True)
class Block:
    """One store in one round. name: the store's. layer, setting: as its own run chose them there."""

    name: str
    layer: str
    setting: Setting

    @property
    def statistics(self) -> str:
        return str(self.setting["statistics"])

    @property
    def prefixed(self) -> dict[str, str | float | int]:
        """Its setting, under names that a fusion's setting can hold."""
        return {f"{self.name}:{key}": value for key, value in {"layer": self.layer, **self.setting}.items()}


@dataclass(frozen=True)
class FusedExecutor:
    """Fits a fusion. alone: each store's own run on the same clips and folds, by the store's name."""

    alone: Mapping[str, Run]

    def __call__(
        self,
        features: Layers,
        data: Data,
        rounds: Sequence[Round],
        probe: str,
        budget: Budget,
        seed: int,
        file: "StudyFile",
        device: str,
        workers: int,
        progress: Progress,
    ) -> dict[str, list[LayerResult]]:
        """As `probe.run.here`; the one layer of its curve has the probe's name, as that of a mix has."""
        from toolkit.probe.optuna_study import Asked  # as `probe.run.probe`

        def fit(round_: Round, ask: Ask) -> LayerResult:
            return self._round(features, data, round_, probe, budget, seed, Asked(ask), device)

        found = list(in_turn(fit, rounds, workers, row_of(probe).in_forks(device), Asked.of(file)))
        progress(probe, 1, 1)
        return {probe: found}

    def blocks(self, fold: int) -> list[Block]:
        """What each store's own run chose in the round that tests a fold."""

        def choice(run: Run) -> Choice:
            (found,) = (one for one in run.choices if one.fold == fold)
            return found

        return [Block(name, choice(run).layer, choice(run).setting) for name, run in self.alone.items()]

    def _round(
        self,
        features: Layers,
        data: Data,
        round_: Round,
        probe: str,
        budget: Budget,
        seed: int,
        file: "Trials",
        device: str,
    ) -> LayerResult:
        blocks = self.blocks(round_.fold)
        names = [layer_of(block.name, block.layer) for block in blocks]
        layers = [rows_of(features.layer(name), data.rows) for name in names]
        fitter = fitter_of(probe, blocks, layers, data, round_.fold, seed, device)
        space = space_of(probe, [block.name for block in blocks], data.task, data.loss)
        described = [[block.name, block.layer, dict(block.setting)] for block in blocks]
        mark = signature({"layers": signature_of(layers, data, probe, space, budget.inner, seed), "blocks": described})
        if isinstance(fitter, LateFitter):
            fitter.stack(data, inner_parts(data.folds, round_, budget.inner))
        trials = 1 if isinstance(fitter, LateFitter) else budget.trials
        found = test(fitter, data, file, probe, mark, space, trials, budget.inner, seed, round_, inf)
        kept: dict[str, str | float | int]
        if isinstance(fitter, LateFitter):
            kept = {**fitter.weights, **{key: value for block in blocks for key, value in block.prefixed.items()}}
        else:  # the classifier's setting is the fusion's
            kept = {key: one.prefixed[key] for one in blocks for key in (f"{one.name}:layer", f"{one.name}:statistics")}
        return replace(found, setting={**found.setting, **kept}, layers=tuple(names))


def fitter_of(
    probe: str,
    blocks: Sequence[Block],
    layers: Sequence[LayerFeatures],
    data: Data,
    fold: int,
    seed: int,
    device: str,
) -> Fitter:
    """What fits a round's fusion. layers: of the blocks, on the clips of the data."""
    task, truth = data.task, data.truth
    fusion, base = parsed(probe)
    row = PROBES[base]
    if fusion != EARLY:
        fitters = [row.build([layer], task, truth, seed, device) for layer in layers]
        return LateFitter(blocks, fitters, [f"{base} {block.layer} round {fold}" for block in blocks], task, truth)
    joined = side_by_side(layers, [block.statistics for block in blocks])
    if row.side_by_side is None:
        return row.build([joined], task, truth, seed, device)
    widths = {block.name: layer.matrix(block.statistics).shape[1] for block, layer in zip(blocks, layers, strict=True)}
    return row.side_by_side(joined, task, truth, device, widths)


class LateFitter:
    """Each store's own probe, at its own setting, and a pool of what they say. weights: of the pool, by parameter."""

    def __init__(
        self, blocks: Sequence[Block], fitters: Sequence[Fitter], names: Sequence[str], task: Task, truth: IntArray
    ) -> None:
        """names: of the round in each store's own run, from which its fits drew what is random: they are the same."""
        self._blocks, self._fitters, self._names = blocks, list(fitters), names
        self._task, self._truth = task, truth
        self.weights = {weight_of(block.name): 1 / len(blocks) for block in blocks}
        self._fitted: dict[tuple[bytes, bytes], list[Fit]] = {}  # by part: no weight changes them

    def relabelled(self, truth: IntArray, clips: ClipLabels | None = None) -> "LateFitter":
        """As `Fitter` asks."""
        other = copy(self)
        other._truth, other._fitters = truth, [fitter.relabelled(truth) for fitter in self._fitters]
        other._fitted = {}
        return other

    def stack(self, data: Data, parts: Sequence[Part]) -> None:
        """Take the weights, 0 to MOST, of the lowest mean loss on the parts' held-out clips; it is convex in them."""
        from scipy.optimize import minimize

        fits = [(part, self._fits(part.train, part.held_out)) for part in parts]

        def loss(weights: FloatArray) -> float:
            pools = ((part, self._pooled(fit, weights.tolist(), part.train)) for part, fit in fits)
            return float(np.mean([loss_of(data, part, probability) for part, probability in pools]))

        bounds = [(0.0, MOST)] * len(self._blocks)
        found = minimize(loss, np.array(list(self.weights.values())), method="L-BFGS-B", bounds=bounds).x
        self.weights = dict(zip(self.weights, found.tolist(), strict=True))

    def search(
        self, train: IntArray, development: IntArray, settings: Sequence[Setting], name: str, give_up: GiveUp = never
    ) -> list[Fit]:
        """One fit a store: a setting has nothing to change in it."""
        fits = self._fits(train, development)
        found = {
            self._key(label, number): value for number, fit in enumerate(fits) for label, value in fit.found.items()
        }
        return [Fit(self._pooled(fits, list(self.weights.values()), train), found) for _ in settings]

    def _fits(self, train: IntArray, held_out: IntArray) -> list[Fit]:
        part = (train.tobytes(), held_out.tobytes())
        if part not in self._fitted:
            self._fitted[part] = [
                next(iter(fitter.search(train, held_out, [block.setting], name)))
                for block, fitter, name in zip(self._blocks, self._fitters, self._names, strict=True)
            ]
        return self._fitted[part]

    def refit(self, train: IntArray, test: IntArray, setting: Setting, found: Found, name: str) -> Fit:
        """Each store's probe fitted again; the model is all of theirs."""
        each = zip(self._blocks, self._fitters, self._names, strict=True)
        fits = [
            fitter.refit(train, test, block.setting, self._found(found, number), part)
            for number, (block, fitter, part) in enumerate(each)
        ]
        return Fit(self._pooled(fits, list(self.weights.values()), train), model=packed([fit.model for fit in fits]))

    def _key(self, label: int, number: int) -> int:
        """One number for a store's label, ALL (-1) among them."""
        return (label + 1) * len(self._blocks) + number

    def _found(self, found: Found, number: int) -> Found:
        by_block = ((*divmod(key, len(self._blocks)), value) for key, value in found.items())
        return {label - 1: value for label, block, value in by_block if block == number}

    def _pooled(self, fits: Sequence[Fit], weights: Sequence[float], train: IntArray) -> FloatArray:
        targets = targets_of(self._task, self._truth[train])
        fitted = pool([fit.probability[:, targets.fitted] for fit in fits], weights, targets)
        return targets.probability(fitted, self._task, "none")
