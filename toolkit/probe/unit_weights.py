"""Which clips carried each unit: the weights that a run's own models gave them, each round's of its test units."""

from collections.abc import Sequence

import numpy as np

from toolkit.corpus.splits import Folds
from toolkit.features.units import UnitStore
from toolkit.probe.data import rows_of
from toolkit.probe.protocol import one_thread
from toolkit.probe.registry import PROBES
from toolkit.probe.winners import Winner
from toolkit.result.units import Member


def weighed(store: UnitStore, folds: Folds, kept: Sequence[Winner]) -> list[Member]:
    """Every clip of a run's units, by unit; without a weight where the probe has none, or no round tested the unit."""
    weights: dict[str, tuple[int, np.ndarray[tuple[int], np.dtype[np.float64]]]] = {}
    row_of = {unit: row for row, unit in enumerate(store.ids)}
    for winner in kept:
        own = PROBES[winner.probe].weights
        if own is None:
            break
        units = [unit for unit, fold in zip(folds.ids, folds.fold.tolist(), strict=True) if fold == winner.fold]
        rows = np.array([row_of[unit] for unit in units], dtype=np.int64)
        layers = [rows_of(store.layer(name), rows) for name in winner.layers]
        with one_thread():
            found = own(layers, winner.model, winner.setting, winner.targets)
        weights |= {unit: (winner.fold, one) for unit, one in zip(units, found, strict=True)}
    members = []
    for unit in folds.ids:
        fold, shares = weights.get(unit, (None, None))
        for number, clip in enumerate(store.members[unit]):
            members.append(Member(clip, unit, fold, None if shares is None else float(shares[number])))
    return members
