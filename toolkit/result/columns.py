"""How much each named column counts in a run's models; kept next to the run, where its features have names."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from toolkit.core.artifacts import commit_hashed, commit_text, read_hashed
from toolkit.core.errors import StoreError
from toolkit.result.safe_csv import plain_text

FILE, TABLE = "columns.json", "columns.csv"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Column:
    """One column of the features; or all of a fused store's, where they have no names.

    name: "f0_semitone.mean"; of a fusion with its store before it. share: of all columns together, the mean over the
    rounds' models, 0 to 1; low, high: the least and the most of a round. label: which it favours most as it grows
    ("" where that is not known), and against: whether it lowers it.
    """

    name: str
    share: float
    low: float
    high: float
    label: str = ""
    against: bool = False


@dataclass(frozen=True)
class Columns:
    """probe: whose shares they are, "linear" or "lightgbm". columns: the largest first."""

    probe: str
    columns: tuple[Column, ...]


def write(folder: Path, columns: Columns) -> None:
    """Commit to a run's folder. Raises DiskFullError."""
    commit_hashed(folder / FILE, {"format": FORMAT_VERSION, **asdict(columns)})
    commit_text(folder / TABLE, _csv(columns.columns))


def read(folder: Path) -> Columns | None:
    """What was kept next to a run, None where nothing was. Raises StoreError."""
    try:
        content = read_hashed(folder / FILE)
        if content["format"] != FORMAT_VERSION:
            raise ValueError(f"format {content['format']}, expected {FORMAT_VERSION}")
        return Columns(content["probe"], tuple(Column(**row) for row in content["columns"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder.name}/{FILE} is damaged: {error}; remove it, then start the command again") from None


def _csv(columns: Sequence[Column]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["column", "share", "low", "high", "label", "direction"])
    for one in columns:
        shares = [f"{value:.6f}" for value in (one.share, one.low, one.high)]
        direction = ("against" if one.against else "for") if one.label else ""
        writer.writerow([plain_text(one.name), *shares, plain_text(one.label), direction])
    return text.getvalue()
