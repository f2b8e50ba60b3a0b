"""Two processes that train one model: the same batches, the same predictions, and one that writes."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil

from tests.finetune.conftest import QUICK, Run
from toolkit.result import run as result_run

# As the README has it; the CPU's processes meet by gloo, where GPUs' meet by NCCL. The precision is another than the
# recipe's, as it may stand in a user's own settings of accelerate: it must not count.
LAUNCH = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port", "0",
          "--mixed_precision", "bf16", "--dynamo_backend", "no", "-m", "toolkit"]  # fmt: skip


def test_two_processes_one_of_them_killed_predict_what_one_predicts(run: Run, study: Path, tmp_path: Path) -> None:
    words = ["finetune", "--model", "tiny-whisper", "--target", "high", "--folds", 3, "--context", "clip",
             "--layer", 1, *QUICK]  # fmt: skip
    workspaces = [tmp_path / "alone", tmp_path / "together"]
    for workspace in workspaces:
        shutil.copytree(study, workspace, ignore=shutil.ignore_patterns("result", "features"))
    code, _, err = run(*words, "-w", workspaces[0])
    assert code == 0, err
    command = [sys.executable, "-m", "accelerate.commands.launch", *LAUNCH, *map(str, words), "-w", workspaces[1]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as launcher:
        while not list(workspaces[1].glob("result/*/.training/round-1/selection/trusted.json")):
            assert launcher.poll() is None, "it ended before it was killed"
            time.sleep(0.01)
        psutil.Process(launcher.pid).children()[-1].kill()
    assert launcher.returncode == 1
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("36 clips predicted") == 1 and done.stderr.count("in 2 processes, float32") == 1
    assert "round that tests fold 0" not in done.stderr  # it stood already
    alone, together = (
        result_run.read(folder)
        for workspace in workspaces
        for folder in workspace.glob("result/high-tiny-whisper-finetune-full-*")
    )
    assert together.provenance["processes"] == 2
    assert [choice.setting for choice in alone.choices] == [choice.setting for choice in together.choices]
    assert np.allclose(alone.predictions.probability, together.predictions.probability, atol=1e-4)
    assert any(choice.setting["best epoch"] for choice in alone.choices)  # and not of untrained backbones


def test_a_batch_that_cannot_be_shared_out_is_refused(run: Run, study: Path, monkeypatch: object) -> None:
    words = ("finetune", "--model", "tiny-hubert", "--target", "high", "--folds", 3, *QUICK, "-w", study)
    monkeypatch.setenv("WORLD_SIZE", "3")  # type: ignore[attr-defined]
    code, _, err = run(*words)
    assert code == 2 and "3 processes get no equal parts" in err
    monkeypatch.setenv("WORLD_SIZE", "2")  # type: ignore[attr-defined]
    code, _, err = run(*words)
    assert code == 2 and "start with torchrun" in err
