"""Programs forked from one that has imported everything, each with its own disk that can be spoilt (`disk.c`).

The parent holds no thread and has never computed anything, so that a child is as good as a program started anew; it is
a process of its own, and what kills it is the kernel's SIGKILL.
"""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

KILL_BEFORE, KILL_WITHIN, FULL, RECORD = 1, 2, 3, 4
PRELOADED = "TOOLKIT_FAULTS_DISK"
LOOK_EVERY_SECONDS = 0.002


@dataclass(frozen=True)
class Arm:
    """What happens to `folder`: one of the modes above, at a call's number. record: where RECORD writes."""

    folder: Path
    mode: int
    at: int = 0
    record: Path | None = None


@dataclass(frozen=True)
class Ended:
    """code: of exit, or minus the signal. output: standard output and error. calls: that changed the armed folder."""

    code: int
    output: str
    calls: int
    seconds: float

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


def build(folder: Path) -> dict[str, str]:
    """Compile `disk.c` (needs a C compiler, cc) into the folder; returns the environment that puts it in place."""
    built = folder / "disk.so"
    source = Path(__file__).with_name("disk.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", built, source, "-ldl", "-lpthread"], check=True)
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **one_thread, PRELOADED: str(built), "LD_PRELOAD": str(built)}


def preload() -> None:
    """Start this program again with `disk.c` in front of the C library."""
    if PRELOADED not in os.environ:
        words = [sys.executable, "-W", "ignore", "-m", "faults", *sys.argv[1:]]
        os.execve(words[0], words, build(Path(tempfile.mkdtemp())))  # noqa: S606 - itself, anew


def shim() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def mark(text: str) -> None:
    """In a child whose disk is recorded: what the program has promised by now."""
    shim().faults_mark(text.encode())


def run(
    what: Callable[[], object],
    arm: Arm | None = None,
    until: Callable[[float], int | None] | None = None,
) -> Ended:
    """Fork, run `what` there and wait. until: given its and its forks' processor seconds, what signal to send."""
    with tempfile.TemporaryFile() as log:
        return _run(what, arm, until, log)


def _run(
    what: Callable[[], object], arm: Arm | None, until: Callable[[float], int | None] | None, log: IO[bytes]
) -> Ended:
    calls_out, calls_in = os.pipe()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(calls_out)
        _child(what, arm, log.fileno(), calls_in)
    os.close(calls_in)
    process, sent, code = psutil.Process(child), False, None
    while code is None:
        done, status = os.waitpid(child, os.WNOHANG if until and not sent else 0)
        if done:
            code = os.waitstatus_to_exitcode(status)
            break
        try:
            number = until(_spent(process)) if until else None
        except psutil.NoSuchProcess:
            number = None  # it has just ended
        if number is not None:
            os.kill(child, number)
            sent = True
        else:
            time.sleep(LOOK_EVERY_SECONDS)
    with os.fdopen(calls_out, "rb") as pipe:
        calls = int(pipe.read() or b"-1")
    log.seek(0)
    return Ended(code, log.read().decode(errors="replace"), calls, time.monotonic() - began)


def _spent(process: psutil.Process) -> float:
    """Its processor seconds, with those of its own forks."""
    alive = [process, *process.children()]
    return sum(sum(one.cpu_times()[:2]) for one in alive) + sum(process.cpu_times()[2:4])


def _child(what: Callable[[], object], arm: Arm | None, log: int, calls: int) -> None:
    code = 70
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        library = shim()
        if arm:
            record = -1
            if arm.record:
                record = os.open(arm.record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            library.faults_arm(str(arm.folder).encode(), arm.mode, ctypes.c_long(arm.at), record)
        try:
            what()
            code = 0
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
        except BaseException:
            traceback.print_exc()
        library.faults_count.restype = ctypes.c_long
        os.write(calls, str(library.faults_count()).encode())
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
