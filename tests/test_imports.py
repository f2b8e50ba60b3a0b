"""What `import toolkit.cli` must not load. Who may import whom is held by import-linter, in `make check`."""

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "toolkit"
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


def test_the_package_itself_holds_the_version_and_nothing_else() -> None:
    body = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")).body
    assert [type(node) for node in body] == [ast.Expr, ast.Assign]
