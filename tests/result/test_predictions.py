import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.core.errors import LabelError, PredictionsError, ToolkitError
from toolkit.corpus.labels import Task
from toolkit.corpus.spellings import Rules
from toolkit.result import safe_csv
from toolkit.result.predictions import Predictions, write_csv, write_paper_csv
from toolkit.result.predictions_reader import read_csv

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
HOSTILE = st.one_of(TEXT, st.builds("{}{}".format, st.sampled_from("=+-@\uff1d\uff0d\t\r'\n\","), TEXT))


@st.composite
def predictions(draw: st.DrawFn) -> Predictions:
    kind = draw(st.sampled_from(["binary", "multiclass", "multilabel"]))
    least, most = (2, 2) if kind == "binary" else (3, 5) if kind == "multiclass" else (2, 4)
    labels = tuple(draw(st.lists(HOSTILE, min_size=least, max_size=most, unique=True)))
    ids = tuple(draw(st.lists(HOSTILE, min_size=1, max_size=6, unique=True)))
    n = len(ids)
    speakers = tuple(draw(st.lists(HOSTILE, min_size=n, max_size=n)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape, high = ((n, len(labels)), 2) if kind == "multilabel" else ((n,), len(labels))
    truth, prediction = random.integers(0, high, shape), random.integers(0, high, shape)
    probability = random.random((n, len(labels))) ** 12  # tiny ones too
    if draw(st.booleans()):
        probability[:] = np.nan
    return Predictions(
        Task("t", kind, labels, ("t",)), ids, speakers, random.integers(0, 9, n), truth, prediction, probability
    )


def same(first: Predictions, second: Predictions) -> bool:
    arrays = ("fold", "truth", "prediction", "probability")
    return (first.task.labels, first.task.kind, first.ids, first.groups) == (
        second.task.labels,
        second.task.kind,
        second.ids,
        second.groups,
    ) and all(np.array_equal(getattr(first, name), getattr(second, name), equal_nan=True) for name in arrays)


@given(predictions())
def test_our_form_comes_back_exactly_whatever_the_text(tmp_path_factory: pytest.TempPathFactory, given: Predictions):
    file = tmp_path_factory.mktemp("round") / "predictions.csv"
    write_csv(file, given)
    assert same(read_csv(file, given.task), given)
    if given.has_probability or given.task.multilabel:  # otherwise labels that never occur are not in the file
        assert same(read_csv(file), given)
    first = file.read_bytes()
    write_csv(file, read_csv(file, given.task))
    assert file.read_bytes() == first


@given(predictions())
def test_no_cell_is_a_formula(tmp_path_factory: pytest.TempPathFactory, given: Predictions):
    file = tmp_path_factory.mktemp("formula") / "predictions.csv"
    write_csv(file, given)
    with file.open(encoding="utf-8", newline="") as text:
        cells = [cell for row in csv.reader(text) for cell in row]
    signs = (*"=+-@\t\r", *"\uff1d\uff0b\uff0d\uff20")
    assert cells and not any(cell.startswith(signs) and not safe_csv.NUMBER.fullmatch(cell) for cell in cells)


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("-0.42", "-0.42"), ("-3", "-3"), ("-1e-05", "-1e-05"), ("0.5", "0.5"),
        ("-1+1", "'-1+1"), ("-", "'-"), ("+3", "'+3"), ("- 1", "'- 1"), ("-1\n", "\"'-1\n\""), ("-٣", "'-٣"),
        ("'-3", "''-3"), ("=1", "'=1"),
    ],
)  # fmt: skip
def test_a_number_below_0_is_written_as_it_is_and_no_formula(tmp_path: Path, cell: str, written: str):
    text = safe_csv.csv_text(["id", "score"], [["a", cell]])
    assert text == f"id,score\na,{written}\n"
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")
    assert safe_csv.read_table(tmp_path / "a.csv")[1] == [(2, ["a", cell])]


@given(predictions())
def test_the_papers_form_comes_back(tmp_path_factory: pytest.TempPathFactory, given: Predictions):
    file = tmp_path_factory.mktemp("paper") / "paper.csv"
    used = set() if given.task.multilabel else {*given.truth.tolist(), *given.prediction.tolist()}
    if any(given.task.labels[value].startswith("[") for value in used):
        with pytest.raises(PredictionsError, match="no place in the two-column form"):
            write_paper_csv(file, given)
        return
    write_paper_csv(file, given)
    back = read_csv(file, given.task)
    assert np.array_equal(back.truth, given.truth) and np.array_equal(back.prediction, given.prediction)
    assert not back.has_probability
    assert back.unit == "clips" and back.ids == tuple(str(number + 1) for number in range(len(given.ids)))


