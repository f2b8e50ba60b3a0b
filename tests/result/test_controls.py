"""Runs beside a run: paired differences, what is kept on disk, and what a reader is told."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toolkit.core.errors import InputError, StoreError
from toolkit.core.i18n import ENGLISH, user_notes
from toolkit.result import controls, paired, run_files, stats
from toolkit.result.controls import compare
from toolkit.result.report import curves, narrative, overview, overview_files, overview_page, run_page
from toolkit.result.report.overview import Entry
from toolkit.result.run import Run, curve

NOTES = user_notes(["A control."])


def shuffled(real: Run) -> Run:
    """The same predictions of labels that were moved between clips."""
    order = np.random.default_rng(0).permutation(len(real.predictions.ids))
    truth = real.predictions.truth[order]
    layers = {layer: replace(own, truth=truth) for layer, own in real.layers.items()}
    return replace(real, predictions=replace(real.predictions, truth=truth), layers=layers, notes=NOTES)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_selectivity_is_the_paired_difference_to_the_shuffled_labels(run_of, kind: str) -> None:
    real = run_of(kind)
    found = compare("shuffled", "labels shuffled by speaker", Path("result/x"), real, shuffled(real))
    points = {point.layer: point.test for point in curve(real)}
    for layer, minus in found.curve_minus.items():
        assert minus.estimate == pytest.approx(points[layer].estimate - found.curve[layer].estimate)
        assert minus.lower < minus.estimate < minus.upper
    assert found.notes == NOTES and found.minus is not None
    assert "selectivity, real minus shuffled, is " + str(found.minus) in narrative.beside(real, found)


def test_the_same_truth_is_demanded_where_labels_were_not_shuffled(run_of) -> None:
    real = run_of()
    with pytest.raises(InputError, match="another truth"):
        compare("random", "random weights", Path("x"), real, shuffled(real))


def test_differences_are_those_of_the_pairs_one_by_one(run_of) -> None:
    real, other = run_of(), run_of(layers=3)
    pairs = list(real.layers.values())[:3], list(other.layers.values())
    together = paired.differences(*pairs, real.metric)
    assert together == [paired.difference([first], [second], real.metric) for first, second in zip(*pairs)]


def test_what_is_beside_a_run_is_kept_added_to_and_drawn(run_of, tmp_path: Path) -> None:
    real = run_of(layers=3, clips=120)
    run_files.write(tmp_path / "real", real)
    control = compare("shuffled", "labels shuffled by speaker", tmp_path / "c", real, shuffled(real))
    nuisance = compare("nuisance", "<b>sex</b>", tmp_path / "n", real, run_of("binary", layers=3, clips=120))
    controls.add(tmp_path / "real", [nuisance])
    every = controls.add(tmp_path / "real", [control])
    run_page.redraw(tmp_path / "real", real)
    assert every == controls.read(tmp_path / "real") == [control, nuisance]
    run_files.read(tmp_path / "real")  # what is verified is untouched
    for name in ("controls.json", "selectivity.json", "nuisance.json"):
        assert (tmp_path / "real" / "figures" / name).stat().st_size > 500
    html = (tmp_path / "real" / "report.html").read_text(encoding="utf-8")
    assert "real minus shuffled" in html and "&lt;b&gt;sex&lt;/b&gt;" in html and "<b>sex" not in html
    rows = list(csv.DictReader((tmp_path / "real" / "beside.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["layer"] for row in rows[:4]] == ["chosen on development", *real.layers]
    kept = (tmp_path / "real" / "beside.json").read_text(encoding="utf-8")
    (tmp_path / "real" / "beside.json").write_text(kept.replace("sex", "age"), encoding="utf-8")
    with pytest.raises(StoreError, match=r"beside\.json is damaged: it has been changed since it was written"):
        controls.read(tmp_path / "real")
    (tmp_path / "real" / "beside.json").write_text("{", encoding="utf-8")
    with pytest.raises(StoreError, match=r"beside\.json is damaged"):
        controls.read(tmp_path / "real")


def test_the_inflation_stands_among_the_first_things_told(run_of) -> None:
    leaky, honest = run_of(layers=2), run_of(layers=2)
    found = compare("split", "speakers kept apart", Path("x"), leaky, honest)
    html = run_page.page(leaky, curve(leaky), stats.evaluate(leaky.predictions), [found]).html
    assert "the inflation is 0.000 [0.000, 0.000]" in html[: html.index("<main>")]


def test_an_overview_pairs_all_with_the_best_on_development(run_of, tmp_path: Path) -> None:
    good, bad = run_of(layers=5), run_of(layers=2)
    bad = replace(bad, backbone="worse", choices=tuple(replace(one, development=0.1) for one in bad.choices))
    elsewhere = replace(run_of(clips=300), probe="mlp")
    elsewhere = replace(elsewhere, choices=tuple(replace(one, development=0.2) for one in elsewhere.choices))
    runs = {"good": good, "worse": bad, "elsewhere": elsewhere}
    found = overview.lines([Entry(name, tmp_path / name, one) for name, one in runs.items()])
    assert [line.behind is None for line in found] == [True, False, True]  # the best itself, and other clips
    difference = paired.difference([bad.predictions], [good.predictions], good.metric)
    assert found[1].behind == difference.score and found[1].p_value == difference.p_value
    assert overview.answer(found).startswith(
        "The linear probe on encoder.2 of good is the best of 3 runs on the development sets: unweighted average "
        "recall (UAR) 0."
    )
    folder = overview_files.write(tmp_path, found)
    assert folder == overview_files.write(tmp_path, found) and folder.name.startswith("emotion-overview-")
    for name in ("overview.csv", "curves.csv", "report.html", "figures/backbones.json"):
        assert (folder / name).stat().st_size > 100
    assert [row["runs"] for row in csv.DictReader((folder / "overview.csv").read_text().splitlines())] == ["1"] * 3
    assert curves.depths(len(good.layers)) == [0.0, 0.25, 0.5, 0.75, 1.0]
    (spec,) = overview_page.specs(found, ENGLISH).values()
    assert "http" not in str(spec["layer"])


def test_an_overview_of_series_shows_their_means(run_of, tmp_path: Path) -> None:
    good = run_of(layers=5)
    weak, choices = good.layers["encoder.0"], tuple(replace(one, development=0.1) for one in good.choices)
    bad = replace(good, predictions=weak, layers=dict.fromkeys(good.layers, weak), choices=choices)
    entries = [Entry("a", tmp_path / "a", good, {"a2": bad}), Entry("b", tmp_path / "b", bad, {"b2": bad})]
    first, second = overview.lines(entries)
    assert first.score == stats.headline_score(good.predictions, bad.predictions) != second.score
    alone = [stats.headline_score(one.predictions).estimate for one in (good, bad)]
    assert first.score.estimate == pytest.approx(np.mean(alone)) and second.score.estimate == pytest.approx(alone[1])
    assert first.development == pytest.approx((good.development_mean + 0.1) / 2)
    assert second.development == pytest.approx(0.1)
    difference = paired.difference([bad.predictions] * 2, [good.predictions, bad.predictions], good.metric)
    assert second.behind == difference.score and second.behind.estimate == pytest.approx((alone[1] - alone[0]) / 2)
    for layer in good.layers:
        assert first.curve[layer] == stats.headline_score(good.layers[layer], bad.layers[layer])
    said = overview.answer([first, second])
    assert said.endswith(" Every figure is the mean over a series of 2 runs with other training seeds or folds.")
    folder = overview_files.write(tmp_path, [first, second])
    rows = list(csv.DictReader((folder / "overview.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["runs"], row["score"]) for row in rows] == [
        ("2", f"{line.score.estimate:.6f}") for line in (first, second)
    ]
    assert said in (folder / "report.html").read_text(encoding="utf-8")
