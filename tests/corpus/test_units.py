"""A corpus by its units: labels, groups and order of their clips; what cannot be said is refused in one sentence."""

from pathlib import Path

import numpy as np
import pytest

from toolkit.core.errors import InputError, LabelError, SplitError
from toolkit.corpus import manifest
from toolkit.corpus.evaluation_task import build_task
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.spellings import Rules
from toolkit.corpus.units import units_of

COLUMNS = ("id", "path", "start", "end", "speaker", "recording", "risk", "sex", "note")


def corpus(tmp_path: Path, *rows: str) -> Manifest:
    for name in {row.split(",")[1] for row in rows}:
        (tmp_path / name).touch()
    file = tmp_path / "manifest.csv"
    manifest.write(file, COLUMNS, [[cell.replace(";", ",") for cell in row.split(",")] for row in rows])
    return manifest.read(file)


CALLS = (
    "a2,a.wav,5,6,s1,A,0,f,x",
    "a1,a.wav,1,2,s1,A,0,f,y",
    "b1,b.wav,,,s1,B,1,f,x",
    "c1,c.wav,,,s2,C,1,m,x",
    "c2,d.wav,,,s2,C,,m,x",
)


def test_a_unit_has_its_clips_in_time_and_the_columns_that_do_not_vary_in_it(tmp_path: Path) -> None:
    units = units_of(corpus(tmp_path, *CALLS), "recording", None, "risk", "speaker")
    assert units.members == {"A": ("a1", "a2"), "B": ("b1",), "C": ("c1", "c2")}
    assert units.manifest.columns == ("id", "path", "speaker", "recording", "risk", "sex")
    assert units.manifest.cells("risk") == ("0", "1", "1")  # a clip without a label takes its unit's
    assert units.manifest.cells("sex") == ("f", "f", "m")
    assert "3 units of 5 clips, 1 to 2 each" in str(units.notes[0])
    question = build_task(corpus(tmp_path, *CALLS), "sex", 3, 0, split_by="clip")
    spread = units_of(corpus(tmp_path, *CALLS), "recording", None, "sex", "speaker").clips_of
    folds = build_task(units.manifest, "risk", 3, 0, split_by="clip").folds
    assert spread(folds).ids == ("a1", "a2", "b1", "c1", "c2")
    assert question.folds.count == 3


def test_the_speaker_is_a_unit_too(tmp_path: Path) -> None:
    units = units_of(corpus(tmp_path, *CALLS), "speaker", "max", "risk", "speaker")
    assert units.manifest.cells("risk") == ("1", "1")
    assert "With clips that differ in their labels: 1 unit; a unit's label is made by 'max' of them." in map(
        str, units.notes
    )
    assert units.labels == {"a2": {"risk": "0"}, "a1": {"risk": "0"}, "b1": {"risk": "1"}}  # of s2 all have one label


def test_a_unit_that_takes_anothers_label_takes_its_clips_labels_too(tmp_path: Path) -> None:
    """As many as it has clips: all of the donor's, some of them, or some twice; none of a donor that has none."""
    rows = [
        f"{unit}{clip},{unit}{clip}.wav,,,s1,{unit},{int(unit != 'C' and clip == 0)},f,x"
        for unit, clips in {"A": 6, "B": 3, "C": 6}.items()
        for clip in range(clips)
    ]
    units = units_of(corpus(tmp_path, *rows), "recording", "any", "risk", "speaker")
    assert units.labels.keys() == {*units.members["A"], *units.members["B"]}
    dealt = units.dealt({"A": "B", "B": "A", "C": "A"}, np.random.default_rng(0)).labels
    found = {unit: [dealt[clip]["risk"] for clip in units.members[unit]] for unit in units.members}
    assert sorted(found["A"]) == ["0"] * 4 + ["1"] * 2 and sorted(found["C"]) == ["0"] * 5 + ["1"]
    assert sorted(found["B"]) in (["0"] * 3, ["0", "0", "1"])
    again = units.dealt({"A": "C", "B": "C", "C": "C"}, np.random.default_rng(0))
    assert not again.labels
    dealt_anew = [units.dealt({"C": "A"}, np.random.default_rng(seed)).labels for seed in range(9)]
    assert any(one != dealt_anew[0] for one in dealt_anew)  # the order of time is not kept


