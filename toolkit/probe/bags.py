"""The mil probes' networks, stacked: what each clip of a unit says, and how much it weighs there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from toolkit.core import seeds
from toolkit.probe.batched_layers import product
from toolkit.probe.batched_training import VECTORS, Batch, Parameters, Stack
from toolkit.probe.mlp import shapes
from toolkit.probe.protocol import Setting
from toolkit.probe.search import numbers
from toolkit.probe.targets import Targets

GATED = 16  # width of the attention's two layers; twice as many take twice the time
WIDTH = 32  # of the recurrent state
BATCH_UNITS = 32  # a step; there are far fewer units than clips
EPOCHS, PATIENCE = 60, 10  # a rare clip is found late


@dataclass(frozen=True)
class Bags:
    """Units as their clips' features, standardised when a batch asks.

    clips: (n,) the positions of the units in `members`. features: (all clips, width). members: of every unit its clips'
    rows there. mean, scale: (width,), None where that was done before.
    """

    clips: Tensor
    features: Tensor
    members: Sequence[Tensor]
    mean: Tensor | None
    scale: Tensor | None

    def batch(self, rows: Tensor) -> Batch:
        """mean: (n_clips, width) of all of the units' clips; place, there: (units, longest) the row of each clip of
        each unit, and whether there is one."""
        members = [self.members[unit] for unit in self.clips[rows].tolist()]
        counts = torch.tensor([len(one) for one in members], device=self.features.device)
        starts = counts.cumsum(0) - counts
        step = torch.arange(int(counts.max()), device=counts.device)
        there = step[None] < counts[:, None]
        places = torch.cat(members)
        whole = functional.pad(places, (0, -len(places) % VECTORS))  # see `batched_training._whole_vectors`
        place = torch.where(there, starts[:, None] + step[None], 0)
        return {"mean": self._scaled(whole), "place": place, "there": there}

    def _scaled(self, places: Tensor) -> Tensor:
        found = self.features[places]
        return found if self.mean is None or self.scale is None else found.sub_(self.mean).div_(self.scale)

    def prepared(self, dtype: torch.dtype) -> "Bags":
        """The same, standardised and rounded beforehand: a copy of these units' clips."""
        members = [self.members[unit] for unit in self.clips.tolist()]
        ends = torch.tensor([len(one) for one in members]).cumsum(0).tolist()
        rows = [torch.arange(end - len(one), end, device=self.clips.device) for one, end in zip(members, ends)]
        features = self._scaled(torch.cat(members)).to(dtype)
        return Bags(torch.arange(len(members), device=self.clips.device), features, rows, None, None)


def _softmax(score: Tensor, batch: Batch) -> Tensor:
    """(networks, n_clips) -> (networks, units, longest) shares that add up to 1 in each unit."""
    laid = score[:, batch["place"]].masked_fill(~batch["there"], -torch.inf)
    return laid.softmax(dim=2)


def _seen(parameters: Parameters, batch: Batch) -> Tensor:
    """(networks, outputs of "read", n_clips), one product for all networks."""
    read = parameters["read"]
    seen = product(read.flatten(0, 1), batch["mean"], [read.shape[1]] * len(read))
    return seen.view(*read.shape[:2], -1) + parameters["read_bias"]


def attention(parameters: Parameters, batch: Batch) -> tuple[Tensor, Tensor]:
    """Gated attention (Ilse, Tomczak and Welling, ICML 2018, eq. 9) over the clips of a unit, in no order.

    "read" (networks, 2 GATED + outputs, inputs): V and U of the attention, and the head, which by linearity goes over
    every clip before they are summed up; "score" (networks, 1, GATED): w. Returns what each clip says, (networks,
    outputs, units, longest), and weighs, (networks, units, longest).
    """
    seen = _seen(parameters, batch)
    gated = seen[:, :GATED].tanh() * seen[:, GATED : 2 * GATED].sigmoid()
    share = _softmax((parameters["score"] @ gated)[:, 0], batch)
    return seen[:, 2 * GATED :][:, :, batch["place"]], share


