import warnings
from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.corpus.labels import Task
from toolkit.result import kinds, metrics
from toolkit.result.counts import count
from toolkit.result.metrics import f1, precision, recall, unweighted_average_recall
from toolkit.result.predictions import Predictions
from toolkit.result.probability_metrics import brier, log_loss, measure, ranked_per_label
from toolkit.result.rank_metrics import ranked

SEEDS = st.integers(0, 2**32 - 1)
AVERAGES = {"label": None, "macro": "macro", "weighted": "weighted", "micro": "micro"}


def drawn(seed: int, labels: int, clips: int, multilabel: bool) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction in which some labels never occur."""
    random = np.random.default_rng(seed)
    if multilabel:
        rates = random.choice([0.0, 0.3, 1.0], (2, 1, labels))
        truth, prediction = (random.random((2, clips, labels)) < rates).astype(np.int64)
    else:
        seen = random.permutation(labels)[: random.integers(1, labels + 1)]
        truth, prediction = random.choice(seen, clips), random.choice(labels, clips)
    return truth, prediction


@settings(max_examples=50)
@given(SEEDS, st.integers(2, 6), st.integers(1, 30), st.booleans())
def test_precision_recall_and_f1_are_scikit_learns(seed: int, labels: int, clips: int, multilabel: bool):
    truth, prediction = drawn(seed, labels, clips, multilabel)
    counts = count(truth, prediction, labels)
    names = {precision: "precision_score", recall: "recall_score", f1: "f1_score"}
    for ours, name in names.items():
        theirs = getattr(sklearn.metrics, name)
        for average, their_average in AVERAGES.items():
            expected = theirs(
                truth, prediction, labels=list(range(labels)), average=their_average, zero_division=np.nan
            )
            got = ours(counts, average)
            support = counts.true_positive + counts.false_negative
            if average == "weighted" and np.isnan(got):
                assert (
                    support[~np.isnan(ours(counts))] == 0
                ).all()  # nothing to weigh: scikit-learn differs by version
                continue
            np.testing.assert_allclose(got, expected, atol=1e-12, err_msg=f"{name}, {average}")


@given(SEEDS, st.integers(2, 6), st.integers(1, 30))
def test_uar_is_balanced_accuracy_over_the_labels_that_occur(seed: int, labels: int, clips: int):
    truth, prediction = drawn(seed, labels, clips, False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, about labels that are predicted and never occur
        expected = sklearn.metrics.balanced_accuracy_score(truth, prediction)
    assert float(unweighted_average_recall(count(truth, prediction, labels))) == pytest.approx(expected)


@given(SEEDS, st.integers(2, 6), st.integers(1, 30), st.booleans())
def test_accuracy_and_hamming_loss_are_scikit_learns(seed: int, labels: int, clips: int, multilabel: bool):
    truth, prediction = drawn(seed, labels, clips, multilabel)
    counts = count(truth, prediction, labels)
    assert float(metrics.accuracy(counts)) == pytest.approx(sklearn.metrics.accuracy_score(truth, prediction))
    if multilabel:
        assert float(metrics.hamming_loss(counts)) == pytest.approx(sklearn.metrics.hamming_loss(truth, prediction))


@given(SEEDS, st.integers(1, 6), st.integers(1, 30))
def test_f1_of_both_sides_is_the_mean_of_scikit_learns_over_labels(seed: int, labels: int, clips: int):
    truth, prediction = drawn(seed, labels, clips, True)
    pairs = zip(truth.T, prediction.T)
    expected = np.mean([sklearn.metrics.f1_score(*pair, average="weighted") for pair in pairs])
    assert float(metrics.f1_both_sides(count(truth, prediction, labels))) == pytest.approx(expected)


@settings(max_examples=50)
@given(SEEDS, st.integers(2, 40), st.booleans())
def test_ranked_metrics_are_scikit_learns_with_ties_and_weights(seed: int, clips: int, ties: bool):
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, clips)
    truth[:2] = 0, 1
    score = random.integers(0, 4, clips) / 4 if ties else random.random(clips)
    weights = random.integers(0, 3, (3, clips)).astype(np.float64)
    weights[:, :2] += 1
    for row, auc, average in zip(weights, *ranked(truth, score, weights)):
        assert auc == pytest.approx(sklearn.metrics.roc_auc_score(truth, score, sample_weight=row))
        assert average == pytest.approx(sklearn.metrics.average_precision_score(truth, score, sample_weight=row))
    plain = ranked(truth, score)
    assert float(plain[0]) == pytest.approx(sklearn.metrics.roc_auc_score(truth, score))
    repeated = np.repeat(np.arange(clips), weights[0].astype(int))  # a weight of 2 is the clip twice
    np.testing.assert_allclose(
        [part[0] for part in ranked(truth, score, weights)], ranked(truth[repeated], score[repeated])
    )


def test_what_is_undefined_is_missing_and_never_a_warning_or_zero(tasks):
    task = Task("t", "multiclass", ("a", "b", "c"), ("t",))
    zeros = np.zeros(4, dtype=np.int64)
    ids = tuple("wxyz")
    one_label = Predictions(task, ids, ids, zeros, zeros, zeros, np.full((4, 3), 0.2))
    values = measure(one_label)
    assert values["unweighted_average_recall"] == 1.0
    assert values["roc_auc"] is None
    nothing = np.zeros((4, 11), dtype=np.int64)
    empty = Predictions(tasks["multilabel"], ids, ids, zeros, nothing, nothing, np.full((4, 11), np.nan))
    values = measure(empty)
    assert [values[name] for name in ("f1_macro", "recall_micro", "roc_auc", "average_precision")] == [None] * 4
    assert (values["exact_match"], values["hamming_loss"]) == (1.0, 0.0)
    assert kinds.headline_score(tasks["multilabel"], nothing, nothing) is None


def test_a_label_that_is_only_predicted_lowers_f1_but_not_uar():
    counts = count([0, 0, 1, 1], [0, 2, 1, 1], labels=3)
    assert float(unweighted_average_recall(counts)) == 0.75
    assert f1(counts).tolist() == pytest.approx([2 / 3, 1.0, 0.0])


def test_uar_counts_a_label_that_no_clip_was_given():
    assert float(unweighted_average_recall(count([0, 1], [0, 0], labels=2))) == 0.5


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_measure_reports_the_metrics_of_the_kind(kind, predictions_of, tasks):
    given = predictions_of(tasks[kind])
    values = measure(given)
    assert kinds.headline(given.task) in values
    assert ("unweighted_average_recall" in values) == (kind != "multilabel") != ("hamming_loss" in values)
    if kind == "multilabel":
        expected = sklearn.metrics.roc_auc_score(given.truth, given.probability, average="macro")
        assert values["average_precision"] == pytest.approx(
            sklearn.metrics.average_precision_score(given.truth, given.probability, average="macro")
        )
    elif kind == "multiclass":
        one_hot = np.eye(len(given.task.labels))[given.truth]
        expected = sklearn.metrics.roc_auc_score(one_hot, given.probability, average="macro")
    else:
        expected = sklearn.metrics.roc_auc_score(given.truth, given.probability[:, 1])
    assert values["roc_auc"] == pytest.approx(expected)


def test_ranks_are_pooled_by_standardised_scores_and_the_mean_of_folds_by_each_rounds_own(predictions_of, tasks):
    """Two rounds that rank perfectly, the second with an offset that puts all of its clips above the first's."""
    given = predictions_of(tasks["binary"], clips=8)
    truth, fold = np.array([0, 1] * 4), np.array([0] * 4 + [1] * 4)
    positive = np.array([0.1, 0.2, 0.1, 0.2, 0.6, 0.9, 0.6, 0.9])
    given = replace(given, truth=truth, fold=fold, probability=np.stack([1 - positive, positive], axis=1))
    values = measure(given)
    assert values["roc_auc"] == 0.75 and values["roc_auc_by_fold"] == 1.0 == values["average_precision_by_fold"]
    standard = np.array([-1.0, 1.0] * 4)
    values = measure(replace(given, score=np.stack([-standard, standard], axis=1)))
    assert values["roc_auc"] == 1.0 == values["average_precision"]
    assert "roc_auc_by_fold" not in measure(replace(given, fold=np.zeros(8, dtype=np.int64)))
    only = measure(replace(given, truth=np.where(fold == 0, 0, truth)))  # the first fold has no positive
    assert only["roc_auc_by_fold"] == 1.0


