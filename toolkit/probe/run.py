"""The protocol: each round searches, chooses its layer and refits without having seen its own test clips."""

import hashlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.core.artifacts import cores, signature
from toolkit.core.errors import InputError, MachineError, one_of
from toolkit.core.forks import Ask
from toolkit.core.i18n import Note
from toolkit.core.imports import uncollected
from toolkit.corpus.labels import Task, Truth
from toolkit.corpus.splits import Folds, Round
from toolkit.features.layout import LayerFeatures
from toolkit.features.units import UnitFeatures
from toolkit.probe import winners as winners_folder
from toolkit.probe.assemble import chosen_layers, run_of, winner_of
from toolkit.probe.data import Data, Layers, check, matched, rows_of
from toolkit.probe.fused_rows import row_of, stated
from toolkit.probe.protocol import Fitter, Space
from toolkit.probe.registry import PROBES
from toolkit.probe.round import LayerResult, test
from toolkit.probe.search import BATCH, narrowed
from toolkit.probe.workers import in_turn
from toolkit.result.run import Run

if TYPE_CHECKING:
    from toolkit.core.study_file import StudyFile

PROTOCOL = 9  # part of every study's signature: raise it when the same setting would get another score

Progress = Callable[[str, int, int], None]  # the layer just finished, layers done, layers in all


