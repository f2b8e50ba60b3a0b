"""Any audio encoder of transformers by its own forward, without mathematics of ours, exact in batches by proof.

Clips run together in a mode:

    masked   padded, by the model's own mask (or the model takes one fixed length of every clip)
    mended   padded, with the operations that look across time corrected from outside (`own_frames`)
    equal    in batches of identical shape
    alone    one by one

Which of them are exact is not believed but proved when a model is loaded: random short clips, batched against alone,
every layer. While extracting, one clip of each window is computed alone and compared again (`extract.pipeline`).
"""

import copy
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.audio.decode import Samples
from toolkit.core.errors import CheckpointError, InputError, ToolkitError, is_out_of_memory, one_of
from toolkit.models.encoder import LayerStates, check_filled, on_device
from toolkit.models.families import Feed
from toolkit.models.network import Item, Network, noise
from toolkit.models.precision import FLOAT32, Precision
from toolkit.models.proof import TOGETHER, own_states, random_clips, worst_error

MEANINGS = {  # what a report says of a mode
    "masked": "Clips run in padded batches by the model's own mask",
    "mended": "Clips run in padded batches, with what looks across time corrected",
    "equal": "Clips of equal length run together, the others one by one",
    "alone": "Clips run one by one",
}
MODES = tuple(MEANINGS)
PADDED = MODES[:2]
BOUND = 1e-5  # of the relative error of each layer of each clip
# Three clips do not show a leak of one clip in ten (Parakeet's last masked frame): 4 of 40 proofs saw it, 38 with 24.
# Where every clip has one length none leaks by it, and each costs all of it.
PROOF_CLIPS, FIXED_PROOF_CLIPS = 24, 6
# Of the time one by one. Proof's clips are short, which favours padding: where it took 0.5 to 0.9 of it, ordinary clips
# took 0.9 to 1.4 on two cores.
WORTH_PADDING = 0.6
LONGEST_SECONDS = 120.0  # of a clip: all its layers are in memory at once


@dataclass(frozen=True)
class Proof:
    """What was found when a model was loaded.

    mode: the one that is taken. clips: that were compared. errors: by mode, the largest relative error of any layer of
    any clip, or why it cannot run.
    """

    mode: str
    clips: int
    errors: Mapping[str, float | str]

    @property
    def worst(self) -> float:
        """The largest relative error in the mode that is taken; 0 one by one."""
        found = self.errors.get(self.mode, 0.0)
        return found if isinstance(found, float) else math.inf


