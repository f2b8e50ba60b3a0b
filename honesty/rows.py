"""What a row of the table is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.progress import track


@dataclass(frozen=True)
class Row:
    """claim, study: in words. studies: how many were drawn. found: the share or figure, in words. held: whether it is
    what must come, within what so many studies can tell (two standard errors)."""

    claim: str
    study: str
    studies: int
    found: str
    held: bool


Case = Callable[[np.random.Generator], Sequence[float] | None]  # one study's figures, None where it cannot be asked


def studies(name: str, case: Case, wanted: int, seed: int, quiet: bool = False) -> np.ndarray:
    """(studies, figures) of as many studies as are wanted, each from a generator of its own."""
    found: list[Sequence[float]] = []
    bar = range(wanted) if quiet else track(range(wanted), name)
    for number in bar:
        one = case(np.random.default_rng([seed, number]))
        if one is not None:
            found.append(one)
    return np.array(found, dtype=np.float64)


def share(values: np.ndarray, low: float, high: float) -> tuple[str, bool]:
    """A share in percent, and whether it lies from low to high, give or take two standard errors."""
    part = float(np.mean(values))
    room = 2 * float(np.sqrt(max(part * (1 - part), 0.01) / len(values)))
    return f"{100 * part:.1f} %", low - room <= part <= high + room
