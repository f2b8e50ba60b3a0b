"""Embeddings from elsewhere: `toolkit features import`, and what probe, compare, predict and purge make of them."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile

from tests.conftest import Run
from toolkit.core.errors import InputError
from toolkit.corpus import manifest
from toolkit.features.import_ import import_, opened
from toolkit.features.shard import ClipRecord
from toolkit.features.store import Store, find
from toolkit.probe import winners

SPEAKERS, CLIPS, WIDTH = 6, 6, 7
N = SPEAKERS * CLIPS
IDS = [f"c{number}" for number in range(N)]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A workspace with a manifest and its audio, and ids.txt in another order than the manifest's."""
    rows = []
    for number in range(N):
        sound = 0.1 * (1 + number % 5) * np.sin(np.arange(800 + 40 * (5 * number % N)) * (0.05 + 0.01 * number))
        soundfile.write(tmp_path / f"{number}.wav", sound.astype(np.float32), 16_000, subtype="FLOAT")
        rows.append((IDS[number], f"{number}.wav", f"s{number // CLIPS}", ["low", "high"][number % 2]))
    manifest.write(tmp_path / "manifest.csv", ("id", "path", "speaker", "mood"), rows)
    (tmp_path / "ids.txt").write_text("".join(f"{clip}\n" for clip in reversed(IDS)))
    return tmp_path


def layers(scale: float = 1.0) -> dict[str, np.ndarray]:
    """A row for each of the reversed ids; "middle" alone knows the mood."""
    generator = np.random.default_rng(0)
    values = {name: scale * generator.standard_normal((N, WIDTH)) for name in ("first", "middle", "last")}
    values["middle"][:, 0] += 6 * scale * np.array([int(clip[1:]) % 2 for clip in reversed(IDS)])
    return values


def embed(run: Run, study: Path, file: str, *more: object, name: str = "theirs") -> tuple[int, str, str]:
    return run("features", "import", name, study / file, "-w", study, *more)


def test_an_embedding_is_probed_drawn_and_compared_like_a_backbone(run: Run, study: Path) -> None:
    np.savez(study / "theirs.npz", **layers())
    code, out, err = embed(run, study, "theirs.npz", "--ids", study / "ids.txt")
    assert code == 0 and "36 clips, 3 layers of 7 values: theirs-" in out, err
    np.save(study / "noise.npy", np.random.default_rng(1).standard_normal((2, N, WIDTH)))
    assert embed(run, study, "noise.npy", "--ids", study / "ids.txt", name="noise")[0] == 0

    asked = ("--target", "mood", "--folds", 3, "--trials", 3, "-w", study)
    nuisances = ("--nuisance", "duration,loudness", "--control", "shuffled", "--shuffles", 0)
    code, out, err = run("probe", "--model", "theirs", *asked, *nuisances)
    assert code == 0, err
    (folder,) = (study / "result").glob("mood-theirs-linear-*")
    for winner in winners.read(folder / "winners"):
        assert winner.layers == ("middle",) and winner.setting["statistics"] == "mean"
    content = json.loads((folder / "run.json").read_text())
    assert content["provenance"]["features"]["imported"] == find(study / "features", "theirs").imported
    told = [note for note in content["notes"] if "imported from a file, sha256" in note]
    assert len(told) == 1
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "imported from a file" in html and "middle" in html and "what enters the first" not in html
    beside = {row["name"] for row in csv.DictReader((folder / "beside.csv").read_text().splitlines())}
    assert {"duration", "loudness"} <= beside

    for probe in ("mlp", "lightgbm", "mix"):
        code, out, err = run("probe", "--model", "theirs", "--probe", probe, *asked)
        assert code == 0, (probe, err)
    assert run("probe", "--model", "noise", *asked)[0] == 0
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
    code, _, err = run("probe", "--model", "theirs", *asked, "--control", "random")
    assert code == 4 and "`toolkit features import theirs-random`" in err


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


def npy(values: Any) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / "x.npy", values)


def npz(**arrays: Any) -> Callable[[Path], None]:
    return lambda folder: np.savez(folder / "x.npz", **arrays)


