"""A module of transformers with its extractor: from a clip to what the forward takes, and to every layer's states."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.utils.output_capturing import OutputRecorder

from toolkit.audio.decode import Samples
from toolkit.core import seeds
from toolkit.core.errors import CheckpointError, is_out_of_memory
from toolkit.core.registry import resolve
from toolkit.models.encoder import on_device
from toolkit.models.families import Feed
from toolkit.models.own_frames import OwnFrames, Plan, plan_of

Item = dict[str, Tensor]  # what the forward takes of one clip: each tensor (1, ...), or packed
WATCHED_SECONDS = (0.73, 1.41)


class _Enough(Exception):
    """The last layer that is wanted is there."""


@dataclass
class Caught:
    """Of one forward, layer by layer: states, and own frames of each clip, (batch,), where they were followed.

    most: frames that are kept; all by default. rows: see `Network`. packed: the states may have no axis of clips.
    """

    rows: tuple[int, int] = (0, 1)
    packed: bool = False
    channels_first: bool = False
    follow: OwnFrames | None = None
    most: int | None = None
    states: list[Tensor] = field(default_factory=list)
    lengths: list[Tensor | None] = field(default_factory=list)

    def take(self, states: Tensor) -> None:
        if states.ndim != 3 and not (self.packed and states.ndim == 2):
            raise CheckpointError(
                f"a layer gives states of shape {tuple(states.shape)}, expected (batch, frames, width)"
            )
        if self.channels_first:
            states = states.transpose(1, 2)
        special, rows = self.rows
        if rows > 1:  # patches, one band of frequencies after the other: in the order of time
            states = states[:, special:].reshape(len(states), rows, -1, states.shape[-1]).transpose(1, 2).flatten(1, 2)
        self.lengths.append(self.follow.lengths(states.shape[1]) if self.follow else None)
        self.states.append(states if self.most is None else states[:, : self.most].clone())


class Network:
    """Free of modes and of any knowledge of how clips are batched.

    axis: of the features, along which time runs; None where every clip has the same length. frames: of that length.
    rows: of a picture's patches, tokens before them, which have no place in time, and patches of one time.
    """

    def __init__(self, model: Any, extractor: Any, device: torch.device, last_layer: int, feed: Feed) -> None:
        """Raises CheckpointError where the row's modules are not there, and whatever the model raises of one clip."""
        self.model, self.extractor, self.device, self.feed = model.to(device), extractor, device, feed
        modules = layer_modules(model, feed.states)
        if not modules or last_layer > len(modules):
            named = f"of the name {feed.states!r}" if feed.states else "whose states transformers records"
            raise CheckpointError(f"its model has {len(modules)} modules {named}, expected {max(1, last_layer)}")
        self._modules, self._last = modules, last_layer
        self.rows = (0, 1)
        if feed.special:
            size, bins, stride = (
                getattr(model.config, key) for key in ("patch_size", "num_mel_bins", "frequency_stride")
            )
            self.rows = (feed.special, (bins - size) // stride + 1)
        self._caught, self._ends_by_output = Caught(), False
        modules[0].register_forward_pre_hook(self._enter, with_kwargs=True)
        for number, module in enumerate(modules):
            if number == last_layer:
                module.register_forward_pre_hook(self._stop)
            module.register_forward_hook(self._leave)
        self._plan: Plan | None = None
        pair = [noise(round(seconds * feed.rate)) for seconds in WATCHED_SECONDS]
        self._pair = [self.prepare(clip) for clip in pair]
        if not torch.equal(self._pair[0][feed.features], self.prepare(pair[0])[feed.features]):
            raise CheckpointError("its feature extractor gives other values each time, expected one without dither")
        one, other = (item[feed.features].shape for item in self._pair)
        differ = [axis for axis in range(len(one)) if one[axis] != other[axis]]
        self.axis = differ[0] if differ and not feed.fixed else None
        with torch.no_grad():
            states = self.run(self._pair[0]).states
            if not feed.states and last_layer == len(modules):
                self._compare(states)
        self.frames = states[-1].shape[-2]

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._caught.take(args[0] if args else kwargs["hidden_states"])

    def _stop(self, module: nn.Module, args: Any) -> None:
        raise _Enough

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._caught.take(output[0] if isinstance(output, tuple | list) else output)

    def _compare(self, caught: Sequence[Tensor]) -> None:
        """What transformers calls the last hidden state may be the model's output, after a norm: find out."""
        output = self.model(**self._given(self._pair[0]), output_hidden_states=True)
        expected = Caught(self.rows, self.feed.packed)
        for states in output.hidden_states:
            expected.take(states)
        recorded = expected.states
        self._ends_by_output = not _alike(recorded[-1], caught[-1])
        same = zip(recorded[:-1], caught[:-1])
        if len(recorded) != len(caught) or not all(_alike(one, other) for one, other in same):
            raise CheckpointError("its model records other hidden states than those of its layers")

    def _given(self, inputs: Item) -> dict[str, Any]:
        return {name: values.to(self.device, non_blocking=True) for name, values in inputs.items()}

    def run(self, inputs: Item, follow: OwnFrames | None = None, most: int | None = None) -> Caught:
        """Every layer's states up to the last one. Leaves gradients to the caller."""
        self._caught = caught = Caught(self.rows, self.feed.packed, self.feed.channels_first, follow, most)
        given = self._given(inputs)
        try:
            if follow is None:
                output = self.model(**given)
            else:
                with follow:
                    output = self.model(**given)
            if self._ends_by_output:
                caught.states.pop()
                caught.lengths.pop()
                caught.take(output.last_hidden_state)
        except _Enough:
            pass
        finally:
            self._caught = Caught()
        return caught

    # one clip

    def prepare(self, clip: Samples) -> Item:
        """What the forward takes of one clip, on the CPU. Raises CheckpointError where its extractor fails."""
        feed = self.feed
        if len(clip) < feed.shortest:
            clip = np.pad(clip, (0, feed.shortest - len(clip)))
        try:
            with torch.autocast("cpu", enabled=False):  # training may be in one
                item = self._extracted(clip)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            reason = f"{type(error).__name__} {error}"
            raise CheckpointError(
                f"its feature extractor fails on a clip of {len(clip) / feed.rate:.2f} s: {reason}"
            ) from error
        return item if feed.fixed or feed.prepare or not feed.mask else self._cut(item)

    def _extracted(self, clip: Samples) -> Item:
        feed = self.feed
        if feed.prepare:
            item: Item = resolve(feed.prepare)(self.extractor, clip)
            return item
        found = self.extractor(clip, sampling_rate=feed.rate, return_tensors="pt", **feed.call)
        features, mask = feed.given or (feed.features, feed.mask)
        item = {feed.features: found[features]}
        if feed.mask and mask in found:
            item[feed.mask] = found[mask]
        return item

    def _cut(self, item: Item) -> Item:
        """Without the end that the clip's own mask leaves out; with a mask where the extractor gave none."""
        feed, features = self.feed, item[self.feed.features]
        if feed.mask not in item:
            return {**item, feed.mask: torch.ones(features.shape[:2], dtype=torch.long)}
        mask = item[feed.mask]
        shown = mask.bool() != feed.masked_is_true
        size, kept = shown.shape[1], int(shown.sum())
        axis = next((axis for axis in range(1, features.ndim) if features.shape[axis] == size), None)
        if kept == size or axis is None or not bool(shown[0, :kept].all()):
            return item
        return {**item, feed.features: features.narrow(axis, 0, kept), feed.mask: mask[:, :kept]}

    def shape(self, item: Item) -> tuple[int, ...]:
        """Items of one shape make a batch without padding."""
        mask = item.get(self.feed.mask)
        return (*item[self.feed.features].shape, -1 if mask is None else int(mask.sum()))

    # many clips

    def collate(self, items: Sequence[Item]) -> Item:
        """Each tensor padded to the largest: features with zeros, a mask with what means that nothing is there."""
        rows = {}
        packs = self.feed.packed and items[0][self.feed.features].ndim == 2
        for name in items[0]:
            if packs:
                rows[name] = torch.cat([item[name] for item in items], dim=-1)
                continue
            value = float(self.feed.masked_is_true) if name == self.feed.mask else 0.0
            shape = [max(item[name].shape[axis] for item in items) for axis in range(1, items[0][name].ndim)]
            rows[name] = torch.cat([_padded(item[name], shape, value) for item in items])
        return rows

    def follow(self, items: Sequence[Item], mends: bool) -> OwnFrames:
        """Follows the items' own lengths through a batch of them. Raises RuntimeError where that cannot be done."""
        if self.axis is None:
            raise RuntimeError("the features of two clips of different lengths have one shape")
        sizes = [item[self.feed.features].shape[self.axis] for item in items]
        return OwnFrames(self._watched(), max(sizes), on_device(sizes, self.device), mends)

    def followed(self, features: Tensor, lengths: Tensor) -> OwnFrames:
        """The same for features that are padded already; lengths: (batch,) on their device."""
        assert self.axis is not None
        return OwnFrames(self._watched(), features.shape[self.axis], lengths, mends=False)

    def _watched(self) -> Plan:
        if self._plan is None:
            with torch.no_grad():
                self.run(self._pair[1])  # what is made once is made
                self._plan = plan_of(lambda which: self.run(self._pair[which]))
        return self._plan

    def cut(self) -> list[nn.Module]:
        """The layers up to the last one; those after it are taken out of the model."""
        self._watched() if self.axis is not None else None
        after = set(self._modules[self._last :])
        for parent in list(self.model.modules()):
            if isinstance(parent, nn.ModuleList) and after & set(parent):
                kept = [module for module in parent if module not in after]
                del parent[len(kept) :]
        return self._modules[: self._last]


def layer_modules(model: Any, names: str) -> list[nn.Module]:
    """Those whose names fit (a star is one part of a name), or those whose outputs transformers records."""
    if names:
        wanted = re.compile(re.escape(names).replace(r"\*", r"[^.]+"))
        return [module for name, module in model.named_modules() if wanted.fullmatch(name)]
    recorded: Any = (getattr(model, "_can_record_outputs", None) or {}).get("hidden_states", ())
    kinds = tuple(
        one.target_class if isinstance(one, OutputRecorder) else one
        for one in (recorded if isinstance(recorded, list | tuple) else [recorded])
    )
    return [module for module in model.modules() if isinstance(module, kinds)]


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether two runs gave the same; a GPU's may differ by rounding."""
    return one.shape == other.shape and bool((one - other).norm() <= 1e-4 * one.norm())


def _padded(values: Tensor, shape: Sequence[int], value: float) -> Tensor:
    """After its end on each axis but the first, up to `shape`."""
    pads: list[int] = []
    for axis in range(values.ndim - 1, 0, -1):
        pads += [0, shape[axis - 1] - values.shape[axis]]
    return F.pad(values, pads, value=value)


def noise(samples: int) -> Samples:
    noise = seeds.generator(0, "noise", samples).normal(scale=0.1, size=samples)
    return noise.astype(np.float32)
