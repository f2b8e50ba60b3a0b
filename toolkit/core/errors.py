"""The one tree of errors. Each says what was wrong, what was expected, and where; the CLI prints it and exits.

    ToolkitError                1  a fault of ours
    |- InputError               2  bad input or usage
    |  |- ManifestError            a manifest, by line
    |  |- RecipeError              a study's recipe, by line and column
    |  |- AudioError               one clip's audio; extraction records it and continues
    |  |- LabelError               label columns and targets
    |  |- SplitError               folds that cannot be made, or that leak
    |  `- PredictionsError         a predictions file, by line
    `- MachineError             4  the machine cannot do it
       |- CheckpointError          a backbone that is missing, of an unknown family, or damaged
       |- StoreError               a feature store that is missing, locked or damaged
       `- DiskFullError            with the bytes that are free

Exit code 3 is no error: the work is done, but some clips failed and are named.
"""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

DONE, FAULT, BAD_INPUT, SOME_CLIPS_FAILED, MACHINE = 0, 1, 2, 3, 4


class ToolkitError(Exception):
    """The root; itself raised only for a fault of ours."""

    exit_code = FAULT


class InputError(ToolkitError):
    """What the user gave cannot be used."""

    exit_code = BAD_INPUT


class ManifestError(InputError):
    """A manifest with defects; `defects` lists every one, each with its line."""

    def __init__(self, file: str, defects: Sequence[str]) -> None:
        self.file, self.defects = file, tuple(defects)
        rest = f" (and {len(defects) - 1} more: `toolkit manifest check` lists them)" if len(defects) > 1 else ""
        super().__init__(f"{file}, {defects[0]}{rest}")


class RecipeError(InputError):
    """A recipe that cannot be followed. line, column: from 1."""

    def __init__(self, file: str, line: int, column: int, message: str) -> None:
        self.file, self.line, self.column = file, line, column
        super().__init__(f"{file}, line {line}, column {column}: {message}")


class AudioError(InputError):
    """One clip's audio cannot be decoded to what its header or its manifest line promises."""


class LabelError(InputError):
    """A target that the manifest's label columns cannot give."""


class SplitError(InputError):
    """Folds that cannot be made as asked, or that would leak."""


class PredictionsError(InputError):
    """A predictions file that cannot be read."""


class MachineError(ToolkitError):
    """Disk, memory, or a checkpoint that is not there."""

    exit_code = MACHINE


class CheckpointError(MachineError):
    """A backbone that is missing, damaged or of no known family."""


class StoreError(MachineError):
    """A feature store, or a run's folder, that is missing, locked or damaged."""


class DiskFullError(MachineError):
    """No space left where something had to be written."""


def one_of(what: str, value: object, expected: Sequence[object], more: str = "") -> str:
    """The sentence for a bad value, with the nearest good one. more: what else would do, or where they come from.

    >>> one_of("dtype", "f8", ["auto", "float32"])
    "Bad dtype 'f8', expected one of ['auto', 'float32']"
    >>> one_of("dtype", "flaot32", ["auto", "float32"])
    "Bad dtype 'flaot32', expected one of ['auto', 'float32']; did you mean 'float32'?"
    """
    near = get_close_matches(str(value)[:100], map(str, expected), 1)
    return f"Bad {what} {value!r}, expected one of {list(expected)!r}{more}" + (
        f"; did you mean {near[0]!r}?" if near else ""
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is the host's or a device's refusal of memory: Python's, numpy's, or torch's, of either kind."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch is not imported here
        or any(text in str(error) for text in MEMORY_REFUSED)
    )


# Of torch on the host, of CUDA itself (pinned memory, a device that others have filled), of cuBLAS and of cuDNN, which
# finds no way to convolve where each it tried lacked memory.
MEMORY_REFUSED = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "unable to find an engine to execute",
)


@contextmanager
def disk_full_is_named(folder: Path) -> Iterator[None]:
    """Turn a full disk, or a full quota, while something is written into `folder` (which exists) into DiskFullError.

    h5py, safetensors and torch hide it in the text of errors of their own, h5py even in a RuntimeError; torch often
    says no more than that a write failed, which is then reported with the bytes that are free.
    """
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        refused = next((text for one in _causes(error) for text in WRITE_FAILED if text in str(one)), None)
        if any(map(_says_disk_full, _causes(error))):
            what = "No space left for"
        elif refused:
            what = f"No space left, or a disk that fails ({refused}), for"
        else:
            raise
        free = shutil.disk_usage(folder).free
        raise DiskFullError(
            f"{what} {folder.resolve().name}/: {free:,} bytes are free there. What was committed stays; "
            "free some space and start the same command again."
        ) from error


WRITE_FAILED = ("PytorchStreamWriter failed", "iostream error")  # torch: anything while a file is written


def _says_disk_full(error: BaseException) -> bool:
    codes = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in codes or any(text in str(error) for text in map(os.strerror, codes))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it came from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
