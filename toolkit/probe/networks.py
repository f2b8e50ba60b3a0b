"""The mlp and mix probes: their networks searched, refitted and applied."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from toolkit.core import seeds
from toolkit.corpus.labels import IntArray, Task, Truth
from toolkit.features.layout import LayerFeatures
from toolkit.probe.batched_layers import training_dtype
from toolkit.probe.batched_training import (
    Batches,
    Inputs,
    Logits,
    Parameters,
    Part,
    Stack,
    Trained,
    probability_of,
    train,
)
from toolkit.probe.mix import Mix, mix_stack
from toolkit.probe.mlp import Mlp, mlp_stack
from toolkit.probe.protocol import (
    Fit,
    Found,
    GiveUp,
    Model,
    Relabelled,
    Setting,
    never,
)
from toolkit.probe.search import halves, readers
from toolkit.probe.targets import ALL, FloatArray, Scaler, Targets, scaler_of, targets_of


class NetworkFitter(Relabelled):
    """Networks on one layer (mlp) or on a softmax weighting of all layers (mix)."""

    def __init__(
        self, layers: Sequence[LayerFeatures], task: Task, truth: Truth, seed: int, mix: bool, device: str = "cpu"
    ) -> None:
        self._layers = {
            name: [torch.from_numpy(layer.matrix(name)).to(device) for layer in layers]
            for name in ("mean", "std", *layers[0].more)
        }
        self._task, self._truth, self._seed, self._mix, self._device = task, truth, seed, mix, device

    def search(
        self, train: IntArray, development: IntArray, settings: Sequence[Setting], name: str, give_up: GiveUp = never
    ) -> list[Fit]:
        """All settings in one stack, each stopped early on the development clips."""
        targets = targets_of(self._task, self._truth[train])
        trained, _ = self._fit(targets, train, development, settings, name)
        return [
            Fit(self._probability(targets, one, setting), {ALL: one.epochs})
            for one, setting in zip(trained, settings, strict=True)
        ]

    def refit(self, train: IntArray, test: IntArray, setting: Setting, found: Found, name: str) -> Fit:
        """As many epochs as the search found; the model holds scaler and parameters."""
        targets = targets_of(self._task, self._truth[train])
        (one,), scaling = self._fit(targets, train, test, [setting], name, found[ALL])
        parameters = {f"parameter.{key}": value.cpu().numpy() for key, value in one.parameters.items()}
        model = {**scaling, **parameters}
        return Fit(self._probability(targets, one, setting), model=model)

    def _probability(self, targets: Targets, one: Trained, setting: Setting) -> FloatArray:
        return targets.probability(one.probability, self._task, str(setting["class_weights"]))

    def _fit(
        self,
        targets: Targets,
        clips: IntArray,
        held_out: IntArray,
        settings: Sequence[Setting],
        name: str,
        epochs: int | None = None,
    ) -> tuple[list[Trained], Model]:
        order = sorted(range(len(settings)), key=lambda number: self._place(settings[number]))
        ordered = [settings[number] for number in order]
        scaling = self._scaling(clips, ordered)
        seed = seeds.integer(self._seed, name, "start")
        stack = self._stack(targets, ordered, seed)
        part = self._part(targets, clips, targets.columns, ordered, scaling)
        if not self._mix:  # one layer may be copied, all of them would not fit
            part = replace(part, inputs=part.inputs.prepared(training_dtype(self._device)))
        columns = targets.columns_of(self._task, self._truth[held_out])
        other = self._part(targets, held_out, columns, ordered, scaling)
        trained = train(stack, part, other, self._seed, name, epochs)
        model = _joined(scaling, str(ordered[0]["statistics"])) if len(ordered) == 1 else {}
        return [trained[order.index(number)] for number in range(len(order))], model

    def _stack(self, targets: Targets, settings: Sequence[Setting], seed: int) -> Stack:
        layers = self._layers["mean"]
        return (mix_stack if self._mix else mlp_stack)(len(layers), layers[0].shape[1], targets, settings, seed)

    def _place(self, setting: Setting) -> tuple[int, int, int]:
        """The order of networks, so that those of one shape, or that read the same, are neighbours."""
        statistics = ["mean", "both", "std", *list(self._layers)[2:]].index(str(setting["statistics"]))
        return (0, 0, statistics) if self._mix else (int(setting["width"]), int(setting["depth"]), statistics)

    def _scaling(self, clips: IntArray, settings: Sequence[Setting]) -> dict[str, list[Scaler]]:
        """By "mean" and "std", where a setting wants it: standardisation by the training clips, per layer."""
        return {
            half: [scaler_of(layer[clips].cpu().numpy()) for layer in self._layers[half]] for half in readers(settings)
        }

    def _part(
        self,
        targets: Targets,
        clips: IntArray,
        columns: Truth,
        settings: Sequence[Setting],
        scaling: dict[str, list[Scaler]],
    ) -> Part:
        there, inputs = self._there, self._inputs(clips, scaling)
        weights = [targets.weights(str(setting["class_weights"]), columns).T for setting in settings]
        return Part(inputs, there([np.nan_to_num(columns.T)])[0], there(weights))  # a missing number has no weight

    def _inputs(self, clips: IntArray, scaling: dict[str, list[Scaler]]) -> Batches:
        return Inputs(
            {half: self._layers[half] for half in scaling},
            torch.from_numpy(clips).to(self._device),
            {half: self._there([scaler.mean for scaler in scalers])[:, None] for half, scalers in scaling.items()},
            {half: self._there([scaler.scale for scaler in scalers])[:, None] for half, scalers in scaling.items()},
        )

    def _there(self, values: Sequence[FloatArray | IntArray]) -> Tensor:
        return torch.from_numpy(np.stack(values).astype(np.float32)).to(self._device)


def _joined(scaling: dict[str, list[Scaler]], statistics: str) -> Model:
    """mean, scale: (layers, width of the statistics) float64."""
    read = halves(statistics)
    return {
        "mean": np.concatenate([np.stack([scaler.mean for scaler in scaling[half]]) for half in read], axis=1),
        "scale": np.concatenate([np.stack([scaler.scale for scaler in scaling[half]]) for half in read], axis=1),
    }


def apply_mlp(layers: Sequence[LayerFeatures], model: Model, setting: Setting, targets: Targets) -> FloatArray:
    """A kept mlp to one layer's clips: (n, n_fitted) probabilities, bit for bit the same in any batch."""
    return _apply(layers, model, setting, targets, Mlp([setting]))


