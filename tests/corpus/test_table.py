"""Tables as people have them, into manifests that every later command takes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import toolkit
from tests.conftest import Run, WriteSound
from toolkit.core.errors import InputError, LabelError, SplitError
from toolkit.corpus import manifest, sheet
from toolkit.corpus.manifest_report import summarise
from toolkit.corpus.options import TableOptions
from toolkit.corpus.spellings import Rules
from toolkit.corpus.table import Imported, table

Make = Callable[..., Imported]


@pytest.fixture
def make(tmp_path: Path, write_sound: WriteSound) -> Make:
    """Calls of 2 s, 8 kHz and two channels in calls/, and a table of them made a manifest, which is then checked."""
    for number in range(4):
        write_sound(f"calls/c{number}.wav", seconds=2, rate=8_000, channels=2)

    def run(name: str, content: bytes | Sequence[Sequence[Any]], **options: Any) -> Imported:
        file = tmp_path / name
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            pd.DataFrame(content).to_excel(file, header=False, index=False)
        (tmp_path / "manifest.csv").unlink(missing_ok=True)
        made = table(file, tmp_path / "manifest.csv", TableOptions(file=file, **options))
        rules = Rules(unknown=options.get("unknown", "refuse"))
        assert summarise(tmp_path / "manifest.csv", rules=rules).defects == ()
        return made

    return run


def read(folder: Path) -> dict[str, tuple[str, ...]]:
    found = manifest.read(folder / "manifest.csv")
    return {column: found.cells(column) for column in found.columns}


def test_an_excel_sheet_with_chinese_headings_needs_no_option(make: Make, tmp_path: Path) -> None:
    made = make("标注.xlsx", [
        ["电话语音标注表", None, None, None, None, None, None],
        ["音频", "说话人", "情绪", "开始", "结束", "声道", "备注"],
        ["calls\\c0.wav", 1.0, "悲伤", "00:00:00.50", "00:00:01,5", 1, "秘密"],
        ["calls\\c0.wav", 2.0, "愤怒", "0:01.6", 2, 2, None],
        [None, None, None, None, None, None, None],
        ["calls/C1", 3.0, "悲伤", None, 1.25, 1, None],
        [None, None, None, None, None, None, None],
    ])  # fmt: skip
    assert read(tmp_path) == {
        "id": ("calls/c0.wav#0:0.5-1.5", "calls/c0.wav#1:1.6-2", "calls/c1.wav#0:0-1.25"),
        "path": ("calls/c0.wav", "calls/c0.wav", "calls/c1.wav"),
        "start": ("0.5", "1.6", ""),
        "end": ("1.5", "2", "1.25"),
        "channel": ("0", "1", "0"),
        "speaker": ("1", "2", "3"),
        "情绪": ("悲伤", "愤怒", "悲伤"),
    }
    assert (made.clips, made.left_out) == (3, {})
    assert str(made).splitlines() == [
        "标注.xlsx: Excel, sheet 'Sheet1'; 3 rows and 1 blank",
        "  path: '音频', by its heading",
        "  speaker: '说话人', by its heading",
        "  start: '开始', by its heading",
        "  end: '结束', by its heading",
        "  channel: '声道', by its heading",
        "  音频: 'c0.wav' is 'calls/c0.wav', and 2 more alike",
        "  开始: read as seconds, or times by the clock, e.g. '00:00:00.50' is 0.5 s",
        "  结束: read as seconds, or times by the clock, e.g. '00:00:01,5' is 1.5 s",
        "  声道: channels counted from 1",
        "  not taken: '备注'; --label takes more columns",
        "  speakers: 3",
        "  label '情绪': 悲伤 (2), 愤怒 (1)",
        "manifest.csv: 3 clips",
    ]


ROWS = "文件名,来电者,情绪,求助\nc0.wav,甲,悲伤,是\nc1.wav,乙,愤怒,否\n\n,,,\n"


@pytest.mark.parametrize(
    ("content", "how"),
    [
        (ROWS.encode(), "utf-8, commas"),
        (b"\xef\xbb\xbf" + ROWS.encode(), "utf-8, commas"),
        (ROWS.encode("gbk"), "gb18030, commas"),
        (ROWS.replace("甲", "㐀").encode("gb18030"), "gb18030, commas"),
        (ROWS.replace(",", "\t").encode("utf-16"), "utf-16, tabs"),
        (ROWS.replace(",", ";").replace("\n", "\r\n").encode("utf-16-le"), "utf-16-le, semicolons"),
        (ROWS.encode("utf-16-be"), "utf-16-be, commas"),
    ],
)
def test_texts_of_every_encoding_and_separator_give_one_manifest(
    make: Make, tmp_path: Path, content: bytes, how: str
) -> None:
    (tmp_path / "calls" / "sub").mkdir()
    made = make("calls/labels.csv", content, label="情绪,求助")
    assert f"text in {how} between the cells; 2 rows" in made.notes[0]
    found = read(tmp_path)
    assert found["path"] == ("calls/c0.wav", "calls/c1.wav")
    assert (found["情绪"], found["求助"]) == (("悲伤", "愤怒"), ("1", "0"))
    assert "  求助: '否', '是' read as 0 and 1" in made.notes


def test_what_pandas_and_excel_make_of_yes_no_and_whole_numbers(make: Make, tmp_path: Path) -> None:
    made = make("t.xlsx", [
        ["file", "caller", "sad", "angry", "rating"],
        ["calls/c0.wav", 7.0, True, 1.0, 3.0],
        ["calls/c1.wav", 8.0, False, None, 4.0],
        ["calls/c2.wav", 9.0, True, 0.0, None],
    ], speaker="caller", label="sad,angry,rating")  # fmt: skip
    found = read(tmp_path)
    assert found["speaker"] == ("7", "8", "9")
    assert (found["sad"], found["angry"], found["rating"]) == (("1", "0", "1"), ("1", "", "0"), ("3", "4", ""))
    assert "  label 'angry': 0 (1), 1 (1); 1 without a label, which --unlabelled skip leaves out" in made.notes


def test_rows_that_are_not_understood_are_left_out_by_their_line(make: Make, tmp_path: Path) -> None:
    (tmp_path / "calls" / "broken.wav").write_bytes(b"RIFF")
    made = make("t.csv", (
        "path;speaker;start;end;label\n"
        "calls/c0.wav;a;0;1,5;x\ncalls/none.wav;a;0;1;x\ncalls/c1.wav;;0;1;x\ncalls/c1.wav;b;soon;1;x\n"
        "calls/c1.wav;b;0;9;x\ncalls/c1.wav;b;1;0,5;y\ncalls/broken.wav;b;0;1;y\ncalls/c0.wav;a;0;1,5;x\n"
        "calls/c2.wav;未知;0;1;x\ncalls/c3.wav;b;0;1;y\n;b;0;1;y\n"
    ).encode())  # fmt: skip
    assert read(tmp_path)["path"] == ("calls/c0.wav", "calls/c3.wav")
    told = {line: why.split(",")[0] for line, why in made.left_out.items()}
    assert told.pop(6).startswith("'calls/c1.wav' ") and told.pop(8).startswith("'calls/broken.wav' ")
    assert told == {
        3: "path: no such file 'none.wav'; --audio-root FOLDER says where it is",
        4: "speaker: it is empty",
        5: "start: 'soon'",
        7: "column 'end': 0.5 is not after start 1 (seconds)",
        9: "the same as line 2",
        10: "speaker: '未知' names no one",
        12: "path: it names no audio file",
    }
    assert "not understood, and left out: 9 rows" in str(made)


def test_paths_of_another_machine_are_found_by_their_longest_end(make: Make, tmp_path: Path) -> None:
    make("t.csv", b"path,speaker,label\nD:\\data\\calls\\C0.WAV,a,x\n/mnt/x/c1,b,y\n", label="label")
    with pytest.raises(InputError, match="no row was understood"):
        make("t.csv", b"path,speaker,label\n../calls/c0.wav,a,x\n")
    assert not (tmp_path / "manifest.csv").exists()


def test_a_start_and_a_duration_make_an_end(make: Make, tmp_path: Path) -> None:
    table = b"file,label,start (ms),%s (ms),channel\ncalls/c0.wav,x,500,250,0\ncalls/c0.wav,y,900,1000,0\n"
    assert "'duration (ms)', by its heading; a clip ends so long" in str(
        make("t.csv", table % b"duration", label="label")
    )
    assert (read(tmp_path)["start"], read(tmp_path)["end"]) == (("0.5", "0.9"), ("0.75", "1.9"))
    with pytest.raises(InputError, match="line 3: it has no end, as line 2 has none, so that both last to the end"):
        make("t.csv", table % b"extent", label="label")


def test_audio_outside_the_manifests_folder_starts_from_its_root(make: Make, tmp_path: Path) -> None:
    study, file = tmp_path / "study", tmp_path / "t.csv"
    study.mkdir()
    file.write_text("path,speaker,label\ncalls/c0.wav,a,x\ncalls/c1.wav,b,y\n")
    made = table(file, study / "manifest.csv", TableOptions(file=file), [tmp_path])
    assert "--audio-root to every command" in str(made)
    assert summarise(study / "manifest.csv", tmp_path).defects == ()
    assert str(tmp_path) not in (study / "manifest.csv").read_text()


@pytest.mark.parametrize(
    ("text", "options", "error", "sentence"),
    [
        ("a,b\nx,y\n", {}, InputError, "which columns are labels"),
        ("path,speaker,label\nx,1.38E+11,y\n", {}, SplitError, r"1\.38E\+11' .line 2. looks cut by a spreadsheet"),
        ("path,label\nx,a\ny,b\nz,\"b, a\"\n", {}, LabelError, "'b, a' .line 4. lists several labels in one cell"),
        ("a,label\nx,y\n", {}, InputError, "which column names the audio file"),
        ("file,wav,label\nx,x,y\n", {}, InputError, "'file' or 'wav' may be the path; name one with --path"),
        ("file,label\nx,y\n", {"speaker": "speakr"}, InputError, "--speaker speakr: t.csv has no column of that name"),
        ("file,speaker,label\nx,a,y\n", {"speaker": "speker"}, InputError, "did you mean 'speaker'"),
        ("file,split,label\nx,a,y\n", {"label": "split"}, InputError, "a label cannot be called 'split'"),
        ("file,start samples,label\nx,0,y\n", {"start": "start samples"}, InputError, "counts samples or frames"),
        ("file,ch,label\ncalls/c0.wav,1,y\n", {}, InputError, "Say --first-channel 0 or 1"),
        ("file,label\ncalls/c0.wav,sad\ncalls/c1.wav,Sad\n", {}, LabelError, "'sad' .* and 'Sad' .*--spellings merge"),
        ("file,speaker,label\ncalls/c0.wav,s1,x\ncalls/c1.wav,S1,y\n", {}, SplitError, "--spellings merge"),
        ("file,label\ncalls/c0.wav,sad\ncalls/c0.wav,joy\n", {}, InputError, "line 3: the same audio as line 2"),
        ("file,speaker,label\ncalls/c0.wav,a,x\ncalls/c0.wav,b,x\n", {}, InputError, "the same audio as line 2"),
        ("file,label\nx,y,z\n", {}, InputError, "no table with commas between its cells"),
        ("", {}, InputError, "is empty"),
        (",\n,\n", {}, InputError, "holds nothing"),
        ("file,label\nx,y\n", {"sheet": "a"}, InputError, "--sheet has no effect on t.csv, which is text"),
        ("file,label\nx,y\n", {"encoding": "utf-5"}, InputError, "no text in utf-5"),
    ],
)  # fmt: skip
def test_what_the_table_cannot_say_is_asked_for(
    make: Make, tmp_path: Path, text: str, options: Any, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        make("t.csv", text.encode(), **options)
    assert not (tmp_path / "manifest.csv").exists()


def test_spellings_are_merged_where_that_is_said(make: Make, tmp_path: Path) -> None:
    text = "file,speaker,label\ncalls/c0.wav,s1,sad\ncalls/c1.wav,S1,sad\ncalls/c2.wav,s1,Sad\n"
    make("t.csv", text.encode(), spellings="merge")
    assert (read(tmp_path)["speaker"], read(tmp_path)["label"]) == (("s1",) * 3, ("sad",) * 3)


def test_cells_that_name_no_label_are_empty_and_said(make: Make, tmp_path: Path) -> None:
    rows = ("是,有,sad", "否,无,未知", "N/A,有,无", ",,joy")
    text = "file,求助,有无,mood\n" + "".join(f"calls/c{number}.wav,{row}\n" for number, row in enumerate(rows))
    made = make("t.csv", text.encode(), label="求助,有无,mood")
    found = read(tmp_path)
    assert (found["求助"], found["有无"]) == (("1", "0", "", ""), ("1", "0", "1", ""))
    assert found["mood"] == ("sad", "", "", "joy")
    assert "  mood: '无', '未知' name no label, so these cells are left empty" in made.notes
    assert "  求助: 'N/A' name no label, so these cells are left empty" in made.notes
    make("t.csv", text.encode(), label="mood", unknown="keep")
    assert read(tmp_path)["mood"] == ("sad", "未知", "无", "joy")


def test_headings_of_several_lines_are_one(make: Make, tmp_path: Path) -> None:
    make("t.xlsx", [["file", "情绪\n标签"], ["calls/c0.wav", "x"], ["calls/c1.wav", "y"]], label="情绪 标签")
    assert read(tmp_path)["情绪 标签"] == ("x", "y")
    with pytest.raises(InputError, match="a label cannot be called 'a,b'"):
        make("t.xlsx", [["file", "a,b"], ["calls/c0.wav", "x"]], label="a,b")


def test_channels_are_counted_as_said_and_sides_need_no_number(make: Make, tmp_path: Path) -> None:
    make("t.csv", b"file,ch,label\ncalls/c0.wav,1,x\ncalls/c1.wav,1,y\n", first_channel=0)
    assert read(tmp_path)["channel"] == ("1", "1")
    make("t.csv", "file,声道,start(ms),label\ncalls/c0.wav,右,500,x\ncalls/c1.wav,left,0,y\n".encode())
    assert (read(tmp_path)["channel"], read(tmp_path)["start"]) == (("1", "0"), ("0.5", "0"))
    made = make("t.csv", b"file,ch,label\ncalls/c0.wav,0,x\ncalls/c1.wav,2,y\ncalls/c2.wav,both,y\n")
    assert read(tmp_path)["channel"] == ("0",) and set(made.left_out) == {3, 4}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"PK\3\4 no more", "is no whole Excel file"),
        (b"\xd0\xcf\x11\xe0", "before 2007, or has a password"),
    ],
)
def test_what_is_no_table_is_named(make: Make, content: bytes, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make("t.xlsx", content)


def test_a_workbook_that_would_fill_the_memory_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "MOST_BYTES", 1_000)
    with pytest.raises(InputError, match="bytes when unpacked, expected at most 1,000"):
        make("t.xlsx", [["file", "label"], ["calls/c0.wav", "x"]])


def test_of_a_workbook_the_first_sheet_that_holds_something(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "t.xlsx"
    with pd.ExcelWriter(file) as book:
        pd.DataFrame().to_excel(book, sheet_name="封面")
        pd.DataFrame({"file": ["calls/c0.wav"], "label": ["x"]}).to_excel(book, sheet_name="一", index=False)
        pd.DataFrame({"file": ["calls/c1.wav"], "label": ["y"]}).to_excel(book, sheet_name="二", index=False)
    out = tmp_path / "manifest.csv"
    made = table(file, out, TableOptions(file=file))
    assert "sheet '一', the first of 2 (--sheet names another)" in made.notes[0]
    with pytest.raises(InputError, match="is there already and is not overwritten"):
        table(file, out, TableOptions(file=file, sheet="二"))
    table(file, out, TableOptions(file=file, sheet="二", overwrite=True))
    assert read(tmp_path)["path"] == ("calls/c1.wav",)
    with pytest.raises(InputError, match="Bad --sheet '三'"):
        table(file, out, TableOptions(file=file, sheet="三", overwrite=True))


def test_the_command_writes_the_workspaces_manifest_and_exits_with_3_for_rows_left_out(
    make: Make, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"音频": ["calls/c0.wav", "x.wav"], "情绪": ["悲", "怒"]}).to_excel(tmp_path / "t.xlsx", index=False)
    code, out, err = run("manifest", "table", "t.xlsx")
    assert (code, err) == (3, "")
    assert "  line 3: 音频: no such file 'x.wav'; --audio-root FOLDER says where it is\n" in out
    assert out.endswith("manifest.csv: 1 clips\nwritten to manifest.csv\n")
    code, out, err = run("manifest", "table", "t.xlsx")
    assert (code, out) == (2, "") and "say --overwrite" in err


def test_from_python_it_is_a_method_with_the_same_options(make: Make, tmp_path: Path) -> None:
    pd.DataFrame([["calls/c0.wav", "s1", "sad"], ["calls/c9.wav", "s2", "calm"]], columns=["a", "b", "c"]).to_excel(
        tmp_path / "own.xlsx", index=False
    )
    study = toolkit.open(tmp_path)
    done = study.import_table(tmp_path / "own.xlsx", path="a", speaker="b", label="c")
    assert done.clips == 1 and set(done.left_out) == {3} and study.manifest.cells("c") == ("sad",)
    with pytest.raises(InputError, match="or say overwrite"):
        study.import_table(tmp_path / "own.xlsx", path="a")
