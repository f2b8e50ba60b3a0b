"""Folders that are drawn once: one that is there, drawn of the same facts and whole, is left as it is."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from toolkit.core.artifacts import commit_json, sha256_of_file, signature


def draw_once(
    folder: Path, file: str, facts: Mapping[str, Any], draw: Callable[[], None], about: Mapping[str, Any] | None = None
) -> Path:
    """Fill a folder, unless its `file` says that it was drawn of these facts and no other file of it has changed.

    draw: writes everything but `file`, which is committed last. about: more for it. Returns the folder.
    """
    drawn_of = signature(facts)
    if not _is_current(folder, file, drawn_of):
        (folder / file).unlink(missing_ok=True)
        draw()
        commit_json(folder / file, {"drawn_of": drawn_of, **(about or {}), "files": _files_of(folder, file)})
    return folder


def _is_current(folder: Path, file: str, drawn_of: str) -> bool:
    try:
        found = json.loads((folder / file).read_text("utf-8"))
        return bool(found["drawn_of"] == drawn_of and found["files"] == _files_of(folder, file))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _files_of(folder: Path, file: str) -> dict[str, str]:
    """The SHA-256 of each file by its place in the folder, less that of `file`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != file)
    return {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in files}