def apply_mix(layers: Sequence[LayerFeatures], model: Model, setting: Setting, targets: Targets) -> FloatArray:
    """A kept mix to all layers' clips: (n, n_fitted) probabilities, bit for bit the same in any batch."""
    return _apply(layers, model, setting, targets, Mix([setting]))


def kept_parameters(model: Model) -> Parameters:
    """Of a kept model, copied: a product's last bit can depend on where its numbers are."""
    return {
        name.removeprefix("parameter."): torch.tensor(np.asarray(value))
        for name, value in model.items()
        if name.startswith("parameter.")
    }


def layer_shares(model: Model) -> FloatArray:
    """(layers,) what a kept mix makes of each layer; adds up to 1."""
    shares: FloatArray = torch.tensor(np.asarray(model["parameter.layers"])[0]).double().softmax(dim=0).numpy()
    return shares


def _apply(
    layers: Sequence[LayerFeatures], model: Model, setting: Setting, targets: Targets, logits: Logits
) -> FloatArray:
    read = halves(str(setting["statistics"]))
    centres, scales = (np.split(np.asarray(model[name]), len(read), axis=1) for name in ("mean", "scale"))
    inputs = {
        half: torch.from_numpy(np.stack([Scaler(*by)(layer.matrix(half)) for layer, *by in zip(layers, *scaling)]))
        for half, *scaling in zip(read, centres, scales)
    }
    parameters = kept_parameters(model)
    alone = (
        {half: values[:, clip : clip + 1].clone() for half, values in inputs.items()}
        for clip in range(len(layers[0].ids))
    )
    return np.concatenate([probability_of(logits(parameters, clip, None), targets.link)[0].numpy() for clip in alone])
