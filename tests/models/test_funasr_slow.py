"""emotion2vec and SenseVoice: every layer is what the package funasr itself gives each clip, after `models convert`."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import Run
from tests.models import funasr_reference
from tests.models.reference import own_states
from toolkit.models.checkpoint import locate
from toolkit.models.load import load
from toolkit.models.proof import relative_error

ROOT = Path(__file__).parents[2]
PACKAGES = ["funasr==1.4.16", "kaldi-native-fbank==1.23.0"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpacked, not installed."""
    folder = tmp_path_factory.mktemp("site")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *PACKAGES]
    subprocess.run(install, check=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "first", "layers"), [("emotion2vec", 0, 4), ("sensevoice", 1, 6)])
def test_states_are_those_of_funasr(kind: str, first: int, layers: int, site: Path, tmp_path: Path, run: Run) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    script = [sys.executable, "-W", "ignore", "-m", "tests.models.funasr_reference", str(site), kind, str(theirs)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    code, out, err = run("models", "convert", str(theirs), str(tmp_path / "models" / "mine"))
    assert code == 0 and "mine has weights and preprocessor" in out, err
    encoder = load(locate("mine", tmp_path / "models"), torch.device("cpu"), torch.float32)
    assert encoder.layer_names == tuple(f"encoder.{number}" for number in range(first, layers + 1))
    with np.load(theirs / "states.npz") as arrays:
        expected = dict(arrays)
    for number, clip in enumerate(own_states(encoder, funasr_reference.CLIPS)):
        for place, states in enumerate(clip.values()):
            wanted = torch.from_numpy(expected[f"{number} {place}"])
            assert relative_error(torch.as_tensor(states), wanted) < 1e-5, (number, place)
