"""From frames to one vector a clip: mean and standard deviation over the clip's own frames."""

import torch
from torch import Tensor

from toolkit.models.encoder import own_frames


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
