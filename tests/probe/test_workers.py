"""Rounds in forks where those help and work, in threads elsewhere: the same results in the same order."""

import os
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from toolkit.core.forks import Ask
from toolkit.probe import workers
from toolkit.probe.fused_rows import fused_name, row_of
from toolkit.probe.protocol import Probe
from toolkit.probe.registry import PROBES


def whereabouts(number: int, ask: Ask) -> tuple[int, int, int, int]:
    return number, ask(number), os.getpid(), threading.get_ident()


def places(in_forks: bool, at_a_time: int = 2) -> tuple[set[int], set[int]]:
    """The processes and threads that ran four calls, which gave what they should."""
    found = list(workers.in_turn(whereabouts, range(4), at_a_time, in_forks, lambda number: 10 * number))
    assert [each[:2] for each in found] == [(number, 10 * number) for number in range(4)]
    return {each[2] for each in found}, {each[3] for each in found}


def test_calls_are_forks_of_their_own_or_threads_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_learns_in_forks", lambda: True)  # not after tests of a made-up device
    processes, _ = places(in_forks=True)
    assert len(processes) == (4 if workers.can_fork() else 1) and (os.getpid() in processes) != workers.can_fork()
    for in_forks, at_a_time in ((False, 2), (True, 1)):
        processes, threads = places(in_forks, at_a_time)
        assert processes == {os.getpid()} and threading.get_ident() not in threads and len(threads) <= at_a_time
    monkeypatch.setattr(workers, "can_fork", lambda: False)
    assert places(in_forks=True)[0] == {os.getpid()}


def test_they_are_threads_where_torch_cannot_differentiate_in_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: torch.Tensor) -> None:
        raise RuntimeError("Unable to handle autograd's threading in combination with fork-based multiprocessing")

    monkeypatch.setattr(torch.Tensor, "backward", refuse)
    assert places(in_forks=True)[0] == {os.getpid()}


def test_a_thread_that_is_free_takes_the_next_item_and_an_error_drops_what_waits() -> None:
    taken: list[int] = []
    first_may_end = threading.Event()

    def items() -> Iterator[int]:
        for number in range(5):
            taken.append(number)
            yield number

    def run(number: int, ask: Ask) -> int:
        if number == 0:
            assert first_may_end.wait(10)
        if number == 3:
            first_may_end.set()  # after the other thread has gone on three times
            raise ValueError("the third")
        return number

    results = workers.in_turn(run, items(), 2, in_forks=False)
    assert [next(results), next(results), next(results)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(results)
    assert taken in ([0, 1, 2, 3], [0, 1, 2, 3, 4])


def test_our_probes_by_torch_take_forks_on_a_cpu_and_a_package_s_only_where_it_says_so() -> None:
    taken = {
        name for name in ("linear", "mlp", "lightgbm", "mix", "clips", "mil", "mil-gru") if PROBES[name].in_forks("cpu")
    }
    assert taken == {"linear", "mlp", "mix", "clips", "mil", "mil-gru"}
    assert row_of(fused_name("early", "linear")).in_forks("cpu") and not row_of(
        fused_name("late", "lightgbm")
    ).in_forks("cpu")
    assert not PROBES["linear"].in_forks("cuda")
    assert not replace(PROBES["linear"], forks=Probe.forks).in_forks("cpu")
