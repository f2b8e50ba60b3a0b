"""Embeddings of any origin, one vector a clip and layer, checked and committed as a feature store.

The store keeps of each clip's audio what an extracted one keeps (hash, length, flags), so that leaks between folds,
near-copies, nuisances and purges work as they do there.
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import h5py
import numpy as np

from toolkit.core.artifacts import cores, sha256_of_file, signature
from toolkit.core.errors import InputError, one_of
from toolkit.corpus.place import Place
from toolkit.features.layout import CLIPS_PER_SHARD, FloatArray
from toolkit.features.loading import decode_all
from toolkit.features.shard import ClipRecord, FailedRecord, ShardContent
from toolkit.features.store import Store, create

SUFFIXES = (".npy", ".npz", ".h5")
IDS = ("ids", "id")  # what an array of the clips' ids may be called
NAME = re.compile(r"\w[\w.-]{0,63}")  # it begins the name of a folder
NUMBERS = ("f2", "f4", "f8", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)))

Array = Any  # of numpy or HDF5: (n_clips, width), read as it is sliced
Records = Callable[[Sequence[str]], Iterator[ClipRecord | FailedRecord]]


@dataclass(frozen=True)
class Embeddings:
    """What a file holds, its shapes checked, its numbers not yet read.

    file: its name. sha256: of its bytes. layers: (n_clips, width) each, of one width. ids: of the rows.
    """

    file: str
    sha256: str
    layers: Mapping[str, Array]
    ids: tuple[str, ...]

    @property
    def width(self) -> int:
        return int(next(iter(self.layers.values())).shape[1])

    def values(self, layer: str, first: int, last: int) -> FloatArray:
        """Rows `first` to `last` of a layer in float32.

        Raises InputError for a value that is not finite, or that float32 does not hold, by clip and layer.
        """
        given = self.layers[layer][first:last]
        with np.errstate(over="ignore"):
            found: FloatArray = np.asarray(given, dtype=np.float32)
        if not np.isfinite(found).all():
            row, column = (int(place) for place in np.argwhere(~np.isfinite(found))[0])
            raise InputError(
                f"{self.file}: layer {layer!r} of clip {self.ids[first + row]!r} holds {given[row, column]}, expected "
                "finite numbers that float32 holds"
            )
        return found

    def check(self, clips: Sequence[str], manifest: str) -> None:
        """Raises InputError unless the rows are those of the manifest's clips, each once, and hold finite numbers."""
        known, ids = set(clips), set(self.ids)
        seen: set[str] = set()
        for names, fault in (
            ([clip for clip in self.ids if clip in seen or seen.add(clip)], "stand in more than one row"),  # type: ignore[func-returns-value]
            ([clip for clip in self.ids if clip not in known], f"are not in {manifest}"),
            ([clip for clip in clips if clip not in ids], f"of {manifest} have no row"),
        ):
            if names:
                raise InputError(
                    f"{self.file}: {len(names):,} ids {fault}, the first is {names[0]!r}; expected every clip of "
                    f"{manifest} once"
                )
        for layer in self.layers:
            for first in range(0, len(self.ids), CLIPS_PER_SHARD):
                self.values(layer, first, first + CLIPS_PER_SHARD)


@contextmanager
def opened(file: Path, ids: Path | None = None) -> Iterator[Embeddings]:
    """A file of embeddings, for as long as the block runs.

    file: .npy of shape (n_clips, width) or (n_layers, n_clips, width); .npz with an array (n_clips, width) a layer, in
    its order; .h5 with a dataset a layer, in the order of their numbers. ids: text with an id a line, or .csv with a
    column id, in the order of the rows; where it is None, the .npz or .h5 has them as `ids`.

    Raises InputError for any other content.
    """
    if file.suffix not in SUFFIXES:
        raise InputError(f"{file.name}: {one_of('suffix', file.suffix, SUFFIXES)}")
    if not file.is_file():
        raise InputError(f"There is no file {file.name}")
    with ExitStack() as stack:
        arrays = _arrays(file, stack)
        layers = {name: array for name, array in arrays.items() if name not in IDS}
        inside = [array for name, array in arrays.items() if name in IDS]
        if len(inside) + (ids is not None) != 1:
            found = f"{len(inside)} arrays of ids and {'a' if ids else 'no'} file of ids"
            raise InputError(f"{file.name}: {found}; expected one of them: --ids FILE, or an array called {IDS[0]}")
        names = _read_ids(ids) if ids else _ids_inside(file, inside[0])
        if not layers:
            raise InputError(f"{file.name} has no layer; expected an array of shape (clips, width) for each")
        for name, array in layers.items():
            _check_layer(file, name, array, next(iter(layers.values())), len(names))
        yield Embeddings(file.name, sha256_of_file(file), layers, names)


def _check_layer(file: Path, name: str, array: Array, first: Array, rows: int) -> None:
    if not name or name != name.strip() or not name.isprintable():
        raise InputError(f"{file.name}: bad layer name {name!r}; expected text without spaces around it")
    if array.dtype.str[1:] not in NUMBERS:
        raise InputError(f"{file.name}: layer {name!r} is of {array.dtype}, expected float or integer numbers")
    if array.ndim != 2 or not array.size:
        raise InputError(f"{file.name}: layer {name!r} has the shape {array.shape}, expected (clips, width)")
    if array.shape != (rows, first.shape[1]):
        raise InputError(
            f"{file.name}: layer {name!r} has the shape {array.shape}, expected {(rows, first.shape[1])}: a row for "
            "each id, and one width for all layers"
        )


