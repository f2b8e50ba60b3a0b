"""One colour a probe, on every page and in both themes (Okabe and Ito, 2008, less the yellow); dashes for the rest."""

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.result.run import FUSIONS, TUNED

PROBES = {
    **{"linear": "#0072b2", "mlp": "#009e73", "lightgbm": "#cc79a7", "mix": "#56b4e9"},
    **{"clips": "#b58a00", "mil": "#44aa99", "mil-gru": "#aa4499"},  # of units; Tol's, 2021, the first darkened
}
FINE_TUNED = "#d55e00"
OTHERS = ("#e69f00", "#8a8f96", "#8c6d46", "#7b61b3")  # controls, nuisances, and probes of other packages
DASHES = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3), (12, 3), (1, 4))


@dataclass(frozen=True)
class Style:
    """How a line or a point differs from others."""

    colour: str
    dash: tuple[int, ...] = DASHES[0]


def colour_of(probe: str) -> str:
    """Of a run by its probe, `Run.probe`; a fusion has that of its stores' probes.

    >>> colour_of("linear"), colour_of("late-linear"), colour_of("finetune-lora")
    ('#0072b2', '#0072b2', '#d55e00')
    """
    first, _, base = probe.partition("-")
    if first in FUSIONS and base:
        return colour_of(base)
    if probe.startswith(TUNED):
        return FINE_TUNED
    return PROBES.get(probe) or OTHERS[zlib.crc32(probe.encode()) % len(OTHERS)]


def styles_of(probes: Sequence[str]) -> list[Style]:
    """Of curves by their probes: a colour a probe and a dash a curve of it; of a single probe a colour a curve."""
    if len(set(probes)) == 1:
        return [Style(colour_of(probes[0])), *others(len(probes) - 1, probes[0])]
    seen = Counter[str]()
    styles = []
    for probe in probes:
        styles.append(Style(colour_of(probe), DASHES[seen[probe] % len(DASHES)]))
        seen[probe] += 1
    return styles


def others(number: int, probe: str) -> list[Style]:
    """Of so many curves that are drawn with one of this probe and are not of other probes."""
    free = [colour for colour in (*OTHERS, *PROBES.values()) if colour != colour_of(probe)]
    return [Style(free[place % len(free)], DASHES[place // len(free) % len(DASHES)]) for place in range(number)]
