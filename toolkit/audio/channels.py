"""One signal out of a file's channels: the one that is named, or the average, unless that cancels them."""

import numpy as np
import numpy.typing as npt

# Of independent channels, or of one that sounds alone, the average has 1 / channels of their mean power. Of two alike
# of opposite sign nothing is left; a fifth of that share, 7 dB less, is two channels with a correlation of -0.8.
CANCELLED = 0.2

Mono = npt.NDArray[np.float32]


def one(samples: Mono, channel: int | None) -> tuple[Mono, Mono | None]:
    """(n,) of channel number `channel`, or for None the average of all, then with (n,) mean squares over the channels.

    samples: (n, channels).
    """
    if channel is not None or samples.shape[1] == 1:
        return samples[:, channel or 0].copy(), None
    return samples.mean(axis=1), np.square(samples).mean(axis=1)


def cancel(average: Mono, power: float, channels: int) -> bool:
    """Whether the channels cancel each other: they are in anti-phase. power: the sum of the mean squares of `one`."""
    return float(np.dot(average, average)) < CANCELLED * power / channels