class GenericEncoder:
    """A loaded backbone; see `encoder.Encoder`. In float32.

    Clips shorter than the row's `shortest` are padded with zeros before they are preprocessed. proof: how the mode was
    found. widths: of each layer; `width` is the largest.
    """

    precision = FLOAT32

    def __init__(
        self,
        model: Any,
        extractor: Any,
        device: torch.device,
        precision: Precision,
        last_layer: int,
        feed: Feed,
        width: int,
        mode: str | None = None,
    ) -> None:
        """width: as config.json says. mode: to be taken if it is exact; None for the first exact one, or a faster one.

        Raises InputError for another precision than float32, CheckpointError (without the checkpoint's name).
        """
        if precision != FLOAT32:
            raise InputError(one_of("dtype", precision.name, ["auto", "float32"]))
        self.device, self.width, self._feed = device, width, feed
        self.layer_names = tuple(f"encoder.{number}" for number in range(feed.first, last_layer + 1))
        self.context_seconds = feed.fixed or feed.longest  # seconds; 0 for all of a clip
        self.longest_seconds = self.context_seconds or LONGEST_SECONDS
        self._known: dict[int, tuple[Tensor, int]] = {}  # of the clips last run, by samples: own frames, and where
        self._counts: dict[tuple[int, ...], int] = {}  # frames of packed clips, by their shape
        with failing():
            self.network = Network(model, extractor, device, last_layer, feed)
            self.proof = self._prove(mode)
        self.mode = self.proof.mode

    def in_mode(self, mode: str) -> "GenericEncoder":
        """The same network, its clips run in another mode."""
        other = copy.copy(self)
        other.mode, other._known = mode, {}
        return other

    def frames(self, n_samples: int) -> int:
        if n_samples not in self._known:
            for _ in self.states([noise(n_samples)]):
                pass
        lengths, place = self._known[n_samples]
        return int(lengths[place])

    def padded_samples(self, n_samples: int) -> int:
        return round(self._feed.fixed * self._feed.rate) or max(n_samples, self._feed.shortest)

    def states(self, clips: Sequence[Samples]) -> Iterator[LayerStates]:
        check_filled(clips)
        items = [self.network.prepare(clip) for clip in clips]
        groups = self._groups(items)
        with torch.inference_mode():
            found = [self._together([items[n] for n in group], [len(clips[n]) for n in group]) for group in groups]
        self._known = {
            len(clips[n]): (each[-1], k) for group, (_, each) in zip(groups, found) for k, n in enumerate(group)
        }
        for number, name in enumerate(self.layer_names):
            layers = [states[number] for states, _ in found]
            for states, _ in found:
                states[number] = torch.empty(0)  # one layer less is alive
            with torch.inference_mode():
                values, lengths = _joined(layers, [each[number] for _, each in found], groups)
            yield LayerStates(name, values, lengths)

    def _groups(self, items: Sequence[Item]) -> list[list[int]]:
        """Which items run together."""
        if self.mode == "alone":
            return [[place] for place in range(len(items))]
        groups: dict[object, list[int]] = defaultdict(list)
        for place, item in enumerate(items):
            groups[self.network.shape(item) if self.mode == "equal" else 0].append(place)
        return list(groups.values())

    def _together(self, items: Sequence[Item], samples: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
        """Every layer's states and own frames, of one batch."""
        network, count, first = self.network, len(items), self._feed.first
        inputs = network.collate(items)
        if self._feed.fixed:
            window = round(self._feed.fixed * self._feed.rate)
            rows = network.rows[1]
            lengths = [rows * math.ceil(min(n, window) * network.frames / rows / window) for n in samples]
            states = network.run(inputs, most=None if self._feed.whole else max(lengths)).states
            if self._feed.whole:
                return self._checked(states), [
                    on_device([values.shape[1]] * count, self.device) for values in states[first:]
                ]
            return self._checked(states), [on_device(lengths, self.device)] * len(states)
        if self._feed.packed:
            states = network.run(inputs).states
            counts = [self._counted(item) for item in items] if count > 1 else [states[0].shape[-2]]
            clips = [list(torch.split(values.flatten(end_dim=-2), counts)) for values in states]
            states = [nn.utils.rnn.pad_sequence(one, batch_first=True) for one in clips]
            return self._checked(states), [on_device(counts, self.device)] * len(states)
        if len({network.shape(item) for item in items}) == 1:
            states = network.run(inputs).states
            return self._checked(states), [
                on_device([values.shape[1]] * count, self.device) for values in states[first:]
            ]
        caught = network.run(inputs, network.follow(items, self.mode == "mended"))
        followed = [lengths for lengths in caught.lengths if lengths is not None]
        if len(followed) < len(caught.lengths):
            raise RuntimeError("own frames cannot be followed through the model")
        return self._checked(caught.states), followed[first:]

    def _counted(self, item: Item) -> int:
        """Frames of a packed item: of its shape, by running it once."""
        shape = self.network.shape(item)
        if shape not in self._counts:
            self._counts[shape] = self.network.run(item).states[0].shape[-2]
        return self._counts[shape]

    def _checked(self, states: list[Tensor]) -> list[Tensor]:
        states = states[self._feed.first :]
        if self._feed.varies:
            return states
        counts = sorted({values.shape[1] for values in states})
        if len(counts) > 1:
            raise CheckpointError(f"its layers have {counts} frames of one clip: a store holds one count of a clip")
        widths = sorted({values.shape[-1] for values in states})
        if widths != [self.width]:
            raise CheckpointError(f"its layers are {widths} wide, expected {self.width}: a store holds one width")
        return states

    def _prove(self, wanted: str | None) -> Proof:
        """Choose among the modes that are exact. Raises what a clip alone raises."""
        count = FIXED_PROOF_CLIPS if self._feed.fixed else PROOF_CLIPS
        clips = random_clips(count, self._feed.shortest, self._feed.rate)
        alone, seconds_alone = self._run(clips, "alone")
        if not all(bool(states.isfinite().all()) for clip in alone for states in clip):
            raise CheckpointError("its states of a clip alone are not finite numbers")
        self.widths = tuple(states.shape[-1] for states in alone[0])
        self.width = max(self.widths)
        errors: dict[str, float | str] = {}
        exact: dict[str, float] = {}  # seconds by mode
        for mode in PADDED:
            if mode == "mended" and (self._feed.fixed or (exact and wanted != mode)):
                continue
            errors[mode], seconds = self._error(clips, mode, alone)
            if _is_exact(errors[mode]):
                exact[mode] = seconds
        if wanted in exact:
            return Proof(wanted, len(clips), errors)
        first = next(iter(exact), None)
        quicker = first and exact[first] <= WORTH_PADDING * seconds_alone
        if first and (self._feed.fixed or wanted in PADDED or (wanted is None and quicker)):
            return Proof(first, len(clips), errors)
        pairs = [one for clip in clips for one in (clip, clip[::-1].copy())]
        errors["equal"], _ = self._error(pairs, "equal", alone)
        return Proof("equal" if _is_exact(errors["equal"]) and wanted != "alone" else "alone", len(clips), errors)

    def _error(self, clips: Sequence[Samples], mode: str, alone: list[list[Tensor]]) -> tuple[float | str, float]:
        """The worst error of a mode, or why it cannot run; and seconds. clips: one or two for each of `alone`."""
        try:
            found, seconds = self._run(clips, mode)
        except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
            if is_out_of_memory(error):
                raise
            return f"{type(error).__name__}: {error}", 0.0
        return worst_error(found[:: len(clips) // len(alone)], alone), seconds

    def _run(self, clips: Sequence[Samples], mode: str) -> tuple[list[list[Tensor]], float]:
        """Of each clip every layer's own frames; and the seconds that took."""
        began = time.monotonic()
        return own_states(self.in_mode(mode), clips, TOGETHER), time.monotonic() - began


def _is_exact(error: float | str) -> bool:
    return isinstance(error, float) and error <= BOUND


@contextmanager
def failing() -> Iterator[None]:
    """Whatever a model makes of one clip alone, as a CheckpointError."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ToolkitError) or is_out_of_memory(error):
            raise
        raise CheckpointError(f"its model fails on a clip alone: {type(error).__name__} {error}") from error


def _joined(layers: Sequence[Tensor], kept: Sequence[Tensor], groups: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """One layer's states of all groups, back in the clips' order, and their own frames."""
    if len(groups) == 1:
        return layers[0], kept[0]
    total, frames = sum(map(len, groups)), max(values.shape[1] for values in layers)
    joined = layers[0].new_zeros(total, frames, layers[0].shape[2])
    lengths = kept[0].new_zeros(total)
    for group, values, counts in zip(groups, layers, kept):
        places = on_device(group, joined.device)
        joined[places, : values.shape[1]] = values
        lengths[places] = counts
    return joined, lengths
