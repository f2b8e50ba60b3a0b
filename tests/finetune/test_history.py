"""What is kept of each epoch: the run's own table, and what Trainer reports elsewhere where it is asked to."""

import os
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from tests.conftest import Run
from tests.finetune.conftest import finetune
from toolkit.finetune import tracking
from toolkit.finetune.history import Epoch, add
from toolkit.result import run_files


def test_an_epoch_that_is_done_again_replaces_itself(tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    for epoch in (
        Epoch(0, 0, None, 0.5, 0.6, 1.0),
        Epoch(0, 1, 0.4, 0.45, 0.7, 2.0),
        Epoch(0, 1, 0.41, 0.46, 0.71, 9.0),
    ):
        add(file, epoch)
    assert file.read_text(encoding="utf-8").splitlines() == [
        "fold,epoch,training_loss,development_loss,development_score,seconds",
        "0,0,,0.5,0.6,1",
        "0,1,0.41,0.46,0.71,9",
    ]


def events(file: Path) -> list[tuple[str, float]]:
    """The scalars of an event file: records of a length (8 bytes), its checksum (4), the event, its checksum (4)."""
    raw, found = file.read_bytes(), []
    while raw:
        length = int.from_bytes(raw[:8], "little")
        found += [(one.tag, one.simple_value) for one in Event.FromString(raw[12 : 12 + length]).summary.value]
        raw = raw[16 + length :]
    return found


def test_losses_go_to_tensorboard_and_change_no_figure(
    run: Run, study: Path, probed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TENSORBOARD_LOGGING_DIR", "WANDB_MODE", "WANDB_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "x")  # so that they are put back
        monkeypatch.delenv(name)
    code, _, err = finetune(run, study, "--from", probed.name, "--report-to", "tensorboard", "--seed", 3)
    assert code == 0, err
    (folder,) = (study / "logs").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["fold-0", "fold-1", "fold-2"]
    rows = [line.split(",") for line in (study / "result" / folder.name / "history.csv").read_text().splitlines()[1:]]
    for fold in range(3):
        (file,) = (folder / f"fold-{fold}").iterdir()
        kept = [row for row in rows if row[0] == str(fold) and row[1] != "0"]
        for tag, column in (("train/loss", 2), ("eval/loss", 3)):
            told = [value for name, value in events(file) if name == tag]
            assert told == pytest.approx([float(row[column]) for row in kept], rel=1e-5)
        assert b"clip" not in file.read_bytes()  # no id
    before = run_files.read(study / "result" / folder.name).predictions.probability
    code, out, _ = finetune(run, study, "--from", probed.name, "--seed", 3)  # the same run: nothing depends on it
    assert code == 0 and "36 clips predicted" in out and before is not None


def test_what_is_not_there_to_report_to_is_refused(run: Run, study: Path, probed: Path) -> None:
    code, _, err = finetune(run, study, "--from", probed.name, "--report-to", "tensorbord")
    assert code == 2 and "did you mean 'tensorboard'?" in err
    code, _, err = finetune(run, study, "--from", probed.name, "--report-to", "mlflow")
    assert code == 4 and "--report-to mlflow: it is not installed; pip install mlflow" in err


def test_wandb_is_kept_offline_unless_its_own_variable_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TENSORBOARD_LOGGING_DIR", "WANDB_MODE", "WANDB_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    tracking.into(tmp_path / "logs" / "run" / "fold-0")
    assert os.environ["WANDB_MODE"] == "offline" and os.environ["MLFLOW_TRACKING_URI"].startswith("file:///")
    monkeypatch.setenv("WANDB_MODE", "online")
    tracking.into(tmp_path / "logs" / "run" / "fold-1")
    assert os.environ["WANDB_MODE"] == "online"
