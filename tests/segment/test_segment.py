"""`toolkit manifest segment` by the real detector, on calls that espeak-ng speaks."""

import builtins
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

import toolkit
from demo.spoken import VOICE, Synthesiser
from tests.conftest import Run
from tests.models import tiny
from toolkit.core.errors import InputError
from toolkit.corpus import manifest

RATE = 8_000
SAID = "wo3 bu4 zhi1 dao4 zen3 me5 ban4 ta1 men5 dou1 bu4 li3 wo3"
TURNS = ((1.0, 0), (5.0, 1), (9.0, 0), (13.0, 1))  # seconds at which one begins, and whose it is


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """calls.csv: a call of two channels that leak, one of one channel, silence, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("calls")
    voices = [_speak(voice) for voice in ("m3", "f2")]
    generator = np.random.default_rng(0)
    two = generator.normal(0, 1e-3, (17 * RATE, 2))
    for start, who in TURNS:
        two[round(start * RATE) :][: len(voices[who]), who] += voices[who]
    two += 0.05 * np.roll(two[:, ::-1], 200, axis=0)
    soundfile.write(folder / "two.wav", two, RATE)
    soundfile.write(folder / "one.wav", two.mean(axis=1), RATE)
    soundfile.write(folder / "same.wav", two.mean(axis=1, keepdims=True).repeat(2, axis=1), RATE)
    soundfile.write(folder / "silence.wav", generator.normal(0, 1e-3, (5 * RATE, 2)), RATE)
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(5 * RATE) / RATE)
    soundfile.write(folder / "tone.wav", np.stack([tone, 0 * tone], axis=1), RATE)
    soundfile.write(folder / "short.wav", np.zeros((80, 2)), RATE)
    (folder / "broken.wav").write_bytes((folder / "two.wav").read_bytes()[:9_000])
    calls(
        folder, "calls.csv", ["two", "silence", "tone", "short", "same", "broken"], ["C1", "C2", "C3", "C4", "C5", "C6"]
    )
    calls(folder, "one.csv", ["one"])
    return folder


def _speak(voice: str) -> Any:
    synthesiser = Synthesiser()
    return soxr.resample(synthesiser.speak(SAID, f"{VOICE}+{voice}") / 32_768, synthesiser.rate, RATE)[: 3 * RATE]


def calls(folder: Path, name: str, ids: Sequence[str], speakers: Sequence[str] = (), **more: Sequence[str]) -> Path:
    columns = {"id": ids, "path": [f"{one}.wav" for one in ids], **({"speaker": speakers} if speakers else {}), **more}
    manifest.write(folder / name, tuple(columns), list(zip(*columns.values())))
    return folder / name


@pytest.fixture
def study(spoken: Path, tmp_path: Path) -> Path:
    shutil.copytree(spoken, tmp_path, dirs_exist_ok=True)
    return tmp_path


def near(found: pd.DataFrame, expected: Sequence[tuple[float, int]]) -> bool:
    return len(found) == len(expected) and bool(np.allclose(found.start, [start for start, _ in expected], atol=0.25))


def test_two_channels_are_two_speakers_and_what_has_no_turn_is_named(study: Path, run: Run) -> None:
    code, out, err = run("manifest", "segment", study / "calls.csv", "-w", study)
    assert code == 3, err
    assert out.splitlines()[0].startswith("failed: call 'broken' ")
    assert out.splitlines()[1:3] == [
        "one signal in all channels, taken for one channel: 1 ('same')",
        "without a turn, and so without a row: 3 ('silence', 'tone', 'short')",
    ]
    assert out.splitlines()[3].startswith("manifest.csv: 8 turns of 2 calls, 0.")
    assert out.splitlines()[4] == "written to manifest.csv"
    found = pd.read_csv(study / "manifest.csv", dtype=str).astype({"start": float, "end": float})
    assert list(found) == ["id", "path", "start", "end", "channel", "speaker", "recording"]
    two = found[found.recording == "two"]
    assert near(two, TURNS) and list(two.channel) == ["0", "1", "0", "1"]
    assert list(two.speaker) == ["C1#0", "C1#1", "C1#0", "C1#1"] and ((two.end - two.start) < 3.3).all()
    assert (
        near(found[found.recording == "same"], TURNS)
        and set(found.channel[4:]) == {"0"}
        and set(found.speaker[4:]) == {"C5"}
    )
    assert run("manifest", "check", "-w", study)[0] == 0
    before = (study / "manifest.csv").read_bytes()
    code, _, err = run("manifest", "segment", study / "calls.csv", "-w", study)
    assert code == 2 and "manifest.csv is there already" in err
    assert run("manifest", "segment", study / "calls.csv", "-w", study, "--overwrite")[0] == 3
    assert (study / "manifest.csv").read_bytes() == before


def test_the_callers_channel_alone_keeps_the_callers_name_and_labels(study: Path) -> None:
    file = calls(study, "two.csv", ["two", "two-late"], ["C1", "C1"], path=["two.wav"] * 2, start=["", "8.5"],
                 split=["train", "test"], channel=["", "0"], mood=["sad", "=calm"])  # fmt: skip
    messages: list[str] = []
    done = toolkit.open(study, say=messages.append).segment_calls(file, caller_channel=1, pad=0.0)
    assert (done.turns, done.calls, done.silent, dict(done.failed)) == (3, 2, (), {})
    found = manifest.read(study / "manifest.csv")
    assert found.columns == ("id", "path", "start", "end", "channel", "speaker", "recording", "split", "mood")
    rows = [(clip.speaker, clip.channel, clip.split) for clip in found.clips]
    assert rows == [("C1", 1, "train"), ("C1", 1, "train"), ("C1", 0, "test")]
    assert found.cells("mood") == ("sad", "sad", "=calm") and found.cells("recording") == ("two", "two", "two-late")
    late = found.clips[2]
    assert late.start is not None and late.end is not None and 8.8 < late.start < 9.3 and late.end < 12.5


def test_one_channel_needs_features_or_is_taken_for_one_voice(study: Path, run: Run) -> None:
    place = ("-w", study)
    code, _, err = run("manifest", "segment", study / "one.csv", *place)
    assert code == 2 and "1 of 1 calls have one channel, such as 'one': --model STORE" in err and "--speakers 1" in err
    assert run("manifest", "segment", study / "one.csv", *place, "--speakers", "1")[0] == 0
    found = pd.read_csv(study / "manifest.csv")
    assert near(found, TURNS) and "voice" not in found and set(found.speaker) == {"one"}
    tiny.hubert(study / "models" / "mine")
    extract = ("extract", "--model", "mine", "--dtype", "float32", "--window", "1.6", "--hop", "0.4")
    assert run(*extract, "--manifest", study / "one.csv", *place)[0] == 0
    told = run("manifest", "segment", study / "one.csv", *place, "--model", "mine", "--overwrite")
    assert told[0] == 0, told
    found = pd.read_csv(study / "manifest.csv")
    assert set(found.voice) == {"voice-1", "voice-2"} and found.voice[0] == "voice-1" and set(found.speaker) == {"one"}
    before, last = (study / "manifest.csv").read_bytes(), toolkit.open(study).stores()[0].layers[-1]
    run("manifest", "segment", study / "one.csv", *place, "--model", "mine", "--layer", last, "--overwrite")
    assert (study / "manifest.csv").read_bytes() == before


def test_a_folder_of_calls_is_taken_as_it_is(study: Path, tmp_path: Path) -> None:
    (study / "calls").mkdir()
    shutil.copy(study / "two.wav", study / "calls")
    done = toolkit.open(study).segment_calls(study / "calls", out=study / "turns.csv")
    found = manifest.read(done.file)
    assert len(found.clips) == 4 and {clip.path for clip in found.clips} == {"calls/two.wav"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("calls.csv", "--caller-channel", "2"), "Call 'two' has 2 channels, counted from 0; --caller-channel 2 asks"),
        (("one.csv", "--caller-channel", "0"), "Call 'one' has one channel; --caller-channel asks for one of several"),
        (("calls.csv", "--model", "mine"), "--model has no effect here: no call has two voices in one channel"),
        (("one.csv", "--model", "mine"), "No features of 'mine' in features/"),
        (("calls.csv", "--min-turn", "-1"), "--min-turn -1; expected seconds from 0"),
        (("calls.csv", "--pad", "nan"), "--pad nan; expected seconds from 0"),
        (("calls.csv", "--crosstalk", "-3"), "--crosstalk -3; expected decibels from 0"),
        (("calls.csv", "--threshold", "1.5"), "--threshold 1.5; expected a probability between 0 and 1"),
        (("calls.csv", "--max-turn", "1", "--min-turn", "2"), "--max-turn 1 with --min-turn 2 and --pad 0.1; expected"),
        (("calls.csv", "--out", "calls.csv", "--overwrite"), "calls.csv is the manifest of the calls; give --out"),
        (("nothing.csv",), "nothing.csv, line 1: there is no such file"),
        (("nowhere",), "nowhere cannot be read: No such file or directory"),
        (("quiet.csv",), "No turn in 1 calls, and nothing was written"),
        (("voice.csv", "--model", "mine"), "voice.csv has a column 'voice' already"),
    ],
)
def test_what_is_not_accepted_is_refused_in_a_sentence(
    words: tuple[str, ...], expected: str, study: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study)
    calls(study, "quiet.csv", ["silence"])
    calls(study, "voice.csv", ["one"], voice=["high"])
    code, out, err = run("manifest", "segment", *words)
    assert code in (2, 4) and out == "" and expected in err and "Traceback" not in err
    assert not (study / "manifest.csv").exists()


def test_features_of_other_calls_or_without_windows_are_refused(study: Path, run: Run) -> None:
    tiny.hubert(study / "models" / "mine")
    extract = ("extract", "--model", "mine", "--dtype", "float32", "-w", study)
    other = calls(study, "other.csv", ["other"], path=["one.wav"])
    segment = ("manifest", "segment", study / "one.csv", "-w", study, "--model", "mine")
    assert run(*extract, "--manifest", other)[0] == 0
    code, _, err = run(*segment)
    assert code == 2 and "holds no windows of calls" in err and "--window 1.6" in err
    shutil.rmtree(study / "features")
    assert run(*extract, "--manifest", other, "--window", "1.6", "--hop", "0.4")[0] == 0
    code, _, err = run(*segment)
    assert code == 2 and "holds no window of call 'one'" in err
    code, _, err = run(*segment, "--layer", "encoder.9")
    assert code == 2 and "Bad --layer 'encoder.9', expected one of" in err


def test_audio_that_the_new_manifest_could_not_name_is_refused(study: Path, run: Run, tmp_path_factory: Any) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    code, _, err = run("manifest", "segment", study / "calls.csv", "-w", elsewhere)
    assert code == 2 and "is outside manifest.csv's folder; name the folder that it is in with --audio-root" in err
    assert run("manifest", "segment", study / "calls.csv", "-w", elsewhere, "--audio-root", study)[0] == 3
    assert run("manifest", "check", "-w", elsewhere, "--audio-root", study)[0] == 0


def test_without_the_extra_it_says_what_to_install(study: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError(name)
        return found(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    code, _, err = run("manifest", "segment", study / "calls.csv", "-w", study)
    assert code == 4 and "pip install 'speech-layer-toolkit[segment]'" in err


def test_a_keyword_that_there_is_not_is_refused_from_python(study: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'min_turn'"):
        toolkit.open(study).segment_calls(study / "calls.csv", min_turns=1)
    with pytest.raises(InputError, match=r"^speakers 3; expected 1 or 2"):
        toolkit.open(study).segment_calls(study / "calls.csv", speakers=3)


@pytest.mark.slow
def test_turns_of_telephone_calls_that_leak_are_found(tmp_path: Path) -> None:
    from bench import segment

    corpus = Path(os.environ["TOOLKIT_TEST_EMODB"]) if "TOOLKIT_TEST_EMODB" in os.environ else segment.spoken(tmp_path)
    truth = segment.calls_of(corpus, segment.KINDS[5], tmp_path / "calls")
    toolkit.open(tmp_path / "calls").segment_calls(tmp_path / "calls" / "calls.csv")
    found = pd.read_csv(tmp_path / "calls" / "manifest.csv", dtype={"recording": str})
    missed, false, wrong = segment.errors(truth, found, "channel", segment.COLLAR, match=False)
    assert missed < 3 and false < 3 and wrong < 1
