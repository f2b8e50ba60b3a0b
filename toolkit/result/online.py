"""How a layer learns as callers come in: its online code length and a learning curve; kept next to a run."""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from toolkit.core.artifacts import commit_hashed, commit_text, read_hashed
from toolkit.core.errors import StoreError

FILE, TABLE = "online.json", "online.csv"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Online:
    """Linear probes of one setting, fitted on more and more callers, in several orders of them.

    callers: how many each step learnt from. bits: by layer, of each order, the code length of all labels in bits a
    clip: what it takes to send them to somebody who has the features, when each block of callers is coded by a probe
    fitted on those before. uniform: the same without any features. scores: by layer, of each order, the headline metric
    of each step on all other callers; None where undefined.
    """

    metric: str
    callers: tuple[int, ...]
    uniform: float
    bits: Mapping[str, tuple[float, ...]]
    scores: Mapping[str, tuple[tuple[float | None, ...], ...]]

    @property
    def best(self) -> str:
        """The layer with the shortest code, the mean over the orders."""
        return min(self.bits, key=lambda layer: float(np.mean(self.bits[layer])))

    def curve(self, layer: str) -> list[tuple[int, float, float, float]]:
        """Callers, and mean, lowest and highest score over the orders; steps that no order has a score for are left
        out."""
        found = []
        for step, count in enumerate(self.callers):
            values = [order[step] for order in self.scores[layer]]
            known = [value for value in values if value is not None]
            if known:
                found.append((count, float(np.mean(known)), min(known), max(known)))
        return found


def write(folder: Path, online: Online) -> None:
    """Commit to a run's folder. Raises DiskFullError."""
    commit_hashed(folder / FILE, {"format": FORMAT_VERSION, **asdict(online)})
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["layer", "bits_a_clip", *(f"{online.metric}_{count}_callers" for count in online.callers)])
    for layer, bits in online.bits.items():
        means = {count: mean for count, mean, _, _ in online.curve(layer)}
        cells = [f"{means[count]:.6f}" if count in means else "" for count in online.callers]
        writer.writerow([layer, f"{np.mean(bits):.6f}", *cells])
    commit_text(folder / TABLE, text.getvalue())


def read(folder: Path) -> Online | None:
    """What was kept next to a run, None where nothing was. Raises StoreError."""
    try:
        content = read_hashed(folder / FILE)
        if content["format"] != FORMAT_VERSION:
            raise ValueError(f"format {content['format']}, expected {FORMAT_VERSION}")
        bits = {layer: tuple(values) for layer, values in content["bits"].items()}
        scores = {layer: tuple(map(tuple, orders)) for layer, orders in content["scores"].items()}
        return Online(content["metric"], tuple(content["callers"]), content["uniform"], bits, scores)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{folder.name}/{FILE} is damaged: {error}; remove it, then start the command again") from None
