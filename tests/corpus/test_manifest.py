import csv
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.core.errors import ManifestError
from toolkit.corpus import manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with audio files a.wav and sub/b.wav (empty; a manifest looks at names only)."""
    (tmp_path / "corpus" / "sub").mkdir(parents=True)
    for name in ("a.wav", "sub/b.wav"):
        (tmp_path / "corpus" / name).touch()
    return tmp_path / "corpus"


def defects(folder: Path, text: str | bytes) -> list[str]:
    content = text if isinstance(text, bytes) else text.encode()
    (folder / "manifest.csv").write_bytes(content)
    found = manifest.inspect(folder / "manifest.csv")[1]
    if found:
        with pytest.raises(ManifestError, match=r"^manifest\.csv, line ") as caught:
            manifest.read(folder / "manifest.csv")
        assert list(caught.value.defects) == found
        assert caught.value.exit_code == 2
    assert str(folder) not in " ".join(found)
    return found


def test_a_full_manifest_is_read_with_numbers_labels_and_lines(folder: Path) -> None:
    text = (
        "id,path,start,end,channel,duration,speaker,split,fear,joy\n"
        'one,a.wav,0.5,1.5,0,1,s1,train,1,"0"\n\n"two\u00e9",sub/b.wav,,,,,s2,test,0,1\n'
    )
    (folder / "manifest.csv").write_text(text, encoding="utf-8")
    read = manifest.read(folder / "manifest.csv")
    assert (read.name, read.root, read.label_columns, read.lines) == ("manifest.csv", folder, ("fear", "joy"), (2, 4))
    first, second = read.clips
    assert (first.start, first.end, first.channel, first.duration) == (0.5, 1.5, 0, 1)
    assert (second.start, second.end, second.channel, second.duration) == (None, None, None, None)
    assert [(clip.id, clip.speaker, clip.split) for clip in read.clips] == [
        ("one", "s1", "train"),
        ("twoé", "s2", "test"),
    ]
    assert read.cells("joy") == ("0", "1")
    assert read.audio_path(second) == folder / "sub" / "b.wav"
    bare = manifest.read(folder / "manifest.csv", cells=False)
    assert tuple(bare.clips) == bare.clips[:] == tuple(replace(clip, cells=()) for clip in read.clips)
    assert (bare.clips[-1], len(bare.clips), bare.lines) == (replace(second, cells=()), 2, read.lines)


def test_lines_are_counted_through_quoted_line_ends_and_any_line_end(folder: Path) -> None:
    (folder / "manifest.csv").write_bytes(b'id,path,note\r\n1,a.wav,"two\r\nlines"\r\n2,sub/b.wav,x\r\n1,a.wav,y\r\n')
    read, found = manifest.inspect(folder / "manifest.csv")
    assert read is not None
    assert read.lines == (2, 4, 5)
    assert found == ["line 5, column 'id': duplicate id '1', first used in line 2"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "line 1: the file is empty"),
        ("id,path\n", "line 2: no clips"),
        ("id;path\nx;a.wav\n", "line 1: no column 'id'; the header has ['id;path']"),
        ("id,speaker\nx,s\n", "line 1: no column 'path'"),
        ("id,path,id\nx,a.wav,y\n", "line 1: column 'id' is there twice"),
        ("id, path\nx,a.wav\n", "line 1: no column 'path'"),
        ("id,path,Speaker\nx,a.wav,s\n", "line 1: column 'Speaker'; expected 'speaker' in small letters"),
        ("id,path,\nx,a.wav,\n", "line 1: bad column name ''"),
        ("id,path\nx,a.wav,1\n", "line 2: 3 cells, expected 2"),
        ("id,path\nx,a.wav\nx,a.wav\n", "line 3, column 'id': duplicate id 'x', first used in line 2"),
        ("id,path\n,a.wav\n", "line 2, column 'id': bad id ''"),
        ("id,path\n x,a.wav\n", "line 2, column 'id': bad id ' x'"),
        ('id,path\n"x\ty",a.wav\n', r"line 2, column 'id': bad id 'x\ty'"),
        ("id,path\nx,\n", "line 2, column 'path': it is empty"),
        ("id,path\nx,b.wav\n", "line 2, column 'path': no such file 'b.wav' under the audio root"),
        ("id,path\nx,sub\n", r"line 2, column 'path': 'sub' is not a regular file"),
        ("id,path\nx,.\n", "line 2, column 'path': \'.' is not a regular file"),
        ("id,path\nx,../secret.wav\n", "line 2, column 'path': \'../secret.wav' leaves the audio root"),
        ("id,path\nx,link.wav\n", "line 2, column 'path': \'link.wav' is a link, or goes through one, that leaves"),
        ("id,path\nx,loop.wav\n", "line 2, column 'path': \'loop.wav' cannot be followed"),
        ("id,path\nx,fifo.wav\n", "line 2, column 'path': \'fifo.wav' is not a regular file"),
        ("id,path\nx,/etc/passwd\n", "line 2, column 'path': an absolute path, to 'passwd'; expected one relative"),
        ("id,path\nx,sub\\b.wav\n", r"line 2, column 'path': 'sub\\b.wav'; expected one relative"),
        ("id,path\nx," + "a" * 5000 + "\n", "line 2, column 'path'"),
        ("id,path,start\nx,a.wav,-1\n", "line 2, column 'start': '-1', expected seconds from 0"),
        ("id,path,start\nx,a.wav,nan\n", "line 2, column 'start': 'nan', expected seconds from 0"),
        ("id,path,start\nx,a.wav,1_0\n", "line 2, column 'start': '1_0', expected seconds from 0"),
        ("id,path,start\nx,a.wav,1e999\n", "line 2, column 'start': '1e999', expected seconds from 0"),
        ("id,path,end\nx,a.wav,soon\n", "line 2, column 'end': 'soon', expected seconds from 0"),
        ("id,path,end\nx,a.wav,0\n", "line 2, column 'end': 0 is not after start 0 (seconds)"),
        ("id,path,start,end\nx,a.wav,2,1.5\n", "line 2, column 'end': 1.5 is not after start 2 (seconds)"),
        ("id,path,channel\nx,a.wav,-1\n", "line 2, column 'channel': '-1', expected 0, 1, ..."),
        ("id,path,channel\nx,a.wav,²\n", "line 2, column 'channel': '²', expected 0, 1, ..."),
        ("id,path,channel\nx,a.wav," + "9" * 5000 + "\n", "line 2, column 'channel': '999"),
        ("id,path,speaker\nx,a.wav, \n", "line 2, column 'speaker': it is empty"),
        ("id,path,speaker\nx,a.wav,s1 \n", "line 2, column 'speaker': 's1 '"),
        ("id,path,split\nx,a.wav,\n", "line 2, column 'split': it is empty"),
        ('id,path\nx,"a.wav\n', "line 2: it is not CSV"),
        ('id,path\nx,"a"b\n', "line 2: it is not CSV"),
        ("id,path,note\nx,a.wav," + "n" * 200_000 + "\n", "line 2: it is not CSV"),
        ("id,path\nx,a.wav\n".encode("utf-16"), "line 1: starts with a byte-order mark (UTF-16)"),
        ("id,path,l\nx,a.wav,1\ny,a.wav,悲伤".encode("gb18030"), "line 3: byte 0xb1 is not UTF-8"),
        (b"id,path\nx,a.wav\0\n", "line 2: a NUL character"),
    ],
)  # fmt: skip
def test_a_wrong_manifest_is_refused_by_its_line(text: str | bytes, expected: str, folder: Path) -> None:
    (folder.parent / "secret.wav").touch()
    (folder / "link.wav").symlink_to(folder.parent / "secret.wav")
    (folder / "loop.wav").symlink_to("loop.wav")
    os.mkfifo(folder / "fifo.wav")
    found = defects(folder, text)
    assert found[0].startswith(expected), found


def test_every_defect_is_listed(folder: Path) -> None:
    found = defects(folder, "id,path,start\nx,b.wav,0\ny,a.wav,a\nx,c.wav,-\n")
    assert [defect.split(",")[0] for defect in found] == ["line 2", "line 3", "line 4", "line 4", "line 4"]


def test_a_byte_order_mark_is_read_over(folder: Path) -> None:
    assert defects(folder, b"\xef\xbb\xbfid,path\nx,a.wav\n") == []
    assert manifest.read(folder / "manifest.csv").columns == ("id", "path")


def test_a_link_within_the_root_is_followed(folder: Path) -> None:
    (folder / "inside.wav").symlink_to("sub/b.wav")
    assert defects(folder, "id,path\nx,inside.wav\ny,sub/../a.wav\n") == []


def test_the_audio_may_lie_under_another_root(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("id,path\nx,a.wav\n")
    assert manifest.read(tmp_path / "m.csv", folder).root == folder
    assert manifest.inspect(tmp_path / "m.csv")[1] == [
        "line 2, column 'path': no such file 'a.wav' under the audio root"
    ]
    assert manifest.inspect(tmp_path / "m.csv", tmp_path / "absent")[1] == [
        "line 1: the audio root absent/ is not a folder"
    ]


def test_a_missing_or_unreadable_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"^absent\.csv, line 1: there is no such file in"):
        manifest.read(tmp_path / "absent.csv")
    with pytest.raises(ManifestError, match="cannot be read"):
        manifest.read(tmp_path)


@given(st.binary(max_size=300) | st.text('id,path\n"ax.wv0/\r\0é', max_size=300).map(str.encode))
def test_no_file_whatever_it_holds_is_more_than_a_list_of_defects(folder: Path, content: bytes) -> None:
    for prefix in (b"", b"id,path,start,end,channel,speaker\n"):
        (folder / "manifest.csv").write_bytes(prefix + content)
        read, found = manifest.inspect(folder / "manifest.csv")
        assert all(defect.startswith("line ") for defect in found)
        assert found or (read is not None and read.clips)


cell = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=8)


@given(st.lists(st.tuples(cell, cell), min_size=1, max_size=5))
def test_what_is_written_comes_back(folder: Path, cells: list[tuple[str, str]]) -> None:
    rows = [(str(n), "a.wav", str(n), str(n + 1), *two) for n, two in enumerate(cells)]
    manifest.write(folder / "manifest.csv", ("id", "path", "start", "end", "one", "two"), rows)
    read = manifest.read(folder / "manifest.csv")
    assert list(zip(read.cells("one"), read.cells("two"))) == cells
    assert read.cells("id") == tuple(str(number) for number in range(len(cells)))


@pytest.mark.parametrize("bad", ["a\rb", "a\0b", "a\udce9b"])
def test_what_would_not_come_back_is_not_written(bad: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"row 2: path .*; expected text without control characters"):
        manifest.write(tmp_path / "manifest.csv", ("id", "path"), [("x", "a"), ("y", bad)])
    assert list(tmp_path.iterdir()) == []


def test_segments_of_which_two_last_to_the_end_of_the_file_are_refused(folder: Path) -> None:
    """Their ends are in a column that is not read, such as a duration."""
    assert defects(folder, "id,path,start,duration\n0,a.wav,,1\n1,a.wav,1,1\n2,a.wav,2,1\n3,sub/b.wav,1,1\n") == [
        f"line {line}: it has no end, as line 2 has none, so that both last to the end of 'a.wav'; expected an `end` "
        "(seconds) for every segment of a file but one"
        for line in (3, 4)
    ]
    assert defects(folder, "id,path,start,end,channel\n0,a.wav,0,1,0\n1,a.wav,1,,0\n2,a.wav,2,,1\n") == []


def test_rows_that_are_the_same_audio_are_refused_with_what_may_tell_them_apart(folder: Path) -> None:
    rows = "".join(f"{n},a.wav,{n},{n + 1},{n % 2},s1,joy\n" for n in range(3)) + "b,sub/b.wav,0,1,0,s2,joy\n"
    assert defects(folder, "id,path,开始,结束 (s),声道,speaker,emotion\n" + rows) == [
        "line 3: the same audio as line 2 and 1 more rows: 'a.wav', all of it; expected each audio once: the columns "
        "'开始' and '结束 (s)' and '声道' may hold times or channels, which are read from columns named 'start', 'end' "
        "(seconds) and 'channel' (from 0)"
    ]
    assert defects(folder, "id,path,start,end,channel,speaker,emotion\n" + rows) == []


def test_one_audio_with_two_labels_is_refused_with_both(folder: Path) -> None:
    text = "id,path,start,end,channel,emotion\nx,a.wav,0,1.5,1,joy\ny,sub/../a.wav,,1.5,1,anger\nz,a.wav,,1.5,0,joy\n"
    assert defects(folder, text) == [
        "line 3: the same audio as line 2: 'a.wav' from 0 s to 1.5 s, channel 1, with 'emotion' 'joy' in line 2 and "
        "'anger' in line 3; expected one row"
    ]
    assert defects(folder, text.replace("anger", "joy"))[0].endswith(
        "expected each audio once: leave the other rows out, or tell them apart by start, end or channel"
    )
    bare = manifest.inspect(folder / "manifest.csv", cells=False)[1]
    assert bare == defects(folder, text.replace("anger", "joy"))


def test_fifty_thousand_clips_are_read_in_seconds(folder: Path) -> None:
    rows = ((str(n), "a.wav", str(n), str(n + 1)) for n in range(50_000))
    manifest.write(folder / "manifest.csv", ("id", "path", "start", "end"), rows)
    assert len(manifest.read(folder / "manifest.csv").clips) == 50_000
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        assert sum(1 for _ in csv.reader(file)) == 50_001
