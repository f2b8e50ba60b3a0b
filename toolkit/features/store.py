"""A feature store: a folder of committed shards for one backbone and one way of computing."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from toolkit.core.artifacts import (
    commit_json,
    locked,
    make_folder,
    signature,
)
from toolkit.core.errors import StoreError
from toolkit.features import shard, staging
from toolkit.features.layout import FORMAT_VERSION, SIDECARS, STATISTICS, STORE_FILE, VARIED, LayerFeatures, dataset_of
from toolkit.features.writer import Writer


@dataclass(frozen=True)
class Total:
    """What a store holds.

    clips: stored ones; failed: reason by id, as in `Store.failed`; bytes: of the data files; flags: by id, of those
    that have any, see `material.FLAGS`.
    """

    clips: int
    failed: dict[str, str]
    bytes: int
    flags: dict[str, tuple[str, ...]]

    @property
    def tried(self) -> int:
        return self.clips + len(self.failed)


class Store:
    """Read access to a store, verified as it is read; `writing()` gives the one writer its turn.

    Nothing is cached across `refresh()`; a store on disk only ever gains shards.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.description = _read_description(folder)
        self._verified: set[str] = set()

    # what store.json says

    @property
    def backbone(self) -> str:
        """The backbone's name, e.g. "whisper-medium"."""
        return str(self.description["backbone"])

    @property
    def layers(self) -> tuple[str, ...]:
        """Layer names in order, "encoder.0" first."""
        return tuple(self.description["layers"])

    @property
    def width(self) -> int:
        """Of every layer, or the largest."""
        return int(self.description["width"])

    @property
    def widths(self) -> dict[str, int]:
        """Of each layer."""
        return dict(zip(self.layers, self.description.get("widths") or [self.width] * len(self.layers)))

    @property
    def signature(self) -> str:
        """SHA-256 of everything that changes the numbers."""
        return str(self.description["signature"])

    @property
    def settings(self) -> dict[str, Any]:
        """What the signature is made of: weights, dtype, context, ..."""
        return dict(self.description["settings"])

    @property
    def statistics(self) -> tuple[str, ...]:
        """What is kept of a clip's frames: mean and std, and others where they are wanted; of an imported layer, which
        has no frames, the mean alone.
        """
        return tuple(self.settings.get("statistics", STATISTICS))

    @property
    def imported(self) -> str | None:
        """SHA-256 of the file that the features were imported from; None where the toolkit computed them."""
        found = self.settings.get("imported")
        return None if found is None else str(found)

    # what the sidecars say

    @cached_property
    def sidecars(self) -> tuple[shard.Sidecar, ...]:
        """The committed shards, in order. Raises StoreError for a damaged sidecar, or a clip that is stored twice."""
        return tuple(self._each())

    def _each(self) -> Iterator[shard.Sidecar]:
        """`sidecars`, read one by one."""
        seen: set[str] = set()
        for path in sorted(self.folder.glob(SIDECARS)):
            sidecar = shard.read_sidecar(path)
            for clip in sidecar.clips:
                if clip.id in seen:
                    raise StoreError(f"{self.folder.name}/{sidecar.file}: clip {clip.id!r} is in two shards")
                seen.add(clip.id)
            yield sidecar

    @cached_property
    def clips(self) -> dict[str, shard.ClipRecord]:
        """Every stored clip by id, in the order of the rows of `layer`."""
        return {clip.id: clip for sidecar in self.sidecars for clip in sidecar.clips}

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.clips)

    @cached_property
    def failed(self) -> dict[str, str]:
        """Reason by id, of the clips that could not be extracted; a later success makes up for a failure."""
        failures = (clip for sidecar in self.sidecars for clip in sidecar.failed)
        return {clip.id: clip.reason for clip in failures if clip.id not in self.clips}

    @cached_property
    def failed_sources(self) -> dict[str, shard.Source | None]:
        """Where the audio of each failed clip came from when it was last tried."""
        return {clip.id: clip.source for sidecar in self.sidecars for clip in sidecar.failed if clip.id in self.failed}

    def total(self) -> Total:
        """Where `sidecars` was not read, counted one by one: all of them take a kilobyte a clip. Raises StoreError."""
        stored: set[str] = set()
        reasons: dict[str, str] = {}
        flags: dict[str, tuple[str, ...]] = {}
        size = 0
        for sidecar in self.__dict__.get("sidecars", self._each()):
            stored.update(clip.id for clip in sidecar.clips)
            reasons |= {clip.id: clip.reason for clip in sidecar.failed}
            flags |= {clip.id: clip.flags for clip in sidecar.clips if clip.flags}
            size += sidecar.bytes
        failed = {clip: reason for clip, reason in reasons.items() if clip not in stored}
        return Total(len(stored), failed, size, flags)

    @property
    def audio_sha256(self) -> dict[str, str]:
        """Hash of the decoded audio by clip id."""
        return {clip.id: clip.audio_sha256 for clip in self.clips.values()}

    @property
    def sounding_sha256(self) -> dict[str, str]:
        """`audio_sha256` without near-silent clips: silence is alike in all recordings, and is no leak between them."""
        return {clip.id: clip.audio_sha256 for clip in self.clips.values() if "near-silent" not in clip.flags}

    # the numbers

    def layer(self, name: str) -> LayerFeatures:
        """One layer of every stored clip, verified against the sidecars' hashes on first touch.

        Raises StoreError for a layer that is not there, a missing or a damaged shard.
        """
        if name not in self.layers:
            raise StoreError(f"{self.folder.name} has no layer {name!r}; it has {self.layers[0]} to {self.layers[-1]}")
        row, varied = self.layers.index(name), "widths" in self.description
        every = dict.fromkeys((*STATISTICS, *self.statistics))
        values = {
            statistic: np.empty((len(self.ids), self.widths[name] if statistic in self.statistics else 0), np.float32)
            for statistic in every
        }
        for first, last, file in self._files():
            for statistic in self.statistics:
                stored = file[dataset_of(statistic, name)][...] if varied else file[statistic][row]
                values[statistic][first:last] = stored
        return LayerFeatures(name, self.ids, values.pop("mean"), values.pop("std"), more=values)

    def frames(self, name: str) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
        """Clip id and its (n_frames, width) states, for a store made with --frames. Raises StoreError."""
        if name not in (self.settings.get("frames") or ()):
            raise StoreError(f"{self.folder.name} keeps no frames of {name!r}; extract with --frames {name}")
        for first, last, file in self._files():
            ends = np.cumsum(file["frame_counts"][...])
            data = file[f"frames/{name}"]
            for clip, start, end in zip(self.ids[first:last], (0, *ends), ends):
                yield clip, data[start:end].astype(np.float32)

    def _files(self) -> Iterator[tuple[int, int, h5py.File]]:
        first = 0
        for sidecar in self.sidecars:
            if sidecar.file not in self._verified:
                shard.verify(self.folder, sidecar)
                self._verified.add(sidecar.file)
            with h5py.File(self.folder / sidecar.file, "r") as file:
                yield first, first + len(sidecar.clips), file
            first += len(sidecar.clips)

    def verify(self) -> Iterator[tuple[str, str]]:
        """File name and defect ("" for none), shard by shard; damage is reported, not raised."""
        for path in sorted(self.folder.glob(SIDECARS)):
            defect = ""
            try:
                shard.verify(self.folder, shard.read_sidecar(path))
            except StoreError as error:
                defect = str(error)
            yield path.with_suffix(".h5").name, defect

    # the one writer

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """Hold the store for this process. Raises StoreError if another run writes to it."""
        with locked(self.folder):
            self.refresh()
            staging.clear(self.folder)
            shard.tidy(self.folder)
            taken = {int(path.stem.removeprefix("shard-")) for path in self.folder.glob(SIDECARS)}
            # a shard that was deleted because it was damaged leaves a gap, which its redone clips fill again
            yield Writer(self.folder, iter(number for number in range(10**5) if number not in taken))

    def refresh(self) -> None:
        """Forget what was read, so that shards committed since are seen."""
        for name in ("sidecars", "clips", "failed", "failed_sources"):
            self.__dict__.pop(name, None)


