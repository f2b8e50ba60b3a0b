"""A misspelt name is refused before anything is written: no lock, no folds, no folder."""

from pathlib import Path

import pytest
import soundfile

from tests.conftest import Run
from tests.models import tiny
from toolkit.corpus import manifest
from toolkit.models.checkpoint import locate


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    rows = []
    for number in range(12):
        soundfile.write(folder / f"{number}.wav", tiny.speech_like(0.3, seed=number), 16_000)
        rows.append((f"clip{number}", f"{number}.wav", f"speaker{number // 2}", ["low", "high"][number % 2]))
    manifest.write(folder / "manifest.csv", ("id", "path", "speaker", "mood"), rows)
    locate(str(tiny.hubert(folder / "models" / "mine")), folder / "models")  # its first use pins it
    return folder


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """What is in the workspace, and when it was last written; a folder in which a file came and went, too."""
    stats = {str(path.relative_to(folder)): path.stat() for path in (folder, *folder.rglob("*"))}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


BEFORE_EXTRACTION = {
    "extract --model mime": "Bad model 'mime'",
    "extract --model mine --layers encoder.x": "Bad --layers",
    "extract --model mine --dtype half": "Bad dtype 'half'",
    "probe --model mime --target mood": "mime",
    "probe --model mine --target mod": "No features of 'mine'",
    "compare nowhere": "nowhere",
}
AFTER_PROBING = {
    "probe --model mime --target mood": "mime",
    "probe --model mine --target mod": "No label column 'mod'",
    "probe --model mine --target mood --probe linaer": "Bad probe 'linaer'",
    "probe --model mine --target mood --nuisance agee": "agee",
    "finetune --from mood-mime": "mood-mime",
    "finetune --from RUN --train fulll": "fulll",
    "finetune --model mime --target mood": "mime",
    "finetune --model mine --target mod --layer 3": "mod",
    "predict 0.wav --from mood-mime --output scores": "mood-mime",
    "predict noo.wav --from RUN --output scores": "noo.wav",
    "compare mood-mime": "mood-mime",
    "compare RUN --subgroups agee": "agee",
}


@pytest.mark.parametrize("words", BEFORE_EXTRACTION)
def test_before_there_is_anything(run: Run, study: Path, words: str) -> None:
    _is_refused(run, study, words.split(), BEFORE_EXTRACTION[words])


@pytest.fixture(scope="module")
def probed(study: Path) -> str:
    """The name of a run, once there is one."""
    import toolkit

    workspace = toolkit.open(study)
    workspace.extract("mine", dtype="float32")
    return workspace.probe("mine", target="mood", folds=3, trials=1).runs[0].folder.name


@pytest.mark.parametrize("words", AFTER_PROBING)
def test_beside_what_is_there(run: Run, study: Path, probed: str, words: str) -> None:
    named = [probed if word == "RUN" else str(study / word) if word == "scores" else word for word in words.split()]
    _is_refused(run, study, named, AFTER_PROBING[words])


def _is_refused(run: Run, study: Path, words: list[str], sentence: str) -> None:
    before = state(study)
    code, out, err = run(*words, "-w", study)
    assert code in (2, 4) and out == "" and sentence in err, err
    assert state(study) == before
