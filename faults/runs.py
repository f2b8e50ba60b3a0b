"""Two runs at once, and runs told to stop."""

import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from faults import study
from faults.children import run
from faults.kills import processor_seconds
from faults.rows import Outcome

REFUSED_SECONDS, ENDED_SECONDS = 5.0, 10.0
SIGNALS = 10  # of each kind, to each command


def two(folder: Path) -> Outcome:
    """A second extract, probe and finetune while the first one holds the store or the run."""
    made = study.make(folder / "study")
    slowest, wrong = 0.0, []
    for command in (study.extract, study.probe, study.finetune):
        holder = os.fork()
        if holder == 0:
            _held(command, made)
        while not (made / "held").exists():
            time.sleep(0.01)
        before, began = study.contents(made), time.monotonic()
        ended = run(lambda command=command: command(made))
        slowest = max(slowest, time.monotonic() - began)
        if ended.code != 4 or "Another run is writing" not in ended.output or study.contents(made) != before:
            wrong.append(f"{command.__name__}: exit code {ended.code}, {ended.output[-200:]}")
        os.kill(holder, signal.SIGUSR1)
        status = os.waitstatus_to_exitcode(os.waitpid(holder, 0)[1])
        if status:
            wrong.append(f"the first {command.__name__} ended with {status}")
        (made / "held").unlink()
        whole = study.contents(made)
        if run(lambda command=command: command(made)).code or study.contents(made) != whole:
            wrong.append(f"{command.__name__} after it")
    sentence = f"a second extract, probe and finetune: refused with exit code 4, the slowest after {slowest:.1f} s"
    return Outcome(3, sentence + "".join(f"; {one}" for one in wrong), not wrong and slowest < REFUSED_SECONDS)


def _held(command: Callable[[Path], None], made: Path) -> None:
    """The first run, which waits, once it has the lock, for a signal."""
    import contextlib

    import toolkit.features.store as store
    import toolkit.finetune.run as finetune_run
    import toolkit.probe.run_folder as run_folder
    from toolkit.core.artifacts import locked

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)

    @contextlib.contextmanager
    def waits(folder):  # type: ignore[no-untyped-def]
        with locked(folder):
            (made / "held").touch()
            signal.sigwait([signal.SIGUSR1])
            yield

    store.locked = run_folder.locked = finetune_run.locked = waits  # type: ignore[attr-defined]
    code = 70
    try:
        command(made)
    except SystemExit as left:
        code = int(left.code or 0)
    finally:
        os._exit(code)


def stopped(folder: Path) -> Outcome:
    """SIGINT and SIGTERM to extract, probe and finetune at random moments; then the run goes on."""
    made = study.make(folder / "study")
    assert not run(lambda: study.extract(made)).code
    generator = random.Random(0)
    sent = other = 0
    slowest = 0.0
    wrong = []
    for command, keep in ((study.extract, ()), (study.probe, ("features",)), (study.finetune, ())):
        workspace = study.fresh(made, folder / "stopped", *keep)
        seconds = processor_seconds(workspace, command)
        expected = study.contents(workspace)
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            for _ in range(SIGNALS):
                study.fresh(made, workspace, *keep)
                at, interrupted_at = generator.uniform(0.1, 0.9) * seconds, []

                def until(
                    used: float, at: float = at, number: int = number, interrupted_at: list[float] = interrupted_at
                ) -> int | None:
                    if used < at:
                        return None
                    interrupted_at.append(time.monotonic())
                    return number

                ended = run(partial(command, workspace), until=until)
                if not interrupted_at or not ended.code:
                    continue  # it was done before
                sent += 1
                slowest = max(slowest, time.monotonic() - interrupted_at[0])
                if (
                    ended.code != code
                    or "start the same command again" not in ended.output
                    or "Traceback" in ended.output
                ):
                    wrong.append(f"{command.__name__}: exit code {ended.code}, {ended.output[-300:]}")
                again = run(partial(command, workspace))
                other += bool(again.code) or study.contents(workspace) != expected
    sentence = (
        f"{sent} signals to extract, probe and finetune: {len(wrong)} ended otherwise than with 130 or 143, the "
        f"slowest after {slowest:.1f} s; {other} went on to other bytes" + "".join(wrong[:2]).replace("\n", " ")
    )
    return Outcome(sent, sentence, not wrong and not other and slowest < ENDED_SECONDS)
