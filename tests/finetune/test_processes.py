"""Two processes that train one model: the same batches, the same predictions, and one that writes."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.finetune.conftest import QUICK, Run
from toolkit.result import run as result_run


def test_two_processes_predict_what_one_predicts(run: Run, study: Path, tmp_path: Path) -> None:
    words = ["finetune", "--model", "tiny-whisper", "--target", "high", "--folds", 3, "--context", "clip",
             "--layer", 1, *QUICK]  # fmt: skip
    workspaces = [tmp_path / "alone", tmp_path / "together"]
    for workspace in workspaces:
        shutil.copytree(study, workspace, ignore=shutil.ignore_patterns("result", "features"))
    code, _, err = run(*words, "-w", workspaces[0])
    assert code == 0, err
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-W", "ignore", "-m", "toolkit", *map(str, words), "-w", str(workspaces[1])]
    children = []
    for rank in ("0", "1"):
        given = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        given |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        children.append(subprocess.Popen(command, env={**os.environ, **given}, **pipes))  # type: ignore[call-overload]
    said = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0, 0], said
    assert "36 clips predicted" in said[0][0] and "in 2 processes" in said[0][1]
    assert said[1][0] == ""
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
