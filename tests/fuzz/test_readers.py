"""Whatever the bytes are, a reader reads them or raises an error of ours, and takes little memory.

TOOLKIT_FUZZ=N tries N inputs a reader and kind instead of a few; the figures are printed (pytest -s).
"""

import gc
import os
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models import ct2_writer
from tests.result.conftest import make_predictions, make_run
from toolkit.core.errors import ToolkitError
from toolkit.corpus import importers, manifest, sheet, splits
from toolkit.corpus.labels import HOTLINE, Task
from toolkit.corpus.options import TableOptions
from toolkit.corpus.table import table
from toolkit.models.convert import ct2
from toolkit.result import predictions, predictions_reader
from toolkit.study import recipe
from toolkit.study.shapes import shapes

EXAMPLES = int(os.environ.get("TOOLKIT_FUZZ", "20"))
MEGABYTES = 32  # that a reader may take, beyond thirty times the input
PIECES = [
    b"",
    b"\0",
    b"\n",
    b"\r\n",
    b",",
    b'"',
    b"'",
    b"[",
    b"]",
    b"=",
    b"\xff",
    b"\xef\xbb\xbf",
    b"../",
    b"-1",
    b"1e999",
]
PIECES += [b"nan", b"9" * 5000, b"\xff\xff\xff\x7f", b"\xf0\x9f\x98\x80", b"[[", b'"""', b"{" * 2000, b"[" * 2000]
PIECES += [b"0" * 40, b"\xed\xa0\x80", b"\x00\x00\x00\x00", b"\x01\x00"]

Reader = Callable[[Path], object]


def _rows(folder: Path) -> bytes:
    for name in ("a.wav", "b.wav"):
        (folder / name).touch()
    return (
        "id,path,start,end,channel,duration,speaker,split,mood\n"
        'a,a.wav,0,1.5,0,1.5,s1,train,sad\n"b ""x"", y",b.wav,1e-1,2,1,,s2,test,"glad, é"\n'
    ).encode()


def _predictions(folder: Path) -> bytes:
    task = Task("mood", "multilabel", ("sad", "=glad"), ("sad", "=glad"))
    predictions.write_csv(folder / "own.csv", make_predictions(task, clips=4, speakers=2))
    return (folder / "own.csv").read_bytes()


def _paper(_: Path) -> bytes:
    return b'Predictions,Actual Labels\n"[0, 1, 0]","[0, 1, 1]"\n[1. 0. 0.],"[0, 0, 1]"\n'


def _plain_paper(_: Path) -> bytes:
    return b",Predictions,Actual Labels\n0,sad,glad\n1,glad,glad\n2,sad,\xc3\xa9\n"


def _model(_: Path) -> bytes:
    values = {"encoder/w": ct2_writer.float32(np.arange(6).reshape(2, 3)), "b": ct2_writer.float16(np.ones(4))}
    return ct2_writer.container(values, {"other": "b"})


def _recipe(_: Path) -> bytes:
    return (Path(__file__).parents[2] / "recipes" / "corrected.toml").read_bytes()


def _call(folder: Path) -> bytes:
    (folder / "call").mkdir(exist_ok=True)
    (folder / "call" / "1.wav").touch()
    return ("index,role," + ",".join(HOTLINE) + "\n1,1," + ",".join("0" * 11) + "\n2,2," + ",".join("1" * 11)).encode()


def _folds(folder: Path) -> bytes:
    make_run("binary", layers=1, clips=20).folds.write(folder / "folds.json")
    return (folder / "folds.json").read_bytes()


def _import(file: Path) -> object:
    (file.parent / "made.csv").unlink(missing_ok=True)
    return importers.hotline(file.parent, file.parent / "made.csv")


def _sheet(folder: Path) -> bytes:
    soundfile.write(folder / "a.wav", np.zeros(2_000), 8_000)
    return "音频;说话人;情绪;开始;结束\na.wav;甲;悲伤;00:00:00,1;0.15\na.WAV;甲;是;0.2;\n".encode("gbk")


def _table(file: Path) -> object:
    (file.parent / "made.csv").unlink(missing_ok=True)
    return table(file, file.parent / "made.csv", TableOptions(file=file))


def _workbook(folder: Path) -> bytes:
    pd.DataFrame({"音频": ["a.wav"], "情绪": [True], "开始": [1.5]}).to_excel(folder / "t.xlsx", index=False)
    return (folder / "t.xlsx").read_bytes()


# the file's name, a valid content, the reader
READERS: dict[str, tuple[str, Callable[[Path], bytes], Reader]] = {
    "manifest": ("manifest.csv", _rows, manifest.read),
    "hotline call": ("call.csv", _call, _import),
    "table": ("table.csv", _sheet, _table),
    "workbook": ("table.xlsx", _workbook, sheet.read),
    "predictions": ("predictions.csv", _predictions, predictions_reader.read_csv),
    "paper's lists": ("lists.csv", _paper, predictions_reader.read_csv),
    "paper's labels": ("labels.csv", _plain_paper, predictions_reader.read_csv),
    "CTranslate2": ("model.bin", _model, ct2.read),
    "recipe": ("recipe.toml", _recipe, lambda file: recipe.read(file, shapes())),
    "folds": ("folds.json", _folds, splits.read),
}


@st.composite
def mutated(draw: Any, valid: bytes) -> bytes:
    """The valid content with up to four stretches replaced, repeated, cut out or moved."""
    data = valid
    for _ in range(draw(st.integers(1, 4))):
        first = draw(st.integers(0, len(data)))
        last = min(len(data), first + draw(st.integers(0, 12)))
        middle = draw(st.sampled_from(PIECES) | st.binary(max_size=8) | st.just(data[first:last] * 3))
        data = data[:first] + middle + data[last:]
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 9)) == 0 else data


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[str]]:
    counts: Counter[str] = Counter()
    yield counts
    print("".join(f"\n{name}: {count:,}" for name, count in sorted(counts.items())))


@pytest.mark.parametrize("name", READERS)
def test_a_valid_file_is_read(name: str, tmp_path: Path) -> None:
    file, valid, read = READERS[name]
    (tmp_path / file).write_bytes(valid(tmp_path))
    read(tmp_path / file)


@pytest.mark.parametrize("kind", ["any bytes", "mutated"])
@pytest.mark.parametrize("name", READERS)
def test_bytes_are_read_or_refused_in_our_words(name: str, kind: str, tmp_path: Path, tally: Counter[str]) -> None:
    file_name, valid, read = READERS[name]
    whole = valid(tmp_path)
    folder = tmp_path / "input"
    folder.mkdir()
    valid(folder)
    for extra in folder.glob("*.*"):
        if extra.suffix in (".csv", ".json"):
            extra.unlink()
    file = folder / file_name
    inputs = st.binary(max_size=400) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))

    @settings(max_examples=EXAMPLES)
    @given(inputs if kind == "any bytes" else mutated(whole))
    def try_one(content: bytes) -> None:
        file.write_bytes(content)
        tracemalloc.start()  # of the reader alone: in a fresh clone hypothesis first reads every module
        try:
            read(file)
            tally[f"{name}, {kind}, read"] += 1
        except ToolkitError as error:
            tally[f"{name}, {kind}, refused"] += 1
            assert str(error) and str(tmp_path) not in str(error)
        finally:
            taken = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert taken < MEGABYTES * 10**6 + 30 * len(content)
        tally[f"{name}, {kind}, most bytes taken"] = max(tally[f"{name}, {kind}, most bytes taken"], taken)

    gc.collect()
    try_one()
