"""Promises that hold for every command: no socket, nothing that others may read, no folder of this machine."""

import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import typer

from tests.conftest import Run
from tests.models import ct2_writer, tiny, tiny_text
from toolkit.cli import app
from toolkit.corpus import manifest

FETCH = "models fetch"  # the only one that may

RECIPE = """
[study]
target = "mood"
folds = 3
[extract]
model = "mine"
dtype = "float32"
[probe]
trials = 1
"""

# From before the first import on, in a process of its own: what a library does as it is imported counts too.
BLOCKED = """
import socket, sys

def refuse(event, arguments):
    if event == "socket.__new__" and arguments[1] in (socket.AF_INET, socket.AF_INET6):
        raise PermissionError("no sockets here")

sys.addaudithook(refuse)
from toolkit.cli import main
for words in {commands!r}:
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as left:
        if left.code:
            raise
"""


def commands(group: Any, prefix: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        if inner is None:
            yield f"{prefix}{name}"
        else:
            yield from commands(command, f"{prefix}{name} ")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import soundfile

    folder = tmp_path_factory.mktemp("safety")
    rows = []
    for number in range(12):
        label = ["low", "high"][number % 2]
        (folder / "corpus" / label).mkdir(parents=True, exist_ok=True)
        path = f"corpus/{label}/s{number // 2}_{number}.wav"
        soundfile.write(folder / path, tiny.speech_like(0.3, seed=number), 16_000)
        rows.append((f"clip-{number}", path, f"speaker-{number // 2}", label, "fm"[number // 2 % 2]))
    manifest.write(folder / "manifest.csv", ("id", "path", "speaker", "mood", "sex"), rows)
    tiny.hubert(folder / "models" / "mine")
    tiny_text.whisper(folder / "models" / "writes")
    tiny_text.encoder(folder / "models" / "reads")
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


def words_of(study: Path) -> list[tuple[str, ...]]:
    """Every command once, in an order in which each finds what it needs; `found` is filled in as it goes."""
    place = ("-w", str(study))
    probed = "mood-mine-linear-"
    return [
        ("manifest", "check", *place),
        ("manifest", "folder", str(study / "corpus"), "--out", str(study / "imported.csv")),
        (
            "manifest",
            "table",
            str(study / "manifest.csv"),
            "--label",
            "mood",
            "--out",
            str(study / "tabled.csv"),
            *place,
        ),
        ("manifest", "corpus", "audio-folder", str(study / "corpus"), "--out", str(study / "known.csv")),
        ("manifest", "segment", str(study / "corpus"), "--speakers", "1", "--out", str(study / "turns.csv"), *place),
        ("manifest", "hotline", str(study / "corpus"), "--out", str(study / "hotline.csv")),
        ("manifest", "anonymise", "--key", str(study / "key"), "--out", str(study / "anonymous.csv"), *place),
        ("models", "list", *place),
        ("models", "show", "mine", *place),
        ("models", "accept", "mine", *place),
        ("models", "randomise", "mine", *place),
        ("models", "convert", str(study / "model.bin"), str(study / "models" / "converted")),
        ("models", "check", "mine", "--dtype", "float32", *place),
        ("extract", "--model", "mine", "--dtype", "float32", *place),
        ("transcribe", "--model", "writes", "--language", "en", *place),
        ("extract", "--model", "reads", *place),
        ("features", "list", *place),
        ("features", "verify", *place),
        ("features", "export", "mine", str(study / "all.h5"), *place),
        ("features", "import", "theirs", str(study / "theirs.npy"), "--ids", str(study / "manifest.csv"), *place),
        ("probe", "--model", "mine", "--target", "mood", "--folds", "3", "--trials", "1", *place),
        ("probe", "--model", "mine", "--target", "mood", "--folds", "3", "--trials", "2", *place),
        ("predict", "--from", probed, str(study / "corpus" / "low" / "s0_0.wav"), *place),
        ("finetune", "--from", probed, "--train", "head", "--epochs", "1", "--save-weights", *place),
        ("models", "export", "mood-mine-finetune-", str(study / "exported"), "--round", "0", *place),
        ("compare", *place),
        ("contrast", "--from", "mood-mine-linear-", "--by", "sex", "--least-clips", "1", *place),
        ("runs", *place),
        ("doctor", *place),
        ("score", "PREDICTIONS"),
        ("run", str(study / "recipe.toml"), *place),
        ("features", "purge", "--speaker", "speaker-1", *place),
        ("features", "remove", "theirs", *place),
    ]


def test_every_command_is_one_of_those_that_are_run_here(study: Path) -> None:
    known = set(commands(typer.main.get_command(app)))
    run = {" ".join(words[: 2 if " ".join(words[:2]) in known else 1]) for words in words_of(study)}
    assert known - run == {FETCH}


def test_no_socket_no_file_for_others_and_no_folder_of_this_machine(
    study: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (study / "model.bin").write_bytes(ct2_writer.container({}))
    np.save(study / "theirs.npy", np.random.default_rng(0).standard_normal((12, 4)))

    class Refusing(socket.socket):
        def __new__(cls, *_: object, **__: object) -> NoReturn:
            raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", Refusing)
    before = {path for path in study.rglob("*")}
    for words in words_of(study):
        runs = sorted(path.parent for path in study.glob("result/mood-mine-linear-*/run.json"))
        words = tuple(runs[0].name if word == "mood-mine-linear-" else word for word in words)
        tuned = [path.parent.name for path in study.glob("result/mood-mine-finetune-*/run.json")]
        words = tuple(tuned[0] if word == "mood-mine-finetune-" else word for word in words)
        words = tuple(str(runs[0] / "predictions.csv") if word == "PREDICTIONS" else word for word in words)
        if words[1] == "purge":
            (study / "all.h5").unlink()  # an export is the user's own, and so is another manifest
            (study / "tabled.csv").unlink()
        code, out, err = run(*words)
        allowed = {"hotline": (2,), "corpus": (2,), "segment": (0, 2), "convert": (2, 4)}.get(
            words[1], (0,)
        )  # nothing here is of these layouts
        assert code in allowed, (words, out, err)
        assert "socket" not in err and str(study) not in out + err, (words, out, err)
    for path in set(study.rglob("*")) - before:
        assert not stat.S_IMODE(path.lstat().st_mode) & 0o077, path
        if path.is_file():
            assert str(study).encode() not in path.read_bytes(), path
    shutil.rmtree(study / "result")


def test_it_runs_where_no_socket_could_be_made_from_the_first_import_on(study: Path, tmp_path: Path) -> None:
    for name in ("corpus", "models"):
        shutil.copytree(study / name, tmp_path / name)
    shutil.copy(study / "manifest.csv", tmp_path)
    words = [
        ["extract", "--model", "mine", "--dtype", "float32", "-w", str(tmp_path)],
        ["probe", "--model", "mine", "--target", "mood", "--folds", "3", "--trials", "1", "-w", str(tmp_path)],
    ]
    done = subprocess.run([sys.executable, "-c", BLOCKED.format(commands=words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("result/*/report.html"))
