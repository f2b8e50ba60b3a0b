"""What finished runs are shown without: the seconds of imports that a user would wait for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_probe import probe, study
from tests.conftest import Run
from toolkit.result.run import PREDICTIONS, REPORT

__all__ = ["study"]

ENGINES = ("torch", "transformers", "optuna", "sklearn", "lightgbm", "pandas", "altair", "vl_convert")
SHOWN = f"""
import json, sys
from toolkit import cli
try:
    cli.main()
except SystemExit as left:
    code = left.code
print(json.dumps([code, [name for name in {ENGINES!r} if name in sys.modules]]))
"""


def shown(*words: object) -> tuple[int, list[str], str]:
    """A command in a process of its own: exit code, what it loaded of ENGINES, and all that it printed."""
    done = subprocess.run([sys.executable, "-c", SHOWN, *map(str, words)], capture_output=True, text=True)
    code, loaded = json.loads(done.stdout.splitlines()[-1])
    return code, loaded, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("linear", ("--control", "shuffled", "--shuffles", 2, "--nuisance", "duration", "--online")),
        ("lightgbm", ("--control", "random")),
    ],
)
def test_a_finished_probe_is_shown_without_what_trains_or_draws(
    run: Run, study: Path, name: str, more: tuple[str | int, ...]
) -> None:
    asked = ("--model", "made-up", "--probe", name, *more)
    assert probe(run, study, *asked)[0] == 0
    words = ("probe", "--target", "mood", "--folds", 3, "--trials", 2, "-w", study, *asked)
    (beside,) = (study / "result").glob(f"mood-made-up-{name}-*/beside.json")
    page, one = beside.with_name(REPORT), beside.with_name(PREDICTIONS)
    drawn = page.stat().st_mtime_ns
    code, loaded, printed = shown(*words)
    assert (code, loaded) == (0, []) and "finished already" in printed and page.stat().st_mtime_ns == drawn
    assert probe(run, study, *asked, "--language", "zh")[0] == 0
    chinese = page.with_name("report.zh.html")
    drawn = chinese.stat().st_mtime_ns
    code, loaded, printed = shown(*words, "--language", "zh")
    assert (code, loaded, chinese.stat().st_mtime_ns) == (0, [], drawn)
    os.utime(page)  # as where a control was added
    assert probe(run, study, *asked, "--language", "zh")[0] == 0 and chinese.stat().st_mtime_ns > drawn
    drawn = page.stat().st_mtime_ns
    kept = beside.read_bytes()
    beside.unlink()  # as where the command was stopped before it had drawn
    assert probe(run, study, *asked)[0] == 0
    assert beside.read_bytes() == kept and page.stat().st_mtime_ns > drawn
    one.write_bytes(one.read_bytes().replace(b"c1,", b"cX,"))
    code, _, printed = shown(*words)
    assert code == 4 and "has been changed since it was written" in printed, printed
