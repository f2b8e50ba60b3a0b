"""What a loaded backbone is to the rest of the toolkit: one clip or many in, one layer's states after the other out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from toolkit.audio.decode import Samples
from toolkit.core.errors import AudioError
from toolkit.models.precision import Precision


@dataclass(frozen=True)
class LayerStates:
    """The states of one layer for a batch of clips.

    name: "encoder.0", ..., "decoder.0", ... values: (batch, frames, width) float32 on the device, whatever the products
    were computed in; without meaning after a clip's own frames. lengths: (batch,) int64 on the device, own frames of
    each clip, at least 1.
    """

    name: str
    values: Tensor
    lengths: Tensor


class Encoder(Protocol):
    """A loaded backbone.

    layer_names: in the order in which `states` yields them. width: values per frame. device: of the computation.
    precision: of its costly products; what is summed along the layers (the residual stream), the norms, the softmax and
    all that costs little are float32. A clip's states do not depend on the other clips of
    its batch. longest_seconds: of a clip; beyond it, memory would run out.
    """

    layer_names: tuple[str, ...]
    width: int
    longest_seconds: float
    device: torch.device
    precision: Precision

    def frames(self, n_samples: int) -> int:
        """Own frames of a clip of `n_samples` at 16 kHz."""
        ...

    def padded_samples(self, n_samples: int) -> int:
        """Samples that are computed for a clip of `n_samples`; a batch costs its largest times its size."""
        ...

    def states(self, clips: Sequence[Samples]) -> Iterator[LayerStates]:
        """Yield each layer of `layer_names` for clips of (n_samples,) float32 at 16 kHz, of any mix of lengths.

        Only one layer is alive at a time; keep what you need of it, and do not change it in place.
        Raises AudioError for an empty clip.
        """
        ...


def check_filled(clips: Sequence[Samples]) -> None:
    """Raises AudioError for a clip without samples: it has no frames."""
    for number, clip in enumerate(clips):
        if clip.ndim != 1 or len(clip) == 0:
            raise AudioError(f"clip {number} of the batch has shape {clip.shape}, expected (n_samples,) with samples")


def on_device(values: npt.NDArray[Any] | Sequence[int], device: torch.device) -> Tensor:
    """An array, or int64 of numbers, on the device; to CUDA by way of pinned memory: so the copy, and with it whoever
    prepares the next batch, does not wait for what runs there.
    """
    tensor = torch.from_numpy(np.asarray(values))
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def waveforms(clips: Iterable[Samples], shape: tuple[int, int], device: torch.device) -> Tensor:
    """Clips side by side on the device, zeros after each: float32 of `shape`, (clips, samples of a row).

    To CUDA they are written where they can be copied from, once.
    """
    rows = torch.zeros(shape, pin_memory=device.type == "cuda")
    for row, clip in zip(rows.numpy(), clips):
        row[: len(clip)] = clip
    return rows.to(device, non_blocking=True)


def own_frames(lengths: Tensor, frames: int) -> Tensor:
    """True in each clip's own frames. lengths: (batch,); the result is (batch, frames) bool."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def attention_mask(valid: Tensor) -> Tensor:
    """0 for a clip's own frames and -inf after them, to be added to the attention's scores.

    own: as `own_frames` gives it. The result is (batch, 1, 1, frames) float32. When every clip fills all frames, leave
    it out: kernels are faster without.
    """
    return torch.zeros(valid.shape, device=valid.device).masked_fill_(~valid, float("-inf"))[:, None, None]
