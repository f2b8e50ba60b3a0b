"""What a probe run found, put together: each round's layer, the winners, the Run that every figure is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from toolkit.core.i18n import Note
from toolkit.probe.data import Data
from toolkit.probe.fused_rows import row_of
from toolkit.probe.registry import PROBES
from toolkit.probe.round import LayerResult
from toolkit.probe.targets import FloatArray, targets_of
from toolkit.probe.winners import Winner
from toolkit.result.kinds import decide, headline
from toolkit.result.predictions import Predictions
from toolkit.result.run import Choice, Run


def chosen_layers(tested: Mapping[str, Sequence[LayerResult]]) -> list[str]:
    """The layer of each round, by its loss there; of equals the first."""

    def loss(layer: str, number: int) -> float:
        return tested[layer][number].loss

    rounds = len(next(iter(tested.values())))
    return [min(tested, key=partial(loss, number=number)) for number in range(rounds)]


def winner_of(data: Data, probe: str, layer: str, layers: Sequence[str], tested: LayerResult) -> Winner:
    targets = targets_of(data.task, data.truth[tested.applied.part.train])
    return Winner(
        probe=probe,
        task=data.task,
        fold=tested.round.fold,
        layers=tested.layers or (tuple(layers) if PROBES[probe].all_layers else (layer,)),
        setting=tested.setting,
        softmax=targets.softmax,
        fitted=targets.fitted,
        prevalence=targets.prevalence,
        bars=tested.bars,
        scale=tested.applied.scale,
        model=tested.applied.model,
    )


def run_of(
    data: Data,
    probe: str,
    tested: Mapping[str, Sequence[LayerResult]],
    chosen: Sequence[str],
    applied: Sequence[FloatArray],
    kept: Sequence[Winner],
    group: str,
    backbone: str,
    notes: Sequence[Note],
    provenance: Mapping[str, Any],
) -> Run:
    winners = [tested[layer][number] for number, layer in enumerate(chosen)]
    final = [
        replace(one, applied=replace(one.applied, probability=new), prediction=decide(data.task, new, one.bars))
        for one, new in zip(winners, applied, strict=True)
    ]
    return Run(
        title=f"{data.task.name} from {backbone}" if backbone else data.task.name,
        backbone=backbone,
        probe=probe,
        task=data.task,
        metric=headline(data.task),
        folds=data.folds,
        predictions=_predictions(data, group, final),
        layers={layer: _predictions(data, group, tests) for layer, tests in tested.items()},
        development={layer: tuple(one.development for one in tests) for layer, tests in tested.items()},
        choices=tuple(
            Choice(one.round.fold, layer, dict(one.setting), one.development, one.loss)
            for layer, one in zip(chosen, winners, strict=True)
        ),
        left_out=data.left_out,
        notes=tuple(notes),
        provenance=provenance,
        weights=_weights(kept),
        losses={layer: tuple(one.loss for one in tests) for layer, tests in tested.items()},
    )


def _weights(kept: Sequence[Winner]) -> dict[str, tuple[float, ...]]:
    """By layer, its share in each round's model; nothing for a probe that has none."""
    shares_of = row_of(kept[0].probe).shares
    if shares_of is None:
        return {}
    shares = np.stack([shares_of(winner.model) for winner in kept])
    return {layer: tuple(column.tolist()) for layer, column in zip(kept[0].layers, shares.T, strict=True)}


def _predictions(data: Data, group: str, rounds: Sequence[LayerResult]) -> Predictions:
    """The tested clips of all rounds, in the order of the folds."""
    clips = np.concatenate([one.round.test for one in rounds])
    order = np.argsort(clips)
    given = np.concatenate([one.applied.probability for one in rounds])[order]
    score = None
    if data.task.regression:  # the numbers are the predictions
        given = np.full_like(given, np.nan)
    else:
        score = np.concatenate([one.applied.scale.scores(one.applied.probability) for one in rounds])[order]
    return Predictions(
        data.task,
        tuple(data.folds.ids[clip] for clip in clips[order]),
        tuple(data.groups[clip] for clip in clips[order]),
        np.concatenate([np.full(len(one.round.test), one.round.fold) for one in rounds])[order],
        data.truth[clips[order]],
        np.concatenate([one.prediction for one in rounds])[order],
        given,
        group,
        score,
    )
