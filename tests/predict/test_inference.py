"""Whose word a clip gets: its own round's where the run tested it, told by its audio; else the mean of all."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from toolkit.core.errors import InputError, StoreError
from toolkit.corpus.labels import Task
from toolkit.corpus.splits import Folds
from toolkit.predict import inference
from toolkit.predict.inference import Known, assign, together
from toolkit.result.clips import read_clips, write_clips
from toolkit.result.predictions import Predictions
from toolkit.result.predictions_reader import read_csv
from toolkit.result.run import Choice, Run
from toolkit.result.thresholds import FloatArray, Scale


@dataclass(frozen=True)
class Round:
    """A round's model, as far as `together` asks it. A score is the log-odds unless a scale is given, and both labels
    could be learnt."""

    bars: FloatArray
    scale: Scale = field(default_factory=lambda: Scale(np.zeros(2), np.ones(2)))
    prevalence: FloatArray = field(default_factory=lambda: np.full(2, 0.5))


TASK = Task("two", "multilabel", ("fear", "joy"), ("fear", "joy"))
KNOWN = {"a": "A", "b": "B", "c": "C"}


@pytest.fixture
def run() -> Run:
    folds = Folds(("a", "b", "c"), ("s0", "s1", "s2"), np.array([0, 1, 2]), "speaker", 0)
    values = np.array([[0.2, 0.4], [0.6, 0.8], [0.9, 0.1]])
    truth = np.array([[0, 1], [1, 0], [1, 0]])
    said = Predictions(TASK, folds.ids, folds.groups, folds.fold, truth, truth, values)
    choices = tuple(Choice(fold, "encoder.1", {}, 0.5) for fold in range(3))
    return Run("t", "b", "linear", TASK, "f1", folds, said, {"encoder.1": said}, {"encoder.1": (0.5,) * 3}, choices,
               {}, (), {})  # fmt: skip


def test_a_clip_is_known_by_its_audio_and_without_hashes_by_its_id(run: Run) -> None:
    clips = [("b", "B"), ("renamed", "C"), ("a", "other audio"), ("new", "N")]
    found = assign(run, KNOWN, clips, None)
    assert found.round_of.tolist() == [1, 2, -1, -1] and found.seen == ()
    assert [rows.tolist() for rows in found.rows] == [[2, 3], [0, 2, 3], [1, 2, 3]]
    assert assign(run, None, clips, None).round_of.tolist() == [1, -1, 0, -1]
    assert [rows.tolist() for rows in assign(run, KNOWN, clips, 2).rows] == [[], [0], [1, 2, 3]]
    with pytest.raises(InputError, match="Bad --round 7"):
        assign(run, KNOWN, clips, 7)


def test_clips_that_taught_a_fixed_splits_only_model_are_named(run: Run) -> None:
    fixed = replace(run, folds=replace(run.folds, scheme="fixed"), choices=run.choices[:1])
    found = assign(fixed, KNOWN, [("a", "A"), ("c", "C"), ("new", "N")], None)
    assert found.round_of.tolist() == [0, 0, -1] and found.seen == (1,)


def test_own_words_keep_their_bits_and_others_are_means_of_probabilities_and_of_bars(run: Run) -> None:
    found = assign(run, KNOWN, [("b", "B"), ("new", "N")], None)
    rounds = [Round(np.array([0.1, 0.9])), Round(np.array([0.3, 0.3])), Round(np.array([0.2, 0.9]))]
    third = 1 / 3
    applied = together(TASK, found, rounds, [np.array([[0.1, 0.6]]), np.array([[third, 0.2], [0.4, 0.6]]),
                                        np.array([[0.4, 0.6]])])  # fmt: skip
    assert applied.models == ("round-1", "mean") and applied.probability[0, 0] == third
    np.testing.assert_allclose(applied.probability[1], (0.3, 0.6))
    np.testing.assert_allclose(applied.thresholds[1], (0.2, 0.7))
    assert applied.decision.tolist() == [[1, 0], [1, 0]]


def test_the_label_of_a_class_is_decided_by_the_mean_of_the_shares_that_the_models_were_taught_with(run: Run) -> None:
    task = Task("mood", "multiclass", ("a", "b"), ("mood",))
    found = assign(run, KNOWN, [("b", "B"), ("new", "N")], None)
    rounds = [Round(np.array([0.9, 0.1])), Round(np.array([0.5, 0.5])), Round(np.array([0.7, 0.3]))]
    applied = together(task, found, rounds, [np.array([[0.7, 0.3]]), np.array([[0.6, 0.4], [0.6, 0.4]]),
                                        np.array([[0.8, 0.2]])])  # fmt: skip
    np.testing.assert_allclose(applied.thresholds, [[0.5, 0.5], [0.7, 0.3]])
    np.testing.assert_allclose(applied.probability, [[0.6, 0.4], [0.7, 0.3]])
    assert applied.decision.tolist() == [0, 0]
    surer = together(task, found, rounds, [np.array([[0.6, 0.4]]), np.array([[0.6, 0.4]] * 2), np.array([[0.8, 0.2]])])
    assert surer.decision.tolist() == [0, 1]  # 0.667 of a class that 0.7 of the training clips had


def test_with_the_truth_the_csv_is_read_as_predictions(run: Run, tmp_path: Path) -> None:
    found = assign(run, KNOWN, [("b", "B"), ("new", "N")], 0)
    applied = together(
        TASK, found, [Round(np.zeros(2))] * 3, [np.full((1, 2), 0.7), np.full((1, 2), 1 / 3), np.empty((0, 2))]
    )
    path = tmp_path / "predictions.csv"
    path.write_text(inference.to_csv(applied, ["=b", "new"], Known(np.eye(2, dtype=np.int64), ("s", "t"), "speaker")))
    again = read_csv(path)
    np.testing.assert_array_equal(again.score, applied.score.astype(np.float32))
    assert again.fold.tolist() == [1, 0]  # a fold for each model, "round-0" and "round-1"
    assert again.ids == ("=b", "new") and again.groups == ("s", "t") and again.task.labels == TASK.labels
    np.testing.assert_array_equal(again.probability, applied.probability.astype(np.float32))
    head, first, _ = inference.to_csv(applied, ["=b", "new"], None).splitlines()
    assert head == "id,model,prediction:fear,prediction:joy,probability:fear,probability:joy,score:fear,score:joy"
    assert first.startswith("'=b,round-1,1,1,")


def test_clips_are_ranked_by_their_own_rounds_scores_and_by_the_mean_of_all(run: Run) -> None:
    """Round 0 lifts every log-odds by 2, round 1 is twice as sure: as scores they agree."""
    found = assign(run, KNOWN, [("a", "A"), ("b", "B"), ("new", "N")], None)
    scales = [Scale(np.full(2, 2.0), np.ones(2)), Scale(np.zeros(2), np.full(2, 2.0)), Scale(np.zeros(2), np.ones(2))]
    rounds = [Round(np.full(2, 0.5), scale) for scale in scales]
    scores = [np.array([[0.5, -1.0], [0.2, 0.4]]), np.array([[1.5, 0.0], [0.3, 0.4]]), np.array([[0.7, 1.0]])]
    applied = together(TASK, found, rounds, [one.probability(own) for one, own in zip(scales, scores)])
    np.testing.assert_allclose(applied.score, [[0.5, -1.0], [1.5, 0.0], [0.4, 0.6]], atol=1e-12)


def test_a_round_that_could_not_learn_a_label_has_no_say_in_it(run: Run) -> None:
    """Fear was in none of round 0's training clips and in all of round 1's; joy in none of any round's."""
    found = assign(run, KNOWN, [("a", "A"), ("new", "N")], None)
    rounds = [Round(np.array([bar, 0.5]), prevalence=np.array([share, 0.0]))
              for bar, share in ((0.5, 0.0), (0.5, 1.0), (0.2, 0.3))]  # fmt: skip
    applied = together(TASK, found, rounds, [np.array([[0.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 0.0]]),
                                          np.array([[0.25, 0.0]])])  # fmt: skip
    assert applied.probability.tolist() == [[0, 0], [0.25, 0]] and applied.thresholds.tolist() == [
        [0.5, 0.5],
        [0.2, 0.5],
    ]
    assert applied.decision.tolist() == [[0, 0], [1, 0]]
    np.testing.assert_allclose(applied.score[1, 0], np.log(0.25 / 0.75))
    two = [rounds[2], rounds[0], Round(np.array([0.4, 0.5]), prevalence=np.array([0.6, 0.0]))]
    values = [np.array([[0.5, 0.0]] * 2), np.array([[0.0, 0.0]]), np.array([[0.3, 0.0]])]
    applied = together(TASK, found, two, values)
    np.testing.assert_allclose(applied.probability, [[0.5, 0], [0.4, 0]])
    np.testing.assert_allclose(applied.thresholds, [[0.2, 0.5], [0.3, 0.5]])
    assert applied.decision[1].tolist() == [1, 0]  # the mean of all is below its bar: 0.267 against 0.367


def test_a_damaged_list_of_clips_is_refused(tmp_path: Path) -> None:
    assert read_clips(tmp_path) is None
    write_clips(tmp_path, KNOWN)
    assert read_clips(tmp_path) == KNOWN
    path = tmp_path / "clips.json"
    path.write_text(path.read_text().replace('"A"', '"X"'))
    with pytest.raises(StoreError, match=r"clips\.json is damaged: it has been changed"):
        read_clips(tmp_path)
