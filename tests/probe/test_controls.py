"""Shuffled labels say nothing of a clip, and keep how labels lie within groups."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.corpus.evaluation_task import EvaluationTask
from toolkit.corpus.labels import IntArray, Task
from toolkit.corpus.splits import make
from toolkit.probe.controls import shuffled

MOOD = Task("mood", "multiclass", ("a", "b", "c"), ("mood",))


def question(groups: tuple[str, ...], truth: IntArray, task: Task = MOOD) -> EvaluationTask:
    ids = tuple(f"c{number}" for number in range(len(groups)))
    indicators = truth if task.multilabel else np.eye(len(task.labels), dtype=np.int64)[truth]
    return EvaluationTask(task, truth, make(ids, groups, indicators, 3, 0), groups)


@given(st.integers(0, 1000), st.integers(3, 9))
def test_each_group_gets_the_labels_of_one_group(seed: int, groups: int) -> None:
    member = np.repeat(np.arange(groups), 8)
    truth = np.random.default_rng(seed).integers(0, 3, len(member))
    task = question(tuple(f"s{number}" for number in member), truth)
    changed = shuffled(task, seed).truth
    before, after = (sorted(sorted(values[member == g].tolist()) for g in range(groups)) for values in (truth, changed))
    assert before == after


def test_a_label_of_the_whole_group_stays_one() -> None:
    member = np.repeat(np.arange(6), [3, 9, 5, 7, 12, 4])
    truth = np.array([0, 1, 2, 0, 1, 2])[member]
    changed = [shuffled(question(tuple(f"s{k}" for k in member), truth), seed).truth for seed in range(20)]
    assert all(len(set(one[member == group])) == 1 for one in changed for group in range(6))
    assert len({tuple(one) for one in changed}) > 10


def test_groups_sorted_by_label_do_not_keep_their_labels() -> None:
    """Where every speaker's clips stand in the same order, moving labels in their order would change nothing."""
    member, truth = np.repeat(np.arange(10), 30), np.tile(np.repeat(np.arange(3), 10), 10)
    task = question(tuple(f"s{k}" for k in member), truth)
    agreement = [(shuffled(task, seed).truth == truth).mean() for seed in range(20)]
    assert np.mean(agreement) == pytest.approx(1 / 3, abs=0.03)


def test_the_labels_of_a_clip_move_together_and_the_share_that_agrees_is_told() -> None:
    task = Task("ab", "multilabel", ("a", "b"), ("a", "b"))
    member = np.repeat(np.arange(6), 10)
    one = np.random.default_rng(0).integers(0, 2, 60)
    asked = question(tuple(f"s{k}" for k in member), np.stack([one, 1 - one], axis=1), task)
    changed = shuffled(asked, 0)
    assert (changed.truth.sum(axis=1) == 1).all() and changed.task.name == "shuffled-ab"
    share = 100 * (changed.truth == asked.truth).mean()
    assert f"{share:.0f} % of the labels happen to agree" in str(changed.notes[-1])
    assert Counter(changed.folds.fold.tolist()) == Counter(asked.folds.fold.tolist())
