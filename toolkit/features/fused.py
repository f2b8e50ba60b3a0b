"""Several stores as if one held all their layers: a view, which keeps nothing of its own on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from toolkit.core.artifacts import signature
from toolkit.core.errors import InputError, StoreError
from toolkit.corpus.splits import Folds
from toolkit.features.layout import STATISTICS, LayerFeatures
from toolkit.features.shard import ClipRecord
from toolkit.features.store import Store
from toolkit.features.units import UnitStore

SEPARATOR = "+"  # between the stores in `--model A+B`, and in the fusion's name
OF = ":"  # between a store's name and its layer's


class Part(Protocol):
    """What a fusion reads of a store, or of what takes its place for new clips."""

    @property
    def ids(self) -> Sequence[str]: ...
    @property
    def layers(self) -> Sequence[str]: ...
    def layer(self, name: str) -> LayerFeatures: ...


class View:
    """Layers of several parts on the clips that all of them have, in the order of the first.

    parts: by name, which is what a layer's name here begins with: "whisper-medium:encoder.7".
    """

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self._parts = dict(parts)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        first, *others = (tuple(part.ids) for part in self._parts.values())
        shared = set(first).intersection(*others)
        return tuple(clip for clip in first if clip in shared)

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(layer_of(name, layer) for name, part in self._parts.items() for layer in part.layers)

    @property
    def statistics(self) -> tuple[str, ...]:
        return STATISTICS

    @property
    def failed(self) -> Mapping[str, str]:
        return {}

    def layer(self, name: str) -> LayerFeatures:
        """One part's layer, of the shared clips. Raises StoreError."""
        part, layer_name = split(name)
        if part not in self._parts:
            raise StoreError(f"No layer {name!r} in {SEPARATOR.join(self._parts)}; expected it to begin with a part")
        whole = self._parts[part].layer(layer_name)
        if tuple(whole.ids) == self.ids:
            return LayerFeatures(name, self.ids, whole.mean, whole.std)
        place = {clip: row for row, clip in enumerate(whole.ids)}
        rows = np.array([place[clip] for clip in self.ids], dtype=np.int64)
        return LayerFeatures(name, self.ids, whole.mean[rows], whole.std[rows])


class Fused(View):
    """A `View` of stores, with what a run keeps of one.

    Raises InputError for stores that have no clip in common, or have another recording under one id.
    """

    def __init__(self, parts: Mapping[str, Store]) -> None:
        super().__init__(parts)
        self.parts = dict(parts)
        self._first, *others = parts.values()
        if not self.ids:
            raise InputError(f"{self.backbone}: the stores have no clip in common; extract both from the same manifest")
        ours = self._first.clips
        for other in others:
            theirs = other.clips
            if odd := [clip for clip in self.ids if ours[clip].audio_sha256 != theirs[clip].audio_sha256]:
                raise InputError(
                    f"{self._first.folder.name} and {other.folder.name} hold different audio of {len(odd):,} clips, "
                    f"the first is {odd[0]!r}; extract both from the same recordings, with the same --window"
                )

    @property
    def backbone(self) -> str:
        return SEPARATOR.join(self.parts)

    @property
    def folder(self) -> Path:
        """Of the first store."""
        return self._first.folder

    @property
    def imported(self) -> None:
        """Of each store, not of all together."""
        return None

    @property
    def signature(self) -> str:
        """SHA-256 of the stores' own, in their order."""
        return signature({"fused": [[name, store.signature] for name, store in self.parts.items()]})

    @property
    def settings(self) -> dict[str, Any]:
        """The stores' own, and what they share: the windows that recordings were cut by."""
        every = {
            name: {"backbone": store.backbone, "store": store.signature, **store.settings}
            for name, store in self.parts.items()
        }
        windows = self._first.settings.get("windows")
        return {"fused": every, **({"windows": windows} if windows else {})}

    @cached_property
    def clips(self) -> dict[str, ClipRecord]:
        """The shared clips, with every store's flags."""
        every = [store.clips for store in self.parts.values()]
        return {
            clip: replace(every[0][clip], flags=tuple(dict.fromkeys(flag for one in every for flag in one[clip].flags)))
            for clip in self.ids
        }

    @cached_property
    def failed(self) -> dict[str, str]:
        """Why a clip of some store is not shared."""
        reasons: dict[str, str] = {}
        known = dict.fromkeys(clip for store in self.parts.values() for clip in (*store.ids, *store.failed))
        for name, store in self.parts.items():
            for clip in known:
                if clip not in store.clips:
                    reasons.setdefault(clip, f"not in {name}: {store.failed.get(clip, 'not extracted')}")
        return reasons

    @property
    def audio_sha256(self) -> dict[str, str]:
        return {clip: record.audio_sha256 for clip, record in self.clips.items()}

    @property
    def sounding_sha256(self) -> dict[str, str]:
        shared = self._first.sounding_sha256
        return {clip: shared[clip] for clip in self.ids if clip in shared}


def layer_of(part: str, layer: str) -> str:
    """What a part's layer is called in a fusion.

    >>> layer_of("acoustic", "features.0"), split("acoustic:features.0")
    ('acoustic:features.0', ('acoustic', 'features.0'))
    """
    return f"{part}{OF}{layer}"


def split(layer: str) -> tuple[str, str]:
    """The part and its own layer of a fusion's."""
    part, _, layer_name = layer.partition(OF)
    return part, layer_name


Features = Store | Fused | UnitStore  # what a run probes


def stores_of(features: Features) -> dict[str, Store]:
    """The stores of some features, by name: of a store itself."""
    if isinstance(features, UnitStore):
        return {features.backbone: features.store}
    return features.parts if isinstance(features, Fused) else {features.backbone: features}


def clips_behind(features: Features, folds: Folds) -> tuple[Store | Fused, Folds]:
    """The features of clips, and their folds, under those of units; of any other these themselves."""
    if isinstance(features, UnitStore):
        return features.store, features.clips_of(folds)
    return features, folds
