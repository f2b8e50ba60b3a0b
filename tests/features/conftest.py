"""Studies with features from elsewhere, and stores made of numbers."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import Run
from toolkit.corpus import manifest
from toolkit.features.shard import ClipRecord, FailedRecord, ShardContent
from toolkit.features.store import Store, create

SPEAKERS, CLIPS, WIDTH = 6, 6, 7  # of the study
N = SPEAKERS * CLIPS
IDS = [f"c{number}" for number in range(N)]
LAYERS, STORE_WIDTH = ("encoder.0", "encoder.1", "encoder.2"), 5  # of the store


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A workspace with a manifest and its audio, and ids.txt in another order than the manifest's."""
    rows = []
    for number in range(N):
        sound = 0.1 * (1 + number % 5) * np.sin(np.arange(800 + 40 * (5 * number % N)) * (0.05 + 0.01 * number))
        soundfile.write(tmp_path / f"{number}.wav", sound.astype(np.float32), 16_000, subtype="FLOAT")
        rows.append((IDS[number], f"{number}.wav", f"s{number // CLIPS}", ["low", "high"][number % 2]))
    manifest.write(tmp_path / "manifest.csv", ("id", "path", "speaker", "mood"), rows)
    (tmp_path / "ids.txt").write_text("".join(f"{clip}\n" for clip in reversed(IDS)))
    return tmp_path


def layers(scale: float = 1.0) -> dict[str, np.ndarray]:
    """A row for each of the reversed ids; "middle" alone knows the mood."""
    generator = np.random.default_rng(0)
    values = {name: scale * generator.standard_normal((N, WIDTH)) for name in ("first", "middle", "last")}
    values["middle"][:, 0] += 6 * scale * np.array([int(clip[1:]) % 2 for clip in reversed(IDS)])
    return values


def embed(run: Run, study: Path, file: str, *more: object, name: str = "theirs") -> tuple[int, str, str]:
    return run("features", "import", name, study / file, "-w", study, *more)


def content(first: int, count: int, failed: int = 0, scale: float = 1.0) -> ShardContent:
    generator = np.random.default_rng(first)
    clips = tuple(
        ClipRecord(
            f"clip{number}", (100, 5, None, None, None), f"{number:064x}", 16_000, ("short",) if number % 2 else ()
        )
        for number in range(first, first + count)
    )
    failures = tuple(FailedRecord(f"bad{first}-{number}", None, "is empty") for number in range(failed))
    shape = (len(LAYERS), count, STORE_WIDTH)
    statistics = {name: scale * generator.standard_normal(shape).astype(np.float32) for name in ("mean", "std")}
    return ShardContent(clips, failures, statistics)


def new_store(folder: Path, **settings: object) -> Store:
    return create(folder, "tiny", LAYERS, STORE_WIDTH, {"dtype": "float32", **settings})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three shards: 4 clips, 3 clips and a failure, a failure alone."""
    made = new_store(tmp_path)
    with made.writing() as writer:
        for part in (content(0, 4), content(4, 3, failed=1), content(7, 0, failed=1)):
            writer.commit(part)
    made.refresh()
    return made
