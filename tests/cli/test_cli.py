"""The command line as a user meets it: what it prints, its exit codes, and that nothing is lost."""

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import soundfile

from tests import children
from tests.conftest import Run
from tests.models import tiny
from toolkit.corpus import manifest


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace: 36 clips of 6 speakers, whose pitch tells their label, and a tiny random HuBERT."""
    folder = tmp_path_factory.mktemp("study")
    tiny.hubert(folder / "models" / "tiny-hubert")
    rows = []
    for number in range(36):
        low = number % 2
        time = np.arange(int(16_000 * (0.25 + 0.01 * (number % 7)))) / 16_000
        tone = sum(np.sin(2 * np.pi * (120 + 130 * low) * harmonic * time) / harmonic for harmonic in range(1, 9))
        noise = np.random.default_rng(number).standard_normal(len(time))
        soundfile.write(folder / f"{number}.wav", 0.1 * tone + 0.02 * noise, 16_000)
        rows.append(
            (
                f"clip{number}",
                f"{number}.wav",
                f"s{number % 6 // 2 + 3 * (number // 18)}",
                str(low),
                str(number % 3 % 2),
            )
        )
    manifest.write(folder / "manifest.csv", ("id", "path", "speaker", "high", "noise"), rows)
    return folder


def probe(run: Run, study: Path, *more: object) -> tuple[int, str, str]:
    words = ("--model", "tiny-hubert", "--folds", 3, "--trials", 3, "-w", study)
    return run("probe", *words, *more)


def test_a_study_from_manifest_to_report(run: Run, study: Path, tmp_path: Path) -> None:
    code, out, _ = run("manifest", "check", "-w", study)
    assert code == 0 and "36 clips" in out and "speaker" in out
    code, out, err = run("extract", "--model", "tiny-hubert", "-w", study)
    assert code == 0 and "36 clips tried, 0 there before, 0 failed" in out and "features/tiny-hubert-" in out
    code, out, _ = run("extract", "--model", "tiny-hubert", "-w", study)
    assert code == 0 and "0 clips tried, 36 there before" in out
    code, out, _ = run("features", "list", "-w", study)
    assert code == 0 and "tiny-hubert-" in out and " 36 " in out
    code, out, _ = run("features", "verify", "-w", study)
    assert (code, out) == (0, "1 shards compared with their SHA-256, 0 damaged\n")
    code, out, _ = run("features", "export", "tiny-hubert", tmp_path / "all.h5", "-w", study)
    assert code == 0 and "36 clips, 4 layers" in out

    code, out, err = probe(run, study, "--target", "high", "--note", "made for a test")
    assert code == 0 and "36 clips predicted" in out and "made for a test" in out
    (folder,) = (study / "result").glob("high-tiny-hubert-linear-*")
    for name in ("predictions.csv", "metrics.json", "layers.csv", "report.html", "figures/layers.json", "study.jsonl"):
        assert (folder / name).stat().st_size > 0
    code, again, err = probe(run, study, "--target", "high", "--note", "made for a test")
    assert code == 0 and "is finished already" in err and again == out
    code, out, _ = run("score", folder / "predictions.csv", "--json")
    assert code == 0 and json.loads(out)["task"]["labels"] == ["not high", "high"]

    first = (folder / "predictions.csv").read_bytes()
    shutil.rmtree(folder)
    code, _, _ = probe(run, study, "--target", "high", "--note", "made for a test")
    assert code == 0 and (folder / "predictions.csv").read_bytes() == first


def test_all_that_is_written_is_for_the_owner_alone(run: Run, study: Path, tmp_path: Path) -> None:
    run("extract", "--model", "tiny-hubert", "-w", study)
    for path in (study / "features").rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_a_damaged_recording_is_named_and_makes_the_exit_code_3(run: Run, study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "models", tmp_path / "models")
    for name in ("0.wav", "1.wav"):
        shutil.copy(study / name, tmp_path)
    (tmp_path / "1.wav").write_bytes((tmp_path / "1.wav").read_bytes()[:-200])
    manifest.write(tmp_path / "manifest.csv", ("id", "path"), [("whole", "0.wav"), ("cut", "1.wav")])
    code, out, err = run("extract", "--model", "tiny-hubert", "-w", tmp_path)
    assert code == 3 and "1 failed" in out
    assert "failed: clip 'cut' ends early" in err and str(tmp_path) not in out + err


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("extract", "--model", "whisper-medium"), 4, "`toolkit models fetch whisper-medium` gets it"),
        (("extract", "--model", "wisper"), 2, "Bad model 'wisper', expected one of"),
        (("extract", "--model", "tiny-hubert", "--layers", "0-99"), 2, "Bad layers 0-99, expected a range within 0-3"),
        (("extract", "--model", "tiny-hubert", "--layers", "a"), 2, "Bad --layers 'a'"),
        (("extract", "--model", "tiny-hubert", "--layers", "²"), 2, "Bad --layers '²'"),
        (("extract", "--model", "tiny-hubert", "--dtype", "half"), 2, "Bad dtype 'half'"),
        (("probe", "--model", "whisper-small", "--target", "high"), 4, "`toolkit extract --model whisper-small`"),
        (("probe", "--model", "tiny-hubert", "--target", "mood"), 2, "No label column 'mood'"),
        (("probe", "--model", "tiny-hubert", "--target", "high", "--probe", "svm"), 2, "Bad probe 'svm'"),
        (("probe", "--model", "tiny-hubert", "--target", "high", "--folds", "9"), 2, "--folds 9"),
        (("probe", "--model", "tiny-hubert", "--target", "high", "--group-by", "call"), 2, "No column 'call'"),
        (("features", "verify", "nothing"), 4, "No features of 'nothing'"),
        (("models", "show", "wisper"), 2, "Bad model 'wisper'"),
        (("models", "convert", "nowhere", "models/x"), 4, ""),
        (("score", "nowhere.csv"), 2, "nowhere.csv"),
        (("extract",), 2, "Missing option '--model'"),
    ],
)
def test_bad_usage_is_one_sentence_and_a_documented_code(
    run: Run, study: Path, words: tuple[str, ...], code: int, sentence: str
) -> None:
    if words[0] == "probe":
        run("extract", "--model", "tiny-hubert", "-w", study)  # stands, where another test has done it
    place = ("-w", study) if words[0] in ("extract", "probe", "features") or words[1] == "show" else ()
    found, out, err = run(*words, *place)
    assert (found, out) == (code, "")
    assert sentence in err and "Traceback" not in err and str(study) not in err


def test_no_features_yet_is_said(run: Run, tmp_path: Path) -> None:
    assert run("features", "list", "-w", tmp_path)[0] == 0
    code, _, err = run("features", "list", "-w", tmp_path / "nowhere")
    assert code == 2 and "No workspace folder 'nowhere'" in err


def test_models_are_listed_shown_and_checked(run: Run, study: Path) -> None:
    code, out, _ = run("models", "list", "-w", study)
    six = ("hubert-base-ls960", "wav2vec2-large-xlsr-53-chinese-zh-cn", "whisper-small-chinese-base", "whisper-small")
    assert code == 0 and all(name in out for name in (*six, "whisper-medium", "whisper-large-v3", "tiny-hubert"))
    code, out, _ = run("models", "show", "whisper-large-v3", "-w", study)
    assert code == 0 and "mel bins           128" in out and "toolkit models fetch whisper-large-v3" in out
    code, out, _ = run("models", "check", "tiny-hubert", "--dtype", "float32", "-w", study)
    assert code == 0 and out.startswith("passed: tiny-hubert on ")


def test_a_manifest_that_gives_ids_to_other_files_is_not_probed(tmp_path: Path, run: Run) -> None:
    tiny.hubert(tmp_path / "models" / "tiny-hubert")
    files = [f"{number}.wav" for number in range(3)]
    for number, file in enumerate(files):
        soundfile.write(tmp_path / file, tiny.speech_like(0.5, seed=number), 16_000)

    def name(*order: str) -> None:
        rows = [(f"c{row}", file, f"s{row}", "ab"[row % 2]) for row, file in enumerate(order)]
        manifest.write(tmp_path / "manifest.csv", ("id", "path", "speaker", "mood"), rows)

    name(*files)
    assert run("extract", "-m", "tiny-hubert", "-w", tmp_path, "--dtype", "float32")[0] == 0
    probe = ("probe", "-m", "tiny-hubert", "--target", "mood", "-w", tmp_path)
    name(*files[1:], files[0])
    code, _, err = run(*probe)
    assert code == 2 and "The audio of 'c0', 'c1', 'c2' is not what tiny-hubert-" in err
    (tmp_path / "moved").mkdir()
    for file in files:
        (tmp_path / file).rename(tmp_path / "moved" / file)
    name(*[f"moved/{file}" for file in files])
    code, _, err = run(*probe)  # the same audio elsewhere: three speakers are too few, and that is all
    assert code == 2 and "3 clips come from other or newer files" in err and "is not what" not in err


def test_what_does_not_fit_one_model_is_refused_before_any_is_run(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "manifest.csv").write_text("id,path\na,a.wav\n")
    soundfile.write(tmp_path / "a.wav", tiny.speech_like(0.5), 16_000)
    tiny.whisper(tmp_path / "models" / "hears")
    tiny.hubert(tmp_path / "models" / "mute")
    monkeypatch.setattr("toolkit.extract.setup.load", lambda *_, **__: pytest.fail("loaded"))
    for option in (["--decoder"], ["--layers", "0-99"], ["--frames", "encoder.9"]):
        code, _, err = run("extract", "-m", "hears", "-m", "mute", *option, "-w", tmp_path)
        assert code == 2 and not (tmp_path / "features").exists(), err


def test_a_check_that_fails_in_bfloat16_says_what_is_exact(run: Run, study: Path) -> None:
    code, out, _ = run("models", "check", "tiny-hubert", "--dtype", "bfloat16", "--bound", "1e-6", "-w", study)
    assert code == 1 and out.startswith("FAILED: tiny-hubert on ") and out.endswith("--dtype float32 is exact\n")


def test_nothing_but_fetch_opens_a_socket(run: Run, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert run("extract", "--model", "tiny-hubert", "-w", study, "--layers", "0-1")[0] == 0
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_a_fault_of_ours_is_exit_code_1_without_a_traceback(
    run: Run, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> NoReturn:
        try:
            (study / "not there").read_bytes()
        except OSError as error:
            raise ZeroDivisionError(f"in {Path.home()}/somewhere, '/data/ann lee/calls', file:///srv/x") from error

    monkeypatch.setattr("toolkit.models.checkpoint.installed", broken)
    for debug in ("", "1"):
        monkeypatch.setenv("TOOLKIT_DEBUG", debug)
        code, out, err = run("models", "list", "-w", study)
        assert (code, out) == (1, "") and "ZeroDivisionError at " in err and "in somewhere, 'calls', x" in err
        assert ("not there" in err) == bool(debug)
        assert not [folder for folder in ("/home", "/data", "/srv", str(study), sys.prefix) if folder in err]


def test_warnings_and_errors_of_threads_tell_no_folder(study: Path) -> None:
    program = f"""
