import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toolkit.core.errors import InputError, StoreError, ToolkitError
from toolkit.result import run as runs
from toolkit.result.report import run_page
from toolkit.result.run import Choice, curve
from toolkit.result.run_files import find_run, read, write


def arrays(run):
    for own in (run.predictions, *run.layers.values()):
        yield from (own.fold, own.truth, own.prediction, own.probability)


def test_a_run_comes_back_whole(tmp_path: Path, run):
    write(tmp_path / "run", run)
    back = read(tmp_path / "run")
    for first, second in zip(arrays(run), arrays(back), strict=True):
        assert np.array_equal(first, second) and first.dtype == second.dtype
    for name in ("title", "backbone", "probe", "task", "metric", "choices", "left_out", "notes", "provenance"):
        assert getattr(back, name) == getattr(run, name), name
    assert back.folds.sha256 == run.folds.sha256
    assert list(back.layers) == list(run.layers) and back.development == run.development


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, run):
    for folder in ("first", "second"):
        write(tmp_path / folder, run)
    write(tmp_path / "second", read(tmp_path / "first"))
    files = sorted(path.name for path in (tmp_path / "first").iterdir() if path.is_file())
    assert files == sorted([*runs.VERIFIED, "run.json"])
    for name in files:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name


def test_run_json_is_the_commit(tmp_path: Path, run_of, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "run", run_of())

    def fails(*arguments: object) -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        write(tmp_path / "run", run_of(clips=300), fails)
    with pytest.raises(StoreError, match=r"No finished run in .*run: there is no run\.json"):
        read(tmp_path / "run")


@pytest.mark.parametrize("name", [*runs.VERIFIED, "run.json"])
def test_what_is_damaged_or_missing_is_named(tmp_path: Path, run_of, name: str):
    folder = tmp_path / "run"
    write(folder, run_of(clips=100))
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-20])
    with pytest.raises(StoreError, match=name) as caught:
        read(folder)
    assert str(tmp_path) not in str(caught.value)
    (folder / name).unlink()
    with pytest.raises(StoreError, match=name):
        read(folder)


@pytest.mark.parametrize("key", ["task", "layers", "development", "choices", "sha256", "format"])
def test_a_run_json_without_a_key_is_damaged(tmp_path: Path, run_of, key: str):
    folder = tmp_path / "run"
    write(folder, run_of(clips=100))
    content = json.loads((folder / "run.json").read_text())
    del content[key]
    (folder / "run.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match=r"damaged|has been changed"):
        read(folder)


def test_a_note_taken_out_of_run_json_is_noticed(tmp_path: Path, run_of):
    folder = tmp_path / "run"
    write(folder, run_of(clips=100))
    content = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**content, "notes": []}))
    with pytest.raises(StoreError, match=r"run\.json has been changed since it was written"):
        read(folder)


