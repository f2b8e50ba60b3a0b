"""Searches that survive a kill: proposals in memory, finished trials on disk, the same result either way."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from toolkit.core import seeds
from toolkit.core.forks import Ask
from toolkit.probe.protocol import LogUniform, Parameter, Setting, Space, Uniform
from toolkit.probe.search import BATCH

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
    """Where a search finds its finished trials and puts new ones: a `StudyFile`, or a node's share of it."""

    def finished(self, name: str, signature: str) -> list[optuna.trial.FrozenTrial]: ...
    def append(self, name: str, trials: Sequence[optuna.trial.FrozenTrial]) -> None: ...


@dataclass(frozen=True)
class Asked:
    """The `Trials` of the process that waits for this one's work (`toolkit.probe.workers`)."""

    ask: Ask

    def finished(self, name: str, signature: str) -> list[optuna.trial.FrozenTrial]:
        found: list[optuna.trial.FrozenTrial] = self.ask("finished", name, signature)
        return found

    def append(self, name: str, trials: Sequence[optuna.trial.FrozenTrial]) -> None:
        self.ask("append", name, trials)

    @staticmethod
    def of(file: Trials) -> Ask:
        """What answers there."""
        return lambda method, *given: getattr(file, method)(*given)


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

    deadline: of `time.monotonic()`; no batch but the first starts after it. What the file holds counts all the same.

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
    return trials_of(done)


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
