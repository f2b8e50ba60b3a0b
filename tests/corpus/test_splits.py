import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.core.errors import SplitError
from toolkit.corpus import splits
from toolkit.corpus.splits import Folds


def corpus(seed: int, clips: int, groups: int, labels: int) -> tuple[list[str], list[str], np.ndarray]:
    """Clips of groups of uneven sizes, with labels that depend on the group. indicators: (clips, labels)."""
    generator = np.random.default_rng(seed)
    member = np.concatenate([np.arange(groups), generator.choice(groups, clips - groups, p=_uneven(generator, groups))])
    generator.shuffle(member)
    likely = generator.beta(0.5, 2, (groups, labels))
    indicators = (generator.random((clips, labels)) < likely[member]).astype(np.int64)
    return [f"clip{number}" for number in range(clips)], [f"speaker{number}" for number in member], indicators


def _uneven(generator: np.random.Generator, groups: int) -> np.ndarray:
    return generator.dirichlet(np.ones(groups))


def unevenness(indicators: np.ndarray, fold: np.ndarray, count: int) -> float:
    """Squared deviation of every fold's share, of the clips and of every label, from an even one."""
    weights = np.column_stack([np.ones(len(fold)), indicators]).astype(float)
    weights /= np.maximum(weights.sum(axis=0), 1)
    shares = np.array([weights[fold == number].sum(axis=0) for number in range(count)])
    return float(((shares - 1 / count) ** 2).sum())


corpora = st.tuples(st.integers(0, 10**6), st.integers(20, 80), st.integers(3, 15), st.integers(1, 5))


@given(corpora, st.integers(3, 8), st.integers(0, 100))
def test_folds_cover_every_clip_once_and_keep_every_group_on_one_side(
    shape: tuple[int, int, int, int], count: int, seed: int
) -> None:
    ids, groups, indicators = corpus(*shape)
    count = min(count, len(set(groups)))
    folds = splits.make(ids, groups, indicators, count, seed)
    assert set(folds.fold.tolist()) == set(range(count))
    assert splits.audit(folds, {}) == []
    tested = []
    for number, part in enumerate(folds.rounds()):
        assert part.fold == number
        together = np.concatenate([part.train, part.development, part.test])
        assert sorted(together.tolist()) == list(range(len(ids)))
        sides = [{groups[clip] for clip in side} for side in (part.train, part.development, part.test)]
        assert all(sides)
        assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
        assert part.development.tolist() == np.flatnonzero(folds.fold == (number + 1) % count).tolist()
        tested += part.test.tolist()
    assert sorted(tested) == list(range(len(ids)))


@given(corpora, st.integers(3, 6), st.integers(0, 100))
def test_labels_are_spread_at_least_as_evenly_as_by_chance(
    shape: tuple[int, int, int, int], count: int, seed: int
) -> None:
    ids, groups, indicators = corpus(*shape)
    count = min(count, len(set(groups)))
    folds = splits.make(ids, groups, indicators, count, seed)
    names, member = np.unique(groups, return_inverse=True)
    generator = np.random.default_rng(seed)
    filled = np.concatenate([np.arange(count), generator.integers(0, count, len(names) - count)])
    by_chance = [unevenness(indicators, generator.permutation(filled)[member], count) for _ in range(21)]
    assert unevenness(indicators, folds.fold, count) <= np.median(by_chance) + 1e-9


def test_a_hotlines_labels_are_spread_almost_evenly() -> None:
    ids, groups, indicators = corpus(0, 5_000, 105, 11)
    folds = splits.make(ids, groups, indicators, 5, seed=0)
    for fold in range(5):
        share = indicators[folds.fold == fold].sum(axis=0) / indicators.sum(axis=0)
        assert np.all(np.abs(share - 0.2) < 0.05), share


@given(corpora, st.integers(0, 100))
def test_the_same_question_has_the_same_answer_in_whatever_order_the_groups_come(
    shape: tuple[int, int, int, int], seed: int
) -> None:
    ids, groups, indicators = corpus(*shape)
    folds = splits.make(ids, groups, indicators, 3, seed)
    assert folds.sha256 == splits.make(ids, groups, indicators, 3, seed).sha256
    order = np.random.default_rng(seed).permutation(len(ids))
    moved = splits.make([ids[i] for i in order], [groups[i] for i in order], indicators[order], 3, seed)
    assert dict(zip(moved.ids, moved.fold.tolist())) == dict(zip(folds.ids, folds.fold.tolist()))


