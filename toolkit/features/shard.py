"""One shard: an HDF5 file of up to CLIPS_PER_SHARD clips, and the sidecar JSON whose presence is the commit."""

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from toolkit.core.artifacts import commit_file, commit_hashed, read_hashed, sha256_of_file
from toolkit.core.errors import StoreError
from toolkit.core.platform import sync_folder
from toolkit.features.layout import FORMAT_VERSION, FloatArray, dataset_of

HASH = "sidecar_sha256"  # where a sidecar has its own
AGAIN = "-again"  # after the name of a data file that took the place of another one

# Where a clip's audio came from, as cheap evidence that it is unchanged: file size in bytes, mtime in ns, start and
# end in seconds, channel, the duration that the manifest says, a mark of the path (`mark`), and where a text is read
# next to it one of the text. Stores of an earlier version lack duration and marks.
Source = tuple[float | None, ...]


def channel_of(source: Source) -> int | None:
    return None if source[4] is None else int(source[4])


def mark(text: str) -> int:
    """48 bits that identify a file's path in the corpus, or a text, and do not spell it."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """What a sidecar says of one clip. audio_sha256 and samples are of the decoded audio at 16 kHz.

    recording: for a window of a longer recording, that recording's id.
    """

    id: str
    source: Source
    audio_sha256: str
    samples: int
    flags: tuple[str, ...] = ()
    recording: str | None = None


@dataclass(frozen=True)
class FailedRecord:
    """A clip that could not be extracted, and why."""

    id: str
    source: Source | None
    reason: str


@dataclass(frozen=True)
class ShardContent:
    """What one shard holds before it is written.

    clips: n. statistics: "mean", "std" and others, (n_layers, n, width) float32, finite; or one a layer, (n, width).
    frames: by layer name, the (n_frames_total, width) states of all clips end to end; frame_counts: (n,).
    exact: float16 is only for values that it holds to the bit.
    """

    clips: tuple[ClipRecord, ...]
    failed: tuple[FailedRecord, ...]
    statistics: Mapping[str, FloatArray]
    frames: Mapping[str, FloatArray] = field(default_factory=dict)
    frame_counts: npt.NDArray[np.int64] | None = None
    exact: bool = False


@dataclass(frozen=True)
class Sidecar:
    """The committed description of a shard."""

    file: str
    bytes: int
    sha256: str
    clips: tuple[ClipRecord, ...]
    failed: tuple[FailedRecord, ...]


def as_stored(values: Mapping[str, FloatArray], exact: bool = False) -> dict[str, npt.NDArray[Any]]:
    """In float16, or in float32 when any value would not be finite in float16 (beyond 65,504); exact: or not itself."""
    with np.errstate(over="ignore"):
        halves = {name: array.astype(np.float16) for name, array in values.items()}
    if exact:
        fit = all(np.array_equal(halves[name], array) for name, array in values.items())
    else:
        fit = all(np.isfinite(array).all() for array in halves.values())
    return halves if fit else dict(values)


def write(folder: Path, number: int, content: ShardContent) -> Sidecar:
    """Commit shard `number`: the data file first, then the sidecar, each whole or not at all.

    Raises DiskFullError; StoreError if the file does not read back as it was written.
    """
    path = folder / f"shard-{number:05d}.json"
    return _commit(path, path.with_suffix(".h5").name, _datasets(content), content.clips, content.failed)


def _commit(
    path: Path,
    name: str,
    datasets: Mapping[str, npt.NDArray[Any]],
    clips: tuple[ClipRecord, ...],
    failed: tuple[FailedRecord, ...],
) -> Sidecar:
    """Data file `name`, then the sidecar `path`, which from then on is what counts."""
    data = path.with_name(name)
    # built in memory and written in one go: HDF5 itself can crash the process when the disk is full
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        for dataset, array in datasets.items():
            file.create_dataset(dataset, data=array)
    digest = hashlib.sha256(image.getbuffer()).hexdigest()

    def write_data(temporary: Path) -> None:
        temporary.write_bytes(image.getbuffer())
        if sha256_of_file(temporary) != digest:
            raise StoreError(f"{name} did not read back as it was written; check the disk")
        with h5py.File(temporary, "r") as file:
            for dataset, array in datasets.items():
                bits = f"u{array.itemsize}"  # which compare faster than float16 does
                if not np.array_equal(file[dataset][...].view(bits), array.view(bits)):
                    raise StoreError(f"{name}: {dataset} did not read back as it was written; check the disk")

    commit_file(data, write_data)
    sidecar = Sidecar(name, len(image.getbuffer()), digest, clips, failed)
    commit_hashed(path, _to_json(sidecar), HASH)
    return sidecar


def without(path: Path, is_removed: Callable[[str], bool]) -> None:
    """Commit a shard again, less the clips that `is_removed`, by id; path: its sidecar's.

    The others keep their bytes. The new data goes to another file, so that a crash leaves the old shard or the new
    one, both whole; what no sidecar names is removed by `tidy`. Raises StoreError, DiskFullError.
    """
    sidecar = read_sidecar(path)
    verify(path.parent, sidecar)
    kept = np.array([not is_removed(clip.id) for clip in sidecar.clips], dtype=bool)
    clips = tuple(clip for clip, keep in zip(sidecar.clips, kept) if keep)
    failed = tuple(clip for clip in sidecar.failed if not is_removed(clip.id))
    if clips or failed:
        with h5py.File(path.parent / sidecar.file, "r") as file:
            datasets: dict[str, npt.NDArray[Any]] = {}
            for name in (each for each in file if each not in ("frame_counts", "frames")):
                if isinstance(file[name], h5py.Group):
                    datasets |= {dataset_of(name, layer): each[...][kept] for layer, each in file[name].items()}
                else:
                    datasets[name] = file[name][...][:, kept]
            if "frame_counts" in file:
                counts = file["frame_counts"][...]
                datasets["frame_counts"] = counts[kept]
                frames = np.repeat(kept, counts)
                datasets |= {f"frames/{layer}": values[...][frames] for layer, values in file["frames"].items()}
        plain, other = f"{path.stem}.h5", f"{path.stem}{AGAIN}.h5"
        _commit(path, plain if sidecar.file == other else other, datasets, clips, failed)
    else:
        path.unlink()
        sync_folder(path.parent)
    tidy(path.parent)


def renew(path: Path, sources: Mapping[str, Source]) -> None:
    """Commit a sidecar again with these sources, by clip; the data stays. path: the sidecar's. Raises as `without`."""
    sidecar = read_sidecar(path)
    clips = tuple(replace(clip, source=sources.get(clip.id, clip.source)) for clip in sidecar.clips)
    if clips != sidecar.clips:
        commit_hashed(path, _to_json(replace(sidecar, clips=clips)), HASH)


