"""The whole protocol on features that are drawn: two methods that are equally good, and the pooled ROC-AUC."""

from collections.abc import Sequence

import numpy as np

from honesty.rows import Row, share, studies
from honesty.studies import BINARY, FloatArray, Generator, IntArray, mixed, speakers
from toolkit.corpus import splits
from toolkit.corpus.labels import one_hot
from toolkit.features.layout import LayerFeatures
from toolkit.probe.data import Data, Part
from toolkit.probe.linear import LinearFitter
from toolkit.probe.protocol import Setting
from toolkit.probe.round import refitted
from toolkit.probe.targets import targets_of
from toolkit.probe.workers import one_thread
from toolkit.result.paired import difference, widening
from toolkit.result.predictions import Predictions
from toolkit.result.probability_metrics import measure
from toolkit.result.rank_metrics import roc_auc
from toolkit.result.thresholds import balanced_log_loss, decide

WIDTH = 64
SETTINGS: Sequence[Setting] = [
    {"C": strength, "statistics": "mean", "class_weights": weights}
    for strength in (1e-4, 1e-2, 1.0)
    for weights in ("none", "balanced")
]


def features(random: Generator, speaker: IntArray, truth: IntArray, signal: float, models: int) -> FloatArray:
    """(models, n, WIDTH): a direction that all speakers share and one of each speaker's own, over the speaker's voice.

    Half of every variance is shared by the models.
    """
    count = int(speaker.max()) + 1
    common = np.random.default_rng(7).standard_normal(WIDTH)
    each = mixed(random, (count, WIDTH), models, 0.5) / np.sqrt(WIDTH)
    direction = signal * common / np.linalg.norm(common) + each
    voice, noise = (mixed(random, (size, WIDTH), models, 0.5) for size in (count, len(speaker)))
    return np.asarray(voice[:, speaker] + noise + (truth - 0.5)[:, None] * direction[:, speaker])


def labels(random: Generator, speaker: IntArray, prior: float) -> IntArray:
    often = 1 / (1 + np.exp(-(prior + 0.8 * random.standard_normal(int(speaker.max()) + 1))))
    return (random.random(len(speaker)) < often[speaker]).astype(np.int64)


def dealt(random: Generator, speaker: IntArray, truth: IntArray, folds: int) -> splits.Folds | None:
    """Folds whose every part has both classes; None where ten deals gave none."""
    ids, names = (
        tuple(f"{letter}{k:05d}" for k in values) for letter, values in (("c", range(len(truth))), ("s", speaker))
    )
    for _ in range(10):
        found = splits.make(ids, names, one_hot(BINARY, truth), folds, int(random.integers(1 << 30)))
        if all(len(set(truth[part])) == 2 for one in found.rounds() for part in (one.train, one.development, one.test)):
            return found
    return None


def probed(folds: splits.Folds, truth: IntArray, matrix: FloatArray) -> tuple[Predictions, list[dict[str, FloatArray]]]:
    """One layer through every round: chosen by the loss on development, fitted again, tested; and the fitted models."""
    layer = LayerFeatures("l", folds.ids, matrix.astype(np.float32), np.zeros(matrix.shape, dtype=np.float32))
    data = Data(BINARY, truth, folds.groups, folds, np.arange(len(truth)), {})
    fitter = LinearFitter(layer, BINARY, truth)
    probability, score = np.zeros((2, len(truth), 2))
    chosen, models = np.zeros(len(truth), dtype=np.int64), []
    for one in folds.rounds():
        fits = list(fitter.search(one.train, one.development, SETTINGS, str(one.fold)))
        prevalence = targets_of(BINARY, truth[one.train]).prevalence
        losses = [balanced_log_loss(BINARY, truth[one.development], fit.probability, prevalence) for fit in fits]
        best = int(np.argmin(losses))
        part = Part(np.union1d(one.train, one.development), one.test)
        found = refitted(fitter, data, part, SETTINGS[best], fits[best].found, str(one.fold))
        probability[one.test], score[one.test] = found.probability, found.scale.scores(found.probability)
        chosen[one.test] = decide(BINARY, found.probability, found.bars(BINARY, np.empty(0)))
        models.append({name: np.asarray(value, dtype=np.float64) for name, value in found.model.items()})
    fold = np.asarray(folds.fold)
    return Predictions(BINARY, folds.ids, folds.groups, fold, truth, chosen, probability, score=score), models


