"""Made-up but realistic runs, for every test of this room."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from toolkit.core.i18n import user_notes
from toolkit.corpus import splits
from toolkit.corpus.labels import HOTLINE, Task, one_hot
from toolkit.result.kinds import headline, headline_score
from toolkit.result.predictions import Predictions
from toolkit.result.run import Choice, Run

EMOTIONS = ("anger", "anxiety", "boredom", "disgust", "happiness", "neutral", "sadness")
TASKS = {
    "multiclass": Task("emotion", "multiclass", EMOTIONS, ("emotion",)),
    "binary": Task("negative", "binary", ("not negative", "negative"), ("negative",)),
    "multilabel": Task("hotline", "multilabel", HOTLINE, HOTLINE),
}
NAMES = ("fold", "truth", "prediction", "probability")
BINARY = Task("t", "binary", ("not t", "t"), ("t",))
RunOf = Callable[..., Run]


def picked(given: Predictions, clips: np.ndarray) -> Predictions:
    arrays = {name: getattr(given, name)[clips] for name in NAMES}
    ids, groups = (tuple(np.array(names, dtype=object)[clips]) for names in (given.ids, given.groups))
    return replace(given, ids=ids, groups=groups, **arrays)


def binary(truth: list[int], prediction: list[int], groups: list[str]) -> Predictions:
    n = len(truth)
    nothing = np.full((n, 2), np.nan)
    fold = np.zeros(n, dtype=np.int64)
    ids = tuple(map(str, range(n)))
    return Predictions(BINARY, ids, tuple(groups), fold, np.array(truth), np.array(prediction), nothing)


def make_predictions(
    task: Task, clips: int = 400, speakers: int = 10, strength: float = 2.5, seed: int = 0, truth_seed: int = 1
) -> Predictions:
    """Logits of truth times `strength` plus noise of the clip and of the speaker; some labels are rarer than others."""
    fixed, noise = np.random.default_rng(truth_seed), np.random.default_rng(seed)
    labels = len(task.labels)
    prevalence = np.linspace(1.6, 0.5, labels)
    if task.multilabel:
        truth = (fixed.random((clips, labels)) < 0.25 * prevalence).astype(np.int64)
    else:
        truth = fixed.choice(labels, clips, p=prevalence / prevalence.sum()).astype(np.int64)
    speaker = fixed.integers(0, speakers, clips)
    logits = strength * one_hot(task, truth) + noise.standard_normal((clips, labels))
    logits += 0.7 * noise.standard_normal((speakers, labels))[speaker]
    if task.multilabel:
        probability = 1 / (1 + np.exp(-(logits - strength / 2)))
        prediction = (probability > 0.5).astype(np.int64)
    else:
        probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        prediction = probability.argmax(axis=1)
    names = tuple(f"speaker{number:02d}" for number in speaker)
    fold = speaker % 5
    ids = tuple(f"{name}/{number:04d}" for number, name in enumerate(names))
    return Predictions(task, ids, names, fold.astype(np.int64), truth, prediction, probability)


def make_run(kind: str = "multiclass", layers: int = 5, clips: int = 400, speakers: int = 10, **changes: object) -> Run:
    """A run whose middle layers are best."""
    task = changes.pop("task", None) or TASKS[kind]
    assert isinstance(task, Task)
    own = {
        f"encoder.{number}": make_predictions(
            task, clips, speakers, 1.2 + 2.2 * np.sin(np.pi * (number + 0.6) / (layers + 0.4)), seed=number + 10
        )
        for number in range(layers)
    }
    best = f"encoder.{layers // 2}"
    chosen = own[best]
    folds = splits.Folds(chosen.ids, chosen.groups, chosen.fold, "speaker", 0)
    development = {}
    for layer, values in own.items():
        scores = []
        for fold in range(folds.count):
            part = values.fold == (fold + 1) % folds.count
            scores.append(headline_score(task, values.truth[part], values.prediction[part]))
        development[layer] = tuple(scores)
    content = {
        "title": f"{task.name} from whisper-tiny.en",
        "backbone": "whisper-tiny.en",
        "probe": "linear",
        "task": task,
        "metric": headline(task),
        "folds": folds,
        "predictions": chosen,
        "layers": own,
        "development": development,
        "choices": tuple(
            Choice(fold, best, {"C": 0.0123, "statistics": "both"}, development[best][fold])
            for fold in range(folds.count)
        ),
        "left_out": {"speaker03/broken": "ends early: 3 of 16000 samples per channel could be decoded"},
        "notes": user_notes(["The corpus is made up."]),
        "provenance": {
            "command": "toolkit probe --model whisper-tiny.en --target emotion",
            "toolkit": "0.1.0",
            "seed": 0,
            "weights_sha256": "ab" * 32,
            "packages": {"torch": "2.13.0", "numpy": "2.4.0"},
        },
    }
    return Run(**{**content, **changes})  # type: ignore[arg-type]


@pytest.fixture(params=list(TASKS))
def run(request: pytest.FixtureRequest) -> Run:
    return make_run(request.param)


@pytest.fixture
def predictions_of() -> Callable[..., Predictions]:
    return make_predictions


@pytest.fixture
def run_of() -> Callable[..., Run]:
    return make_run


@pytest.fixture
def tasks() -> dict[str, Task]:
    return TASKS


def tuned(run: Run, predictions: Predictions, way: str = "full", development: float = 0.8) -> Run:
    choices = tuple(
        replace(c, layer="encoder.2", setting={"layer": "encoder.2"}, development=development) for c in run.choices
    )
    costs = {"trained_parameters": 1_234_567, "seconds": 410.5, "peak_memory_bytes": 3_200_000_000,
             "bytes_on_disk": 5_000_000, "audio_seconds": 4105.0}  # fmt: skip
    return replace(
        run,
        probe=f"finetune-{way}",
        predictions=predictions,
        layers={"encoder.2": predictions},
        development={"encoder.2": tuple(development for _ in choices)},
        choices=choices,
        provenance={**run.provenance, **costs},
    )


@pytest.fixture(params=["multiclass", "binary", "multilabel"])
def runs(request: pytest.FixtureRequest, run_of: RunOf, predictions_of: Callable[..., Predictions]) -> dict[str, Run]:
    frozen = run_of(request.param)
    better = predictions_of(frozen.task, strength=6.0, seed=77)
    worse = predictions_of(frozen.task, strength=0.5, seed=78)
    weak = replace(frozen, probe="mlp", predictions=worse, layers=dict.fromkeys(frozen.layers, worse),
                   choices=tuple(replace(c, development=0.1) for c in frozen.choices))  # fmt: skip
    return {
        "e-a-finetune-full-1": tuned(frozen, better, "full", 0.9),
        "e-a-mlp-2": weak,
        "e-a-linear-3": frozen,
        "e-a-finetune-head-4": tuned(frozen, worse, "head", 0.2),
    }
