from pathlib import Path

from toolkit.finetune.history import Epoch, add


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
