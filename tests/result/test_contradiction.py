"""Probabilities under the wrong headings are refused; of any decision by thresholds they pass."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from toolkit.core.errors import PredictionsError
from toolkit.corpus.labels import Task
from toolkit.result import kinds
from toolkit.result.contradiction import check_probabilities
from toolkit.result.predictions import Predictions

PredictionsOf = Callable[..., Predictions]


def drawn(labels: str, kind: str, seed: int = 0, clips: int = 60, sharp: float = 1.0) -> Predictions:
    """Clips of three folds, decided on by other bars in each of them, as rounds do."""
    random, many = np.random.default_rng(seed), len(labels)
    given = np.exp(sharp * random.standard_normal((clips, many)))
    given = given / (1 + given) if kind == "multilabel" else given / given.sum(axis=1, keepdims=True)
    task, fold = Task("t", kind, tuple(labels), ("t",)), np.arange(clips) % 3
    said = np.concatenate([
        kinds.decide(task, given[fold == one], random.uniform(0.05, 0.95, many)) for one in range(3)
    ])  # fmt: skip
    order = np.argsort(fold, kind="stable")
    ids = tuple(map(str, range(clips)))
    return Predictions(task, ids, ids, fold[order], said, said, given[order])


@pytest.mark.parametrize(("kind", "labels"), [("binary", "ab"), ("multiclass", "abcd"), ("multilabel", "abcd")])
def test_what_thresholds_decide_passes_and_columns_in_another_order_do_not(kind: str, labels: str) -> None:
    for seed in range(40):
        given = drawn(labels, kind, seed, clips=[12, 60, 300][seed % 3], sharp=[0.1, 1, 4][seed % 2])
        check_probabilities("p.csv", given)
        check_probabilities("p.csv", replace(given, probability=np.full_like(given.probability, np.nan)))
    swapped = replace(given, probability=given.probability[:, ::-1])
    with pytest.raises(PredictionsError, match=r"p\.csv: clips that are predicted '.' have no higher probabilities of"):
        check_probabilities("p.csv", swapped)


def test_probabilities_of_one_label_add_up_to_1() -> None:
    given = drawn("abc", "multiclass")
    check_probabilities("p.csv", replace(given, probability=given.probability.round(2)))
    with pytest.raises(PredictionsError, match=r"of clip '0' add up to 1\.2 \(60 clips are so\), expected 1; divide"):
        check_probabilities("p.csv", replace(given, probability=(given.probability * 1.2).clip(0, 1)))


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "ordinal"])
def test_what_is_drawn_for_other_tests_passes(kind: str, predictions_of: PredictionsOf, tasks: dict[str, Task]) -> None:
    if kind in tasks:
        check_probabilities("p.csv", predictions_of(tasks[kind]))
