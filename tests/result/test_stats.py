"""Intervals by leaving out each speaker, and the layers that may be best: against a naive loop and known numbers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from tests.result.conftest import binary, picked
from toolkit.corpus.labels import Task, one_hot
from toolkit.result import jackknife, stats
from toolkit.result.jackknife import Score, score_of, units_of
from toolkit.result.kinds import headline_score as point
from toolkit.result.paired import difference
from toolkit.result.predictions import Predictions
from toolkit.result.probability_metrics import measure
from toolkit.result.stats import caution, evaluate, headline_score, headline_scores, may_be_best

Make = Callable[..., Predictions]


def reach(t: float, centre: float, rest: np.ndarray) -> float:
    """Half an interval: t times the root of squared standard error and squared bias, both the jackknife's."""
    n = len(rest)
    error = np.sqrt((n - 1) / n * ((rest - rest.mean()) ** 2).sum())
    return float(t * np.sqrt(error**2 + ((n - 1) * (rest.mean() - centre)) ** 2))


def logit(value: Any) -> Any:
    return np.log(value / (1 - value))


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_intervals_are_those_of_a_naive_loop_that_leaves_out_each_speaker(
    kind: str, predictions_of: Make, tasks: dict[str, Task]
) -> None:
    given = predictions_of(tasks[kind], clips=300, speakers=7)
    names = np.array(given.groups)
    values: dict[str, list[float]] = {}
    for name in sorted(set(given.groups)):
        for metric, value in measure(picked(given, np.flatnonzero(names != name))).items():
            values.setdefault(metric, []).append(np.nan if value is None else value)
    evaluation = evaluate(given)
    assert evaluation.overall.keys() == values.keys()
    t = scipy_stats.t.ppf(0.975, 6)
    for metric, score in evaluation.overall.items():
        estimate, rest = measure(given)[metric], np.array(values[metric])
        assert score.estimate == pytest.approx(estimate), metric
        if metric in ("brier", "log_loss"):
            half = reach(t, estimate or 0.0, rest)
            expected = [estimate - half, estimate + half]
        else:
            half = reach(t, logit(estimate), logit(rest))
            expected = [1 / (1 + np.exp(-(logit(estimate) + side * half))) for side in (-1, 1)]
        np.testing.assert_allclose([score.lower, score.upper], expected, atol=1e-9, err_msg=metric)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_support_and_predicted_are_the_clips_that_have_a_label_and_that_were_given_it(
    kind: str, predictions_of: Make, tasks: dict[str, Task]
) -> None:
    given = predictions_of(tasks[kind], clips=200)
    evaluation = evaluate(given)
    for found, labels in ((evaluation.support, given.truth), (evaluation.predicted, given.prediction)):
        assert found == dict(zip(given.task.labels, one_hot(given.task, labels).sum(axis=0).tolist()))


def test_an_interval_by_hand() -> None:
    """Accuracy of 5 speakers with 10 clips each, of which 5, 6, 7, 8 and 9 are right."""
    truth = [1] * 50
    prediction = [int(k < right) for right in (5, 6, 7, 8, 9) for k in range(10)]
    given = binary(truth, prediction, [f"s{speaker}" for speaker in range(5) for _ in range(10)])
    score = evaluate(given).overall["accuracy"]
    rest = np.array([30, 29, 28, 27, 26]) / 40
    half = reach(2.7764451051977987, logit(0.7), logit(rest))
    assert score.estimate == 0.7
    assert score.lower == pytest.approx(1 / (1 + np.exp(half - np.log(7 / 3))), abs=1e-12)
    assert score.upper == pytest.approx(1 / (1 + np.exp(-half - np.log(7 / 3))), abs=1e-12)
    assert (round(score.lower, 4), round(score.upper, 4)) == (0.4761, 0.8570)


def test_a_score_reads_with_its_interval_and_without_one() -> None:
    assert str(Score(0.8, 0.7, 0.9499)) == "0.800 [0.700, 0.950]" and str(Score(0.8, None, None)) == "0.800"


def test_a_perfect_score_is_bounded_by_its_speakers_and_so_is_one_of_nothing() -> None:
    groups = [f"s{k % 10}" for k in range(40)]
    truth = [k % 2 for k in range(40)]
    perfect = headline_score(binary(truth, truth, groups))
    assert perfect == Score(1.0, pytest.approx(0.025 ** (1 / 10)), 1.0)  # type: ignore[arg-type]
    assert round(perfect.lower or 0, 4) == 0.6915
    wrong = headline_score(binary(truth, [1 - label for label in truth], groups))
    assert wrong == Score(0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / 10)))  # type: ignore[arg-type]


