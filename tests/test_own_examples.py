"""Real weights as a user's own code: the files of examples/, on packages that a test alone installs, into a folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from tests.models import tiny
from toolkit.corpus import manifest

ROOT = Path(__file__).parents[1]
EMODB = (
    "TOOLKIT_TEST_EMODB"  # a folder with manifest.csv and its audio; generated sound in its place where it is not set
)
CASES = {  # example: the package, layers and width, UAR on EmoDB (linear, 8 trials), modes that are exact
    "resemblyzer_speaker.py:speaker": ("Resemblyzer==0.1.4", ["encoder.1", "encoder.3"], 256, 0.776, "masked"),
    "torchfcpe_pitch.py:pitch": ("torchfcpe==0.0.4", ["encoder.0", "encoder.6"], 512, 0.724, "mended"),
}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    folder.mkdir()
    if EMODB in os.environ:
        shutil.copy(Path(os.environ[EMODB]) / "manifest.csv", folder)
        return folder
    rows = []
    for number in range(24):
        sound = tiny.speech_like(0.6 + 0.05 * (number % 7), seed=number)
        soundfile.write(folder / f"{number}.wav", sound, 16_000)
        rows.append((str(number), f"{number}.wav", f"s{number // 4}", ["low", "high"][number % 2]))
    manifest.write(folder / "manifest.csv", ("id", "path", "speaker", "emotion"), rows)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("model", list(CASES))
def test_real_weights_are_extracted_and_probed_by_a_file(model: str, workspace: Path, tmp_path: Path) -> None:
    package, (first, last), width, expected, mode = CASES[model]
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), package]
    subprocess.run(install, check=True)
    environment = {
        **os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{site}", "OMP_NUM_THREADS": "1",
        "TOOLKIT_AUDIO_ROOT": os.environ.get(EMODB, str(workspace)),
    }  # fmt: skip

    def toolkit(*words: object) -> None:
        command = [sys.executable, "-m", "toolkit", *map(str, words), "-w", str(workspace)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    toolkit("models", "check", ROOT / "examples" / model)
    toolkit("extract", "--model", ROOT / "examples" / model)
    stores = [json.loads(path.read_text()) for path in workspace.glob("features/*/store.json")]
    errors = [json.loads(path.read_text())["errors"] for path in workspace.glob("features/*/proof.json")]
    assert {(store["layers"][0], store["layers"][-1], store["width"]) for store in stores} == {(first, last, width)}
    assert all(found[mode] <= 1e-5 for found in errors) and errors
    if mode == "mended":  # its group norm and convolutions see what follows a clip
        assert all(found["masked"] > 0.1 for found in errors)
    name = model.replace(".py:", "-")
    folds = 5 if EMODB in os.environ else 3
    toolkit("probe", "--model", name, "--target", "emotion", "--folds", folds, "--trials", 8, "--nuisance", "speaker")
    (run,) = workspace.glob(f"result/emotion-{name}-linear-*/metrics.json")
    uar = json.loads(run.read_text())["metrics"]["unweighted_average_recall"]["estimate"]
    assert 0 <= uar <= 1 and (EMODB not in os.environ or abs(uar - expected) < 0.01)
