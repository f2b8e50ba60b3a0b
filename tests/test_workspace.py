"""A study from Python: what the commands do, by the same options, with results as objects."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.base
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import toolkit
from tests.cli.test_probe import study
from tests.conftest import Run
from toolkit.core.errors import InputError
from toolkit.core.options import command_of, helps, names
from toolkit.extract.options import ExtractOptions
from toolkit.finetune.options import FinetuneOptions
from toolkit.predict.options import PredictOptions
from toolkit.probe.options import ProbeOptions
from toolkit.probe.stage import ProbeResult
from toolkit.result.options import CompareOptions, ScoreOptions

__all__ = ["study"]
STAGES = (ExtractOptions, ProbeOptions, FinetuneOptions, CompareOptions, ScoreOptions, PredictOptions)
ASKED: dict[str, Any] = {"target": "mood", "folds": 3, "trials": 2}


@pytest.fixture(scope="module")
def probed(study: Path) -> ProbeResult:
    (result,) = toolkit.open(study).probe("made-up", **ASKED).runs
    assert isinstance(result, ProbeResult)
    return result


def test_the_command_and_the_method_make_one_and_the_same_run(run: Run, study: Path, probed: ProbeResult) -> None:
    code, out, err = run("probe", "--model", "made-up", "--target", "mood", "--folds", 3, "--trials", 2, "-w", study)
    assert code == 0, err
    assert "is finished already" in err and probed.name in out
    again = toolkit.open(study).probe(["made-up"], **ASKED)
    assert again.cached and again.runs[0].folder == probed.folder
    made_by = json.loads((probed.folder / "run.json").read_text(encoding="utf-8"))["provenance"]["command"]
    assert made_by == "toolkit probe --model made-up --target mood --trials 2 --folds 3"


def test_results_are_json_on_the_command_line_too(run: Run, study: Path, probed: ProbeResult) -> None:
    words = ("--model", "made-up", "--target", "mood", "--folds", 3, "--trials", 2, "-w", study)
    code, out, err = run("probe", *words, "--json", "--quiet")
    (found,) = json.loads(out)["runs"]
    assert code == 0 and err == "" and found == json.loads(json.dumps(probed.to_json()))
    (study / "result" / "mood-stopped-linear-0" / ".training").mkdir(parents=True)
    code, out, _ = run("runs", "-w", study)
    assert code == 0 and probed.name in out and "UAR 0." in out and "stopped" in out
    code, out, _ = run("runs", "-w", study, "--json")
    rows = {row["run"]: row for row in json.loads(out)}
    assert rows[probed.name]["clips"] == 72 and rows["mood-stopped-linear-0"]["state"] == "stopped"
    (study / "result" / "mood-stopped-linear-0" / ".training").rmdir()
    (study / "result" / "mood-stopped-linear-0").rmdir()


def test_results_are_frames_charts_and_a_page(study: Path, probed: ProbeResult) -> None:
    table = probed.table()
    assert list(table.layer) == ["encoder.0", "encoder.1", "encoder.2"] and table["rounds"].sum() == 3
    assert (table.lower < table.test).all() and (table.test < table.upper).all()
    predictions = probed.predictions()
    assert len(predictions) == 72 and (predictions.truth == predictions.prediction).mean() > 0.8
    assert predictions["score:high"].dtype == np.float64 and (predictions["score:high"] < 0).any()
    assert probed.report.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert probed.name in probed.to_json()["name"] and probed.to_json()["layers"][1]["layer"] == "encoder.1"
    assert "encoder.1" in probed._repr_html_()
    with pytest.raises(InputError, match="Bad figure 'curve', expected one of"):
        probed.figure("curve")
    workspace = toolkit.open(study)
    assert workspace.result(probed.name[:-3]).folder == probed.folder and probed.name in workspace.runs()
    assert {store.backbone for store in workspace.stores()} == {"made-up", "made-up-random", "weaker"}


def test_several_runs_come_back_together(study: Path) -> None:
    several = toolkit.open(study).probe(["made-up", "weaker"], **ASKED)
    assert len(several.runs) == 2 and several.report.is_file() and "compare" in several.report.parent.name
    assert set(several.table().run) == {run.name for run in several.runs}
    assert len(several.predictions()) == 144
    with pytest.raises(InputError, match="2 runs have a figure"):
        several.figure("layers")
    (comparison,) = toolkit.open(study).compare(*several.runs)
    assert comparison.folder == several.comparison.folder and comparison.answer == several.comparison.answer
    assert (
        len(comparison.table()) == 2 and comparison.report.is_file() and comparison.answer in comparison._repr_html_()
    )


def test_an_estimator_is_fitted_on_every_clip_as_scikit_learn_would(study: Path, probed: ProbeResult) -> None:
    (store,) = (one for one in toolkit.open(study).stores() if one.backbone == "made-up")
    features = store.layer("encoder.1")
    estimator = probed.estimator("encoder.1")
    assert estimator.layer == "encoder.1" and sklearn.base.is_classifier(estimator)
    choice = min((one for one in probed.run.choices if one.layer == "encoder.1"), key=lambda one: one.loss)
    values = {"mean": features.mean, "std": features.std, "both": np.hstack([features.mean, features.std])}
    X = values[str(choice.setting["statistics"])]
    given = X if choice.setting["statistics"] == "mean" else values["both"]
    row = {clip: number for number, clip in enumerate(probed.run.predictions.ids)}
    y = np.array(probed.run.task.labels)[probed.run.predictions.truth[[row[clip] for clip in store.ids]]]
    share = 2 / 3  # of the clips: what a strength of the search was relative to, less the development fold
    C = float(choice.setting["C"]) * len(y) / (len(y) * share - len(y) / 3)
    plain = LogisticRegression(C=C, tol=1e-8, max_iter=10_000, class_weight="balanced")
    plain.fit(StandardScaler().fit_transform(X), y)
    expected = plain.predict(StandardScaler().fit_transform(X))
    assert (estimator.predict(given) == expected).mean() > 0.97
    probability = estimator.predict_proba(given)
    assert probability.shape == (72, 2) and np.allclose(probability.sum(axis=1), 1)
    assert list(estimator.classes_) == list(probed.run.task.labels)
    with pytest.raises(InputError, match=r"X has the shape \(72, 3\), expected \(clips, "):
        estimator.predict(X[:, :3])
    with pytest.raises(InputError, match=r"Bad layer 'encoder\.9'"):
        probed.estimator("encoder.9")


def test_what_is_written_from_python_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        y, groups = np.tile(["calm", "sad"], 18), np.repeat(list("abcdef"), 6)
        X = np.random.default_rng(0).standard_normal((36, 3))
        toolkit.probe_arrays({"mine": X}, y, groups, folds=3, trials=1, folder=tmp_path)
        assert os.umask(0o022) == 0o022  # the caller's own is back
    finally:
        os.umask(before)
    assert not [path for path in tmp_path.rglob("*") if path.stat().st_mode & 0o077]


def test_names_are_text_in_a_notebook(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    several = toolkit.open(study).probe(["made-up", "weaker"], **ASKED)
    (found,) = toolkit.open(study).compare(*several.runs)
    monkeypatch.setattr("toolkit.result.report.compare_narrative.answer", lambda comparison: "<b>x is ahead")
    assert "<p>&lt;b&gt;x is ahead</p>" in found._repr_html_()


def test_what_there_is_not_is_refused_by_name(study: Path, tmp_path: Path) -> None:
    workspace = toolkit.open(study)
    with pytest.raises(InputError, match=r"There is no option 'inner_fold'; did you mean 'inner_folds'\?"):
        workspace.probe("made-up", inner_fold=2, **ASKED)
    with pytest.raises(InputError, match="No workspace folder 'nowhere'"):
        toolkit.open(tmp_path / "nowhere")
    with pytest.raises(InputError, match="Say what to train: origin a probe run, or model and target by hand"):
        workspace.finetune()
    with pytest.raises(InputError, match="Bad split_by 'call', expected one of"):
        workspace.probe("made-up", split_by="call", **ASKED)


def test_every_option_has_its_docstring_line() -> None:
    for stage in STAGES:
        told = helps(stage)
        for field in dataclasses.fields(stage):
            assert told.get(field.name, "").endswith((".", "...")), (stage.__name__, field.name)


def test_a_command_is_written_without_its_defaults_and_without_folders() -> None:
    options = ProbeOptions(model=["a", "/data/b"], target="x,y", nuisance=["speaker", "sex"], online=True, seed=0)
    assert (
        command_of("probe", options) == "toolkit probe --model a --model b --target x,y --nuisance speaker,sex --online"
    )
    tuning = FinetuneOptions(origin="run", refit_on_development=False)
    assert command_of("finetune", tuning) == "toolkit finetune --from run --no-refit-on-development"
    assert names("a, b,a") == ("a", "b")


def test_arrays_are_probed_without_a_workspace(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    y, groups = np.tile(["calm", "sad"], 30), [f"caller{n // 10}" for n in range(60)]
    noise, knows = generator.standard_normal((60, 4)), generator.standard_normal((60, 4))
    knows[:, 0] += 4 * (y == "sad")
    found = toolkit.probe_arrays({"noise": noise, "knows": knows}, y, groups, folds=3, trials=2, folder=tmp_path)
    table = found.table().set_index("layer")
    assert table.test["knows"] > 0.9 > 0.75 > table.test["noise"] and found.run.layers_chosen == "knows (3)"
    assert found.report.is_file() and set(found.predictions().speaker) == set(groups)
    assert (found.estimator().predict(knows) == y).mean() > 0.9
    several = np.stack([y == "sad", np.arange(60) % 3 == 0], axis=1).astype(int)
    temporary = toolkit.probe_arrays({"knows": knows}, several, groups, labels=["sad", "third"], folds=3, trials=2)
    assert temporary.run.task.labels == ("sad", "third") and temporary.report.is_file()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"layers": {}}, "No layer is given"),
        ({"layers": {"a": np.zeros((6, 2)), "b": np.zeros((6, 3))}}, r"layer 'b' is float64 of shape \(6, 3\)"),
        ({"y": ["x"] * 5}, "y is of 5 clips, the layers of 6"),
        ({"groups": ["s"] * 7, "ids": list("abcdef")}, "groups is of 7 clips"),
        ({"y": np.zeros((6, 2))}, "expected .clips,., or .clips, labels. with the name of each in labels"),
        ({"labels": ["x"]}, "labels names the columns of y"),
        ({"layers": {"a": np.full((6, 2), np.nan)}}, "layer 'a' of clip 'clip0' holds nan"),
        ({"fold": 3}, "There is no option 'fold'; did you mean 'folds'"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(given: dict[str, Any], sentence: str) -> None:
    whole = {"layers": {"a": np.zeros((6, 2))}, "y": list("xyxyxy"), "groups": list("aabbcc")}
    with pytest.raises(InputError, match=sentence):
        toolkit.probe_arrays(**{**whole, **given})


def test_a_caller_is_purged_from_python_too(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study, tmp_path / "study", ignore=shutil.ignore_patterns("result"))
    messages: list[str] = []
    workspace = toolkit.open(tmp_path / "study", say=messages.append)
    assert workspace.purge(speaker="s0", dry_run=True) is None and messages[0] == "12 clips go"
    left = workspace.purge(speaker="s0", manifest_too=True)
    assert left is not None and not left.found and "found nowhere" in messages[-1]
    assert {clip.speaker for clip in workspace.manifest.clips} == {f"s{number}" for number in range(1, 6)}
    assert all(len(store.ids) == 60 for store in workspace.stores())
    with pytest.raises(InputError, match="Say who goes: speaker NAME, or clip ID"):
        workspace.purge()
