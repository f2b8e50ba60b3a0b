"""How much each named column counts in the models that a run keeps, linear or LightGBM's."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.features.fused import Fused, split
from toolkit.features.store import Store
from toolkit.probe.fused_rows import EARLY, LATE, own_setting, parsed, unpacked
from toolkit.probe.protocol import Model
from toolkit.probe.targets import FloatArray
from toolkit.probe.winners import Winner
from toolkit.result.columns import Column, Columns

Shares = tuple[FloatArray, FloatArray]  # (width,) adding up to 1; (width, n_labels) signed, 0 where it has no direction


def columns_of(store: Store | Fused, kept: Sequence[Winner]) -> Columns | None:
    """The columns of a run's winners, by name; None where the store has no names, or the probe no shares.

    Of an early fusion a store without names has one row for all of its columns; of a late one each store's columns
    share out its own probe, and those without names are left out.
    """
    fusion, base = parsed(kept[0].probe)
    named = _names(store)
    if base not in ("linear", "lightgbm") or not any(named.values()):
        return None
    rounds: list[dict[str, tuple[float, FloatArray]]] = []
    for winner in kept:
        found: dict[str, tuple[float, FloatArray]] = {}
        if fusion == LATE:
            for number, layer in enumerate(winner.layers):
                block, _ = split(layer)
                if names := named[block]:
                    found |= _by_name(_shares(base, unpacked(winner.model, number), winner), _prefixed(block, names))
        else:
            found = _by_name(_shares(base, winner.model, winner), _all_names(winner, named, fusion, store))
        rounds.append(found)
    labels = kept[0].task.labels
    columns = [_column(name, [each[name] for each in rounds if name in each], labels) for name in rounds[0]]
    return Columns(base, tuple(sorted(columns, key=lambda column: -column.share)))


def _names(store: Store | Fused) -> dict[str, tuple[str, ...]]:
    """By store; of one store alone, under ""."""
    settings: dict[str, Any] = store.settings["fused"] if isinstance(store, Fused) else {"": store.settings}
    return {name: tuple(setting.get("columns", ())) for name, setting in settings.items()}


def _prefixed(block: str, names: Sequence[str]) -> list[str]:
    return [f"{block}:{name}" for name in names]


def _all_names(winner: Winner, named: dict[str, tuple[str, ...]], fusion: str, store: Store | Fused) -> list[str]:
    """Of every column that the winner's one model reads, in order; one name for all of a store without names."""
    if fusion != EARLY or not isinstance(store, Fused):
        return list(named[""])
    names: list[str] = []
    for layer in winner.layers:
        block, name = split(layer)
        both = own_setting(winner.setting, block)["statistics"] == "both"
        width = store.parts[block].widths[name] * (2 if both else 1)
        names += _prefixed(block, named[block]) if named[block] else [block] * width
    return names


def _by_name(shares: Shares, names: Sequence[str]) -> dict[str, tuple[float, FloatArray]]:
    """Columns of one name together, which then have no direction."""
    found: dict[str, tuple[float, FloatArray]] = {}
    for name, share, signed in zip(names, *shares, strict=True):
        if name in found:
            found[name] = (found[name][0] + float(share), np.zeros_like(signed))
        else:
            found[name] = (float(share), signed)
    return found


def _shares(probe: str, model: Model, winner: Winner) -> Shares:
    if probe == "linear":
        coefficients = np.asarray(model["coefficients"], dtype=np.float64)
        signed = np.zeros((len(coefficients), len(winner.task.labels)))
        # of levels one slope, for the highest
        signed[:, winner.fitted[-1:] if winner.task.ordinal else winner.fitted] = coefficients
        return _parts(np.abs(coefficients).mean(axis=1)), signed
    import lightgbm

    texts = [text for text in model.values() if isinstance(text, str)]
    gains = [lightgbm.Booster(model_str=text).feature_importance("gain") for text in texts]
    return _parts(np.sum(gains, axis=0)), np.zeros((len(gains[0]), len(winner.task.labels)))


def _parts(sizes: FloatArray) -> FloatArray:
    total = sizes.sum()
    return np.asarray(sizes / total if total > 0 else sizes)


def _column(name: str, rounds: Sequence[tuple[float, FloatArray]], labels: Sequence[str]) -> Column:
    shares = [share for share, _ in rounds]
    signed = np.mean([each for _, each in rounds], axis=0)
    strongest = int(np.abs(signed).argmax())
    label = labels[strongest] if signed[strongest] else ""
    return Column(name, float(np.mean(shares)), min(shares), max(shares), label, bool(signed[strongest] < 0))
