"""Every chart is valid Vega-Lite, in the colours of both themes, and whoever draws nothing loads nothing that draws."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import altair as alt
import pytest
from altair.utils.schemapi import SchemaValidationError

from tests.predict.test_timeline import MOOD, made
from toolkit.core.i18n import ENGLISH
from toolkit.corpus.labels import Task
from toolkit.predict import timeline_page
from toolkit.result import compare, controls, run_files, stats
from toolkit.result import run as result_run
from toolkit.result.online import Online
from toolkit.result.report import charts, compare_charts, compare_files, run_charts
from toolkit.result.report.charts import DARK, LIGHT, MARK, Spec, themed
from toolkit.result.run import Run, curve

RunOf = Callable[..., Run]


@pytest.fixture
def checked(specified: None) -> Iterator[None]:
    """Altair holds every part against Vega-Lite's schema."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(charts, "CHECKED", True)
        yield


def tuned(run: Run) -> Run:
    return replace(run, probe="finetune-lora", provenance={**run.provenance, "seconds": 9.0})


def of_a_run(run_of: RunOf, kind: str) -> dict[str, Spec]:
    run = run_of(kind, layers=3, clips=120)
    steps = dict.fromkeys(run.layers, ((0.3, 0.4), (0.2, 0.5)))
    online = Online(run.metric, (2, 4), 2.8, dict.fromkeys(run.layers, (1.5, 1.7)), steps)
    beside = [
        controls.compare("random", "random weights", Path("x"), run, run),
        controls.compare("nuisance", "sex", Path("x"), run, run_of("binary", layers=3, clips=120)),
    ]
    points, evaluation = curve(run), stats.evaluate(run.predictions)
    mix = replace(run, weights={layer: (0.2, 0.3, 0.4, 0.3, 0.2) for layer in run.layers})
    weights = run_charts.specs(mix, points, evaluation)["weights"]
    return {**run_charts.specs(run, points, evaluation, ENGLISH, beside, online), "weights": weights}


def of_runs(run_of: RunOf) -> dict[str, Spec]:
    run = run_of(layers=3, clips=120)
    run = replace(run, provenance={**run.provenance, "seconds": 3.0, "extraction_seconds": 9.0})
    sex = {clip: "fm"[number % 2] for number, clip in enumerate(run.predictions.ids)}
    return {
        **compare_charts.specs(compare.compare({"a": run, "b": tuned(run)}, {"sex": sex}), ENGLISH),
        **timeline_page.specs({"call": made(MOOD, [(0, 20), (20, 80)], [(0.8, 0.1, 0.1), (0.2, 0.7, 0.1)])}),
    }


@pytest.mark.usefixtures("checked")
def test_every_chart_is_valid_and_takes_the_colours_and_the_width_it_is_given(run_of: RunOf) -> None:
    single, multi, runs = of_a_run(run_of, "multiclass"), of_a_run(run_of, "multilabel"), of_runs(run_of)
    assert single.keys() == {
        "layers", "labels", "confusion", "weights", "callers", "controls", "selectivity", "nuisance",
    }  # fmt: skip
    assert runs.keys() == {
        "dumbbell", "cost", "layers", "labels", "reliability", "spread", "gaps-1", "confusion-frozen",
        "confusion-tuned", "call",
    }  # fmt: skip
    for spec in (*single.values(), *multi.values(), *runs.values()):
        for palette, other in ((LIGHT, DARK), (DARK, LIGHT)):
            found = themed(spec, palette, "container")
            text = json.dumps(found, ensure_ascii=False)
            assert MARK not in text and found["width"] == "container"
            assert palette.ground in text and palette.ink in text
            assert other.ground not in text and other.ink not in text


@pytest.mark.usefixtures("specified")
def test_a_chart_that_vega_lite_would_not_take_is_found_where_it_is_checked_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @charts.specifications
    def drawn() -> dict[str, alt.Chart]:
        return {"bad": charts.chart_of([{"a": 1}]).mark_bar(opacity="strong").encode(x="a:Q")}

    assert drawn()["bad"]["mark"]["opacity"] == "strong"
    monkeypatch.setattr(charts, "CHECKED", True)
    with pytest.raises(SchemaValidationError, match="strong"):
        drawn()


@pytest.mark.usefixtures("specified")
def test_a_label_is_never_taken_for_a_colour(run_of: RunOf) -> None:
    labels = ("ink", "ground", "low", '"')
    run = run_of(task=Task("score", "multiclass", labels, ("x",)), layers=2, clips=80)
    spec = themed(run_charts.specs(run, curve(run), stats.evaluate(run.predictions))["confusion"])
    assert spec["title"]["text"].startswith("score from ")
    assert {row["truth"] for row in spec["data"]["values"]} == set(labels)


def test_showing_finished_runs_loads_nothing_that_trains_or_draws(run_of: RunOf, tmp_path: Path) -> None:
    """What stands is compared and a predictions file is scored without torch, transformers or Altair."""
    run, result = run_of(clips=60, layers=2), tmp_path / "result"
    for name, one in (("a", run), ("b", tuned(run))):
        run_files.write(result / name, one)
    compare_files.write(result, compare.compare(compare.gather(result, [])[0][0]))

    def loaded(code: str) -> list[str]:
        heavy = ("torch", "transformers", "pandas", "sklearn", "lightgbm", "optuna", "h5py", "altair", "vl_convert")
        code += f"\nimport sys, json\nprint(json.dumps([name for name in {heavy!r} if name in sys.modules]))"
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return list(json.loads(shown.stdout.splitlines()[-1]))

    def command(*words: str) -> str:
        return f"from toolkit.cli import app\napp({list(words)!r}, standalone_mode=False)"

    assert loaded(command("compare", "--workspace", str(tmp_path))) == []
    assert loaded(command("score", str(result / "a" / result_run.PREDICTIONS))) == []
    assert not {"torch", "transformers"} & set(loaded("import toolkit.result.report.compare_page"))
