"""What ends a command and is no fault of ours."""

import os
import signal
from pathlib import Path

import pytest

from tests.conftest import Run


def test_a_signal_that_a_library_turns_into_its_own_error_is_no_fault_of_ours(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch does: ValueError, could not determine the shape of object type 'torch.storage.UntypedStorage'."""

    def turned(*_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except SystemExit:
            raise ValueError("could not determine the shape") from None

    monkeypatch.setattr("toolkit.models.checkpoint.installed", turned)
    code, _, err = run("models", "list", "-w", tmp_path)
    assert code == 143 and err.count("\n") == 1 and "start the same command again to go on" in err


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_memory_that_runs_out_anywhere_is_the_machines_no_and_no_fault_of_ours(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr("toolkit.models.checkpoint.installed", full)
    code, _, err = run("models", "list", "-w", tmp_path)
    assert code == 4 and "memory ran out; what was committed stays" in err and "report it" not in err
