"""Several runs of one setting, compared as one; and what the answer says of them."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.result.conftest import RunOf, tuned
from toolkit.core.errors import InputError
from toolkit.core.i18n import ENGLISH, of
from toolkit.result import compare, paired, run_files
from toolkit.result import run as result_run
from toolkit.result.kinds import headline_score
from toolkit.result.predictions import Predictions
from toolkit.result.report import compare_charts, compare_files, compare_narrative, compare_page
from toolkit.result.run import Run


def test_a_series_is_one_line_its_runs_averaged_and_their_spread_shown(
    run_of: RunOf, predictions_of: Callable[..., Predictions]
) -> None:
    frozen = run_of()
    seeds = [
        predictions_of(frozen.task, strength=value, seed=70 + number) for number, value in enumerate((2.0, 3.0, 4.0))
    ]
    trained = {
        f"tuned-{number}": replace(
            one := tuned(frozen, own, "lora", development=0.7 + number / 10),
            provenance={**one.provenance, "series": "s", "seed": number, "seconds": 100.0 * (number + 1)},
        )
        for number, own in enumerate(seeds)
    }
    found = compare.compare({"frozen": frozen, **trained})
    line = found.tuned
    assert len(found.lines) == 2 and line is not None and list(line.runs) == list(trained)
    scores = [headline_score(own.task, own.truth, own.prediction) for own in seeds]
    assert line.score.estimate == pytest.approx(np.mean(scores)) and line.spread_of_runs == pytest.approx(
        np.std(scores, ddof=1)
    )
    assert line.development == pytest.approx(0.8) and line.cost("seconds") == 200.0
    minus = line.difference.score
    assert minus is not None and minus.estimate == pytest.approx(line.score.estimate - found.frozen.score.estimate)  # type: ignore[operator, union-attr]
    alone = [paired.difference([own], [frozen.predictions], found.run.metric).score for own in seeds]
    assert minus.estimate == pytest.approx(np.mean([one.estimate for one in alone]))  # type: ignore[union-attr]
    assert (
        compare_narrative.runs(line) == f"mean of 3, sd {np.std(scores, ddof=1):.3f}"
        and line.layers_chosen == "encoder.2 (15)"
    )
    rows = list(csv.DictReader(io.StringIO(compare_files.to_csv(found))))
    assert [row["runs"] for row in rows] == ["1", "3"] and rows[0]["spread_of_runs"] == ""
    html = compare_page.page(found).html
    assert all(name in html for name in trained)


def test_runs_of_other_deals_are_compared_with_the_same_deals_alone(run_of: RunOf, tmp_path: Path) -> None:
    frozen = run_of(clips=60, layers=2)

    def dealt(name: str, deals: str, predictions: Predictions) -> dict[str, Run]:
        return {
            f"{name}{deal}": replace(
                frozen, predictions=predictions, layers=dict.fromkeys(frozen.layers, predictions), probe=name,
                provenance={**frozen.provenance, "folds": deal, "series": name},
            )
            for deal in deals
        }  # fmt: skip

    runs = dealt("a", "xy", frozen.predictions) | dealt("b", "xy", frozen.predictions)
    for name, run in (runs | dealt("c", "x", frozen.predictions)).items():
        run_files.write(tmp_path / name, run)
    groups, left_out = compare.gather(tmp_path, [])
    assert [sorted(group) for group in groups] == [["ax", "ay", "bx", "by"]]
    assert left_out == ["cx is the only run of its task on its folds"]
    for name in ("bx", "by"):
        (tmp_path / name / result_run.RUN).unlink()
    groups, left_out = compare.gather(tmp_path, [])  # of a's two deals one can be compared
    assert [sorted(group) for group in groups] == [["ax", "cx"]]
    assert left_out == ["ay is the only run of its task on its folds"]
    for name in ("bx", "by"):
        run_files.write(tmp_path / name, runs[name])
    with pytest.raises(InputError, match="cx was made on other folds than ax"):
        compare.gather(tmp_path, [tmp_path / name for name in ("ax", "ay", "cx")])


def test_two_rows_alike_are_told_apart_by_the_setting_that_differs(runs: dict[str, Run]) -> None:
    recipe = {"learning_rate": 1e-5, "batch": 8}
    first = runs["e-a-finetune-full-1"]
    one = replace(first, provenance={**first.provenance, "recipe": recipe})
    other = replace(first, provenance={**first.provenance, "recipe": {**recipe, "learning_rate": 3e-5}})
    found = compare.compare({"frozen": runs["e-a-linear-3"], "one-aaaa": one, "two-bbbb": other})
    names = [compare_narrative.row(line, found) for line in found.lines]
    assert names == ["linear probe", "fine-tuned, full, learning rate 1e-05", "fine-tuned, full, learning rate 3e-05"]
    found = compare.compare({"frozen": runs["e-a-linear-3"], "one-aaaa": one, "two-bbbb": one})
    assert [compare_narrative.row(line, found)[-4:] for line in found.lines[1:]] == ["aaaa", "bbbb"]


def test_the_answer_follows_the_corrected_p_value_and_says_whom_it_is_about(
    run_of: RunOf, predictions_of: Callable[..., Predictions]
) -> None:
    """Five comparisons of which one alone would be significant: nothing is said to gain."""
    frozen = run_of()
    better = replace(frozen.predictions, prediction=np.where(
        np.arange(400) % 20 < 3, frozen.predictions.truth, frozen.predictions.prediction))  # fmt: skip
    same = {
        f"t{number}": tuned(frozen, frozen.predictions, f"top-{number}", development=0.1) for number in range(1, 40)
    }
    alone = compare.compare({"frozen": frozen, "t": tuned(frozen, better)})
    found = compare.compare({"frozen": frozen, "t": tuned(frozen, better), **same})
    assert alone.tuned is not None and found.tuned is not None
    p_value, corrected = alone.tuned.difference.p_value, found.tuned.difference.p_value
    assert (
        p_value is not None
        and p_value < 0.05
        and corrected == pytest.approx(min(1.0, 40 * p_value))
        and corrected > 0.05
    )
    assert compare_narrative.answer(alone).startswith("Fine-tuning whisper-tiny.en (full) gains")
    assert compare_narrative.answer(found).startswith("No difference is shown between fine-tuning")
    assert "for the two methods, retrained on other speakers" in compare_narrative.answer(alone).lower()
    learnt = {"learnt_from": "train+development"}
    both = {
        name: replace(run, provenance={**run.provenance, **learnt})
        for name, run in {"a": frozen, "b": tuned(frozen, frozen.predictions)}.items()
    }
    told = compare_narrative.answer(compare.compare(both))
    assert told.endswith("Both were trained on training and development clips.") and "equal within 2 points" in told
    both["b"] = replace(both["b"], provenance={**both["b"].provenance, "learnt_from": "train"})
    told = compare_narrative.answer(compare.compare(both))
    assert told.endswith(
        "The probe was trained on training and development clips, fine-tuning on training clips alone."
    )


def test_methods_are_of_what_the_folds_keep_apart(run_of: RunOf) -> None:
    """A corpus of two voices keeps syllables apart; nothing is said of speakers then."""
    frozen = run_of()
    layers = {layer: replace(own, group="syllable") for layer, own in frozen.layers.items()}
    syllables = replace(frozen, predictions=replace(frozen.predictions, group="syllable"), layers=layers)
    found = compare.compare({"a": syllables, "b": tuned(syllables, syllables.predictions)})
    for say, told in (
        (of("en"), "retrained on other syllables"),
        (of("zh"), f"在其他{of('zh').many('syllable')}上重新训练"),
    ):
        assert told in " ".join(compare_narrative.sentences(found, say))


def test_stores_of_one_backbone_have_a_row_each_in_the_matrix(run_of: RunOf) -> None:
    one = run_of()
    runs = {
        f"{context}-{probe}": replace(one, probe=probe, provenance={**one.provenance, "features": {"context": context}})
        for context in ("clip", "full")
        for probe in ("linear", "mlp")
    }
    matrix = compare_files.matrix(compare.compare(runs))
    names, *scores = [list(column.cells) for column in matrix.columns]
    assert list(map(str, names)) == ["whisper-tiny.en, context clip", "whisper-tiny.en, context full"]
    assert len(scores) == 2 and all(cell for column in scores for cell in column)


def test_of_runs_that_are_equal_on_development_the_order_given_makes_none_the_best(run_of: RunOf) -> None:
    one = run_of()
    runs = {f"try-{name}-1": replace(one, backbone=name) for name in ("b", "a", "c")}
    for order in (runs, dict(reversed(runs.items()))):
        assert [line.run.backbone for line in compare.compare(order).lines] == ["a", "b", "c"]


def test_intervals_of_probes_alone_are_at_their_points(run_of: RunOf) -> None:
    one = run_of()
    for other, offsets in ((replace(one, backbone="b"), {0}), (tuned(one, one.predictions), {-9, 9})):
        _, *intervals, _ = compare_charts.dumbbell(compare.compare({"a": one, "b": other}), ENGLISH).to_dict()["layer"]
        assert {interval["mark"]["yOffset"] for interval in intervals} == offsets