@dataclass(frozen=True)
class Budget:
    """What a search may spend: trials, or seconds from `begun` (of `time.monotonic()`).

    inner: the folds that are held out in turn to judge each trial.
    """

    trials: int
    inner: int = 1
    begun: float = 0.0
    seconds: float = math.inf

    def deadlines(self, unit: int, units: int, rounds: int, workers: int) -> list[float]:
        """When the rounds of one layer must stop, `workers` of them running at a time and the layers one by one."""
        waves = math.ceil(rounds / workers)
        shares = [(unit + (number // workers + 1) / waves) / units for number in range(rounds)]
        return [self.begun + self.seconds * share for share in shares]


def probe(
    features: Layers,
    task: Task,
    truth: Truth,
    folds: Folds,
    groups: Sequence[str],
    *,
    study: Path,
    group: str = "speaker",
    probe: str = "linear",
    trials: int = 30,
    minutes: float | None = None,
    inner: int = 1,
    seed: int = 0,
    backbone: str = "",
    notes: Sequence[Note] = (),
    provenance: Mapping[str, Any] | None = None,
    winners: Path | None = None,
    device: str = "cpu",
    loss: str = "",
    workers: int | None = None,
    progress: Progress = lambda layer, done, total: None,
    executor: "Executor | None" = None,
) -> Run:
    """Probe every layer of a feature store by the toolkit's protocol.

    truth: (n_clips,) label indices or (n_clips, n_labels) 0 and 1; groups: (n_clips,) what an interval
    resamples, and group what they are; both in the order of folds.ids.
    study: the file of the search; a run that was stopped is resumed from it and ends in the same bytes.
    minutes: searches stop after this time instead, each layer and round having got its even share and one batch at
    least; the figures then depend on the machine.
    inner: how many folds judge each setting, held out in turn from all that are not tested: 1, development alone, up to
    all of them.
    winners: a folder for each round's refitted probe (`toolkit.probe.winners`); not saved by default.
    loss: of `fitting` numbers by networks, "mse" or "ccc"; "" for a probe that has none.
    device: one of the probe's `devices`; lightgbm's are its device_type. workers: rounds fitted at a time, the
    default: the processor's cores, one on CUDA; it does not change a figure. executor: where the fitting is done;
    default: in this process.

    In each round a search of its own per layer minimises the class-balanced log-loss on the development fold; the layer
    with the lowest is chosen; the winner is refitted on training and development clips and predicts the test fold.
    Scaler, class weights and what decisions are made by come from those clips alone.

    Raises InputError for an unknown probe or more inner folds than there are, MachineError for a device that is not
    there, SplitError for folds that leave nothing to learn or to choose by, StoreError for a study of other data.
    """
    with uncollected():
        import torch  # with Optuna two seconds, and a finished run needs none of them

        from toolkit.core.matmul import allow_tensor_float_32, keep_kernels
        from toolkit.core.study_file import StudyFile

    row = row_of(probe)
    if trials < 1:
        raise InputError(f"{trials} trials asked for; at least 1 is needed")
    if device not in row.devices and not row.torch:
        raise InputError(one_of(f"device of the probe {probe}", device, row.devices))
    if device == "cuda" and row.torch and not torch.cuda.is_available():
        raise MachineError(f"No device {device} here: torch finds no CUDA device; `--device cpu` works everywhere")
    keep_kernels()  # a batch that shrinks as its columns converge has some hundred shapes, in every round again
    allow_tensor_float_32(False)
    data = replace(matched(features, task, truth, folds, groups), loss=loss)
    rounds = list(data.folds.rounds())
    notes = [*notes, *check(data, rounds, inner)]
    at_a_time = workers or (1 if device != "cpu" else cores())
    budget = Budget(trials, inner) if minutes is None else Budget(sys.maxsize, inner, time.monotonic(), 60 * minutes)
    fit = executor or here
    tested = fit(features, data, rounds, probe, budget, seed, StudyFile(study), device, at_a_time, progress)
    if minutes is not None:
        notes.append(_minutes_note(minutes, tested))
    chosen = chosen_layers(tested)
    kept = [
        winner_of(data, probe, layer, features.layers, tested[layer][number]) for number, layer in enumerate(chosen)
    ]
    if winners is not None:
        winners_folder.write(winners, kept)
    # The test clips once more by the winners as they are kept, clip by clip: what applies them later finds the same.
    applied = winners_folder.apply(features, kept, [data.rows[round_.test] for round_ in rounds])
    return run_of(data, probe, tested, chosen, applied, kept, group, backbone, notes, provenance or {})


def units_of(layers: Sequence[str], probe: str) -> dict[str, tuple[str, ...]]:
    """What is fitted together, by its place in the layer curve: each layer alone, or all of them for a mix."""
    return {probe: tuple(layers)} if PROBES[probe].all_layers else {layer: (layer,) for layer in layers}


@dataclass(frozen=True)
class Block:
    """A layer, or all of them for a mix, in one round. end: when its search must, of `time.monotonic()`."""

    title: str
    fitter: Fitter
    space: Space
    mark: str
    round: Round
    end: float


def here(
    features: Layers,
    data: Data,
    rounds: Sequence[Round],
    probe: str,
    budget: Budget,
    seed: int,
    file: "StudyFile",
    device: str,
    workers: int,
    progress: Progress,
) -> dict[str, list[LayerResult]]:
    """Every layer's rounds, `workers` at a time on one thread each, so that no figure depends on their number."""
    from toolkit.probe.optuna_study import Asked  # as `probe`

    units = units_of(features.layers, probe)

    def blocks() -> Iterator[Block]:
        for number, (title, names) in enumerate(units.items()):
            layers = [rows_of(features.layer(name), data.rows) for name in names]
            fitter = PROBES[probe].build(layers, data.task, data.truth, seed, device)
            space = narrowed(PROBES[probe].space, data.statistics, data.task, data.loss)
            mark = signature_of(layers, data, probe, space, budget.inner, seed)
            ends = budget.deadlines(number, len(units), len(rounds), workers)
            for round_, end in zip(rounds, ends, strict=True):
                yield Block(title, fitter, space, mark, round_, end)

    def fit(block: Block, ask: Ask) -> LayerResult:
        return test(
            block.fitter, data, Asked(ask), f"{probe} {block.title}", block.mark, block.space, budget.trials,
            budget.inner, seed, block.round, block.end,
        )  # fmt: skip

    results = in_turn(fit, blocks(), workers, PROBES[probe].in_forks(device), Asked.of(file))
    tested: dict[str, list[LayerResult]] = {}
    for number, title in enumerate(units):
        tested[title] = list(islice(results, len(rounds)))
        progress(title, number + 1, len(units))
    return tested


def _minutes_note(minutes: float, tested: Mapping[str, Sequence[LayerResult]]) -> Note:
    spent = [one.trials for results in tested.values() for one in results]
    by_layer = ", ".join(f"{layer} {' '.join(str(one.trials) for one in results)}" for layer, results in tested.items())
    return Note("minutes", {"minutes": minutes, "few": min(spent), "most": max(spent), "layers": by_layer})


Executor = Callable[
    [Layers, Data, Sequence[Round], str, Budget, int, "StudyFile", str, int, Progress], dict[str, list[LayerResult]]
]  # as `here`


def signature_of(layers: Sequence[LayerFeatures], data: Data, probe: str, space: Space, inner: int, seed: int) -> str:
    """Of everything that changes a loss: features, truth, folds, space, seed, protocol."""
    return signature(
        {
            "protocol": PROTOCOL,
            "probe": probe,
            **stated(probe),
            "space": {name: str(parameter) for name, parameter in space.items()},
            "batch": BATCH,
            "inner": inner,
            "seed": seed,
            "task": [data.task.kind, list(data.task.labels)],
            "truth": _digest(data.truth),
            "folds": data.folds.sha256,
            "layers": [
                [layer.layer, _digest(layer.mean), _digest(layer.std), *_more(layer, probe)] for layer in layers
            ],
        }
    )


def _more(layer: LayerFeatures, probe: str) -> list[str]:
    """What units have besides their mean and deviation, as far as the probe reads it."""
    if not isinstance(layer, UnitFeatures) or PROBES[probe].weights is None:
        return [_digest(values) for values in layer.more.values()]
    order, counts = np.concatenate(layer.members), np.array([len(rows) for rows in layer.members])
    return [_digest(layer.clips()[order]), _digest(counts)]


def _digest(array: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
