"""Embeddings from elsewhere: `toolkit features import`, and what probe, compare, predict and purge make of them."""

import csv
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile

from tests.conftest import Run
from tests.features.conftest import CLIPS, IDS, WIDTH, N, embed, layers
from toolkit.features.finding import find
from toolkit.features.import_ import import_, opened
from toolkit.features.shard import ClipRecord
from toolkit.features.store import Store
from toolkit.probe import winners


def test_an_embedding_is_probed_drawn_and_compared_like_a_backbone(run: Run, study: Path) -> None:
    np.savez(study / "theirs.npz", **layers())
    code, out, err = embed(run, study, "theirs.npz", "--ids", study / "ids.txt")
    assert code == 0 and "36 clips, 3 layers of 7 values: theirs-" in out, err
    np.save(study / "noise.npy", np.random.default_rng(1).standard_normal((2, N, WIDTH)))
    assert embed(run, study, "noise.npy", "--ids", study / "ids.txt", name="noise")[0] == 0

    words = ("--target", "mood", "--folds", 3, "--trials", 3, "-w", study)
    nuisances = ("--nuisance", "duration,loudness", "--control", "shuffled", "--shuffles", 0)
    code, out, err = run("probe", "--model", "theirs", *words, *nuisances)
    assert code == 0, err
    (folder,) = (study / "result").glob("mood-theirs-linear-*")
    for winner in winners.read(folder / "winners"):
        assert winner.layers == ("middle",) and winner.setting["statistics"] == "mean"
    content = json.loads((folder / "run.json").read_text())
    assert content["provenance"]["features"]["imported"] == find(study / "features", "theirs").imported
    told = [fields for key, fields in content["notes"] if key == "imported"]
    assert len(told) == 1
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "imported from a file" in html and "middle" in html and "what enters the first" not in html
    controls = {row["name"] for row in csv.DictReader((folder / "beside.csv").read_text().splitlines())}
    assert {"duration", "loudness"} <= controls

    for probe in ("mlp", "lightgbm", "mix"):
        code, out, err = run("probe", "--model", "theirs", "--probe", probe, *words)
        assert code == 0, (probe, err)
    assert run("probe", "--model", "noise", *words)[0] == 0
    other = next((study / "result").glob("mood-noise-linear-*"))
    code, out, err = run("compare", folder, other, "-w", study)
    assert code == 0 and "theirs" in out and "noise" in out, err

    code, _, err = run("finetune", "--from", folder.name, "-w", study)
    assert code == 2 and "imported from a file; there is no backbone theirs to fine-tune" in " ".join(err.split())
    code, out, err = run("predict", "--from", folder.name, study / "3.wav", "-w", study)  # whose features are stored
    assert code == 0, err
    soundfile.write(study / "new.wav", np.sin(np.arange(900)), 16_000)
    code, _, err = run("predict", "--from", folder.name, study / "new.wav", "-w", study)
    assert code == 2 and "were imported from a file" in err and "1 clips are not in that store" in err
    code, _, err = run("probe", "--model", "theirs", *words, "--control", "random")
    assert code == 4 and "`toolkit features import theirs-random`" in err


def test_of_several_stores_of_a_backbone_one_is_picked(run: Run, study: Path) -> None:
    for scale in (1.0, 2.0):
        np.savez(study / "theirs.npz", **layers(scale))
        assert embed(run, study, "theirs.npz", "--ids", study / "ids.txt")[0] == 0
    words = ("probe", "--model", "theirs", "--target", "mood", "--folds", 3, "--trials", 1, "-w", study)
    code, _, err = run(*words)
    first, second = sorted((study / "features").iterdir())
    assert code == 4 and f"name the one that is meant in its place, or by --store, such as {first.name}" in err
    code, _, err = run(*words, "--store", second.name[:-4])
    assert code == 0, err
    (made,) = (study / "result").glob("mood-theirs-*/run.json")
    assert json.loads(made.read_text())["provenance"]["features"]["imported"] == Store(second).imported
    code, _, err = run(*words, "--store", second.name, "--store", "nonsense")
    assert code == 2 and f"--store nonsense names none of {second.name}; leave it out" in err


def test_rows_are_matched_by_id_and_kept_to_the_bit_as_float32(run: Run, study: Path) -> None:
    tiny = {name: values.astype(np.float32) for name, values in layers(scale=1e-7).items()}  # float16 would round
    np.savez(study / "tiny.npz", **tiny)
    assert embed(run, study, "tiny.npz", "--ids", study / "ids.txt")[0] == 0
    store = find(study / "features", "theirs")
    assert store.layers == ("first", "middle", "last") and store.statistics == ("mean",)
    for name, values in tiny.items():
        layer = store.layer(name)
        assert layer.ids == tuple(reversed(IDS))
        np.testing.assert_array_equal(layer.mean, values)
        assert layer.std.shape == (N, 0) and layer.matrix("mean") is layer.mean
    assert {clip.samples for clip in store.clips.values()} == {800 + 40 * number for number in range(N)}
    assert len(set(store.audio_sha256.values())) == N

    code, out, _ = run("features", "list", "-w", study)
    assert code == 0 and "imported" in out
    assert run("features", "export", "theirs", study / "out.h5", "-w", study)[0] == 0
    with h5py.File(study / "out.h5") as file:
        np.testing.assert_array_equal(file["mean"][1], tiny["middle"])
        assert "std" not in file
    (study / "out.h5").unlink()

    sha256 = [path.read_bytes() for path in sorted(store.folder.glob("shard-*"))]
    assert embed(run, study, "tiny.npz", "--ids", study / "ids.txt")[0] == 0  # stands
    assert [path.read_bytes() for path in sorted(store.folder.glob("shard-*"))] == sha256


