"""The clips of a run's units (calls, speakers), and what each weighed in its unit's call; kept next to the run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.core.artifacts import commit_hashed, commit_text, read_hashed
from toolkit.core.errors import StoreError
from toolkit.result.safe_csv import csv_text

FILE, TABLE = "units.json", "units.csv"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Member:
    """One clip of a unit.

    fold: that the unit was tested in, and weight: the share of the clip in that round's prediction for the unit, 0
    to 1; None of a probe that gives clips no weights.
    """

    clip: str
    unit: str
    fold: int | None = None
    weight: float | None = None


def write(folder: Path, members: Sequence[Member]) -> None:
    """Commit to a run's folder. Raises DiskFullError."""
    content = {"format": FORMAT_VERSION, "members": [[one.clip, one.unit, one.fold, one.weight] for one in members]}
    commit_hashed(folder / FILE, content)
    rows = [
        [one.clip, one.unit, "" if one.fold is None else str(one.fold),
         "" if one.weight is None else f"{one.weight:.6f}"]
        for one in members
    ]  # fmt: skip
    commit_text(folder / TABLE, csv_text(["clip", "unit", "round", "weight"], rows))


def read(folder: Path) -> list[Member] | None:
    """What was kept next to a run, None of a run on clips. Raises StoreError."""
    try:
        content = read_hashed(folder / FILE)
        if content["format"] != FORMAT_VERSION:
            raise ValueError(f"format {content['format']}, expected {FORMAT_VERSION}")
        return [Member(*row) for row in content["members"]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder.name}/{FILE} is damaged: {error}; remove it, then start the command again") from None