def test_a_figure_about_few_speakers_has_fewer_degrees_of_freedom_or_no_interval() -> None:
    rest = np.array([0.5, 0.52, 0.54, 0.56, 0.58, 0.6, 0.55, 0.55, 0.55, 0.55])
    whole, about_six = score_of(0.55, rest), score_of(0.55, rest, groups=6)
    half = reach(2.5705818366147395, logit(0.55), logit(rest))
    assert about_six.upper == pytest.approx(1 / (1 + np.exp(-(np.log(0.55 / 0.45) + half))))
    assert whole.upper < about_six.upper  # type: ignore[operator]
    assert score_of(0.55, rest, groups=20) == whole  # of no more than were left out
    assert score_of(0.55, rest, groups=4) == Score(0.55, None, None) == score_of(0.55, rest[:4])
    assert score_of(0.55, np.where(np.arange(10) == 3, np.nan, rest)) == Score(0.55, None, None)
    assert score_of(0.5, np.full(10, 0.5)) == Score(0.5, None, None) == score_of(0.5, np.full(10, 0.5), bounded=False)


def test_an_interval_near_an_end_does_not_collapse() -> None:
    """One wrong clip of 5,000, by one of ten speakers; and a recall of 0 that one loud speaker alone brings about."""
    rest = np.append(np.full(9, 4499 / 4500), 1.0)
    room = 1 - 0.025 ** (1 / 10)
    assert score_of(0.9998, rest) == Score(0.9998, pytest.approx(0.9998 - room), 1.0)  # type: ignore[arg-type]
    loud = score_of(0.0, np.append(np.zeros(9), 1.0))
    assert loud.lower == 0.0 and loud.upper is not None and loud.upper > 0.9
    one_missed = np.append(np.full(9, 52 / 56), 1.0)  # 4 of 62 clips are missed, all by a speaker of 6
    error = np.sqrt(9 / 10 * np.square(one_missed - one_missed.mean()).sum()) / (58 / 62 * 4 / 62)
    found = score_of(58 / 62, one_missed)
    assert found.lower == pytest.approx(1 / (1 + np.exp(2.2621571628540993 * error - logit(58 / 62))))
    assert 0.55 < found.lower < 0.6 and found.upper == 1.0
    for inside, score in ((np.linspace(0.996, 0.999, 10), 0.9975), (np.linspace(0.001, 0.004, 10), 0.0025)):
        half = reach(2.2621571628540993, logit(score), logit(inside))
        found = score_of(score, inside)  # no replicate is beyond 0.001 or 0.999
        assert found.lower == pytest.approx(1 / (1 + np.exp(half - np.log(score / (1 - score)))))
        assert found.upper == pytest.approx(1 / (1 + np.exp(-half - np.log(score / (1 - score)))))


def test_a_label_of_few_speakers_has_no_interval_and_of_six_has_one(
    predictions_of: Make, tasks: dict[str, Task]
) -> None:
    given = predictions_of(tasks["multilabel"], clips=600, speakers=12)
    names = np.array(given.groups)
    truth, prediction = given.truth.copy(), given.prediction.copy()
    for label, speakers in ((0, 4), (1, 6)):
        outside = names >= f"speaker{speakers:02d}"
        truth[outside, label] = prediction[outside, label] = 0
    scores = evaluate(replace(given, truth=truth, prediction=prediction)).per_label
    four, six = (scores[label]["recall"] for label in given.task.labels[:2])
    assert four.estimate is not None and four.lower is None
    assert six.lower is not None and six.lower < six.estimate < six.upper  # type: ignore[operator]


def test_a_labels_precision_is_about_the_speakers_who_were_given_it_and_of_a_series_the_fewest(
    predictions_of: Make, tasks: dict[str, Task]
) -> None:
    given = predictions_of(tasks["multilabel"], clips=600, speakers=12)
    names, label = np.array(given.groups), given.task.labels[0]
    truth, several = given.truth.copy(), given.prediction.copy()
    several[:, 0], truth[names >= "speaker04", 0] = names < "speaker06", 0
    four = several * (np.arange(11) > 0) + (truth * (np.arange(11) == 0))
    six = replace(given, truth=truth, prediction=several)
    scores = evaluate(six).per_label[label]
    assert scores["recall"].lower is None is scores["roc_auc"].lower and scores["precision"].lower is not None
    assert scores["f1"].lower is not None
    assert evaluate(six, replace(six, prediction=four)).per_label[label]["precision"].lower is None


