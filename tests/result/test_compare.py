"""Frozen against fine-tuned: only what belongs together, paired, corrected, and told first in one sentence."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.result.conftest import RunOf, tuned
from toolkit.core.errors import InputError
from toolkit.core.i18n import of
from toolkit.corpus.splits import Folds
from toolkit.result import compare, paired, run_files, stats
from toolkit.result.jackknife import Score
from toolkit.result.predictions import Predictions
from toolkit.result.report import compare_files, compare_narrative, compare_page
from toolkit.result.run import Run


def test_the_best_of_each_kind_is_picked_by_development_and_all_are_paired_with_the_best_probe(
    runs: dict[str, Run],
) -> None:
    found = compare.compare(runs)
    assert found.frozen is not None and found.frozen.folder == "e-a-linear-3"
    assert found.tuned is not None and found.tuned.folder == "e-a-finetune-full-1"
    assert [line.folder[4:] for line in found.lines] == ["linear-3", "mlp-2", "finetune-full-1", "finetune-head-4"]
    assert found.frozen.difference == paired.NOTHING
    metric = found.run.metric
    for line in found.lines[1:]:
        minus = line.difference.score
        assert minus is not None and minus.estimate == pytest.approx(
            line.score.estimate - found.frozen.score.estimate  # type: ignore[operator]
        )
        p_value = line.difference.p_value
        assert p_value is not None and 0 < p_value <= 1
    assert found.tuned.difference.score is not None and found.tuned.difference.score.lower > 0, metric  # type: ignore[operator]
    told = compare_narrative.answer(found)
    assert told.startswith("Fine-tuning whisper-tiny.en (full) gains") and "No difference" not in told and "410" in told


def test_a_difference_whose_interval_holds_zero_is_said_to_be_none(run_of: RunOf) -> None:
    frozen = run_of()
    found = compare.compare({"a": frozen, "b": tuned(frozen, frozen.predictions)})
    assert compare_narrative.answer(found).startswith(
        "No difference is shown between fine-tuning whisper-tiny.en (full)"
    )


def test_a_gain_is_said_where_p_is_below_5_percent_and_at_5_percent_it_is_not(run_of: RunOf) -> None:
    frozen = run_of()
    found = compare.compare({"a": frozen, "b": tuned(frozen, frozen.predictions)})
    assert found.tuned is not None
    gained = Score(0.03, 0.0, 0.06)
    for p_value, gains, equal in ((0.0499, True, True), (0.05, False, False)):
        shown = paired.Difference(gained, p_value, gained, p_value, p_value)
        told = compare_narrative.answer(replace(found, tuned=replace(found.tuned, difference=shown)))
        assert ("gains" in told, "equal within 2 points" in told) == (gains, equal)


def test_a_frozen_probe_that_is_ahead_is_said_to_be_ahead(
    run_of: RunOf, predictions_of: Callable[..., Predictions]
) -> None:
    frozen = run_of()
    worse = predictions_of(frozen.task, strength=0.5, seed=78)
    found = compare.compare({"a": frozen, "b": tuned(frozen, worse, "lora")})
    assert found.tuned is not None and found.tuned.difference.score is not None
    lost = f"loses {-100 * found.tuned.difference.score.estimate:.1f} points of unweighted average recall (UAR)"  # type: ignore[operator]
    told = compare_narrative.answer(found)
    assert told.startswith("Frozen is ahead: fine-tuning") and lost in told and "linear probe on encoder.2" in told
    assert compare_narrative.answer(found, of("zh")).startswith("冻结领先：微调 whisper-tiny.en（lora）")


def test_the_price_is_told_where_both_are_known_and_nothing_unknown_is_0(run_of: RunOf) -> None:
    frozen = run_of()
    costs = {"seconds": 10.0, "extraction_seconds": 31.05, "audio_seconds": 4105.0}
    known = replace(frozen, provenance={**frozen.provenance, **costs})
    found = compare.compare({"a": known, "b": tuned(known, known.predictions)})
    assert "at 10 times the time" in compare_narrative.answer(found)
    assert [line.throughput for line in found.lines] == [pytest.approx(100), pytest.approx(10)]
    searched = replace(frozen, provenance={**frozen.provenance, "seconds": 10.0, "audio_seconds": 4105.0})
    found = compare.compare({"a": searched, "b": tuned(searched, searched.predictions)})
    assert found.lines[0].seconds is None and found.lines[0].throughput is None
    assert "times the time" not in compare_narrative.answer(found)
    assert "Training took 410 s; what the frozen features cost was not recorded." in compare_narrative.answer(found)


@pytest.mark.usefixtures("specified")
def test_of_probes_alone_the_best_on_development_is_named(run_of: RunOf) -> None:
    good, bad = run_of(layers=5), run_of(layers=2)
    bad = replace(bad, backbone="worse", choices=tuple(replace(one, development=0.1) for one in bad.choices))
    found = compare.compare({"bad": bad, "good": good})
    assert [line.folder for line in found.lines] == ["good", "bad"]
    answer, page = compare_narrative.answer(found), compare_page.page(found)
    assert answer.startswith(
        "The linear probe on encoder.2 of whisper-tiny.en is the best of 2 runs on the development sets: unweighted "
        f"average recall (UAR) {found.lines[0].score.estimate:.3f} ["
    )
    assert "chance is 0." in answer and "series" not in answer and answer in page.html
    drawn = json.dumps(page.specs["dumbbell"])
    assert '"name": "whisper-tiny.en, linear probe"' in drawn and '"name": "worse, linear probe"' in drawn


def test_series_of_probes_are_compared_by_their_means(run_of: RunOf) -> None:
    good = run_of(layers=5)
    weak, choices = good.layers["encoder.0"], tuple(replace(one, development=0.1) for one in good.choices)
    bad = replace(good, predictions=weak, layers=dict.fromkeys(good.layers, weak), choices=choices)
    of = lambda run, name: replace(run, backbone=name, provenance={**run.provenance, "series": name})  # noqa: E731
    runs = {"a1": of(good, "a"), "a2": of(bad, "a"), "b1": of(bad, "b"), "b2": of(bad, "b")}
    first, second = compare.compare(runs).lines
    alone = [stats.headline_score(one.predictions).estimate for one in (good, bad)]
    assert first.score.estimate == pytest.approx(np.mean(alone)) and second.score.estimate == pytest.approx(alone[1])
    assert first.development == pytest.approx((good.development_mean + 0.1) / 2)  # type: ignore[operator]
    assert second.development == pytest.approx(0.1)
    assert second.difference.score is not None
    assert second.difference.score.estimate == pytest.approx((alone[1] - alone[0]) / 2)  # type: ignore[operator]
    for layer in good.layers:
        assert first.curve[layer] == stats.headline_score(good.layers[layer], bad.layers[layer])
    answer = compare_narrative.answer(compare.compare(runs))
    assert answer.endswith(" Every figure is the mean over a series of 2 runs with other training seeds or folds.")


def test_fine_tuned_runs_alone_give_no_answer(run_of: RunOf) -> None:
    frozen = run_of()
    both = {name: tuned(frozen, frozen.predictions, name) for name in ("full", "lora")}
    alone = compare.compare(both)
    assert "only fine-tuned runs" in compare_narrative.answer(alone) and all(
        line.difference == paired.NOTHING for line in alone.lines
    )
    compare_page.page(alone)


def test_other_tested_clips_are_not_paired_and_the_reason_is_told(run_of: RunOf) -> None:
    frozen = run_of()
    p = frozen.predictions
    fewer = Predictions(p.task, p.ids[1:], p.groups[1:], p.fold[1:], p.truth[1:], p.prediction[1:], p.probability[1:])
    found = compare.compare({"a": frozen, "b": tuned(frozen, fewer)})
    assert found.lines[1].difference == paired.NOTHING and "Not the same clips" in found.lines[1].why
    assert (
        "No difference between" in compare_narrative.answer(found)
        and "Not the same clips" in compare_page.page(found).html
    )


def test_csv_and_latex_have_every_run_and_nothing_a_spreadsheet_or_latex_would_run(runs: dict[str, Run]) -> None:
    hostile = {name: replace(run, backbone="=x_&%$#{\\") for name, run in runs.items()}
    found = compare.compare(hostile)
    rows = list(csv.DictReader(io.StringIO(compare_files.to_csv(found))))
    assert len(rows) == 4 and all(row["backbone"].startswith("'=") for row in rows)
    assert float(rows[2]["trained_parameters"]) == 1_234_567 and rows[0]["trained_parameters"] == ""
    assert float(rows[2]["difference"]) == pytest.approx(found.lines[2].difference.score.estimate, abs=1e-6)  # type: ignore[union-attr]
    latex = compare_files.to_latex(found)
    assert latex.count(r"\\") == 5 and r"=x\_\&\%\$\#\{\textbackslash{}" in latex


def test_the_page_stands_alone_and_shows_hostile_names_as_text(runs: dict[str, Run]) -> None:
    hostile = {name: replace(run, backbone="<script>alert(1)</script>") for name, run in runs.items()}
    html = compare_page.page(compare.compare(hostile)).html
    assert "<script>alert" not in html and "&lt;script&gt;alert(1)" in html
    assert 'src="http' not in html and "@import" not in html
    for name in (
        "dumbbell",
        "cost",
        "layers",
        "labels",
        "confusion-frozen",
        "confusion-tuned",
        "reliability",
        "spread",
    ):
        assert f'id="chart-{name}"' in html


def test_the_same_runs_give_the_same_files(runs: dict[str, Run], tmp_path: Path) -> None:
    first = compare_files.write(tmp_path, compare.compare(runs))
    before = {path: path.read_bytes() for path in first.rglob("*") if path.suffix in (".html", ".csv", ".tex", ".json")}
    again = compare_files.write(tmp_path, compare.compare(dict(reversed(runs.items()))))
    assert first == again and len(before) == 12
    assert all(path.read_bytes() == content for path, content in before.items())


def test_what_stands_is_not_drawn_again_unless_something_is_missing_or_other(
    runs: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    page = compare_page.page
    monkeypatch.setattr(compare_page, "page", lambda *words: drawn.append(words[1].tag) or page(*words))
    folder = compare_files.write(tmp_path, compare.compare(runs))
    compare_files.write(tmp_path, compare.compare(runs))
    assert drawn == ["en"]
    compare_files.write(tmp_path, compare.compare(runs), of("zh"))
    assert drawn == ["en", "en", "zh"]
    (folder / "compare.tex").write_text("cut")
    compare_files.write(tmp_path, compare.compare(runs))
    assert drawn == ["en", "en", "zh", "en"] and (folder / "compare.tex").read_text() != "cut"


@pytest.fixture
def kept(tmp_path: Path, run_of: RunOf) -> Path:
    """A result folder: two runs that belong together, one of other folds, one of another task."""
    frozen = run_of(clips=60, layers=2)
    second = tuned(frozen, frozen.predictions)
    moved = Folds(frozen.folds.ids, frozen.folds.groups, (frozen.folds.fold + 1) % 5, "speaker", 1)
    other_folds = replace(frozen, folds=moved)
    other_task = run_of("binary", clips=60, layers=2)
    for name, run in (("frozen", frozen), ("tuned", second), ("moved", other_folds), ("task", other_task)):
        run_files.write(tmp_path / name, run)
    return tmp_path


def test_only_runs_of_one_task_on_the_same_folds_come_together(kept: Path) -> None:
    groups, left_out = compare.gather(kept, [])
    assert [sorted(group) for group in groups] == [["frozen", "tuned"]]
    assert len(left_out) == 2 and "moved is the only run" in left_out[0]
    groups, left_out = compare.gather(kept, [kept / "tuned", kept / "frozen"])
    assert [list(group) for group in groups] == [["tuned", "frozen"]] and not left_out
    with pytest.raises(InputError, match="moved was made on other folds than frozen"):
        compare.gather(kept, [kept / "frozen", kept / "moved"])
    with pytest.raises(InputError, match="task is of the task"):
        compare.gather(kept, [kept / "frozen", kept / "task"])
    with pytest.raises(InputError, match="No finished run"):
        compare.gather(kept / "nowhere", [])


def test_a_legend_names_the_backbone_only_where_there_are_several(runs: dict[str, Run]) -> None:
    found = compare.compare(runs)
    names = [compare_narrative.name(line, found) for line in found.lines]
    assert names == ["linear probe", "mlp probe", "fine-tuned, full", "fine-tuned, head"]
    other = replace(runs["e-a-linear-3"], backbone="another")
    several = compare.compare({**runs, "e-b-linear-5": other})
    assert {compare_narrative.name(line, several) for line in several.lines} >= {"another, linear probe"}


def test_costs_and_numbers_read_plainly(runs: dict[str, Run]) -> None:
    found = compare.compare(runs)
    told = [text for text, _ in compare_narrative.costs(found.lines[2]).values()]
    assert told == ["1,234,567", "410", "", "3.2 GB", "5.0 MB", "10"]
    assert all(cost == ("", None) for cost in compare_narrative.costs(found.lines[0]).values())
    assert np.isfinite([line.score.estimate for line in found.lines]).all()  # type: ignore[arg-type]


def test_groups_of_the_manifest_are_held_against_each_other(runs: dict[str, Run]) -> None:
    ids = runs["e-a-linear-3"].predictions.ids
    sex = {clip: "female" if int(clip[7:9]) < 4 else "male" for clip in ids}
    found = compare.compare(runs, {"<b>sex</b>": sex})
    for _, (female, male) in found.gaps["<b>sex</b>"]:
        assert (female.value, female.callers, male.callers) == ("female", 4, 6)
        assert female.gap.estimate == pytest.approx(female.score.estimate - male.score.estimate)  # type: ignore[operator]
        assert female.gap.estimate == pytest.approx(-male.gap.estimate)  # type: ignore[operator]
    html = compare_page.page(found).html
    assert 'id="chart-gaps-1"' in html and "<b>sex" not in html and "&lt;b&gt;sex&lt;/b&gt;" in html
    chinese = compare_page.page(found, of("zh")).html
    assert '<html lang="zh">' in chinese and "组间差距" in chinese