def tidy(folder: Path) -> None:
    """Remove what an interrupted run left: temporary files, and data files that no sidecar names."""
    for leftover in folder.glob(".shard-*.tmp"):
        leftover.unlink()
    data: dict[Path, list[Path]] = {}
    for path in folder.glob("shard-*.h5"):
        data.setdefault(path.with_name(f"{path.stem.removesuffix(AGAIN)}.json"), []).append(path)
    for sidecar, files in data.items():
        try:
            # one file next to its sidecar is what it names; nothing is read for that
            named = files[0].name if len(files) == 1 and sidecar.exists() else read_sidecar(sidecar).file
        except StoreError:
            if sidecar.exists():  # damaged: which of them it named is not known
                continue
            named = ""
        for path in files:
            if path.name != named:
                path.unlink()


def _datasets(content: ShardContent) -> dict[str, npt.NDArray[Any]]:
    datasets = as_stored(content.statistics, content.exact)
    if content.frame_counts is not None:
        datasets["frame_counts"] = content.frame_counts
        datasets |= {f"frames/{layer}": values for layer, values in as_stored(content.frames).items()}
    return datasets


def _to_json(sidecar: Sidecar) -> dict[str, Any]:
    return {
        "format": FORMAT_VERSION,
        "file": sidecar.file,
        "bytes": sidecar.bytes,
        "sha256": sidecar.sha256,
        "clips": [
            [clip.id, list(clip.source), clip.audio_sha256, clip.samples, list(clip.flags)]
            + ([clip.recording] if clip.recording is not None else [])
            for clip in sidecar.clips
        ],
        "failed": [[clip.id, clip.source and list(clip.source), clip.reason] for clip in sidecar.failed],
    }


def read_sidecar(path: Path) -> Sidecar:
    """Read a sidecar and verify it against its own hash. Raises StoreError by the file's name."""
    try:
        content = read_hashed(path, HASH)
        if content["format"] != FORMAT_VERSION:
            raise ValueError(f"format {content['format']}, expected {FORMAT_VERSION}")
        if content["file"] not in (f"{path.stem}.h5", f"{path.stem}{AGAIN}.h5"):
            raise ValueError(f"it describes {content['file']}, expected {path.stem}.h5")
        return Sidecar(
            content["file"],
            content["bytes"],
            content["sha256"],
            tuple(
                ClipRecord(i, tuple(source), sha, n, tuple(flags), *recording)
                for i, source, sha, n, flags, *recording in content["clips"]
            ),
            tuple(FailedRecord(i, source and tuple(source), reason) for i, source, reason in content["failed"]),
        )
    except OSError as error:
        raise StoreError(f"{_named(path)} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{_named(path)} is damaged: {error}. {REDO}") from None


REDO = "Delete that shard's two files and run `toolkit extract` again: it redoes these clips only"


def _named(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def is_there(folder: Path, sidecar: Sidecar) -> None:
    """Compare a data file's size with its sidecar's; nothing is read. Raises StoreError."""
    path = folder / sidecar.file
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise StoreError(f"{_named(path)} is missing. {REDO}") from None
    if size != sidecar.bytes:
        raise StoreError(f"{_named(path)} has {size:,} bytes, its sidecar says {sidecar.bytes:,}. {REDO}")


def verify(folder: Path, sidecar: Sidecar) -> None:
    """Compare a data file with its sidecar, by size and SHA-256, before HDF5 sees a byte of it. Raises StoreError."""
    is_there(folder, sidecar)
    path = folder / sidecar.file
    try:
        found = sha256_of_file(path)
    except OSError as error:
        raise StoreError(f"{_named(path)} cannot be read: {error.strerror}") from None
    if found != sidecar.sha256:
        raise StoreError(f"{_named(path)} is damaged: its SHA-256 is not the sidecar's. {REDO}")
