"""A store's clips gathered into units (calls, speakers): a view, which keeps nothing of its own on disk."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from toolkit.core.artifacts import signature
from toolkit.core.errors import InputError
from toolkit.corpus.splits import Folds
from toolkit.corpus.units import Units
from toolkit.features.layout import STATISTICS, FloatArray, LayerFeatures
from toolkit.features.shard import ClipRecord
from toolkit.features.store import Store

MAX = "max"
IntArray = npt.NDArray[np.int64]
ClipLabels = Mapping[int, Mapping[str, str]]  # by row of a store's clips, their cells of the target by column


@dataclass(frozen=True)
class UnitFeatures(LayerFeatures):
    """One layer of units.

    mean, std, and "max" of more: (n_units, width), over each unit's clips, each clip its mean over frames. clips: gives
    those, a row for every clip of the store, read when they are needed: most probes never do. members: of each unit its
    clips' rows there, in the order of time. labels: of clips whose unit has several labels.
    """

    clips: Callable[[], FloatArray]
    members: tuple[IntArray, ...]
    labels: ClipLabels = field(default_factory=dict)

    def rows(self, rows: IntArray) -> "UnitFeatures":
        """Some of the units, in the order of `rows`."""
        picked = super().rows(rows)
        assert isinstance(picked, UnitFeatures)
        return replace(picked, members=tuple(self.members[row] for row in rows))


def unit_layer(layers: Sequence[LayerFeatures]) -> UnitFeatures:
    """The one layer of a probe that reads units' clips, which `probe.tasks.build_tasks` refuses without --unit."""
    (layer,) = layers
    assert isinstance(layer, UnitFeatures)
    return layer


def gathered(
    layer: LayerFeatures, ids: tuple[str, ...], members: tuple[IntArray, ...], clips_of: Callable[[], FloatArray]
) -> UnitFeatures:
    """Units of a layer of clips. members: of each unit its clips' rows, one or more. clips_of: reads them again."""
    order, counts = np.concatenate(members), np.array([len(rows) for rows in members])
    clips, starts = layer.mean[order], np.cumsum(counts) - counts
    # sums in float64, one unit at a time: a unit's numbers do not depend on the others
    mean = np.add.reduceat(clips, starts, axis=0, dtype=np.float64) / counts[:, None]
    square = np.square(clips - np.repeat(mean, counts, axis=0))
    std = np.sqrt(np.add.reduceat(square, starts, axis=0) / counts[:, None])
    greatest = np.maximum.reduceat(clips, starts, axis=0)
    more = {MAX: greatest}
    return UnitFeatures(layer.layer, ids, mean.astype(np.float32), std.astype(np.float32), clips_of, members, more=more)


class Clips(Protocol):
    """What units are gathered from: a store, or what takes its place for new clips."""

    @property
    def layers(self) -> Sequence[str]: ...
    def layer(self, name: str) -> LayerFeatures: ...


class Gathered:
    """Layers of clips as layers of units. members: of each unit its clips, in the order of time."""

    def __init__(self, clips: Clips, members: Mapping[str, tuple[str, ...]]) -> None:
        self._clips, self.members = clips, dict(members)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.members)

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self._clips.layers)

    @property
    def statistics(self) -> tuple[str, ...]:
        return (*STATISTICS, MAX)

    @property
    def failed(self) -> dict[str, str]:
        """Why a unit has no features."""
        return {}

    def layer(self, name: str) -> UnitFeatures:
        """One layer of the units. Raises StoreError."""
        layer = self._clips.layer(name)
        place = {clip: row for row, clip in enumerate(layer.ids)}
        members = tuple(np.array([place[clip] for clip in ids], dtype=np.int64) for ids in self.members.values())
        return gathered(layer, self.ids, members, lambda: self._clips.layer(name).mean)


class UnitStore(Gathered):
    """A store by units. Its clips that the store lacks are left out of their units.

    Raises InputError where the store has no unit's clips.
    """

    def __init__(self, store: Store, units: Units) -> None:
        self.store, self.units = store, units
        super().__init__(store, units.present(store.ids))
        there = set(store.ids)
        self.lacking = {clip: unit for unit, ids in units.members.items() for clip in ids if clip not in there}
        if not self.members:
            raise InputError(f"{store.folder.name} has no clip of any unit; expected the store of this manifest")

    def layer(self, name: str) -> UnitFeatures:
        """One layer of the units, with the labels of their clips where these differ. Raises StoreError."""
        return replace(super().layer(name), labels=self.clip_labels)

    @cached_property
    def clip_labels(self) -> ClipLabels:
        """By row of every layer's clips, which are the store's."""
        place = {clip: row for row, clip in enumerate(self.store.ids)}
        return {place[clip]: cells for clip, cells in self.units.labels.items() if clip in place}

    @property
    def failed(self) -> dict[str, str]:
        return {unit: "none of its clips is in the feature store" for unit in self.units.members.keys() - self.members}

    @property
    def backbone(self) -> str:
        return self.store.backbone

    @property
    def folder(self) -> Path:
        """Of the store."""
        return self.store.folder

    @property
    def imported(self) -> str | None:
        return self.store.imported

    @property
    def signature(self) -> str:
        """Of the store; what makes units of it is `stated`."""
        return self.store.signature

    @property
    def settings(self) -> dict[str, Any]:
        return self.store.settings

    @cached_property
    def stated(self) -> dict[str, str | None]:
        """What a run says of its units, and all of them that changes a figure."""
        members = signature({"members": {unit: list(ids) for unit, ids in self.members.items()}})
        labels = {"labels": signature(self.units.labels)} if self.units.labels else {}
        return {"column": self.units.column, "label": self.units.label, "members": members, **labels}

    def clips_of(self, folds: Folds) -> Folds:
        """The folds of units as folds of those clips that the store has."""
        there = replace(self.units, members=self.members)
        missing = {unit for unit in folds.ids if unit not in self.members}
        return there.clips_of(folds.without(missing) if missing else folds)

    @cached_property
    def clips(self) -> dict[str, ClipRecord]:
        """A record a unit: the first clip's place, the samples and flags of all, no hash."""
        every, found = self.store.clips, {}
        for unit, ids in self.members.items():
            records = [every[clip] for clip in ids]
            flags = tuple(dict.fromkeys(flag for record in records for flag in record.flags))
            found[unit] = ClipRecord(unit, records[0].source, "", sum(one.samples for one in records), flags)
        return found
