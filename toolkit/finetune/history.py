"""What every epoch of a run came to, as a table in the run's folder: history.csv."""

import csv
import io
from dataclasses import dataclass, fields
from pathlib import Path

from toolkit.core.artifacts import commit_text

FILE = "history.csv"


@dataclass(frozen=True)
class Epoch:
    """One epoch of the training that development watches."""

    fold: int
    """That the round tests."""
    epoch: int
    """0 for the head alone, before the backbone learns."""
    training_loss: float | None
    """The mean over the epoch's steps, each before its update; None for epoch 0."""
    development_loss: float
    """By which the epoch is chosen, see `kinds.criterion`."""
    development_score: float | None
    """The headline metric there, optimistic; None where it is undefined."""
    seconds: float
    """Of this round so far."""


def add(file: Path, epoch: Epoch) -> None:
    """Commit an epoch's row; an epoch that was done again replaces what it was."""
    names = [field.name for field in fields(Epoch)]
    rows: list[list[str]] = []
    if file.is_file():
        _, *rows = csv.reader(io.StringIO(file.read_text(encoding="utf-8")))
    key = [str(epoch.fold), str(epoch.epoch)]
    cells = ["" if (value := getattr(epoch, name)) is None else f"{value:.6g}" for name in names]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([names, *(row for row in rows if row[:2] != key), cells])
    commit_text(file, text.getvalue())
