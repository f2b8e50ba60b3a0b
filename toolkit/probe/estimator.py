"""A probe as scikit-learn has estimators: fitted on all clips of a run, so that nothing is left to test it on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin

from toolkit.core.errors import InputError, StoreError, one_of
from toolkit.features.layout import STATISTICS, LayerFeatures
from toolkit.probe.apply import of_run, store_of
from toolkit.probe.data import Data, Part, rows_of
from toolkit.probe.registry import PROBES
from toolkit.probe.round import once, refitted
from toolkit.probe.targets import FloatArray, targets_of
from toolkit.probe.winners import Winner
from toolkit.result.clips import read_clips
from toolkit.result.run import Run


class ProbeEstimator(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted probe of one layer. Its score on new callers was not measured: every clip of the run taught it.

    Attributes:
        classes_: The labels, in the order of the probabilities.
        layer: The layer whose features it reads.
        n_features_in_: Values a clip: the layer's width, twice that where deviations are read too, or that times all
            statistics of the store where it reads another one.
        statistics: In the order of those values.
    """

    def __init__(self, winner: Winner, width: int, statistics: Sequence[str] = STATISTICS) -> None:
        self.winner = winner
        self.width = width
        self.statistics = statistics

    @property
    def classes_(self) -> npt.NDArray[np.str_]:
        return np.array(self.winner.task.labels)

    @property
    def layer(self) -> str:
        return self.winner.layers[0]

    @property
    def n_features_in_(self) -> int:
        read = str(self.winner.setting["statistics"])
        return self.width * {"mean": 1, "std": 2, "both": 2}.get(read, len(self.statistics))

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Any, y: Any) -> "ProbeEstimator":
        """Raises InputError: `Workspace.probe` fits."""
        raise InputError("This probe is fitted already; Workspace.probe or probe_arrays fit another one")

    def predict_proba(self, X: npt.ArrayLike) -> FloatArray:
        """(n, n_labels) from means over time (n, width), means and deviations (n, 2 width), or all statistics side by
        side. Raises InputError.
        """
        return self.winner.apply([self._features(X)])[0]

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """(n,) labels; (n, n_labels) of 0 and 1 where a clip has several."""
        decided = self.winner.apply([self._features(X)])[1]
        return decided if self.winner.task.multilabel else self.classes_[decided]

    def _features(self, X: npt.ArrayLike) -> LayerFeatures:
        given = np.asarray(X, dtype=np.float32)
        if given.ndim != 2 or given.shape[1] not in {self.n_features_in_, 2 * self.width}:
            raise InputError(f"X has the shape {given.shape}, expected (clips, {self.n_features_in_})")
        parts = np.split(given, given.shape[1] // self.width, axis=1)
        mean, std, *more = parts if len(parts) > 1 else (parts[0], np.zeros_like(parts[0]))
        ids = tuple(map(str, range(len(given))))
        return LayerFeatures(self.layer, ids, mean, std, more=dict(zip(self.statistics[2:], more)))


def fitted(folder: Path, run: Run, layer: str | None = None) -> ProbeEstimator:
    """A run's probe of one layer, fitted again on all of its clips.

    Args:
        folder: Of the run, in result/ next to features/.
        run: What is in it.
        layer: Default: the one that most rounds chose. Its setting is that of the round with the lowest loss among
            those that chose it, or among all where none did.

    Raises:
        InputError: for a layer that the run does not have, or a probe that reads all layers at once.
        StoreError: where the features are missing.
    """
    if run.task.regression or run.task.ordinal:
        raise InputError(f"{folder.name} is {run.task.kind}, and an estimator is a classifier; predict with the run")
    if run.fusion:
        raise InputError(
            f"{folder.name} is a fusion, which has a model a round; an estimator reads one layer of one store"
        )
    if "unit" in run.provenance:
        raise InputError(f"{folder.name} is of units, each of several clips; an estimator reads one vector a clip")
    if PROBES[run.probe].all_layers:
        raise InputError(f"A {run.probe} probe reads all layers at once; an estimator reads one")
    chosen = [choice.layer for choice in run.choices]
    layer = layer or max(dict.fromkeys(chosen), key=chosen.count)
    if layer not in run.layers:
        raise InputError(one_of("layer", layer, list(run.layers)))
    store = store_of(run, folder.parent.parent / "features")
    if store is None:
        raise StoreError(f"The features that {folder.name} probed are gone; extract them again")
    probed, now = read_clips(folder) or {}, store.audio_sha256
    if changed := [clip for clip, sha256 in probed.items() if now.get(clip) != sha256]:
        raise StoreError(
            f"The features of {len(changed)} clips that {folder.name} probed are gone or were computed again of other "
            "audio; probe again"
        )
    choice = min(
        run.choices, key=lambda one: (one.layer != layer, np.inf if one.loss is None else one.loss)
    )  # of equals the first
    position = {clip: row for row, clip in enumerate(store.ids)}
    features = rows_of(store.layer(layer), np.array([position[clip] for clip in run.folds.ids]))
    predictions = run.predictions
    row = {clip: number for number, clip in enumerate(predictions.ids)}
    if set(row) != set(run.folds.ids):
        raise InputError(f"{folder.name} tested only some of its clips, so the truth of the others is not kept in it")
    truth = predictions.truth[[row[clip] for clip in run.folds.ids]]
    every = np.arange(len(truth))
    data = Data(run.task, truth, predictions.groups, run.folds, every, {})
    seed = int(run.provenance.get("seed", 0))
    fitter = PROBES[run.probe].build([features], run.task, truth, seed, "cpu")
    round_ = next(one for one in run.folds.rounds() if one.fold == choice.fold)
    name = f"{layer} of all clips"
    _, found = once(fitter, data, round_, choice.setting, name)
    applied = refitted(fitter, data, Part(every, every[:1]), choice.setting, found, name)
    targets = targets_of(run.task, truth)
    thresholds = np.empty(0)
    if run.task.multilabel:  # those of the rounds, averaged, as they are for a clip that is new to the run
        thresholds = np.mean([winner.bars for winner in of_run(folder, run)], axis=0)
    winner = Winner(
        run.probe, run.task, -1, (layer,), choice.setting, targets.softmax, targets.fitted, targets.prevalence,
        thresholds if run.task.multilabel else applied.bars(run.task, thresholds), applied.scale, applied.model,
    )  # fmt: skip
    return ProbeEstimator(winner, store.widths[layer], store.statistics)