def folder_of(features: Path, backbone: str, settings: dict[str, Any]) -> Path:
    """Where the store for `settings` is: BACKBONE-SIG12 in the workspace's folder of stores."""
    return features / f"{backbone}-{_signature(settings)[:12]}"


def _signature(settings: dict[str, Any]) -> str:
    return signature({**settings, "format": FORMAT_VERSION})


def create(
    features: Path, backbone: str, layers: tuple[str, ...], width: int | Sequence[int], settings: dict[str, Any]
) -> Store:
    """The store for `settings` (everything that changes the numbers), made if it is not there.

    width: of every layer, or of each.
    """
    widths = [width] * len(layers) if isinstance(width, int) else list(width)
    varied = len(set(widths)) > 1
    folder = make_folder(folder_of(features, backbone, settings))
    if not (folder / STORE_FILE).exists():
        description = {
            "format": VARIED if varied else FORMAT_VERSION,
            "backbone": backbone,
            "layers": list(layers),
            "width": max(widths),
            **({"widths": widths} if varied else {}),
            "settings": settings,
            "signature": _signature(settings),
        }
        commit_json(folder / STORE_FILE, description)
    return Store(folder)


def _read_description(folder: Path) -> dict[str, Any]:
    try:
        description = json.loads((folder / STORE_FILE).read_text(encoding="utf-8"))
        expected = VARIED if "widths" in description else FORMAT_VERSION
        if description["format"] != expected or len(description.get("widths", description["layers"])) != len(
            description["layers"]
        ):
            raise ValueError(f"format {description['format']}, expected {FORMAT_VERSION} or {VARIED}")
        if _signature(description["settings"]) != description["signature"]:
            raise ValueError("its hash does not fit")
        return dict(description)
    except FileNotFoundError:
        raise StoreError(f"No feature store in {folder.name}/: it has no {STORE_FILE}") from None
    except OSError as error:
        raise StoreError(f"{folder.name}/{STORE_FILE} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{folder.name}/{STORE_FILE} is damaged ({type(error).__name__}: {error}). Delete that file and run "
            "`toolkit extract` again as before: it is written anew, and the shards stay"
        ) from None
