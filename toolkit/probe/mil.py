"""The mil and mil-gru probes: multiple-instance learning, networks that read the clips of a unit one by one."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from toolkit.corpus.labels import IntArray, Task, Truth
from toolkit.features.layout import LayerFeatures
from toolkit.features.units import unit_layer
from toolkit.probe.bags import Bags, Reader, bag_stack, logits
from toolkit.probe.batched_training import Batch, Batches, Stack, probability_of
from toolkit.probe.networks import NetworkFitter, kept_parameters
from toolkit.probe.protocol import Model, Setting
from toolkit.probe.targets import FloatArray, Scaler, Targets, scaler_of


class BagFitter(NetworkFitter):
    """Networks on the clips of one layer's units."""

    def __init__(
        self, reader: Reader, layers: Sequence[LayerFeatures], task: Task, truth: Truth, seed: int, device: str = "cpu"
    ) -> None:
        super().__init__(layers, task, truth, seed, mix=False, device=device)
        features = unit_layer(layers)
        self._reader, self._clips = reader, torch.from_numpy(features.clips()).to(device)
        self._members = [torch.from_numpy(rows).to(device) for rows in features.members]

    def _stack(self, targets: Targets, settings: Sequence[Setting], seed: int) -> Stack:
        return bag_stack(self._reader, self._clips.shape[1], targets, settings, seed)

    def _place(self, setting: Setting) -> tuple[int, int, int]:
        return 0, 0, 0

    def _scaling(self, clips: IntArray, settings: Sequence[Setting]) -> dict[str, list[Scaler]]:
        """By all clips of the training units."""
        rows = torch.cat([self._members[unit] for unit in clips.tolist()])
        return {"mean": [scaler_of(self._clips[rows].cpu().numpy())]}

    def _inputs(self, clips: IntArray, scaling: dict[str, list[Scaler]]) -> Batches:
        (scaler,) = scaling["mean"]
        mean, scale = (self._there([one])[0] for one in (scaler.mean, scaler.scale))
        return Bags(torch.from_numpy(clips).to(self._device), self._clips, self._members, mean, scale)


def _alone(layers: Sequence[LayerFeatures], model: Model) -> Iterator[Batch]:
    """Unit by unit, so that a unit's bits do not depend on the batch."""
    features = unit_layer(layers)
    scaler = Scaler(*(np.asarray(model[name])[0] for name in ("mean", "scale")))
    clips = features.clips()
    first = torch.zeros(1, dtype=torch.long)
    for members in features.members:
        every = [torch.arange(len(members))]
        yield Bags(first, torch.from_numpy(scaler(clips[members])), every, None, None).batch(first)


def apply(
    reader: Reader, layers: Sequence[LayerFeatures], model: Model, setting: Setting, targets: Targets
) -> FloatArray:
    """A kept network to units: (n, n_fitted) probabilities."""
    parameters = kept_parameters(model)
    outputs = (logits(reader, parameters, batch) for batch in _alone(layers, model))
    return np.concatenate([probability_of(each, targets.link)[0].numpy() for each in outputs])


def weights(
    reader: Reader, layers: Sequence[LayerFeatures], model: Model, setting: Setting, targets: Targets
) -> list[FloatArray]:
    """Of each unit the attention that each of its clips gets, adding up to 1."""
    parameters = kept_parameters(model)
    return [reader(parameters, batch)[1][0, 0].double().numpy() for batch in _alone(layers, model)]
