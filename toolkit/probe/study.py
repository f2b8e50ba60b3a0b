"""Optuna studies that survive a kill: proposals in memory, finished trials on disk, the same result either way."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from sqlalchemy import event

from toolkit import seeds
from toolkit.errors import StoreError
from toolkit.probe.search import BATCH, LogUniform, Parameter, Setting, Space, Uniform
from toolkit.runs import commit_file

SIGNATURE = "signature"
LOCK_TIMEOUT_SECONDS = 60.0

Evaluate = Callable[[Sequence[Setting]], Sequence[float]]


@dataclass(frozen=True)
class Trial:
    """One finished trial. score: the development set's headline metric, 0..1."""

    number: int
    setting: Setting
    score: float


class StudyFile:
    """The studies of one run, in one SQLite file with Optuna's own schema (optuna-dashboard opens it).

    Only finished trials are ever written, each in a transaction, so a killed run leaves no trial RUNNING.
    Safe to share between threads.
    """

    def __init__(self, path: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if not path.exists():
            commit_file(path, _write_schema)
        try:
            self._storage = _open(path)
            self._studies = {
                name: self._storage.get_study_id_from_name(name) for name in optuna.get_all_study_names(self._storage)
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

    def finished(self, name: str, signature: str) -> list[optuna.trial.FrozenTrial]:
        """The finished trials of a study, in order; the study is created if it is not there.

        signature: of everything that changes a score. Raises StoreError where the study was made with another.
        """
        with self._lock:
            if name not in self._studies:
                study = self._storage.create_new_study([StudyDirection.MAXIMIZE], name)
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
        """Add finished trials to a study that `finished` has opened, in order."""
        with self._lock:
            for trial in trials:
                self._storage.create_new_trial(self._studies[name], template_trial=trial)


def _write_schema(path: Path) -> None:
    RDBStorage(f"sqlite:///{path}").engine.dispose()


def _open(path: Path) -> RDBStorage:
    """An existing file, with a write-ahead log: ten times fewer waits for the disk, and readers never block."""
    storage = RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": LOCK_TIMEOUT_SECONDS}})

    @event.listens_for(storage.engine, "connect")
    def use_write_ahead_log(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

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
    file: StudyFile,
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

    Optuna's TPE proposes BATCH settings at a time, `evaluate` gets the batch whole and returns one score each. The
    sampler is seeded by (seed, study, number of trials so far), and a batch that a kill left half written is
    evaluated again as a whole, so an interrupted search ends exactly where an undisturbed one does.
    """
    stored = file.finished(name, signature)
    distributions = {parameter: distribution(range_) for parameter, range_ in space.items()}
    done: list[Trial] = []
    study = optuna.create_study(direction="maximize")
    while len(done) < trials:
        start, size = len(done), min(BATCH, trials - len(done))
        whole = stored[start : start + BATCH]
        if len(whole) >= size:
            finished = whole[:size]
        elif done and time.monotonic() > deadline:
            break
        else:
            new = _evaluate_batch(study.trials, size, distributions, seeds.integer(seed, name, start), evaluate)
            file.append(name, new[len(whole) :])
            finished = whole + new[len(whole) :]
        study.add_trials(finished)
        done += [Trial(start + number, trial.params, _score(trial)) for number, trial in enumerate(finished)]
    return done


def _evaluate_batch(
    history: list[optuna.trial.FrozenTrial],
    size: int,
    distributions: dict[str, BaseDistribution],
    seed: int,
    evaluate: Evaluate,
) -> list[optuna.trial.FrozenTrial]:
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=BATCH)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(history)
    settings = [study.ask(distributions).params for _ in range(size)]
    return [
        optuna.trial.create_trial(params=setting, distributions=distributions, value=float(score))
        for setting, score in zip(settings, evaluate(settings), strict=True)
    ]


def _score(trial: optuna.trial.FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def best(trials: Sequence[Trial]) -> Trial:
    """The highest score; of equals the earliest."""
    return max(trials, key=lambda trial: (trial.score, -trial.number))
