"""One layer in one round: searched, judged on clips held out, fitted again on all that is not tested, tested."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toolkit.corpus.labels import IntArray, Task, Truth
from toolkit.corpus.splits import Round
from toolkit.probe.data import Data, Part, inner_parts, parts_of
from toolkit.probe.protocol import Fitter, Found, GiveUp, Model, Setting, Space, middle
from toolkit.probe.targets import FloatArray, targets_of
from toolkit.result.kinds import criterion, decide, headline_score
from toolkit.result.thresholds import Scale, bars_of, scale_of, thresholds_of

if TYPE_CHECKING:
    from toolkit.probe.optuna_study import Report, Trials

PARTS = 10  # of the clips that are not tested, at most, which are held out in turn for thresholds


@dataclass(frozen=True)
class Applied:
    """A setting fitted on one part of the clips, and its output for the other.

    probability: (n_held_out, n_labels); of a regression numbers. prevalence, scale: of the clips that it was fitted
    on; of numbers, mean and deviation.
    """

    part: Part
    probability: FloatArray
    prevalence: FloatArray
    scale: Scale
    model: Model

    def scores(self) -> FloatArray:
        """(n_held_out, n_labels) standardised; NaN for a label that the part could not teach."""
        learnt = (self.prevalence > 0) & (self.prevalence < 1)
        return np.where(learnt, self.scale.scores(self.probability), np.nan)

    def bars(self, task: Task, thresholds: FloatArray) -> FloatArray:
        """(n_labels,) what this model's probabilities are compared with."""
        return bars_of(task, self.prevalence, self.scale, thresholds)


@dataclass(frozen=True)
class LayerResult:
    """One layer in one round.

    loss, development: of the winner of `trials`, the criterion it won by and its headline metric on development, None
    where undefined. bars: what its probabilities are compared with. prediction: of the round's test clips. layers: that
    a fusion reads in this round.
    """

    round: Round
    trials: int
    setting: Setting
    loss: float
    development: float | None
    bars: FloatArray
    prediction: Truth
    applied: Applied
    layers: tuple[str, ...] = ()


def test(
    fitter: Fitter,
    data: Data,
    file: "Trials",
    title: str,
    mark: str,
    space: Space,
    trials: int,
    inner: int,
    seed: int,
    round_: Round,
    deadline: float,
) -> LayerResult:
    """Search a space, judge the winner on clips held out, refit it on all but the test clips, predict those.

    inner: how many folds are held out in turn to judge a setting, development first; the mean of their losses counts.
    """
    from toolkit.probe.optuna_study import best, search  # as in `probe.run.probe`

    task, name = data.task, f"{title} round {round_.fold}"
    parts = inner_parts(data.folds, round_, inner)

    def losses(settings: Sequence[Setting], report: "Report") -> Iterator[float]:
        return _losses(fitter, data, parts, settings, name, report)

    finished = search(file, name, mark, space, trials, seed, losses, deadline)
    winner = best(finished)
    fits = [fit for part in parts for fit in fitter.search(part.train, part.held_out, [winner.setting], name)]
    found = middle([fit.found for fit in fits])
    thresholds = np.empty(0)
    if task.multilabel:
        thresholds, decided = _thresholds(fitter, data, round_, winner.setting, found, name)
    else:
        decided = decide(task, fits[0].probability, targets_of(task, data.truth[round_.train]).prevalence)
    development = headline_score(task, data.truth[round_.development], decided)
    refitted_on = Part(np.union1d(round_.train, round_.development), round_.test)
    applied = refitted(fitter, data, refitted_on, winner.setting, found, name)
    bars = applied.bars(task, thresholds)
    prediction = decide(task, applied.probability, bars)
    return LayerResult(round_, len(finished), winner.setting, winner.loss, development, bars, prediction, applied)


def once(fitter: Fitter, data: Data, round_: Round, setting: Setting, name: str) -> tuple[float, Found]:
    """One setting on the development fold without a search: its loss, and what a refit takes over."""
    part = Part(round_.train, round_.development)
    (fit,) = fitter.search(part.train, part.held_out, [setting], name)
    return loss_of(data, part, fit.probability), fit.found


def predicted(fitter: Fitter, data: Data, round_: Round, setting: Setting, found: Found, name: str) -> Truth:
    """What a setting, fitted again as a winner is, decides of the round's test clips."""
    part = Part(np.union1d(round_.train, round_.development), round_.test)
    applied = refitted(fitter, data, part, setting, found, name)  # first: a round's first fit settles bins and axes
    thresholds = np.empty(0)
    if data.task.multilabel:
        thresholds, _ = _thresholds(fitter, data, round_, setting, found, name)
    return decide(data.task, applied.probability, applied.bars(data.task, thresholds))


def _losses(
    fitter: Fitter, data: Data, parts: Sequence[Part], settings: Sequence[Setting], name: str, report: "Report"
) -> Iterator[float]:
    """Of each setting, over the parts. One that is given up on the first part is given up on the others."""
    given_up: set[int] = set()

    def first(number: int, step: int, probability: FloatArray) -> bool:
        if report(number, step, loss_of(data, parts[0], probability)):
            given_up.add(number)
        return number in given_up

    def others(number: int, step: int, probability: FloatArray) -> bool:
        return number in given_up

    give_ups: list[GiveUp] = [first, *[others] * (len(parts) - 1)]
    searches = [
        fitter.search(part.train, part.held_out, settings, name, give_up) for part, give_up in zip(parts, give_ups)
    ]
    for fits in zip(*searches, strict=True):
        yield float(np.mean([loss_of(data, part, fit.probability) for part, fit in zip(parts, fits, strict=True)]))


def loss_of(data: Data, part: Part, probability: FloatArray) -> float:
    """What a search minimises, of a fit's probabilities (n_held_out, n_labels)."""
    return criterion(data.task, data.truth[part.held_out], probability, data.truth[part.train], data.loss)


def refitted(fitter: Fitter, data: Data, part: Part, setting: Setting, found: Found, name: str) -> Applied:
    """A setting fitted on `part.train` and applied to `part.held_out`, standardised by its output for its own clips."""
    fit = fitter.refit(part.train, np.append(part.held_out, part.train), setting, found, name)
    probability, training = np.split(fit.probability, [len(part.held_out)])
    targets = targets_of(data.task, data.truth[part.train])
    scale = Scale(targets.prevalence, targets.spread) if data.task.regression else scale_of(training)
    return Applied(part, probability, targets.prevalence, scale, fit.model)


def _thresholds(
    fitter: Fitter, data: Data, round_: Round, setting: Setting, found: Found, name: str
) -> tuple[FloatArray, IntArray]:
    """A multilabel task's thresholds, (n_labels,), and what they make of the development clips.

    They are chosen on all the round's clips but the test's, each scored by a model that was not fitted on it: one
    development fold has so few positives of a rare label that the best threshold there is chance. What is decided of
    development was thus chosen by it, too, and is optimistic.
    """
    task = data.task
    parts = [
        part
        for part in parts_of(data.folds, round_, PARTS)
        if len(targets_of(task, data.truth[part.train]).fitted)  # else there is nothing to learn
    ]
    every = [refitted(fitter, data, part, setting, found, name) for part in parts]
    clips = np.concatenate([part.held_out for part in parts])
    thresholds = thresholds_of(task, data.truth[clips], np.concatenate([one.scores() for one in every]))
    decided = np.zeros_like(data.truth)
    for one in every:
        decided[one.part.held_out] = decide(task, one.probability, one.bars(task, thresholds))
    return thresholds, decided[round_.development]
