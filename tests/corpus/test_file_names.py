"""Corpora whose file names say it all, and what is left out of their manifests."""

from pathlib import Path

import pytest

from tests.conftest import Run
from tests.corpus.test_importers import sounds, touch
from toolkit.core.errors import InputError
from toolkit.corpus import importers, manifest
from toolkit.corpus.manifest_report import summarise

CORPORA = {
    "RAVDESS": (
        ("Actor_01/03-01-06-01-02-01-01.wav", "Actor_12/03-01-05-02-01-02-12.wav"),
        r"[0-9]{2}-[0-9]{2}-(?P<label>[0-9]{2})-(?P<intensity>[0-9]{2})-.*-(?P<speaker>[0-9]{2})\.wav$",
        "06=fearful,05=angry",
        {"speaker": ("01", "12"), "label": ("fearful", "angry"), "intensity": ("01", "02")},
    ),
    "CREMA-D": (
        ("1001_DFA_ANG_XX.wav", "1002_IEO_SAD_HI.wav"),
        r"(?P<speaker>[0-9]+)_(?P<sentence>[A-Z]+)_(?P<label>[A-Z]+)_",
        "",
        {"speaker": ("1001", "1002"), "label": ("ANG", "SAD"), "sentence": ("DFA", "IEO")},
    ),
    "EmoDB": (
        ("wav/03a01Fa.wav", "wav/16b10Wb.wav"),
        r"(?P<speaker>[0-9]{2})(?P<text>[ab][0-9]{2})(?P<label>[WLEAFTN])[a-z]\.wav$",
        "F=happiness,W=anger",
        {"speaker": ("03", "16"), "label": ("happiness", "anger"), "text": ("a01", "b10")},
    ),
}


@pytest.mark.parametrize("name", CORPORA)
def test_names_of_files_give_speaker_label_and_more(
    name: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, regex, names, columns = CORPORA[name]
    sounds(tmp_path / "corpus", *files)
    monkeypatch.chdir(tmp_path)
    more = ("--label-names", names) if names else ()
    code, out, err = run("manifest", "folder", "corpus", "--regex", regex, *more)
    assert (code, err) == (0, "") and out.endswith("written to manifest.csv\n")
    read = manifest.read(tmp_path / "manifest.csv")
    assert {column: read.cells(column) for column in columns} == columns
    assert read.cells("path") == tuple(f"corpus/{file}" for file in files)
    code, _, err = run("manifest", "folder", "corpus", "--regex", regex)
    assert code == 2 and "say --overwrite" in err
    assert run("manifest", "folder", "corpus", "--regex", regex, "--overwrite")[0] == 0


def test_times_in_names_are_seconds(tmp_path: Path) -> None:
    sounds(tmp_path, "a_0.05_0.1.wav", "b_0_0,2.wav")
    pattern = r"(?P<label>[ab])_(?P<start>[0-9.,]+)_(?P<end>[0-9.,]+)\.wav"
    importers.folder(tmp_path, tmp_path / "manifest.csv", regex=pattern)
    assert [(clip.start, clip.end) for clip in manifest.read(tmp_path / "manifest.csv").clips] == [
        (0.05, 0.1),
        (0, 0.2),
    ]


@pytest.mark.parametrize(
    ("regex", "names", "sentence"),
    [
        ("(", (), "is no regular expression"),
        ("[a-z]", (), "must name what it finds"),
        ("(?P<id>a)", (), "neither id nor path"),
        ("(?P<label>a1)", (), "does not match 1 of 2 paths, e.g. 'b1.wav'"),
        ("(?P<label>[ab])(?P<sex>m?)", (), "finds no sex in 'a1.wav', expected text"),
        ("(?P<start>[ab])(?P<label>1)", (), "finds no start in 'a1.wav', expected seconds"),
        ("(?P<label>[ab])(?P<Speaker>1)", (), "name the group 'speaker' in small letters"),
        ("(?P<label>[ab])", ("c=d",), "--label-names c=d: expected CODE=NAME, of the labels a, b"),
    ],
)
def test_an_expression_that_does_not_fit_is_refused(
    regex: str, names: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    touch(tmp_path, "a1.wav", "b1.wav")
    with pytest.raises(InputError) as caught:
        importers.folder(tmp_path, tmp_path / "manifest.csv", regex=regex, label_names=names)
    assert sentence in str(caught.value)
    assert not (tmp_path / "manifest.csv").exists()


def test_what_a_later_command_would_refuse_is_left_out_and_named(tmp_path: Path) -> None:
    sounds(tmp_path, "corpus/joy/a.wav", "corpus/fear/b.wav", "other/c.wav")
    touch(tmp_path, "corpus/joy/empty.wav", "corpus/joy/note.txt", "corpus/joy/x.caf", "corpus/joy/y.caf")
    (tmp_path / "corpus" / "joy" / "gone.wav").symlink_to("nothing.wav")
    (tmp_path / "corpus" / "joy" / "link.wav").symlink_to(tmp_path / "other" / "c.wav")
    made = importers.folder(tmp_path / "corpus", tmp_path / "corpus" / "manifest.csv")
    assert summarise(tmp_path / "corpus" / "manifest.csv").defects == ()
    assert made.clips == 2 and set(made.left_out) == {"joy/empty.wav", "joy/gone.wav", "joy/link.wav"}
    assert "is a link, or goes through one, that leaves the audio root" in made.left_out["joy/link.wav"]
    assert "no such file" in made.left_out["joy/gone.wav"]
    assert "left out: joy/empty.wav: " in str(made)
    (unread,) = [reason for reason in made.skipped if reason.startswith(".caf files as audio it cannot read: ")]
    assert "'joy/x.caf'" in unread and made.skipped[unread] == 2
    assert made.skipped["files that are no audio by their suffix"] == 1

    (tmp_path / "only" / "joy").mkdir(parents=True)
    touch(tmp_path, "only/joy/a.caf")
    with pytest.raises(InputError, match=r"No audio in only/LABEL/.*1 \.caf files as audio it cannot read"):
        importers.folder(tmp_path / "only", tmp_path / "only" / "manifest.csv")
