"""Small networks trained together: one minibatch, one product, every network of a round's trials.

The networks share clips, minibatch order, initial draws and dropout draws, all derived from the seed and the round, and
nothing else couples them: each is, up to rounding, the network that would have been trained alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from toolkit import seeds
from toolkit.probe.targets import FloatArray

BATCH_CLIPS = 128
MAX_EPOCHS = 40
PATIENCE = 5  # epochs without a better development loss before a network stops
DECAY = (0.9, 0.999)  # of Adam's averages
SMALL = 1e-8  # added to Adam's denominator
STOPPED_SHARE = 0.25  # of the networks must have stopped before the others are copied together

Parameters = dict[str, Tensor]  # (networks, ...) each
Logits = Callable[[Parameters, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Part:
    """Clips as the networks see them.

    inputs: (n, ...) float32; columns: (n, n_fitted) 0 and 1 in float32; weights: (networks, n, n_problems) float32.
    """

    inputs: Tensor
    columns: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Stack:
    """Networks of one kind, and how each is trained.

    parameters: first values; decayed: the names under weight decay; constants: per network, what is not trained;
    logits: (parameters and constants, inputs, dropout draws or None) -> (networks, n, n_fitted); draws: how many
    uniform draws a clip needs for dropout; learning_rate, weight_decay: (networks,).
    """

    parameters: Parameters
    decayed: frozenset[str]
    constants: Parameters
    logits: Logits
    draws: int
    learning_rate: Tensor
    weight_decay: Tensor
    softmax: bool


@dataclass(frozen=True)
class Trained:
    """probability: (n_held_out, n_fitted) after `epochs` epochs.

    parameters: of this network, without the first axis; kept only where the epochs were given.
    """

    probability: FloatArray
    epochs: int
    parameters: Parameters


def probability_of(logits: Tensor, softmax: bool) -> Tensor:
    """(..., n_fitted) float64."""
    return logits.double().softmax(dim=-1) if softmax else logits.double().sigmoid()


def _loss(logits: Tensor, columns: Tensor, weights: Tensor, softmax: bool) -> Tensor:
    """Weighted mean loss of each network, (networks,). logits: (networks, n, n_fitted)."""
    if softmax:
        return -((logits.log_softmax(dim=2) * columns).sum(dim=2, keepdim=True) * weights).mean(dim=(1, 2))
    return (functional.softplus(logits) - columns * logits).mul(weights).mean(dim=(1, 2))


def train(stack: Stack, part: Part, held_out: Part, seed: int, name: str, epochs: int | None = None) -> list[Trained]:
    """AdamW (Loshchilov and Hutter, 2019), a learning rate and weight decay of its own for each network.

    Without `epochs` the held-out part is a development set: each network stops after PATIENCE epochs without a better
    loss there, and what is returned is its best epoch. With it, all train for so many epochs, and the held-out part's
    truth is not looked at.
    """
    order = seeds.generator(seed, name, "order")
    dropout = torch.Generator(part.inputs.device).manual_seed(seeds.integer(seed, name, "dropout"))
    optimiser = _Optimiser(stack)
    alive = torch.arange(len(stack.learning_rate), device=part.inputs.device)
    best: list[tuple[float, Trained]] = []
    for epoch in range(1, (epochs or MAX_EPOCHS) + 1):
        shuffled = torch.from_numpy(order.permutation(len(part.inputs))).to(part.inputs.device)
        for clips in torch.split(shuffled, BATCH_CLIPS):
            draws = torch.rand(len(clips), stack.draws, generator=dropout, device=part.inputs.device)
            optimiser.step(part.inputs[clips], part.columns[clips], part.weights[alive][:, clips], draws)
        if epochs is not None and epoch < epochs:
            continue
        with torch.no_grad():
            logits = optimiser.logits(held_out.inputs, None)
            probabilities = probability_of(logits, stack.softmax).cpu().numpy()
            losses = np.zeros(len(alive))
            if epochs is None:
                losses = _loss(logits, held_out.columns, held_out.weights[alive], stack.softmax).double().cpu().numpy()
        losses = np.where(np.isfinite(losses), losses, np.inf)
        for row, network in enumerate(alive.tolist()):
            if epochs is not None:
                best.append((0.0, Trained(probabilities[row], epoch, optimiser.network(row))))
            elif epoch == 1:
                best.append((losses[row], Trained(probabilities[row], epoch, {})))
            elif losses[row] < best[network][0]:
                best[network] = losses[row], Trained(probabilities[row], epoch, {})
        going = torch.tensor([epoch - best[network][1].epochs < PATIENCE for network in alive.tolist()])
        if not going.any():
            break
        if going.double().mean() <= 1 - STOPPED_SHARE:
            optimiser.keep(going)
            alive = alive[going]
    return [trained for _, trained in best]


class _Optimiser:
    """AdamW over stacked parameters."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._steps = stack, 0
        self._values = {name: value.clone().requires_grad_() for name, value in stack.parameters.items()}
        self._first = {name: torch.zeros_like(value) for name, value in stack.parameters.items()}
        self._second = {name: torch.zeros_like(value) for name, value in stack.parameters.items()}
        self._constants = dict(stack.constants)
        self._rate, self._decay = stack.learning_rate, stack.weight_decay

    def logits(self, inputs: Tensor, draws: Tensor | None) -> Tensor:
        return self._stack.logits({**self._values, **self._constants}, inputs, draws)

    def network(self, row: int) -> Parameters:
        return {name: value[row].detach().clone() for name, value in self._values.items()}

    def keep(self, networks: Tensor) -> None:
        for group in (self._first, self._second, self._constants):
            group.update({name: value[networks] for name, value in group.items()})
        self._values = {name: value.detach()[networks].requires_grad_() for name, value in self._values.items()}
        self._rate, self._decay = self._rate[networks], self._decay[networks]

    def step(self, inputs: Tensor, columns: Tensor, weights: Tensor, draws: Tensor) -> None:
        loss = _loss(self.logits(inputs, draws), columns, weights, self._stack.softmax).sum()
        gradients = torch.autograd.grad(loss, list(self._values.values()))
        self._steps += 1
        first_correction, second_correction = (1 - decay**self._steps for decay in DECAY)
        with torch.no_grad():
            for (name, value), gradient in zip(self._values.items(), gradients, strict=True):
                rate = self._rate.view(-1, *[1] * (value.ndim - 1))
                if name in self._stack.decayed:
                    value.mul_(1 - rate * self._decay.view_as(rate))
                self._first[name].lerp_(gradient, 1 - DECAY[0])
                self._second[name].mul_(DECAY[1]).addcmul_(gradient, gradient, value=1 - DECAY[1])
                scale = self._second[name].sqrt().add_(SMALL * second_correction**0.5)
                value.addcdiv_(
                    self._first[name], scale.mul_(first_correction / second_correction**0.5 / rate), value=-1
                )
