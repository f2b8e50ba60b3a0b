"""The mlp and mix probes: stacked networks on one layer, or on a weighting of all."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from toolkit import seeds
from toolkit.features.layout import LayerFeatures
from toolkit.labels import IntArray, Task
from toolkit.probe.fitting import Fit, GiveUp, Model, never
from toolkit.probe.search import MLP_WIDTHS, Setting, Value
from toolkit.probe.stack import Batch, Inputs, Logits, Parameters, Part, Stack, Trained, probability_of, train
from toolkit.probe.targets import FloatArray, Scaler, Targets, scaler_of, targets_of
from toolkit.probe.units import product, rectified, training_dtype

HIDDEN = max(MLP_WIDTHS)
BYTE = 256  # values that a draw for dropout has
HALVES = {"mean": ("mean",), "both": ("mean", "std"), "std": ("std",)}  # what a network reads; in this order they stand


class NetworkFitter:
    """Networks on one layer (mlp) or on a softmax weighting of all layers (mix)."""

    def __init__(
        self, layers: Sequence[LayerFeatures], task: Task, truth: IntArray, seed: int, mix: bool, device: str = "cpu"
    ) -> None:
        self._layers = {
            name: [torch.from_numpy(getattr(layer, name)).to(device) for layer in layers] for name in ("mean", "std")
        }
        self._task, self._truth, self._seed, self._mix, self._device = task, truth, seed, mix, device

    def search(
        self, train: IntArray, development: IntArray, settings: Sequence[Setting], name: str, give_up: GiveUp = never
    ) -> list[Fit]:
        """All settings in one stack, each stopped early on the development clips."""
        targets = targets_of(self._task, self._truth[train])
        trained, _ = self._fit(targets, train, development, settings, name)
        return [Fit(targets.probability(one.probability, self._task), (one.epochs,)) for one in trained]

    def refit(self, train: IntArray, test: IntArray, setting: Setting, found: Sequence[int], name: str) -> Fit:
        """As many epochs as the search found; the model holds scaler and parameters."""
        targets = targets_of(self._task, self._truth[train])
        (one,), scaling = self._fit(targets, train, test, [setting], name, *found)
        parameters = {f"parameter.{key}": value.cpu().numpy() for key, value in one.parameters.items()}
        model = {**scaling, **parameters}
        return Fit(targets.probability(one.probability, self._task), (one.epochs,), model)

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
        layers = self._layers["mean"]
        stack = (_mix_stack if self._mix else _mlp_stack)(len(layers), layers[0].shape[1], targets, ordered, seed)
        part = self._part(targets, clips, targets.columns, ordered, scaling)
        if not self._mix:  # one layer may be copied, all of them would not fit
            part = replace(part, inputs=part.inputs.prepared(training_dtype(self._device)))
        columns = targets.columns_of(self._task, self._truth[held_out])
        other = self._part(targets, held_out, columns, ordered, scaling)
        trained = train(stack, part, other, self._seed, name, epochs)
        model = _joined(scaling, str(ordered[0]["statistics"])) if len(ordered) == 1 else {}
        return [trained[order.index(number)] for number in range(len(order))], model

    def _place(self, setting: Setting) -> tuple[int, int, int]:
        """Networks stand in this order, so that those of one shape, or that read the same, are neighbours."""
        statistics = list(HALVES).index(str(setting["statistics"]))
        return (0, 0, statistics) if self._mix else (int(setting["width"]), int(setting["depth"]), statistics)

    def _scaling(self, clips: IntArray, settings: Sequence[Setting]) -> dict[str, list[Scaler]]:
        """By "mean" and "std", where a setting wants it: standardisation by the training clips, per layer."""
        return {
            half: [scaler_of(layer[clips].cpu().numpy()) for layer in self._layers[half]] for half in _readers(settings)
        }

    def _part(
        self,
        targets: Targets,
        clips: IntArray,
        columns: IntArray,
        settings: Sequence[Setting],
        scaling: dict[str, list[Scaler]],
    ) -> Part:
        def there(values: Sequence[FloatArray | IntArray]) -> Tensor:
            return torch.from_numpy(np.stack(values).astype(np.float32)).to(self._device)

        inputs = Inputs(
            {half: self._layers[half] for half in scaling},
            torch.from_numpy(clips).to(self._device),
            {half: there([scaler.mean for scaler in scalers])[:, None] for half, scalers in scaling.items()},
            {half: there([scaler.scale for scaler in scalers])[:, None] for half, scalers in scaling.items()},
        )
        weights = [targets.weights(str(setting["class_weights"]), columns).T for setting in settings]
        return Part(inputs, there([columns.T])[0], there(weights))


def _joined(scaling: dict[str, list[Scaler]], statistics: str) -> Model:
    """mean, scale: (layers, width of the statistics) float64."""
    halves = HALVES[statistics]
    return {
        "mean": np.concatenate([np.stack([scaler.mean for scaler in scaling[half]]) for half in halves], axis=1),
        "scale": np.concatenate([np.stack([scaler.scale for scaler in scaling[half]]) for half in halves], axis=1),
    }


def _rows(settings: Sequence[Setting], **values: Value) -> list[int]:
    return [
        row for row, setting in enumerate(settings) if all(setting[name] == value for name, value in values.items())
    ]


def _numbers(settings: Sequence[Setting], name: str) -> list[float]:
    return [float(setting[name]) for setting in settings]


def _readers(settings: Sequence[Setting]) -> dict[str, list[int]]:
    """By "mean" and "std": the settings that read it, where there are any."""
    rows = {
        half: [row for row, setting in enumerate(settings) if half in HALVES[str(setting["statistics"])]]
        for half in HALVES["both"]
    }
    return {half: mine for half, mine in rows.items() if mine}


class _Mlp:
    """One or two hidden layers of rectified units, of the settings in their order.

    "first.mean", "first.std": (units of all networks that read it, inputs), one product for all of them; a network that
    reads both adds up its two. By the width W of a hidden layer "first_bias.W" (networks, W, 1), "second.W" (networks
    with two, W, W), "second_bias.W", "last.W" (networks, outputs, W); "last_bias" (networks, outputs, 1).
    """

    def __init__(self, settings: Sequence[Setting]) -> None:
        self._widths = [int(setting["width"]) for setting in settings]
        self._readers = _readers(settings)
        self._by_width = {width: _rows(settings, width=width) for width in dict.fromkeys(self._widths)}
        self._deep = {width: _rows(settings, width=width, depth=2) for width in self._by_width}
        self._dropout = torch.tensor(_numbers(settings, "dropout"))[:, None, None].mul(BYTE).round()

    def __call__(self, parameters: Parameters, inputs: Batch, draws: Tensor | None) -> Tensor:
        units: dict[int, Tensor] = {}
        for half, mine in self._readers.items():
            rows = [self._widths[row] for row in mine]
            together = product(parameters[f"first.{half}"], inputs[half][0], rows)
            for row, own in zip(mine, torch.split(together, rows), strict=True):
                units[row] = units[row] + own if row in units else own
        logits = []
        for width, mine in self._by_width.items():
            hidden = torch.stack([units[row] for row in mine])
            hidden = self._rectified(hidden, parameters[f"first_bias.{width}"], mine, draws, 0)
            deep = self._deep[width]
            if deep:
                shallow = len(mine) - len(deep)
                second = parameters[f"second.{width}"] @ hidden[shallow:]
                second = self._rectified(second, parameters[f"second_bias.{width}"], deep, draws, HIDDEN)
                hidden = torch.cat([hidden[:shallow], second])
            logits.append(parameters[f"last.{width}"] @ hidden)
        return torch.cat(logits) + parameters["last_bias"]

    def _rectified(self, units: Tensor, bias: Tensor, rows: Sequence[int], draws: Tensor | None, start: int) -> Tensor:
        """units: (networks, width, n). rows: neighbours."""
        share = self._dropout[rows[0] : rows[-1] + 1].to(units.device)
        kept = None
        if draws is not None:
            kept = torch.ge(draws[start : start + units.shape[1]], share, out=torch.empty_like(units))
        return rectified(units, bias, kept, BYTE / (BYTE - share))


def _mlp_stack(layers: int, inputs: int, targets: Targets, settings: Sequence[Setting], seed: int) -> Stack:
    """First values after He et al. (2015), the output's a sixth of it; the same draws whatever the company."""
    outputs = len(targets.fitted)
    found: dict[str, list[Tensor]] = {}
    owners: dict[str, list[int]] = {}

    def add(name: str, network: int, value: Tensor) -> None:
        found.setdefault(name, []).append(value)
        owners.setdefault(name, []).extend([network] * len(value))

    for network, setting in enumerate(settings):
        statistics, width = str(setting["statistics"]), int(setting["width"])
        halves = HALVES[statistics]
        first, second, last = _draws(len(halves) * inputs, outputs, seeds.integer(seed, statistics))
        for half, own in zip(halves, torch.split(first[:width], inputs, dim=1), strict=True):
            add(f"first.{half}", network, own * (6 / first.shape[1]) ** 0.5)
        add(f"first_bias.{width}", network, torch.zeros(1, width, 1))
        if setting["depth"] == 2:
            add(f"second.{width}", network, second[None, :width, :width] * (6 / width) ** 0.5)
            add(f"second_bias.{width}", network, torch.zeros(1, width, 1))
        add(f"last.{width}", network, last[None, :, :width] * (1 / (6 * width)) ** 0.5)
        add("last_bias", network, torch.zeros(1, outputs, 1))
    return Stack(
        parameters={name: torch.cat(values) for name, values in found.items()},
        owners=owners,
        undecayed=frozenset(name for name in found if "bias" in name),
        logits_of=lambda alive: _Mlp([settings[network] for network in alive]),
        draws=2 * HIDDEN,
        learning_rate=_numbers(settings, "learning_rate"),
        weight_decay=_numbers(settings, "weight_decay"),
        softmax=targets.softmax,
    )