def test_another_process_makes_the_same_folds() -> None:
    code = (
        "import numpy as np; from toolkit.corpus import splits\n"
        "groups = [f's{n % 7}' for n in range(40)]; labels = np.array([[n % 3 == 0, n % 5 == 0] for n in range(40)])\n"
        "print(splits.make([str(n) for n in range(40)], groups, labels.astype(np.int64), 4, 3).sha256)"
    )
    run = [
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True)
        for seed in ("1", "2")
    ]
    assert run[0].stdout == run[1].stdout
    assert len(run[0].stdout.strip()) == 64


def test_the_first_of_equally_even_deals_is_kept_and_seed_0_starts_with_the_largest_first() -> None:
    clips = [f"c{clip:02d}" for clip in range(12)]
    folds = splits.make(clips, clips, np.ones((12, 1), dtype=np.int64), 4, 0)
    assert folds.fold.tolist() == [0, 1, 2, 3] * 3


def test_many_groups_are_dealt_in_one_order_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    question = counted(120, 23)
    best = splits.make(*question, 4, 0)
    with monkeypatch.context() as patch:
        patch.setattr(splits, "RESTARTS", 1)
        alone = splits.make(*question, 4, 0)
    for most, expected in ((10, alone), (23, alone), (23 * splits.RESTARTS, best)):  # of 23 groups
        monkeypatch.setattr(splits, "MAX_ASSIGNMENTS", most)
        assert splits.make(*question, 4, 0).sha256 == expected.sha256
    monkeypatch.setattr(splits, "MAX_ASSIGNMENTS", 2 * 23)
    assert splits.make(*question, 4, 0).sha256 not in (alone.sha256, best.sha256)


