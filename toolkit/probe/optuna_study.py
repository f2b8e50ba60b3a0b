"""Optuna studies that survive a kill: proposals in memory, finished trials on disk, the same result either way."""

import functools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from toolkit.core import seeds
from toolkit.core.artifacts import commit_file
from toolkit.core.errors import StoreError, disk_full_is_named
from toolkit.probe.protocol import LogUniform, Parameter, Setting, Space, Uniform
from toolkit.probe.search import BATCH

SIGNATURE = "signature"
LOCK_TIMEOUT_SECONDS = 60.0

# How far a setting of a batch has come: its number there, a step and its loss by then -> whether to give it up.
Report = Callable[[int, int, float], bool]
Evaluate = Callable[[Sequence[Setting], Report], Iterable[float]]
PRUNED_AFTER = 5  # finished trials, before which none is given up


@dataclass(frozen=True)
class Trial:
    """One finished trial. loss: on the clips held out, the lower the better. pruned: it was given up on the way."""

    number: int
    setting: Setting
    loss: float
    pruned: bool = False


class Trials(Protocol):
    """Where a search finds its finished trials and puts new ones: a file, or a node's share of it."""

    def finished(self, name: str, signature: str) -> list[optuna.trial.FrozenTrial]: ...
    def append(self, name: str, trials: Sequence[optuna.trial.FrozenTrial]) -> None: ...


