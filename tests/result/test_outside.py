"""Predictions made elsewhere, next to ours: matched by id, held against the truth, named for what they are."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import toolkit
from toolkit.core.errors import InputError, PredictionsError
from toolkit.core.i18n import of
from toolkit.result import compare, outside, paired, run_files
from toolkit.result.predictions import Predictions, value_cells, value_columns
from toolkit.result.report import compare_narrative
from toolkit.result.run import Run

RunOf = Callable[..., Run]


def written(path: Path, predictions: Predictions, *columns: str) -> Path:
    """As another program would: ids and predictions in an order of its own, and whatever else is asked for."""
    task, order = predictions.task, np.random.default_rng(0).permutation(len(predictions.ids))
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        names = [name for column in columns for name in value_columns(task, column)]
        writer.writerow(["id", *value_columns(task, "prediction"), *names])
        for number in order:
            more = [cell for column in columns for cell in value_cells(task, getattr(predictions, column)[number])]
            writer.writerow([predictions.ids[number], *value_cells(task, predictions.prediction[number]), *more])
    return path


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
@pytest.mark.parametrize("columns", [(), ("truth",)])
def test_predictions_from_elsewhere_are_compared_as_our_own_would_be(
    kind: str, columns: tuple[str, ...], run_of: RunOf, predictions_of: Callable[..., Predictions], tmp_path: Path
) -> None:
    ours = run_of(kind)
    theirs = predictions_of(ours.task, strength=1.0, seed=5)
    found = outside.read(written(tmp_path / "paper.csv", theirs, *columns), ours)
    assert found.backbone == "paper" and not found.frozen and not found.tuned and not found.layers
    np.testing.assert_array_equal(found.predictions.prediction, theirs.prediction)
    compared = compare.compare({"ours": ours, "paper.csv": found})
    assert [line.kind for line in compared.lines] == ["frozen", "outside"] and compared.tuned is None
    expected = paired.difference([theirs], [ours.predictions], ours.metric)
    assert compared.lines[1].difference.score == expected.score
    answer = compare_narrative.answer(compared)
    assert answer.startswith("paper.csv is ") and " behind the frozen " in answer and "only frozen" not in answer
    assert compare_narrative.answer(compared, of("zh")).startswith("paper.csv 比")


def test_what_does_not_fit_is_refused_by_clip(run_of: RunOf, tmp_path: Path) -> None:
    ours = run_of("multiclass")
    path = written(tmp_path / "paper.csv", ours.predictions, "truth")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(",anger\n", ",sadness\n", 1), encoding="utf-8")
    with pytest.raises(PredictionsError, match=r"paper.csv: clip 'speaker.*' has the truth 'sadness', and 'anger' in"):
        outside.read(path, ours)
    path.write_text("\n".join(text.splitlines()[:-2]), encoding="utf-8")
    with pytest.raises(PredictionsError, match=r"has no prediction for clip 'speaker.*', which was tested \(and 1"):
        outside.read(path, ours)
    path.write_text("id,prediction\nelsewhere,anger\n", encoding="utf-8")
    with pytest.raises(PredictionsError, match=r"line 2, column 'id': 'elsewhere' was not tested, .* such as 'speaker"):
        outside.read(path, ours)
    path.write_text("prediction,truth\nanger,anger\n", encoding="utf-8")
    with pytest.raises(PredictionsError, match="no column 'id'"):
        outside.read(path, ours)
    with pytest.raises(PredictionsError, match=r"nowhere.csv cannot be read"):
        outside.read(tmp_path / "nowhere.csv", ours)


def test_a_file_is_compared_from_python_and_its_page_says_whose_it_is(run_of: RunOf, tmp_path: Path) -> None:
    ours = run_of("binary")
    run_files.write(tmp_path / "result" / "ours", ours)
    file = written(tmp_path / "paper.csv", replace(ours.predictions, prediction=1 - ours.predictions.prediction))
    space = toolkit.open(tmp_path)
    (one,) = space.compare("ours", str(file), subgroups="none")
    page = one.report.read_text(encoding="utf-8")
    assert "made elsewhere" in page and "was made outside this toolkit (sha256 " in page
    assert "made elsewhere" in one.table().iloc[-1].to_string()
    before = one.report.stat().st_mtime_ns
    file.write_text(file.read_text(encoding="utf-8") + "more,negative\n", encoding="utf-8")
    (again,) = space.compare("ours", str(file), subgroups="none")
    assert again.report.stat().st_mtime_ns > before  # another file, another page
    with pytest.raises(InputError, match="name one or more of"):
        space.compare(str(file))
