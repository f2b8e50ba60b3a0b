"""The same backbones as trainable modules: up to one layer, with gradients, and still no clip that knows its batch.

`load.load` takes the modules apart for speed and runs under inference mode. Here transformers' modules stay whole, each
projection a module of its own (so that LoRA can wrap it), and only what joins them is ours: lengths, masks, the norm
over a clip's own frames. Untrained, every layer's states equal those of `load.load` to rounding.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from toolkit.audio.decode import Samples
from toolkit.core.errors import InputError
from toolkit.models.encoder import own_frames

Batch = dict[str, Tensor]
Inner = Callable[..., Tensor]
SCORES = 2**24  # that plain attention may hold: 64 MB, and as much again for the way back


@dataclass(frozen=True)
class Prepared:
    """What a clip is before it meets a batch, the same in every epoch.

    pieces: float32 on the CPU, samples or a spectrogram; several for a clip that is longer than the context.
    input_lengths: of each piece, as the family counts it.
    """

    pieces: tuple[Tensor, ...]
    input_lengths: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return sum(piece.nbytes for piece in self.pieces)


class Trainable(Protocol):
    """A backbone from the waveform to one layer, an `nn.Module`.

    layer: the last one, "encoder.k" or "decoder.k". width: values per frame. front: what comes before the first layer;
    convolutions: the part of it that reads the signal. layers: of the encoder, and after them the decoder's.
    decoder_start: how many of `layers` are the encoder's. convolutions_stay_frozen: by the custom of the family.
    In training: recompute trades time for memory; augment changes what enters the encoder, (batch, frames, channels);
    layer_drop is the probability that a layer is skipped.
    """

    layer: str
    width: int
    front: nn.ModuleList
    convolutions: nn.Module
    layers: nn.ModuleList
    decoder_start: int
    convolutions_stay_frozen: bool
    recompute: bool
    augment: Callable[[Tensor], Tensor] | None
    layer_drop: float

    def cost(self, n_samples: int) -> int:
        """Samples that are computed for a clip of `n_samples`; a batch costs its largest times its size."""
        ...

    def prepare(self, clip: Samples) -> Prepared:
        """A clip of (n_samples,) float32. Raises AudioError for an empty one."""
        ...

    def collate(self, clips: Sequence[Prepared]) -> Batch:
        """Clips as tensors on the CPU, for `states`: signal, input_lengths, owner."""
        ...

    def states(self, signal: Tensor, input_lengths: Tensor, owner: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yield each layer's name, its values (pieces, frames, width) and own frames (pieces,).

        owner: (pieces,) the clip that a piece is of; a clip that is longer than the context has several.
        """
        ...


def last_states(backbone: Any, **batch: Tensor) -> tuple[Tensor, Tensor]:
    """The values and own frames of a `Trainable`'s last layer alone. batch: as `states` takes it."""
    *_, (_, values, lengths) = backbone.states(**batch)
    return values, lengths


def parsed(layer: str) -> tuple[str, int]:
    """("encoder", 3) of "encoder.3". Raises InputError."""
    stack, dot, number = layer.partition(".")
    if stack not in ("encoder", "decoder") or not dot or not number.isdecimal():
        raise InputError(f"Bad layer {layer!r}, expected one such as 'encoder.3'")
    return stack, int(number)


def attention(module: Any, values: Tensor, mask: Tensor | None, context: Tensor | None = None) -> Tensor:
    """A Hugging Face attention module, each projection called as a module.

    values: (batch, frames, width); context: what is attended to, None for `values` themselves. mask: bool (True: may
    be seen) or added to the scores, broadcasts to (batch, heads, frames, frames of the context).
    """
    context = values if context is None else context
    query, key, value = (
        projection(source).unflatten(-1, (module.num_heads, -1)).transpose(1, 2)
        for projection, source in ((module.q_proj, values), (module.k_proj, context), (module.v_proj, context))
    )
    dropout = module.dropout if module.training else 0.0
    n_scores = query.shape[:3].numel() * key.shape[2]
    if query.device.type == "cpu" and n_scores <= SCORES:
        mixed = _plain_attention(query, key, value, mask, dropout)
    else:
        if mask is not None and mask.is_floating_point():
            mask = mask.to(query.dtype)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
    result: Tensor = module.out_proj(mixed.transpose(1, 2).flatten(2))
    return result


def _plain_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Scaled dot-product attention with its scores held: on the CPU, with gradients, in a quarter of torch's time.

    query, key, value: (batch, heads, frames, head width); the softmax is float32.
    """
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores + mask if mask.is_floating_point() else scores.masked_fill(~mask, float("-inf"))
    share = F.dropout(torch.softmax(scores.float(), dim=-1), dropout)
    return share.to(value.dtype) @ value


def own_mask(lengths: Tensor, frames: int) -> Tensor | None:
    """(batch, frames) True in each clip's own frames; None when every clip fills all (kernels are faster without)."""
    return None if bool((lengths == frames).all()) else own_frames(lengths, frames)


def through(model: Any, layer: Any, inner: Inner, values: Tensor, *others: Tensor | None) -> Tensor:
    """A layer's output by `inner(layer, values, *others)`, with what the model does in training: see `Trainable`."""
    if model.training and model.layer_drop and float(torch.rand(())) < model.layer_drop:
        return values
    if not (model.recompute and torch.is_grad_enabled()):
        return inner(layer, values, *others)
    result: Tensor = recomputed(inner, layer, values, *others, use_reentrant=False)
    return result
