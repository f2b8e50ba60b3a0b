"""Rows of the probes' table for fusions: how a classifier of one store's features is one of several stores'.

early: columns side by side, each store by the layer and statistics that its own search chose in that round. late: each
store's own probe; their log-odds against the prevalence are added up, each with the weight that is best on development
(stacking, Wolpert, 1992, of a logarithmic pool).
"""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any, NoReturn

import numpy as np

from toolkit.core.errors import InputError, ToolkitError
from toolkit.corpus.labels import Task
from toolkit.features.fused import SEPARATOR, split
from toolkit.features.layout import LayerFeatures
from toolkit.probe.protocol import LogUniform, Model, OneOf, Probe, Setting, Space
from toolkit.probe.registry import PROBES
from toolkit.probe.search import narrowed, weight_of
from toolkit.probe.targets import FloatArray, Targets
from toolkit.result.run import FUSIONS

EARLY, LATE = FUSIONS
LEAST = 1e-12  # of a probability, before its logarithm

WEIGHT = LogUniform(1e-3, 1e3)  # of a block's C against the first one's


def fused_name(fusion: str, probe: str) -> str:
    """What a run says that its probe is.

    >>> fused_name("early", "linear"), parsed("early-linear"), parsed("linear")
    ('early-linear', ('early', 'linear'), ('', 'linear'))
    """
    return f"{fusion}-{probe}"


def parsed(name: str) -> tuple[str, str]:
    """How a run's probe fuses ("" for one of a single store), and the probe of each store."""
    fusion, _, base = name.partition("-")
    return (fusion, base) if fusion in FUSIONS and name not in PROBES else ("", name)


def row_of(name: str) -> Probe:
    """A probe's row, of a fusion's name too. Raises InputError for an unknown name."""
    fusion, base = parsed(name)
    return _row(fusion, base) if fusion else PROBES.find(base)


def stated(name: str) -> dict[str, dict[str, str]]:
    """`Registry.stated` of a probe, of a fusion's name too."""
    return PROBES.stated(parsed(name)[1])


def space_of(name: str, blocks: Sequence[str], task: Task, loss: str = "") -> Space:
    """What the search of a fusion is over: not the settings of each store's own probe, nor the weights of a pool."""
    fusion, base = parsed(name)
    if fusion == LATE:
        return _row(fusion, base).space
    weighed = blocks[1:] if PROBES[base].side_by_side else ()
    return {**narrowed(PROBES[base].space, ("mean",), task, loss), **{weight_of(block): WEIGHT for block in weighed}}


def check(probe: str) -> None:
    """Raises InputError for a probe that cannot be fused."""
    if PROBES.find(probe).all_layers:
        raise InputError(f"--probe {probe} sees all layers of one store at once; a fusion takes one layer of each")


@cache
def _row(fusion: str, base: str) -> Probe:
    check(base)
    row = PROBES[base]
    if fusion == EARLY:
        return Probe(
            row.title,
            row.space,
            _unbuilt,
            partial(_apply_early, row),
            devices=row.devices,
            torch=row.torch,
            forks=row.forks,
        )
    space = {"statistics": OneOf(("mean",)), "class_weights": OneOf(("none",))}
    return Probe(
        row.title, space, _unbuilt, partial(_apply_late, row), devices=row.devices, torch=row.torch, forks=row.forks
    )


def _unbuilt(*given: Any) -> NoReturn:
    raise ToolkitError("a fusion is fitted by `probe.fusion`, round by round")


def side_by_side(layers: Sequence[LayerFeatures], statistics: Sequence[str]) -> LayerFeatures:
    """The layers' columns as one vector a clip: its mean."""
    mean = np.concatenate([layer.matrix(each) for layer, each in zip(layers, statistics, strict=True)], axis=1)
    name = SEPARATOR.join(layer.layer for layer in layers)
    return LayerFeatures(name, layers[0].ids, mean, np.empty((len(mean), 0), np.float32))


def own_setting(setting: Setting, block: str) -> Setting:
    """Of a fusion's setting, that of one store's own probe, and its layer."""
    start = f"{block}:"
    return {name.removeprefix(start): value for name, value in setting.items() if name.startswith(start)}


def _apply_early(
    probe: Probe, layers: Sequence[LayerFeatures], model: Model, setting: Setting, targets: Targets
) -> FloatArray:
    statistics = [str(own_setting(setting, split(layer.layer)[0])["statistics"]) for layer in layers]
    return probe.apply([side_by_side(layers, statistics)], model, setting, targets)


def _apply_late(
    probe: Probe, layers: Sequence[LayerFeatures], model: Model, setting: Setting, targets: Targets
) -> FloatArray:
    outputs, weights = [], []
    for number, layer in enumerate(layers):
        block, _ = split(layer.layer)
        mine = own_setting(setting, block)
        fitted = probe.apply([layer], unpacked(model, number), mine, targets)
        outputs.append(targets.natural(fitted, str(mine["class_weights"])))
        weights.append(float(setting[weight_of(block)]))
    rows = [pool([one[row : row + 1] for one in outputs], weights, targets) for row in range(len(outputs[0]))]
    return np.concatenate(rows) if rows else outputs[0]


def pool(outputs: Sequence[FloatArray], weights: Sequence[float], targets: Targets) -> FloatArray:
    """(n, n_fitted) probabilities of a logarithmic pool of several, each (n, n_fitted).

    Each adds its log-odds against the prevalence in training, times its weight: one of weight 1 and others of 0 is
    itself, and independent evidence of weight 1 adds up as Bayes' rule has it (Genest and Zidek, 1986).
    """
    prior = targets.prevalence[targets.fitted]

    def odds(share: FloatArray) -> FloatArray:
        clipped = np.clip(share, LEAST, 1 - LEAST)
        return np.log(clipped) if targets.softmax else np.log(clipped) - np.log1p(-clipped)

    total = odds(prior) + sum(weight * (odds(one) - odds(prior)) for weight, one in zip(weights, outputs, strict=True))
    if not targets.softmax:
        return np.asarray(1 / (1 + np.exp(-total)))
    above = np.exp(total - total.max(axis=1, keepdims=True))
    return np.asarray(above / above.sum(axis=1, keepdims=True))


def packed(models: Sequence[Model]) -> Model:
    """Several stores' models as one, which is kept with its run."""
    return {f"{number}.{name}": value for number, model in enumerate(models) for name, value in model.items()}


def unpacked(model: Model, number: int) -> Model:
    """One store's of `packed`."""
    start = f"{number}."
    return {name.removeprefix(start): value for name, value in model.items() if name.startswith(start)}
