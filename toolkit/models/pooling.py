"""From frames to one vector a clip: mean and standard deviation over the clip's own frames, and further statistics."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from toolkit.core.errors import MachineError
from toolkit.core.registry import Registry
from toolkit.models.encoder import own_frames

CLOSE = 1e-5  # relative; of a clip in a batch to the clip alone


def mean_and_std(values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and population standard deviation over each clip's own frames, in two passes, in float32.

        mean = sum_t x_t / n        std = sqrt(sum_t (x_t - mean)^2 / n)

    values: (batch, frames, width) of any float dtype; what follows a clip's own frames does not count, even NaN.
    lengths: (batch,) own frames, 1 to frames. Returns two (batch, width) float32 tensors on the same device; the
    standard deviation of a single frame is 0.
    """
    frames = values.float()
    if values.device.type == "cpu" and int(lengths.min()) == values.shape[1]:  # sums as products: a third of the time
        share = frames.new_full((len(values), 1, values.shape[1]), 1.0 / values.shape[1])
        mean = share @ frames
        return mean[:, 0], (share @ (frames - mean).square_())[:, 0].sqrt()
    valid = own_frames(lengths, values.shape[1])[..., None]
    count = lengths[:, None].float()
    mean = torch.where(valid, frames, 0.0).sum(dim=1) / count
    deviation = torch.where(valid, frames - mean[:, None], 0.0)
    return mean, (deviation.square_().sum(dim=1) / count).sqrt()


@dataclass(frozen=True)
class Statistic:
    """What a store may keep of a clip's frames besides mean and standard deviation.

    pool: of values (batch, frames, width) float32 and lengths (batch,), on any device: (batch, width). What follows a
    clip's own frames does not count, even NaN. meaning: in a few words, for `--explain` and pages.
    """

    pool: Callable[[Tensor, Tensor], Tensor]
    meaning: str

    def __call__(self, values: Tensor, lengths: Tensor) -> Tensor:
        """(batch, width) float32. Raises MachineError for another shape."""
        found = self.pool(values.float(), lengths).float()
        if found.shape != values[:, 0].shape:
            raise MachineError(f"the shape {tuple(found.shape)}, expected {tuple(values[:, 0].shape)}")
        return found


def greatest(values: Tensor, lengths: Tensor) -> Tensor:
    """The largest value of each dimension over a clip's own frames; shapes as of `Statistic.pool`."""
    valid = own_frames(lengths, values.shape[1])[..., None]
    return torch.where(valid, values, -torch.inf).amax(dim=1)


MORE_STATISTICS = Registry(
    "statistic", "statistics", Statistic, {"max": Statistic(greatest, "the largest value over the clip's frames")}
)


def statistic(name: str) -> Statistic:
    """One of MORE_STATISTICS, tried on clips in a batch and alone.

    Raises InputError for a name that is not there, MachineError for one that fails or sees what is not a clip's own.
    """
    row = MORE_STATISTICS.find(name)
    values, lengths = torch.linspace(-1, 1, 3 * 7 * 4).view(3, 7, 4).sin(), torch.tensor([7, 1, 4])
    padded = torch.where(own_frames(lengths, 7)[..., None], values, torch.nan)
    try:
        found = row(padded, lengths)
        for place, length in enumerate(lengths.tolist()):
            alone = row(values[place : place + 1, :length], lengths[place : place + 1])
            if not torch.allclose(found[place], alone[0], rtol=CLOSE, atol=CLOSE):
                raise MachineError("another vector of a clip in a batch than of the clip alone")
    except Exception as error:
        what = error if isinstance(error, MachineError) else f"{type(error).__name__} {error}"
        raise MachineError(f"The statistic {name!r} of --statistics gives {what}") from error
    return row
