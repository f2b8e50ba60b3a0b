"""A small corpus whose pitch tells the label, and tiny checkpoints to train on it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.models import tiny
from toolkit import manifest
from toolkit.finetune.job import Job
from toolkit.finetune.recipe import Recipe
from toolkit.finetune.recordings import record
from toolkit.folding import Question, pose
from toolkit.manifest import Manifest, read
from toolkit.models.checkpoint import Checkpoint, locate
from toolkit.progress import quiet

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
    """One of every family, by its name in tests.models.tiny."""
    models = tmp_path_factory.mktemp("models")
    return {name: locate(str(make(models / name)), models) for name, make in tiny.FAMILIES.items()}


def make_job(
    manifest: Manifest, checkpoint: Checkpoint, target: str = "high", recipe: Recipe | None = None
) -> tuple[Job, Question]:
    question = pose(manifest, target, 3, 0)
    recordings = record(manifest, question.folds.ids, 1, quiet)
    recipe = recipe or Recipe()
    cpu = torch.device("cpu")
    job = Job(checkpoint, "clip", question.task, question.folds.ids, question.truth, recordings, recipe, 0, cpu, 1)
    return job, question
