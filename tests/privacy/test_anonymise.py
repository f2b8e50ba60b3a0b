"""Keyed hashes for names: nothing that is made of such a manifest holds a name, and the key is kept apart."""

import stat
from pathlib import Path

import pytest

from tests.conftest import Run, WriteSound
from toolkit.corpus import manifest
from toolkit.privacy import residue_search
from toolkit.privacy.anonymise import Key, anonymise

NAMES = ["call one", "call two", "Käthe Müller", "someone"]


@pytest.fixture
def study(tmp_path: Path, write_sound: WriteSound) -> Path:
    for number in range(3):
        write_sound(f"{number}.wav")
    rows = [(f"{name}/1", f"{number}.wav", name, NAMES[3], "1") for number, name in enumerate(NAMES[:3])]
    manifest.write(tmp_path / "manifest.csv", ("id", "path", "speaker", "counsellor", "fear"), rows)
    return tmp_path


def test_ids_and_speakers_become_hashes_that_only_the_key_gives_again(study: Path, run: Run) -> None:
    words = ("manifest", "anonymise", "-w", study, "--also", "counsellor")
    code, out, _ = run(*words, "--key", study / "key", "--out", study / "anonymous.csv")
    assert (code, out) == (0, "anonymous.csv: 3 clips, 3 columns hashed; use it by --manifest anonymous.csv\n")
    assert stat.S_IMODE((study / "key").stat().st_mode) == 0o600
    hashed = manifest.read(study / "anonymous.csv")
    assert hashed.cells("fear") == ("1", "1", "1") and hashed.cells("path") == ("0.wav", "1.wav", "2.wav")
    assert len(set(hashed.cells("id")) | set(hashed.cells("speaker")) | set(hashed.cells("counsellor"))) == 7
    original = [study / "manifest.csv"]
    assert not residue_search.search(study, [*NAMES, *(f"{name}/1" for name in NAMES)], original).found
    assert run(*words, "--key", study / "key", "--out", study / "again.csv")[0] == 0
    assert (study / "again.csv").read_bytes() == (study / "anonymous.csv").read_bytes()
    assert run(*words, "--key", study / "other", "--out", study / "other.csv")[0] == 0
    assert not set(manifest.read(study / "other.csv").cells("id")) & set(hashed.cells("id"))
    code, out, _ = run(*words, "--key", study / "key", "--out", "unused", "--who", NAMES[2])
    assert f"speaker: {hashed.cells('speaker')[2]}\n" in out and not Path("unused").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--key", "result/key", "--out", "x.csv"), "may not be in result/"),
        (("--key", "link/key", "--out", "x.csv"), "may not be in features/"),
        (("--key", "manifest.csv", "--out", "x.csv"), "manifest.csv is no key"),
        (("--key", "open", "--out", "x.csv"), "can be read by others"),
        (("--key", "nowhere/key", "--out", "x.csv"), "cannot be made: No such file"),
        (("--key", "key", "--out", "manifest.csv"), "is there already"),
        (
            ("--key", "key", "--out", "result/x.csv"),
            "expected a file in the folder that the manifest's paths start from",
        ),
        (
            ("--key", "key", "--out", "x.csv", "--also", "path"),
            "Bad --also 'path', expected one of ['counsellor', 'fear']",
        ),
    ],
)
def test_what_would_undo_it_is_refused(
    words: tuple[str, ...], sentence: str, study: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study)
    for name in ("result", "features"):
        (study / name).mkdir()
    (study / "link").symlink_to(study / "features")
    (study / "open").write_text("0" * 64)
    (study / "open").chmod(0o644)
    code, out, err = run("manifest", "anonymise", *words)
    assert (code, out) == (2, "") and sentence in err and str(study) not in err
    assert not (study / "x.csv").exists()


def test_a_call_that_is_named_after_its_caller_is_hashed_too(tmp_path: Path) -> None:
    file = tmp_path / "manifest.csv"
    (tmp_path / "a.wav").touch()
    manifest.write(file, ("id", "path", "speaker", "recording", "mood"), [("c/1", "a.wav", "call7", "call7", "low")])
    anonymise(manifest.read(file), tmp_path / "out.csv", Key(b"0" * 32))
    assert "call7" not in (tmp_path / "out.csv").read_text()