def test_more_speakers_than_are_left_out_in_turn_go_in_blocks() -> None:
    n = 1203
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, n)
    prediction = np.where(generator.random(n) < 0.7, truth, 1 - truth)
    given = binary(truth.tolist(), prediction.tolist(), [str(k) for k in range(n)])
    blocks, member = units_of(given)
    assert blocks == 500 and set(np.bincount(member)) == {2, 3}
    assert member[:5].tolist() == [93, 63, 43, 147, 290]  # the same whenever a page is made
    evaluation = evaluate(given)
    assert (
        evaluation.to_json()["intervals"] | {"number": 1203, "left_out_in_turn": 500}
        == evaluation.to_json()["intervals"]
    )
    score = evaluation.overall["accuracy"]
    share = (truth == prediction).mean()
    half = 1.96 * np.sqrt(share * (1 - share) / n)  # by the binomial
    assert score.upper - score.lower == pytest.approx(2 * half, rel=0.15)  # type: ignore[operator]


def test_the_order_of_clips_does_not_matter(predictions_of: Make, tasks: dict[str, Task]) -> None:
    given = predictions_of(tasks["multilabel"])
    order = np.random.default_rng(0).permutation(len(given.ids))
    assert headline_scores([picked(given, order)]) == headline_scores([given])


@given(st.integers(0, 1000))
@settings(max_examples=40)
def test_an_interval_holds_its_estimate(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, 120)
    prediction = np.where(random.random(120) < random.choice([0.5, 0.9, 0.99]), truth, random.integers(0, 2, 120))
    for score in evaluate(
        binary(truth.tolist(), prediction.tolist(), [str(k % 12) for k in range(120)])
    ).overall.values():
        if score.lower is not None:
            assert score.lower <= score.estimate <= score.upper  # type: ignore[operator]
            assert score.lower >= 0 and score.upper <= 1  # type: ignore[operator]


def test_layers_scored_together_are_scored_as_alone(predictions_of: Make, tasks: dict[str, Task]) -> None:
    layers = [predictions_of(tasks["multiclass"], strength=strength) for strength in (0.5, 2.0)]
    assert headline_scores(layers) == [*headline_scores(layers[:1]), *headline_scores(layers[1:])]
    assert headline_scores(layers)[0] == evaluate(layers[0]).overall["unweighted_average_recall"]


def test_a_series_is_the_mean_of_its_runs_and_surer_of_nothing_else(
    predictions_of: Make, tasks: dict[str, Task]
) -> None:
    runs = [predictions_of(tasks["multiclass"], seed=seed) for seed in range(3)]
    alone = [point(run.task, run.truth, run.prediction) for run in runs]
    together = evaluate(*runs)
    assert together.overall["unweighted_average_recall"].estimate == pytest.approx(np.mean(alone))  # type: ignore[arg-type]
    assert evaluate(runs[0], runs[0]).overall == evaluate(runs[0]).overall
    assert together.overall["unweighted_average_recall"] == headline_score(*runs)


def test_one_speaker_has_no_interval_and_few_are_flagged(predictions_of: Make, tasks: dict[str, Task]) -> None:
    given = predictions_of(tasks["multiclass"], clips=60)
    alone = replace(given, groups=("s",) * 60)
    evaluation = evaluate(alone)
    assert evaluation.overall["accuracy"].estimate is not None and evaluation.overall["accuracy"].lower is None
    assert evaluation.caution == "Only 1 speaker: with fewer than 5 speakers no interval is given."
    four, five, nineteen, twenty = (
        replace(given, groups=tuple(f"s{k % n:02d}" for k in range(60))) for n in (4, 5, 19, 20)
    )
    assert caution(four) == "Only 4 speakers: with fewer than 5 speakers no interval is given."
    assert evaluate(four).overall["accuracy"].lower is None and evaluate(five).overall["accuracy"].lower is not None
    assert (caution(five) or "").startswith("Only 5 speakers: intervals over so few speakers are wide")
    assert (caution(nineteen) or "").startswith("Only 19 speakers: ") and caution(twenty) is None
    assert "so intervals are over recordings" in (caution(replace(twenty, group="recording")) or "")
    assert "so intervals are over clips" in (caution(replace(given, groups=given.ids)) or "")
    assert (caution(replace(given, groups=given.ids, group="clip")) or "").startswith(
        "Intervals are over clips and too"
    )


