"""The lightgbm probe: gradient-boosted trees on features that are binned once for all rounds, trials and labels."""

from collections.abc import Sequence
from threading import Lock
from typing import Any

import lightgbm
import numpy as np

from toolkit import seeds
from toolkit.features.layout import LayerFeatures
from toolkit.labels import IntArray, Task
from toolkit.probe.fitting import Fit, Model
from toolkit.probe.search import Setting
from toolkit.probe.targets import FloatArray, Targets, targets_of

MAX_TREES = 200  # per class
PATIENCE = 15  # trees without a better development loss before a fit stops
# 63 bins: six times faster than 255 on embeddings, and as good. No pre-filter, since trials differ in min_data_in_leaf.
BINNING = {"max_bin": 63, "feature_pre_filter": False, "verbosity": -1, "num_threads": 1}
SEARCHED = ("num_leaves", "learning_rate", "min_data_in_leaf", "feature_fraction", "lambda_l2")


class BoostingFitter:
    """Boosted trees on one layer.

    Bins are quantiles over all the layer's clips, without their labels: the one place where a test clip's features,
    never its truth, touch a fit. device: LightGBM's device_type.
    """

    def __init__(self, features: LayerFeatures, task: Task, truth: IntArray, seed: int, device: str = "cpu") -> None:
        self._features, self._task, self._truth, self._seed, self._device = features, task, truth, seed, device
        self._binned: dict[str, lightgbm.Dataset] = {}
        self._lock = Lock()

    def search(self, train: IntArray, development: IntArray, settings: Sequence[Setting], name: str) -> list[Fit]:
        """One setting after the other, each label stopped early on the development clips."""
        return [self._fit(train, development, setting, name, ()) for setting in settings]

    def refit(self, train: IntArray, test: IntArray, setting: Setting, found: Sequence[int], name: str) -> Fit:
        """As many trees as the search found; the model is LightGBM's text, one per label or one for a softmax."""
        return self._fit(train, test, setting, name, tuple(found))

    def _fit(self, clips: IntArray, held_out: IntArray, setting: Setting, name: str, trees: tuple[int, ...]) -> Fit:
        targets = targets_of(self._task, self._truth[clips])
        binned = self._dataset(str(setting["statistics"]))
        features = self._features.matrix(str(setting["statistics"]))[held_out]
        part = binned.subset(clips.tolist()).construct()
        development = None if trees else binned.subset(held_out.tolist()).construct()
        weighting = str(setting["class_weights"])
        columns = targets.columns_of(self._task, self._truth[held_out])
        weights, other_weights = targets.weights(weighting), targets.weights(weighting, columns)
        parameters = self._parameters(setting, targets, name)
        boosters = []
        for problem in range(targets.n_problems):
            part.set_label(_label(targets, targets.columns, problem)).set_weight(weights[:, problem])
            valid, stop = [], []
            if development is not None:
                development.set_label(_label(targets, columns, problem)).set_weight(other_weights[:, problem])
                valid, stop = [development], [lightgbm.early_stopping(PATIENCE, verbose=False)]
            rounds = trees[problem] if trees else MAX_TREES
            boosters.append(lightgbm.train(parameters, part, rounds, valid_sets=valid, callbacks=stop))
        used = trees or tuple(booster.best_iteration for booster in boosters)
        fitted: list[FloatArray] = [
            np.asarray(booster.predict(features, num_iteration=count, num_threads=1)).reshape(len(features), -1)
            for booster, count in zip(boosters, used, strict=True)
        ]
        probability = targets.probability(np.concatenate(fitted, axis=1), self._task)
        model = (
            {f"trees.{number}": booster.model_to_string() for number, booster in enumerate(boosters)} if trees else {}
        )
        return Fit(probability, used, model)

    def _dataset(self, statistics: str) -> lightgbm.Dataset:
        with self._lock:
            if statistics not in self._binned:
                matrix = self._features.matrix(statistics)
                self._binned[statistics] = lightgbm.Dataset(matrix, params=BINNING, free_raw_data=False).construct()
            return self._binned[statistics]

    def _parameters(self, setting: Setting, targets: Targets, name: str) -> dict[str, Any]:
        objective: dict[str, Any] = {"objective": "binary"}
        if targets.softmax:
            objective = {"objective": "multiclass", "num_class": len(targets.fitted)}
        return {
            **BINNING,
            **objective,
            **{parameter: setting[parameter] for parameter in SEARCHED},
            "seed": seeds.integer(self._seed, name) % 2**31,
            "deterministic": True,
            "force_row_wise": True,
            "device_type": self._device,
        }


def _label(targets: Targets, columns: IntArray, problem: int) -> IntArray:
    """The class of each clip for a softmax, or one column of 0 and 1."""
    return columns.argmax(axis=1) if targets.softmax else columns[:, problem]


def apply(layers: Sequence[LayerFeatures], model: Model, setting: Setting, softmax: bool) -> FloatArray:
    """Kept trees to one layer's clips: (n, n_fitted) probabilities. The texts must have been verified by hash."""
    features = layers[0].matrix(str(setting["statistics"]))
    boosters = [lightgbm.Booster(model_str=str(model[f"trees.{number}"])) for number in range(len(model))]
    fitted = [np.asarray(booster.predict(features, num_threads=1)).reshape(len(features), -1) for booster in boosters]
    probability: FloatArray = np.concatenate(fitted, axis=1)
    return probability
