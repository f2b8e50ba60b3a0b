from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import InputError, ToolkitError
from toolkit.result import metrics, stats
from toolkit.result.paired import difference, holm
from toolkit.result.stats import caution, evaluate, headline_scores, weights

NAMES = ("fold", "truth", "prediction", "probability")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """Fewer resamples, for the naive loops."""
    monkeypatch.setattr(stats, "RESAMPLES", 60)
    monkeypatch.setattr(stats, "RANKED_RESAMPLES", 60)
    return 60


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_intervals_are_those_of_a_naive_loop_over_the_same_draws(few, kind, predictions_of, tasks):
    given = predictions_of(tasks[kind], clips=80, speakers=6)
    (drawn,) = weights(6, few, seed=3)
    names = sorted(set(given.groups))
    values: dict[str, list[float]] = {}
    for row in drawn.astype(int):
        clips = [
            c for name, times in zip(names, row) for c in np.flatnonzero(np.array(given.groups) == name).repeat(times)
        ]
        ids = tuple(map(str, range(len(clips))))
        resample = replace(given, ids=ids, groups=ids, **{name: getattr(given, name)[clips] for name in NAMES})
        for name, value in metrics.measure(resample).items():
            values.setdefault(name, []).append(np.nan if value is None else value)
    evaluation = evaluate(given, seed=3)
    assert evaluation.overall.keys() == values.keys()
    for name, score in evaluation.overall.items():
        np.testing.assert_allclose(
            [score.lower, score.upper], np.nanquantile(values[name], [0.025, 0.975]), atol=1e-12, err_msg=name
        )
        assert score.estimate == pytest.approx(metrics.measure(given)[name])


@given(st.integers(2, 50), st.integers(0, 2**31))
def test_weights_are_whole_draws_that_the_block_size_does_not_change(units: int, seed: int):
    whole = np.concatenate(list(weights(units, 20, seed)))
    assert whole.shape == (20, units) and (whole.sum(axis=1) == units).all() and (whole >= 0).all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stats, "BLOCK", 3 * units)
        assert np.array_equal(np.concatenate(list(weights(units, 20, seed))), whole)


def test_the_same_seed_gives_the_same_figures_and_another_one_others(predictions_of, tasks):
    given = predictions_of(tasks["multiclass"])
    assert evaluate(given, 1) == evaluate(given, 1)
    assert headline_scores([given], 1) != headline_scores([given], 2)


def test_the_order_of_clips_does_not_matter(predictions_of, tasks):
    given = predictions_of(tasks["multilabel"])
    order = np.random.default_rng(0).permutation(len(given.ids))
    shuffled = replace(
        given,
        ids=tuple(given.ids[k] for k in order),
        groups=tuple(given.groups[k] for k in order),
        **{name: getattr(given, name)[order] for name in NAMES},
    )
    assert headline_scores([shuffled]) == headline_scores([given])


@given(st.integers(0, 1000))
def test_an_interval_holds_its_estimate(seed: int):
    from toolkit.labels import Task
    from toolkit.result.predictions import Predictions

    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, 120)
    prediction = np.where(random.random(120) < 0.6, truth, random.integers(0, 3, 120))
    speakers = tuple(str(k % 12) for k in range(120))
    given = Predictions(
        Task("t", "multiclass", ("a", "b", "c"), ("t",)),
        tuple(map(str, range(120))),
        speakers,
        np.zeros(120, dtype=np.int64),
        truth,
        prediction,
        np.full((120, 3), np.nan),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stats, "RESAMPLES", 500)
        (score,) = headline_scores([given])
    assert score.lower < score.estimate < score.upper


def test_layers_scored_together_are_scored_as_alone(predictions_of, tasks):
    layers = [predictions_of(tasks["multiclass"], strength=strength) for strength in (0.5, 2.0)]
    assert headline_scores(layers) == [*headline_scores(layers[:1]), *headline_scores(layers[1:])]
    assert headline_scores(layers)[0] == evaluate(layers[0]).overall["unweighted_average_recall"]


