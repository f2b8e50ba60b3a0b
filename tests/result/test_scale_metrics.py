"""Metrics of levels and numbers against plain numpy, scipy and scikit-learn; their chance, intervals and files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn import metrics as sklearn_metrics

from toolkit.corpus.labels import Task
from toolkit.result import kinds, paired, stats
from toolkit.result.predictions import Predictions, write_csv
from toolkit.result.predictions_reader import read_csv
from toolkit.result.probability_metrics import measure

NUMBERS = Task("affect", "regression", ("valence", "arousal"), ("valence", "arousal"))
LEVELS = Task("risk", "ordinal", tuple("12345"), ("risk",))
IDS = tuple(f"c{number}" for number in range(200))
SPEAKERS = tuple(f"s{number % 20:02}" for number in range(200))
FOLD = np.arange(200) % 20 % 4


def numbers(noise: float = 0.5, missing: bool = True, offset: float = 0.0) -> Predictions:
    """Two targets on scales of their own."""
    generator = np.random.default_rng(0)
    truth = generator.standard_normal((200, 2)) * [1.0, 25.0] + [4.0, 1000.0]
    given = truth + [1.0, 25.0] * (noise * generator.standard_normal((200, 2)) + offset)
    if missing:
        truth[3:30, 1] = np.nan
    return Predictions(NUMBERS, IDS, SPEAKERS, FOLD, truth, given, np.full((200, 2), np.nan))


def levels(noise: float = 0.9) -> Predictions:
    generator = np.random.default_rng(1)
    truth = np.minimum(generator.geometric(0.4, 200) - 1, 4)
    given = np.clip(np.rint(truth + noise * generator.standard_normal(200)), 0, 4).astype(np.int64)
    return Predictions(LEVELS, IDS, SPEAKERS, FOLD, truth, given, np.full((200, 5), np.nan))


def ccc(truth: np.ndarray, given: np.ndarray) -> float:
    covariance = ((truth - truth.mean()) * (given - given.mean())).mean()
    return float(2 * covariance / (truth.var() + given.var() + (truth.mean() - given.mean()) ** 2))


def reference(truth: np.ndarray, given: np.ndarray) -> dict[str, float]:
    known = ~np.isnan(truth)
    truth, given = truth[known], given[known]
    return {
        "concordance_correlation": ccc(truth, given),
        "pearson": float(scipy_stats.pearsonr(truth, given).statistic),
        "spearman": float(scipy_stats.spearmanr(truth, given).statistic),
        "mean_absolute_error": float(sklearn_metrics.mean_absolute_error(truth, given)),
        "root_mean_squared_error": float(sklearn_metrics.root_mean_squared_error(truth, given)),
        "r_squared": float(sklearn_metrics.r2_score(truth, given)),
    }


def test_metrics_of_numbers_are_those_of_scipy_and_scikit_learn() -> None:
    given = numbers()
    each = [reference(given.truth[:, target], given.prediction[:, target]) for target in range(2)]
    found = stats.evaluate(given)
    for label, own in zip(NUMBERS.labels, each):
        assert {name: score.estimate for name, score in found.per_label[label].items()} == pytest.approx(own)
    unitless = {"concordance_correlation", "pearson", "spearman", "r_squared"}  # 25 of one are not 1 of the other
    assert set(found.overall) == unitless
    for name in unitless:
        assert found.overall[name].estimate == pytest.approx(np.mean([own[name] for own in each]))
    assert found.support == {"valence": 200, "arousal": 173}
    alone = Task("valence", "regression", ("valence",), ("valence",))
    one = Predictions(
        alone, IDS, SPEAKERS, FOLD, given.truth[:, :1], given.prediction[:, :1], np.full((200, 1), np.nan)
    )
    assert measure(one) == pytest.approx(each[0])


def test_a_targets_figures_and_intervals_are_those_of_the_target_alone() -> None:
    given = numbers()
    own = stats.evaluate(given).per_label["arousal"]
    alone = replace(
        given, task=Task("arousal", "regression", ("arousal",), ("arousal",)), truth=given.truth[:, 1:],
        prediction=given.prediction[:, 1:], probability=given.probability[:, 1:],
    )  # fmt: skip
    for name, score in stats.evaluate(alone).overall.items():
        assert score.lower is not None and vars(own[name]) == pytest.approx(vars(score)), name


def test_metrics_of_levels_are_those_of_scikit_learn() -> None:
    given = levels()
    truth, prediction = given.truth, given.prediction
    distance = np.abs(truth - prediction)
    found = {name: score.estimate for name, score in stats.evaluate(given).overall.items()}
    expected = {
        "quadratic_weighted_kappa": sklearn_metrics.cohen_kappa_score(truth, prediction, weights="quadratic"),
        "macro_absolute_error": np.mean([distance[truth == level].mean() for level in range(5)]),
        "spearman": scipy_stats.spearmanr(truth, prediction).statistic,
        "accuracy_within_one": (distance <= 1).mean(),
        "accuracy": sklearn_metrics.accuracy_score(truth, prediction),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    recall = stats.evaluate(given).per_label["3"]["recall"].estimate
    assert recall == pytest.approx(sklearn_metrics.recall_score(truth, prediction, labels=[2], average="macro"))


@pytest.mark.parametrize("given", [numbers(), levels()], ids=["numbers", "levels"])
def test_the_guess_of_the_mean_and_of_the_commonest_level_has_0(given: Predictions) -> None:
    value, how = kinds.chance(given)
    assert value == pytest.approx(0.0, abs=1e-12) and how
    guessed = measure(kinds.guess(given))
    assert guessed[kinds.headline(given.task)] == pytest.approx(0.0, abs=1e-12)
    assert guessed["spearman"] is None  # nothing is ranked


@pytest.mark.parametrize("given", [numbers(), levels()], ids=["numbers", "levels"])
def test_the_jackknife_leaves_each_speaker_out_of_every_metric(given: Predictions) -> None:
    """Speaker by speaker, by the plain functions, for the standard error on Fisher's z."""
    headline, groups = kinds.headline(given.task), np.array(given.groups)
    for name in (headline, "spearman"):
        rest = []
        for speaker in np.unique(groups):
            keep = groups != speaker
            if given.task.regression:
                own = [reference(given.truth[keep, t], given.prediction[keep, t])[name] for t in range(2)]
            elif name == "spearman":
                own = [scipy_stats.spearmanr(given.truth[keep], given.prediction[keep]).statistic]
            else:
                pair = given.truth[keep], given.prediction[keep]
                own = [sklearn_metrics.cohen_kappa_score(*pair, weights="quadratic")]
            rest.append(np.mean(own))
        z, score = np.arctanh(rest), stats.evaluate(given).overall[name]
        assert score.estimate is not None and score.lower is not None and score.upper is not None
        error = np.sqrt(19 / 20 * np.square(z - z.mean()).sum())
        bias = 19 * (z.mean() - np.arctanh(score.estimate))
        half = scipy_stats.t.ppf(0.975, 19) * np.hypot(error, bias)
        assert score.lower == pytest.approx(np.tanh(np.arctanh(score.estimate) - half))
        assert score.upper == pytest.approx(np.tanh(np.arctanh(score.estimate) + half))


