"""What a store keeps of a clip's frames, a vector a statistic."""

from collections.abc import Sequence

import torch
from torch import Tensor

from toolkit.features.layout import STATISTICS
from toolkit.models.pooling import mean_and_std, statistic


class Pooled:
    """names: mean, std, and the others that are kept; more: those others.

    Raises InputError for one that is not known, MachineError for one that cannot be used.
    """

    def __init__(self, names: Sequence[str] = STATISTICS) -> None:
        self.names = tuple(dict.fromkeys((*STATISTICS, *names)))
        self.more = self.names[len(STATISTICS) :]
        self._functions = [statistic(name) for name in self.more]

    def __call__(self, values: Tensor, lengths: Tensor) -> Tensor:
        """(names, batch, width) float32 of (batch, frames, width); lengths: (batch,) own frames."""
        return torch.stack([*mean_and_std(values, lengths), *(one(values, lengths) for one in self._functions)])