def test_the_curve_has_every_layer_in_order(tmp_path: Path, run_of):
    run = run_of(layers=12, clips=120)
    write(tmp_path / "run", run)
    with (tmp_path / "run" / "layers.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["layer"] for row in rows] == [f"encoder.{number}" for number in range(12)]
    for row, point in zip(rows, curve(run)):
        assert float(row["test"]) == pytest.approx(point.test.estimate, abs=1e-6)
        assert float(row["lower"]) <= float(row["test"]) <= float(row["upper"])
    assert [row["chosen_in_rounds"] for row in rows] == ["0"] * 6 + ["5"] + ["0"] * 5


def test_metrics_json_has_every_metric_and_no_nan(tmp_path: Path, run):
    write(tmp_path / "run", run)
    content = json.loads((tmp_path / "run" / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert set(content["metrics"][content["headline"]]) == {"estimate", "lower", "upper"}
    assert list(content["labels"]) == list(run.task.labels)
    assert content["intervals"] == {
        "method": "delete-one-group jackknife, t on the logit scale",
        "unit": "speakers",
        "number": 10,
        "left_out_in_turn": 10,
        "coverage": 0.95,
    }


def test_what_layers_are_chosen_by_is_kept_and_is_a_column_of_the_curve(tmp_path: Path, run_of):
    losses = {layer: (0.5, 0.7, 0.6, 0.4, 0.3) for layer in run_of().layers}
    run = replace(run_of(), losses=losses, choices=tuple(replace(one, loss=0.5) for one in run_of().choices))
    write(tmp_path / "run", run)
    assert read(tmp_path / "run").losses == losses
    assert {choice.loss for choice in read(tmp_path / "run").choices} == {0.5}
    with (tmp_path / "run" / "layers.csv").open() as file:
        assert {row["development_loss"] for row in csv.DictReader(file)} == {"0.500000"}
    with pytest.raises(ToolkitError, match="losses of"):
        replace(run, losses={"encoder.0": (0.5,) * 5})


def test_a_layer_without_a_development_score_has_an_empty_cell(tmp_path: Path, run_of):
    run = run_of()
    run = replace(run, development={**run.development, "encoder.0": (None,) * 5})
    write(tmp_path / "run", run)
    assert (tmp_path / "run" / "layers.csv").read_text().splitlines()[1].startswith("encoder.0,,,0.")
    assert read(tmp_path / "run").development["encoder.0"] == (None,) * 5


def test_a_run_that_contradicts_itself_is_our_fault(run_of):
    run = run_of()
    with pytest.raises(ToolkitError, match="development of"):
        replace(run, development={})
    with pytest.raises(ToolkitError, match=r"fold 0 chose 'encoder\.9'"):
        replace(run, choices=(Choice(0, "encoder.9", {}, 0.5),))
    with pytest.raises(ToolkitError, match="other clips"):
        replace(run, predictions=run_of(clips=10).predictions)
    with pytest.raises(ToolkitError, match="another truth"):
        replace(run, predictions=replace(run.predictions, truth=(run.predictions.truth + 1) % 7))


@pytest.mark.usefixtures("drawn")
def test_figures_and_report_lie_beside_the_data(tmp_path: Path, run_of):
    write(tmp_path / "run", run_of(), run_page.draw)
    names = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    assert names == {f"{name}.{end}" for name in ("layers", "labels", "confusion") for end in ("pdf", "png", "svg")}
    begins = {"pdf": b"%PDF", "png": b"\x89PNG", "svg": b"<svg"}
    for path in (tmp_path / "run" / "figures").iterdir():
        assert path.read_bytes().startswith(begins[path.suffix[1:]])
    page = (tmp_path / "run" / "report.html").read_bytes()
    svg = (tmp_path / "run" / "figures" / "layers.svg").read_bytes()
    write(tmp_path / "again", run_of(), run_page.draw)
    assert (tmp_path / "again" / "report.html").read_bytes() == page
    assert (tmp_path / "again" / "figures" / "layers.svg").read_bytes() == svg


@pytest.mark.usefixtures("drawn")
def test_figures_and_report_of_a_mix_draw_the_weight_of_each_layer(tmp_path: Path, run_of):
    weights = {"encoder.0": (0.2, 0.3), "encoder.1": (0.7, 0.5), "encoder.2": (0.1, 0.2)}
    write(tmp_path / "run", replace(run_of(), weights=weights), run_page.draw)
    assert read(tmp_path / "run").weights == weights
    svg = (tmp_path / "run" / "figures" / "weights.svg").read_text(encoding="utf-8")
    assert "encoder.1" in svg and "equal weights" in svg
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert 'id="chart-weights"' in page and 'id="chart-layers"' not in page  # a curve of one point


def test_a_name_that_begins_another_name_is_that_run_alone(tmp_path: Path):
    for name in ("try-mood-a-linear-1", "try2-mood-a-linear-2", "try2-mood-b-linear-3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / runs.RUN).touch()
    assert find_run("try", tmp_path) == find_run("try-mood-a-linear-1", tmp_path) == tmp_path / "try-mood-a-linear-1"
    with pytest.raises(
        InputError, match=r"Bad run 'try2', expected one of \['try2-mood-a-linear-2', 'try2-mood-b-.*'\]"
    ):
        find_run("try2", tmp_path)