def test_seeds_deal_groups_that_are_all_alike_each_in_its_own_way() -> None:
    number = np.arange(48)
    ids, groups = [f"c{clip}" for clip in number], [f"s{clip % 12}" for clip in number]
    indicators = np.eye(2, dtype=np.int64)[number // 12 % 2]
    assert len({splits.make(ids, groups, indicators, 4, seed).partition for seed in range(10)}) == 10


def test_a_partition_is_the_groups_of_each_fold_whatever_its_number() -> None:
    folds = Folds(("a", "b", "c", "d"), ("x", "y", "x", "z"), np.array([2, 0, 2, 1]), "speaker", 0)
    assert folds.partition == {frozenset({"x"}), frozenset({"y"}), frozenset({"z"})}
    assert folds.partition == replace(folds, fold=np.array([0, 1, 0, 2]), seed=3).partition
    assert folds.partition != replace(folds, fold=np.array([0, 1, 0, 1])).partition


def test_one_speaker_is_left_out_when_there_are_as_many_folds_as_speakers() -> None:
    ids, groups, indicators = corpus(1, 60, 9, 3)
    folds = splits.make(ids, groups, indicators, 9, seed=0)
    assert all(len({groups[clip] for clip in part.test}) == 1 for part in folds.rounds())
    assert len(list(folds.rounds())) == 9


def test_no_fold_is_left_empty_by_groups_too_small_to_count() -> None:
    """Two callers of one clip in two million: the product of their shares is rounded to nothing."""
    assert splits._assign(np.array([[1 - 1e-6], [5e-7], [5e-7]]), 3)[0].tolist() == [0, 1, 2]


def test_clips_can_be_their_own_groups_and_many_of_them_in_seconds() -> None:
    ids, _, indicators = corpus(2, 20_000, 100, 11)
    started = time.monotonic()
    folds = splits.make(ids, ids, indicators, 5, seed=0, group_by="clip")
    assert time.monotonic() - started < 20
    assert np.bincount(folds.fold).tolist() == [4_000] * 5
    assert unevenness(indicators, folds.fold, 5) < 1e-4


@pytest.mark.parametrize("count", [-1, 0, 1, 2])
def test_fewer_than_three_folds_are_refused(count: int) -> None:
    with pytest.raises(SplitError, match=f"--folds {count}: at least 3"):
        splits.make(["a"] * 5, list("vwxyz"), np.ones((5, 1), dtype=np.int64), count, 0)


def test_more_folds_than_groups_are_refused_with_both_numbers() -> None:
    with pytest.raises(SplitError, match="--folds 5 needs at least 5 different values of 'call'; the clips have 2"):
        splits.make(list("abc"), ["x", "y", "x"], np.ones((3, 1), dtype=np.int64), 5, 0, "call")


@pytest.mark.parametrize("group", ["", " x", "x "])
def test_clips_without_a_proper_group_are_refused_by_name(group: str) -> None:
    with pytest.raises(SplitError, match="Clip 'b': speaker"):
        splits.make(list("abcd"), ["x", group, "y", "z"], np.ones((4, 1), dtype=np.int64), 3, 0)
    with pytest.raises(SplitError, match="Clip 'b': speaker"):
        splits.fixed(list("abc"), ["x", group, "y"], ["train", "dev", "test"], "speaker", 0)


def test_a_label_that_never_occurs_changes_nothing() -> None:
    ids, groups, indicators = corpus(3, 50, 8, 2)
    more = np.column_stack([indicators, np.zeros(50, dtype=np.int64)])
    assert (
        splits.make(ids, groups, more, 4, 0).fold.tolist() == splits.make(ids, groups, indicators, 4, 0).fold.tolist()
    )


@pytest.mark.parametrize("seed", range(6))
def test_labels_count_by_their_shares_so_that_every_clip_twice_is_the_same_deal(seed: int) -> None:
    ids, groups, indicators = corpus(seed, 40, 9, 2)
    once = np.column_stack([indicators, np.eye(40, 4, dtype=np.int64)])  # labels of a single clip
    folds = splits.make(ids, groups, once, 3, 0)
    twice = splits.make([*ids, *(f"{clip}/2" for clip in ids)], groups * 2, np.tile(once, (2, 1)), 3, 0)
    assert twice.fold[:40].tolist() == folds.fold.tolist() == twice.fold[40:].tolist()


def test_a_fixed_split_is_one_round_with_its_parts() -> None:
    folds = splits.fixed(list("abcd"), ["s", "t", "u", "s"], ["Train", "val", "test", "train"], "speaker", 0)
    (part,) = folds.rounds()
    assert (part.train.tolist(), part.development.tolist(), part.test.tolist()) == ([0, 3], [1], [2])
    assert (folds.count, folds.scheme) == (3, "fixed")


def test_a_fixed_split_without_development_sets_aside_a_fifth_of_the_training_groups() -> None:
    groups = [f"s{number % 12}" for number in range(48)]
    split = ["test" if group in ("s0", "s1") else "train" for group in groups]
    for trained, expected in ((2, 1), (5, 1), (8, 1), (9, 1), (15, 3)):
        callers = [f"s{number}" for number in range(trained + 1)]
        parts = splits.fixed(callers, callers, ["test", *["train"] * trained], "speaker", seed=4)
        assert [len(part.development) for part in parts.rounds()] == [expected]
    ids = [str(number) for number in range(48)]
    folds = splits.fixed(ids, groups, split, "speaker", seed=4)
    (part,) = folds.rounds()
    assert {groups[clip] for clip in part.test} == {"s0", "s1"}
    assert len({groups[clip] for clip in part.development}) == 2
    assert len({groups[clip] for clip in part.train}) == 8
    assert folds.sha256 == splits.fixed(ids, groups, split, "speaker", seed=4).sha256
    assert {splits.fixed(ids, groups, split, "speaker", seed).sha256 for seed in range(5)} != {folds.sha256}


def test_numbered_folds_are_kept_whatever_they_start_from() -> None:
    folds = splits.fixed(list("abcde"), list("vwxyz"), ["10", "2", "3", "02", "10"], "speaker", 0)
    assert folds.fold.tolist() == [2, 0, 1, 0, 2]
    assert (folds.scheme, folds.count) == ("kfold", 3)


@pytest.mark.parametrize(
    ("split", "groups", "sentence"),
    [
        (["train", "dev", "exam"], list("xyz"), "Bad split 'exam'"),
        (["train", "dev", "dev"], list("xyz"), "no clip for 'test'"),
        (["dev", "test", "test"], list("xyz"), "no clip for 'train'"),
        (["train", "train", "test"], list("xxz"), "The train part has a single speaker"),
        (["1", "2", "2"], list("xyz"), "numbers 2 folds; at least 3"),
        (["1", "01", "2"], list("xyz"), "numbers 2 folds; at least 3"),
        (["²", "1", "2"], list("xyz"), "Bad split"),
        (
            ["train", "dev", "test"],
            list("xyx"),
            r"leaks: speaker 'x' is in train \(clip 'a'\) and in test \(clip 'c'\)",
        ),
        (["1", "2", "3"], list("xxx"), r"leaks: speaker 'x' is in fold 0 \(clip 'a'\) and in fold 1 \(clip 'b'\)"),
    ],
)
def test_a_bad_split_column_is_refused(split: list[str], groups: list[str], sentence: str) -> None:
    with pytest.raises(SplitError, match=sentence):
        splits.fixed(list("abc"), groups, split, "speaker", 0)


def counted(clips: int = 80, groups_at_most: int = 11) -> tuple[list[str], list[str], np.ndarray]:
    """Clips and groups with three labels, by arithmetic alone."""
    number = np.arange(clips)
    groups = [f"s{group}" for group in (5 * number * number + number // 7) % groups_at_most]
    labels = [(2 * number) % 5 == 0, (number * number) % 7 < 2, number % 3 == 1]
    return [f"c{clip}" for clip in number], groups, np.stack(labels, axis=1).astype(np.int64)


def test_the_folds_of_a_fixed_corpus_are_pinned() -> None:
    folds = splits.make(*counted(), 4, 0)
    assert folds.sha256 == "ff89fcd80faa5416a988c6b56a62f6dbaa2cd4f5bac1aa6eca541beb26e056ca"
    assert np.bincount(folds.fold).tolist() == [19, 20, 21, 20]
    ids, groups, indicators = counted()
    assert unevenness(indicators, folds.fold, 4) == pytest.approx(0.012927488382184148)
    other = splits.make(ids, groups, indicators, 4, 1)
    assert other.sha256 != folds.sha256  # the seed is part of it
    assert splits.make(*counted(240, 61), 4, 0).sha256.startswith("d5de134e")  # another with one restart more or less


def test_the_best_of_several_orders_is_kept_and_it_is_not_the_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ids, groups, indicators = counted()
    costs = []
    for restarts in (1, 2, 8, 64):
        monkeypatch.setattr(splits, "RESTARTS", restarts)
        costs.append(unevenness(indicators, splits.make(ids, groups, indicators, 4, 0).fold, 4))
    assert costs[0] == pytest.approx(0.024908632177150704)  # largest first alone
    assert costs[-1] == pytest.approx(0.012927488382184148) and min(costs) == costs[-1]


def test_two_speakers_are_not_enough_for_folds_and_are_for_a_fixed_split_with_two_parts_of_them() -> None:
    ids, groups, labels = list("abcd"), ["x", "x", "y", "y"], np.array([[1], [0], [1], [0]])
    with pytest.raises(SplitError, match="--folds 3 needs at least 3 different values of 'speaker'; the clips have 2"):
        splits.make(ids, groups, labels, 3, 0)
    with pytest.raises(SplitError, match="The train part has a single speaker; two are needed"):
        splits.fixed(ids, groups, ["train", "train", "test", "test"], "speaker", 0)
    three = splits.fixed(ids, ["x", "z", "y", "y"], ["train", "train", "test", "test"], "speaker", 0)
    assert three.fold[2:].tolist() == [0, 0] and sorted(three.fold[:2].tolist()) == [1, 2]
    pair = splits.audit(splits.Folds(tuple(ids), tuple(groups), np.array([0, 1, 1, 1]), "speaker", 0), {})
    assert pair == ["speaker 'x' is in fold 0 (clip 'a') and in fold 1 (clip 'b')"]
