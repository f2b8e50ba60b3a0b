"""Audio on several disks: linked folders and absolute paths, below any root that is given."""

import os
from pathlib import Path

import pytest

from toolkit.core.errors import ManifestError
from toolkit.corpus import manifest


@pytest.fixture
def disks(tmp_path: Path) -> tuple[Path, Path]:
    """A study whose folder calls/ is a link, and the other disk that it leads to."""
    study, other = tmp_path / "study", tmp_path / "disk2" / "calls"
    study.mkdir()
    other.mkdir(parents=True)
    (study / "a.wav").touch()
    (other / "b.wav").touch()
    (study / "calls").symlink_to(other)
    return study, other.parent


def write(study: Path, *paths: object) -> Path:
    rows = "".join(f"{number},{path}\n" for number, path in enumerate(paths))
    (study / "manifest.csv").write_text("id,path\n" + rows)
    return study / "manifest.csv"


def test_a_linked_folder_is_refused_by_that_word_until_its_disk_is_given(disks: tuple[Path, Path]) -> None:
    study, disk = disks
    file = write(study, "a.wav", "calls/b.wav")
    with pytest.raises(ManifestError) as caught:
        manifest.read(file)
    assert caught.value.defects == (
        "line 3, column 'path': 'calls/b.wav' is a link, or goes through one, that leaves the audio root; name the "
        "folder that it leads to with --audio-root, too",
    )
    read = manifest.read(file, [disk])
    assert [clip.path for clip in read.clips] == ["a.wav", "calls/b.wav"]
    assert [read.audio_path(clip).resolve() for clip in read.clips] == [study / "a.wav", disk / "calls" / "b.wav"]
    assert read.home == study


def test_absolute_paths_below_a_root_are_read_and_not_kept(disks: tuple[Path, Path]) -> None:
    study, disk = disks
    file = write(study, study / "a.wav", disk / "calls" / "b.wav")
    with pytest.raises(ManifestError, match=r"an absolute path, to 'b\.wav'; .* leads below an --audio-root") as caught:
        manifest.read(file)
    assert len(caught.value.defects) == 1 and str(disk) not in str(caught.value)
    read = manifest.read(file, disk)
    assert [clip.path for clip in read.clips] == ["a.wav", "calls/b.wav"]
    assert str(disk.parent) not in repr(read.clips)
    assert all(read.audio_path(clip).is_file() for clip in read.clips)
    assert manifest.inspect(write(study, r"D:\data\b.wav"), disk)[1][0].startswith(
        "line 2, column 'path': an absolute path, to 'b.wav'"
    )


def test_audio_on_two_disks_is_found_below_each_and_by_the_variable(
    disks: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, disk = disks
    third = tmp_path / "disk3"
    third.mkdir()
    (third / "c.wav").touch()
    file = write(study, "b.wav", "c.wav")
    assert manifest.read(file, [disk / "calls", third]).clips[1].path == "c.wav"
    assert manifest.inspect(file, third)[1] == ["line 2, column 'path': no such file 'b.wav' under the audio root"]
    monkeypatch.setenv("TOOLKIT_AUDIO_ROOT", os.pathsep.join(map(str, (disk / "calls", third))))
    read = manifest.read(file)
    assert [read.audio_path(clip) for clip in read.clips] == [disk / "calls" / "b.wav", third / "c.wav"]


def test_an_absolute_path_that_two_roots_would_answer_is_refused(disks: tuple[Path, Path], tmp_path: Path) -> None:
    study, disk = disks
    (tmp_path / "disk3").mkdir()
    (tmp_path / "disk3" / "b.wav").touch()
    file = write(study, tmp_path / "disk3" / "b.wav")
    assert manifest.inspect(file, [disk / "calls", tmp_path / "disk3"])[1] == [
        "line 2, column 'path': two audio roots have a file 'b.wav'; name a folder above both with --audio-root"
    ]