def test_a_fold_of_positives_alone_has_no_average_precision(predictions_of, tasks):
    """Where each caller is a fold with one label; without them the mean is 1 however bad the ranking."""
    given = predictions_of(tasks["binary"], clips=8)
    truth, fold = np.array([1, 1, 0, 0, 0, 1, 0, 1]), np.array([0, 0, 1, 1, 2, 2, 2, 2])
    positive = np.array([0.5, 0.5, 0.5, 0.5, 0.9, 0.8, 0.7, 0.6])
    given = replace(given, truth=truth, fold=fold, probability=np.stack([1 - positive, positive], axis=1))
    values = measure(given)
    assert values["average_precision_by_fold"] == 0.5 and values["roc_auc_by_fold"] == 0.25  # those of the third fold
    alone = measure(replace(given, fold=np.array([0, 0, 1, 1, 1, 0, 1, 0])))
    assert alone["average_precision_by_fold"] is None is alone["roc_auc_by_fold"]


def test_the_mean_of_folds_is_scikit_learns_fold_by_fold_and_label_by_label(predictions_of, tasks):
    given = predictions_of(tasks["multilabel"])
    for name, function in (("roc_auc", "roc_auc_score"), ("average_precision", "average_precision_score")):
        expected = [
            np.mean([
                getattr(sklearn.metrics, function)(given.truth[own, label], given.probability[own, label])
                for own in (given.fold == fold for fold in range(5)) if 0 < given.truth[own, label].mean() < 1
            ])
            for label in range(11)
        ]  # fmt: skip
        assert ranked_per_label(given)[f"{name}_by_fold"] == pytest.approx(np.array(expected))
        assert measure(given)[f"{name}_by_fold"] == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("folds", [1, 2])
