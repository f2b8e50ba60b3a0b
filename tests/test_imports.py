"""What `import toolkit.cli` must not load. Who may import whom is held by import-linter, in `make check`."""

import os
import subprocess
import sys
import time
from pathlib import Path

HEAVY = (
    "torch",
    "transformers",
    "sklearn",
    "lightgbm",
    "optuna",
    "pandas",
    "numpy",
    "altair",
    "h5py",
    "scipy",
    "soundfile",
)


def test_the_command_line_loads_nothing_heavy() -> None:
    code = f"import sys, toolkit.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_help_is_given_at_once() -> None:
    """The time is printed and not asserted: machines are shared."""
    started = time.perf_counter()
    shown = subprocess.run(
        [sys.executable, "-m", "toolkit", "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    print(f"toolkit --help: {time.perf_counter() - started:.2f} s")
    assert shown.returncode == 0, shown.stderr
    assert "Usage: " in shown.stdout


def test_the_package_and_a_workspace_load_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "result").mkdir()
    code = (
        f"import sys, toolkit; toolkit.open({str(tmp_path)!r}).runs(); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
