"""Parquet files of `datasets` that hold the audio: written where the user says, and nowhere before."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import soundfile
from pyarrow import parquet

from tests.conftest import Run
from tests.corpus.layouts.trees import TREES, build
from toolkit.core.errors import InputError
from toolkit.corpus import manifest
from toolkit.corpus.layouts.importing import corpus


def sound(number: int, kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(8_000) / (20 + number)), 16_000, format=kind)
    return file.getvalue()


def write(file: Path, **columns: list[Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), file)


def held(folder: Path) -> None:
    """Two parts of a split, a hostile path, a row without audio and one of no kind of audio."""
    audio = [{"bytes": sound(0), "path": "../../e/vil.wav"}, {"bytes": sound(1, "FLAC"), "path": None},
             {"bytes": None, "path": None}, {"bytes": b"nothing", "path": "x.txt"}]  # fmt: skip
    write(folder / "train-00000-of-00001.parquet", audio=audio, speaker_id=[1, 2, 3, 4], emotion=list("abab"))
    write(folder / "test" / "0000.parquet", audio=[{"bytes": sound(2), "path": "z.wav"}], speaker_id=[5], emotion=["a"])


def test_the_audio_is_written_where_it_is_said(tmp_path: Path, run: Run) -> None:
    held(tmp_path / "data")
    words = ("manifest", "corpus", "parquet", tmp_path / "data", "-w", tmp_path)
    code, _, err = run(*words)
    assert code == 2 and "0000.parquet holds the audio itself" in err and "--write-audio FOLDER" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    code, out, err = run(*words, "--write-audio", tmp_path / "audio")
    assert code == 0 and "skipped: 2 rows without their audio file" in out, err
    read = manifest.read(tmp_path / "manifest.csv")
    assert [clip.path for clip in read.clips] == [
        "audio/test/0000/000000.wav", "audio/train-00000-of-00001/000000.wav", "audio/train-00000-of-00001/000001.flac",
    ]  # fmt: skip
    assert read.cells("split") == ("test", "train", "train") and read.cells("speaker") == ("5", "1", "2")
    written = tmp_path / read.clips[1].path
    assert written.read_bytes() == sound(0) and written.stat().st_mode & 0o077 == 0
    code, _, err = run(*words, "--overwrite", "--write-audio", tmp_path / "audio")
    assert code == 2 and "audio is there already; remove it or choose another place" in err


def test_what_cannot_be_read_is_one_sentence_and_nothing_is_left(tmp_path: Path) -> None:
    cells = {"bytes": sound(0), "path": "a.wav"}
    for number, (columns, sentence) in enumerate((
        ({"emotion": ["a"]}, r"0.parquet has no column of audio among \['emotion'\]; expected one with bytes and path"),
        ({"one": [cells], "two": [cells]}, r"several columns of audio, \['one', 'two'\]"),
        ({"audio": [{"bytes": None, "path": "a.wav"}]}, "row 1: a path, and no audio to write; leave out write_audio"),
    )):  # fmt: skip
        folder = tmp_path / str(number)
        write(folder / "0.parquet", **columns)
        with pytest.raises(InputError, match=sentence.replace("write_audio", "--write-audio")):
            corpus("parquet", folder, tmp_path / "manifest.csv", write_audio=tmp_path / "audio")
    (folder / "0.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match=r"0\.parquet cannot be read as parquet: ") as refused:
        corpus("parquet", folder, tmp_path / "manifest.csv")
    assert "\n" not in str(refused.value)
    build(TREES["kaldi"], tmp_path / "kaldi")
    with pytest.raises(InputError, match="The layout kaldi has its audio in files already; leave out --write-audio"):
        corpus("kaldi", tmp_path / "kaldi", tmp_path / "manifest.csv", write_audio=tmp_path / "audio")
    assert not (tmp_path / "audio").exists() and not (tmp_path / "manifest.csv").exists()
