"""`toolkit doctor`: one screen, every damage a line, no name of anyone."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import Run
from tests.models import tiny


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "anna-hotline"
    tiny.hubert(folder / "models" / "anna-model")
    for number in range(2):
        soundfile.write(folder / f"bob{number}.wav", np.random.default_rng(number).standard_normal(4000) / 9, 16_000)
    (folder / "manifest.csv").write_text("id,path,speaker,sad\nx,bob0.wav,carla,0\ny,bob1.wav,dora,1\n")
    return folder


def lines(out: str) -> dict[str, dict[str, object]]:
    return {line["about"]: line for line in json.loads(out) if line["about"] != "extra"}


def test_a_whole_workspace_is_told_in_one_screen_without_a_name(run: Run, workspace: Path) -> None:
    assert run("extract", "--model", "anna-model", "-w", workspace)[0] == 0
    code, out, err = run("doctor", "-w", workspace)
    assert code == 0 and not err and len(out.splitlines()) < 24
    for name in ("anna", "bob", "carla", "dora", str(workspace), "sad"):
        assert name not in out
    assert "2 clips" in out and "1 hubert" in out and "1 store, 2 clips, 0 failed" in out
    assert "\n !" not in out and not out.startswith(" !")


def test_damage_is_a_line_and_no_error(run: Run, workspace: Path) -> None:
    (workspace / "manifest.csv").write_text("id,path\nx,bob0.wav\nx,bob1.wav\n")
    (workspace / "models" / "anna-model" / "model.safetensors").write_bytes(b"cut")
    (workspace / "features" / "anna-1").mkdir(parents=True)
    (workspace / "features" / "anna-1" / "store.json").write_text("{")
    (workspace / "result" / "run-1").mkdir(parents=True)
    (workspace / "result" / "run-1" / "run.json").write_text("{")
    code, out, _ = run("doctor", "--json", "-w", workspace)
    found = lines(out)
    assert code == 0 and not any(found[name]["well"] for name in ("manifest", "models", "features", "result"))
    assert "1 defects" in str(found["manifest"]["found"]) and "1 damaged" in str(found["result"]["found"])
    assert "anna" not in out
