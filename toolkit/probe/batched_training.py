"""Small networks trained together: one minibatch, one product, every network of a round's trials.

The networks share clips, minibatch order, initial draws and dropout draws, all derived from the seed and the round, and
nothing else couples them: each is, up to rounding, the network that would have been trained alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from toolkit.core import seeds
from toolkit.corpus.labels import IntArray
from toolkit.probe.targets import FloatArray
from toolkit.result.kinds import Link
from toolkit.result.links import given_out, loss_of

BATCH_CLIPS = 256  # as good as 128 on real features, 1.6 times faster
VECTORS = 32  # float32 values that the widest vector loop takes at a time
MAX_EPOCHS = 40
PATIENCE = 5  # epochs without a better development loss before a network stops
DECAY = (0.9, 0.999)  # of Adam's averages
SMALL = 1e-8  # added to Adam's denominator
APPLIED_BATCHES = 4  # of held-out clips at a time

Parameters = dict[str, Tensor]  # (networks, ...) each
Batch = Mapping[str, Tensor]  # "mean" and "std": (layers, n, width) float32, standardised
Logits = Callable[[Parameters, Batch, Tensor | None], Tensor]


@dataclass(frozen=True)
class Inputs:
    """Clips' features, standardised when a batch asks: the raw ones are shared by all rounds and never copied whole.

    layers: by the names that a batch must hold, "mean" and "std", of each layer (all clips, width) float32; clips: (n,)
    positions there; mean, scale: by the same names, (layers, 1, width) float32, none where that was done before.
    """

    layers: Mapping[str, Sequence[Tensor]]
    clips: Tensor
    mean: Mapping[str, Tensor]
    scale: Mapping[str, Tensor]

    def batch(self, rows: Tensor) -> Batch:
        clips, found = self.clips[rows], {}
        for name, layers in self.layers.items():
            gathered = layers[0].new_empty(len(layers), len(clips), layers[0].shape[1])
            for layer, into in zip(layers, gathered, strict=True):
                torch.index_select(layer, 0, clips, out=into)
            found[name] = gathered.sub_(self.mean[name]).div_(self.scale[name]) if name in self.mean else gathered
        return found

    def prepared(self, dtype: torch.dtype) -> "Inputs":
        """The same, standardised and rounded beforehand: a copy of these clips."""
        everyone = torch.arange(len(self.clips), device=self.clips.device)
        layers = {name: list(values.to(dtype)) for name, values in self.batch(everyone).items()}
        return Inputs(layers, everyone, {}, {})


class Batches(Protocol):
    """What training asks of inputs: `Inputs`, or what takes its place where a row is not one vector."""

    @property
    def clips(self) -> Tensor: ...
    def batch(self, rows: Tensor) -> Batch: ...
    def prepared(self, dtype: torch.dtype) -> "Batches": ...


@dataclass(frozen=True)
class Part:
    """Clips as the networks see them.

    columns: (n_fitted, n) 0 and 1, or numbers, in float32; weights: (networks, n_problems, n) float32.
    """

    inputs: Batches
    columns: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Stack:
    """Networks of one kind, and how each is trained.

    parameters: first values; owners: of each, the network that every row of its first axis belongs to, ascending;
    logits_of: for the networks still there, (parameters, batch, dropout draws or None) -> (networks, n_fitted, n), of
    levels one column less;
    undecayed: the names without weight decay; draws: how many random bytes a clip needs for dropout. link: see
    `result.kinds`. loss: of numbers, "mse" or "ccc". batch: clips a step; epochs: at most; patience: as PATIENCE.
    """

    parameters: Parameters
    owners: Mapping[str, Sequence[int]]
    undecayed: frozenset[str]
    logits_of: Callable[[Sequence[int]], Logits]
    draws: int
    learning_rate: Sequence[float]
    weight_decay: Sequence[float]
    link: Link
    loss: str = "mse"
    batch: int = BATCH_CLIPS
    epochs: int = MAX_EPOCHS
    patience: int = PATIENCE


@dataclass(frozen=True)
class Trained:
    """probability: (n_held_out, n_fitted) after `epochs` epochs.

    parameters: of this network, a stack of one; kept only where the epochs were given.
    """

    probability: FloatArray
    epochs: int
    parameters: Parameters


def probability_of(logits: Tensor, link: Link) -> Tensor:
    """(networks, n_fitted, n) -> (networks, n, n_fitted) float64."""
    return given_out(logits, link, 1).transpose(1, 2)


def train(stack: Stack, part: Part, held_out: Part, seed: int, name: str, epochs: int | None = None) -> list[Trained]:
    """AdamW (Loshchilov and Hutter, 2019), a learning rate and weight decay of its own for each network.

    Without `epochs` the held-out part is a development set: each network stops after `patience` epochs without a better
    loss there, and what is returned is its best epoch. With it, all train for so many epochs, and the held-out part's
    truth is not looked at.
    """
    device = part.columns.device
    order = seeds.generator(seed, name, "order")
    dropout = seeds.generator(seed, name, "dropout")
    optimiser = _Optimiser(stack, device)
    best: list[tuple[float, Trained]] = []
    for epoch in range(1, (epochs or stack.epochs) + 1):
        permuted = order.permutation(len(part.inputs.clips))
        shuffled, weights = _whole_vectors(permuted, part.weights[optimiser.alive], stack.batch)
        columns = part.columns[:, shuffled]
        for start in range(0, len(shuffled), stack.batch):
            batch = slice(start, start + stack.batch)
            clips = shuffled[batch]
            # Bytes, a share to 1/256: torch's uniform numbers took ten times as long.
            drawn = np.frombuffer(bytearray(dropout.bytes(stack.draws * len(clips))), dtype=np.uint8)
            draws = torch.from_numpy(drawn).to(device, torch.float32).view(stack.draws, len(clips))
            optimiser.step(part.inputs.batch(clips), columns[:, batch], weights[..., batch], draws)
        if epochs is not None and epoch < epochs:
            continue
        logits = _logits(optimiser, held_out.inputs, APPLIED_BATCHES * stack.batch)
        probabilities = probability_of(logits, stack.link).cpu().numpy()
        losses = np.zeros(len(optimiser.alive))
        if epochs is None:
            of = held_out.weights[optimiser.alive]
            losses = loss_of(logits, held_out.columns, of, stack.link, stack.loss).double().cpu().numpy()
        losses = np.where(np.isfinite(losses), losses, np.inf)
        for row, network in enumerate(optimiser.alive):
            if epochs is not None:
                best.append((0.0, Trained(probabilities[row], epoch, optimiser.network(row))))
            elif epoch == 1:
                best.append((losses[row], Trained(probabilities[row], epoch, {})))
            elif losses[row] < best[network][0]:
                best[network] = losses[row], Trained(probabilities[row], epoch, {})
        going = [network for network in optimiser.alive if epoch - best[network][1].epochs < stack.patience]
        if not going:
            break
        if len(going) < len(optimiser.alive):
            optimiser.keep(going)
    return [trained for _, trained in best]


def _whole_vectors(order: IntArray, weights: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Clips in this order, the last batch filled up with clips of weight 0; their weights (networks, n_problems, n).

    What is left over after the last whole vector torch computes by other code, with other last bits: where in a vector
    a network's numbers end must not depend on the other networks.
    """
    count, padding = len(order), -len(order) % VECTORS
    last = (count - 1) // batch * batch
    shuffled = functional.pad(torch.from_numpy(order).to(weights.device), (0, padding))
    weights = weights[..., shuffled]
    weights[..., count:] = 0
    weights[..., last:] *= (count + padding - last) / (count - last)  # a batch's loss is a mean
    return shuffled, weights


