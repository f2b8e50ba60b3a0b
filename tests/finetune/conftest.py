"""A small corpus whose pitch tells the label, and tiny checkpoints to train on it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.models import tiny
from toolkit.core.progress import quiet
from toolkit.corpus import manifest
from toolkit.corpus.evaluation_task import EvaluationTask, build_task
from toolkit.corpus.manifest import Manifest, read
from toolkit.corpus.spellings import REFUSE, Rules
from toolkit.corpus.splits import Round
from toolkit.finetune.audio_cache import record
from toolkit.finetune.options import Recipe
from toolkit.finetune.round_context import Job
from toolkit.finetune.training import train
from toolkit.models.checkpoint import Checkpoint, locate
from toolkit.result import run as result_run
from toolkit.result import run_files
from toolkit.result.predictions import Predictions

Run = Callable[..., tuple[int, str, str]]
QUICK = ("--epochs", 2, "--batch-size", 4, "--dtype", "float32", "--device", "cpu", "--workers", 1)
COLUMNS = ("id", "path", "speaker", "high", "noisy", "never", "kind")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace: 36 clips of 6 speakers, without checkpoints."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = []
    for number in range(36):
        low, noisy = number % 2, (number // 2 + number // 6) % 3 == 0
        time = np.arange(int(16_000 * (0.25 + 0.01 * (number % 7)))) / 16_000
        tone = sum(np.sin(2 * np.pi * (120 + 130 * low) * harmonic * time) / harmonic for harmonic in range(1, 9))
        noise = np.random.default_rng(number).standard_normal(len(time))
        soundfile.write(folder / f"{number}.wav", 0.1 * tone + (0.1 if noisy else 0.01) * noise, 16_000)
        speaker = f"s{number % 6 // 2 + 3 * (number // 18)}"
        labels = (str(low), str(int(noisy)), "0", ("low", "high", "mixed")[number % 3])
        rows.append((f"clip{number}", f"{number}.wav", speaker, *labels))
    manifest.write(folder / "manifest.csv", COLUMNS, rows)
    return folder


@pytest.fixture(scope="session")
def manifest_of(corpus: Path) -> Manifest:
    return read(corpus / "manifest.csv")


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    """One of every family, by its name in tests.models.tiny, made when it is first asked for."""
    models = tmp_path_factory.mktemp("models")

    class Made(dict[str, Checkpoint]):
        def __missing__(self, name: str) -> Checkpoint:
            self[name] = locate(str(tiny.FAMILIES[name](models / name)), models)
            return self[name]

    return Made()


def make_job(
    manifest: Manifest, checkpoint: Checkpoint, target: str = "high", recipe: Recipe | None = None,
    rules: Rules = REFUSE,
) -> tuple[Job, EvaluationTask]:  # fmt: skip
    question = build_task(manifest, target, 3, 0, rules=rules)
    recordings = record(manifest, question.folds.ids, 1, quiet)
    recipe = recipe or Recipe()
    cpu = torch.device("cpu")
    job = Job(checkpoint, "clip", question.task, question.folds.ids, question.truth, recordings, recipe, 0, cpu, 1)
    return job, question


def fewer(round_: Round, clips: int = 8) -> Round:
    """A round of fewer clips in each part, where what is learnt does not matter."""
    return Round(round_.fold, round_.train[:clips], round_.development[:clips], round_.test[:clips])


@pytest.fixture(scope="module")
def study(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "workspace"
    shutil.copytree(corpus, folder)
    tiny.hubert(folder / "models" / "tiny-hubert")
    tiny.whisper(folder / "models" / "tiny-whisper")
    return folder


@pytest.fixture(scope="module")
def probed(study: Path) -> Path:
    """A probe run of the corpus, as `toolkit probe` leaves it; its figures are made up."""
    question = build_task(read(study / "manifest.csv"), "high", 3, 0)
    probability = np.random.default_rng(0).dirichlet((1, 1), len(question.truth))
    predictions = Predictions(question.task, question.folds.ids, question.groups, question.folds.fold, question.truth,
                              probability.argmax(axis=1), probability)  # fmt: skip
    layers = ("encoder.1", "encoder.2")
    chosen = (("encoder.1", "both", "balanced"), ("encoder.2", "mean", "none"), ("encoder.1", "std", "balanced"))
    checkpoint = locate("tiny-hubert", study / "models")
    run = result_run.Run(
        "high from tiny-hubert", "tiny-hubert", "linear", question.task, "unweighted_average_recall", question.folds,
        predictions, dict.fromkeys(layers, predictions), dict.fromkeys(layers, (0.5, 0.6, 0.7)),
        tuple(result_run.Choice(fold, layer, {"C": 1.0, "statistics": statistics, "class_weights": weights}, 0.6)
              for fold, (layer, statistics, weights) in enumerate(chosen)), {}, (),
        {"features": {"weights_sha256": checkpoint.weights_sha256}, "folds": question.folds.sha256},
        losses=dict.fromkeys(layers, (0.6, 0.5, 0.4)),
    )  # fmt: skip
    folder = study / "result" / "high-tiny-hubert-linear-0123456789ab"
    run_files.write(folder, run)
    return folder


def finetune(run: Run, study: Path, *more: object) -> tuple[int, str, str]:
    return run("finetune", *QUICK, *more, "-w", study)


SHORT = {"epochs": 2, "patience": 2, "batch_size": 4, "head_epochs": 0}


def one_round(
    manifest: Manifest, checkpoint: Checkpoint, folder: Path, recipe: Recipe, layer: str, target: str = "high",
    clips: int = 12,
):  # type: ignore[no-untyped-def] # fmt: skip
    """clips: in each part, of 12."""
    job, question = make_job(manifest, checkpoint, target, recipe)
    (round_, *_) = question.folds.rounds()
    folder.mkdir(exist_ok=True)
    return train(job, fewer(round_, clips), layer, folder, lambda sentence: None)


def relabelled(study: Path, folder: Path, column: str, label: Callable[[int, str], object]) -> tuple[object, ...]:
    """Options of finetune for the study's manifest with one more column. label: of a clip's number and speaker."""
    head, *rows = [line.split(",") for line in (study / "manifest.csv").read_text().splitlines()]
    new = [[*row, str(label(number, row[head.index("speaker")]))] for number, row in enumerate(rows)]
    manifest.write(folder / f"{column}.csv", (*head, column), new)
    return ("--manifest", folder / f"{column}.csv", "--audio-root", study, "--model", "tiny-hubert", "--folds", 3)
