"""The mix probe's networks, stacked: a linear head on a softmax weighting of all layers."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from toolkit.probe.batched_layers import product
from toolkit.probe.batched_training import Batch, Parameters, Stack
from toolkit.probe.mlp import shapes
from toolkit.probe.protocol import Setting
from toolkit.probe.search import numbers, readers
from toolkit.probe.targets import Targets


class Mix:
    """A linear head on a softmax-weighted sum of the layers, of the settings in their order.

    "layers": (networks, layers); "head.mean", "head.std": (networks that read it, outputs, width); "bias": (networks,
    outputs, 1). The head goes over every layer first, one product for all networks; the sum comes last: the same by
    linearity.
    """

    def __init__(self, settings: Sequence[Setting]) -> None:
        self._readers, self._networks = readers(settings), len(settings)

    def __call__(self, parameters: Parameters, inputs: Batch, draws: Tensor | None) -> Tensor:
        share = parameters["layers"].softmax(dim=1)
        logits = parameters["bias"]
        for half, mine in self._readers.items():
            head, batch = parameters[f"head.{half}"], inputs[half]
            rows = [head.shape[1]] * len(head)
            seen = product(head.flatten(0, 1), batch.flatten(0, 1), rows).view(*head.shape[:2], *batch.shape[:2])
            mixed = (seen * share[mine][:, None, :, None]).sum(dim=2)
            before, after = mine[0], self._networks - 1 - mine[-1]  # readers are neighbours
            logits = logits + functional.pad(mixed, (0, 0, 0, 0, before, after))
        return logits


def mix_stack(layers: int, inputs: int, targets: Targets, settings: Sequence[Setting], seed: int) -> Stack:
    """From equal weights and a head of 0, as in SUPERB (Yang et al., 2021); nothing is drawn."""
    (outputs, bends), networks = shapes(targets), len(settings)
    parameters = {
        "layers": torch.zeros(networks, layers),
        "bias": bends.repeat(networks, 1, 1),
    }
    owners = {name: list(range(networks)) for name in parameters}
    for half, mine in readers(settings).items():
        parameters[f"head.{half}"] = torch.zeros(len(mine), outputs, inputs)
        owners[f"head.{half}"] = mine
    return Stack(
        parameters=parameters,
        owners=owners,
        undecayed=frozenset({"layers", "bias"}),
        logits_of=lambda alive: Mix([settings[network] for network in alive]),
        draws=0,
        learning_rate=numbers(settings, "learning_rate"),
        weight_decay=numbers(settings, "weight_decay"),
        link=targets.link,
        loss=str(settings[0].get("loss", "mse")),
    )
