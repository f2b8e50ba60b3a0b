"""Text with speech: a column or transcripts, read into a store, fused with speech models, and applied to new audio."""

import json
from pathlib import Path

import pytest
import soundfile

import toolkit
from tests.conftest import Run
from tests.models import tiny, tiny_text
from tests.privacy.test_cli_purge import quick
from toolkit.core.errors import InputError
from toolkit.corpus import manifest
from toolkit.features.finding import find

__all__ = ["quick"]
COLUMNS = ("id", "path", "speaker", "mood", "text")
WORDS = {"calm": "all is well zzcalm", "sad": "I feel so low zzsad"}
PROBE = ("--target", "mood", "--folds", 3, "--trials", 2)


def rows(count: int = 24) -> list[tuple[str, ...]]:
    moods = [("calm", "sad")[(number // 2) % 2] for number in range(count)]
    return [
        (f"c{number}", f"{number}.wav", f"s{number % 6}", mood, f"{WORDS[mood]} {number % 5}")
        for number, mood in enumerate(moods)
    ]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for number in range(24):
        soundfile.write(tmp_path / f"{number}.wav", tiny.speech_like(0.3, seed=number), 16_000, subtype="FLOAT")
    manifest.write(tmp_path / "manifest.csv", COLUMNS, rows())
    tiny_text.encoder(tmp_path / "models" / "reads")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spoken_nowhere(study: Path, *shown: str) -> None:
    """No file but the manifest, and nothing that was printed, holds a word of what is said."""
    for path in study.rglob("*"):
        if (path.is_file() and path.suffix != ".csv") or path.name in ("predictions.csv", "paper.csv"):
            content = path.read_bytes()
            assert not any(word.encode() in content for word in ("zzcalm", "zzsad", "all is well")), path
    assert not any(word in text for text in shown for word in ("zzcalm", "zzsad"))


def test_a_column_is_read_fused_with_speech_and_asked_of_new_audio(run: Run, study: Path) -> None:
    tiny.hubert(study / "models" / "hears")
    done = run("extract", "--model", "hears", "--model", "reads", "--dtype", "float32")
    assert done[0] == 0 and "texts run in padded batches" in done[2], done
    store = find(study / "features", "reads")
    assert store.layers == tuple(f"encoder.{n}" for n in range(4)) and store.settings["text"] == {"column": "text"}
    again = run("extract", "--model", "reads")
    assert again[0] == 0 and "24 there before" in again[1]
    probed = run("probe", "--model", "hears+reads", *PROBE, "--language", "zh")
    assert probed[0] == 0, probed
    (folder,) = study.glob("result/mood-hears+reads-*")
    page, chinese = ((folder / name).read_text() for name in ("report.html", "report.zh.html"))
    assert "Does adding reads to hears help?" in page and "Does adding hears to reads help?" in page
    assert "在 hears 上加入 reads 有增益吗？" in chinese
    controls = json.loads((folder / "beside.json").read_text())["beside"]
    assert [one["name"] for one in controls] == ["hears", "reads"]
    # the run's own clips get what was said of them, new ones are read; neither is without its text
    own = run("predict", "--from", folder.name, "--manifest", "manifest.csv")
    assert own[0] == 0, own
    for number in range(24):
        sound, rate = soundfile.read(study / f"{number}.wav", dtype="float32")
        soundfile.write(study / f"new{number}.wav", sound[:-80], rate, subtype="FLOAT")
    new = [(f"n{one[0]}", f"new{one[1]}", *one[2:]) for one in rows()]
    manifest.write(study / "new.csv", COLUMNS, new)
    manifest.write(study / "mute.csv", COLUMNS[:-1], [one[:-1] for one in new])
    printed = run("predict", "--from", folder.name, "--manifest", "new.csv")
    assert printed[0] == 0 and len(list(study.glob("predictions/*/predictions.csv"))) == 2, printed
    for words in (("--manifest", "mute.csv"), ("new3.wav",)):
        code, _, err = run("predict", "--from", folder.name, *words)
        assert code == 2 and "No text: the manifest has no column 'text'" in err and err.count("toolkit:") == 1, err
    told = [*done, *again, *probed, *own, *printed]
    for words in (("compare",), ("manifest", "check"), ("features", "list"), ("runs",)):
        code, out, err = run(*words)
        assert code in (0, 2) and "No label" not in out
        told += [out, err]
    spoken_nowhere(study, *map(str, told))


def test_the_stored_text_is_not_taken_for_another_one_of_the_same_audio(run: Run, study: Path) -> None:
    assert run("extract", "--model", "reads")[0] == 0
    assert run("probe", "--model", "reads", *PROBE)[0] == 0
    (folder,) = study.glob("result/mood-reads-linear-*")
    assert run("predict", "--from", folder.name, "--manifest", "manifest.csv", "--output", "same")[0] == 0
    other = [(*one[:-1], WORDS["sad" if one[3] == "calm" else "calm"]) for one in rows()]
    manifest.write(study / "other.csv", COLUMNS, other)
    code, _, err = run("predict", "--from", folder.name, "--manifest", "other.csv", "--output", "other")
    assert code == 0, err
    columns = [(study / name / "predictions.csv").read_text() for name in ("same", "other")]
    assert columns[0] != columns[1]


def test_a_changed_text_is_noticed_as_a_changed_recording_is(run: Run, study: Path) -> None:
    assert run("extract", "--model", "reads")[0] == 0
    before = find(study / "features", "reads").layer("encoder.3")
    changed = [*rows()]
    changed[4] = (*changed[4][:-1], "quite another zzsad thing")
    manifest.write(study / "manifest.csv", COLUMNS, changed)
    for words in (("extract", "--model", "reads"), ("probe", "--model", "reads", *PROBE)):
        code, _, err = run(*words)
        assert code == 2 and "The audio or text of 'c4' is not what" in err and "zzsad" not in err, err
    code, out, err = run("extract", "--model", "reads", "--changed", "recompute")
    assert code == 0 and "1 clips tried" in out and "1 clips are other text or audio" in err
    store = find(study / "features", "reads")
    after = store.layer("encoder.3")
    mean = dict(zip(after.ids, after.mean))
    same = [(mean[clip] == row).all() for clip, row in zip(before.ids, before.mean)]
    assert [clip for clip, one in zip(before.ids, same) if not one] == ["c4"]
    assert (store.folder / "replaced.json").is_file() and run("probe", "--model", "reads", *PROBE)[0] == 0


def test_a_clip_without_text_and_one_with_too_long_a_text_are_named_and_left_out(run: Run, study: Path) -> None:
    some = [*rows()]
    some[0], some[1] = (*some[0][:-1], "  "), (*some[1][:-1], "far too long " * 9)
    manifest.write(study / "manifest.csv", COLUMNS, some)
    code, out, err = run("extract", "--model", "reads")
    assert code == 3 and "2 failed" in out
    assert "clip 'c0' has no text in the column 'text'" in err
    assert "clip 'c1' has a text of 118 tokens, reads takes 40; --cut-text takes the first" in err
    assert run("probe", "--model", "reads", *PROBE)[0] == 0
    some[0] = (*some[0][:-1], "now there is one")
    manifest.write(study / "manifest.csv", COLUMNS, some)
    code, out, _ = run("extract", "--model", "reads")
    assert code == 3 and "1 clips tried" in out
    code, out, _ = run("extract", "--model", "reads", "--cut-text")
    assert code == 0 and "24 clips tried" in out and "1 cut-text" in out
    (cut,) = [s for s in map(lambda f: find(study / "features", f.name), study.glob("features/reads-*"))
              if s.settings["text"].get("longer")]  # fmt: skip
    assert run("probe", "--model", cut.folder.name, *PROBE)[0] == 0
    pages = [path.read_text() for path in study.glob("result/mood-reads-*/report.html")]
    assert any("With a longer text than its encoder takes, and cut: 1 of 24 clips." in page for page in pages)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--model", "reads", "--layers", "0-1"), "--layers: reads reads text"),
        (("--model", "reads", "--dtype", "bfloat16"), "--dtype bfloat16: reads reads text"),
        (("--model", "reads", "--text", "words"), "the manifest has no column 'words'"),
        (("--model", "reads", "--window", "0.2"), "--window: a cell of the column 'text' is of a whole row"),
        (("--model", "hears", "--text", "text"), "--text has no effect: none of hears reads text"),
        (("--model", "hears", "--cut-text"), "--cut-text has no effect"),
    ],
)
def test_what_means_nothing_is_refused(run: Run, study: Path, words: tuple[str, ...], sentence: str) -> None:
    tiny.hubert(study / "models" / "hears")
    code, out, err = run("extract", *words)
    assert (code, out) == (2, "") and sentence in err, err


def test_what_reads_is_neither_fine_tuned_nor_randomised(run: Run, study: Path) -> None:
    assert run("extract", "--model", "reads")[0] == 0
    for words in (
        ("finetune", "--model", "reads", "--target", "mood"),
        ("models", "randomise", "reads"),
        ("models", "check", "reads"),
        ("probe", "--model", "reads", *PROBE, "--control", "random"),
    ):
        code, _, err = run(*words)
        assert code in (2, 4) and "reads text" in err, err
    code, out, _ = run("models", "show", "reads")
    assert code == 0 and "bert" in out


def test_a_recipe_has_it_as_any_other_and_from_python_it_is_the_same(run: Run, study: Path) -> None:
    tiny.hubert(study / "models" / "hears")
    (study / "r.toml").write_text(
        '[study]\ntarget = "mood"\nfolds = 3\n[extract]\nmodel = ["hears", "reads"]\ndtype = "float32"\ntext = "text"\n'
        '[probe]\ntrials = 1\nfuse = "hears+reads"\n'
    )
    code, _, err = run("run", "r.toml")
    assert code == 0 and list(study.glob("result/mood-hears+reads-*")), err
    (study / "t.toml").write_text((study / "r.toml").read_text() + '[[finetune]]\nmodel = "reads"\ntrain = "head"\n')
    code, _, err = run("run", "t.toml")
    assert code == 2 and "reads reads text, and only models of speech are fine-tuned" in err
    assert toolkit.open(study).extract("reads").cached
    with pytest.raises(InputError, match="text has no effect"):
        toolkit.open(study).extract("hears", text="text")