def recurrent(parameters: Parameters, batch: Batch) -> tuple[Tensor, Tensor]:
    """A gated recurrent unit (Cho et al., EMNLP 2014) over the clips in the order of time, and attention over its
    states.

    "read" (networks, WIDTH, inputs): to the units' input; "input", "state" (networks, 3 WIDTH, WIDTH): reset, update
    and candidate; "score" (networks, 1, WIDTH), "head" (networks, outputs, WIDTH): of a state. Returns as `attention`.
    """
    seen = _seen(parameters, batch).tanh()
    given = (parameters["input"] @ seen + parameters["input_bias"])[:, :, batch["place"]]
    state = given.new_zeros(len(given), WIDTH, given.shape[2])
    states = []
    for step in range(given.shape[3]):
        now, before = given[..., step], parameters["state"] @ state
        gates = (now[:, : 2 * WIDTH] + before[:, : 2 * WIDTH]).sigmoid()
        reset, update = gates[:, :WIDTH], gates[:, WIDTH:]
        candidate = (now[:, 2 * WIDTH :] + reset * before[:, 2 * WIDTH :]).tanh()
        state = candidate + update * (state - candidate)  # what comes after a unit's last clip has no share
        states.append(state)
    every = torch.stack(states, dim=3)
    score = torch.einsum("now,nwbt->nobt", parameters["score"], every)[:, 0]
    share = score.masked_fill(~batch["there"], -torch.inf).softmax(dim=2)
    return torch.einsum("now,nwbt->nobt", parameters["head"], every), share


Reader = Callable[[Parameters, Batch], tuple[Tensor, Tensor]]


def logits(reader: Reader, parameters: Parameters, batch: Batch) -> Tensor:
    """(networks, outputs, units): what the clips say, by what they weigh."""
    outputs_of_clips, share = reader(parameters, batch)
    return (outputs_of_clips * share[:, None]).sum(dim=3) + parameters["bias"]


def bag_stack(reader: Reader, inputs: int, targets: Targets, settings: Sequence[Setting], seed: int) -> Stack:
    """First values uniform after Glorot and Bengio (2010), the head's 0."""
    (outputs, bends), networks = shapes(targets), len(settings)
    shape = {
        "read": ((2 * GATED if reader is attention else WIDTH), inputs),
        **({} if reader is attention else {"input": (3 * WIDTH, WIDTH), "state": (3 * WIDTH, WIDTH)}),
        "score": (1, GATED if reader is attention else WIDTH),
    }
    generator = torch.Generator().manual_seed(seeds.integer(seed, "bags"))
    drawn = {
        name: (2 * torch.rand(sizes, generator=generator) - 1) * (6 / sum(sizes)) ** 0.5
        for name, sizes in shape.items()
    }
    if reader is attention:
        drawn["read"] = torch.cat([drawn["read"], torch.zeros(outputs, inputs)])
    else:
        drawn |= {"head": torch.zeros(outputs, WIDTH), "input_bias": torch.zeros(3 * WIDTH, 1)}
    drawn["read_bias"] = torch.zeros(len(drawn["read"]), 1)
    parameters = {name: value.repeat(networks, 1, 1) for name, value in drawn.items()}
    parameters["bias"] = bends.repeat(networks, 1, 1)
    return Stack(
        parameters=parameters,
        owners={name: list(range(networks)) for name in parameters},
        undecayed=frozenset(name for name in parameters if "bias" in name),
        logits_of=lambda alive: lambda values, batch, draws: logits(reader, values, batch),
        draws=0,
        learning_rate=numbers(settings, "learning_rate"),
        weight_decay=numbers(settings, "weight_decay"),
        link=targets.link,
        loss=str(settings[0].get("loss", "mse")),
        batch=BATCH_UNITS,
        epochs=EPOCHS,
        patience=PATIENCE,
    )