class StudyFile:
    """The studies of one run, in one SQLite file with Optuna's own schema (optuna-dashboard opens it).

    Only finished trials are ever written, a batch in one transaction that is on the disk when it returns, so a killed
    run leaves no trial RUNNING and a power cut loses no committed one. Safe to share between threads.
    """

    def __init__(self, path: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if not path.exists():
            commit_file(path, _write_schema)
        with disk_full_is_named(path.parent):  # opening it makes a file next to it
            try:
                self._storage = _open(path)
                self._studies = {
                    name: self._storage.get_study_id_from_name(name)
                    for name in optuna.get_all_study_names(self._storage)
                }
            except Exception as error:  # SQLAlchemy's, SQLite's or Optuna's own: all say that this is no study file
                raise StoreError(
                    f"{path.name} is not a readable Optuna study file ({type(error).__name__}); "
                    "move it away to begin the search anew"
                ) from error
        self._name = path.name
        self._lock = Lock()

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of it."""
        self._storage.remove_session()
        with self._storage.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        self._storage.engine.dispose()

    def kept(self, name: str) -> list[optuna.trial.FrozenTrial]:
        """The finished trials of a study, whatever it was made with; none where there is no study yet."""
        with self._lock:
            known = name in self._studies
            return self._storage.get_all_trials(self._studies[name], deepcopy=False) if known else []

    def finished(self, name: str, signature: str) -> list[optuna.trial.FrozenTrial]:
        """The finished trials of a study, in order; the study is created if it is not there.

        signature: of everything that changes a score. Raises StoreError where the study was made with another.
        """
        with self._lock:
            if name not in self._studies:
                study = self._storage.create_new_study([StudyDirection.MINIMIZE], name)
                self._storage.set_study_user_attr(study, SIGNATURE, signature)
                self._studies[name] = study
            study = self._studies[name]
            stored = self._storage.get_study_user_attrs(study).get(SIGNATURE)
            trials = self._storage.get_all_trials(study, deepcopy=False)
            if stored is None and not trials:  # killed between the study and its signature
                self._storage.set_study_user_attr(study, SIGNATURE, signature)
            elif stored != signature:
                raise StoreError(
                    f"{self._name}: the study {name!r} was made with other clips, labels, folds, seed or search "
                    "space; expected the same. Move the file away, or take another --workspace."
                )
            return trials

    def append(self, name: str, trials: Sequence[optuna.trial.FrozenTrial]) -> None:
        """Add finished trials to a study that `finished` has opened, in order, all of them or none.

        Optuna's own way, a transaction a trial and two queries a parameter, takes five times as long.
        """
        with self._lock, Session(self._storage.engine) as session, session.begin():
            study = self._studies[name]
            before = session.query(models.TrialModel).filter_by(study_id=study).count()
            session.add_all(_row(study, before + number, trial) for number, trial in enumerate(trials))


def _row(study: int, number: int, trial: optuna.trial.FrozenTrial) -> models.TrialModel:
    """The trial in Optuna's tables."""
    value, kind = models.TrialValueModel.value_to_stored_repr(_loss(trial))
    step_of = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    return models.TrialModel(
        study_id=study,
        number=number,
        state=trial.state,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        values=[models.TrialValueModel(objective=0, value=value, value_type=kind)],
        params=[
            models.TrialParamModel(
                param_name=parameter,
                param_value=trial.distributions[parameter].to_internal_repr(value),
                distribution_json=distribution_to_json(trial.distributions[parameter]),
            )
            for parameter, value in trial.params.items()
        ],
        intermediate_values=[
            models.TrialIntermediateValueModel(
                step=step, **dict(zip(("intermediate_value", "intermediate_value_type"), step_of(loss), strict=True))
            )
            for step, loss in trial.intermediate_values.items()
        ],
    )


def _write_schema(path: Path) -> None:
    path.write_bytes(_schema())


@functools.cache
def _schema() -> bytes:
    """An SQLite file with Optuna's empty tables. Made in memory: on a disk, SQLite waits for each of them."""
    storage = RDBStorage("sqlite://", engine_kwargs={"poolclass": StaticPool})
    with storage.engine.connect() as connection:
        made: bytes = connection.connection.driver_connection.serialize()  # type: ignore[union-attr]
    storage.engine.dispose()
    return made


def _open(path: Path) -> RDBStorage:
    """An existing file, with a write-ahead log: one wait for the disk a commit, and readers never block."""
    storage = RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": LOCK_TIMEOUT_SECONDS}})

    @event.listens_for(storage.engine, "connect")
    def use_write_ahead_log(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")  # a commit waits for the disk: a power cut cannot undo it

    storage.engine.dispose()
    return storage


def distribution(parameter: Parameter) -> BaseDistribution:
    """Optuna's word for a parameter of the search space."""
    if isinstance(parameter, LogUniform):
        return FloatDistribution(parameter.low, parameter.high, log=True)
    if isinstance(parameter, Uniform):
        return FloatDistribution(parameter.low, parameter.high)
    return CategoricalDistribution(parameter.values)


def search(
    file: Trials,
    name: str,
    signature: str,
    space: Space,
    trials: int,
    seed: int,
    evaluate: Evaluate,
    deadline: float = math.inf,
) -> list[Trial]:
    """Run a study up to `trials` trials and return them all, in order.

    deadline: of `time.monotonic()`; no batch but the first is begun after it. What the file holds counts all the same.

    Optuna's TPE proposes BATCH settings at a time, `evaluate` gets the batch whole and yields one loss each, in order.
    A setting whose fit reports how far it has come is given up by Optuna's median rule: when its lowest loss so far is
    above the median of the finished trials at the same step. What was finished before it, in its batch too, decides,
    never a clock. The sampler is seeded by (seed, study, number of trials so far), and a batch that a kill left half
    written is evaluated again as a whole, so an interrupted search ends exactly where an undisturbed one does.
    """
    stored = file.finished(name, signature)
    distributions = {parameter: distribution(range_) for parameter, range_ in space.items()}
    done: list[optuna.trial.FrozenTrial] = []
    while len(done) < trials:
        start, size = len(done), min(BATCH, trials - len(done))
        whole = stored[start : start + BATCH]
        if len(whole) >= size:
            finished = whole[:size]
        elif done and time.monotonic() > deadline:
            break
        else:
            new = _evaluate_batch(done, size, distributions, seeds.integer(seed, name, start), evaluate)
            file.append(name, new[len(whole) :])
            finished = whole + new[len(whole) :]
        done += finished
    return [
        Trial(number, trial.params, _loss(trial), trial.state == TrialState.PRUNED) for number, trial in enumerate(done)
    ]


def trials_of(finished: Sequence[optuna.trial.FrozenTrial]) -> list[Trial]:
    """A study's finished trials, in order."""
    return [
        Trial(number, trial.params, _loss(trial), trial.state == TrialState.PRUNED)
        for number, trial in enumerate(finished)
    ]


def _evaluate_batch(
    history: Sequence[optuna.trial.FrozenTrial],
    size: int,
    distributions: dict[str, BaseDistribution],
    seed: int,
    evaluate: Evaluate,
) -> list[optuna.trial.FrozenTrial]:
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=BATCH)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=PRUNED_AFTER)
    study = optuna.create_study(direction="minimize", sampler=sampler, pruner=pruner)
    study.add_trials(history)
    trials = [study.ask(distributions) for _ in range(size)]
    pruned = set()

    def report(number: int, step: int, loss: float) -> bool:
        trials[number].report(loss, step)
        if trials[number].should_prune():
            pruned.add(number)
        return number in pruned

    losses = evaluate([trial.params for trial in trials], report)
    return [
        study.tell(trial, state=TrialState.PRUNED) if number in pruned else study.tell(trial, float(loss))
        for (number, trial), loss in zip(enumerate(trials), losses, strict=True)
    ]


def _loss(trial: optuna.trial.FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def best(trials: Sequence[Trial]) -> Trial:
    """The lowest loss of those that were not given up; of equals the earliest."""
    return min((trial for trial in trials if not trial.pruned), key=lambda trial: (trial.loss, trial.number))
