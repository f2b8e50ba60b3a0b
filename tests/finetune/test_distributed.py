"""Two processes that train one model: the same batches, the same predictions, and one that writes."""

import os
import shutil
import socket
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests import children
from tests.finetune.conftest import QUICK, Run
from toolkit.result import run_files

# As the README has it; the CPU's processes meet by gloo, where GPUs' meet by NCCL. The precision is another than the
# recipe's, as it may be in a user's own settings of accelerate: it must not count.
LAUNCH = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port", "0",
          "--mixed_precision", "bf16", "--dynamo_backend", "no", "-m", "toolkit"]  # fmt: skip
WORDS = ["finetune", "--model", "tiny-whisper", "--target", "high", "--folds", "3", "--context", "clip",
         "--layer", "1", "--head-epochs", "2", *map(str, QUICK)]  # fmt: skip


def copied(study: Path, workspace: Path) -> Path:
    shutil.copytree(study, workspace, ignore=shutil.ignore_patterns("result", "features"))
    return workspace


def together(words: list[str], sentence: Path) -> list[BaseProcess]:
    """Two processes of one training, as a launcher of processes leaves them."""
    sentence.touch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    both = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
            "ACCELERATE_MIXED_PRECISION": "bf16"}  # fmt: skip
    ranks = [both | {"RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
    return [children.start(children.command, words, rank, str(sentence), str(sentence)) for rank in ranks]


def test_two_processes_one_of_them_killed_predict_what_one_predicts(run: Run, study: Path, tmp_path: Path) -> None:
    alone, shared = (copied(study, tmp_path / name) for name in ("alone", "shared"))
    code, _, err = run(*WORDS, "-w", alone)
    assert code == 0, err
    words = [*WORDS, "-w", str(shared)]
    first, second = together(words, tmp_path / "killed")
    children.killed_once_there(second, shared, "result/*/.training/round-1/selection/trusted.json")
    assert children.ended(first) != 0
    applied = tmp_path / "said"
    assert [children.ended(child) for child in together(words, applied)] == [0, 0], applied.read_text()
    assert_same(alone, shared, applied.read_text())


@pytest.mark.slow  # the launcher itself, which starts Python three times
def test_the_launcher_starts_processes_that_predict_what_one_predicts(run: Run, study: Path, tmp_path: Path) -> None:
    alone, shared = (copied(study, tmp_path / name) for name in ("alone", "shared"))
    code, _, err = run(*WORDS, "-w", alone)
    assert code == 0, err
    command = [sys.executable, "-m", "accelerate.commands.launch", *LAUNCH, *WORDS, "-w", str(shared)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as launcher:
        while not list(shared.glob("result/*/.training/round-1/selection/trusted.json")):
            assert launcher.poll() is None, "it ended before it was killed"
            time.sleep(0.01)
        psutil.Process(launcher.pid).children()[-1].kill()
    assert launcher.returncode == 1
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_same(alone, shared, done.stdout + done.stderr)


def assert_same(alone: Path, shared: Path, sentence: str) -> None:
    assert sentence.count("36 clips predicted") == 1 and sentence.count("in 2 processes, float32") == 1
    assert "round that tests fold 0" not in sentence  # it was there already
    one, two = (
        run_files.read(folder)
        for workspace in (alone, shared)
        for folder in workspace.glob("result/high-tiny-whisper-finetune-full-*")
    )
    assert two.provenance["processes"] == 2
    assert [choice.setting for choice in one.choices] == [choice.setting for choice in two.choices]
    assert np.allclose(one.predictions.probability, two.predictions.probability, atol=1e-4)
    assert any(choice.setting["best epoch"] for choice in one.choices)  # and not of untrained backbones


def test_a_batch_that_cannot_be_shared_out_is_refused(run: Run, study: Path, monkeypatch: object) -> None:
    words = ("finetune", "--model", "tiny-hubert", "--target", "high", "--folds", 3, *QUICK, "-w", study)
    monkeypatch.setenv("WORLD_SIZE", "3")  # type: ignore[attr-defined]
    code, _, err = run(*words)
    assert code == 2 and "3 processes get no equal parts" in err
    monkeypatch.setenv("WORLD_SIZE", "2")  # type: ignore[attr-defined]
    code, _, err = run(*words)
    assert code == 2 and "start with torchrun" in err