@torch.no_grad()
def _logits(optimiser: "_Optimiser", inputs: Batches, at_a_time: int) -> Tensor:
    """(networks, n_fitted, n) of all clips, a few at a time."""
    everyone = torch.arange(len(inputs.clips), device=inputs.clips.device)
    batches = torch.split(everyone, at_a_time)
    return torch.cat([optimiser.logits(inputs.batch(clips), None) for clips in batches], dim=2)


@dataclass(frozen=True)
class _Slices:
    """One network's rows of the stacked parameters, as views: what one fused step changes."""

    rows: Mapping[str, slice]
    rate: float
    decay: float
    values: list[Tensor]
    first: list[Tensor]
    second: list[Tensor]


class _Optimiser:
    """AdamW over stacked parameters; one fused pass over each network's."""

    def __init__(self, stack: Stack, device: torch.device) -> None:
        self._stack, self._steps = stack, 0
        self._owners = {name: list(owners) for name, owners in stack.owners.items()}
        start = {name: value.to(device, copy=True) for name, value in stack.parameters.items()}
        self._values = {name: value.requires_grad_() for name, value in start.items()}
        self._first = {name: torch.zeros_like(value) for name, value in start.items()}
        self._second = {name: torch.zeros_like(value) for name, value in start.items()}
        self.alive = list(range(len(stack.learning_rate)))
        self._arrange()

    def _arrange(self) -> None:
        """Find each network's rows of every parameter: those with weight decay, then those without."""
        self._logits = self._stack.logits_of(self.alive)
        self._slices: list[_Slices] = []
        for network in self.alive:
            rows = {
                name: slice(owners.index(network), owners.index(network) + owners.count(network))
                for name, owners in self._owners.items()
                if network in owners
            }
            for decays in (True, False):
                mine = {name: place for name, place in rows.items() if (name not in self._stack.undecayed) == decays}
                values, first, second = (
                    [group[name].detach()[place] for name, place in mine.items()]
                    for group in (self._values, self._first, self._second)
                )
                decay = self._stack.weight_decay[network] if decays else 0.0
                self._slices.append(_Slices(mine, self._stack.learning_rate[network], decay, values, first, second))

    def logits(self, inputs: Batch, draws: Tensor | None) -> Tensor:
        """(networks, n_fitted, n)."""
        return self._logits(self._values, inputs, draws)

    def network(self, row: int) -> Parameters:
        return {
            name: value.clone()
            for each in self._slices[2 * row : 2 * row + 2]
            for name, value in zip(each.rows, each.values, strict=True)
        }

    def keep(self, networks: Sequence[int]) -> None:
        self.alive = list(networks)
        for name, owners in self._owners.items():
            rows = torch.tensor([row for row, owner in enumerate(owners) if owner in networks], dtype=torch.long)
            rows = rows.to(self._first[name].device)
            self._values[name] = self._values[name].detach()[rows].requires_grad_()
            self._first[name], self._second[name] = self._first[name][rows], self._second[name][rows]
            self._owners[name] = [owner for owner in owners if owner in networks]
        for name in [name for name, owners in self._owners.items() if not owners]:
            for group in (self._owners, self._values, self._first, self._second):
                del group[name]
        self._arrange()

    def step(self, inputs: Batch, columns: Tensor, weights: Tensor, draws: Tensor) -> None:
        loss = loss_of(self.logits(inputs, draws), columns, weights, self._stack.link, self._stack.loss).sum()
        gradients = dict(zip(self._values, torch.autograd.grad(loss, list(self._values.values())), strict=True))
        self._steps += 1
        steps = torch.tensor(float(self._steps), device=loss.device)
        for each in self._slices:
            torch._fused_adamw_(
                each.values,
                [gradients[name][rows] for name, rows in each.rows.items()],
                each.first,
                each.second,
                [],
                [steps] * len(each.values),
                lr=each.rate,
                beta1=DECAY[0],
                beta2=DECAY[1],
                weight_decay=each.decay,
                eps=SMALL,
                amsgrad=False,
                maximize=False,
            )
