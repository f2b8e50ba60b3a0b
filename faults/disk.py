"""What a power cut leaves: the calls that `disk.c` recorded, of which only what was fsynced is sure to be there."""

import os
import random
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HEADER = struct.Struct("<cQQII")
BLOCK = 4096  # bytes of a write that survive or not together


@dataclass(frozen=True)
class Call:
    """kind: C(reate), T(runcate), W(rite), F(sync), R(ename), U(nlink), D: mkdir, X: rmdir, M(ark).

    data: a write's bytes, a rename's new path.
    """

    kind: str
    inode: int
    offset: int
    path: str
    data: bytes


def calls(record: Path) -> Iterator[Call]:
    """In the order in which they were made."""
    content, at = record.read_bytes(), 0
    while at < len(content):
        kind, inode, offset, path, length = HEADER.unpack_from(content, at)
        at += HEADER.size
        name, data = content[at : at + path], content[at + path : at + path + length]
        at += path + length
        yield Call(kind.decode(), inode, offset, os.fsdecode(name), data)


@dataclass
class _File:
    """sure: what the disk has. late: writes and truncations since, each of which may be there or not."""

    sure: bytearray
    late: list[tuple[str, int, bytes]] = field(default_factory=list)

    def settle(self) -> None:
        for change in self.late:
            _apply(self.sure, *change)
        self.late.clear()

    def survived(self, share: float, generator: random.Random) -> bytes:
        content = bytearray(self.sure)
        for kind, offset, data in self.late:
            for start in range(0, max(1, len(data)), BLOCK):
                if generator.random() < share:
                    _apply(content, kind, offset + start, data[start : start + BLOCK])
        return bytes(content)


def _apply(content: bytearray, kind: str, offset: int, data: bytes) -> None:
    if kind == "T" and offset < len(content):
        del content[offset:]
    elif len(content) < offset:
        content.extend(bytes(offset - len(content)))
    if kind == "W":
        content[offset : offset + len(data)] = data


FOLDER = 0  # in place of an inode


class Disk:
    """A folder's files and names as the disk has them for sure, and what has been done to them since."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.files: dict[int, _File] = {}
        self.sure: dict[str, int] = {str(folder): FOLDER}
        for path in folder.rglob("*"):
            self.sure[str(path)] = FOLDER if path.is_dir() else path.stat().st_ino
            if path.is_file():
                self.files[path.stat().st_ino] = _File(bytearray(path.read_bytes()))
        self.now = dict(self.sure)
        self.late: list[tuple[str, list[tuple[str, int | None]]]] = []  # folder, names it gains and loses (None)

    def take(self, call: Call) -> None:
        """One more call."""
        path, parent = call.path, str(Path(call.path).parent)
        if call.kind in "WTF" and call.inode in self.files and path not in self.now:
            self._renamed_unseen(call.inode, path)
        if call.kind == "C":
            self.files[call.inode] = _File(bytearray())
            self._names(parent, [(path, call.inode)])
        elif call.kind == "D":
            self._names(parent, [(path, FOLDER)])
        elif call.kind in "UX":
            self._names(parent, [(path, None)])
        elif call.kind == "R":
            new = os.fsdecode(call.data)
            below = [name for name in self.now if name == path or name.startswith(f"{path}/")]
            moved = [(name, new + name[len(path) :]) for name in below]
            self._names(parent, [pair for old, to in moved for pair in ((to, self.now[old]), (old, None))])
        elif call.kind in "TW" and call.inode in self.files:
            self.files[call.inode].late.append((call.kind, call.offset, call.data))
        elif call.kind == "F" and call.inode in self.files and self.now.get(path) != FOLDER:
            self.files[call.inode].settle()
        elif call.kind == "F":
            for folder, names in self.late:
                if folder == path:
                    _rename(self.sure, names)
            self.late = [change for change in self.late if change[0] != path]

    def _renamed_unseen(self, inode: int, path: str) -> None:
        """safetensors renames its temporary file by a system call of its own, past the C library."""
        for old in [name for name, each in self.now.items() if each == inode]:
            self._names(str(Path(path).parent), [(path, inode), (old, None)])

    def _names(self, folder: str, names: list[tuple[str, int | None]]) -> None:
        _rename(self.now, names)
        self.late.append((folder, names))

    def after_cut(self, to: Path, generator: random.Random) -> None:
        """Write to a folder what may be there when the power is back."""
        share = generator.choice((0.0, 0.25, 0.5, 0.75, 1.0))
        names = dict(self.sure)
        for _, change in self.late:
            if generator.random() < share:
                _rename(names, change)
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir()
        for name in sorted(set(names) - {str(self.root)}):  # folders before what is in them
            target, inode = to / Path(name).relative_to(self.root), names[name]
            if not target.parent.is_dir():
                continue
            if inode == FOLDER:
                target.mkdir()
            else:
                target.write_bytes(self.files[inode].survived(share, generator))


def _rename(names: dict[str, int], change: list[tuple[str, int | None]]) -> None:
    for name, inode in change:
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode
