"""The short form of `make faults`: one commit, spoilt at each of its calls by the disk below it."""

import contextlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from faults import containers
from faults.children import build
from faults.disk import Call, Disk, calls
from tests import children
from tests.audio import oracle

ROOT = Path(__file__).parent.parent
PROGRAM = """
import sys
from pathlib import Path
from faults import children
from toolkit.core.errors import DiskFullError
from toolkit.core.artifacts import commit_text, make_folder

folder = Path(sys.argv[1])

def commit():
    make_folder(folder / "new")
    for name, text in (("a", "another"), ("new/b", "first")):
        commit_text(folder / name, text * 3000)
        children.mark(name)

def start(mode, at, record=None):
    for path in (folder / "new" / "b", folder / "new"):
        if path.exists():
            path.rmdir() if path.is_dir() else path.unlink()
    (folder / "a").write_text("old")
    return children.run(commit, children.Arm(folder, mode, at, record))

whole = start(children.RECORD, 0, Path(sys.argv[2]))
assert whole.code == 0, whole.output
for mode in (children.FULL, children.KILL_BEFORE, children.KILL_WITHIN):
    for at in range(whole.calls):
        ended = start(mode, at)
        a, b = (folder / "a").read_text(), folder / "new" / "b"
        assert a in ("old", "another" * 3000), (mode, at, a[:20])
        assert not b.exists() or b.read_text() == "first" * 3000, (mode, at)
        if mode == children.FULL:
            assert (ended.code, "bytes are free" in ended.output) in ((70, True), (0, False)), ended.output
            assert not list(folder.rglob("*.tmp")), (mode, at)
        else:
            assert ended.killed
        for left in folder.rglob("*.tmp"):
            left.unlink()
    assert start(mode, whole.calls).code == 0
print(whole.calls)
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Call]]:
    """A folder as it was before two commits, and what they did to it."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    place = tmp_path_factory.mktemp("faults").resolve()
    folder = place / "folder"
    folder.mkdir()
    command = [sys.executable, "-c", PROGRAM, folder, place / "record"]
    done = subprocess.run(command, env=build(place), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "before").write_text("old")  # an inode of its own: the record knows files by theirs
    (folder / "before").replace(folder / "a")
    shutil.rmtree(folder / "new")
    return folder, list(calls(place / "record"))


def test_a_full_disk_or_a_kill_at_any_call_leaves_the_old_or_the_new(recorded: tuple[Path, list[Call]]) -> None:
    kinds = "".join(call.kind for call in recorded[1])
    assert kinds == "DF" + "CWFRF" + "M" + "CWFRF" + "M"  # and the assertions of the program itself


def test_a_power_cut_at_any_call_loses_nothing_that_was_promised(
    recorded: tuple[Path, list[Call]], tmp_path: Path
) -> None:
    folder, every = recorded
    generator = random.Random(0)
    texts = {"a": "another" * 3000, "new/b": "first" * 3000}
    seen = set()
    for moment in range(len(every) + 1):
        disk = Disk(folder)
        for call in every[:moment]:
            disk.take(call)
        promised = {call.path for call in every[:moment] if call.kind == "M"}
        for _ in range(6):
            disk.after_cut(tmp_path / "after", generator)
            for name, new in texts.items():
                path = tmp_path / "after" / name
                found = path.read_text() if path.exists() else ""
                assert found in ("old" if name == "a" else "", new), (moment, name, found[:20])
                assert name not in promised or found == new, (moment, name)
                seen.add((name, found == new, name in promised))
    assert ("a", True, False) in seen and ("a", False, False) in seen  # the cut does hit what is under way


def test_without_fsync_a_power_cut_loses_or_tears_what_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    disk = Disk(folder)
    disk.take(Call("C", 7, 0, str(folder / "a"), b""))
    disk.take(Call("W", 7, 0, str(folder / "a"), b"x" * 10_000))
    generator, found = random.Random(0), set()
    for _ in range(60):
        disk.after_cut(tmp_path / "after", generator)
        path = tmp_path / "after" / "a"
        found.add(path.read_bytes().count(b"x") if path.exists() else None)
    assert {None, 0, 10_000} < found


def test_a_rename_that_went_past_the_c_library_is_taken_from_the_next_call(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    disk = Disk(folder)
    for call in (
        Call("C", 7, 0, str(folder / ".tmp1"), b""),
        Call("W", 7, 0, str(folder / ".tmp1"), b"whole"),
        Call("F", 7, 0, str(folder / "a.tmp"), b""),
        Call("R", 0, 0, str(folder / "a.tmp"), str(folder / "a").encode()),
        Call("F", 3, 0, str(folder), b""),
    ):
        disk.take(call)
    disk.after_cut(tmp_path / "after", random.Random(0))
    assert {path.name: path.read_bytes() for path in (tmp_path / "after").iterdir()} == {"a": b"whole"}


def test_of_containers_nothing_comes_out_short_and_silent(tmp_path: Path) -> None:
    plain, narrow, wide = oracle.sounds(tmp_path)
    pairs = [
        ("mp4", "aac", plain),
        ("amr", "libopencore_amrnb", narrow),
        ("asf", "wmav2", plain),
        ("webm", "libopus", wide),
        ("wav", "pcm_s16le", plain),
        ("wav", "libmp3lame", plain),
        ("flac", "flac", plain),
        ("aiff", "", plain),
        ("avi", "", plain),
        ("null", "", plain),  # which writes nothing
    ]
    found = containers.tried(tmp_path, pairs)
    assert found.wrong == []
    assert found.read == {(muxer, codec) for muxer, codec, _ in pairs[:-1]}
    assert found.files > 300 and found.counts["refused"] > 200 and found.counts["flagged"] > 3
    assert f"FFmpeg {oracle.version()} wrote" in containers.sentence(found)


def test_the_row_of_containers_sees_what_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_read", lambda path: (path.stat().st_size, 16_000, ()))  # as if all were well
    found = containers.tried(tmp_path, [("wav", "pcm_s16le", oracle.sounds(tmp_path)[0])])
    assert any("FFmpeg" in text and "samples" in text for text in found.wrong)
    assert any("cut at" in text for text in found.wrong)


def refused(said: Path) -> None:
    """In one process: where it would start again with `disk.c`, it writes how, and goes on."""
    from faults import __main__ as program

    sys.argv = ["faults", "nothing"]
    os.execve = lambda path, words, environment: print(*words[1:])
    with said.open("w") as file, contextlib.redirect_stdout(file):
        sys.exit(program.main())


def test_every_row_can_be_loaded(tmp_path: Path) -> None:
    assert children.ended(children.start(refused, tmp_path / "said")) == 2
    again, sentence = (tmp_path / "said").read_text().splitlines()
    assert again == "-W ignore -m faults nothing"
    assert sentence.startswith("unknown rows ['nothing']; there are kill-extract")
