"""Audio decoded in processes of its own (`toolkit.audio.decode_worker`), started once and fed many clips each.

A decoder that crashes or hangs is replaced; its clip fails by name and the run continues.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from threading import Event
from typing import Any, TypeVar, cast

import numpy as np

from toolkit.audio.decode import MAX_SECONDS, SAMPLE_RATE, Audio, Header, Samples
from toolkit.audio.decode_worker import LENGTH
from toolkit.core import platform
from toolkit.core.errors import AudioError, MachineError

PROGRAM = "from toolkit.audio.decode_worker import main; main()"
NO_PROCESS = "No process that decodes audio can be begun"
PIPE_BYTES = 2**20  # that an answer may be ahead of its reader
LOOK_EVERY_SECONDS = 0.2  # whether the caller still wants the answer
GIVEN_UP_SECONDS = 900.0  # a process that not even its own alarm could end
CLOSING_SECONDS = 1.0  # for clips that are being decoded when the rest is no longer wanted

Item = TypeVar("Item")
Result = TypeVar("Result")

_idle: list["_Decoder"] = []


@dataclass(frozen=True)
class Ahead:
    """How many decoded clips may wait for the reader: so many a worker, and so many seconds of audio, were all as long
    as the longest so far (77 MB).
    """

    per_worker: int = 16
    seconds: float = 1_200.0


AHEAD = Ahead()


def decode(
    path: Path,
    start: float | None = None,
    end: float | None = None,
    channel: int | None = None,
    duration: float | None = None,
    stop: Event | None = None,
    sample_rate: int = SAMPLE_RATE,
) -> Audio:
    """`toolkit.audio.decode.decode` in a process of its own, with the same samples to the bit.

    stop: when it is set, the decoding is given up. Raises AudioError, also for a clip that crashes or hangs its
    decoder, and MachineError where no process can be started.
    """
    request = {"start": start, "end": end, "channel": channel, "duration": duration, "sample_rate": sample_rate}
    answer, samples = _ask(path, request, stop)
    return Audio(samples, answer["sha256"], tuple(answer["flags"]), answer["count"], sample_rate)


def header(
    path: Path,
    start: float | None = None,
    end: float | None = None,
    channel: int | None = None,
    duration: float | None = None,
    longest: float = MAX_SECONDS,
) -> Header:
    """`toolkit.audio.decode.header` in a process of its own. Raises as `decode` does."""
    request = {"start": start, "end": end, "channel": channel, "duration": duration, "longest": longest}
    return Header(**_ask(path, request, None)[0])


def ahead(
    run: Callable[[Item, Event], Result],
    items: Iterable[Item],
    workers: int,
    seconds: Callable[[Result], float],
    far: Ahead = AHEAD,
) -> Generator[Result, None, None]:
    """`run` on every item, in `workers` threads, ahead of the reader, in order.

    run: gets an item and what `decode` takes for `stop`. seconds: of audio in a result; begins with one item a worker,
    and goes further ahead, as far as `far`, once it is seen how long they are.
    """
    longest = 0.0
    stop = Event()
    waiting: deque[Future[Result]] = deque()

    def take() -> Result:
        nonlocal longest
        result = waiting.popleft().result()
        longest = max(longest, seconds(result))
        return result

    def most() -> int:
        return max(workers, min(workers * far.per_worker, int(far.seconds / longest) if longest else 0))

    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(run, item, stop))
                while len(waiting) >= most():
                    yield take()
            while waiting:
                yield take()
        finally:
            for future in waiting:
                future.cancel()
            try:
                wait(waiting, timeout=CLOSING_SECONDS)
            finally:
                stop.set()


class _Died(Exception):
    """The process ended, or was ended, before its answer did."""


class _Decoder:
    """One process. It has to say that it is ready, so that a broken installation is not taken for broken audio."""

    def __init__(self) -> None:
        # -P: never import from the folder the user is in; the package itself may be in a checkout
        place = str(Path(__file__).parent.parent)
        code = f"import sys; sys.path.append({place!r}); {PROGRAM}"
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        try:
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and words
                [sys.executable, "-P", "-c", code],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if os.environ.get("TOOLKIT_DEBUG") else subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C and Ctrl-Z are for the run
                env={**os.environ, **one_thread},
            )
        except OSError as error:
            raise MachineError(f"{NO_PROCESS}: {error.strerror}") from None
        assert self.process.stdin is not None and self.process.stdout is not None
        self.requests, self.answers = self.process.stdin, cast(FileIO, self.process.stdout)  # unbuffered
        platform.widen_pipe(self.answers, PIPE_BYTES)
        try:
            self._read(None)
        except _Died:
            self.end()
            raise MachineError(NO_PROCESS) from None
        except BaseException:  # interrupted
            self.end()
            raise

    def ask(self, request: bytes, stop: Event | None) -> tuple[dict[str, Any], Samples]:
        """Raises _Died."""
        try:
            self.requests.write(request)
        except OSError:
            raise _Died from None
        return self._read(stop)

    def _read(self, stop: Event | None) -> tuple[dict[str, Any], Samples]:
        deadline = time.monotonic() + GIVEN_UP_SECONDS
        (length,) = LENGTH.unpack(self._filled(bytearray(LENGTH.size), stop, deadline))
        answer: dict[str, Any] = json.loads(self._filled(bytearray(length), stop, deadline))
        samples = np.empty(answer.pop("samples", 0), np.float32)
        self._filled(samples.data.cast("B"), stop, deadline)
        return answer, samples

    def _filled(self, buffer: Any, stop: Event | None, deadline: float) -> Any:
        left = memoryview(buffer)
        while left:
            if platform.readable(self.answers, LOOK_EVERY_SECONDS):
                count = self.answers.readinto(left)
                if not count:
                    raise _Died
                left = left[count:]
            elif (stop and stop.is_set()) or time.monotonic() > deadline:
                raise _Died
        return buffer

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.forget()
        with suppress(subprocess.TimeoutExpired):  # it waits for a disk that does not answer
            self.process.wait(CLOSING_SECONDS)

    def fate(self) -> str:
        """How a process that gave no answer came to its end."""
        try:
            code = self.process.wait(CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            code = platform.ALARMED
        self.end()
        if code == platform.ALARMED:
            return "hung the decoder, which was ended"
        return f"crashed the decoder ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"

    def forget(self) -> None:
        self.requests.close()
        self.answers.close()


def _ask(path: Path, request: dict[str, Any], stop: Event | None) -> tuple[dict[str, Any], Samples]:
    line = json.dumps({"path": os.path.abspath(path), **request}).encode() + b"\n"  # noqa: PTH100 - links stay links
    try:
        decoder = _idle.pop()
    except IndexError:
        decoder = _Decoder()
    try:
        answer, samples = decoder.ask(line, stop)
    except _Died:
        raise AudioError(decoder.fate()) from None
    except BaseException:  # interrupted: its answer would be taken for the next one's
        decoder.end()
        raise
    _idle.append(decoder)
    if "error" in answer:
        raise AudioError(answer["error"])
    return answer, samples


@atexit.register
def _end_idle() -> None:
    while _idle:
        _idle.pop().end()


def _leave_to_parent() -> None:
    """In a fork: two programs on one pipe would take each other's answers."""
    for decoder in _idle:
        decoder.forget()
        decoder.process.returncode = 0  # not ours to wait for
    _idle.clear()


platform.after_fork(_leave_to_parent)
