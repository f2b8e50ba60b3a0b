"""`toolkit probe --ray`: layer x round blocks as Ray's tasks; this process alone writes trials and results."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.core.errors import InputError, StoreError
from toolkit.core.matmul import allow_tensor_float_32, keep_kernels
from toolkit.core.ray_cluster import Cluster
from toolkit.core.ray_task import Place
from toolkit.corpus.splits import Round
from toolkit.features.store import Store
from toolkit.probe.data import Data, Layers, rows_of
from toolkit.probe.protocol import Fitter
from toolkit.probe.registry import PROBES
from toolkit.probe.round import LayerResult, test
from toolkit.probe.run import Budget, Progress, signature_of, units_of
from toolkit.probe.search import narrowed
from toolkit.probe.workers import one_thread

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from toolkit.core.study_file import StudyFile


@dataclass(frozen=True)
class Job:
    """What the blocks of a run share; identified by `key`. store: its folder, absolute. trials, inner: a block's."""

    key: str
    store: Path
    data: Data = field(compare=False)
    probe: str
    trials: int
    inner: int
    seed: int


@dataclass(frozen=True)
class Block:
    """One layer (or all, for a mix) in one round. trials: that were finished before."""

    title: str
    layers: tuple[str, ...]
    round: int
    trials: "tuple[FrozenTrial, ...]"


class Kept:
    """A block's trials on a node: `study.Trials` without a file."""

    def __init__(self, finished: "Sequence[FrozenTrial]") -> None:
        self._finished = list(finished)
        self.new: list[FrozenTrial] = []

    def finished(self, name: str, signature: str) -> "list[FrozenTrial]":
        """What the driver sent; it compares the signature."""
        return self._finished

    def append(self, name: str, trials: "Sequence[FrozenTrial]") -> None:
        self.new += trials


@dataclass(frozen=True)
class RayExecutor:
    """`toolkit.probe.run.here` by a cluster."""

    cluster: Cluster

    def __call__(
        self,
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
        """One core a block; as many at a time as the cluster has cores.

        Raises InputError for features that are no store on disk, StoreError, and what `Cluster.run` raises.
        """
        if not isinstance(features, Store):
            raise InputError("Ray's nodes read a feature store; expected one, not features in memory")
        job = Job(secrets.token_hex(8), features.folder.resolve(), data, probe, budget.trials, budget.inner, seed)
        units = units_of(features.layers, probe)

        def blocks() -> Iterator[Block]:
            for title, layers in units.items():
                for number, round_ in enumerate(rounds):
                    yield Block(title, layers, number, tuple(file.kept(_name(probe, title, round_))))

        tested: dict[str, dict[int, LayerResult]] = {title: {} for title in units}
        done = 0
        with closing(self.cluster.run(_fit, job, blocks(), self.cluster.need(most_cores=1), [job.store])) as results:
            for block, (one, mark, new) in results:
                name = _name(probe, block.title, rounds[block.round])
                file.finished(name, mark)  # raises where the study was made with other data
                file.append(name, new)
                tested[block.title][block.round] = one
                if len(tested[block.title]) == len(rounds):
                    done += 1
                    progress(block.title, done, len(units))
        return {title: [results[number] for number in range(len(rounds))] for title, results in tested.items()}


def _name(probe: str, title: str, round_: Round) -> str:
    return f"{probe} {title} round {round_.fold}"


@one_thread()  # as `here` does
def _fit(job: Job, block: Block, place: Place) -> "tuple[LayerResult, str, list[FrozenTrial]]":
    """A block's outcome, the signature of what it was fitted on, and its new trials."""
    import optuna

    keep_kernels()
    allow_tensor_float_32(False)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    fitter, mark = _fitter(job, block.layers, place.node)
    round_ = list(job.data.folds.rounds())[block.round]
    kept = Kept(block.trials)
    tested = test(
        fitter,
        job.data,
        kept,
        f"{job.probe} {block.title}",
        mark,
        narrowed(PROBES[job.probe].space, job.data.statistics, job.data.task, job.data.loss),
        job.trials,
        job.inner,
        job.seed,
        round_,
        float("inf"),
    )
    return tested, mark, kept.new


@lru_cache(maxsize=1)  # rounds of one layer tend to follow each other on a worker
def _fitter(job: Job, layers: tuple[str, ...], node: str) -> tuple[Fitter, str]:
    store = _store(job.key, job.store)
    data = job.data
    if tuple(store.ids[row] for row in data.rows) != data.folds.ids:
        raise StoreError(f"{job.store.name} is another on node {node} than when the run began; start it again")
    features = [rows_of(store.layer(layer), data.rows) for layer in layers]
    fitter = PROBES[job.probe].build(features, data.task, data.truth, job.seed, "cpu")
    space = narrowed(PROBES[job.probe].space, data.statistics, data.task, data.loss)
    return fitter, signature_of(features, data, job.probe, space, job.inner, job.seed)


@lru_cache(maxsize=1)
def _store(key: str, folder: Path) -> Store:
    """A run verifies each shard once in a worker."""
    return Store(folder)
