"""Families that run by transformers' own forward, as trainable modules; see `trainable.Trainable`.

Only where the model's own mask, or one fixed length, makes batches exact: what `own_frames` mends, and batches of equal
shape, are for numbers that are computed once.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.audio.decode import SAMPLE_RATE, Samples
from toolkit.core.errors import AudioError, InputError
from toolkit.models.encoder import check_filled, own_frames
from toolkit.models.families import Feed
from toolkit.models.generic import GenericEncoder
from toolkit.models.precision import FLOAT32
from toolkit.models.trainable import Batch, Prepared, last_states, parsed

CPU = torch.device("cpu")
DROPPED = ("layerdrop", "encoder_layerdrop", "speech_encoder_layerdrop")  # a dropped layer would give no states


class TrainableGeneric(nn.Module):
    """From a clip's features to one layer.

    `input_lengths` of a batch: features of each clip in time, or samples where the model takes one length
    whatever the clip lasts. adapted: names of the linear modules that LoRA wraps: all that the layers have.
    """

    convolutions_stay_frozen = False
    layer_drop = 0.0
    augment: Callable[[Tensor], Tensor] | None = None

    def __init__(self, model: Any, feature_extractor: Any, layer: str, feed: Feed, width: int) -> None:
        """Raises InputError where batches are not exact by the model's own means."""
        super().__init__()
        self.layer, self.width, self._feed = layer, width, feed
        if feed.varies or feed.rates != (SAMPLE_RATE,):
            raise InputError("it cannot be fine-tuned: its layers differ in width, or it hears another rate; probe it")
        encoder = GenericEncoder(model, feature_extractor, CPU, FLOAT32, parsed(layer)[1], feed, width, "masked")
        if encoder.mode != "masked" or feed.packed:
            found = "its clips are packed" if feed.packed else f"off by {encoder.proof.errors.get('masked')}"
            raise InputError(f"it cannot be fine-tuned: its batches are not exact by its own mask ({found}); probe it")
        self._network = encoder.network
        for settings in (*model.modules(), *(part.config for part in model.modules() if hasattr(part, "config"))):
            for name in DROPPED:
                if isinstance(getattr(settings, name, None), float):
                    setattr(settings, name, 0.0)
        model.config.apply_spec_augment = False  # it is a choice of the recipe
        self.layers = nn.ModuleList(self._network.cut())  # first: a weight has the name of its layer
        self.decoder_start = len(self.layers)
        self.front = nn.ModuleList(_without(model, set(self.layers)))
        self.convolutions = self.front
        self.rest = model  # and what is a part of neither
        linear = (name for name, module in self.layers.named_modules() if isinstance(module, nn.Linear))
        self.adapted = tuple({name.rpartition(".")[2] for name in linear})
        self._idle, self._recompute = self._unused(), False

    def _unused(self) -> list[nn.Parameter]:
        """Weights after the last layer, which no gradient reaches."""
        self.rest.requires_grad_(True)
        with torch.enable_grad():
            values, _ = last_states(self, **self.collate([self.prepare(torch.ones(SAMPLE_RATE).numpy())]))
            values.sum().backward()  # type: ignore[no-untyped-call]
        idle = [weight for weight in self.parameters() if weight.grad is None]
        self.zero_grad(set_to_none=True)
        self.rest.requires_grad_(False)
        return idle

    def requires_grad_(self, requires_grad: bool = True) -> "TrainableGeneric":
        super().requires_grad_(requires_grad)
        for weight in self._idle:
            weight.requires_grad_(False)
        return self

    def train(self, mode: bool = True) -> "TrainableGeneric":
        """What holds the parts, and drops some of what passes, learns with those in front of the layers."""
        super().train(mode)
        learns = mode and any(weight.requires_grad for weight in self.front.parameters())
        inside = {part for whole in (*self.front, *self.layers) for part in whole.modules()}
        for part in self.rest.modules():
            if part not in inside:
                part.training = learns
        return self

    @property
    def recompute(self) -> bool:
        return self._recompute

    @recompute.setter
    def recompute(self, wanted: bool) -> None:
        if wanted and not self.rest.supports_gradient_checkpointing:
            raise InputError("--gradient-checkpointing is nothing that this family's model of transformers can do")
        if wanted:
            self.rest.activation_checkpointing_enable({"use_reentrant": False})
        self._recompute = wanted

    def cost(self, n_samples: int) -> int:
        return round(self._feed.fixed * SAMPLE_RATE) or max(n_samples, self._feed.shortest)

    def prepare(self, clip: Samples) -> Prepared:
        check_filled([clip])
        longest = self._feed.fixed or self._feed.longest
        if longest and len(clip) > longest * SAMPLE_RATE:
            raise AudioError(
                f"A clip lasts {len(clip) / SAMPLE_RATE:.1f} s, and the model hears {longest:g} s; "
                "--window SECONDS --hop SECONDS cuts such recordings"
            )
        features = self._network.prepare(clip)[self._feed.features]
        axis = self._network.axis
        return Prepared((features[0],), (len(clip) if axis is None else features.shape[axis],))

    def collate(self, clips: Sequence[Prepared]) -> Batch:
        items = [{self._feed.features: clip.pieces[0][None]} for clip in clips]
        input_lengths = torch.tensor([clip.input_lengths[0] for clip in clips])
        return {
            "signal": self._network.collate(items)[self._feed.features],
            "input_lengths": input_lengths,
            "owner": torch.arange(len(clips)),
        }

    def states(self, signal: Tensor, input_lengths: Tensor, owner: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        network, feed = self._network, self._feed
        network.device = signal.device
        inputs, window = {feed.features: signal}, round(feed.fixed * SAMPLE_RATE)
        if feed.mask:
            size = signal.shape[-1 if network.axis is None else network.axis]
            attended = torch.ceil(input_lengths.double() * size / window).long() if feed.fixed else input_lengths
            inputs[feed.mask] = own_frames(attended, size).long()
        if feed.fixed:
            rows = network.rows[1]
            lengths = (rows * torch.ceil(input_lengths.double() * (network.frames / rows) / window)).long()
            layers = [(states, lengths) for states in network.run(inputs).states]
        else:
            caught = network.run(inputs, network.followed(signal, input_lengths))
            layers = [(states, length) for states, length in zip(caught.states, caught.lengths) if length is not None]
        for number, (values, lengths) in enumerate(layers[feed.first :], start=feed.first):
            yield f"encoder.{number}", values, lengths


def _without(module: nn.Module, layers: set[nn.Module]) -> list[nn.Module]:
    """The largest parts that hold none of the layers."""
    parts: list[nn.Module] = []
    for child in module.children():
        if child in layers:
            continue
        parts += _without(child, layers) if layers & set(child.modules()) else [child]
    return parts
