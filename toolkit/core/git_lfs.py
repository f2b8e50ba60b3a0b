"""What a clone without Git LFS has in the place of a large file: a few lines of text that point to it."""

from pathlib import Path

POINTER = b"version https://git-lfs.github.com/spec/"  # how each of them begins


def is_pointer(path: Path) -> bool:
    """Whether the file is such a pointer. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER
