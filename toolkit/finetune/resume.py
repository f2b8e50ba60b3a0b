"""What a stopped round resumes from: Trainer's checkpoints, each file compared with its SHA-256 before it is loaded.

Trainer keeps the optimiser's and the random generators' state as torch pickles. They are in a private folder of the
run, are written and read by the same run alone, with `weights_only`, and are deleted with it; a file that is not byte
for byte what was written is never opened.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.artifacts import commit_hashed, commit_json, read_hashed, sha256_of_file

TRUSTED, BEST, SELECTED = "trusted.json", "best.json", "selected.json"


@dataclass(frozen=True)
class Resumable:
    """A checkpoint that is whole. seconds: until it was written, and learning: of them in steps."""

    folder: Path
    seconds: float
    learning: float


def write(round_folder: Path, checkpoint: Path, seconds: float, learning: float) -> None:
    """Commit the newest checkpoint's hashes; what it says before this is done is the one before."""
    hashes = {path.name: sha256_of_file(path) for path in sorted(checkpoint.iterdir())}
    content = {"checkpoint": checkpoint.name, "seconds": seconds, "learning": learning, "sha256": hashes}
    commit_json(round_folder / TRUSTED, content)


def last(round_folder: Path) -> Resumable | None:
    """The checkpoint to resume from; None where there is none or anything about it is not as it was written."""
    try:
        content = json.loads((round_folder / TRUSTED).read_text("utf-8"))
        folder = round_folder / Path(content["checkpoint"]).name
        found = {path.name: sha256_of_file(path) for path in sorted(folder.iterdir())}
        whole = found == content["sha256"]
        seconds, learning = float(content["seconds"]), float(content["learning"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not whole:
        return None
    for other in round_folder.glob("checkpoint-*"):  # incomplete, or older: not resumed from
        if other != folder:
            shutil.rmtree(other)
    return Resumable(folder, seconds, learning)


def write_best(round_folder: Path, score: float | None, loss: float, epoch: int) -> None:
    """Commit which epoch's weights are the best so far, then delete the ones before."""
    weights = best_weights(round_folder, epoch)
    content = {"development": score, "loss": loss, "epoch": epoch, "sha256": sha256_of_file(weights)}
    commit_json(round_folder / BEST, content)
    for other in round_folder.glob("best-*.safetensors"):
        if other != weights:
            other.unlink()


def read_best(round_folder: Path) -> tuple[float | None, float, int]:
    """(score, loss, epoch) of the best weights. Raises ValueError for weights that are not what was written."""
    content = json.loads((round_folder / BEST).read_text("utf-8"))
    epoch = int(content["epoch"])
    if sha256_of_file(best_weights(round_folder, epoch)) != content["sha256"]:
        raise ValueError("the best weights are damaged")
    score = content["development"]
    return None if score is None else float(score), float(content["loss"]), epoch


def best_weights(round_folder: Path, epoch: int) -> Path:
    """Where an epoch's weights are while they are the best."""
    return round_folder / f"best-{epoch}.safetensors"


def write_selected(round_folder: Path, content: Mapping[str, Any]) -> None:
    """Commit what development chose, which the training on more clips then begins with."""
    commit_hashed(round_folder / SELECTED, content)


def read_selected(round_folder: Path) -> dict[str, Any] | None:
    """What `write_selected` wrote; None where it is not there or not as it was written."""
    try:
        return read_hashed(round_folder / SELECTED)
    except (OSError, ValueError):
        return None
