import contextlib
import errno
import json
import os
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests import children
from tests.features.conftest import LAYERS, STORE_WIDTH, content, new_store
from toolkit.core.errors import DiskFullError, InputError, StoreError
from toolkit.features import shard
from toolkit.features.export import export
from toolkit.features.finding import find
from toolkit.features.shard import FailedRecord, ShardContent
from toolkit.features.store import Store, create


def test_a_layer_comes_back_in_the_order_it_was_committed(store: Store) -> None:
    layer = store.layer("encoder.1")
    expected = np.concatenate([content(first, count).statistics["mean"][1] for first, count in ((0, 4), (4, 3))])
    assert layer.ids == tuple(f"clip{number}" for number in range(7))
    assert layer.mean.dtype == np.float32
    np.testing.assert_array_equal(layer.mean, expected.astype(np.float16).astype(np.float32))
    assert layer.matrix("both").shape == (7, 2 * STORE_WIDTH)
    assert store.failed == {"bad4-0": "is empty", "bad7-0": "is empty"}
    total = store.total()
    assert total == Store(store.folder).total()  # counted from the index, and from the sidecars
    assert (total.clips, total.failed, total.tried) == (7, store.failed, 9)
    assert total.bytes == sum(path.stat().st_size for path in store.folder.glob("*.h5"))


def test_datasets_are_contiguous_and_float16(store: Store) -> None:
    with h5py.File(store.folder / "shard-00000.h5") as file:
        assert {name: (file[name].dtype, file[name].chunks) for name in file} == {
            "mean": (np.float16, None),
            "std": (np.float16, None),
        }


