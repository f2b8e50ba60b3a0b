"""The bytes of folds, stores and predictions of one small study, so that moving code about moves no number.

With PIN=1 in the environment the test writes fixed_study.json anew, for a change that is meant to change figures.
"""

import gc
import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import toolkit.extract.run as extract_run
from tests.conftest import undraw
from tests.models import tiny
from toolkit.cli import diagnostics, main
from toolkit.core.matmul import KEPT
from toolkit.result.report import run_page

PINNED = Path(__file__).with_name("fixed_study.json")
SPEAKERS, CLIPS = 6, 6
TRAINING = ("--epochs", "1", "--batch-size", "4", "--dtype", "float32", "--device", "cpu", "--workers", "1")
COMMANDS = (
    ("extract", "--model", "tiny-hubert", "--dtype", "float32", "--device", "cpu", "--workers", "1"),
    ("extract", "--model", "tiny-whisper", "--context", "clip", "--dtype", "float32", "--device", "cpu"),
    ("probe", "--model", "tiny-hubert", "--probe", "all", "--trials", "2", "--target", "mood", "--folds", "3"),
    ("probe", "--model", "tiny-whisper", "--trials", "2", "--target", "mood", "--folds", "3"),
    ("probe", "--model", "tiny-hubert", "--target", "high,noisy", "--folds", "3", "--seed", "1", "--trials", "2"),
    ("finetune", "--model", "tiny-hubert", "--layer", "2", "--target", "mood", "--folds", "3", *TRAINING),
    ("finetune", "--model", "tiny-whisper", "--layer", "1", "--context", "clip", "--target", "mood", "--folds", "3",
     "--train", "lora", *TRAINING),
)  # fmt: skip


def corpus(folder: Path) -> None:
    generator = np.random.default_rng(0)
    rows = ["id,path,speaker,mood,high,noisy"]
    for number in range(SPEAKERS * CLIPS):
        high, noisy = number % 2, (number // 2 + number // CLIPS) % 3 == 0
        time = np.arange(4_000 + 160 * (number % 7)) / 16_000
        tone = sum(np.sin(2 * np.pi * (120 + 130 * high) * harmonic * time) / harmonic for harmonic in range(1, 9))
        noise = generator.standard_normal(len(time))
        sound = 0.1 * tone + (0.1 if noisy else 0.01) * noise
        soundfile.write(folder / f"{number}.wav", sound.astype(np.float32), 16_000, subtype="FLOAT")
        mood = ("calm", "sad", "angry")[(high + 2 * noisy) % 3]
        rows.append(f"clip{number},{number}.wav,s{number // CLIPS},{mood},{high},{int(noisy)}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def machine() -> str:
    """What decides the last bits of a sum: libraries choose their kernels by the processor."""
    told = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    named = ("vendor_id", "cpu family", "model\t")
    kind = [line.partition(":")[2].strip() for line in told.splitlines()[:8] if line.startswith(named)]
    return f"torch {torch.__version__}, numpy {np.__version__}, {' '.join(kind) or platform.processor()}"


def study(folder: Path) -> dict[str, str]:
    """SHA-256 by file, its folder's name without the signature."""
    corpus(folder)
    tiny.hubert(folder / "models" / "tiny-hubert")
    tiny.whisper(folder / "models" / "tiny-whisper")
    diagnostics.install = lambda: None
    extract_run.measure_budget = lambda *_: 4.0  # type: ignore[attr-defined] # what a clock finds differs
    run_page.draw = lambda folder, *_: folder / "report.html"
    undraw(pytest.MonkeyPatch())
    gc.freeze()  # these three as in every test
    os.fsync = lambda descriptor: None
    for words in COMMANDS:
        sys.argv = ["toolkit", *words, "-w", str(folder)]
        try:
            main()
        except SystemExit as left:
            assert not left.code, words
    found: dict[str, str] = {}
    names = ("features/*/shard-*.h5", "result/folds/*.json", "result/*/predictions.csv", "result/*/layers.csv")
    for pattern in names:
        for path in sorted(folder.glob(pattern)):
            place = path.parent.name.rpartition("-")[0] or path.parent.name
            name = path.name if place != "folds" else "folds"
            number = sum(key.startswith(f"{place}/{name}") for key in found)
            found[f"{place}/{name}" + (f" {number}" if number else "")] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def test_no_number_moved(tmp_path: Path) -> None:
    """Bytes where the machine computes as one that wrote them did; elsewhere those of the folds, and the names.

    In a process of its own: what other tests computed before decides which kernels oneDNN keeps, and so the last bits.
    """
    command = [sys.executable, "-m", "tests.test_fixed_study", tmp_path]
    alone = {name: value for name, value in os.environ.items() if name not in KEPT}
    alone["OMP_NUM_THREADS"] = "1"
    done = subprocess.run(command, capture_output=True, text=True, env=alone, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    pinned = json.loads(PINNED.read_text(encoding="utf-8"))
    if os.environ.get("PIN"):
        pinned[machine()] = found
        PINNED.write_text(json.dumps(pinned, indent=1) + "\n", encoding="utf-8")
    if machine() in pinned:
        assert found == pinned[machine()]
    else:
        (other, *_) = pinned.values()
        assert set(found) == set(other)
        assert all(found[name] == other[name] for name in found if "folds" in name)


if __name__ == "__main__":
    print(json.dumps(study(Path(sys.argv[1]))))
