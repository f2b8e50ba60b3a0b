"""Finished rounds of a run that is not finished, one JSON file each; and the weights, where they are kept."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import save_file

from toolkit.core.artifacts import commit_file, commit_hashed, make_folder, read_hashed, sha256_of_file
from toolkit.corpus.labels import Truth
from toolkit.corpus.splits import Round
from toolkit.finetune.training import Trained

ROUNDS, WEIGHTS = "rounds", "weights"
OWN_HASH = "described_sha256"  # of what is next to the weights
SAID = ("layer", "train", "rate", "statistics", "class_weights", "epoch", "epochs", "development", "loss", "learning",
        "parameters", "seconds", "learning_seconds", "heard_seconds", "peak_bytes")  # fmt: skip


@dataclass(frozen=True)
class Finished:
    """A round's outcome; see `training.Trained`. fold: its test fold."""

    fold: int
    layer: str
    train: str
    rate: float
    statistics: str
    class_weights: str
    epoch: int
    epochs: int
    development: float | None
    loss: float
    learning: int
    parameters: int
    seconds: float
    learning_seconds: float
    heard_seconds: float
    peak_bytes: int
    prediction: Truth
    probability: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]


def write(folder: Path, round_: Round, trained: Trained, settings: Mapping[str, Any] | None) -> Finished:
    """Commit a round; with `settings`, its weights before it, as safetensors next to a JSON file with their SHA-256."""
    if settings is not None:
        weights = make_folder(folder / WEIGHTS) / f"round-{round_.fold}.safetensors"
        commit_file(weights, lambda path: save_file(trained.weights, path))
        described = {**settings, "fold": round_.fold, "layer": trained.layer, "epoch": trained.epoch,
                     "bars": trained.bars.tolist(), "centre": trained.scale.centre.tolist(),
                     "spread": trained.scale.spread.tolist(), "sha256": sha256_of_file(weights)}  # fmt: skip
        commit_hashed(weights.with_suffix(".json"), described, OWN_HASH)
    stated = {name: getattr(trained, name) for name in SAID}
    content = {"fold": round_.fold, **stated, "prediction": trained.prediction.tolist(),
               "probability": trained.probability.tolist(), "score": trained.score.tolist()}  # fmt: skip
    commit_hashed(_file(folder, round_.fold), content)
    return _finished(content)


def read(folder: Path, fold: int, save_weights: bool) -> Finished | None:
    """A round that was finished; None where it is not, is damaged, or lacks the weights that are to be kept."""
    weights = folder / WEIGHTS / f"round-{fold}.safetensors"
    if save_weights and not (weights.is_file() and weights.with_suffix(".json").is_file()):
        return None
    try:
        return _finished(read_hashed(_file(folder, fold)))
    except (OSError, ValueError):
        return None


def clear(folder: Path) -> None:
    """The run has all that they hold."""
    shutil.rmtree(folder / ROUNDS, ignore_errors=True)


def _file(folder: Path, fold: int) -> Path:
    return make_folder(folder / ROUNDS) / f"round-{fold}.json"


def _finished(content: Mapping[str, Any]) -> Finished:
    arrays = {
        "prediction": np.array(content["prediction"]),  # whole numbers, but of a regression
        "probability": np.array(content["probability"], dtype=np.float64),
        "score": np.array(content["score"], dtype=np.float64),
    }
    return Finished(**{**content, **arrays})
