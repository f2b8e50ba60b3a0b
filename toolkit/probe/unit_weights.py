"""Which clips carried each unit: the weights that a run's own models gave them, each round's of its test units."""

from collections.abc import Sequence

import numpy as np

from toolkit.corpus.labels import FloatArray, IntArray
from toolkit.corpus.splits import Folds
from toolkit.features.units import UnitStore
from toolkit.probe.data import Layers, rows_of
from toolkit.probe.registry import PROBES
from toolkit.probe.winners import Winner
from toolkit.probe.workers import one_thread
from toolkit.result.units import Member


def shares_of(features: Layers, kept: Sequence[Winner], rows: Sequence[IntArray]) -> list[list[FloatArray]] | None:
    """Of each winner, what every clip weighs in each of its units, `rows` of the features; None of probes that weigh
    none. A unit's clips add up to 1."""
    if (weights_of := PROBES[kept[0].probe].weights) is None:
        return None
    found = []
    for winner, wanted in zip(kept, rows, strict=True):
        layers = [rows_of(features.layer(name), wanted) for name in winner.layers if len(wanted)]
        with one_thread():
            found.append(weights_of(layers, winner.model, winner.setting, winner.targets) if layers else [])
    return found


def weighed(store: UnitStore, folds: Folds, kept: Sequence[Winner]) -> list[Member]:
    """Every clip of a run's units, by unit; without a weight where the probe has none, or no round tested the unit."""
    row_of = {unit: row for row, unit in enumerate(store.ids)}
    tested = [[unit for unit, fold in zip(folds.ids, folds.fold) if fold == winner.fold] for winner in kept]
    rows = [np.array([row_of[unit] for unit in units], dtype=np.int64) for units in tested]
    weights: dict[str, tuple[int, FloatArray]] = {}
    for winner, units, found in zip(kept, tested, shares_of(store, kept, rows) or [], strict=False):
        weights |= {unit: (winner.fold, one) for unit, one in zip(units, found, strict=True)}
    members = []
    for unit in folds.ids:
        fold, shares = weights.get(unit, (None, None))
        for number, clip in enumerate(store.members[unit]):
            members.append(Member(clip, unit, fold, None if shares is None else float(shares[number])))
    return members