def test_probabilities_are_rounded_to_float32_once(tasks):
    given = Predictions(
        tasks["binary"], ("a",), ("s",), np.zeros(1, int), np.ones(1, int), np.ones(1, int), np.array([[0.9, 0.1]])
    )
    assert given.probability[0, 1] == np.float64(np.float32(0.1))
    assert given.probability.dtype == np.float64


@pytest.mark.parametrize(
    ("text", "kind", "labels"),
    [
        ('Predictions,Actual Labels\n"[0, 1]","[1, 1]"\n', "multilabel", ("label 1", "label 2")),
        (',Predictions,Actual Labels\n0,[0 1],"[1., 1.]"\n', "multilabel", ("label 1", "label 2")),
        ("Actual Labels,Predictions\n[1],[0]\n[0],[0]\n", "binary", ("0", "1")),
        ("Predictions,Actual Labels\n1,0\n0,0\n", "binary", ("0", "1")),
        ("Predictions,Actual Labels\n10,9\n2,9\n", "multiclass", ("2", "9", "10")),
        ("Predictions,Actual Labels\nsad,glad\n", "binary", ("glad", "sad")),
    ],
)
def test_the_papers_form_tells_its_task(tmp_path: Path, text: str, kind: str, labels: tuple[str, ...]):
    (tmp_path / "p.csv").write_text(text)
    task = read_csv(tmp_path / "p.csv").task
    assert (task.kind, task.labels) == (kind, labels)


def test_the_papers_columns_are_not_mixed_up(tmp_path: Path):
    (tmp_path / "p.csv").write_text("Actual Labels,Predictions\n[1],[0]\n")
    read = read_csv(tmp_path / "p.csv")
    assert read.truth.tolist() == [1] and read.prediction.tolist() == [0]


def test_columns_beyond_truth_and_prediction_may_be_missing(tmp_path: Path):
    (tmp_path / "p.csv").write_text("truth,prediction\nb,a\na,a\n")
    read = read_csv(tmp_path / "p.csv")
    assert (read.ids, read.unit, read.truth.tolist()) == (("1", "2"), "clips", [1, 0])


OWN = "id,speaker,fold,truth,prediction,probability:a,probability:b\nx,s,0,a,b,0.4,0.6\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("truth,prediction\n", "is empty"),
        (OWN + "y,s,0,a\n", "line 3: 4 cells, expected 7"),
        (OWN + "x,s,0,a,b,0.4,0.6\n", "line 3, column 'id': duplicate id 'x', first used in line 2"),
        (OWN + "y,s,0,c,b,0.4,0.6\n", r"line 3, column 'truth': unknown label 'c', expected one of \['a', 'b'\]"),
        (OWN + "y,s,0,a,,0.4,0.6\n", "line 3, column 'prediction': unknown label ''"),
        (OWN + "y,s,0,a,b,1.4,0.6\n", "line 3, column 'probability:a': '1.4', expected a probability"),
        (OWN + "y,s,0,a,b,0.4,-0.1\n", "line 3, column 'probability:b': '-0.1', expected a probability"),
        (OWN + "y,s,0,a,b,nan,0.6\n", "line 3, column 'probability:a': 'nan'"),
        (OWN + "y,s,0,a,b,,0.6\n", "line 3, column 'probability:a': ''"),
        (OWN + "y,s,0,a,b,0_0,0.6\n", "line 3, column 'probability:a': '0_0'"),
        (OWN + "y,s,one,a,b,0.4,0.6\n", "line 3, column 'fold': 'one'"),
        (OWN + "y,,0,a,b,0.4,0.6\n", "line 3, column 'speaker': it is empty"),
        (OWN + '"y,s,0,a,b,0.4,0.6\n', "line 3: it is not CSV"),
        ("id,truth\nx,a\n", "line 1: columns .* expected truth and prediction"),
        ("truth,prediction,truht\na,b,a\n", "line 1: unknown column 'truht'"),
        ("truth,truth,prediction\na,b,a\n", "line 1: column 'truth' is there twice"),
        ("truth,prediction\na,a\n", "the single label 'a'"),
        ("truth,prediction\na,\n", "line 2, column 'label': the label is empty"),
        ("truth:a,truth:b,prediction:a\n1,1,0\n", "line 1: no column 'prediction:b'"),
        ("truth:a,truth:b,prediction:a,prediction:b\n1,1,0,2\n", "line 2, column 'prediction:b': unknown label '2'"),
        (
            'Predictions,Actual Labels\n"[0, 1]","[0, 1, 1]"\n',
            "line 2, column 'Actual Labels': a list of 3, expected 2",
        ),
        (
            'Predictions,Actual Labels\n"[0, 2]","[0, 1]"\n',
            r"line 2, column 'Predictions': '\[0, 2\]', expected a list",
        ),
        ('Predictions,Actual Labels\n"[0,,1]","[0, 1]"\n', "line 2, column 'Predictions'"),
        ("Predictions,Actual Labels\n[],[]\n", "line 2, column 'Predictions'"),
        ("Predictions,Actual Labels\n[__import__('os')],[0]\n", "line 2, column 'Predictions'"),
        ("Predictions,Actual Labels\n[0],0\n", "line 2, column 'Actual Labels': '0', expected a list"),
        ("Predictions,Actual Labels\na,b\n[0],b\n", "line 3, column 'Predictions': .* expected a plain label"),
        ("Predictions,Actual Labels,Notes\na,b,c\n", "column 'Notes' beside"),
    ],
)
def test_a_bad_file_is_refused_by_line_and_column(tmp_path: Path, text: str, message: str):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(PredictionsError, match=message) as caught:
        read_csv(tmp_path / "p.csv")
    assert str(caught.value).startswith("p.csv") and str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("kind", ["regression", "ordinal"])
