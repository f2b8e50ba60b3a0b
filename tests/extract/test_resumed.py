"""An extraction started again: what is there already, what is missing, what has changed since."""

import os
import time
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import soundfile

from tests import children
from tests.extract.conftest import corpus
from tests.models import tiny
from toolkit.core.errors import InputError, StoreError
from toolkit.corpus import manifest as manifests
from toolkit.corpus.manifest import Manifest
from toolkit.extract import plan, setup
from toolkit.extract.options import Options
from toolkit.extract.run import extract
from toolkit.features import layout
from toolkit.features.shard import ShardContent
from toolkit.features.store import Store
from toolkit.features.writer import Writer
from toolkit.models.checkpoint import Checkpoint, inspect


def test_started_again_it_does_only_what_is_missing(
    tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = corpus(tmp_path)
    extract(clips, hubert, tmp_path / "features", Options(dtype="float32"))
    more = corpus(tmp_path, count=9)
    messages: list[str] = []
    done = extract(more, hubert, tmp_path / "features", Options(dtype="float32"), messages.append)
    assert (done.new, done.before) == (2, 7)
    assert any("7 of 9 clips are in" in sentence and "2 are missing" in sentence for sentence in messages)
    monkeypatch.setattr(setup, "load", lambda *_, **__: pytest.fail("a finished store needs no model"))
    again = extract(more, hubert, tmp_path / "features", Options(dtype="float32"))
    assert (again.new, again.before) == (0, 9)


def test_a_recording_that_changed_under_its_id_is_refused(tmp_path: Path, hubert: Checkpoint) -> None:
    clips = corpus(tmp_path)
    extract(clips, hubert, tmp_path / "features", Options(dtype="float32"))
    soundfile.write(tmp_path / "3.wav", tiny.speech_like(0.4, seed=99), 16_000)
    with pytest.raises(InputError, match="'clip3' is not what tiny-hubert-"):
        extract(clips, hubert, tmp_path / "features", Options(dtype="float32"))


def test_an_id_that_means_another_file_is_refused_however_alike_the_files_are(
    tmp_path: Path, hubert: Checkpoint
) -> None:
    """As an archive leaves them: of one length and one time."""
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", tiny.speech_like(0.5, seed=number), 16_000)
        os.utime(tmp_path / f"{number}.wav", (1, 1))

    def of(*files: int) -> Manifest:
        rows = [(f"row{row}", f"{file}.wav") for row, file in enumerate(files)]
        manifests.write(tmp_path / "manifest.csv", ("id", "path"), rows)
        return manifests.read(tmp_path / "manifest.csv")

    options = Options(dtype="float32")
    extract(of(1, 2), hubert, tmp_path / "features", options)
    with pytest.raises(InputError, match="'row0', 'row1' is not what tiny-hubert-"):
        extract(of(0, 1, 2), hubert, tmp_path / "features", options)
    (tmp_path / "moved").mkdir()
    for name in ("1.wav", "2.wav"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    messages: list[str] = []
    manifests.write(tmp_path / "manifest.csv", ("id", "path"), [("row0", "moved/1.wav"), ("row1", "moved/2.wav")])
    moved = manifests.read(tmp_path / "manifest.csv")
    assert extract(moved, hubert, tmp_path / "features", options, messages.append).before == 2
    assert any(sentence.startswith("2 clips come from other or newer files") for sentence in messages)
    before, messages[:] = store_of(tmp_path / "features"), []
    again = extract(moved, hubert, tmp_path / "features", options, messages.append)
    assert again.before == 2 and not any("other or newer files" in sentence for sentence in messages)
    assert store_of(tmp_path / "features") == before and not [defect for _, defect in again.store.verify() if defect]


def store_of(features: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in features.glob("*/s*")}


def test_a_duration_that_the_manifest_corrects_counts_anew(tmp_path: Path, hubert: Checkpoint) -> None:
    soundfile.write(tmp_path / "a.wav", tiny.speech_like(1.0), 16_000)

    def told(seconds: str) -> Manifest:
        manifests.write(tmp_path / "manifest.csv", ("id", "path", "duration"), [("a", "a.wav", seconds)])
        return manifests.read(tmp_path / "manifest.csv")

    options = Options(dtype="float32")
    assert extract(told("3.0"), hubert, tmp_path / "features", options).failed
    assert not extract(told("1.0"), hubert, tmp_path / "features", options).failed
    with pytest.raises(InputError, match=r"'a' lasts 1\.00 s, the manifest says 9\.00 s"):
        extract(told("9.0"), hubert, tmp_path / "features", options)


def test_a_shard_whose_data_is_gone_is_not_called_there(tmp_path: Path, hubert: Checkpoint) -> None:
    clips = corpus(tmp_path, count=2)
    data = extract(clips, hubert, tmp_path / "features", Options(dtype="float32")).store.folder / "shard-00000.h5"
    data.unlink()
    with pytest.raises(StoreError, match=r"shard-00000\.h5 is missing"):
        extract(clips, hubert, tmp_path / "features", Options(dtype="float32"))


def test_a_file_that_was_only_touched_is_the_same(tmp_path: Path, hubert: Checkpoint) -> None:
    clips = corpus(tmp_path)
    extract(clips, hubert, tmp_path / "features", Options(dtype="float32"))
    os.utime(tmp_path / "3.wav", (1, 1))
    assert extract(clips, hubert, tmp_path / "features", Options(dtype="float32")).before == 7


def slowly(corpus: Path, checkpoint: Path, features: Path, pause: float, said: Connection) -> None:
    """Extracts three clips a shard; says when one is about to be committed, and when it is."""
    commit = Writer.commit

    def slow(self: Writer, content: ShardContent) -> None:
        said.send("commit")
        commit(self, content)
        said.send("done")
        time.sleep(pause)

    Writer.commit = slow  # type: ignore[method-assign] # in a process of its own
    plan.CLIPS_PER_SHARD = 3  # type: ignore[attr-defined]
    extract(
        manifests.read(corpus / "manifest.csv"), inspect(checkpoint, "tiny-hubert"), features, Options(dtype="float32")
    )


def test_kill_9_and_resume_end_in_the_same_bytes(tmp_path: Path, hubert: Checkpoint) -> None:
    """A child is killed twice; what it left is completed to the undisturbed store."""
    clips = corpus(tmp_path / "corpus", count=9)

    def started(features: Path, pause: float) -> tuple[BaseProcess, Connection]:
        heard, said = children.SERVER.Pipe()
        return children.start(slowly, tmp_path / "corpus", hubert.folder, features, pause, said), heard

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    child, heard = started(whole, 0)
    assert children.ended(child) == 0 and heard.recv() == "commit"
    # the batch budget is measured once per store and kept with it; give both the same
    (undisturbed,) = whole.iterdir()
    resumed = killed / undisturbed.name
    resumed.mkdir(parents=True)
    (resumed / "batches.json").write_bytes((undisturbed / "batches.json").read_bytes())
    for word in ("commit", "done"):
        child, heard = started(killed, 5)
        while heard.recv() != word:
            pass
        child.kill()
        child.join()
    child, heard = started(killed, 0)
    assert children.ended(child) == 0
    files = [{path.name: path.read_bytes() for path in store.glob("s*")} for store in (undisturbed, resumed)]
    assert len(Store(resumed).ids) == len(clips.clips) and layout.CLIPS_PER_SHARD == 256
    assert files[0] == files[1]