import threading, warnings
from toolkit.cli import diagnostics
diagnostics.install()
warnings.warn("see {study}/a.wav")
def fail(): open("{study}/nowhere")
thread = threading.Thread(target=fail); thread.start(); thread.join()
class Bad:
    def __del__(self): fail()
Bad()
fail()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("'nowhere'") == 3 and "UserWarning: see a.wav" in done.stderr
    assert str(study) not in done.stderr and str(study.parent) not in done.stderr and sys.prefix not in done.stderr


@pytest.mark.parametrize(
    ("out", "err", "lines", "code"),
    [("pipe", "pipe", 0, 0), ("", "/dev/full", 0, 0), ("/dev/full", "", 0, 4), ("pipe", "", 1, 0)],
)
def test_work_goes_on_when_nobody_listens(
    study: Path, tmp_path: Path, out: str, err: str, lines: int, code: int
) -> None:
    """pipe: to a program that ends after so many lines, as in `| head -n 1`."""
    for name in ("first", "second"):
        shutil.copytree(study / "models" / "tiny-hubert", tmp_path / "models" / name)
    rows = [(f"c{number}", f"{number}.wav") for number in range(3)]
    manifest.write(tmp_path / "manifest.csv", ("id", "path"), rows)
    words = ["extract", "--model", "first", "--model", "second", "--audio-root", str(study)]
    pipe, said = tmp_path / "pipe", tmp_path / "said"
    os.mkfifo(pipe)
    said.touch()
    places = [str(pipe) if place == "pipe" else place for place in (out, err or str(said))]
    child = children.start(children.command, [*words, "-w", str(tmp_path)], {}, *places)
    if "pipe" in (out, err):
        with pipe.open(encoding="utf-8") as reader:
            assert all(reader.readline() for _ in range(lines))
    left, told = children.ended(child), said.read_text()
    assert left == code, told
    assert len(list(tmp_path.glob("features/*/shard-00000.json"))) == 2
    assert "Traceback" not in told
    assert code == 0 or "done, but what was printed could not be written: No space left on device" in told


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_its_code_and_the_run_goes_on_afterwards(
    run: Run, study: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    rows = [(f"c{k}", f"{k % 36}.wav", f"{k // 36 / 2000:g}", f"{k // 36 / 2000 + 0.06:g}") for k in range(6000)]
    manifest.write(tmp_path / "long.csv", ("id", "path", "start", "end"), rows)
    words = ["extract", "--model", "tiny-hubert", "-w", str(tmp_path), "--manifest", str(tmp_path / "long.csv")]
    with contextlib.suppress(FileExistsError):
        shutil.copytree(study / "models", tmp_path / "models")
    said = tmp_path / "said"
    said.touch()
    child = children.start(children.command, [*words, "--audio-root", str(study)], {}, "", str(said))
    while not list(tmp_path.glob("features/*/shard-00000.json")):
        assert child.is_alive()
    assert child.pid is not None
    os.kill(child.pid, number)
    left, err = children.ended(child), said.read_text()
    assert left == code, err
    assert "start the same command again" in err and "Traceback" not in err
    assert run("features", "verify", "-w", tmp_path)[0] == 0