def h5(write: Callable[[Any], object]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        with h5py.File(folder / "x.h5", "w") as file:
            write(file)

    return make


def misnamed(write: Callable[[Path], None], name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        write(folder)
        next(folder.glob("x.*")).rename(folder / name)

    return make


def spoilt(value: float) -> np.ndarray:
    values = np.zeros((2, N, WIDTH))
    values[1, 3, 2] = value
    return values


GOOD = np.zeros((N, WIDTH))


@pytest.mark.parametrize(
    "write, sentence",
    [
        (npy(spoilt(np.nan)), "x.npy: layer 'layer.1' of clip 'c32' holds nan, expected finite numbers"),
        (npy(spoilt(-np.inf)), "layer 'layer.1' of clip 'c32' holds -inf"),
        (npy(spoilt(1e300)), "layer 'layer.1' of clip 'c32' holds 1e+300, expected finite numbers that float32 holds"),
        (npy(np.zeros(N)), "layer 'layer.0' has the shape (36,), expected (clips, width)"),
        (npy(np.float32(3)), "layer 'layer.0' has the shape (), expected (clips, width)"),
        (npy(np.zeros((N, 0))), "has the shape (36, 0), expected (clips, width)"),
        (npy(np.zeros((1, 2, N, WIDTH))), "has the shape (1, 2, 36, 7), expected (clips, width)"),
        (npy(np.zeros((0, N, WIDTH))), "x.npy has no layer"),
        (npy(GOOD[1:]), "has the shape (35, 7), expected (36, 7): a row for each id"),
        (npy(GOOD.astype(complex)), "layer 'layer.0' is of complex128, expected float or integer numbers"),
        (npy(GOOD.astype(object)), "x.npy cannot be read as .npy: Array can't be memory-mapped: Python objects"),
        (npz(a=GOOD, b=GOOD[:, 1:]), "layer 'b' has the shape (36, 6), expected (36, 7)"),
        (npz(a=GOOD, ids=np.array(IDS)), "1 arrays of ids and a file of ids; expected one of them"),
        (npz(**{" a": GOOD}), "bad layer name ' a'"),
        (npz(a=GOOD.astype(str)), "layer 'a' is of <U32"),
        (lambda folder: (folder / "x.npz").write_bytes(b"PK"), "x.npz cannot be read as .npz"),
        (npz(a=GOOD.astype(object)), "x.npz cannot be read as .npz: Object arrays cannot be loaded"),
        (misnamed(npy(GOOD), "x.npz"), "x.npz cannot be read as .npz"),
        (misnamed(npz(a=GOOD), "x.npy"), "x.npy cannot be read as .npy"),
        (lambda folder: (folder / "x.npy").write_bytes(b""), "x.npy cannot be read as .npy"),
        (lambda folder: (folder / "x.h5").write_bytes(b"no HDF5"), "x.h5 cannot be read as .h5"),
        (h5(lambda file: file.create_group("a")), "x.h5: 'a' is no dataset of its own"),
        (h5(lambda file: file.update(a=h5py.ExternalLink("other.h5", "a"))), "'a' is no dataset of its own"),
        (h5(lambda file: file.update(a=GOOD)), ""),
        (lambda folder: None, "There is no file x.npy"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_in_one_sentence(
    run: Run, study: Path, write: Callable[[Path], object], sentence: str
) -> None:
    write(study)
    (file,) = [path.name for path in study.glob("x.*")] or ["x.npy"]
    code, _, err = embed(run, study, file, "--ids", study / "ids.txt")
    assert code == (2 if sentence else 0) and sentence in err, err
    assert (study / "features").exists() == (not sentence)
    assert str(study) not in err


@pytest.mark.parametrize(
    "name, ids, sentence",
    [
        ("a.txt", "\n".join([*IDS[:-1], "c0"]), "x.npy: 1 ids stand in more than one row, the first is 'c0'"),
        ("a.txt", "\n".join([*IDS[:-2], "x", "y"]), "x.npy: 2 ids are not in manifest.csv, the first is 'x'"),
        ("a.txt", "\n".join([*IDS, ""]) + "\n", "has the shape (36, 7), expected (37, 7): a row for each id"),
        ("a.csv", "clip\nc0", "a.csv has the columns ['clip'], expected one called id"),
        ("a.csv", "", "a.csv has the columns [], expected one called id"),
        ("a.csv", "id,x\n" + "\n".join(IDS), ""),
        ("a.txt", "\r\n".join(IDS), ""),
        ("a.txt", "\udcff", "a.txt: byte 0 is not UTF-8"),
    ],
)
def test_bad_ids_are_refused_in_one_sentence(run: Run, study: Path, name: str, ids: str, sentence: str) -> None:
    (study / name).write_bytes(ids.encode("utf-8", "surrogateescape"))
    np.save(study / "x.npy", GOOD)
    code, _, err = embed(run, study, "x.npy", "--ids", study / name)
    assert code == (2 if sentence else 0) and sentence in err, err


def test_what_else_cannot_be_imported(run: Run, study: Path) -> None:
    np.save(study / "x.npy", GOOD[:-1])
    (study / "short.txt").write_text("\n".join(IDS[:-1]))
    code, _, err = embed(run, study, "x.npy", "--ids", study / "short.txt")
    assert code == 2 and "1 ids of manifest.csv have no row, the first is 'c35'" in err
    code, _, err = embed(run, study, "x.npy")
    assert code == 2 and "0 arrays of ids and no file of ids; expected one of them: --ids FILE" in err
    code, _, err = embed(run, study, "x.npy", "--ids", study / "none.txt")
    assert code == 2 and "none.txt cannot be read: No such file or directory" in err
    np.save(study / "x.npy", GOOD)
    code, _, err = embed(run, study, "x.npy", "--ids", study / "ids.txt", name="../x")
    assert code == 2 and "Bad name '../x'" in err
    code, _, err = embed(run, study, "manifest.csv", "--ids", study / "ids.txt")
    assert code == 2 and "expected one of ('.npy', '.npz', '.h5')".replace("(", "[").replace(")", "]") in err
    with h5py.File(study / "y.h5", "w") as file:
        file["a"], file["ids"] = GOOD, np.arange(N)
    with (
        pytest.raises(InputError, match=r"its ids are int64 of shape \(36,\), expected \(clips,\) of text"),
        opened(study / "y.h5"),
    ):
        pass
