"""Studies drawn from populations of speakers who differ: in how many clips they give, what they feel, how it sounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from toolkit.corpus.labels import Task
from toolkit.result.predictions import Predictions

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Generator = np.random.Generator

BINARY = Task("negative", "binary", ("not negative", "negative"), ("negative",))
SEVEN = Task("emotion", "multiclass", tuple("abcdefg"), ("emotion",))
RARE = Task("hotline", "multilabel", tuple("abcdefghijk"), tuple("abcdefghijk"))
PREVALENCE = np.array([0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.10, 0.12, 0.15, 0.20, 0.30])  # of RARE
FOLDS = 5


@dataclass(frozen=True)
class Drawn:
    """Clips of one study.

    speaker: (n,) the number of each clip's; truth: as in Predictions; score: (n, n_labels) of one model, or
    (models, n, n_labels) of several.
    """

    task: Task
    speaker: IntArray
    truth: IntArray
    score: FloatArray

    def predictions(self, model: int | None = None) -> Predictions:
        """Of a model: its most probable label, or of RARE what lies above a threshold that is the model's own."""
        score = self.score if model is None else self.score[model]
        chosen = (score > 0).astype(np.int64) if self.task.multilabel else score.argmax(axis=1)
        probability = 1 / (1 + np.exp(-score))
        return Predictions(
            self.task, _names("", len(self.truth)), _speakers(self.speaker), self.speaker % FOLDS, self.truth, chosen,
            probability if self.task.multilabel else probability / probability.sum(axis=1, keepdims=True),
        )  # fmt: skip

    def only(self, label: int) -> "Drawn":
        """The same clips with one label of several; a label's own figures are of that label alone."""
        (name,) = self.task.labels[label : label + 1]
        one = slice(label, label + 1)
        return Drawn(Task(name, "multilabel", (name,), (name,)), self.speaker, self.truth[:, one], self.score[:, one])


@cache
def _names(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{number:05d}" for number in range(count))


def _speakers(speaker: IntArray) -> tuple[str, ...]:
    names = _names("s", int(speaker.max()) + 1)
    return tuple(names[number] for number in speaker)


def speakers(random: Generator, count: int, clips: float, spread: float = 0.8) -> IntArray:
    """Each clip's speaker: as many clips a speaker as a log-normal number of that mean gives, at least one."""
    sigma = np.sqrt(np.log(1 + spread**2))
    each = np.maximum(1, np.round(random.lognormal(np.log(clips) - sigma**2 / 2, sigma, count))).astype(np.int64)
    return np.repeat(np.arange(count), each)


def mixed(random: Generator, shape: Sequence[int], models: int, shared: float) -> FloatArray:
    """(models, *shape) normal deviates that correlate by `shared` between models."""
    each = random.standard_normal((models, *shape))
    return np.asarray(np.sqrt(shared) * random.standard_normal(tuple(shape)) + np.sqrt(1 - shared) * each)


def binary(
    random: Generator,
    count: int,
    clips: float,
    models: int = 1,
    shared: float = 0.0,
    prior: float = -0.5,
    signal: Sequence[float] = (1.4,),
) -> Drawn:
    """Speakers differ in how often they are negative (log-odds, sd 0.8), in their level and in how clear they are.

    prior: log-odds of being negative. signal: of each model, or of all.
    """
    speaker = speakers(random, count, clips)
    often = 1 / (1 + np.exp(-(prior + 0.8 * random.standard_normal(count))))
    truth = (random.random(len(speaker)) < often[speaker]).astype(np.int64)
    level = 0.4 * mixed(random, (count,), models, shared)[:, speaker]
    clear = (np.resize(signal, models)[:, None] + 0.4 * mixed(random, (count,), models, shared))[:, speaker]
    odds = clear * (truth - 0.5) + level + mixed(random, (len(speaker),), models, shared)
    score = np.stack([-odds, odds], axis=-1)
    return Drawn(BINARY, speaker, truth, score[0] if models == 1 else score)


def seven(random: Generator, count: int, clips: float, signal: float = 2.6) -> Drawn:
    """One of seven classes a clip, speakers with leanings of their own."""
    speaker = speakers(random, count, clips, 0.25)
    odds = np.exp(0.5 * random.standard_normal((count, 7)) + np.linspace(0.4, -0.4, 7))
    share = odds / odds.sum(axis=1, keepdims=True)
    truth = (share[speaker].cumsum(axis=1) < random.random((len(speaker), 1))).sum(axis=1).clip(max=6)
    score = random.standard_normal((len(speaker), 7)) + 0.7 * random.standard_normal((count, 7))[speaker]
    score[np.arange(len(speaker)), truth] += signal
    return Drawn(SEVEN, speaker, truth, score)


def rare(random: Generator, count: int, clips: float, models: int = 1, shared: float = 0.0) -> Drawn:
    """Eleven labels of 2 to 30 %, any number a clip, given 1.3 times as often as they occur."""
    speaker = speakers(random, count, clips)
    odds = np.log(PREVALENCE / (1 - PREVALENCE)) - 0.35 * (1 - 2 * PREVALENCE)
    often = 1 / (1 + np.exp(-(odds + random.standard_normal((count, 11)))))
    truth = (random.random((len(speaker), 11)) < often[speaker]).astype(np.int64)
    level = 0.4 * mixed(random, (count, 11), models, shared)[:, speaker]
    score = 1.3 * truth + level + mixed(random, (len(speaker), 11), models, shared) - _thresholds()
    return Drawn(RARE, speaker, truth, score[0] if models == 1 else score)


@cache
def _thresholds() -> FloatArray:
    random = np.random.default_rng(0)
    truth = (random.random((200_000, 11)) < PREVALENCE).astype(np.float64)
    score = 1.3 * truth + np.sqrt(1.16) * random.standard_normal(truth.shape)
    return np.array([np.quantile(score[:, k], 1 - 1.3 * PREVALENCE[k]) for k in range(11)])
