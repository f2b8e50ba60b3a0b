"""Finished rounds on disk: one that is not whole is none."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from toolkit.corpus.splits import Round
from toolkit.finetune import rounds
from toolkit.finetune.training import Trained
from toolkit.result.thresholds import Scale

SETTINGS = {"checkpoint": "mine"}


def written(folder: Path) -> rounds.Finished:
    trained = Trained(
        layer="encoder.3", train="head", rate=0.1, statistics="both", class_weights="none", epoch=1, epochs=2,
        development=0.5, loss=0.6, bars=np.array([0.3, 0.7]), scale=Scale(np.array([0.1, 0.2]), np.array([1.5, 2.5])),
        probability=np.array([[0.2, 0.8]]), prediction=np.array([1]), score=np.array([[-1.0, 0.5]]), learning=2,
        parameters=3, seconds=1.0, learning_seconds=0.5, heard_seconds=4.0, peak_bytes=5,
        weights={"head": torch.ones(2)},
    )  # fmt: skip
    part = np.array([], dtype=np.int64)
    return rounds.write(folder, Round(2, part, part, np.array([0])), trained, SETTINGS)


def test_a_whole_round_comes_back(tmp_path: Path) -> None:
    made, found = written(tmp_path), rounds.read(tmp_path, 2, True)
    assert found is not None and vars(found).keys() == vars(made).keys()
    assert found.probability.tolist() == [[0.2, 0.8]] and found.prediction.tolist() == [1] and found.epochs == 2
    assert found.score.tolist() == [[-1.0, 0.5]] and (found.statistics, found.class_weights) == ("both", "none")
    kept = json.loads((tmp_path / "weights" / "round-2.json").read_text())
    assert (kept["bars"], kept["centre"], kept["spread"]) == ([0.3, 0.7], [0.1, 0.2], [1.5, 2.5])


@pytest.mark.parametrize("lost", ["weights/round-2.safetensors", "weights/round-2.json", "rounds/round-2.json"])
def test_a_round_that_lacks_a_file_is_trained_again(tmp_path: Path, lost: str) -> None:
    written(tmp_path)
    (tmp_path / lost).unlink()
    assert rounds.read(tmp_path, 2, True) is None
    assert (rounds.read(tmp_path, 2, False) is None) == lost.startswith("rounds")


def test_a_round_whose_file_was_changed_is_none(tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / "rounds" / "round-2.json"
    path.write_text(path.read_text().replace("0.8", "0.7"))
    assert rounds.read(tmp_path, 2, True) is None
