"""The mlp probe's networks, stacked: one or two hidden layers on one layer's statistics."""

from collections.abc import Sequence

import torch
from torch import Tensor

from toolkit.core import seeds
from toolkit.probe.batched_layers import product, rectified
from toolkit.probe.batched_training import Batch, Parameters, Stack
from toolkit.probe.protocol import Setting, Value
from toolkit.probe.search import WIDTHS, halves, numbers, readers
from toolkit.probe.targets import Targets

HIDDEN = max(WIDTHS)
BYTE = 256  # values that a draw for dropout has


class Mlp:
    """One or two hidden layers of rectified units, of the settings in their order.

    "first.mean", "first.std": (units of all networks that read it, inputs), one product for all of them; a network that
    reads both adds up its two. By the width W of a hidden layer "first_bias.W" (networks, W, 1), "second.W" (networks
    with two, W, W), "second_bias.W", "last.W" (networks, outputs, W); "last_bias" (networks, outputs, 1).
    """

    def __init__(self, settings: Sequence[Setting]) -> None:
        self._widths = [int(setting["width"]) for setting in settings]
        self._readers = readers(settings)
        self._by_width = {width: _rows(settings, width=width) for width in dict.fromkeys(self._widths)}
        self._deep = {width: _rows(settings, width=width, depth=2) for width in self._by_width}
        self._dropout = torch.tensor(numbers(settings, "dropout"))[:, None, None].mul(BYTE).round()

    def __call__(self, parameters: Parameters, inputs: Batch, draws: Tensor | None) -> Tensor:
        units: dict[int, Tensor] = {}
        for half, mine in self._readers.items():
            rows = [self._widths[row] for row in mine]
            together = product(parameters[f"first.{half}"], inputs[half][0], rows)
            for row, part in zip(mine, torch.split(together, rows), strict=True):
                units[row] = units[row] + part if row in units else part
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


def shapes(targets: Targets) -> tuple[int, Tensor]:
    """How many outputs a network has, and the first values of their biases, (1, outputs, 1).

    For levels it has one, with a bias for each level but the last, from the training clips' log-odds of being above it.
    """
    if targets.link != "cumulative":
        return len(targets.fitted), torch.zeros(1, len(targets.fitted), 1)
    above = torch.from_numpy(targets.columns.mean(axis=0)).cumsum(0)[:-1]
    return 1, ((1 - above) / above).log().float()[None, :, None]


def mlp_stack(layers: int, inputs: int, targets: Targets, settings: Sequence[Setting], seed: int) -> Stack:
    """First values after He et al. (2015), the output's a sixth of it; the same draws with any other networks."""
    outputs, bends = shapes(targets)
    found: dict[str, list[Tensor]] = {}
    owners: dict[str, list[int]] = {}

    def add(name: str, network: int, value: Tensor) -> None:
        found.setdefault(name, []).append(value)
        owners.setdefault(name, []).extend([network] * len(value))

    for network, setting in enumerate(settings):
        statistics, width = str(setting["statistics"]), int(setting["width"])
        read = halves(statistics)
        first, second, last = _draws(len(read) * inputs, outputs, seeds.integer(seed, statistics))
        for half, weights in zip(read, torch.split(first[:width], inputs, dim=1), strict=True):
            add(f"first.{half}", network, weights * (6 / first.shape[1]) ** 0.5)
        add(f"first_bias.{width}", network, torch.zeros(1, width, 1))
        if setting["depth"] == 2:
            add(f"second.{width}", network, second[None, :width, :width] * (6 / width) ** 0.5)
            add(f"second_bias.{width}", network, torch.zeros(1, width, 1))
        add(f"last.{width}", network, last[None, :, :width] * (1 / (6 * width)) ** 0.5)
        add("last_bias", network, bends.clone())
    return Stack(
        parameters={name: torch.cat(values) for name, values in found.items()},
        owners=owners,
        undecayed=frozenset(name for name in found if "bias" in name),
        logits_of=lambda alive: Mlp([settings[network] for network in alive]),
        draws=2 * HIDDEN,
        learning_rate=numbers(settings, "learning_rate"),
        weight_decay=numbers(settings, "weight_decay"),
        link=targets.link,
        loss=str(settings[0].get("loss", "mse")),
    )


def _draws(inputs: int, outputs: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Uniform in -1..1, as wide as any network could be."""
    generator = torch.Generator().manual_seed(seed)
    first, second, last = (
        torch.rand(shape, generator=generator) * 2 - 1
        for shape in ((HIDDEN, inputs), (HIDDEN, HIDDEN), (outputs, HIDDEN))
    )
    return first, second, last


def _rows(settings: Sequence[Setting], **values: Value) -> list[int]:
    return [
        row for row, setting in enumerate(settings) if all(setting[name] == value for name, value in values.items())
    ]
