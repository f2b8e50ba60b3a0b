"""What the operating system provides: locks, limits, alarms. Where one is lacking, the toolkit does without it.

Nothing else of the toolkit imports `fcntl` or `resource`, or names SIGALRM.
"""

import errno
import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import IO, Any

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]
try:
    import resource
except ImportError:
    resource = None  # type: ignore[assignment]
try:
    import msvcrt
except ImportError:
    msvcrt = None  # type: ignore[assignment]

HAS_ALARM = hasattr(signal, "SIGALRM") and hasattr(signal, "setitimer")
ALARM_EXIT = 124  # the exit code that means an alarm where there is none of the kernel's
ALARMED = -int(signal.SIGALRM) if HAS_ALARM else ALARM_EXIT  # how a process ends that its alarm ends
PR_SET_PDEATHSIG = 1

_timer: Timer | None = None


def lacking() -> list[str]:
    """What the toolkit does without on this system, a sentence each."""
    found = []
    if fcntl is None and msvcrt is None:
        found.append("Folders are not locked here: see to it that no two runs write the same one.")
    if resource is None:
        found.append("Decoders have no limit of memory here: a hostile audio file may take all of it.")
    if not HAS_ALARM or not hasattr(select, "poll"):
        found.append("A decoder that hangs within a library is not ended here: stop the run by hand.")
    return found


def cache_folder() -> Path:
    """Where this user's programs keep what can be made again. Raises RuntimeError for a user without a home."""
    named = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(named or Path.home() / ".cache") / "speech-layer-toolkit"


def lock(file: IO[Any]) -> None:
    """Hold an open file for this process alone, where the system can. Raises BlockingIOError where another holds it."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    elif msvcrt is not None:  # the first byte, which need not be there
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(errno.EAGAIN, "locked") from error


def sync_folder(folder: Path) -> None:
    """Make the renames inside `folder` durable, where a folder can be opened for it."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def no_core_dumps() -> None:
    """A crash leaves no memory behind on the disk: it would hold audio, or what was computed of it."""
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def limit_memory(more: int) -> None:
    """No more than so many bytes of addresses beyond those that this process has now."""
    if resource is not None:
        taken = _memory().vms if sys.platform == "linux" else 0
        with suppress(ValueError, OSError):  # lower limits are there already
            resource.setrlimit(resource.RLIMIT_AS, (taken + more, taken + more))


def peak_memory() -> int:
    """Bytes of memory that this process had at most."""
    if resource is not None:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    memory = _memory()
    return int(getattr(memory, "peak_wset", memory.rss))


def _memory() -> Any:
    import psutil

    return psutil.Process().memory_info()


def alarm(seconds: float) -> None:
    """End this process with ALARMED after so many seconds, 0 for never; from deep in C too, where the kernel can."""
    global _timer
    if HAS_ALARM:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        signal.setitimer(signal.ITIMER_REAL, seconds)
        return
    if _timer is not None:
        _timer.cancel()
    _timer = Timer(seconds, os._exit, [ALARM_EXIT]) if seconds else None
    if _timer is not None:
        _timer.daemon = True
        _timer.start()


def widen_pipe(pipe: IO[bytes], size: int) -> None:
    """Let a pipe hold so many bytes that nobody has read, where that can be set; smaller is only slower."""
    with suppress(OSError, AttributeError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, size)


def readable(pipe: IO[bytes], seconds: float) -> bool:
    """Whether a pipe can be read within so many seconds; yes at once where the system cannot say."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(1000 * seconds))


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that forked it ends; Linux alone can. parent: its process."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended since
        os._exit(1)


def after_fork(run: Callable[[], None]) -> None:
    """Call this in every process that is forked from this one, where there are forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=run)
