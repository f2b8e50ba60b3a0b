"""The clips of a probe run: store and folds matched by id, and what the folds leave nothing to learn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from toolkit.errors import InputError, SplitError
from toolkit.features.layout import LayerFeatures
from toolkit.labels import IntArray, Task
from toolkit.probe.targets import unlearnable
from toolkit.splits import Folds, Round


class Layers(Protocol):
    """What a probe needs of a feature store."""

    @property
    def ids(self) -> Sequence[str]: ...
    @property
    def layers(self) -> Sequence[str]: ...
    @property
    def failed(self) -> Mapping[str, str]: ...
    def layer(self, name: str) -> LayerFeatures: ...


@dataclass(frozen=True)
class Data:
    """One task on the clips that both the folds and the store have. truth, groups, rows: aligned with folds.ids.

    rows: (n_clips,) where each clip stands in the store.
    """

    task: Task
    truth: IntArray
    groups: tuple[str, ...]
    folds: Folds
    rows: IntArray
    left_out: Mapping[str, str]


def rows_of(layer: LayerFeatures, rows: IntArray) -> LayerFeatures:
    """Some of a layer's clips, in the order of `rows`."""
    if np.array_equal(rows, np.arange(len(layer.ids))):
        return layer
    ids = tuple(layer.ids[row] for row in rows)
    return replace(layer, ids=ids, mean=layer.mean[rows], std=layer.std[rows])


def matched(features: Layers, task: Task, truth: IntArray, folds: Folds, groups: Sequence[str]) -> Data:
    """Clips matched by id; those that the store does not have are left out of every fold, with their reason."""
    position = {clip: row for row, clip in enumerate(features.ids)}
    left_out = {
        clip: features.failed.get(clip, "not in the feature store") for clip in folds.ids if clip not in position
    }
    keep = np.array([clip in position for clip in folds.ids], dtype=bool)
    if not keep.any():
        raise InputError("The feature store has none of the manifest's clips; expected the store of this manifest")
    kept = folds.without(set(left_out)) if left_out else folds
    rows = np.array([position[clip] for clip in kept.ids], dtype=np.int64)
    kept_groups = tuple(group for group, kept_one in zip(groups, keep, strict=True) if kept_one)
    return Data(task, truth[keep], kept_groups, kept, rows, left_out)


def check(data: Data, rounds: Sequence[Round]) -> list[str]:
    """Notes on labels that some training part cannot teach. Raises SplitError where a round has nothing to go by."""
    task, notes = data.task, []
    for round_ in rounds:
        where = f"the round that tests fold {round_.fold}"
        unseen = unlearnable(task, data.truth[round_.train])
        unseen_to_the_end = unlearnable(task, data.truth[np.union1d(round_.train, round_.development)])
        if len(unseen) == len(task.labels):
            raise SplitError(f"In {where} the training clips have nothing to tell apart; take other folds or labels")
        if task.multilabel and not data.truth[round_.development].any():
            raise SplitError(f"In {where} no development clip has any label; there is nothing to choose by")
        for label in unseen:
            learnt = label not in unseen_to_the_end
            where_it_holds = "the search predicts" if learnt else "it is predicted"
            notes.append(
                f"In {where} {label!r} does not vary in the training clips; {where_it_holds}"
                f"{' it' if learnt else ''} at its prevalence."
            )
    return notes