def test_another_order_of_ids_is_another_store(run: Run, study: Path) -> None:
    np.save(study / "theirs.npy", layers()["middle"])
    for ids in ("ids.txt", "manifest.csv"):
        assert embed(run, study, "theirs.npy", "--ids", study / ids)[0] == 0
    one, other = (Store(path) for path in sorted((study / "features").glob("theirs-*")))
    assert one.layers == other.layers == ("layer.0",) and one.ids == other.ids[::-1]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u2", "i8"])
def test_numbers_of_any_kind_become_float32(study: Path, dtype: str) -> None:
    values = np.arange(N * WIDTH).reshape(N, WIDTH).astype(dtype) // 4
    np.save(study / "x.npy", np.stack([values, values]))
    with opened(study / "x.npy", study / "ids.txt") as embeddings:
        assert tuple(embeddings.layers) == ("layer.0", "layer.1")
        found = embeddings.values("layer.1", 2, 5)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values[2:5].astype(np.float32))


def test_hdf5_layers_come_by_number_and_may_bring_their_ids(study: Path) -> None:
    with h5py.File(study / "x.h5", "w") as file:
        for number in (10, 2):
            file[f"layer{number}"] = np.full((N, WIDTH), number, np.float16)
        file.create_dataset("ids", data=IDS, dtype=h5py.string_dtype())
    with opened(study / "x.h5") as embeddings:
        assert tuple(embeddings.layers) == ("layer2", "layer10") and embeddings.ids == tuple(IDS)
    np.savez(study / "x.npz", ids=np.array(IDS), z=np.zeros((N, 2)), a=np.ones((N, 2)))
    with opened(study / "x.npz") as embeddings:
        assert tuple(embeddings.layers) == ("z", "a") and embeddings.ids == tuple(IDS)


def test_a_shard_that_was_cut_off_is_made_up_for(study: Path) -> None:
    np.save(study / "x.npy", np.arange(600.0).reshape(300, 2))
    names = [f"clip{number}" for number in range(300)]
    (study / "many.txt").write_text("\n".join(names))

    def records(clips: Any, after: int = 300) -> Any:
        for number, clip in enumerate(clips):
            if number == after:
                raise KeyboardInterrupt
            yield ClipRecord(clip, (0, 0, None, None, None), "0" * 64, 1)

    with opened(study / "x.npy", study / "many.txt") as embeddings:
        with pytest.raises(KeyboardInterrupt):
            import_(study / "features", "cut", embeddings, lambda clips: records(clips, 270))
        assert len(find(study / "features", "cut").ids) == 256
        store, failed = import_(study / "features", "cut", embeddings, records)
    assert store.ids == tuple(names) and not failed
    np.testing.assert_array_equal(store.layer("layer.0").mean, np.arange(600).reshape(300, 2))


def test_clips_without_audio_are_named_and_left_out(run: Run, study: Path) -> None:
    (study / "4.wav").write_bytes(b"no audio")
    np.save(study / "theirs.npy", layers()["middle"])
    code, out, _ = embed(run, study, "theirs.npy", "--ids", study / "ids.txt")
    assert code == 3 and "failed: 'c4'" in out and "35 clips" in out
    store = find(study / "features", "theirs")
    assert list(store.failed) == ["c4"] and "c4" not in store.ids
    row = store.ids.index("c3")
    np.testing.assert_array_equal(store.layer("layer.0").mean[row], layers()["middle"][N - 4].astype(np.float32))


def test_one_recording_in_two_folds_is_found_in_imported_features_too(run: Run, study: Path) -> None:
    (study / "30.wav").write_bytes((study / "0.wav").read_bytes())
    np.save(study / "theirs.npy", layers()["middle"])
    assert embed(run, study, "theirs.npy", "--ids", study / "ids.txt")[0] == 0
    code, _, err = run("probe", "--model", "theirs", "--target", "mood", "--folds", 3, "--trials", 1, "-w", study)
    assert code == 2 and "same audio" in err, err


def test_a_caller_leaves_an_imported_store_by_the_same_purge(run: Run, study: Path) -> None:
    np.save(study / "theirs.npy", layers()["middle"])
    assert embed(run, study, "theirs.npy", "--ids", study / "ids.txt")[0] == 0
    (study / "ids.txt").unlink()  # the user's own
    code, out, err = run("features", "purge", "--speaker", "s1", "--manifest-too", "-w", study)
    assert code == 0 and "found nowhere" in out, out + err
    store = find(study / "features", "theirs")
    assert len(store.ids) == N - CLIPS and not {f"c{number}" for number in range(6, 12)} & set(store.ids)
    np.testing.assert_array_equal(store.layer("layer.0").mean[-6:], layers()["middle"][-6:].astype(np.float32))
