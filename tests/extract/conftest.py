"""A corpus and tiny backbones to extract."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import soundfile

from tests.models import tiny
from toolkit.corpus import manifest as manifests
from toolkit.corpus.manifest import Manifest
from toolkit.models.checkpoint import Checkpoint, inspect

RATES = (16_000, 8_000, 22_050)


def corpus(folder: Path, count: int = 7, broken: Sequence[int] = ()) -> Manifest:
    """Clips of 0.3 s to 1.5 s at several rates; those in `broken` are cut in their middle."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        rate = RATES[number % len(RATES)]
        path = folder / f"{number}.wav"
        soundfile.write(path, tiny.speech_like(0.3 + 0.2 * (number * 4 % 7), seed=number, rate=rate), rate)
        if number in broken:
            path.write_bytes(path.read_bytes()[:3000])
        rows.append((f"clip{number}", path.name, f"s{number % 3}"))
    manifests.write(folder / "manifest.csv", ("id", "path", "speaker"), rows)
    return manifests.read(folder / "manifest.csv")


@pytest.fixture(scope="module")
def hubert(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return inspect(tiny.hubert(tmp_path_factory.mktemp("models") / "tiny-hubert"), "tiny-hubert")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return inspect(tiny.whisper(tmp_path_factory.mktemp("models") / "tiny-whisper"), "tiny-whisper")
