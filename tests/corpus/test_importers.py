import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from toolkit.core.errors import InputError
from toolkit.corpus import importers, manifest
from toolkit.corpus.labels import HOTLINE

HEADER = ["index", "role", *HOTLINE]


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def sounds(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, np.sin(np.arange(4_000) / 20), 16_000, format=Path(name).suffix[1:].upper())
    return root


def test_a_folder_per_label_becomes_a_manifest_that_reads_without_a_defect(tmp_path: Path) -> None:
    root = sounds(tmp_path, "joy/b.wav", "joy/a.FLAC", "fear/s1/c.mp3", "怒/开心.ogg")
    touch(root, "fear/.hidden.wav", ".git/d.wav", "e.wav", "joy/r.txt", "empty/note.md")
    made = importers.folder(root, root / "manifest.csv")
    read = manifest.read(tmp_path / "manifest.csv")
    assert list(zip(read.cells("id"), read.cells("label"))) == [
        ("fear/s1/c.mp3", "fear"), ("joy/a.FLAC", "joy"), ("joy/b.wav", "joy"), ("怒/开心.ogg", "怒")]  # fmt: skip
    assert read.columns == ("id", "path", "label")
    assert (made.clips, made.speakers, made.labels) == (4, None, {"fear": 1, "joy": 2, "怒": 1})
    assert made.skipped == {
        "hidden files or folders": 2,
        "audio files in no label's folder": 1,
        "files that are no audio by their suffix": 2,
    }
    assert str(made).splitlines()[0] == "manifest.csv: 4 clips, speakers unknown"
    assert "skipped: 1 audio files in no label's folder" in str(made)


@pytest.mark.parametrize(
    ("regex", "speakers"),
    [("/([0-9]+)", ["03", "11"]), (r"(?P<take>[a-z])/(?P<speaker>[0-9]+)", ["03", "11"]), (r"[0-9]{2}", ["03", "11"])],
)
def test_speakers_are_found_by_a_pattern(regex: str, speakers: list[str], tmp_path: Path) -> None:
    made = importers.folder(
        sounds(tmp_path, "x/03a.wav", "y/11b.wav"),
        tmp_path / "manifest.csv",
        speaker_regex=regex,
        label_column="emotion",
    )
    read = manifest.read(tmp_path / "manifest.csv")
    assert [clip.speaker for clip in read.clips] == speakers
    assert (read.label_columns, made.speakers) == (("emotion",), 2)


@pytest.mark.parametrize(
    ("regex", "sentence"),
    [
        ("/([0-9]+)", "finds no speaker in 1 of 2 paths, e.g. 'x/a.wav'"),
        ("(", "is no regular expression"),
        ("/()", "2 of 2"),
    ],
)
def test_a_pattern_that_does_not_fit_every_path_is_refused(regex: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        importers.folder(touch(tmp_path, "x/a.wav", "y/11b.wav"), tmp_path / "manifest.csv", speaker_regex=regex)
    assert not (tmp_path / "manifest.csv").exists()


def test_paths_start_from_the_manifest_where_that_is_above_the_corpus(tmp_path: Path) -> None:
    sounds(tmp_path, "data/joy/a.wav", "data/fear/b.wav")
    touch(tmp_path, "elsewhere/x")
    assert not importers.folder(tmp_path / "data", tmp_path / "manifest.csv").needs_audio_root
    assert [clip.path for clip in manifest.read(tmp_path / "manifest.csv").clips] == [
        "data/fear/b.wav",
        "data/joy/a.wav",
    ]
    made = importers.folder(tmp_path / "data", tmp_path / "elsewhere" / "m.csv")
    assert made.needs_audio_root
    assert "--audio-root" in str(made)
    assert len(manifest.read(tmp_path / "elsewhere" / "m.csv", tmp_path / "data").clips) == 2


def test_links_and_odd_names_are_passed_over_and_counted(tmp_path: Path) -> None:
    sounds(tmp_path, "data/joy/a.wav")
    touch(tmp_path, "data/joy/b\n.wav", "data/joy /c.wav", "data/joy/d\\e.wav", "other/f.wav")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "other")
    (tmp_path / "data" / "joy" / b"\xe9.wav".decode(errors="surrogateescape")).touch()
    made = importers.folder(tmp_path / "data", tmp_path / "data" / "manifest.csv")
    assert made.clips == 1
    assert made.skipped["links to folders"] == 1
    assert made.skipped["audio files whose path has unprintable signs, backslashes, or spaces around a name"] == 4