def test_a_value_beyond_float16_makes_that_shard_float32(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    with store.writing() as writer:
        writer.commit(content(0, 2))
        writer.commit(content(2, 2, scale=1e6))
    store.refresh()
    dtypes = [h5py.File(store.folder / f"shard-0000{number}.h5")["mean"].dtype for number in (0, 1)]
    assert dtypes == [np.float16, np.float32]
    assert np.isfinite(store.layer("encoder.0").mean).all()


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    folders = [new_store(tmp_path / name) for name in "ab"]
    for store in folders:
        with store.writing() as writer:
            writer.commit(content(0, 4, failed=1))
    files = [sorted((path.name, path.read_bytes()) for path in store.folder.glob("s*")) for store in folders]
    assert files[0] == files[1]


def test_other_settings_make_another_store(tmp_path: Path) -> None:
    assert new_store(tmp_path).folder != new_store(tmp_path, context="clip").folder
    assert new_store(tmp_path).folder == new_store(tmp_path).folder


@pytest.mark.parametrize("suffix", [".h5", ".json"])
def test_every_flipped_bit_and_every_truncation_is_found(store: Store, suffix: str) -> None:
    path = store.folder / f"shard-00001{suffix}"
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(40):
        position, bit = int(generator.integers(len(whole))), int(generator.integers(8))
        damaged = bytearray(whole)
        damaged[position] ^= 1 << bit
        for data in (bytes(damaged), whole[:position]):
            path.write_bytes(data)
            with pytest.raises(StoreError, match="shard-00001"):
                Store(store.folder).layer("encoder.0")
    path.write_bytes(whole)
    assert len(Store(store.folder).layer("encoder.0").ids) == 7


def test_a_missing_shard_is_named_not_read_as_zeros(store: Store) -> None:
    (store.folder / "shard-00001.h5").unlink()
    with pytest.raises(StoreError, match=r"shard-00001\.h5 is missing"):
        Store(store.folder).layer("encoder.0")
    assert [bool(defect) for _, defect in store.verify()] == [False, True, False]


def test_a_store_json_that_was_changed_is_refused(store: Store) -> None:
    path = store.folder / "store.json"
    path.write_text(path.read_text().replace("float32", "bfloat16"))
    with pytest.raises(StoreError, match="hash does not fit"):
        Store(store.folder)


def test_a_clip_stored_twice_is_refused(store: Store) -> None:
    with store.writing() as writer:
        writer.commit(content(0, 1))
    with pytest.raises(StoreError, match="'clip0' is in two shards"):
        _ = Store(store.folder).ids


def test_a_later_success_makes_up_for_a_failure(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    failure = ShardContent((), (FailedRecord("clip0", None, "is empty"),), content(0, 0).statistics)
    with store.writing() as writer:
        writer.commit(failure)
        writer.commit(content(0, 1))
    store.refresh()
    assert (store.ids, store.failed) == (("clip0",), {})


def test_a_deleted_damaged_shard_is_filled_again_in_its_place(store: Store) -> None:
    for suffix in (".h5", ".json"):
        (store.folder / f"shard-00000{suffix}").unlink()
    store.refresh()
    assert store.ids == ("clip4", "clip5", "clip6")
    with store.writing() as writer:
        writer.commit(content(0, 4))
    assert Store(store.folder).ids == tuple(f"clip{number}" for number in range(7))


def test_a_sidecar_that_was_copied_is_named_by_all(store: Store) -> None:
    (store.folder / "shard-00007.json").write_bytes((store.folder / "shard-00001.json").read_bytes())
    sentence = r"shard-00007\.json is damaged: it describes shard-00001\.h5, expected shard-00007\.h5\. Delete"
    store.refresh()
    with pytest.raises(StoreError, match=sentence):
        store.ids  # noqa: B018 - reading is the test
    assert [defect != "" for _, defect in store.verify()] == [False, False, False, True]


def test_a_damaged_store_spoils_no_other_and_is_mended_by_its_next_run(store: Store) -> None:
    features = store.folder.parent
    other = create(features, "other", LAYERS, STORE_WIDTH, {"dtype": "float32"})
    whole = (store.folder / "store.json").read_text()
    for damage in ("{}", "[]", "", whole.replace("encoder.0", "encoder.9").replace("float32", "float16")):
        (store.folder / "store.json").write_text(damage)
        assert find(features, "other").folder == other.folder
        with pytest.raises(StoreError, match=r"store\.json is damaged \(.*\)\. Delete that file and run"):
            find(features, "tiny")
    (store.folder / "store.json").unlink()
    assert new_store(features).ids == store.ids and (store.folder / "store.json").read_text() == whole


def test_leftovers_of_a_killed_run_are_cleared_by_the_next_writer(store: Store) -> None:
    (store.folder / "shard-00009.h5").write_bytes(b"never committed")
    (store.folder / ".shard-00009.h5.1.tmp").write_bytes(b"half")
    with store.writing():
        pass
    assert not list(store.folder.glob("*00009*")) and not list(store.folder.glob(".shard*"))


def test_a_second_writer_is_refused(store: Store) -> None:
    with store.writing(), pytest.raises(StoreError, match="Another run"), Store(store.folder).writing():
        pass


def test_no_space_is_named_and_leaves_nothing_half(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = sorted(store.folder.iterdir())
    with store.writing() as writer:
        monkeypatch.setattr(Path, "write_bytes", refuse)
        with pytest.raises(DiskFullError, match="bytes are free"):
            writer.commit(content(10, 2))
    assert sorted(path for path in store.folder.iterdir() if path.name != ".lock") == [
        path for path in before if path.name != ".lock"
    ]


def test_a_write_that_does_not_read_back_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = np.array_equal
    monkeypatch.setattr(np, "array_equal", lambda *arrays: False)
    with store.writing() as writer, pytest.raises(StoreError, match="did not read back"):
        writer.commit(content(10, 2))
    monkeypatch.setattr(np, "array_equal", honest)
    assert len(Store(store.folder).ids) == 7


def test_export_holds_everything_once(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "all.h5"
    assert export(store, out) == out.stat().st_size
    with h5py.File(out) as file:
        assert [name.decode() for name in file["id"][...]] == list(store.ids)
        assert list(file.attrs["layers"]) == list(LAYERS)
        np.testing.assert_array_equal(file["std"][2], store.layer("encoder.2").std)
    with pytest.raises(InputError, match="is there already"):
        export(store, out)
    with pytest.raises(InputError, match=r"^No folder nowhere/ for all\.h5; make it first$"):
        export(store, tmp_path / "nowhere" / "all.h5")


def test_frames_come_back_per_clip(tmp_path: Path) -> None:
    store = new_store(tmp_path, frames=["encoder.2"])
    counts = np.array([3, 1, 4])
    values = np.arange(8 * STORE_WIDTH, dtype=np.float32).reshape(8, STORE_WIDTH)
    base = content(0, 3)
    with store.writing() as writer:
        writer.commit(ShardContent(base.clips, (), base.statistics, {"encoder.2": values}, counts))
    store.refresh()
    frames = dict(store.frames("encoder.2"))
    assert [len(array) for array in frames.values()] == [3, 1, 4]
    np.testing.assert_array_equal(np.concatenate(list(frames.values())), values)
    with pytest.raises(StoreError, match="keeps no frames"):
        next(store.frames("encoder.1"))


def commits(folder: Path, said: Connection) -> None:
    """Commits shards of two clips without end, and says how many clips there are."""
    store = new_store(folder)
    with store.writing() as writer:
        for number in count(len(store.ids), 2):
            writer.commit(content(number, 2))
            said.send(number + 2)


def test_kill_9_while_committing_loses_no_committed_clip(tmp_path: Path) -> None:
    """Killed at odd moments, all that the child reported must be there."""
    reported = 0
    for attempt in range(4):
        heard, said = children.SERVER.Pipe()
        child = children.start(commits, tmp_path, said)
        said.close()
        for _ in range(3 + 2 * attempt):
            reported = heard.recv()
        child.kill()
        child.join()
        with contextlib.suppress(EOFError):
            while True:
                reported = heard.recv()
        store = new_store(tmp_path)
        assert len(store.ids) >= reported > 0
        assert not [defect for _, defect in store.verify() if defect]
        assert len(store.layer("encoder.0").mean) == len(store.ids)


def test_the_sidecar_is_written_after_its_data_is_durable(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    rename, fsync = Path.rename, os.fsync
    monkeypatch.setattr(
        Path, "rename", lambda self, to: (events.append(f"rename {Path(to).suffix}"), rename(self, to))[1]
    )
    monkeypatch.setattr(os, "fsync", lambda descriptor: (events.append("fsync"), fsync(descriptor))[1])
    shard.write(store.folder, 7, content(20, 1))
    assert events == ["fsync", "rename .h5", "fsync", "fsync", "rename .json", "fsync"]
    assert json.loads((store.folder / "shard-00007.json").read_text())["file"] == "shard-00007.h5"
