"""Is a name, an id or a hash still anywhere? Every byte of every file under a folder is searched for it."""

import csv
import html
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

SHORT = 6  # bytes: shorter names, and plain numbers, are in any file by chance; for them whole values are compared
NUMBER = re.compile(r"[0-9.]+")
# Where text of ours that is no one's name may read like a short one: label "1", layer "3".
NOT_NAMES = frozenset({"labels", "columns", "layers", "setting", "packages", "recipe"})
# Letters, digits, - and _ belong to a name, a dot between digits to a number.
JOINED_BEFORE, AFTER = re.compile(rb"([0-9A-Za-z_-]|[0-9]\.)\Z"), rb"(?![0-9A-Za-z_-])(?!\.[0-9])"


@dataclass(frozen=True)
class Search:
    """files, bytes: how many were read. found: the names in each file that holds some, by its path."""

    files: int
    bytes: int
    found: Mapping[str, tuple[str, ...]]


def is_plain(name: str) -> bool:
    """Whether a name may be in any file by chance."""
    return len(name.encode()) < SHORT or NUMBER.fullmatch(name) is not None


def search(root: Path, names: Collection[str], skip: Collection[Path] = (), foreign: Collection[Path] = ()) -> Search:
    """Look for whole names in the bytes and the paths of all files under `root`, and in the texts of HDF5.

    A plain name is compared with the values of JSON, CSV and HDF5 files instead. Links are followed once.
    skip: files that are the user's own. foreign: folders that others made, such as a tokenizer's vocabulary, where a
    plain name means nothing.
    """
    left_out = {path.resolve() for path in skip}
    plain = {name for name in names if is_plain(name)}
    looked_for = _Names(set(names) - plain)
    files = size = 0
    found: dict[str, tuple[str, ...]] = {}
    for path in _files(root):
        if path.resolve() in left_out:
            continue
        files += 1
        place = path.relative_to(root).as_posix()
        hits = looked_for.within(place.encode())
        if length := path.stat().st_size:
            size += length
            with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
                hits |= looked_for.within(content)
        read = TEXTS.get(path.suffix)
        texts = set(read(path)) if read else set()
        if not any(path.is_relative_to(folder) for folder in foreign):
            hits.update(name.encode() for name in texts & plain)
        hits |= looked_for.within("\0".join(texts).encode())
        if hits:
            found[place] = tuple(hit.decode() for hit in sorted(hits))
    return Search(files, size, found)


def _forms(name: str) -> set[bytes]:
    """As it is written in text, in JSON of ASCII, and in HTML."""
    return {name.encode(), json.dumps(name)[1:-1].encode(), html.escape(name).encode()}


class _Names:
    """Finds whole names in bytes; as fast for a thousand names as for one, because the pattern is a tree of them."""

    def __init__(self, names: Collection[str]) -> None:
        forms = {form for name in names for form in _forms(name)}
        self._pattern = re.compile(_tree(sorted(forms)) + AFTER if forms else b"(?!)")

    def within(self, data: bytes | mmap) -> set[bytes]:
        return {
            match[0]
            for match in self._pattern.finditer(data)
            if not JOINED_BEFORE.search(data, max(0, match.start() - 2), match.start())
        }


def _tree(forms: Sequence[bytes]) -> bytes:
    """A pattern of these forms, which differ and are in order."""
    if len(forms) == 1:
        return re.escape(forms[0])
    branches = [
        re.escape(first) + _tree([form[1:] for form in group])
        for first, group in groupby(filter(None, forms), lambda form: form[:1])
    ]
    return b"(?:" + b"|".join(branches) + b")" + (b"" if forms[0] else b"?")


def _files(root: Path) -> Iterator[Path]:
    """Every regular file, hidden ones too; a folder that several links lead to is entered once."""
    seen: set[str] = set()
    for place, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (path for name in sorted(files) if (path := Path(place, name)).is_file())


def _of_json(path: Path) -> Iterator[str]:
    try:
        yield from _texts(json.loads(path.read_bytes()))
    except (ValueError, RecursionError):
        return


def _of_json_lines(path: Path) -> Iterator[str]:
    for line in path.read_bytes().splitlines():
        with suppress(ValueError, RecursionError):
            yield from _texts(json.loads(line))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield key
            if key not in NOT_NAMES:
                yield from _texts(part)


def _of_csv(path: Path) -> Iterator[str]:
    """What names a row: ours have the id first, then what is kept apart."""
    rows = csv.reader(path.read_text("utf-8", errors="replace").splitlines())
    try:
        if next(rows, [""])[:1][0] in ("id", "recording"):
            for row in rows:
                yield from row[:2]
    except (csv.Error, IndexError):
        return


def _of_hdf5(path: Path) -> Iterator[str]:
    import h5py

    texts: list[str] = []

    def visit(name: str, node: Any) -> None:
        texts.append(name)
        values = [*node.attrs.values()]
        if isinstance(node, h5py.Dataset) and h5py.check_string_dtype(node.dtype):
            values.append(node[...])
        for value in values:
            parts = value.ravel().tolist() if hasattr(value, "ravel") else [value]
            texts.extend(part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in parts)

    try:
        with h5py.File(path, "r") as file:
            visit("/", file)
            file.visititems(visit)
    except (OSError, RuntimeError):
        pass
    return iter(texts)


# What gives the texts of a file, by its suffix: where they are apart from numbers, and where they may be packed.
TEXTS: dict[str, Callable[[Path], Iterator[str]]] = {
    ".json": _of_json,
    ".csv": _of_csv,
    ".h5": _of_hdf5,
    ".jsonl": _of_json_lines,
}
