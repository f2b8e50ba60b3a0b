"""Calls in forks: in order, lazily, answered by the parent; none that outlives what waits for it."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests import children
from toolkit.core.errors import InputError, MachineError, ManifestError
from toolkit.core.forks import Ask, can_fork, forked

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends a fork with its parent")


def children_of_mine() -> list[psutil.Process]:
    return psutil.Process().children()


def test_results_come_in_order_and_items_are_taken_when_one_of_the_workers_is_free() -> None:
    taken: list[int] = []
    at_once: list[int] = []
    before = len(children_of_mine())

    def items() -> Iterator[int]:
        for number in range(5):
            at_once.append(len(children_of_mine()) - before)
            taken.append(number)
            yield number

    def run(number: int, ask: Ask) -> tuple[int, int]:
        time.sleep(0.05 if number == 0 else 0)
        return number, os.getpid()

    found = list(forked(run, items(), 2))
    assert [number for number, _ in found] == taken == [0, 1, 2, 3, 4]
    assert len({process for _, process in found} - {os.getpid()}) == 5
    assert max(at_once) <= 1  # beside the one that is to begin
    assert len(children_of_mine()) == before


def test_what_a_fork_asks_is_answered_by_its_parent() -> None:
    asked: list[tuple[int, int]] = []

    def serve(number: int, twice: int) -> int:
        asked.append((number, twice))
        return os.getpid()

    assert list(forked(lambda number, ask: ask(number, 2 * number), range(3), 2, serve)) == [os.getpid()] * 3
    assert sorted(asked) == [(0, 0), (1, 2), (2, 4)]


class Unpicklable(Exception):
    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


@pytest.mark.parametrize(
    ("error", "caught", "text"),
    [
        (InputError("bad"), InputError, "^bad\n"),
        (ManifestError("m.csv", ["line 2"]), RuntimeError, "^ManifestError: m.csv, line 2\n"),
        (Unpicklable(1, 2), RuntimeError, "^Unpicklable: 1 and 2\n"),
        (MemoryError("12 GB"), MemoryError, "12 GB"),
    ],
)
def test_what_a_call_raises_is_raised_here_and_ends_the_others(
    error: Exception, caught: type[Exception], text: str
) -> None:
    before = len(children_of_mine())

    def run(number: int, ask: Ask) -> None:
        if number == 1:
            raise error
        time.sleep(60)

    with pytest.raises(caught, match=text) as raised:
        list(forked(run, range(3), 2))
    assert "in run\n" in raised.value.__notes__[0]
    assert len(children_of_mine()) == before


def test_one_that_is_killed_is_an_error_of_the_machine() -> None:
    def run(number: int, ask: Ask) -> None:
        os.kill(os.getpid(), number)

    with pytest.raises(MachineError, match="was killed, most likely because memory ran out; --workers 1 needs less"):
        list(forked(run, [signal.SIGKILL], 2))
    with pytest.raises(MachineError, match="ended with SIGUSR1"):
        list(forked(run, [signal.SIGTERM, signal.SIGUSR1], 1))  # the first is for the parent
    with pytest.raises(MachineError, match="ended with exit code 7"):
        list(forked(lambda number, ask: os._exit(number), [7], 2))


def test_no_other_thread_forks_and_no_daemon() -> None:
    def look() -> None:
        found.append(can_fork())

    found = list(forked(lambda number, ask: can_fork(), [0], 1))
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [False, False] and can_fork()


def test_nothing_is_left_of_what_nobody_waits_for() -> None:
    before = len(children_of_mine())
    results = forked(lambda number, ask: time.sleep(60 * number), range(4), 3)
    assert next(results) is None
    results.close()
    assert len(children_of_mine()) == before


def _parent(folder: Path) -> None:
    def run(number: int, ask: Ask) -> None:
        (folder / f"{os.getpid()}").touch()
        time.sleep(60)

    list(forked(run, range(2), 2))


def test_a_parent_that_is_killed_takes_its_forks_along(tmp_path: Path) -> None:
    parent = children.start(_parent, tmp_path)
    while len(begun := list(tmp_path.iterdir())) < 2:
        time.sleep(0.005)
    parent.kill()
    parent.join()
    ended = time.monotonic() + 10
    while any(psutil.pid_exists(int(file.name)) and _runs(int(file.name)) for file in begun):
        assert time.monotonic() < ended, "a fork outlived its parent"
        time.sleep(0.005)


def _runs(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
