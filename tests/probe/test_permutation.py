"""Many shuffles of the labels: their scores lie around chance, the real one's p-value is its place among them."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.probe.conftest import Corpus, run, score
from tests.probe.test_round import data_of
from toolkit.core.artifacts import STUDY_FILE
from toolkit.core.study_file import StudyFile
from toolkit.corpus.evaluation_task import EvaluationTask
from toolkit.probe.permutation import p_value, scores
from toolkit.probe.registry import PROBES
from toolkit.probe.round import once, predicted
from toolkit.probe.round import test as settle

Make = Callable[..., Corpus]


def test_the_p_value_counts_the_real_labels_among_their_shuffles() -> None:
    assert p_value(0.9, [0.5] * 19) == 0.05
    assert p_value(0.5, [0.4, 0.5, 0.6]) == 0.75
    assert p_value(0.1, [0.4, 0.5, 0.6]) == 1.0


def question(corpus: Corpus) -> EvaluationTask:
    return EvaluationTask(corpus.task, corpus.truth, corpus.folds, corpus.speakers)


def shuffles(corpus: Corpus, folder: Path, name: str, draws: int, seed: int = 0, workers: int = 1) -> list[float]:
    messages: list[str] = []
    found = scores(
        corpus, question(corpus), folder / f"{name}.db", name, seed, draws, lambda *of: messages.append(of[0]),
        workers=workers,
    )  # fmt: skip
    assert messages == (["mix"] if PROBES[name].all_layers else list(corpus.features))
    return found


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_shuffles_score_chance_and_a_planted_label_more_than_all_of_them(
    make_corpus: Make, tmp_path: Path, kind: str
) -> None:
    corpus = make_corpus(kind, clips_a_speaker=16, strength=2.5)
    real = score(run(corpus, tmp_path, trials=4))
    found = shuffles(corpus, tmp_path, "linear", 20)
    if kind != "multilabel":
        assert np.mean(found) == pytest.approx(1 / len(corpus.task.labels), abs=0.06)
    assert len(set(found)) > 5 and p_value(real, found) == 1 / 21


def test_another_seed_is_another_shuffle_and_the_number_of_workers_is_none(make_corpus: Make, tmp_path: Path) -> None:
    corpus = make_corpus(clips_a_speaker=8)
    run(corpus, tmp_path, trials=2)
    found = shuffles(corpus, tmp_path, "linear", 4)
    assert shuffles(corpus, tmp_path, "linear", 4, workers=2) == found
    assert shuffles(corpus, tmp_path, "linear", 4, seed=1) != found


@pytest.mark.parametrize(
    ("name", "kind"),
    [("lightgbm", "multiclass"), ("lightgbm", "multilabel"), ("mix", "multiclass"), ("mlp", "multiclass")],
)
def test_every_probe_can_be_shuffled(make_corpus: Make, tmp_path: Path, name: str, kind: str) -> None:
    corpus = make_corpus(kind, clips_a_speaker=8, strength=3.0, layers=2)
    run(corpus, tmp_path, probe=name, trials=1)
    found = shuffles(corpus, tmp_path, name, 2)
    assert len(found) == 2 and max(found) < 0.7


@pytest.mark.parametrize("name", ["lightgbm", "linear"])
def test_on_the_real_labels_a_new_fitter_predicts_what_the_winner_predicts(
    make_corpus: Make, tmp_path: Path, name: str
) -> None:
    corpus = make_corpus("multilabel", clips_a_speaker=8, strength=3.0)
    data, file = data_of(corpus), StudyFile(tmp_path / STUDY_FILE)
    build = partial(PROBES[name].build, [corpus.features["encoder.1"]], corpus.task, corpus.truth, 0, "cpu")
    for round_ in corpus.folds.rounds():
        winner = settle(build(), data, file, "l", "", PROBES[name].space, 1, 1, 0, round_, math.inf)
        _, found = once(build(), data, round_, winner.setting, f"l round {round_.fold}")
        again = predicted(build(), data, round_, winner.setting, found, f"l round {round_.fold}")
        np.testing.assert_array_equal(again, winner.prediction)


def test_where_there_is_nothing_to_know_the_p_value_is_no_surprise(make_corpus: Make, tmp_path: Path) -> None:
    corpus = make_corpus("multiclass", planted=None, clips_a_speaker=16)
    real = score(run(corpus, tmp_path, trials=4))
    assert p_value(real, shuffles(corpus, tmp_path, "linear", 20)) > 0.05
