"""The stage `contrast` over a finished run: what it refuses, what it writes, and that the page tells no caller."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import toolkit
from tests.conftest import Run
from tests.result.conftest import make_run
from toolkit.core.errors import InputError
from toolkit.core.i18n import of
from toolkit.corpus import manifest
from toolkit.privacy.purge import purge
from toolkit.result import run_files

NAME = "hotline-tiny-linear-0123456789ab"
Edit = Callable[[dict[str, list[str]]], None]


def as_it_is(columns: dict[str, list[str]]) -> None: ...


def make_study(folder: Path, edit: Edit = as_it_is, kind: str = "multilabel", windows: bool = False) -> Path:
    """A run over 40 callers of two calls each, 20 of them suicidal, who say twice as often that they feel guilt."""
    run = make_run(kind, layers=1, clips=1_000, speakers=40)
    (layer,) = run.layers
    given, random = run.predictions, np.random.default_rng(0)
    if kind == "multilabel":
        more = np.array([int(name[-2:]) < 20 for name in given.groups]) & (random.random(1_000) < 0.4)
        truth, said = given.truth.copy(), given.prediction.copy()
        truth[more, 3], said[more, 3] = 1, 1
        given = replace(given, truth=truth, prediction=said)
    ids = given.ids
    calls = [f"{name}-{number % 2}" for number, name in enumerate(given.groups)]
    if windows:
        ids = tuple(f"{call}@{5 * number}-{5 * number + 10}" for number, call in enumerate(calls))
        given = replace(given, ids=ids)
    folds = replace(run.folds, ids=ids)
    run = replace(run, folds=folds, predictions=given, layers={layer: replace(given)}, left_out={})
    rows = list(dict.fromkeys(calls)) if windows else list(ids)
    who = [row.rpartition("-")[0] if windows else row.rpartition("/")[0] for row in rows]
    columns = {
        "id": rows,
        "path": [f"{number}.wav" for number in range(len(rows))],
        "speaker": who,
        "suicidal": [str(int(int(name[-2:]) < 20)) for name in who],
        "risk": [["low", "mid", "high"][int(name[-2:]) % 3] for name in who],
        **({} if windows else {"recording": calls}),
    }
    edit(columns)
    folder.mkdir(exist_ok=True)
    for path in columns["path"]:
        (folder / path).touch()
    manifest.write(folder / "manifest.csv", tuple(columns), list(zip(*columns.values())))
    run_files.write(folder / "result" / NAME, run)
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.mark.usefixtures("specified")
def test_page_and_tables_of_a_planted_label(study: Path) -> None:
    found = toolkit.open(study).contrast("hotline", "suicidal", negative="fear,pain")
    assert found.contrast.callers == (20, 20) and len(found.contrast.calls.names) == 80
    table = found.table().set_index(["measure", "label", "of"])
    guilt = table.loc[("share", "guilt", "prediction")]
    assert guilt.difference_lower > 0.1 and guilt.welch_p_holm < 0.001 and guilt.permutation_p_holm < 0.01
    assert guilt.part_of_true_difference == pytest.approx(
        guilt.difference / table.loc[("share", "guilt", "truth")].difference, abs=1e-4
    )
    others = table.loc[[place for place in table.index if place[0] == "share" and place[1] != "guilt"]]
    assert (others.welch_p_holm > 0.05).all()
    calls = found.calls()
    assert set(calls.suicidal) == {0, 1} and calls.clips.sum() == 1_000 and calls.minutes.isna().all()
    assert calls["prediction:share:guilt"].between(0, 1).all()
    html = found.report.read_text()
    assert "With" in found.answer or "No difference" in found.answer
    assert (
        found.answer.split("(")[0].strip() in html and "speaker01" not in html and "Negative: any of fear, pain" in html
    )
    assert {"figures/labels.json", "figures/calls-negative.json", "figures/calls-stretch.json"} <= {
        path.relative_to(found.folder).as_posix() for path in found.folder.rglob("*.json")
    }
    assert found.figure("labels").to_dict()["layer"] and json.dumps(found.to_json())
    with pytest.raises(InputError, match="Bad figure 'calls-changes'"):
        found.figure("calls-changes")


def test_it_is_drawn_once_and_again_in_chinese(study: Path) -> None:
    workspace = toolkit.open(study)
    first = workspace.contrast(NAME, "suicidal")
    before = first.report.stat().st_mtime_ns
    again = workspace.contrast(NAME, "suicidal")
    assert again.folder == first.folder and again.report.stat().st_mtime_ns == before
    chinese = workspace.contrast(NAME, "suicidal", language="zh")
    assert chinese.folder == first.folder and of("zh")("contrast.table_heading") in chinese.report.read_text()
    assert workspace.contrast(NAME, "suicidal", least=12).folder != first.folder


def test_windows_give_times_and_their_recordings_are_the_calls(tmp_path: Path) -> None:
    found = toolkit.open(make_study(tmp_path / "w", windows=True)).contrast(NAME, "suicidal", negative="fear")
    measures = set(found.table().measure)
    assert {"changes", "negative", "stretch"} <= measures and len(found.contrast.calls.names) == 80
    assert (found.calls().minutes > 0).all() and "share of the time" in found.answer
    html = found.report.read_text()
    assert of("en")("contrast.time") in html and "changes a minute" in html


def test_a_call_by_another_column_and_callers_of_three_kinds(study: Path) -> None:
    workspace = toolkit.open(study)
    found = workspace.contrast(NAME, "risk", groups="high,low", unit="speaker", least=30)
    assert len(found.contrast.calls.names) == 40 and found.contrast.elsewhere == 13 and sum(found.contrast.few) > 0
    assert "is another value or not known" in (html := found.report.read_text())
    assert "do not count, as they have fewer than 30 clips" in html


def test_without_a_negative_label_the_answer_counts_labels(tmp_path: Path) -> None:
    study = make_study(tmp_path / "m", kind="multiclass")
    found = toolkit.open(study).contrast(NAME, "suicidal", negative=())
    assert found.answer.startswith("Of 7 labels, 0 are predicted at different rates for speakers with suicidal ‘1’")
    assert "calls-share" in {path.stem for path in found.folder.glob("figures/*")}
    few = toolkit.open(study).contrast(NAME, "suicidal", negative=(), least=30)
    assert min(few.contrast.callers) < 5 and few.answer.startswith("Of 7 labels, 7 cannot be tested for a difference")


def put(name: str, *cells: str) -> Edit:
    return lambda columns: columns.__setitem__(name, [*cells, *columns[name][len(cells) :]])


@pytest.mark.parametrize(
    ("edit", "options", "sentence"),
    [
        (as_it_is, {"by": "suicide"}, "Bad --by 'suicide', expected one of .*suicidal"),
        (as_it_is, {"by": "risk"}, r"'risk' has 3 values \('mid', 'low', 'high'\)"),
        (as_it_is, {"by": "risk", "groups": "high,lo"}, "Bad --groups 'lo'"),
        (as_it_is, {"by": "risk", "groups": "high"}, "--groups high: expected two values"),
        (as_it_is, {"by": "suicidal", "unit": "cal"}, "Bad --unit 'cal'"),
        (as_it_is, {"by": "suicidal", "negative": "fera"}, "Bad --negative 'fera'"),
        (as_it_is, {"by": "suicidal", "least": 999}, "No speaker with suicidal '1' counts"),
        (put("suicidal", "0", "1"), {"by": "suicidal"}, "40 speakers have clips with different values of 'suicidal'"),
        (put("recording", *["x"] * 50), {"by": "suicidal"}, "recordings have clips with different values of"),
        (put("recording", "", ""), {"by": "suicidal"}, r"Column 'recording' is empty for 2 of the tested clips"),
        (put("id", "new"), {"by": "suicidal"}, r"manifest\.csv has no clip .*, which was tested"),
    ],
)  # fmt: skip
def test_each_refusal_is_one_sentence(
    tmp_path: Path, study: Path, run: Run, edit: Edit, options: dict[str, object], sentence: str
) -> None:
    place = toolkit.open(study if edit is as_it_is else make_study(tmp_path / "s", edit)).place
    there = sorted(place.result.iterdir())
    words = {"by": "--by", "groups": "--groups", "unit": "--unit", "negative": "--negative", "least": "--least-clips"}
    typed = [word for name, value in options.items() for word in (words[name], str(value))]
    code, out, err = run("contrast", "--from", NAME, *typed, "-w", place.folder)
    assert (code, out) == (2, "") and pd.Series([err]).str.contains(sentence).all(), err
    assert len(err.strip().splitlines()) == 1 and sorted(place.result.iterdir()) == there


def test_the_command_prints_a_table_or_json(study: Path, run: Run) -> None:
    code, out, _ = run("contrast", "--from", "hotline", "--by", "suicidal", "-w", study)
    assert code == 0 and "guilt: share of the clips" in out and "calls" not in out.split("\n")[0]
    code, out, _ = run("contrast", "--from", "hotline", "--by", "suicidal", "--json", "-w", study)
    told = json.loads(out)
    assert (
        code == 0 and told["groups"]["1"] == {"callers": 20, "with_too_few_clips": 0} and told["column"] == "suicidal"
    )


def test_a_purge_takes_the_page_and_its_calls_with_it(tmp_path: Path) -> None:
    workspace = toolkit.open(make_study(tmp_path / "p"))
    folder = workspace.contrast(NAME, "suicidal").folder
    assert "speaker07" in (folder / "calls.csv").read_text()
    purge(workspace.place, ("speaker07",), ())
    assert not folder.exists() and (workspace.place.result / NAME / "run.json").exists()