@pytest.mark.parametrize(
    ("label", "cells", "rules", "made"),
    [
        ("any", ("0", "1"), Rules(), "1"),
        ("first", ("sad", "happy"), Rules(), "sad"),
        ("max", ("2", "10"), Rules(kind="ordinal"), "10"),
        ("max", ("high", "low"), Rules(kind="ordinal", levels=("low", "high")), "high"),
        ("mean", ("1", "2"), Rules(kind="regression"), "1.5"),
        ("mean", ("3", "8"), Rules(threshold=5.0), "5.5"),
    ],
)
def test_a_units_label_is_made_as_it_is_said(
    tmp_path: Path, label: str, cells: tuple[str, str], rules: Rules, made: str
) -> None:
    rows = [f"a{number},a{number}.wav,,,s1,A,{cell},f,x" for number, cell in enumerate(cells)]
    units = units_of(corpus(tmp_path, *rows), "recording", label, "risk", "speaker", rules)
    assert units.manifest.cells("risk") == (made,)


TWO = ("a1,a.wav,,,s1,A,sad,f,x", "a2,b.wav,,,s1,A,happy,f,x")


@pytest.mark.parametrize(
    ("rows", "column", "label", "rules", "error", "match"),
    [
        (TWO, "recording", None, Rules(), LabelError, "clips of unit 'A' differ in 'risk': 'sad' in manifest line 2"),
        (TWO, "recording", "any", Rules(), LabelError, "any is for labels of 0 and 1, and column 'risk' holds 'happy'"),
        (TWO, "recording", "max", Rules(), LabelError, "max is for numbers; column 'risk': 'sad', expected a"),
        (("a1,a.wav,,,s1,A,3.5,f,x", "a2,b.wav,,,s1,A,12;5,f,x"), "recording", "mean", Rules(threshold=3.0), LabelError,
         "mean is for numbers; column 'risk': '12,5' has a decimal comma, expected a point: 12.5"),
        ([f"a{n},{n}.wav,,,s1,A,{cell},f,x" for n, cell in enumerate(("2", "3", "99"))], "recording", "mean",
         Rules(threshold=3.0), LabelError, "line 4, column 'risk': 99 is a usual code for no answer"),
        (TWO, "recording", "mean", Rules(), LabelError, "mean makes numbers between the labels"),
        (TWO, "recording", "median", Rules(), InputError, "--unit-label 'median'|Bad --unit-label|unit-label"),
        (TWO, "call", None, Rules(), InputError, "Unknown --unit|--unit"),
        (TWO, "path", None, Rules(), InputError, "--unit"),
        (("a1,a.wav,,,s1,A,0,f,x", "a2,b.wav,,,s2,A,0,f,x"), "recording", None, Rules(), SplitError,
         "Unit 'A' .* has clips of the speaker 's1' .* and of 's2'"),
        (("a1,a.wav,,,s1,,0,f,x", "a2,b.wav,,,s1,A,0,f,x"), "recording", None, Rules(), InputError,
         "Manifest line 2, column 'recording': '', expected the name of the clip's unit"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_of_units_is_refused(
    tmp_path: Path, rows: tuple[str, ...], column: str, label: str | None, rules: Rules, error: type[Exception],
    match: str,
) -> None:  # fmt: skip
    with pytest.raises(error, match=match):
        units_of(corpus(tmp_path, *rows), column, label, "risk", "speaker", rules)


def test_a_unit_without_a_label_and_constant_labels_are_one_sentence(tmp_path: Path) -> None:
    rows = (*CALLS, "d1,e.wav,,,s3,D,,m,x")
    units = units_of(corpus(tmp_path, *rows), "recording", None, "risk", "speaker")
    with pytest.raises(LabelError, match="line 7, column 'risk': the label is empty, as in 1 of 4"):
        build_task(units.manifest, "risk", 3, 0)
    alike = units_of(corpus(tmp_path, *CALLS[:2], "b1,b.wav,,,s1,B,0,f,x"), "recording", None, "risk", "speaker")
    with pytest.raises(LabelError, match="two or more are needed to tell apart"):
        build_task(alike.manifest, "risk", 3, 0)
