"""A corpus on two disks, through links and absolute paths, from extraction to the page: no folder is written down."""

import os
from pathlib import Path

import pytest
import soundfile

from tests.conftest import Run
from tests.models import tiny
from toolkit.corpus import manifest


@pytest.fixture
def disks(tmp_path: Path) -> tuple[Path, list[Path]]:
    """A study with calls of its own, of a linked folder and of a third disk, by absolute paths; and the two disks."""
    study, linked, third = tmp_path / "study", tmp_path / "disk2", tmp_path / "disk3"
    for folder in (study, linked / "calls", third):
        folder.mkdir(parents=True)
    (study / "calls").symlink_to(linked / "calls")
    rows = []
    for number in range(9):
        path = (study / f"{number}.wav", linked / "calls" / f"{number}.wav", third / f"{number}.wav")[number % 3]
        soundfile.write(path, tiny.speech_like(0.4, seed=number), 16_000)
        named = (f"{number}.wav", f"calls/{number}.wav", str(path))[number % 3]
        rows.append((f"c{number}", named, f"s{number // 2}", ("low", "high")[number % 2]))
    manifest.write(study / "manifest.csv", ("id", "path", "speaker", "mood"), rows)
    tiny.hubert(study / "models" / "mine")
    return study, [linked, third]


def test_two_disks_are_named_once_each_and_never_written_down(
    disks: tuple[Path, list[Path]], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, (linked, third) = disks
    code, _, err = run("extract", "-m", "mine", "-w", study)
    assert code == 2 and "is a link, or goes through one" in err and "--audio-root" in err and str(third) not in err
    roots = ("--audio-root", linked, "--audio-root", third)
    probed = (
        "probe",
        "-m",
        "mine",
        "-t",
        "mood",
        "--folds",
        "3",
        "--trials",
        "1",
        "--nuisance",
        "loudness",
        "-w",
        study,
    )
    assert run("manifest", "check", "-w", study, *roots)[0] == 0
    assert run("extract", "-m", "mine", "--dtype", "float32", "-w", study, *roots)[0] == 0
    code, _, err = run(*probed, *roots)
    assert code == 0, err
    for path in [*(study / "features").rglob("*"), *(study / "result").rglob("*")]:
        assert not path.is_file() or str(study.parent).encode() not in path.read_bytes(), path
    monkeypatch.setenv("TOOLKIT_AUDIO_ROOT", os.pathsep.join(map(str, (linked, third))))
    code, _, err = run(*probed)
    assert code == 0 and "is finished already" in err


def test_a_recipe_names_folders_of_its_workspace_or_leaves_them_to_the_variable(
    disks: tuple[Path, list[Path]], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, (linked, third) = disks
    recipe = study / "study.toml"
    text = '[study]\ntarget = "mood"\nfolds = 3\n{more}[extract]\nmodel = "mine"\n[probe]\n'
    recipe.write_text(text.format(more=f'audio-root = ["{third}"]\n'))
    code, _, err = run("run", recipe, "--dry-run", "-w", study)
    assert code == 2 and "audio-root is an absolute path" in err and "TOOLKIT_AUDIO_ROOT names folders elsewhere" in err
    recipe.write_text(text.format(more='audio-root = ["../disk2", "../disk3"]\n'))
    assert run("run", recipe, "--dry-run", "-w", study)[0] == 0
    recipe.write_text(text.format(more='audio-root = "../disk4"\n'))
    code, _, err = run("run", recipe, "--dry-run", "-w", study)
    assert code == 2 and "no folder '../disk4'" in err
    recipe.write_text(text.format(more=""))
    monkeypatch.setenv("TOOLKIT_AUDIO_ROOT", os.pathsep.join(map(str, (linked, third))))
    assert run("run", recipe, "--dry-run", "-w", study)[0] == 0
