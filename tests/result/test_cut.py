"""A risk scale cut at a threshold, next to the runs that asked for it in two: the same truth, a paired difference."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.result.conftest import make_run
from toolkit.core.errors import InputError, PredictionsError
from toolkit.core.i18n import of
from toolkit.corpus.labels import Task
from toolkit.result import compare, cut, run_files
from toolkit.result.kinds import headline
from toolkit.result.predictions import Predictions
from toolkit.result.report import compare_narrative
from toolkit.result.run import Run
from toolkit.result.stats import evaluate

RISK = Task("risk", "ordinal", ("1", "5", "8", "16"), ("risk",))


@pytest.fixture(scope="module")
def scale() -> Run:
    return make_run(task=RISK, clips=80, layers=2)


@pytest.fixture
def kept(tmp_path: Path, scale: Run) -> Path:
    """The ordinal run, one that asked for 8 or more, and one that asked for 16."""
    for name, run in (("levels", scale), ("eight", binary(scale, 8.0)), ("sixteen", binary(scale, 16.0))):
        run_files.write(tmp_path / name, run)
    return tmp_path


def binary(scale: Run, threshold: float) -> Run:
    """Asked for directly: a third of the decisions of the scale's own turned over."""
    whole = cut.cut(scale.predictions, threshold)
    turned = np.where(np.arange(len(whole.ids)) % 3, whole.prediction, 1 - whole.prediction)
    own = replace(whole, prediction=turned)
    rules = {**scale.provenance, "rules": {"threshold": threshold}}
    rest = {"layers": {"encoder.1": own}, "development": {"encoder.1": (0.8,) * 5}, "metric": headline(own.task)}
    return replace(scale, task=own.task, predictions=own, provenance=rules, **rest)


def test_the_cut_and_the_ordinal_run_are_compared_on_the_same_truth(kept: Path, scale: Run) -> None:
    (group,), _ = compare.gather(kept, [kept / "levels", kept / "eight"])
    cut_run = group["levels"]
    assert cut_run.task == group["eight"].task and cut_run.task.labels == ("risk < 8", "risk >= 8")
    np.testing.assert_array_equal(cut_run.predictions.truth, (scale.predictions.truth >= 2).astype(int))
    np.testing.assert_allclose(cut_run.predictions.probability[:, 1], scale.predictions.probability[:, 2:].sum(axis=1))
    found = compare.compare(group)
    first, second = found.lines
    assert (first.folder, second.folder) == ("eight", "levels")  # the one whose development counts this metric
    expected = evaluate(cut.cut(scale.predictions, 8)).overall["unweighted_average_recall"].estimate
    assert second.score.estimate == expected and second.difference.score is not None
    assert second.difference.score.estimate == pytest.approx(expected - first.score.estimate)
    assert compare_narrative.name(second, found) == "whisper-tiny.en (ordinal), linear probe"
    english, chinese = (compare_narrative.cautions(found, of(tag)) for tag in ("en", "zh"))
    assert any("read as risk >= 8 or not" in note for note in english)
    (asked,) = (note for note in chinese if "risk >= 8" in note)
    assert "量表" in asked and " from " not in asked


def test_a_scale_is_cut_only_where_one_threshold_is_named(kept: Path) -> None:
    groups, left_out = compare.gather(kept, [])
    assert not groups and len(left_out) == 3
    with pytest.raises(InputError, match="eight is of the task"):
        compare.gather(kept, [kept / "levels", kept / "eight", kept / "sixteen"])


def test_numbers_are_cut_too_and_what_cannot_be_is_refused(scale: Run) -> None:
    truth = np.array([[1.0], [np.nan], [3.0]])
    task, nothing = Task("v", "regression", ("v",), ("v",)), np.full((3, 1), np.nan)
    numbers = Predictions(task, ("a", "b", "c"), ("s", "s", "t"), np.arange(3), truth, np.array([[2.5]] * 3), nothing)
    found = cut.cut(numbers, 2.0)
    assert (found.ids, found.truth.tolist(), found.prediction.tolist()) == (("a", "c"), [0, 1], [1, 1])
    for given, threshold, match in (
        (replace(numbers, task=replace(task, columns=("v", "w"))), 2.0, "are several"),
        (numbers, 99.0, "no truth is on its other side"),
        (replace(scale.predictions, task=replace(RISK, labels=tuple("abcd"))), 8.0, "cuts numbers, and the levels"),
    ):
        with pytest.raises(PredictionsError, match=match):
            cut.cut(given, threshold)
