"""A whole store as one plain .h5 file, for sharing and for other languages."""

from pathlib import Path

import h5py
import numpy as np

from toolkit.core.artifacts import canonical_json, commit_file
from toolkit.core.errors import InputError
from toolkit.features import shard
from toolkit.features.layout import dataset_of
from toolkit.features.store import Store


def export(store: Store, out: Path) -> int:
    """Write `mean` and, where there is one, `std`, each (layer, clip, width) float32, `id` and `audio_sha256`.

    Where widths differ by layer, `mean/encoder.1` and so on, each (clip, width).

    Read and written shard by shard, so memory does not grow with the store. Returns the size in bytes. Raises
    InputError if `out` exists, or its folder does not.
    """
    if out.exists():
        raise InputError(f"{out.name} is there already; expected a new file's name")
    if not out.absolute().parent.is_dir():
        raise InputError(f"No folder {out.parent.name}/ for {out.name}; make it first")
    shape = (len(store.layers), len(store.ids), store.width)

    def write(temporary: Path) -> None:
        with h5py.File(temporary, "w") as file:
            file.attrs["backbone"] = store.backbone
            file.attrs["layers"] = list(store.layers)
            file.attrs["settings"] = canonical_json(store.settings)
            file.attrs["signature"] = store.signature
            file.create_dataset("id", data=list(store.ids), dtype=h5py.string_dtype())
            file.create_dataset("audio_sha256", data=list(store.audio_sha256.values()), dtype=h5py.string_dtype())
            if len(set(store.widths.values())) == 1:
                datasets = {name: file.create_dataset(name, shape, np.float32) for name in store.statistics}
            else:
                datasets = {
                    name: file.create_dataset(name, (len(store.ids), width), np.float32)
                    for statistic in store.statistics
                    for name, width in ((dataset_of(statistic, layer), width) for layer, width in store.widths.items())
                }
            first = 0
            for sidecar in store.sidecars:
                shard.verify(store.folder, sidecar)
                last = first + len(sidecar.clips)
                with h5py.File(store.folder / sidecar.file, "r") as source:
                    for name, dataset in datasets.items():
                        place = (slice(first, last),) if dataset.ndim == 2 else (slice(None), slice(first, last))
                        dataset[place] = source[name][...]
                first = last

    commit_file(out, write)
    return out.stat().st_size