def test_speakers_that_differ_make_the_interval_wider_than_clips_would(predictions_of, tasks):
    given = predictions_of(tasks["binary"], clips=600, speakers=10, strength=1.0)
    right = given.truth.copy()
    bad = np.array([int(name[-2:]) < 4 for name in given.groups])
    right[bad] = 1 - right[bad]  # four speakers all wrong, six all right
    given = replace(given, prediction=right)
    by_speaker, by_clip = headline_scores([given])[0], headline_scores([replace(given, groups=given.ids)])[0]
    assert by_speaker.upper - by_speaker.lower > 3 * (by_clip.upper - by_clip.lower)


def test_one_speaker_has_no_interval_and_few_are_flagged(predictions_of, tasks):
    given = predictions_of(tasks["multiclass"], clips=60)
    alone = replace(given, groups=("s",) * 60)
    evaluation = evaluate(alone)
    assert evaluation.overall["accuracy"].estimate is not None and evaluation.overall["accuracy"].lower is None
    assert evaluation.caution == "1 speaker: there is no interval over speakers."
    assert caution(replace(given, groups=("s", "t") * 30)) == "2 speakers: the interval says little."
    assert caution(given) is None
    assert "clips" in (caution(replace(given, groups=given.ids)) or "")


def test_a_metric_undefined_in_most_resamples_has_no_interval(predictions_of, tasks):
    given = predictions_of(tasks["multiclass"], clips=60)
    truth = np.zeros(60, dtype=np.int64)
    evaluation = evaluate(replace(given, truth=truth))
    assert evaluation.per_label["anxiety"]["recall"] == stats.Score(None, None, None)
    assert str(evaluation.per_label["anxiety"]["recall"]) == "missing"
    assert evaluation.overall["roc_auc"].estimate is None


def test_a_paired_difference_is_surer_than_two_intervals(predictions_of, tasks):
    worse = predictions_of(tasks["multiclass"], strength=2.0, seed=5)
    better = replace(worse, prediction=np.where(np.arange(400) % 9 == 0, worse.truth, worse.prediction))
    result = difference(better, worse, "unweighted_average_recall")
    assert result.score.lower > 0 and result.p_value < 0.05
    overlap = headline_scores([better, worse])
    assert overlap[0].lower < overlap[1].upper
    backwards = difference(worse, better, "unweighted_average_recall")
    assert backwards.score.estimate == -result.score.estimate and backwards.p_value == result.p_value


def test_nothing_against_itself_differs(predictions_of, tasks):
    given = predictions_of(tasks["multiclass"])
    result = difference(given, given, "accuracy")
    assert (result.score.estimate, result.p_value) == (0.0, 1.0)


def test_a_pair_is_matched_by_clip_and_refused_when_it_does_not_match(predictions_of, tasks):
    first = predictions_of(tasks["multiclass"])
    order = np.arange(400)[::-1]
    turned = replace(
        first,
        ids=first.ids[::-1],
        groups=first.groups[::-1],
        **{name: getattr(first, name)[order] for name in NAMES},
    )
    assert difference(first, turned, "accuracy").score.estimate == 0.0
    with pytest.raises(InputError, match="another truth"):
        difference(first, replace(first, truth=(first.truth + 1) % 7), "accuracy")
    with pytest.raises(InputError, match="Not the same clips: 'other'"):
        difference(first, replace(first, ids=("other", *first.ids[1:])), "accuracy")
    with pytest.raises(InputError, match="The labels differ"):
        difference(first, predictions_of(tasks["binary"]), "accuracy")
    with pytest.raises(InputError, match="Bad metric 'hamming_loss', expected one of"):
        difference(first, first, "hamming_loss")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_its_definition(p_values: list[float]):
    adjusted = holm(p_values)
    m = len(p_values)
    order = np.argsort(p_values, kind="stable")
    for rank, number in enumerate(order):
        expected = max(min(1.0, (m - k) * p_values[order[k]]) for k in range(rank + 1))
        assert adjusted[number] == expected >= p_values[number]


def test_holm_refuses_what_is_no_probability():
    with pytest.raises(ToolkitError, match="expected 0 to 1"):
        holm([0.5, float("nan")])
