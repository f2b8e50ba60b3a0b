"""The mlp and mix probes: stacked networks on one layer, or on a weighting of all."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from toolkit import seeds
from toolkit.features.layout import LayerFeatures
from toolkit.labels import IntArray, Task
from toolkit.probe.fitting import Fit, Model, by_statistics
from toolkit.probe.search import MLP_WIDTHS, Setting
from toolkit.probe.stack import Logits, Parameters, Part, Stack, Trained, probability_of, train
from toolkit.probe.targets import FloatArray, Scaler, Targets, scaler_of, targets_of

HIDDEN = max(MLP_WIDTHS)


class NetworkFitter:
    """Networks on one layer (mlp) or on a softmax weighting of all layers (mix)."""

    def __init__(
        self, layers: Sequence[LayerFeatures], task: Task, truth: IntArray, seed: int, mix: bool, device: str = "cpu"
    ) -> None:
        self._layers, self._task, self._truth, self._seed = layers, task, truth, seed
        self._mix, self._device = mix, device

    def search(self, train: IntArray, development: IntArray, settings: Sequence[Setting], name: str) -> list[Fit]:
        """Settings on the same statistics in one stack, each stopped early on the development clips."""
        targets = targets_of(self._task, self._truth[train])
        fits: dict[int, Fit] = {}
        for statistics, members in by_statistics(settings):
            mine = [settings[number] for number in members]
            trained, _ = self._fit(targets, train, development, statistics, mine, name)
            for number, one in zip(members, trained, strict=True):
                fits[number] = Fit(targets.probability(one.probability, self._task), (one.epochs,))
        return [fits[number] for number in range(len(settings))]

    def refit(self, train: IntArray, test: IntArray, setting: Setting, found: Sequence[int], name: str) -> Fit:
        """As many epochs as the search found; the model holds scaler and parameters."""
        targets = targets_of(self._task, self._truth[train])
        (one,), scaling = self._fit(targets, train, test, str(setting["statistics"]), [setting], name, *found)
        parameters = {f"parameter.{key}": value.cpu().numpy() for key, value in one.parameters.items()}
        model = {**scaling, **parameters}
        return Fit(targets.probability(one.probability, self._task), (one.epochs,), model)

    def _fit(
        self,
        targets: Targets,
        clips: IntArray,
        held_out: IntArray,
        statistics: str,
        settings: Sequence[Setting],
        name: str,
        epochs: int | None = None,
    ) -> tuple[list[Trained], Model]:
        inputs, held_out_inputs, scaling = self._inputs(clips, held_out, statistics)
        columns = targets.columns_of(self._task, self._truth[held_out])
        part = self._part(targets, inputs, targets.columns, settings)
        other = self._part(targets, held_out_inputs, columns, settings)
        make = _mix_stack if self._mix else _mlp_stack
        generator = torch.Generator().manual_seed(seeds.integer(self._seed, name, "start"))
        stack = make(tuple(inputs.shape[1:]), targets, settings, generator, self._device)
        return train(stack, part, other, self._seed, name, epochs), scaling

    def _inputs(self, clips: IntArray, held_out: IntArray, statistics: str) -> tuple[Tensor, Tensor, Model]:
        """(n, width) of one layer or (n, layers, width) of all, standardised per layer by the training clips."""
        fitted, applied, scalers = [], [], []
        for layer in self._layers:
            matrix = layer.matrix(statistics)
            scaler = scaler_of(matrix[clips])
            scalers.append(scaler)
            fitted.append(scaler(matrix[clips]))
            applied.append(scaler(matrix[held_out]))
        scaling = {
            "mean": np.stack([scaler.mean for scaler in scalers]),
            "scale": np.stack([scaler.scale for scaler in scalers]),
        }
        inputs, others = (
            torch.from_numpy(np.stack(part, axis=1) if self._mix else part[0]).to(self._device)
            for part in (fitted, applied)
        )
        return inputs, others, scaling

    def _part(self, targets: Targets, inputs: Tensor, columns: IntArray, settings: Sequence[Setting]) -> Part:
        weights = np.stack([targets.weights(str(setting["class_weights"]), columns) for setting in settings])
        return Part(inputs, torch.from_numpy(columns).to(inputs), torch.from_numpy(weights).to(inputs))


def _column(settings: Sequence[Setting], name: str) -> Tensor:
    return torch.tensor([float(setting[name]) for setting in settings])


def _mlp_stack(
    shape: tuple[int, ...], targets: Targets, settings: Sequence[Setting], generator: torch.Generator, device: str
) -> Stack:
    """One or two hidden layers of rectified units; first values after He et al. (2015), the output's a sixth of it.

    All are as wide as the widest: units beyond a network's width have no weights, and so never get a gradient.
    """
    (inputs,), outputs = shape, len(targets.fitted)
    width = _column(settings, "width")
    hidden = int(width.max())
    units = (torch.arange(hidden) < width[:, None]).float()
    deep = (_column(settings, "depth") == 2).float()[:, None, None]

    def draw(rows: int, columns: int, fan_in: Tensor) -> Tensor:
        uniform = torch.rand(rows, columns, generator=generator) * 2 - 1
        return uniform * (6 / fan_in)[:, None, None].sqrt()

    draws = {  # as wide as any network could be, so that they do not depend on the company
        "first": draw(inputs, HIDDEN, torch.full_like(width, inputs))[:, :, :hidden],
        "second": draw(HIDDEN, HIDDEN, width)[:, :hidden, :hidden] * deep,
        "last": draw(HIDDEN, outputs, 36 * width)[:, :hidden],
    }
    parameters = {
        "first": draws["first"] * units[:, None, :],
        "second": draws["second"] * units[:, :, None] * units[:, None, :],
        "last": draws["last"] * units[:, :, None],
    }
    biases = {f"{name}_bias": torch.zeros(len(settings), 1, value.shape[2]) for name, value in parameters.items()}
    constants = {"deep": deep, "dropout": _column(settings, "dropout")[:, None, None]}
    return _stack(
        parameters | biases, frozenset(parameters), constants, _mlp_logits, 2 * HIDDEN, settings, targets, device
    )


def _mlp_logits(parameters: Parameters, inputs: Tensor, draws: Tensor | None) -> Tensor:
    dropout, deep = parameters["dropout"], parameters["deep"]

    def dropped(hidden: Tensor, part: int) -> Tensor:
        if draws is None:
            return hidden
        kept = draws[:, part * HIDDEN : part * HIDDEN + hidden.shape[2]] >= dropout
        return hidden * kept / (1 - dropout)

    hidden = dropped((inputs @ parameters["first"] + parameters["first_bias"]).relu(), 0)
    second = dropped((hidden @ parameters["second"] + parameters["second_bias"]).relu(), 1)
    hidden = deep * second + (1 - deep) * hidden
    return hidden @ parameters["last"] + parameters["last_bias"]


def _mix_stack(
    shape: tuple[int, ...], targets: Targets, settings: Sequence[Setting], _: torch.Generator, device: str
) -> Stack:
    """A linear head on a softmax-weighted sum of the layers, from equal weights, as in SUPERB (Yang et al., 2021)."""
    (layers, width), outputs, networks = shape, len(targets.fitted), len(settings)
    parameters = {
        "layers": torch.zeros(networks, layers),
        "head": torch.zeros(networks, width, outputs),
        "bias": torch.zeros(networks, 1, outputs),
    }
    return _stack(parameters, frozenset({"head"}), {}, _mix_logits, 0, settings, targets, device)


def _mix_logits(parameters: Parameters, inputs: Tensor, draws: Tensor | None) -> Tensor:
    share = parameters["layers"].softmax(dim=1)
    mixed = torch.einsum("tl,nlw->tnw", share, inputs)
    return mixed @ parameters["head"] + parameters["bias"]


def _stack(
    parameters: Parameters,
    decayed: frozenset[str],
    constants: Parameters,
    logits: Logits,
    draws: int,
    settings: Sequence[Setting],
    targets: Targets,
    device: str,
) -> Stack:
    def there(tensors: Parameters) -> Parameters:
        return {name: value.to(device) for name, value in tensors.items()}

    rates = {name: _column(settings, name).to(device) for name in ("learning_rate", "weight_decay")}
    return Stack(there(parameters), decayed, there(constants), logits, draws, **rates, softmax=targets.softmax)


def apply_mlp(layers: Sequence[LayerFeatures], model: Model, setting: Setting, softmax: bool) -> FloatArray:
    """A kept mlp to one layer's clips: (n, n_fitted) probabilities."""
    deep = torch.full((1, 1, 1), float(setting["depth"] == 2))
    return _apply(layers, model, setting, softmax, _mlp_logits, {"deep": deep, "dropout": torch.zeros(1, 1, 1)})


def apply_mix(layers: Sequence[LayerFeatures], model: Model, setting: Setting, softmax: bool) -> FloatArray:
    """A kept mix to all layers' clips: (n, n_fitted) probabilities."""
    return _apply(layers, model, setting, softmax, _mix_logits, {})


def _apply(
    layers: Sequence[LayerFeatures],
    model: Model,
    setting: Setting,
    softmax: bool,
    logits: Logits,
    constants: Parameters,
) -> FloatArray:
    scaled = [
        Scaler(mean, scale)(layer.matrix(str(setting["statistics"])))
        for layer, mean, scale in zip(layers, np.asarray(model["mean"]), np.asarray(model["scale"]), strict=True)
    ]
    inputs = torch.from_numpy(scaled[0] if logits is _mlp_logits else np.stack(scaled, axis=1))
    parameters = {
        name.removeprefix("parameter."): torch.from_numpy(np.asarray(value))[None]
        for name, value in model.items()
        if name.startswith("parameter.")
    }
    probability: FloatArray = probability_of(logits(parameters | constants, inputs, None)[0], softmax).numpy()
    return probability
