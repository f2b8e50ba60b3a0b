"""Wrong manifests and recipes, and readers fed with noise: the tests' own lists, counted; the fuzz in its long form."""

import os
import re
import subprocess
import sys
from pathlib import Path

from faults.rows import Outcome

ROOT = Path(__file__).parent.parent
WRONG = (
    "tests/corpus/test_manifest.py::test_a_wrong_manifest_is_refused_by_its_line",
    "tests/study/test_recipe.py::test_a_wrong_recipe_is_refused_by_line_and_column",
    "tests/cli/test_run_refusals.py::test_a_wrong_recipe_is_one_sentence_before_a_model_loads",
)
EXAMPLES = 1_000  # a reader and kind


def wrong(folder: Path) -> Outcome:
    """Manifests by line and column's name, recipes by line and column; all before a model is loaded."""
    counts = []
    passed = True
    for test in WRONG:
        code, output = _pytest(folder, test)
        found = re.search(r"(\d+) passed", output)
        counts.append(int(found[1]) if found else 0)
        passed &= code == 0
    manifests, recipes = counts[0], counts[1] + counts[2]
    sentence = (
        f"{manifests} manifests refused by line and column, {recipes} recipes by line and column, before a model was "
        f"loaded: {'all' if passed else 'NOT all'} of them"
    )
    return Outcome(manifests + recipes, sentence, passed and min(manifests, recipes) >= 30)


def fuzz(folder: Path) -> Outcome:
    """Any bytes, and valid files mutated, to the readers of manifests, recipes, CSV, folds and CTranslate2."""
    code, output = _pytest(folder, "-s", "tests/fuzz", TOOLKIT_FUZZ=str(EXAMPLES))
    counts = {
        name: int(count.replace(",", "")) for name, count in re.findall(r"^(.+): ([\d,]+)$", output, re.MULTILINE)
    }
    read = sum(count for name, count in counts.items() if name.endswith(", read"))
    refused = sum(count for name, count in counts.items() if name.endswith(", refused"))
    most = max((count for name, count in counts.items() if name.endswith("bytes taken")), default=0)
    readers = len({name.split(",")[0] for name in counts})
    sentence = (
        f"{read + refused:,} inputs to {readers} readers: {read:,} read, {refused:,} refused in our words, "
        f"{'no other error' if code == 0 else 'OTHER ERRORS'}, at most {most / 1e6:.1f} MB taken"
    )
    return Outcome(read + refused, sentence, code == 0 and read + refused > 0)


def _pytest(folder: Path, *words: str, **variables: str) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"} | variables
    command = [sys.executable, "-m", "pytest", *words, f"--basetemp={folder / 'pytest'}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout
