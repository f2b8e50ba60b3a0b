"""Processes of their own that begin with the program imported: a new one takes seconds to import torch."""

import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "toolkit.cli",
        "toolkit.extract.run",
        "toolkit.finetune.rounds",
        "toolkit.finetune.stage",
        "toolkit.probe.run",
        "tests.conftest",
    ]
)


def start(target: Callable[..., None], *given: object) -> BaseProcess:
    """A function of a module in a process that says nothing."""
    child = SERVER.Process(target=_silent, args=(target, given))
    child.start()
    return child


def command(words: list[str], environment: Mapping[str, str] | None = None, out: str = "", err: str = "") -> None:
    """A command of the program, as its process has it. environment: set besides. out, err: files that it writes to."""
    import toolkit.extract.run as extract_run
    from toolkit.cli import main

    extract_run.measure_budget = lambda *_: 4.0  # type: ignore[attr-defined]  # as in every test
    os.environ.update(environment or {})
    warnings.simplefilter("ignore")
    places = {path: os.open(path, os.O_WRONLY | os.O_APPEND) for path in {out, err} if path}
    for number, path in ((1, out), (2, err)):
        if path:
            os.dup2(places[path], number)
    sys.argv = ["toolkit", *words]
    main()


def killed_once_there(child: BaseProcess, folder: Path, pattern: str) -> None:
    """SIGKILL as soon as a file like this is committed."""
    while not list(folder.glob(pattern)):
        assert child.is_alive(), "it ended before it was killed"
        time.sleep(0.005)
    child.kill()
    child.join()


def ended(child: BaseProcess) -> int:
    """Its exit code, once it has one."""
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def _silent(target: Callable[..., None], given: tuple[object, ...]) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    target(*given)
