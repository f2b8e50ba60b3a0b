"""Online code length and a learning curve over callers, from the features that are there."""

from collections.abc import Callable, Sequence

import numpy as np

from toolkit.core import seeds
from toolkit.corpus.labels import IntArray, Task
from toolkit.probe.data import Data, Layers, rows_of
from toolkit.probe.protocol import Fitter, Setting
from toolkit.probe.registry import PROBES
from toolkit.probe.targets import ALL, FloatArray, targets_of
from toolkit.probe.workers import one_thread
from toolkit.result.kinds import decide, headline, headline_score
from toolkit.result.online import Online
from toolkit.result.thresholds import bars_of, scale_of, thresholds_of

ORDERS = 5
SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 0.8)  # of the callers, that a step has learnt from
SETTING: Setting = {
    "C": 1e-2,
    "statistics": "mean",
    "class_weights": "none",
}  # the same for all, or codes do not compare
UNSEEN = 1e-3  # of every probability is spread evenly over the labels, so that nothing takes for ever to say


def online(
    features: Layers, data: Data, seed: int, progress: Callable[[str, int, int], None] = lambda layer, done, total: None
) -> Online:
    """Every layer's code length in bits a clip, and its scores as callers come in.

    In each of ORDERS random orders of the callers the first block is coded evenly, each next one by a linear probe
    fitted on all before it: Voita and Titov, Information-Theoretic Probing with Minimum Description Length, EMNLP 2020.
    It charges a layer for every caller that it needs, so that it separates layers whose final scores are alike. The
    same probes give the learning curve: each is scored on all callers that it has not seen. Steps of blocks that teach
    nothing (one class alone) are coded evenly and have no score.
    """
    names, member = np.unique(np.array(data.groups, dtype=object).astype(str), return_inverse=True)
    ends = sorted({max(1, round(len(names) * share)) for share in SHARES} - {len(names)})
    orders = [seeds.generator(seed, "online", number).permutation(len(names)) for number in range(ORDERS)]
    bits: dict[str, tuple[float, ...]] = {}
    scores: dict[str, tuple[tuple[float | None, ...], ...]] = {}
    with one_thread():
        for number, name in enumerate(features.layers, start=1):
            layer = rows_of(features.layer(name), data.rows)
            found = [
                _of_order(PROBES["linear"].build([layer], data.task, data.truth, 0, "cpu"), data, order[member], ends)
                for order in orders
            ]
            bits[name] = tuple(code for code, _ in found)
            scores[name] = tuple(tuple(curve) for _, curve in found)
            progress(name, number, len(features.layers))
    return Online(headline(data.task), tuple(ends), even(data.task), bits, scores)


def even(task: Task) -> float:
    """Bits a clip where every label (multilabel: each side of each) is as likely as any other."""
    return float(len(task.labels) if task.multilabel else np.log2(len(task.labels)))


def _of_order(fitter: Fitter, data: Data, place: IntArray, ends: Sequence[int]) -> tuple[float, list[float | None]]:
    """Bits a clip, and the score after each step. place: (n_clips,) of its caller in the order."""
    task, truth = data.task, data.truth
    spent, curve = even(task) * int((place < ends[0]).sum()), list[float | None]()
    for end, then in zip(ends, [*ends[1:], int(place.max()) + 1], strict=True):
        learnt, rest = np.flatnonzero(place < end), np.flatnonzero(place >= end)
        block = place[rest] < then
        if not len(targets_of(task, truth[learnt]).fitted):
            spent += even(task) * int(block.sum())
            curve.append(None)
            continue
        fit = fitter.refit(learnt, np.append(rest, learnt), SETTING, {ALL: len(learnt)}, f"{len(learnt)} of {place[0]}")
        probability, training = np.split(fit.probability, [len(rest)])
        spent += float(code(task, truth[rest][block], probability[block]).sum())
        scale, prevalence = scale_of(training), targets_of(task, truth[learnt]).prevalence
        bars = bars_of(task, prevalence, scale, thresholds_of(task, truth[learnt], scale.scores(training)))
        curve.append(headline_score(task, truth[rest], decide(task, probability, bars)))
    return spent / len(place), curve


def code(task: Task, truth: IntArray, probability: FloatArray) -> FloatArray:
    """(n,) bits that each clip's labels take, coded by these probabilities."""
    if task.multilabel:
        true = np.where(truth == 1, probability, 1 - probability)
        return np.asarray(-np.log2((1 - UNSEEN) * true + UNSEEN / 2).sum(axis=1))
    true = np.take_along_axis(probability, truth[:, None], axis=1)[:, 0]
    return np.asarray(-np.log2((1 - UNSEEN) * true + UNSEEN / probability.shape[1]))
