"""ONNX graphs of a small random network of samples, with the network itself to compare with."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

NAMES = ["hidden.0", "hidden.1", "hidden.2", "pooled"]


class Net(nn.Module):
    """Frames of 320 samples, and two layers, of which each looks across time."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter = nn.Conv1d(1, 16, 320, 320)
        self.layers = nn.ModuleList([nn.Conv1d(16, 16, 5, padding=2), nn.Conv1d(16, 16, 3, padding=1)])

    def forward(self, samples: Tensor) -> tuple[Tensor, ...]:
        states = [self.enter(samples[:, None])]
        for layer in self.layers:
            states.append(torch.tanh(layer(states[-1]) / (1 + states[-1].abs().mean(dim=2, keepdim=True))))
        return (*(each.transpose(1, 2) for each in states), states[-1].mean(dim=2))


def write(
    file: Path, net: nn.Module | None = None, sizes: tuple[int, ...] = (1, 8_000), free: tuple[int, ...] = (0, 1)
) -> Path:
    """sizes: of the input that it is watched with. free: axes of it that may have any other size."""
    net, given = (net or Net()).eval(), torch.randn(sizes)
    count = len(net(given))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other exporter takes one package more
        torch.onnx.export(
            net,
            (given,),
            str(file),
            input_names=["samples"],
            output_names=NAMES[:count],
            dynamic_axes={"samples": {axis: f"axis{axis}" for axis in free}},
            dynamo=False,
        )
    return file