@pytest.mark.parametrize("column", ["", "id", "speaker", " x"])
def test_a_label_column_needs_a_name_of_its_own(column: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="label column"):
        importers.folder(touch(tmp_path, "x/a.wav"), tmp_path / "manifest.csv", label_column=column)


def test_nothing_is_overwritten_and_an_empty_or_missing_corpus_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a/manifest.csv", "a/x/a.wav", "b/c")
    for importer in (importers.folder, importers.hotline):
        with pytest.raises(InputError, match=r"manifest\.csv is there already"):
            importer(tmp_path / "a", tmp_path / "a" / "manifest.csv")
        with pytest.raises(InputError, match="There is no folder absent/"):
            importer(tmp_path / "absent", tmp_path / "m.csv")
    assert (tmp_path / "a" / "manifest.csv").read_text() == ""
    with pytest.raises(InputError, match="No audio in b/LABEL/"):
        importers.folder(tmp_path / "b", tmp_path / "m.csv")
    with pytest.raises(InputError, match="No CSV file in b/"):
        importers.hotline(tmp_path / "b", tmp_path / "m.csv")
    with pytest.raises(InputError, match="There is no folder nowhere/"):
        importers.folder(tmp_path / "a", tmp_path / "nowhere" / "m.csv")


def call(root: Path, name: str, rows: list[list[object]], header: list[str] = HEADER, encoding: str = "utf-8") -> None:
    with (root / f"{name}.csv").open("w", newline="", encoding=encoding) as file:
        csv.writer(file).writerows([header, *rows])
    touch(root, *[f"{name}/{row[0]}.wav" for row in rows if str(row[0]).isdigit()])


def test_calls_that_pandas_or_excel_saved_are_taken(tmp_path: Path) -> None:
    call(
        tmp_path,
        "来电1",
        [["1.0", "1.0", *["1.0"] * 11], [""] * 13, ["2.0", "0.0", *["0.0"] * 11]],
        encoding="utf-8-sig",
    )
    call(tmp_path, "来电2", [["1", "1", *["FALSE"] * 10, "TRUE"]], [*HEADER[:2], *HOTLINE], encoding="gbk")
    (tmp_path / "来电2" / "1.wav").rename(tmp_path / "来电2" / "1.WAV")
    text = (tmp_path / "来电2.csv").read_bytes().decode("gbk").replace(",", ";")
    (tmp_path / "来电2.csv").write_bytes((text.replace("\r\n", ";备注\r\n") + ";;\r\n").encode("gbk"))
    sounds(tmp_path, "来电1/1.wav", "来电1/2.wav")
    made = importers.hotline(tmp_path, tmp_path / "manifest.csv")
    read = manifest.read(tmp_path / "manifest.csv")
    assert [clip.path for clip in read.clips] == ["来电1/1.wav", "来电2/1.WAV"]
    assert [clip.id for clip in read.clips] == ["来电1/1", "来电2/1"]
    assert (read.cells("despair"), read.cells("grievance")) == (("1", "0"), ("1", "1"))
    assert made.skipped == {"rows of other roles than the caller": 1}


def row(index: object, role: object, *labels: str) -> list[object]:
    return [index, role, *[int(name in labels) for name in HOTLINE]]


def test_the_hotlines_layout_becomes_a_manifest_of_callers(tmp_path: Path) -> None:
    call(tmp_path, "call1", [row(1, 1), row(2, 0, "fear"), row(3, 1, "fear", "despair")])
    call(tmp_path, "来电2", [row(10, 1, "grievance"), row(11, 2)], encoding="utf-8-sig")
    made = importers.hotline(tmp_path, tmp_path / "manifest.csv")
    read = manifest.read(tmp_path / "manifest.csv")
    assert [(clip.id, clip.path, clip.speaker) for clip in read.clips] == [
        ("call1/1", "call1/1.wav", "call1"), ("call1/3", "call1/3.wav", "call1"),
        ("来电2/10", "来电2/10.wav", "来电2")]  # fmt: skip
    assert read.label_columns == (*HOTLINE, "negative")
    assert read.cells("recording") == ("call1", "call1", "来电2")
    assert (read.cells("negative"), read.cells("fear"), read.cells("despair")) == (
        ("0", "1", "1"),
        ("0", "1", "0"),
        ("0", "1", "0"),
    )
    assert (made.clips, made.speakers, made.skipped) == (3, 2, {"rows of other roles than the caller": 2})
    assert (made.labels["negative"], made.labels["fear"], made.labels["pain"]) == (2, 1, 0)


