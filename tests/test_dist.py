"""What `make dist` makes, unpacked where nothing of this checkout is: it has its pages' templates and words."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from toolkit.core.version import __version__

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    done = subprocess.run(build, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_wheel_scores_and_draws_on_its_own(made: Path, tmp_path: Path) -> None:
    (wheel,) = made.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")  # noqa: S202
    rows = [f"c{k},s{k // 4},0,{'joy' if k % 2 else 'fear'},{'joy' if k % 3 else 'fear'}\n" for k in range(24)]
    (tmp_path / "predictions.csv").write_text("id,speaker,fold,truth,prediction\n" + "".join(rows))
    code = """
import numpy as np, toolkit
y = np.tile(["calm", "sad"], 18)
X = np.random.default_rng(0).standard_normal((36, 3)) + 3 * (y == "sad")[:, None]
found = toolkit.probe_arrays({"mine": X}, y, np.repeat(list("abcdef"), 6), folds=3, trials=1, language="zh")
print(toolkit.__file__, found.report.stat().st_size > 100_000)
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}

    def run(*words: str) -> str:
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("-m", "toolkit", "--version") == f"toolkit {__version__}\n"
    assert "unweighted_average_recall" in run("-m", "toolkit", "score", "predictions.csv", "--json")
    assert run("-c", code).split() == [str(tmp_path / "installed" / "toolkit" / "__init__.py"), "True"]


def test_the_source_distribution_has_all_that_the_wheel_is_made_of(made: Path) -> None:
    (source,) = made.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = ["pyproject.toml", "README.md", "LICENSE", "toolkit/core/words.zh.toml", "toolkit/result/report/base.html"]
    assert set(wanted) <= names
