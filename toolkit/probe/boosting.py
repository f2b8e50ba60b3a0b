"""The lightgbm probe: gradient-boosted trees on features that are binned once for all trials and labels of a round.

LightGBM brings pandas and scikit-learn: a second and more, so that it is imported where trees grow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median_low
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from toolkit.core import seeds
from toolkit.core.errors import MachineError, ToolkitError
from toolkit.corpus.labels import IntArray, Task, Truth
from toolkit.features.layout import LayerFeatures
from toolkit.probe.protocol import Fit, Found, GiveUp, Model, Relabelled, Setting, never
from toolkit.probe.targets import ALL, FloatArray, Targets, targets_of
from toolkit.result.links import given_out
from toolkit.result.thresholds import log_odds

if TYPE_CHECKING:
    import lightgbm

MAX_TREES = 200  # per class
PATIENCE = 15  # trees without a better development loss before a fit stops
UNSEEN_TREES = 50  # of a label that the search could not learn, where it learnt no other either
STEP = 10  # trees between two reports of how far a fit has come
# 31 bins: three times faster than 255 on embeddings, for small leaves spend their time on looking through bins; as good
# (docs/benchmarks-notes.md). No pre-filter, since trials differ in min_data_in_leaf.
BINNING = {"max_bin": 31, "feature_pre_filter": False, "verbosity": -1, "num_threads": 1}
SEARCHED = ("num_leaves", "learning_rate", "min_data_in_leaf", "feature_fraction", "lambda_l2")


class BoostingFitter(Relabelled):
    """Boosted trees on one layer.

    Bins are quantiles over the clips that a round's first fit gets, which are all that it does not test. device:
    LightGBM's device_type.
    """

    def __init__(self, features: LayerFeatures, task: Task, truth: Truth, seed: int, device: str = "cpu") -> None:
        self._features, self._task, self._truth, self._seed, self._device = features, task, truth, seed, device
        self._rounds: dict[str, _Round] = {}

    def search(
        self, train: IntArray, development: IntArray, settings: Sequence[Setting], name: str, give_up: GiveUp = never
    ) -> Iterator[Fit]:
        """One setting after the other, each label stopped early on the development clips."""
        self._round(name, np.union1d(train, development))
        for number, setting in enumerate(settings):
            yield self._stopped_early(train, development, setting, name, partial(give_up, number))

    def refit(self, train: IntArray, test: IntArray, setting: Setting, found: Found, name: str) -> Fit:
        """As many trees as the search found; the model is LightGBM's text, one per label or one for a softmax.

        A label that only these clips can teach gets the median of the others' trees.
        """
        import lightgbm

        targets = targets_of(self._task, self._truth[train])
        grown = _grown(targets)
        parameters = self._parameters(setting, grown, name)
        weights = grown.weights(str(setting["class_weights"]))
        part = self._subset(self._round(name, train), str(setting["statistics"]), train)
        unseen = median_low(found.values()) if found else UNSEEN_TREES
        boosters = []
        for number, label in enumerate(grown.problems):
            part.set_label(_label(grown, grown.columns, number)).set_weight(weights[:, number])
            boosters.append(lightgbm.train(parameters, part, found.get(label, unseen)))
        features = self._features.matrix(str(setting["statistics"]))[test]
        fitted = _as_levels(targets, _predicted(boosters, features))
        model = {_name(label): booster.model_to_string() for label, booster in zip(grown.problems, boosters)}
        probability = targets.probability(fitted, self._task, str(setting["class_weights"]))
        return Fit(probability, model=model)

    def _stopped_early(
        self,
        train: IntArray,
        development: IntArray,
        setting: Setting,
        name: str,
        give_up: Callable[[int, FloatArray], bool],
    ) -> Fit:
        """All labels tree by tree, side by side, so that their loss so far is known."""
        targets = targets_of(self._task, self._truth[train])
        growing = self._growing(targets, train, development, setting, name)
        for tree in range(1, MAX_TREES + 1):
            for one in growing:
                one.grow(tree)
            over = not any(one.grows(tree) for one in growing)
            if over or tree % STEP == 0:
                fitted = _as_levels(targets, np.concatenate([one.probability for one in growing], axis=1))
                probability = targets.probability(fitted, self._task, str(setting["class_weights"]))
                if over or give_up(tree, probability):
                    break
        found = {label: one.trees for label, one in zip(_grown(targets).problems, growing, strict=True)}
        return Fit(probability, found)

    def _growing(
        self, targets: Targets, train: IntArray, development: IntArray, setting: Setting, name: str
    ) -> list[_Growing]:
        round_ = self._rounds[name]
        columns = targets.columns_of(self._task, self._truth[development])
        if targets.link == "cumulative":
            columns = replace(targets, columns=columns).above.columns
        targets = _grown(targets)
        weighting, parameters = str(setting["class_weights"]), self._parameters(setting, targets, name)
        parts = ((train, targets.columns, None), (development, columns, columns))
        growing = []
        for problem in range(targets.n_problems):
            part, other = (
                self._subset(round_, str(setting["statistics"]), clips)
                .set_label(_label(targets, truth, problem))
                .set_weight(_weight(targets, truth, targets.weights(weighting, of), problem))
                for clips, truth, of in parts
            )
            growing.append(_Growing(self._booster(parameters, part).add_valid(other, "development")))
        return growing

    def _booster(self, parameters: dict[str, Any], part: lightgbm.Dataset) -> lightgbm.Booster:
        """Raises MachineError for a device that this build of LightGBM, or this machine, does not have."""
        import lightgbm

        try:
            return lightgbm.Booster(parameters, part)
        except lightgbm.basic.LightGBMError as error:
            if self._device == "cpu":
                raise
            raise MachineError(f"LightGBM has no device_type {self._device} here: {error}") from None

    def _round(self, name: str, clips: IntArray) -> _Round:
        return self._rounds.setdefault(name, _Round(np.unique(clips), {}))

    def _subset(self, round_: _Round, statistics: str, clips: IntArray) -> lightgbm.Dataset:
        """Some of the round's clips, binned with all of them. Raises ToolkitError for clips that are none of them."""
        import lightgbm

        if not np.isin(clips, round_.clips).all():
            raise ToolkitError(
                "BoostingFitter: a fit on clips that the round's first fit did not get; name another round"
            )
        if statistics not in round_.binned:
            matrix = self._features.matrix(statistics)[round_.clips]
            round_.binned[statistics] = lightgbm.Dataset(matrix, params=BINNING).construct()
        return round_.binned[statistics].subset(np.searchsorted(round_.clips, clips).tolist()).construct()

    def _parameters(self, setting: Setting, targets: Targets, name: str) -> dict[str, Any]:
        objective: dict[str, Any] = {"objective": "regression" if targets.link == "identity" else "binary"}
        if targets.softmax:
            objective = {"objective": "multiclass", "num_class": len(targets.fitted)}
        return {
            **BINNING,
            **objective,
            **{parameter: setting[parameter] for parameter in SEARCHED},
            "seed": seeds.integer(self._seed, name) % 2**31,
            "deterministic": True,
            "force_col_wise": True,
            "device_type": self._device,
        }