def test_a_worse_model_is_behind_whichever_way_the_metric_points() -> None:
    better, worse = numbers(0.3), numbers(0.9)
    behind = paired.difference([worse], [better], "concordance_correlation").score
    assert behind is not None and behind.upper is not None and behind.upper < 0
    one = Task("valence", "regression", ("valence",), ("valence",))
    pair = [
        Predictions(one, IDS, SPEAKERS, FOLD, own.truth[:, :1], own.prediction[:, :1], np.full((200, 1), np.nan))
        for own in (worse, better)
    ]
    more = paired.difference([pair[0]], [pair[1]], "mean_absolute_error").score
    assert more is not None and more.lower is not None and more.lower > 0  # more error
    assert stats.may_be_best([worse, better]) == [False, True]


def test_a_wrong_offset_is_charged_by_ccc_and_not_by_pearson() -> None:
    right, off = (measure(numbers(0.3, offset=offset)) for offset in (0.0, 3.0))
    assert right["pearson"] == pytest.approx(off["pearson"])
    assert off["concordance_correlation"] < 0.3 < 0.9 < right["concordance_correlation"]


def test_numbers_far_from_0_lose_nothing() -> None:
    """Sums of squares of years would leave no digit for their variance."""
    given = numbers()
    far = replace(given, truth=given.truth + 1e7, prediction=given.prediction + 1e7)
    each = [reference(far.truth[:, target], far.prediction[:, target]) for target in range(2)]
    found = measure(far)
    for name in ("concordance_correlation", "pearson", "r_squared"):
        assert found[name] == pytest.approx(np.mean([own[name] for own in each]), rel=1e-6)


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_unit_of_numbers_is_none_of_a_correlations_business(unit: float) -> None:
    given = numbers(missing=False)
    other = replace(given, truth=given.truth * unit, prediction=given.prediction * unit)
    assert measure(other) == pytest.approx(measure(given), rel=1e-5)


def test_one_number_for_all_clips_is_correlated_with_nothing() -> None:
    given = numbers(missing=False)
    still = replace(given, prediction=np.full((200, 2), 123.4567))
    found = measure(still)
    assert found["pearson"] is None and found["spearman"] is None and found["concordance_correlation"] == 0.0


def test_numbers_come_back_from_the_file_as_they_were(tmp_path: Path) -> None:
    for given in (numbers(), levels()):
        write_csv(tmp_path / "p.csv", given)
        back = read_csv(tmp_path / "p.csv", given.task)
        assert np.array_equal(back.truth, given.truth, equal_nan=True)
        assert np.array_equal(back.prediction, given.prediction) and back.prediction.dtype == given.prediction.dtype
        first = (tmp_path / "p.csv").read_bytes()
        write_csv(tmp_path / "p.csv", back)
        assert (tmp_path / "p.csv").read_bytes() == first
    header = "id,speaker,fold,truth:valence,truth:arousal,prediction:valence,prediction:arousal\n"
    write_csv(tmp_path / "p.csv", numbers())
    assert (tmp_path / "p.csv").read_text(encoding="utf-8").startswith(header)
