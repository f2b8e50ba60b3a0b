"""The clips of a probe run: store and folds matched by id, and what the folds leave nothing to learn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from toolkit.core.errors import InputError, SplitError
from toolkit.core.i18n import Note
from toolkit.corpus.labels import IntArray, Task, Truth, constant_labels, one_hot
from toolkit.corpus.scales import missing_levels
from toolkit.corpus.splits import Folds, Round
from toolkit.features.layout import STATISTICS, LayerFeatures
from toolkit.features.units import ClipLabels
from toolkit.probe.targets import targets_of


class Layers(Protocol):
    """What a probe needs of a feature store."""

    @property
    def ids(self) -> Sequence[str]: ...
    @property
    def layers(self) -> Sequence[str]: ...
    @property
    def statistics(self) -> Sequence[str]: ...
    @property
    def failed(self) -> Mapping[str, str]: ...
    def layer(self, name: str) -> LayerFeatures: ...


@dataclass(frozen=True)
class Data:
    """One task on the clips that both the folds and the store have. truth, groups, rows: aligned with folds.ids.

    rows: (n_clips,) where each clip is in the store. statistics: of a layer, mean and std or the mean alone.
    loss: that networks are taught numbers by, as `--loss` names it. clip_labels: of shuffled units, their clips' labels
    as `UnitFeatures.labels` has the real ones.
    """

    task: Task
    truth: Truth
    groups: tuple[str, ...]
    folds: Folds
    rows: IntArray
    left_out: Mapping[str, str]
    statistics: tuple[str, ...] = STATISTICS
    loss: str = ""
    clip_labels: ClipLabels | None = None


def rows_of(layer: LayerFeatures, rows: IntArray) -> LayerFeatures:
    """Some of a layer's clips, in the order of `rows`."""
    if np.array_equal(rows, np.arange(len(layer.ids))):
        return layer
    return layer.rows(rows)


def matched(features: Layers, task: Task, truth: Truth, folds: Folds, groups: Sequence[str]) -> Data:
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
    return Data(task, truth[keep], kept_groups, kept, rows, left_out, tuple(features.statistics))


@dataclass(frozen=True)
class Part:
    """Clips to fit on, and others that the fit is applied to. Both are positions in the folds' ids."""

    train: IntArray
    held_out: IntArray


def parts_of(folds: Folds, round_: Round, count: int) -> list[Part]:
    """The round's clips, less those it tests, dealt into `count` parts of whole folds at most, each held out in turn.

    The first one begins with the development fold. A fixed split has one part, its development set.
    """
    if folds.scheme == "fixed":
        return [Part(round_.train, round_.development)]
    others = [(round_.fold + step) % folds.count for step in range(1, folds.count)]
    parts = []
    for start in range(min(count, len(others))):
        out = np.isin(folds.fold, others[start::count])
        parts.append(Part(np.flatnonzero(~out & (folds.fold != round_.fold)), np.flatnonzero(out)))
    return parts


def inner_parts(folds: Folds, round_: Round, inner: int) -> list[Part]:
    """What each setting of a search is judged on: the first `inner` folds, each held out from all others."""
    return parts_of(folds, round_, folds.count)[:inner]


def check_inner_folds(folds: Folds, round_: Round, inner: int) -> None:
    """Raises InputError for more inner folds than a round has."""
    most = len(parts_of(folds, round_, folds.count))
    if not 1 <= inner <= most:
        why = "a fixed split has one development set" if folds.scheme == "fixed" else f"{most} folds are not tested"
        raise InputError(f"--inner-folds {inner}: {why}; expected 1 to {most}")


def check(data: Data, rounds: Sequence[Round], inner: int = 1) -> list[Note]:
    """Notes on labels that some training part cannot teach, and on what settings are judged by.

    Raises InputError for more inner folds than there are, SplitError where a round has nothing to choose by.
    """
    check_inner_folds(data.folds, rounds[0], inner)
    notes: list[Note] = []
    for round_ in rounds:
        where = f"the round that tests fold {round_.fold}"
        for part in inner_parts(data.folds, round_, inner):
            _check_part(data, part, where)
        notes += [] if data.task.ordinal else _constant(data, round_)
    if data.task.ordinal:
        notes += missing_levels(data.task, data.truth, rounds)
    if inner > 1:
        notes.append(Note("inner_folds", {"inner": inner}))
    return notes


def _check_part(data: Data, part: Part, where: str) -> None:
    task, truth = data.task, data.truth[part.held_out]
    fitted = targets_of(task, data.truth[part.train]).fitted
    if task.regression:
        if not len(fitted) or np.isnan(truth[:, fitted]).all():
            raise SplitError(
                f"In {where} no target varies in the training clips and has a number in the development clips; there "
                "is nothing to learn or to choose by: take other folds"
            )
        return
    if not len(fitted):
        raise SplitError(f"In {where} the training clips have nothing to tell apart; take other folds or labels")
    share = one_hot(task, truth).mean(axis=0)[fitted]
    occurring = {"multilabel": (share > 0) & (share < 1), "multiclass": share > 0, "ordinal": share > 0}.get(task.kind)
    if occurring is not None and not occurring.any():
        raise SplitError(
            f"In {where} no label that the training clips teach {'varies' if task.multilabel else 'occurs'} in the "
            "development clips; there is nothing to choose by"
        )


def _constant(data: Data, round_: Round) -> list[Note]:
    """Notes on labels that do not vary."""
    unseen_to_the_end = constant_labels(data.task, data.truth[np.union1d(round_.train, round_.development)])
    what = "mean" if data.task.regression else "prevalence"
    return [
        Note(
            "constant_label" if label in unseen_to_the_end else "constant_in_search",
            {"fold": round_.fold, "label": label, "what": what},
        )
        for label in constant_labels(data.task, data.truth[round_.train])
    ]