def test_without_probabilities_ranked_metrics_are_missing_by_fold_only_where_there_are_folds(folds, tasks):
    zeros, ids = np.zeros(4, dtype=np.int64), tuple("wxyz")
    given = Predictions(tasks["binary"], ids, ids, np.arange(4) % folds, zeros, zeros, np.full((4, 2), np.nan))
    values = measure(given)
    assert values["roc_auc"] is None and ("roc_auc_by_fold" in values) == (folds == 2)


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_brier_score_and_log_loss_are_scikit_learns(kind, predictions_of, tasks):
    given = predictions_of(tasks[kind])
    truth, probability = given.truth, given.probability
    if kind == "multilabel":
        pairs = list(zip(truth.T, probability.T))
        expected = np.mean([sklearn.metrics.brier_score_loss(*pair) for pair in pairs])
        loss = np.mean([sklearn.metrics.log_loss(*pair) for pair in pairs])
    else:
        labels = list(range(len(given.task.labels)))
        probability = probability / probability.sum(axis=1, keepdims=True)
        own = probability[:, 1] if kind == "binary" else probability
        expected = sklearn.metrics.brier_score_loss(truth, own, **({} if kind == "binary" else {"labels": labels}))
        loss = sklearn.metrics.log_loss(truth, probability, labels=labels)
    assert brier(given).shape == log_loss(given).shape == (400,)
    assert brier(given).mean() == pytest.approx(expected, abs=1e-6) == measure(given)["brier"]
    assert log_loss(given).mean() == pytest.approx(loss, abs=1e-6) == measure(given)["log_loss"]


