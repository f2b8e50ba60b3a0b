import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import sklearn.metrics

from toolkit.core.i18n import of
from toolkit.corpus.labels import Task
from toolkit.result import stats
from toolkit.result.report import charts
from toolkit.result.report.charts import DARK, LIGHT, svg, themed
from toolkit.result.report.label_charts import MULTILABEL_CELLS, confusion_counts, multilabel_counts
from toolkit.result.report.run_charts import specs
from toolkit.result.run import curve

pytestmark = pytest.mark.usefixtures("specified")

HOSTILE = ("</script><img src=x onerror=alert(1)>", 'it\'s "quoted"', "=1+1", "datum['x'].y", "愤怒")


def drawn(run, palette=LIGHT, language="en"):
    made = specs(run, curve(run), stats.evaluate(run.predictions), of(language))
    return {name: themed(spec, palette) for name, spec in made.items()}


def texts(spec) -> str:
    return " ".join(ElementTree.fromstring(svg(spec)).itertext())


def test_every_figure_says_data_and_protocol(run):
    for spec in drawn(run).values():
        shown = texts(spec)
        assert run.title in shown and "400 clips, 10 speakers; 5 folds, kept apart by speaker" in shown


def test_the_curve_names_chance_and_marks_the_chosen_layers(run_of):
    spec = drawn(run_of())["layers"]
    assert "chance: 1 / 7 labels (0.143)" in texts(spec)
    rows = next(rows for rows in spec["datasets"].values() if "chosen" in rows[0]) if "datasets" in spec else None
    rows = rows or spec["layer"][0]["data"]["values"]
    assert [row["chosen"] for row in rows] == ["", "", "in 5 of 5 rounds", "", ""]
    assert all(row["lower"] < row["test"] < row["upper"] for row in rows)


def test_hostile_names_are_drawn_as_text(run_of):
    task = Task("<b>", "multiclass", HOSTILE, ("x",))
    run = run_of(task=task, title="</svg><script>alert(1)</script>")
    for name, spec in drawn(run).items():
        root = ElementTree.fromstring(svg(spec))
        assert not {element.tag.rpartition("}")[2] for element in root.iter()} & {"script", "img", "b", "foreignObject"}
        shown = " ".join(root.itertext())
        assert "</svg><script>" in shown
        if name != "layers":
            assert "=1+1" in shown and "datum['x'].y" in shown


def test_the_same_figure_has_the_same_text_however_many_were_drawn_before_and_no_name_that_a_recording_may_have(run):
    (first, *_) = specs_of = list(drawn(run).values())
    before = svg(first)
    assert "<clipPath" in before and not re.search(r"clip\d", before)
    for spec in specs_of:
        svg(spec)
    charts._svg.cache_clear()
    assert svg(first) == before


def test_layers_of_encoder_and_decoder_keep_their_names(run_of):
    run = run_of(layers=4)
    names = dict(zip(run.layers, ("encoder.0", "encoder.1", "encoder.2", "decoder.0")))
    renamed = replace(
        run,
        layers={names[layer]: own for layer, own in run.layers.items()},
        development={names[layer]: own for layer, own in run.development.items()},
    )
    shown = texts(drawn(renamed)["layers"])
    assert "encoder.0" in shown and "decoder.0" in shown


def test_a_figure_is_drawn_without_intervals_and_without_probabilities(run_of):
    run = run_of(layers=2, clips=60)
    bare = {
        layer: replace(own, groups=("s",) * 60, probability=np.full((60, 7), np.nan))
        for layer, own in run.layers.items()
    }
    run = replace(run, layers=bare, predictions=bare["encoder.1"])
    for palette in (LIGHT, DARK):
        assert all("60 clips, 1 speaker;" in texts(spec) for spec in drawn(run, palette).values())


def test_confusion_counts_are_scikit_learns(run_of):
    single, multi = run_of().predictions, run_of("multilabel").predictions
    expected = sklearn.metrics.confusion_matrix(single.truth, single.prediction, labels=range(7))
    assert np.array_equal(confusion_counts(single), expected)
    (tn, fp), (fn, tp) = sklearn.metrics.multilabel_confusion_matrix(multi.truth, multi.prediction).transpose(1, 2, 0)
    assert np.array_equal(multilabel_counts(multi), np.stack([tp, fn, fp, tn], axis=1))
    assert MULTILABEL_CELLS == ("found", "missed", "false_alarm", "rejected")
