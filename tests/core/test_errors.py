import errno
import os
from pathlib import Path

import pytest
import torch

from toolkit.core import errors

EXIT_CODES = {
    errors.ToolkitError: 1,
    errors.InputError: 2,
    errors.ManifestError: 2,
    errors.RecipeError: 2,
    errors.AudioError: 2,
    errors.LabelError: 2,
    errors.SplitError: 2,
    errors.PredictionsError: 2,
    errors.MachineError: 4,
    errors.CheckpointError: 4,
    errors.StoreError: 4,
    errors.DiskFullError: 4,
}


def test_every_error_of_the_module_has_its_documented_exit_code() -> None:
    found = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)}
    assert {error: error.exit_code for error in found} == EXIT_CODES


def test_the_tree_in_the_docstring_names_every_error() -> None:
    assert errors.__doc__ is not None
    assert [error.__name__ for error in EXIT_CODES if error.__name__ not in errors.__doc__] == []


def test_a_manifest_error_tells_the_first_defect_and_how_many_more() -> None:
    assert str(errors.ManifestError("m.csv", ["line 2: a"])) == "m.csv, line 2: a"
    two = errors.ManifestError("m.csv", ["line 2: a", "line 3: b"])
    assert str(two).startswith("m.csv, line 2: a (and 1 more")
    assert two.defects == ("line 2: a", "line 3: b")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        OSError(
            "Can't write data (file write failed: errno = 28, error message = 'No space left on device', buf = 0x1)"
        ),
        RuntimeError("Can't decrement id ref count (errno = 28, error message = 'No space left on device')"),
        ValueError('I/O error: Os { code: 28, kind: StorageFull, message: "No space left on device" }'),
    ],
)
def test_a_full_disk_is_named_with_its_free_bytes_whoever_reports_it(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: _Usage(12_345))
    with (
        pytest.raises(errors.DiskFullError, match=f"{tmp_path.name}/: 12,345 bytes"),
        errors.disk_full_is_named(tmp_path),
    ):
        raise error


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def test_a_full_disk_in_the_current_folder_is_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.DiskFullError, match=tmp_path.name) as caught, errors.disk_full_is_named(Path()):
        raise OSError(errno.ENOSPC, "full")
    assert str(tmp_path) not in str(caught.value)


def test_what_torch_says_of_a_full_disk_behind_other_words_is_reported_next_to_the_free_bytes(tmp_path: Path) -> None:
    with (
        pytest.raises(
            errors.DiskFullError, match=r"a disk that fails \(iostream error\), for .*: [\d,]+ bytes are free"
        ),
        errors.disk_full_is_named(tmp_path),
    ):
        try:
            raise RuntimeError("basic_ios::clear: iostream error")
        except RuntimeError as error:
            raise errors.StoreError("a checkpoint cannot be written") from error
    inner = errors.DiskFullError("No space left for inner/: 1 bytes are free there.")
    with pytest.raises(errors.DiskFullError) as caught, errors.disk_full_is_named(tmp_path):
        raise inner
    assert caught.value is inner


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "no"), ValueError("28"), errors.StoreError("damaged")])
def test_other_errors_pass_unchanged(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as caught, errors.disk_full_is_named(tmp_path):
        raise error
    assert caught.value is error


def test_one_of_lists_what_was_expected() -> None:
    assert errors.one_of("fold", 9, (0, 1)) == "Bad fold 9, expected one of [0, 1]"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), True),
        (RuntimeError("GET was unable to find an engine to execute this computation"), True),
        (torch.AcceleratorError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
    ],
)
def test_a_refusal_of_memory_is_told_from_other_errors(error: Exception, expected: bool) -> None:
    assert errors.is_out_of_memory(error) is expected