def test_a_metric_undefined_without_a_speaker_has_no_interval(predictions_of: Make, tasks: dict[str, Task]) -> None:
    given = predictions_of(tasks["multiclass"], clips=60)
    truth = np.zeros(60, dtype=np.int64)
    evaluation = evaluate(replace(given, truth=truth))
    assert evaluation.per_label["anxiety"]["recall"] == Score(None, None, None)
    assert str(evaluation.per_label["anxiety"]["recall"]) == "missing"
    assert evaluation.overall["roc_auc"].estimate is None


def test_the_best_layer_may_be_best_and_a_hopeless_one_may_not(predictions_of: Make, tasks: dict[str, Task]) -> None:
    strengths = (0.2, 3.0, 3.0)
    layers = [predictions_of(tasks["multiclass"], strength=value, seed=seed) for seed, value in enumerate(strengths)]
    assert may_be_best(layers) == [False, True, True]
    assert may_be_best(layers[:1]) == [True]
    task = Task("hotline", "multilabel", ("a",), ("a",))
    silent = binary([0] * 60, [0] * 60, [f"s{k // 10}" for k in range(60)])
    nothing = np.zeros((60, 1), dtype=np.int64)
    nowhere = replace(
        silent, task=task, truth=nothing, prediction=nothing, probability=np.full((60, 1), np.nan)
    )  # a macro F1 of labels that neither occur nor are given is undefined
    assert may_be_best([nowhere, replace(nowhere, prediction=nothing + 1)]) == [False, True]
    assert may_be_best([nowhere]) == [False]
    assert may_be_best([replace(one, groups=("a", "b") * 200) for one in layers]) == [True] * 3


def test_a_layer_is_out_where_another_is_ahead_at_5_percent_over_their_number() -> None:
    """Two layers of 12 speakers with 10 clips each: the second has one more right in half of them."""
    right = [(5, 6), (6, 6), (7, 8), (5, 5), (6, 7), (8, 8)] * 2
    truth, groups = [1] * 120, [f"s{speaker:02d}" for speaker in range(12) for _ in range(10)]
    layers = [
        binary(truth, [int(k < counts[layer]) for counts in right for k in range(10)], groups) for layer in (0, 1)
    ]
    found = difference([layers[1]], [layers[0]], "accuracy")
    assert (found.p_value or 1) / 2 < 0.05 and may_be_best(layers) == [False, True]
    layers[1] = binary(truth, [int(k < n) for n in (6, 5, 8, 4, 6, 8) * 2 for k in range(10)], groups)
    assert may_be_best(layers) == [True, True]
    layers = [binary(truth, [int(k < 5 + more) for more in own for k in range(10)], groups)
              for own in ([0] * 12, [1] * 3 + [0] * 9)]  # fmt: skip
    assert (difference([layers[1]], [layers[0]], "accuracy").p_value or 1) / 2 == pytest.approx(0.0410, abs=1e-4)
    assert may_be_best(layers) == [False, True]
    assert may_be_best([*layers, layers[0]]) == [True] * 3  # each is held against two, at 2.5 %
    for gained, p_value, first in (
        ((-2, -2, -2, -1, 1, 2, 3, 3, 3, 3, 3, 3), 0.04995, False),
        ((-2, -2, -2, -2, 2, 3, 3, 3, 3, 3, 3, 3), 0.05035, True),
    ):
        layers[1] = binary(truth, [int(k < 5 + more) for more in gained for k in range(10)], groups)
        found = difference([layers[1]], [layers[0]], "accuracy")
        assert (found.p_value or 1) / 2 == pytest.approx(p_value, abs=1e-5)
        assert may_be_best(layers) == [first, True]


def test_chunks_of_left_out_speakers_do_not_change_ranked_metrics(
    predictions_of: Make, tasks: dict[str, Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = predictions_of(tasks["multilabel"], clips=200)
    whole = evaluate(given)
    for weights in (600, 100):  # three speakers at a time, and one
        monkeypatch.setattr(stats, "WEIGHTS", weights)
        assert evaluate(given) == whole
    assert jackknife.MOST_UNITS == 500