def test_columns_may_come_in_any_order_beside_others(tmp_path: Path) -> None:
    header = ["text", *reversed(HEADER)]
    call(tmp_path, "c", [], header)
    with (tmp_path / "c.csv").open("a", newline="") as file:
        csv.writer(file).writerow(["hello, you", *reversed(row(5, 1, "pain"))])
    touch(tmp_path, "c/5.wav")
    importers.hotline(tmp_path, tmp_path / "manifest.csv")
    read = manifest.read(tmp_path / "manifest.csv")
    assert [read.cells(column) for column in ("id", "pain", "fear")] == [("c/5",), ("1",), ("0",)]


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (row("x", 1), "c.csv, line 3: index 'x', expected the number"),
        (row("../1", 1), "c.csv, line 3: index '../1', expected the number"),
        (row(1, 1), "c.csv, line 3: index 1 is in this call twice"),
        (row(2, "caller"), "c.csv, line 3: role 'caller', expected 1"),
        (row(2, ""), "c.csv, line 3: role '', expected 1"),
        ([2, 1, *["1"] * 10, ""], "c.csv, line 3: grievance '', expected 0 or 1"),
        ([2, 1, *["1"] * 10, "2"], "c.csv, line 3: grievance '2', expected 0 or 1"),
        ([2, 1, "1"], "c.csv, line 3: pain '', expected 0 or 1"),
        ([2, 1, *["1"] * 12], "c.csv is no table with commas between its cells: Expected 13 fields in line 3, saw 14"),
    ],
)
def test_a_bad_row_of_a_call_is_named_by_file_and_line(bad: list[object], sentence: str, tmp_path: Path) -> None:
    call(tmp_path, "c", [row(1, 1), bad])
    with pytest.raises(InputError, match="defects; nothing was written") as caught:
        importers.hotline(tmp_path, tmp_path / "manifest.csv")
    assert sentence in str(caught.value)
    assert not (tmp_path / "manifest.csv").exists()


def test_missing_audio_columns_and_encodings_are_named_together(tmp_path: Path) -> None:
    call(tmp_path, "a", [row(1, 1), row(2, 1)])
    (tmp_path / "a" / "2.wav").unlink()
    call(tmp_path, "b", [], [name for name in HEADER if name != "fear"])
    (tmp_path / "d.csv").write_bytes("悲伤".encode("gb18030"))
    (tmp_path / "e.csv").write_text(",".join(HEADER) + '\n"1')
    with pytest.raises(InputError, match="4 defects") as caught:
        importers.hotline(tmp_path, tmp_path / "manifest.csv")
    told = str(caught.value)
    assert "a.csv, line 3: no such file a/2.wav" in told
    assert "b.csv, line 1: expected each of the columns ['fear'] once" in told
    assert "d.csv, line 1: expected each of the columns ['index'" in told and "the header has ['悲伤']" in told
    assert "e.csv is no table with commas between its cells" in told
    assert str(tmp_path) not in told


def test_a_long_list_of_defects_is_cut(tmp_path: Path) -> None:
    call(tmp_path, "a", [[f"x{number}", *row(1, 1)[1:]] for number in range(50)])
    with pytest.raises(InputError, match="50 defects") as caught:
        importers.hotline(tmp_path, tmp_path / "manifest.csv")
    assert str(caught.value).endswith("and 30 more")
    assert len(str(caught.value).splitlines()) == 22


def test_calls_without_a_caller_are_refused(tmp_path: Path) -> None:
    call(tmp_path, "a", [row(1, 0)])
    with pytest.raises(InputError, match=r"No row of a caller \(role 1\) in 1 CSV files"):
        importers.hotline(tmp_path, tmp_path / "manifest.csv")
