import errno
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.core import artifacts
from toolkit.core.errors import DiskFullError, InputError, MachineError, StoreError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet="aé漢"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
)


@given(st.dictionaries(st.text("abcd"), JSON, max_size=5))
def test_a_signature_does_not_depend_on_the_order_of_keys(content: dict[str, object]) -> None:
    assert artifacts.signature(content) == artifacts.signature(dict(reversed(content.items())))
    assert artifacts.signature(content) != artifacts.signature({**content, "another": 1})


def test_a_signature_is_the_same_in_every_version_and_on_every_platform() -> None:
    expected = "21fddaeebc6c84f1b55624c41336b0e5"
    assert artifacts.signature({"b": [1, 2.5, "é"], "a": None})[:32] == expected


def test_nan_has_no_signature() -> None:
    with pytest.raises(ValueError):
        artifacts.signature({"a": float("nan")})


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert (
        artifacts.sha256_of_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_a_commit_is_durable_by_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(descriptor: int) -> None:
        order.append("fsync " + ("folder" if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir() else "file"))
        real_fsync(descriptor)

    def rename(self: Path, target: Path) -> Path:
        assert self.parent == target.parent, "a rename between folders may be a copy"
        order.append("rename")
        return real_rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    artifacts.commit_file(tmp_path / "a.txt", lambda path: (order.append("write"), path.write_text("x"))[0])
    assert order == ["write", "fsync file", "rename", "fsync folder"]
    assert (tmp_path / "a.txt").read_text() == "x"


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), OSError(errno.EIO, "io")])
def test_a_failed_write_leaves_nothing_new_and_the_old_file_whole(error: BaseException, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")

    def write(path: Path) -> None:
        path.write_text("half")
        raise error

    with pytest.raises(type(error)):
        artifacts.commit_file(tmp_path / "a.txt", write)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "old"}


def test_a_full_disk_leaves_nothing_and_is_named(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DiskFullError, match=r"[0-9,]+ bytes are free"):
        artifacts.commit_file(tmp_path / "a.txt", write)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_really_full_is_named(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.symlink_to("/dev/full")  # says ENOSPC to every write
        path.write_bytes(b"x" * 100_000)

    with pytest.raises(DiskFullError):
        artifacts.commit_file(tmp_path / "a", write)
    assert list(tmp_path.iterdir()) == []


@given(st.text())
def test_committed_text_comes_back_byte_for_byte(tmp_path: Path, text: str) -> None:
    try:
        expected = text.encode()
    except UnicodeEncodeError:
        return
    artifacts.commit_text(tmp_path / "a.txt", text)
    assert (tmp_path / "a.txt").read_bytes() == expected


def test_committed_json_is_read_back_and_refuses_nan(tmp_path: Path) -> None:
    artifacts.commit_json(tmp_path / "a.json", {"é": [1, None]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"é": [1, None]}
    with pytest.raises(ValueError):
        artifacts.commit_json(tmp_path / "b.json", float("inf"))
    assert not (tmp_path / "b.json").exists()


def test_a_new_folder_is_durable_in_every_parent_that_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(artifacts, "sync_folder", synced.append)
    assert artifacts.make_folder(tmp_path / "a" / "b").is_dir()
    assert synced == [tmp_path, tmp_path / "a"]
    artifacts.make_folder(tmp_path / "a" / "b")
    assert len(synced) == 2


def test_cores_are_those_of_the_job_not_of_the_machine() -> None:
    one = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    program = f"{one}; from toolkit.core import artifacts; print(artifacts.cores())"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "1\n"


def test_a_relative_folder_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    artifacts.make_folder(Path("a/b"))
    assert (tmp_path / "a" / "b").is_dir()


def test_a_folder_is_committed_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), artifacts.committed_folder(tmp_path / "made") as inside:
        (inside / "file").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with artifacts.committed_folder(tmp_path / "made") as inside:
        (inside / "file").write_text("x")
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "file"]
    with (
        pytest.raises(InputError, match="made by another run meanwhile"),
        artifacts.committed_folder(tmp_path / "late") as inside,
    ):
        (tmp_path / "late").mkdir()
        (tmp_path / "late" / "theirs").touch()
    assert [path.name for path in (tmp_path / "late").iterdir()] == ["theirs"]


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_in_a_folders_way_is_named_without_its_path(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"^The folder file/ cannot be made: File exists$"):
        artifacts.make_folder(tmp_path / name)


def test_a_place_where_nothing_may_be_written_is_named_without_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MachineError, match=r"^nowhere/file cannot be written: No such file or directory$"):
        artifacts.commit_text(tmp_path / "nowhere" / "file", "x")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "open", refuse)
    with (
        pytest.raises(MachineError, match=r"/\.lock cannot be written: Read-only file system$"),
        artifacts.locked(tmp_path),
    ):
        pytest.fail("it is not held")
    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(MachineError, match=r"/file cannot be written: Read-only file system$"):
        artifacts.commit_text(tmp_path / "file", "x")


def test_a_second_process_is_refused_within_five_seconds_and_served_after(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys, pathlib; from toolkit.core import artifacts\n"
         "with artifacts.locked(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()",
         str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        started = time.monotonic()
        with (
            pytest.raises(StoreError, match=f"Another run is writing .*{tmp_path.name}") as caught,
            artifacts.locked(tmp_path),
        ):
            pytest.fail("two writers")
        assert time.monotonic() - started < 5
        assert str(tmp_path.parent.parent) not in str(caught.value)
        holder.stdin.close()
        holder.wait()
    with artifacts.locked(tmp_path):
        assert (tmp_path / ".lock").exists()


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys, pathlib, time; from toolkit.core import artifacts\n"
         "with artifacts.locked(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)", str(tmp_path)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        holder.kill()
        with artifacts.locked(tmp_path):
            pass


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["extract", "--model", "whisper-small"], "toolkit extract --model whisper-small"),
        (["extract", "--model", "/home/someone/tiny"], "toolkit extract --model tiny"),
        (["--workspace=/home/someone/study", "probe"], "toolkit --workspace=study probe"),
        (["probe", "--note", "two words"], "toolkit probe --note 'two words'"),
        (["score", "result/predictions.csv"], "toolkit score result/predictions.csv"),
    ],
)
def test_the_command_line_can_be_repeated_and_tells_no_folder_of_the_machine(
    words: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/toolkit", *words])
    assert artifacts.command_line() == expected


def test_provenance_tells_versions_and_neither_host_nor_user_nor_path() -> None:
    made = artifacts.provenance("toolkit probe")
    assert set(made["packages"]) == {*artifacts.PROVENANCE_PACKAGES, *artifacts.EXTRA_PACKAGES}
    text = json.dumps(made)
    for private in (os.uname().nodename, str(Path.home()), str(Path.cwd())):
        assert re.search(rf"(?<![\w/]){re.escape(private)}(?![\w])", text) is None


def test_a_hashed_file_comes_back_and_what_was_changed_in_it_is_refused(tmp_path: Path) -> None:
    file, content = tmp_path / "some.json", {"pair": (1, 2.5), "text": "说"}
    artifacts.commit_hashed(file, content)
    assert artifacts.read_hashed(file) == {"pair": [1, 2.5], "text": "说"}
    for damaged in (file.read_text("utf-8").replace("2.5", "2.6"), '{"pair": 1}', "[1]", "{"):
        file.write_text(damaged, "utf-8")
        with pytest.raises(ValueError, match=r"changed since it was written|Expecting"):
            artifacts.read_hashed(file)