def test_a_usual_code_for_no_answer_is_no_truth(tmp_path: Path, kind: str):
    (tmp_path / "p.csv").write_text("truth,prediction\n1,1\n7,7\n999,7\n", encoding="utf-8")
    with pytest.raises(LabelError, match=r"p\.csv, line 4, column 'truth': 999 is a usual code for no answer"):
        read_csv(tmp_path / "p.csv", rules=Rules(kind=kind))
    assert len(read_csv(tmp_path / "p.csv", rules=Rules(kind=kind, unknown="keep")).ids) == 3


def test_other_encodings_and_missing_files_are_refused(tmp_path: Path):
    (tmp_path / "p.csv").write_bytes("truth,prediction\na,b\n难过,b\n".encode("gbk"))
    with pytest.raises(PredictionsError, match=r"p\.csv, line 3: byte 0x.. is not UTF-8"):
        read_csv(tmp_path / "p.csv")
    with pytest.raises(PredictionsError, match=r"q\.csv cannot be read: No such file"):
        read_csv(tmp_path / "q.csv")


def test_a_task_that_the_file_does_not_fit_is_refused(tmp_path: Path, tasks):
    (tmp_path / "p.csv").write_text("Predictions,Actual Labels\nsad,glad\n")
    with pytest.raises(PredictionsError, match="expected a list of 11"):
        read_csv(tmp_path / "p.csv", tasks["multilabel"])
    (tmp_path / "p.csv").write_text('Predictions,Actual Labels\n"[0, 1]","[0, 1]"\n')
    with pytest.raises(PredictionsError, match="a list of 2, expected 11"):
        read_csv(tmp_path / "p.csv", tasks["multilabel"])
    with pytest.raises(PredictionsError, match="a list of 2, expected a label"):
        read_csv(tmp_path / "p.csv", tasks["multiclass"])


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(tmp_path_factory: pytest.TempPathFactory, raw: bytes):
    file = tmp_path_factory.mktemp("fuzz") / "p.csv"
    for start in (b"", b"truth,prediction\n", b"Predictions,Actual Labels\n"):
        file.write_bytes(start + raw)
        try:
            read = read_csv(file)
        except PredictionsError as error:
            assert "p.csv" in str(error)
        else:
            assert len(read.ids) >= 1


@pytest.mark.parametrize(
    "change",
    [
        {"ids": ("x",) * 400},
        {"groups": ("s",)},
        {"truth": np.full(400, 7)},
        {"prediction": np.full(400, -1)},
        {"fold": np.zeros(3, dtype=np.int64)},
        {"probability": np.full((400, 7), 1.5)},
    ],
)
def test_predictions_that_do_not_fit_together_are_our_fault(predictions_of, tasks, change):
    good = predictions_of(tasks["multiclass"])
    with pytest.raises(ToolkitError, match="Predictions: "):
        replace(good, **change)