def _draws(inputs: int, outputs: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Uniform in -1..1, as wide as any network could be."""
    generator = torch.Generator().manual_seed(seed)
    first, second, last = (
        torch.rand(shape, generator=generator) * 2 - 1
        for shape in ((HIDDEN, inputs), (HIDDEN, HIDDEN), (outputs, HIDDEN))
    )
    return first, second, last


class _Mix:
    """A linear head on a softmax-weighted sum of the layers, of the settings in their order.

    "layers": (networks, layers); "head.mean", "head.std": (networks that read it, outputs, width); "bias": (networks,
    outputs, 1). The head goes over every layer first, one product for all networks; the sum comes last: the same by
    linearity.
    """

    def __init__(self, settings: Sequence[Setting]) -> None:
        self._readers, self._networks = _readers(settings), len(settings)

    def __call__(self, parameters: Parameters, inputs: Batch, draws: Tensor | None) -> Tensor:
        share = parameters["layers"].softmax(dim=1)
        logits = parameters["bias"]
        for half, mine in self._readers.items():
            head, batch = parameters[f"head.{half}"], inputs[half]
            rows = [head.shape[1]] * len(head)
            seen = product(head.flatten(0, 1), batch.flatten(0, 1), rows).view(*head.shape[:2], *batch.shape[:2])
            own = (seen * share[mine][:, None, :, None]).sum(dim=2)
            before, after = mine[0], self._networks - 1 - mine[-1]  # readers are neighbours
            logits = logits + functional.pad(own, (0, 0, 0, 0, before, after))
        return logits


def _mix_stack(layers: int, inputs: int, targets: Targets, settings: Sequence[Setting], seed: int) -> Stack:
    """From equal weights and a head of 0, as in SUPERB (Yang et al., 2021); nothing is drawn."""
    outputs, networks = len(targets.fitted), len(settings)
    parameters = {
        "layers": torch.zeros(networks, layers),
        "bias": torch.zeros(networks, outputs, 1),
    }
    owners = {name: list(range(networks)) for name in parameters}
    for half, mine in _readers(settings).items():
        parameters[f"head.{half}"] = torch.zeros(len(mine), outputs, inputs)
        owners[f"head.{half}"] = mine
    return Stack(
        parameters=parameters,
        owners=owners,
        undecayed=frozenset({"layers", "bias"}),
        logits_of=lambda alive: _Mix([settings[network] for network in alive]),
        draws=0,
        learning_rate=_numbers(settings, "learning_rate"),
        weight_decay=_numbers(settings, "weight_decay"),
        softmax=targets.softmax,
    )


def apply_mlp(layers: Sequence[LayerFeatures], model: Model, setting: Setting, softmax: bool) -> FloatArray:
    """A kept mlp to one layer's clips: (n, n_fitted) probabilities, a clip's own bits whatever its company."""
    return _apply(layers, model, setting, softmax, _Mlp([setting]))


def apply_mix(layers: Sequence[LayerFeatures], model: Model, setting: Setting, softmax: bool) -> FloatArray:
    """A kept mix to all layers' clips: (n, n_fitted) probabilities, a clip's own bits whatever its company."""
    return _apply(layers, model, setting, softmax, _Mix([setting]))


def layer_shares(model: Model) -> FloatArray:
    """(layers,) what a kept mix makes of each layer; adds up to 1."""
    shares: FloatArray = torch.tensor(np.asarray(model["parameter.layers"])[0]).double().softmax(dim=0).numpy()
    return shares


def _apply(
    layers: Sequence[LayerFeatures], model: Model, setting: Setting, softmax: bool, logits: Logits
) -> FloatArray:
    halves = HALVES[str(setting["statistics"])]
    centres, scales = (np.split(np.asarray(model[name]), len(halves), axis=1) for name in ("mean", "scale"))
    inputs = {
        half: torch.from_numpy(np.stack([Scaler(*own)(getattr(layer, half)) for layer, *own in zip(layers, *scaling)]))
        for half, *scaling in zip(halves, centres, scales)
    }
    parameters = {  # copied, for a product's last bit can depend on where its numbers lie
        name.removeprefix("parameter."): torch.tensor(np.asarray(value))
        for name, value in model.items()
        if name.startswith("parameter.")
    }
    alone = (
        {half: values[:, clip : clip + 1].clone() for half, values in inputs.items()}
        for clip in range(len(layers[0].ids))
    )
    return np.concatenate([probability_of(logits(parameters, clip, None), softmax)[0].numpy() for clip in alone])
