"""The winners that a probe run kept, and the features of any clips for them: stored by the run, or extracted since."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.errors import InputError, StoreError
from toolkit.core.registry import check_plugins
from toolkit.corpus.labels import IntArray
from toolkit.features.finding import stores
from toolkit.features.fused import split
from toolkit.features.layout import STATISTICS, LayerFeatures
from toolkit.features.store import Store
from toolkit.probe import winners
from toolkit.probe.data import Layers, rows_of
from toolkit.probe.winners import FOLDER, Winner
from toolkit.result.run import Run


@dataclass(frozen=True)
class Joined:
    """Clips of several stores of one backbone as if they lay in one. parts: each store, and the ids there by clip."""

    parts: Sequence[tuple[Layers, Mapping[str, str]]]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(clip for _, clips in self.parts for clip in clips)

    @property
    def layers(self) -> Sequence[str]:
        return self.parts[0][0].layers

    @property
    def statistics(self) -> Sequence[str]:
        return self.parts[0][0].statistics

    @property
    def failed(self) -> Mapping[str, str]:
        return {}

    def rows_of(self, clips: Sequence[str]) -> IntArray:
        """Where some clips are."""
        position = {clip: row for row, clip in enumerate(self.ids)}
        return np.array([position[clip] for clip in clips], dtype=np.int64)

    def layer(self, name: str) -> LayerFeatures:
        """One layer of all the clips. Raises StoreError."""
        picked = []
        for features, clips in self.parts:
            position = {clip: row for row, clip in enumerate(features.ids)}
            picked.append(rows_of(features.layer(name), np.array([position[clip] for clip in clips.values()])))
        joined = {one: np.concatenate([part.matrix(one) for part in picked]) for one in (*STATISTICS, *picked[0].more)}
        return LayerFeatures(name, self.ids, joined.pop("mean"), joined.pop("std"), more=joined)


def of_run(folder: Path, run: Run) -> list[Winner]:
    """The winners that a probe run kept, one per round.

    Raises StoreError for none, or those of another run, MachineError for packages that are not those it was made with.
    """
    features = run.provenance.get("features", {})
    for stated in (run.provenance, features, *features.get("fused", {}).values()):
        check_plugins(stated, folder.name)
    found = winners.read(folder / FOLDER)
    mine = [(choice.fold, dict(choice.setting)) for choice in run.choices]
    if [(winner.fold, dict(winner.setting)) for winner in found] != mine or any(
        winner.task != run.task or winner.probe != run.probe for winner in found
    ):
        raise StoreError(f"{folder.name}/{FOLDER}/ holds the probes of another run; restore them, or probe again")
    return found


@dataclass(frozen=True)
class Origin:
    """One store that a run probed: of which backbone, its signature, its settings, and the layers that winners read."""

    backbone: str
    store: str
    settings: Mapping[str, Any]
    layers: frozenset[str]


def origins_of(run: Run, kept: Sequence[Winner]) -> dict[str, Origin]:
    """The stores that a run probed: of a fusion by their names in it, of any other the one, under ""."""
    settings = run.provenance["features"]
    needed = {layer for winner in kept for layer in winner.layers}
    if not run.fusion:
        return {"": Origin(run.backbone, str(run.provenance.get("store")), settings, frozenset(needed))}
    return {
        name: Origin(
            store["backbone"],
            store["store"],
            {key: value for key, value in store.items() if key not in ("backbone", "store")},
            frozenset(layer for part, layer in map(split, needed) if part == name),
        )
        for name, store in settings["fused"].items()
    }


def store_of(run: Run, features: Path) -> Store | None:
    """The store that a run probed, None where it is missing. features: the workspace's folder of stores."""
    return _store(str(run.provenance.get("store")), features)


def _store(signature: str, features: Path) -> Store | None:
    return next((store for store in stores(features) if store.signature == signature), None)


def stored(origin: Origin, features: Path, audio_sha256: Mapping[str, str]) -> tuple[Store | None, dict[str, str]]:
    """The store that a run probed, None where it is missing, and the id there of each clip whose audio it holds.

    features: the workspace's folder of stores. audio_sha256: by clip.
    Raises InputError for a clip that is not there where the features were imported: nothing here computes them.
    """
    found, ids = _stored(origin, features, audio_sha256)
    imported = origin.settings.get("imported")
    if imported and (new := [clip for clip in audio_sha256 if clip not in ids]):
        raise InputError(
            f"The features of {origin.backbone} were imported from a file (sha256 {imported[:12]}), which nothing here "
            f"computes; {len(new):,} clips are not in that store, the first is {new[0]!r}"
        )
    return found, ids


def _stored(origin: Origin, features: Path, audio_sha256: Mapping[str, str]) -> tuple[Store | None, dict[str, str]]:
    store = _store(origin.store, features)
    if store is None:
        return None, {}
    hashes = store.audio_sha256
    known = {sha256: clip for clip, sha256 in hashes.items()}
    return store, {
        clip: clip if hashes.get(clip) == sha256 else known[sha256]
        for clip, sha256 in audio_sha256.items()
        if sha256 in known
    }
