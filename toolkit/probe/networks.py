"""The mlp and mix probes: stacked networks over both statistics of one layer, or of all."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from toolkit import seeds
from toolkit.features.layout import LayerFeatures
from toolkit.labels import IntArray, Task
from toolkit.probe.fitting import Fit, Model
from toolkit.probe.search import MLP_WIDTHS, Setting
from toolkit.probe.stack import Parameters, Part, Stack, Trained, train
from toolkit.probe.targets import Targets, scaler_of, targets_of

HIDDEN = max(MLP_WIDTHS)


class NetworkFitter:
    """Networks on one layer (mlp) or on a softmax weighting of all layers (mix).

    The input always holds mean and std; a network on one of them has no weights for the other.
    """

    def __init__(
        self, layers: Sequence[LayerFeatures], task: Task, truth: IntArray, seed: int, mix: bool, device: str = "cpu"
    ) -> None:
        self._layers, self._task, self._truth, self._seed = layers, task, truth, seed
        self._mix, self._device = mix, device

    def search(self, train: IntArray, development: IntArray, settings: Sequence[Setting], name: str) -> list[Fit]:
        """All settings in one stack, each stopped early on the development clips."""
        targets = targets_of(self._task, self._truth[train])
        fits, _ = self._fit(targets, train, development, settings, name, None)
        return [Fit(targets.probability(fit.probability, self._task), fit.epochs) for fit in fits]

    def refit(self, train: IntArray, test: IntArray, setting: Setting, steps: int, name: str) -> Fit:
        """As many epochs as the search found; the model holds scaler and parameters."""
        targets = targets_of(self._task, self._truth[train])
        (fit,), scaling = self._fit(targets, train, test, [setting], name, steps)
        model = {**scaling, **{key: value.cpu().numpy() for key, value in fit.parameters.items()}}
        return Fit(targets.probability(fit.probability, self._task), fit.epochs, model)

    def _fit(
        self,
        targets: Targets,
        clips: IntArray,
        held_out: IntArray,
        settings: Sequence[Setting],
        name: str,
        epochs: int | None,
    ) -> tuple[list[Trained], Model]:
        inputs, held_out_inputs, scaling = self._inputs(clips, held_out)
        columns = targets.columns_of(self._task, self._truth[held_out])
        part = self._part(targets, inputs, targets.columns, settings)
        other = self._part(targets, held_out_inputs, columns, settings)
        make = _mix_stack if self._mix else _mlp_stack
        generator = torch.Generator().manual_seed(seeds.integer(self._seed, name, "start"))
        stack = make(tuple(inputs.shape[1:]), targets, settings, generator, self._device)
        return train(stack, part, other, self._seed, [name], epochs), scaling

    def _inputs(self, clips: IntArray, held_out: IntArray) -> tuple[Tensor, Tensor, Model]:
        """(n, width) of one layer or (n, layers, width) of all, standardised per layer by the training clips."""
        parts: list[list[np.ndarray]] = [[], []]
        means, scales = [], []
        for layer in self._layers:
            train_matrix = np.concatenate([layer.mean[clips], layer.std[clips]], axis=1)
            scaler = scaler_of(train_matrix)
            parts[0].append(scaler(train_matrix))
            parts[1].append(scaler(np.concatenate([layer.mean[held_out], layer.std[held_out]], axis=1)))
            means.append(scaler.mean)
            scales.append(scaler.scale)
        both = [torch.from_numpy(np.stack(part, axis=1) if self._mix else part[0]).to(self._device) for part in parts]
        return both[0], both[1], {"mean": np.stack(means), "scale": np.stack(scales)}

    def _part(self, targets: Targets, inputs: Tensor, columns: IntArray, settings: Sequence[Setting]) -> Part:
        weights = np.stack([targets.weights(str(setting["class_weights"]), columns) for setting in settings])
        return Part(inputs, torch.from_numpy(columns).to(inputs), torch.from_numpy(weights).to(inputs))


def _statistics_mask(width: int, settings: Sequence[Setting]) -> Tensor:
    """(networks, width): 1 for the inputs that a network sees."""
    mask = torch.ones(len(settings), width)
    for row, setting in enumerate(settings):
        if setting["statistics"] == "mean":
            mask[row, width // 2 :] = 0
        elif setting["statistics"] == "std":
            mask[row, : width // 2] = 0
    return mask


def _column(settings: Sequence[Setting], name: str) -> Tensor:
    return torch.tensor([float(setting[name]) for setting in settings])


def _mlp_stack(
    shape: tuple[int, ...], targets: Targets, settings: Sequence[Setting], generator: torch.Generator, device: str
) -> Stack:
    """One or two hidden layers of up to HIDDEN rectified units (He et al., 2015, for the first values)."""
    (width,), outputs, networks = shape, len(targets.fitted), len(settings)
    sees = _statistics_mask(width, settings)
    units = (torch.arange(HIDDEN) < _column(settings, "width")[:, None]).float()
    deep = (_column(settings, "depth") == 2).float()

    def draw(rows: int, columns: int, fan_in: Tensor) -> Tensor:
        uniform = torch.rand(rows, columns, generator=generator) * 2 - 1
        return uniform * (6 / fan_in)[:, None, None].sqrt()

    masks = {
        "first": sees[:, :, None] * units[:, None, :],
        "second": units[:, :, None] * units[:, None, :] * deep[:, None, None],
        "last": units[:, :, None].expand(-1, -1, outputs).clone(),
    }
    fan_ins = {"first": sees.sum(dim=1), "second": units.sum(dim=1), "last": units.sum(dim=1) * 6}
    sizes = {"first": (width, HIDDEN), "second": (HIDDEN, HIDDEN), "last": (HIDDEN, outputs)}
    parameters = {name: draw(*sizes[name], fan_ins[name]) * masks[name] for name in sizes}
    parameters |= {f"{name}_bias": torch.zeros(networks, 1, sizes[name][1]) for name in sizes}
    masks |= {"first_bias": units[:, None, :], "second_bias": units[:, None, :] * deep[:, None, None]}
    constants = {"deep": deep[:, None, None], "dropout": _column(settings, "dropout")[:, None, None]}
    return Stack(
        _to(parameters, device), frozenset(sizes), _to(masks, device), _to(constants, device), _mlp_logits, 2 * HIDDEN,
        _column(settings, "learning_rate").to(device), _column(settings, "weight_decay").to(device), targets.softmax,
    )  # fmt: skip


def _mlp_logits(parameters: Parameters, inputs: Tensor, draws: Tensor | None) -> Tensor:
    dropout, deep = parameters["dropout"], parameters["deep"]

    def dropped(hidden: Tensor, part: int) -> Tensor:
        if draws is None:
            return hidden
        kept = draws[:, part * HIDDEN : (part + 1) * HIDDEN] >= dropout
        return hidden * kept / (1 - dropout)

    hidden = dropped((inputs @ parameters["first"] + parameters["first_bias"]).relu(), 0)
    second = dropped((hidden @ parameters["second"] + parameters["second_bias"]).relu(), 1)
    hidden = deep * second + (1 - deep) * hidden
    return hidden @ parameters["last"] + parameters["last_bias"]


def _mix_stack(
    shape: tuple[int, ...], targets: Targets, settings: Sequence[Setting], generator: torch.Generator, device: str
) -> Stack:
    """A linear head on a softmax-weighted sum of the layers, as in SUPERB (Yang et al., 2021); equal weights at first."""
    (layers, width), outputs, networks = shape, len(targets.fitted), len(settings)
    sees = _statistics_mask(width, settings)
    parameters = {
        "layers": torch.zeros(networks, layers),
        "head": torch.zeros(networks, width, outputs),
        "bias": torch.zeros(networks, 1, outputs),
    }
    masks = {"head": sees[:, :, None].expand(-1, -1, outputs).clone()}
    return Stack(
        _to(parameters, device), frozenset({"head"}), _to(masks, device), {}, _mix_logits, 0,
        _column(settings, "learning_rate").to(device), _column(settings, "weight_decay").to(device), targets.softmax,
    )  # fmt: skip


def _mix_logits(parameters: Parameters, inputs: Tensor, draws: Tensor | None) -> Tensor:
    share = parameters["layers"].softmax(dim=1)
    mixed = torch.einsum("tl,nlw->tnw", share, inputs)
    return mixed @ parameters["head"] + parameters["bias"]


def _to(parameters: Parameters, device: str) -> Parameters:
    return {name: value.to(device) for name, value in parameters.items()}
