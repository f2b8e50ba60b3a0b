"""Reader of CTranslate2's model.bin, the container of faster-whisper. Needs numpy and nothing else.

Everything is little-endian. A string is uint16 length, then that many bytes of UTF-8, the last of them NUL.

    uint32 version, string specification, uint32 revision
    uint32 count, then per variable: string name, uint8 rank, uint32 dims[rank], uint8 dtype, uint32 bytes, the bytes
    uint32 count, then per alias: string alias, string variable

This is what `ModelSpec._serialize` of CTranslate2 writes since its binary version 4.
"""

import mmap
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from toolkit.core.errors import CheckpointError, one_of
from toolkit.models.files import check_is_no_pointer

VERSIONS = (4, 5, 6)
MODEL_FILE = "model.bin"
MAX_RANK = 8  # weights have at most 3 dimensions; numpy itself ends at 64

StoredType = Literal["float32", "int8", "int16", "int32", "float16", "bfloat16"]
STORED_TYPES: tuple[StoredType, ...] = ("float32", "int8", "int16", "int32", "float16", "bfloat16")  # by number
NUMPY_TYPES = {"float32": "<f4", "int8": "<i1", "int16": "<i2", "int32": "<i4", "float16": "<f2", "bfloat16": "<u2"}


@dataclass(frozen=True)
class Variable:
    """One variable as it is in the file. raw: a view of the file's bytes; bfloat16 is held as its 16 bits."""

    name: str
    stored: StoredType
    raw: npt.NDArray[np.generic]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.raw.shape

    def float32(self) -> npt.NDArray[np.float32]:
        """The values as float32, without any scale; exact for every stored type but the largest int32."""
        if self.stored == "bfloat16":
            return (self.raw.astype(np.uint32) << 16).view(np.float32)
        return self.raw.astype(np.float32)


@dataclass(frozen=True)
class Container:
    """A model.bin that was read to its last byte. aliases: other names, each for a name in `variables`."""

    version: int
    specification: str
    revision: int
    variables: Mapping[str, Variable]
    aliases: Mapping[str, str]


def read(source: Path | Sequence[Path]) -> Container:
    """Read a container from a folder with model.bin, one file, or its parts in order.

    A single file is mapped, not copied; parts are joined in memory. Raises CheckpointError, with the offset in bytes,
    for anything that is not a whole container, before an allocation that the file's own size does not justify.
    """
    paths = [source] if isinstance(source, Path) else list(source)
    if not paths:
        raise CheckpointError("No file was given; expected a folder with model.bin, a file, or its parts in order")
    paths = [path / MODEL_FILE if path.is_dir() else path for path in paths]
    label = paths[0].name if len(paths) == 1 else f"{paths[0].name} and {len(paths) - 1} more parts"
    for path in paths:
        if not path.is_file():
            raise CheckpointError(f"There is no file {path.parent.name}/{path.name}; expected CTranslate2's model.bin")
        check_is_no_pointer(path.parent, path.name)
    return parse(_mapped(paths[0]) if len(paths) == 1 else b"".join(path.read_bytes() for path in paths), label)


def _mapped(path: Path) -> bytes | mmap.mmap:
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def parse(data: bytes | mmap.mmap, label: str = MODEL_FILE) -> Container:
    """The container in `data`; `label` names it in errors. Raises CheckpointError."""
    cursor = _Cursor(data, label)
    version = cursor.integer("<I", "the version")
    if version not in VERSIONS:
        raise CheckpointError(f"{label}: {one_of('container version', version, VERSIONS)}; is it CTranslate2's?")
    specification, revision = cursor.string("the specification"), cursor.integer("<I", "the revision")
    variables: dict[str, Variable] = {}
    for _ in range(cursor.integer("<I", "the number of variables")):
        start = cursor.offset
        variable = _variable(cursor)
        if variable.name in variables:
            raise cursor.error(f"a second variable {variable.name!r}", start)
        variables[variable.name] = variable
    aliases: dict[str, str] = {}
    for _ in range(cursor.integer("<I", "the number of aliases")):
        start = cursor.offset
        alias, target = cursor.string("an alias"), cursor.string("an alias's variable")
        if alias in variables or alias in aliases:
            raise cursor.error(f"alias {alias!r} is a name that is taken", start)
        if target not in variables:  # CTranslate2 writes no alias of an alias, so this also ends every circle
            raise cursor.error(f"alias {alias!r} stands for {target!r}, which is no variable", start)
        aliases[alias] = target
    if cursor.offset != len(data):
        raise cursor.error(f"{len(data) - cursor.offset:,} bytes are left over after the last alias", cursor.offset)
    return Container(version, specification, revision, variables, aliases)


class _Cursor:
    """A position in the bytes; every read is checked against what is left before it happens."""

    def __init__(self, data: bytes | mmap.mmap, label: str) -> None:
        self.data, self.label, self.offset = data, label, 0

    def error(self, what: str, offset: int) -> CheckpointError:
        return CheckpointError(f"{self.label}: damaged at byte {offset:,}: {what}")

    def skip(self, count: int, what: str) -> int:
        """Step over `count` bytes; returns where they start."""
        start, left = self.offset, len(self.data) - self.offset
        if count > left:
            raise self.error(f"{what} takes {count:,} bytes but only {left:,} are left", start)
        self.offset += count
        return start

    def integer(self, code: str, what: str) -> int:
        start = self.skip(struct.calcsize(code), what)
        return int(struct.unpack_from(code, self.data, start)[0])

    def string(self, what: str) -> str:
        length = self.integer("<H", what)
        start = self.skip(length, what)
        raw = bytes(self.data[start : self.offset])
        if not raw.endswith(b"\0") or b"\0" in raw[:-1]:
            raise self.error(f"{what} does not end in one NUL", start)
        try:
            return raw[:-1].decode()
        except UnicodeDecodeError:
            raise self.error(f"{what} is not UTF-8", start) from None


def _variable(cursor: _Cursor) -> Variable:
    start = cursor.offset
    name = cursor.string("a variable's name")
    rank = cursor.integer("<B", f"the rank of {name!r}")
    if rank > MAX_RANK:
        raise cursor.error(f"{name!r} has rank {rank}, expected at most {MAX_RANK}", start)
    shape = tuple(cursor.integer("<I", f"a dimension of {name!r}") for _ in range(rank))
    number = cursor.integer("<B", f"the dtype of {name!r}")
    if number >= len(STORED_TYPES):
        expected = f"0 to {len(STORED_TYPES) - 1}"
        raise cursor.error(f"{name!r} has dtype {number}, expected {expected}", start)
    stored = STORED_TYPES[number]
    dtype = np.dtype(NUMPY_TYPES[stored])
    size = cursor.integer("<I", f"the byte count of {name!r}")
    count = 1
    for dimension in shape:  # Python's integers do not overflow
        count *= dimension
    if size != count * dtype.itemsize:
        expected_bytes = f"{shape} {stored} takes {count * dtype.itemsize:,}"
        raise cursor.error(f"{name!r} is said to have {size:,} bytes, but {expected_bytes}", start)
    at = cursor.skip(size, f"variable {name!r}")
    values = np.frombuffer(cursor.data, dtype, count, at) if count else np.zeros(0, dtype)
    try:
        return Variable(name, stored, values.reshape(shape))
    except ValueError:  # a zero next to dimensions whose product numpy cannot hold
        raise cursor.error(f"{name!r} has impossible dimensions {shape}", start) from None
