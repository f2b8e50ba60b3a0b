"""Embeddings from elsewhere that are refused, in a sentence each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.conftest import Run
from tests.features.conftest import IDS, WIDTH, N, embed
from toolkit.core.errors import InputError
from toolkit.features.import_ import opened


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