def alike(count: int, wanted: int, folds: int = 5, quiet: bool = False) -> list[Row]:
    """Two sets of features that are equally good: how often one is said to be better, as models and as methods."""

    def case(random: Generator) -> tuple[float, float] | None:
        speaker = speakers(random, count, 30.0)
        truth = labels(random, speaker, 0.0)
        deal = dealt(random, speaker, truth, folds)
        if deal is None:
            return None
        first, second = features(random, speaker, truth, 2.0, 2)
        runs = [[probed(deal, truth, matrix)[0]] for matrix in (first, second)]
        found = difference(*runs, "unweighted_average_recall", widen=widening(deal))
        return None if found.p_value is None or found.method_p is None else (found.p_value, found.method_p)

    with one_thread():
        values = studies(f"two methods, {count} speakers", case, wanted, 6_000 + count, quiet)
    models, _ = share(values[:, 0] < 0.05, 0.0, 1.0)
    methods, held = share(values[:, 1] < 0.05, 0.0, 0.06)
    study = f"{count} speakers, {folds} folds, two sets of features alike"
    return [
        Row("p-value of a difference of methods", study, len(values), f"p < .05 in {methods}", held),
        Row("the same of their models alone (not a claim)", study, len(values), f"p < .05 in {models}", True),
    ]


def pooled(count: int, signal: float, prior: float, wanted: int, quiet: bool = False) -> Row:
    """ROC-AUC of all rounds together, by standardised scores and as the probabilities are, against the models' own."""
    large = np.random.default_rng(5)
    speaker = speakers(large, 1_000, 15.0)
    truth = labels(large, speaker, prior)
    outside = features(large, speaker, truth, signal, 1)[0]

    def case(random: Generator) -> tuple[float, float, float, float] | None:
        others = speakers(random, count, 30.0)
        others_truth = labels(random, others, prior)
        deal = dealt(random, others, others_truth, 5)
        if deal is None:
            return None
        predictions, models = probed(deal, others_truth, features(random, others, others_truth, signal, 1)[0])
        whole = measure(predictions)
        raw = float(roc_auc(others_truth, predictions.probability[:, 1]))
        odds = [((outside - m["mean"]) / m["scale"]) @ m["coefficients"][:, 0] for m in models]
        real = float(np.mean([float(roc_auc(truth, one)) for one in odds]))
        return whole["roc_auc"] or 0.0, raw, whole["roc_auc_by_fold"] or 0.0, real

    with one_thread():
        found = studies(f"pooled AUC, {count} speakers", case, wanted, 7_000 + count, quiet)
    standard, raw, by_fold, real = found.mean(axis=0)
    error = float((found[:, 0] - found[:, 3]).std() / np.sqrt(len(found)))
    words = f"{standard:.3f} standardised, {by_fold:.3f} mean of folds, {raw:.3f} pooled as it is; truth {real:.3f}"
    study = f"{count} speakers, {100 / (1 + np.exp(-prior)):.0f} % positive{'' if signal else ', nothing to learn'}"
    return Row("ROC-AUC of all rounds", study, len(found), words, abs(standard - real) < 0.01 + 2 * error)


def rows(part: float) -> list[Row]:
    found = []
    for count in (10, 20, 50):
        found += alike(count, max(20, int(part * (300 if count < 50 else 150))))
    cases = ((10, 2.0, -1.5), (20, 2.0, -2.0), (20, 0.0, -1.0))
    return [*found, *(pooled(*case, max(20, int(part * 100))) for case in cases)]
