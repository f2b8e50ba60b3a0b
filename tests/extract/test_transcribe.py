"""`toolkit transcribe`: what a local Whisper writes, where it is kept, and that it goes with its caller."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import transformers

import toolkit
from tests.conftest import Run
from tests.models import tiny, tiny_text
from toolkit.corpus import manifest
from toolkit.extract import transcribe
from toolkit.features import texts
from toolkit.features.finding import find
from toolkit.features.store import Store
from toolkit.models.checkpoint import inspect
from toolkit.models.transcriber import Transcriber

ASKED = ("transcribe", "--model", "writes", "--language", "zh")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_text.whisper(folder / "writes")
    tiny_text.encoder(folder / "reads")
    return folder


@pytest.fixture
def study(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = []
    for number in range(6):
        sound = tiny.speech_like(0.3 + number / 10, seed=number)
        soundfile.write(tmp_path / f"{number}.wav", sound if number else 0 * sound, 16_000, subtype="FLOAT")
        rows.append((f"c{number}", f"{number}.wav", f"s{number // 2}", "ab"[number % 2]))
    manifest.write(tmp_path / "manifest.csv", ("id", "path", "speaker", "mood"), rows)
    shutil.copytree(models, tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(study: Path) -> Store:
    return find(study / "features" / texts.FOLDER, "writes")


def test_it_writes_what_transformers_own_whisper_generates(study: Path) -> None:
    folder = study / "models" / "writes"
    clips = [soundfile.read(study / f"{number}.wav", dtype="float32")[0] for number in range(1, 6)]
    transcriber = Transcriber(inspect(folder, "writes"), torch.device("cpu"), "zh")
    found = [transcriber.write(clip) for clip in clips]
    model = transformers.WhisperForConditionalGeneration.from_pretrained(folder).eval()
    model.generation_config = transformers.GenerationConfig.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    heard = transformers.WhisperFeatureExtractor.from_pretrained(folder)(
        clips, sampling_rate=16_000, return_tensors="pt", return_attention_mask=True
    )
    asked = {"language": "zh", "task": "transcribe", "return_timestamps": False, "do_sample": False}
    theirs = model.generate(heard.input_features, attention_mask=heard.attention_mask, **asked)  # together
    expected = [tokenizer.decode(row, skip_special_tokens=True).strip() for row in theirs]
    assert [text for text, _ in found] == expected and len(set(expected)) > 1 and all(map(str.isalpha, expected))
    assert [transcriber.write(clip) for clip in clips] == found
    whole = np.concatenate([np.resize(clips[0], 480_000), clips[4]])  # a window of 30 s, and the rest
    assert transcriber.write(whole)[0] == transcriber.write(whole[:480_000])[0] + found[4][0]


def test_a_model_that_ends_is_told_from_one_that_goes_on_to_the_last_position(study: Path) -> None:
    folder = tiny_text.whisper(study / "models" / "ends")
    checkpoint = inspect(folder, "ends")
    sound = soundfile.read(study / "3.wav", dtype="float32")[0]
    transcriber = Transcriber(checkpoint, torch.device("cpu"), "zh")
    text, ended = transcriber.write(sound)
    assert len(text) >= 16 and not ended
    with torch.no_grad():  # towards the token that ends a text
        rows = transcriber._model.proj_out.weight
        rows[256] = 1.5 * rows[transcriber._tokenizer.encode(text[3])[0]]
    shorter, ended = transcriber.write(sound)
    assert ended and len(shorter) < len(text) and text.startswith(shorter)


def test_transcripts_are_read_kept_from_view_and_go_with_their_caller(run: Run, study: Path) -> None:
    code, out, err = run(*ASKED)
    assert code == 3 and "6 clips tried" in out and "5 unended" in out and "clip 'c0' is near-silent" in err
    said = texts.transcripts(written(study))
    assert list(said) == [f"c{number}" for number in range(1, 6)] and all(len(text) > 8 for text in said.values())
    shown = out + err
    for words in (("features", "list"), ("features", "verify"), ("extract", "--model", "reads")):
        code, out, err = run(*words)
        assert code in (0, 3), err
        shown += out + err
    assert "clip 'c0' has no text in its transcript" in shown and "writes-" in shown
    store = find(study / "features", "reads")
    assert store.ids == tuple(said) and store.settings["text"]["transcripts"] == written(study).folder.name
    assert not any(text in shown for text in said.values())
    for path in study.rglob("*"):
        assert not path.is_file() or not any(text.encode() in path.read_bytes() for text in said.values()), path
    code, out, err = run("features", "purge", "--speaker", "s1", "--dry-run")
    assert code == 0 and f"features/transcripts/{written(study).folder.name}: 2 clips in 1 shards" in out, err
    run("features", "purge", "--speaker", "s1")
    assert list(texts.transcripts(written(study))) == ["c1", "c4", "c5"]
    assert find(study / "features", "reads").ids == ("c1", "c4", "c5")
    code, out, _ = run("features", "remove", "transcripts/writes")
    assert code == 0 and not list((study / "features" / "transcripts").glob("*/store.json"))
    code, _, err = run("extract", "--model", "reads")
    assert code == 2 and "`toolkit transcribe --model whisper-small --language zh` makes some" in err


def test_a_run_that_was_cut_off_goes_on_and_ends_with_the_same_texts(
    run: Run, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcribe, "PER_SHARD", 2)
    run(*ASKED)
    whole = texts.transcripts(written(study))
    run("features", "remove", "transcripts/writes")
    own, calls = Transcriber.write, []

    def dying(self: Transcriber, clip: np.ndarray) -> tuple[str, bool]:
        calls.append(clip)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return own(self, clip)

    monkeypatch.setattr(Transcriber, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        toolkit.open(study).transcribe("writes", "zh")
    assert list(texts.transcripts(written(study))) == ["c1", "c2", "c3"]
    code, _, err = run("extract", "--model", "reads")
    assert code == 2 and "2 of 6 clips have no transcript in" in err
    monkeypatch.setattr(Transcriber, "write", own)
    done = toolkit.open(study).transcribe("writes", "zh")
    assert (done.new, done.before) == (2, 4) and texts.transcripts(written(study)) == whole


def test_other_audio_is_written_anew_and_until_then_not_read(run: Run, study: Path) -> None:
    run(*ASKED)
    before = texts.transcripts(written(study))
    soundfile.write(study / "2.wav", tiny.speech_like(0.9, seed=77), 16_000, subtype="FLOAT")
    for words in (ASKED, ("extract", "--model", "reads")):
        code, _, err = run(*words)
        assert code == 2 and "The audio of 'c2' is not what writes-" in err, err
    code, out, _ = run(*ASKED, "--changed", "recompute")
    after = texts.transcripts(written(study))
    assert code == 3 and "1 clips tried" in out and after["c2"] != before["c2"]
    assert {**after, "c2": ""} == {**before, "c2": ""}


def test_two_transcripts_are_told_apart_by_name_and_windows_are_read_as_they_were_written(
    run: Run, study: Path
) -> None:
    run(*ASKED)
    run("transcribe", "--model", "writes", "--language", "en")
    code, _, err = run("extract", "--model", "reads")
    assert code == 2 and "Several transcripts in features/transcripts/: name one, as --text writes-" in err
    name = written_in(study, "en")
    code, _, err = run("extract", "--model", "reads", "--text", name)
    assert code == 3 and find(study / "features", "reads").settings["text"]["transcripts"] == name, err
    assert run(*ASKED, "--window", "0.4")[0] == 3
    (windowed,) = [store.folder.name for store in texts.every_store(study / "features") if "windows" in store.settings]
    code, out, _ = run("extract", "--model", "reads", "--text", windowed, "--window", "0.4")
    assert code == 3 and "10 clips tried" in out


def written_in(study: Path, language: str) -> str:
    (name,) = [store.folder.name for store in texts.every_store(study / "features")
               if store.settings.get("language") == language]  # fmt: skip
    return name


@pytest.mark.parametrize(
    ("gone", "words", "sentence"),
    [
        ("", ("--model", "reads", "--language", "zh"), "reads reads text"),
        ("", ("--model", "hears", "--language", "zh"), "hears writes no text, expected a Whisper with its decoder"),
        ("", ("--model", "writes", "--language", "xx"), "Bad --language 'xx', expected one of ['en', 'zh']"),
        ("tokenizer.json", ASKED[1:], "writes has no tokenizer, expected one of"),
        ("generation_config.json", ASKED[1:], "writes has no generation_config.json, by which a Whisper writes"),
    ],
)
def test_what_cannot_write_is_refused(run: Run, study: Path, gone: str, words: tuple[str, ...], sentence: str) -> None:
    tiny.hubert(study / "models" / "hears")
    if gone:
        (study / "models" / "writes" / gone).unlink()
    code, out, err = run("transcribe", *words)
    assert code in (2, 4) and out == "" and sentence in err and err.count("toolkit:") == 1, err
    assert not (study / "features").exists()


def test_the_column_text_is_left_out_of_an_anonymous_manifest_unless_told(run: Run, study: Path) -> None:
    read = manifest.read(study / "manifest.csv")
    rows = [(*clip.cells, "my name is zzann") for clip in read.clips]
    manifest.write(study / "manifest.csv", (*read.columns, "text"), rows)
    words = ("manifest", "anonymise", "--key", "key")
    code, out, _ = run(*words, "--out", "without.csv")
    assert code == 0 and "the column text left out" in out and "zzann" not in (study / "without.csv").read_text()
    code, out, _ = run(*words, "--out", "with.csv", "--keep-text")
    assert code == 0 and "left out" not in out and "zzann" in (study / "with.csv").read_text()
    code, out, _ = run(*words, "--out", "hashed.csv", "--also", "text")
    hashed = manifest.read(study / "hashed.csv")
    assert code == 0 and "text" in hashed.columns and "zzann" not in (study / "hashed.csv").read_text()
    code, out, err = run("manifest", "check")
    assert code == 0 and "zzann" not in out + err and "mood" in out


def test_a_run_on_transcripts_predicts_new_audio_once_that_is_transcribed(run: Run, study: Path) -> None:
    new, rows = study / "new.csv", []
    for number in range(6, 12):
        soundfile.write(study / f"{number}.wav", tiny.speech_like(0.4, seed=number), 16_000, subtype="FLOAT")
        rows.append((f"c{number}", f"{number}.wav", f"s{number // 2}", "ab"[number % 2]))
    manifest.write(study / "manifest.csv", ("id", "path", "speaker", "mood"), rows)
    assert run(*ASKED)[0] == 0 and run("extract", "--model", "reads")[0] == 0
    assert run("probe", "--model", "reads", "--target", "mood", "--folds", 3, "--trials", 1)[0] == 0
    (folder,) = study.glob("result/mood-reads-linear-*")
    manifest.write(new, ("id", "path"), [("n1", "1.wav"), ("n2", "2.wav")])
    words = ("predict", "--from", folder.name, "--manifest", new)
    code, _, err = run(*words)
    assert code == 2 and "2 of 2 clips have no transcript in writes-" in err and err.count("toolkit:") == 1, err
    assert run(*ASKED, "--manifest", new)[0] == 0
    code, _, err = run(*words)
    assert code == 0 and "new to the run: 2 clips" in err, err
