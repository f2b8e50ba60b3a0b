"""A study to be followed by recipes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.models import tiny
from toolkit.corpus import manifest
from toolkit.corpus.labels import HOTLINE

SMALL = """\
[study]
target = "high"
folds = 3
# more of study

[extract]
model = "tiny-whisper"
context = "clip"
dtype = "float32"
workers = 1
# more of extract

[probe]
trials = 1
workers = 1
# more of probe

[[finetune]]
train = "head"
epochs = 1
head-epochs = 0
dtype = "float32"
workers = 1
# more of finetune
"""


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace: 24 clips of 6 speakers with the hotline's labels too, and two tiny backbones."""
    folder = tmp_path_factory.mktemp("corpus")
    tiny.whisper(folder / "models" / "tiny-whisper")
    tiny.hubert(folder / "models" / "tiny-hubert")
    rows = []
    for number in range(24):
        time = np.arange(int(16_000 * (0.15 + 0.01 * (number % 5)))) / 16_000
        noise = np.random.default_rng(number).standard_normal(len(time))
        soundfile.write(folder / f"{number}.wav", 0.1 * np.sin(800 * (1 + number % 2) * time) + 0.01 * noise, 16_000)
        emotions = [str((number // 3 + label) % 2) for label in range(len(HOTLINE))]
        call = [str(number // 4 % 2), str(3 + number // 4 % 2), f"call{number // 4}"]
        labels = [str(number % 2), str(number % 3 % 2), *call]
        rows.append((f"c{number}", f"{number}.wav", f"s{number // 4}", *labels, *emotions))
    columns = ("id", "path", "speaker", "high", "negative", "suicidal", "risk", "recording", *HOTLINE)
    manifest.write(folder / "manifest.csv", columns, rows)
    return folder


@pytest.fixture
def study(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(corpus, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    return tmp_path / "study"


def recipe(folder: Path, text: str) -> Path:
    (folder / "study.toml").write_text(text, encoding="utf-8")
    return folder / "study.toml"