def _arrays(file: Path, stack: ExitStack) -> Mapping[str, Array]:
    """What a file holds, by name, while the stack is open. Raises InputError for what is no such file."""
    try:
        if file.suffix == ".h5":
            content = stack.enter_context(h5py.File(file, "r"))
            return {name: _plain(file, content, name) for name in sorted(content, key=_by_number)}
        loaded = np.load(file, mmap_mode="r" if file.suffix == ".npy" else None, allow_pickle=False)
        if file.suffix == ".npz":
            with loaded:
                return {name: loaded[name] for name in loaded.files}
        return {f"layer.{number}": layer for number, layer in enumerate(loaded if loaded.ndim == 3 else [loaded])}
    except (OSError, ValueError, EOFError, KeyError, TypeError, AttributeError, BadZipFile) as error:
        raise InputError(
            f"{file.name} cannot be read as {file.suffix}: {error}".replace(str(file), file.name)
        ) from None


def _plain(file: Path, content: Any, name: str) -> Array:
    """A dataset of the file itself; links and virtual datasets could read any other file."""
    dataset = content[name] if isinstance(content.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise InputError(
            f"{file.name}: {name!r} is no dataset of its own, expected one of shape (clips, width) a layer"
        )
    return dataset


def _by_number(name: str) -> list[tuple[int, str]]:
    """So that "layer 2" comes before "layer 10"."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _ids_inside(file: Path, array: Array) -> tuple[str, ...]:
    values = array.asstr()[...] if isinstance(array, h5py.Dataset) and h5py.check_string_dtype(array.dtype) else array
    if values.ndim != 1 or values.dtype.kind not in "UO":
        raise InputError(f"{file.name}: its ids are {values.dtype} of shape {values.shape}, expected (clips,) of text")
    return tuple(map(str, values))


def _read_ids(file: Path) -> tuple[str, ...]:
    """Raises InputError."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{file.name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{file.name}: byte {error.start} is not UTF-8; save it as UTF-8") from None
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    if file.suffix.lower() != ".csv":
        return tuple(lines)
    rows = csv.DictReader(lines)
    if "id" not in (rows.fieldnames or ()):
        raise InputError(f"{file.name} has the columns {list(rows.fieldnames or ())}, expected one called id")
    return tuple(row["id"] or "" for row in rows)


def import_(features: Path, name: str, embeddings: Embeddings, records: Records) -> tuple[Store, dict[str, str]]:
    """The store NAME-SIG12 of embeddings that were checked; interrupted, it resumes when called again.

    records: what is kept of each of some clips next to its numbers, in the order given; called for those that are not
    stored yet. Returns the store, and reasons by id of the clips that failed just now.
    Raises InputError for a name that cannot be a folder's, StoreError, DiskFullError.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"Bad name {name!r}, expected letters, digits, '.', '_' and '-', 64 at most")
    layers = tuple(embeddings.layers)
    store = create(features, name, layers, embeddings.width, {
        "imported": embeddings.sha256,
        "ids": signature({"ids": embeddings.ids}),
        "layers": layers,
        "statistics": ("mean",),
    })  # fmt: skip
    failures: dict[str, str] = {}
    with store.writing() as writer:
        todo = [row for row, clip in enumerate(embeddings.ids) if clip not in store.clips]
        made = records([embeddings.ids[row] for row in todo])
        for first in range(0, len(todo), CLIPS_PER_SHARD):
            rows = todo[first : first + CLIPS_PER_SHARD]
            recorded = list(islice(made, len(rows)))
            clips = tuple(record for record in recorded if isinstance(record, ClipRecord))
            failed = tuple(record for record in recorded if isinstance(record, FailedRecord))
            kept = [row - rows[0] for row, record in zip(rows, recorded, strict=True) if isinstance(record, ClipRecord)]
            mean = np.stack([embeddings.values(layer, rows[0], rows[-1] + 1)[kept] for layer in layers])
            writer.commit(ShardContent(clips, failed, {"mean": mean}, exact=True))
            failures |= {record.id: record.reason for record in failed}
    store.refresh()
    return store, failures


def import_file(place: Place, name: str, file: Path, ids: Path | None = None) -> tuple[Store, dict[str, str]]:
    """`import_` of a file whose rows are the manifest's clips; their audio is decoded once.

    Raises what `opened`, `Embeddings.check` and `import_` raise.
    """
    corpus = place.corpus()
    by_id = {clip.id: clip for clip in corpus.clips}

    def records(clips: Sequence[str]) -> Iterator[ClipRecord | FailedRecord]:
        with (
            closing(decode_all(corpus, (by_id[clip] for clip in clips), cores())) as decoded,
            place.bar("import", len(clips), "clips") as advance,
        ):
            for item in decoded:
                advance(1, item.seconds)
                yield item.record if item.audio else FailedRecord(item.clip.id, item.source, item.reason)

    with opened(file, ids) as embeddings:
        embeddings.check([clip.id for clip in corpus.clips], corpus.name)
        return import_(place.features, name, embeddings, records)
