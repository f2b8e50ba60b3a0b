"""A recipe that fuses a backbone with acoustic features: each step made once, refusals by line and column."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import Run
from tests.models import tiny
from toolkit.corpus import manifest

RECIPE = """\
[study]
target = "high"
folds = 3

[extract]
model = ["tiny-hubert", "acoustic"]
dtype = "float32"
layers = "0-1"
workers = 1

[probe]
trials = 2
workers = 1
fuse = "tiny-hubert+acoustic"
fusion = ["early", "late"]
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    tiny.hubert(tmp_path / "models" / "tiny-hubert")
    rows = []
    for number in range(24):
        time = np.arange(6_400) / 16_000
        tone = sum(
            np.sin(2 * np.pi * (120 + 90 * (number % 2)) * harmonic * time) / harmonic for harmonic in range(1, 9)
        )
        noise = np.random.default_rng(number).standard_normal(len(time))
        sound = (0.1 * tone + 0.01 * noise).astype(np.float32)
        soundfile.write(tmp_path / f"{number}.wav", sound, 16_000, subtype="FLOAT")
        rows.append((f"c{number}", f"{number}.wav", f"s{number // 4}", str(number % 2)))
    manifest.write(tmp_path / "manifest.csv", ("id", "path", "speaker", "high"), rows)
    return tmp_path


def test_a_study_probes_each_store_and_their_fusions_and_compares_all(run: Run, study: Path) -> None:
    (study / "study.toml").write_text(RECIPE)
    code, out, err = run("run", study / "study.toml", "-w", study)
    assert code == 0, err
    made = sorted(path.name.rpartition("-")[0] for path in study.glob("result/high-*-linear-*"))
    assert made == [
        "high-acoustic-linear",
        "high-tiny-hubert+acoustic-early-linear",
        "high-tiny-hubert+acoustic-late-linear",
        "high-tiny-hubert-linear",
    ]
    assert "late-linear probe of tiny-hubert+acoustic" in out
    (page,) = study.glob("result/high-compare-*/report.html")
    assert "tiny-hubert+acoustic" in page.read_text()
    code, again, _ = run("run", study / "study.toml", "-w", study, "--dry-run")
    assert code == 0 and "+acoustic" in again


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ('"tiny-hubert"', "line 14, column 8: bad fuse 'tiny-hubert', expected different models joined by \"+\""),
        ('"acoustic+acoustic"', "line 14, column 8: bad fuse 'acoustic+acoustic'"),
        ('"tiny-hubert+pitch"', "line 14, column 8: Bad fuse 'pitch'"),
    ],
)
def test_what_cannot_be_fused_is_refused_at_its_place(run: Run, study: Path, value: str, sentence: str) -> None:
    (study / "study.toml").write_text(RECIPE.replace('"tiny-hubert+acoustic"', value))
    code, _, err = run("run", study / "study.toml", "-w", study)
    assert code == 2 and sentence in err
    assert not (study / "features").exists()


def test_an_acoustic_set_is_not_fine_tuned(run: Run, study: Path) -> None:
    (study / "study.toml").write_text(RECIPE + '\n[[finetune]]\nmodel = "acoustic"\ntrain = "head"\n')
    code, _, err = run("run", study / "study.toml", "-w", study)
    assert code == 2 and "acoustic is an acoustic set, which has no weights to fine-tune" in err
