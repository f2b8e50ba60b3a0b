"""A tiny corpus in memory: clips of several speakers, layers of noise, labels planted where a test wants them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from toolkit.corpus.labels import IntArray, Task
from toolkit.corpus.splits import Folds, make
from toolkit.features.layout import LayerFeatures
from toolkit.probe.run import probe
from toolkit.result.kinds import headline_score
from toolkit.result.run import Run

WIDTH = 12


@dataclass(frozen=True)
class Corpus:
    """A store's attributes, and what else the probe needs."""

    features: dict[str, LayerFeatures]
    task: Task
    truth: IntArray
    folds: Folds
    speakers: tuple[str, ...]
    failed: dict[str, str] = field(default_factory=dict)
    statistics: tuple[str, ...] = ("mean", "std")

    @property
    def ids(self) -> tuple[str, ...]:
        return next(iter(self.features.values())).ids

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self.features)

    def layer(self, name: str) -> LayerFeatures:
        return self.features[name]


def corpus(
    kind: str = "multiclass",
    planted: str | None = "encoder.1",
    clips_a_speaker: int = 24,
    strength: float = 2.0,
    seed: int = 0,
    layers: int = 3,
) -> Corpus:
    """Six speakers, layers of noise; `planted` alone knows the label, in its mean's first features."""
    generator = np.random.default_rng(seed)
    n = 6 * clips_a_speaker
    speakers = tuple(f"s{number}" for number in np.repeat(np.arange(6), clips_a_speaker))
    ids = tuple(f"clip-{number}" for number in range(n))
    labels = 2 if kind == "binary" else 3
    if kind == "multilabel":
        truth = (generator.random((n, labels)) < [0.5, 0.3, 0.2]).astype(np.int64)
        indicators = truth
    else:
        truth = generator.permutation(np.arange(n) % labels)
        indicators = np.eye(labels, dtype=np.int64)[truth]
    features = {}
    for name in (f"encoder.{number}" for number in range(layers)):
        mean, std = generator.standard_normal((2, n, WIDTH)).astype(np.float32)
        if name == planted:
            mean[:, :labels] += strength * indicators
        features[name] = LayerFeatures(name, ids, mean, np.abs(std))
    names = tuple("abc"[:labels])
    task = Task("feeling", kind, names, names if kind == "multilabel" else ("feeling",))  # type: ignore[arg-type]
    return Corpus(features, task, truth, make(ids, speakers, indicators, 3, 0), speakers)


Make = Callable[..., Corpus]


@pytest.fixture
def make_corpus() -> Callable[..., Corpus]:
    return corpus


def run(corpus: Corpus, folder: Path, **options: object) -> Run:
    name = str(options.get("probe", "linear"))
    options = {"trials": 10, "study": folder / f"{name}.db", "workers": 1} | options
    return probe(corpus, corpus.task, corpus.truth, corpus.folds, corpus.speakers, **options)  # type: ignore[arg-type]


def score(run: Run) -> float:
    value = headline_score(run.task, run.predictions.truth, run.predictions.prediction)
    assert value is not None
    return value
