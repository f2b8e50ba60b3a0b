"""The stores of a workspace, and which of them a name means."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.core.artifacts import (
    CODE_SETTING,
    code_file,
    code_name,
    model_name,
    sha256_of_file,
)
from toolkit.core.errors import StoreError
from toolkit.features.layout import SIDECARS, STORE_FILE
from toolkit.features.store import Store


def remove(store: Store) -> None:
    """Delete a store's folder, which vanishes at once. Raises StoreError where another run writes to it."""
    removed = store.folder.with_name(f".{store.folder.name}.removed")
    with store.writing():
        shutil.rmtree(removed, ignore_errors=True)
        store.folder.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)


def stores(features: Path) -> list[Store]:
    """Every store of a workspace, by folder name. Raises StoreError for a damaged one."""
    return [Store(folder) for folder in _folders(features)]


def _folders(features: Path) -> list[Path]:
    return [path.parent for path in sorted(features.glob(f"*/{STORE_FILE}"))]


def _apart(several: Sequence[Store]) -> str:
    """Stores with the settings in which they differ."""
    every = dict.fromkeys(key for one in several for key in one.settings)
    keys = [key for key in every if len({repr(one.settings.get(key)) for one in several}) > 1]

    def shown(value: Any) -> str:
        if isinstance(value, list) and len(value) > 1:
            return f"{value[0]} to {value[-1]}"
        return str(value)[:40]

    return ", ".join(
        f"{one.folder.name} ({'; '.join(f'{key} {shown(one.settings.get(key))}' for key in keys)})" for one in several
    )


def _made_by(file: Path, factory: str, folders: Sequence[Path]) -> list[Path]:
    """Those stores whose code a file is as it is now."""
    if not file.is_file():
        raise StoreError(
            f"--model {file.name}: there is no such file; its features are called {code_name(file, factory)}"
        )
    made = {"file": file.name, "factory": factory or "*", "sha256": sha256_of_file(file)}
    return [folder for folder in folders if Store(folder).settings.get(CODE_SETTING) == made]


def find(features: Path, name: str, picked: Sequence[str] = ()) -> Store:
    """The store of a backbone's name, of a folder's name or its beginning, if that names one only, or of a path.

    picked: where several fit, how the folder's name of the one that is meant begins. A file of code means the features
    that it makes as it is now.
    Raises StoreError when there is none, or when several fit, naming them.
    """
    backbones = {folder: folder.name.rpartition("-")[0] for folder in _folders(features)}
    if Path(name).name != name and Path(name).is_dir():  # of a store, or of a checkpoint
        name = Path(name).resolve().name if (Path(name) / STORE_FILE).is_file() else model_name(Path(name))
    code = code_file(name)
    called = code_name(*code) if code else name
    fitting = [folder for folder, backbone in backbones.items() if backbone == called]
    if code:
        fitting = _made_by(*code, fitting)
    else:
        fitting = fitting or [folder for folder in backbones if folder.name.startswith(name)]
    if not fitting:
        known = ", ".join(sorted(set(backbones.values()))) or "none"
        raise StoreError(
            f"No features of {name!r} in {features.name}/ (there: {known}); `toolkit extract --model {name}` makes them"
        )
    if len(fitting) > 1:  # one that was created and holds nothing yet, e.g. by `toolkit models check`, is not meant
        fitting = [folder for folder in fitting if any(folder.glob(SIDECARS))] or fitting
    if len(fitting) > 1:
        fitting = [folder for folder in fitting if folder.name.startswith(tuple(picked))] or fitting
    if len(fitting) > 1:
        apart = _apart([Store(folder) for folder in fitting])
        raise StoreError(
            f"Several stores of {name!r} in {features.name}/: {apart}; name the one that is meant in its place, or by "
            f"--store, such as {fitting[0].name}"
        )
    return Store(fitting[0])
