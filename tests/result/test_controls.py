"""Runs beside a run: paired differences, what is kept on disk, and what a reader is told."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toolkit.core.errors import InputError, StoreError
from toolkit.core.i18n import user_notes
from toolkit.result import controls, paired, run_files, stats
from toolkit.result.controls import compare
from toolkit.result.report import narrative, run_page
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
    assert "selectivity, real minus shuffled, is " + str(found.minus) in narrative.control(real, found)


def test_the_same_truth_is_demanded_where_labels_were_not_shuffled(run_of) -> None:
    real = run_of()
    with pytest.raises(InputError, match="another truth"):
        compare("random", "random weights", Path("x"), real, shuffled(real))


def test_differences_are_those_of_the_pairs_one_by_one(run_of) -> None:
    real, other = run_of(), run_of(layers=3)
    pairs = list(real.layers.values())[:3], list(other.layers.values())
    together = paired.differences(*pairs, real.metric)
    assert together == [paired.difference([first], [second], real.metric) for first, second in zip(*pairs)]


@pytest.mark.usefixtures("specified")
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