@dataclass(frozen=True)
class _Round:
    """clips: that it may learn from or choose by, ascending; binned: those, by statistics."""

    clips: IntArray
    binned: dict[str, lightgbm.Dataset]


@dataclass
class _Growing:
    """A booster whose development loss is watched. trees: of its best so far; probability: (n, 1 or n_fitted) then.

    LightGBM keeps the development clips' scores as it grows: asking it for them is far cheaper than predicting.
    """

    booster: lightgbm.Booster
    trees: int = 0
    best: float = math.inf
    probability: FloatArray = field(default_factory=lambda: np.empty((0, 0)))

    def grows(self, tree: int) -> bool:
        """Whether it does after `tree` trees."""
        return tree - self.trees < PATIENCE and tree < MAX_TREES

    def grow(self, tree: int) -> None:
        """Add the tree of that number, unless it has stopped."""
        if self.grows(tree - 1):
            self.booster.update()
            seen: list[FloatArray] = []

            def see(probability: FloatArray, _: lightgbm.Dataset) -> tuple[str, float, bool]:
                seen.append(probability)
                return "seen", 0.0, False

            loss = self.booster.eval_valid(see)[0][2]
            if loss < self.best:
                self.trees, self.best = tree, loss
                self.probability = seen[0].reshape(len(seen[0]), -1).copy()


def _predicted(boosters: Sequence[lightgbm.Booster], features: npt.NDArray[np.float32]) -> FloatArray:
    """(n, n_fitted), each booster by all of its trees."""
    fitted: list[FloatArray] = [
        np.asarray(booster.predict(features, num_iteration=-1, num_threads=1)).reshape(len(features), -1)
        for booster in boosters
    ]
    return np.concatenate(fitted, axis=1)


def _grown(targets: Targets) -> Targets:
    """What trees are grown for: of levels whether a clip is above each (Frank and Hall, ECML 2001)."""
    return targets.above if targets.link == "cumulative" else targets


def _as_levels(targets: Targets, fitted: FloatArray) -> FloatArray:
    """(n, n_fitted) from what the boosters say: probabilities of levels from those of being above each."""
    if targets.link != "cumulative":
        return fitted
    return given_out(torch.from_numpy(log_odds(fitted)), "cumulative", 1).numpy()


def _label(targets: Targets, columns: Truth, number: int) -> Truth:
    """The class of each clip for a softmax, or one column of 0 and 1, or of numbers; 0 where there is none."""
    return columns.argmax(axis=1) if targets.softmax else np.nan_to_num(columns[:, number])


def _weight(targets: Targets, columns: Truth, weights: FloatArray, number: int) -> FloatArray:
    """(n_clips,) of one problem; 0 for a clip whose class a softmax does not know: `_label` makes it the first one."""
    return weights[:, number] * columns.any(axis=1) if targets.softmax else weights[:, number]


def _name(label: int) -> str:
    """Of a booster in a kept model."""
    return "trees.softmax" if label == ALL else f"trees.{label}"


def apply(layers: Sequence[LayerFeatures], model: Model, setting: Setting, targets: Targets) -> FloatArray:
    """Kept trees to one layer's clips: (n, n_fitted) probabilities. The texts must have been verified by hash."""
    import lightgbm

    features = layers[0].matrix(str(setting["statistics"]))
    texts = [str(model[_name(label)]) for label in _grown(targets).problems]
    return _as_levels(targets, _predicted([lightgbm.Booster(model_str=text) for text in texts], features))
