"""Calls in forks of this process, several at a time, their results in order.

Threads take turns at Python: two that call many small products, of 10 to 30 microseconds each, take longer than one
that makes them all. A fork has all that was loaded, without a copy, and starts in milliseconds.
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeVar, cast

from toolkit.core import platform
from toolkit.core.errors import MachineError

Item = TypeVar("Item")
Result = TypeVar("Result")
Ask = Callable[..., Any]  # from a fork: calls its parent's `serve`
Run = Callable[[Item, Ask], Result]


def can_fork() -> bool:
    """Whether a fork would end with its parent, as on Linux alone, and hang on nothing that another thread holds."""
    alone = threading.current_thread() is threading.main_thread()
    return sys.platform == "linux" and alone and not multiprocessing.current_process().daemon


def forked(run: Run[Item, Result], items: Iterable[Item], workers: int, serve: Ask = lambda: None) -> Iterator[Result]:
    """`run(item, ask)` of every item in a fork of its own, at most `workers` at a time, results in order.

    Items are taken, forks started and questions answered in the caller's thread alone; a fork that nobody waits for any
    longer is killed.

    Args:
        run: What it gets need not be pickled; what it returns, raises, asks and is answered is.
        serve: What `ask` calls, in this process.

    Raises:
        MachineError: A fork was ended from outside.
        BaseException: What a call raised; those behind it are given up.
    """
    source, running, order = iter(items), dict[Connection, _Fork](), deque[_Fork]()
    try:
        while True:
            while len(running) < workers and (more := list(islice(source, 1))):
                order.append(fork := _Fork(run, *more))
                running[fork.pipe] = fork
            if not order:
                return
            if order[0].found:
                yield order.popleft().found[0]
                continue
            for pipe in cast("list[Connection]", wait(list(running))):
                running[pipe].hear(serve)
                if running[pipe].found:
                    running.pop(pipe).end()
    finally:
        for fork in running.values():
            fork.end()


class _Fork:
    """pipe: what it says is read there. found: what it returned, once it has."""

    def __init__(self, run: Callable[..., Any], item: object) -> None:
        self.found: list[Any] = []
        self.pipe, says = multiprocessing.Pipe(duplex=False)  # one that goes both ways would be a socket
        hears, self._answers = multiprocessing.Pipe(duplex=False)
        context = multiprocessing.get_context("fork")
        given = (run, item, hears, says, os.getpid())
        self._process: BaseProcess = context.Process(target=_child, args=given, daemon=True)
        with warnings.catch_warnings():  # Python 3.12 warns of every fork of a process that has threads
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        hears.close()
        says.close()

    def hear(self, serve: Ask) -> None:
        try:
            kind, content = self.pipe.recv()
        except EOFError:
            self._process.join()
            raise MachineError(f"A process that fitted {_fate(self._process.exitcode or 0)}") from None
        if kind == "asks":
            self._answers.send(serve(*content))
        elif kind == "raised":
            raise content
        else:
            self.found.append(content)

    def end(self) -> None:
        self._process.kill()  # what it returned is here
        self._process.join()
        self.pipe.close()
        self._answers.close()


def _fate(code: int) -> str:
    if code == -signal.SIGKILL:
        return "was killed, most likely because memory ran out; --workers 1 needs less"
    return f"ended with {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _child(run: Callable[..., Any], item: object, hears: Connection, says: Connection, parent: int) -> None:
    platform.end_with_parent(parent)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # sent to all of a job: the parent ends this one
        signal.signal(number, signal.SIG_IGN)

    def ask(*question: object) -> object:
        says.send(("asks", question))
        return hears.recv()

    with suppress(BrokenPipeError, EOFError):  # the parent is gone
        try:
            found: tuple[str, Any] = ("returned", run(item, ask))
        except Exception as error:
            found = ("raised", _sent(error, f"in a process of its own:\n{traceback.format_exc()}"))
        says.send(found)


def _sent(error: Exception, place: str) -> Exception:
    """The error as another process can have it, with where it was raised."""
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(place)
    return error
