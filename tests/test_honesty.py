"""The short form of `python -m honesty`: a few hundred studies of each kind, wide bounds, the same functions."""

from collections.abc import Iterator

import numpy as np
import pytest

from honesty import contrasts, hotline, intervals, methods, p_values, planted
from honesty.rows import share, studies
from honesty.studies import binary, rare, seven


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """The truth is taken of a quarter of the speakers: its standard error is a 24th of that of a study of ten."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "POPULATION", 1_000)
        patch.setattr(contrasts, "PERMUTATIONS", 199)
        yield


@pytest.mark.parametrize(
    ("name", "draw", "metric", "speakers", "wanted"),
    [
        ("UAR", intervals.common, "unweighted_average_recall", 10, 200),
        ("UAR", seven, "unweighted_average_recall", 20, 100),
        ("macro F1", rare, "f1_macro", 10, 100),
        ("ROC-AUC", intervals.common, "roc_auc", 10, 60),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(name, draw, metric, speakers, wanted) -> None:
    row = intervals.coverage(name, draw, metric, speakers, wanted, quiet=True)
    assert row.held and row.studies == wanted, row


def test_a_recall_near_1_is_covered_by_an_interval_that_says_something() -> None:
    row = intervals.recall_near_one(10, 100, quiet=True)
    assert row.held and float(row.found.split(" wide")[0].rpartition(" ")[2]) < 0.4, (
        row
    )  # 0.45 on the logit scale alone


@pytest.mark.parametrize("speakers", [10, 20])
def test_p_values_of_models_alike_are_uniform_and_families_keep_their_level(speakers: int) -> None:
    rows = p_values.null("UAR", p_values.two_classes, "unweighted_average_recall", speakers, 300, quiet=True)
    assert all(row.held for row in rows), rows
    assert "p = 0.0" not in rows[0].found  # by Kolmogorov and Smirnov


def test_gaps_layers_and_equivalence_keep_theirs() -> None:
    for row in (p_values.gap(20, 5, 200, True), p_values.layers(10, 40, True), p_values.equal(20, 100, True)):
        assert row.held, row


def test_two_methods_alike_are_rarely_told_apart_and_pooled_ranks_are_near_the_truth() -> None:
    methods_row, _ = methods.alike(10, 10, quiet=True)
    assert methods_row.held, methods_row
    row = methods.pooled(20, 2.0, -2.0, 6, quiet=True)
    assert row.held, row


@pytest.mark.parametrize("callers", [(20, 20)])
def test_a_planted_difference_of_two_groups_of_callers_is_held(callers: tuple[int, int]) -> None:
    for row in (*contrasts.coverage(callers, 100, quiet=True), *contrasts.null(callers, 100, quiet=True)):
        assert row.held and row.studies == 100, row


def test_a_planted_contrast_of_a_hotline_dealt_out_of_emodb_is_held() -> None:
    rows = hotline.coverage(20, quiet=True)
    assert len(rows) == 4 and all(row.held for row in rows), rows


def test_the_layer_that_knows_is_chosen_in_every_round_where_all_folds_judge() -> None:
    assert planted.row(4, 1, quiet=True).held


def test_a_row_counts_what_its_case_gives() -> None:
    """A percentile bootstrap's 89 % at a nominal 95 % is seen to fail."""
    found = studies("x", lambda random: (float(random.random() < 0.89),), 2_000, 0, quiet=True)
    told, held = share(found[:, 0], 0.93, 0.97)
    assert not held and abs(float(told[:-2]) - 89) < 2
    assert studies("x", lambda random: None if random.random() < 0.5 else (1.0,), 50, 0, quiet=True).shape[0] < 50


def test_what_is_drawn_is_what_is_said() -> None:
    random = np.random.default_rng(0)
    drawn = rare(random, 2_000, 20.0)
    assert drawn.truth.mean(axis=0) == pytest.approx(
        [0.03, 0.042, 0.055, 0.066, 0.077, 0.1, 0.12, 0.138, 0.168, 0.21, 0.3], abs=0.02
    )
    pair = binary(random, 500, 20.0, models=2, shared=0.7)
    first, second = (pair.score[model][:, 1] for model in range(2))
    inside = pair.truth == 1
    assert np.corrcoef(first[inside], second[inside])[0, 1] == pytest.approx(0.7, abs=0.05)
    assert np.bincount(pair.speaker).mean() == pytest.approx(20, rel=0.1)