def test_a_log_loss_of_a_certain_error_is_finite(tasks):
    truth, ids = np.array([0, 1, 1]), tuple("xyz")
    probability = np.array([[1.0, 0.0], [1.0, 0.0], [0.75, 0.25]])
    given = Predictions(tasks["binary"], ids, ids, np.zeros(3, dtype=np.int64), truth, truth, probability)
    assert log_loss(given) == pytest.approx([0.0, -np.log(1e-7), np.log(4)])
    assert brier(given) == pytest.approx([0.0, 1.0, 0.5625])


def test_chance_is_the_score_of_a_guess_by_the_same_function_on_the_same_clips(predictions_of, tasks):
    given = predictions_of(tasks["multilabel"], clips=2000)
    value, name = kinds.chance(given)
    everything = count(given.truth, np.ones_like(given.truth), 11)
    assert value == pytest.approx(float(f1(everything, "macro")))
    assert name == "every label that occurs given to every clip"
    assert kinds.chance(predictions_of(tasks["multiclass"])) == (pytest.approx(1 / 7), "1 / 7 labels")


def test_a_label_that_never_occurs_does_not_lower_chance(tasks):
    task = Task("t", "multilabel", ("a", "b", "c"), ("a", "b", "c"))
    truth = np.zeros((100, 3), dtype=np.int64)
    truth[:40, 0] = truth[:25, 1] = 1
    ids = tuple(map(str, range(100)))
    given = Predictions(task, ids, ids, np.zeros(100, dtype=np.int64), truth, truth, np.full((100, 3), np.nan))
    value, _ = kinds.chance(given)
    assert value == pytest.approx((2 * 0.4 / 1.4 + 2 * 0.25 / 1.25) / 2)  # and not a third of their sum


def test_where_no_label_occurs_there_is_nothing_to_guess(tasks):
    nothing, ids = np.zeros((4, 11), dtype=np.int64), tuple("wxyz")
    given = Predictions(tasks["multilabel"], ids, ids, nothing[:, 0], nothing, nothing, np.full((4, 11), np.nan))
    assert kinds.chance(given)[0] == 0.0


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_no_guesser_that_hears_nothing_beats_chance(kind, predictions_of, tasks):
    """Hundreds of guessers who draw labels at other rates: none is ahead on average, and where it must be, equal."""
    given, random = predictions_of(tasks[kind], clips=400), np.random.default_rng(0)
    labels = len(given.task.labels)
    guessed = measure(kinds.guess(given))
    found = {name: [] for name in guessed}
    for _ in range(300):
        if kind == "multilabel":
            prediction = (random.random(given.truth.shape) < random.random()).astype(np.int64)
        else:
            prediction = random.choice(labels, len(given.truth), p=random.dirichlet(np.ones(labels)))
        probability = random.random((len(given.ids), labels))
        one = replace(given, prediction=prediction, probability=probability / probability.sum(axis=1, keepdims=True))
        counts = count(one.truth, one.prediction, labels)
        for name, row in metrics.METRICS.items():
            if kind in row.kinds:
                found[name].append(float(row.function(counts)))
        if len(found["roc_auc"]) < 40:
            for name in ("roc_auc", "average_precision", "roc_auc_by_fold"):
                found[name].append(measure(one)[name])
    if kind != "multilabel":
        assert np.mean(found["unweighted_average_recall"]) == pytest.approx(
            guessed["unweighted_average_recall"], abs=0.003
        )
        assert guessed["accuracy"] == np.bincount(given.truth).max() / 400
        assert np.mean(found["accuracy"]) < guessed["accuracy"]
    else:
        assert max(found["f1_macro"]) < guessed["f1_macro"] + 0.005
    assert guessed["roc_auc"] == 0.5 == guessed["roc_auc_by_fold"]
    assert np.mean(found["roc_auc"]) == pytest.approx(0.5, abs=0.01)
    assert np.mean(found["average_precision"]) == pytest.approx(guessed["average_precision"], abs=0.03)
