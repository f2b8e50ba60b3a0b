"""What holds on every page: words explained once, one colour a probe, no marker cut, chance marked, no metric twice."""

import html
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.predict.test_timeline import MOOD, made
from tests.result.report.test_specifications import tuned
from tests.result.report.test_words import TERMS
from toolkit.core.i18n import ENGLISH, of
from toolkit.corpus.labels import Task
from toolkit.predict import timeline, timeline_page
from toolkit.result import compare, stats
from toolkit.result.metrics import METRICS
from toolkit.result.report import colours, compare_page, narrative, run_page, terminal
from toolkit.result.report.page import Page
from toolkit.result.run import Run, curve

RunOf = Callable[..., Run]
LANGUAGES = ("en", "zh")
# of the made-up runs
NAMES = {"whisper", "tiny", "en", "linear", "mlp", "lora", "encoder", "a", "b", "c", "call", "calm", "anger", "joy",
         "mood"}  # fmt: skip


def pages(run_of: RunOf, language: str, **changes: object) -> dict[str, Page]:
    """One of each kind, of a linear and an mlp probe and a fine-tuned model."""
    say, run = of(language), run_of(layers=3, clips=120, **changes)
    run = replace(run, provenance={**run.provenance, "seconds": 3.0, "extraction_seconds": 9.0})
    runs = {"a": run, "b": replace(run, probe="mlp"), "c": tuned(run)}
    mix = replace(of_all_layers(run), weights={layer: (0.2, 0.3, 0.1, 0.2, 0.4) for layer in run.layers})
    found = made(MOOD, [(0, 20), (20, 80)], [(0.8, 0.1, 0.1), (0.2, 0.7, 0.1)])
    return {
        "report": run_page.page(run, curve(run), stats.evaluate(run.predictions), (), say),
        "mix": run_page.page(mix, curve(mix), stats.evaluate(mix.predictions), (), say),
        "tuned": run_page.page(runs["c"], curve(runs["c"]), stats.evaluate(run.predictions), (), say),
        "compare": compare_page.page(compare.compare(runs), say),
        "frozen": compare_page.page(compare.compare({name: runs[name] for name in "ab"}), say),
        "timeline": timeline_page.page({"call": found}, [(found, timeline.summary(found, ()))], (), "a-run", 0, say),
    }


def of_all_layers(run: Run) -> Run:
    """A mix has one layer, itself."""
    choices = tuple(replace(choice, layer="mix") for choice in run.choices)
    development = {"mix": (0.5,) * len(choices)}
    return replace(run, probe="mix", layers={"mix": run.predictions}, development=development, choices=choices)


def text_of(page: Page) -> str:
    body = page.html[page.html.index("<body>") : page.html.index('<script type="application/json"')]
    return html.unescape(re.sub(r"<[^>]*>", " ", body))


def parts(node: Any, name: str) -> Iterator[Any]:
    """Every value of a key, anywhere below."""
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == name)
    for one in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from parts(one, name)


@pytest.mark.usefixtures("specified")
@pytest.mark.parametrize("language", LANGUAGES)
def test_probe_round_development_set_uar_and_zooming_are_explained_once(run_of: RunOf, language: str) -> None:
    say = of(language)
    for name, page in pages(run_of, language).items():
        shown, times = text_of(page), int(name != "timeline")
        assert shown.count(say("page.zoom")) == int(name not in ("timeline", "mix"))  # what they show is whole at once
        assert shown.count(say("page.terms", metric=say("page.terms_unweighted_average_recall"))) == times
        assert shown.count(say("metric_in_full.unweighted_average_recall")) == times, name


@pytest.mark.usefixtures("specified")
def test_the_text_has_every_chart_and_the_scripts_no_other(run_of: RunOf) -> None:
    """A specification without its box would end the page's script, and the still pictures would show."""
    for page in pages(run_of, "en").values():
        boxes = re.findall(r'class="chart" id="chart-([^"]+)"', page.html)
        assert sorted(boxes) == sorted(page.specs)


@pytest.mark.parametrize(
    ("layers", "changes", "begins"),
    [
        (
            "22222",
            {},
            "The linear probe on encoder.2 of whisper-tiny.en recognises the 7 labels of emotion: unweighted",
        ),
        ("22121", {}, "The linear probe of whisper-tiny.en (encoder.2 in 3, encoder.1 in 2 of 5 rounds) recognises"),
        ("mmmmm", {"probe": "mix"}, "The mix probe on all layers of whisper-tiny.en recognises the 7 labels"),
        ("22222", {"probe": "finetune-lora"}, "whisper-tiny.en, fine-tuned up to encoder.2 (lora), recognises the 7"),
        ("22112", {"probe": "finetune-lora"}, "whisper-tiny.en, fine-tuned (lora; encoder.2 in 3, encoder.1 in 2 of 5"),
    ],
)
def test_the_headline_names_the_layer(run_of: RunOf, layers: str, changes: dict[str, Any], begins: str) -> None:
    run = run_of(layers=3, clips=120, **changes)
    named = tuple(replace(one, layer=f"encoder.{layer}") for one, layer in zip(run.choices, layers))
    run = of_all_layers(run) if run.probe == "mix" else replace(run, choices=named)
    evaluation = stats.evaluate(run.predictions)
    assert narrative.answer(run, evaluation).startswith(begins)
    chinese = narrative.answer(run, evaluation, of("zh"))
    assert ("encoder.2" in chinese or "所有层" in chinese) and "未加权平均召回率（UAR）" in chinese
    frozen = replace(run, probe=run.probe if not run.tuned else "linear")
    other = replace(frozen, probe="finetune-full")
    told = compare_page.page(compare.compare({"a": frozen, "b": other})).html
    kind = {"22222": "probe on encoder.2 of", "mmmmm": "probe on all layers of"}.get(layers, "in 2 of 5 rounds)")
    assert kind in told[: told.index("<main>")]


def test_metrics_that_are_equal_for_one_label_a_clip_are_shown_once(run_of: RunOf) -> None:
    single, multi = (stats.evaluate(run_of(kind, clips=90).predictions) for kind in ("multiclass", "multilabel"))
    for name in narrative.EQUAL_FOR_ONE_LABEL:
        assert single.overall[name] == single.overall["unweighted_average_recall" if "macro" in name else "accuracy"]
    assert set(single.overall) - set(narrative.shown_metrics(single)) == set(narrative.EQUAL_FOR_ONE_LABEL)
    assert narrative.shown_metrics(multi) == list(multi.overall)
    assert set(narrative.EQUAL_FOR_ONE_LABEL) <= METRICS.keys()
    shown, titles = pages(run_of, "en")["report"].html, [ENGLISH(f"metric.{name}") for name in single.overall]
    assert [title for title in titles if f"<bdi>{title}</bdi></th>" in shown] == [
        ENGLISH(f"metric.{name}") for name in narrative.shown_metrics(single)
    ]
    assert terminal.every_metric(single).row_count == len(narrative.shown_metrics(single))


@pytest.mark.usefixtures("specified")
def test_a_probe_has_one_colour_on_every_page(run_of: RunOf) -> None:
    drawn = pages(run_of, "en")
    linear, mlp, fine = (colours.colour_of(probe) for probe in ("linear", "mlp", "finetune-lora"))
    assert len({linear, mlp, fine, *map(colours.colour_of, ("lightgbm", "mix", "another"))}) == 6
    report, other = drawn["report"].specs, drawn["tuned"].specs
    for name in ("layers", "labels"):
        assert linear in json.dumps(report[name]) and fine not in json.dumps(report[name])
        assert fine in json.dumps(other[name]) and linear not in json.dumps(other[name])
    assert colours.colour_of("mix") in json.dumps(drawn["mix"].specs["weights"])
    ranges: dict[str, set[str]] = {}
    compared = drawn["compare"].specs
    for name in ("dumbbell", "cost", "layers", "labels", "spread", "reliability"):
        for colour in parts(compared[name], "color"):
            scale = colour.get("scale", {}) if isinstance(colour, dict) else {}
            for series, found in zip(scale.get("domain", ()), scale.get("range", ())):
                ranges.setdefault(series.removeprefix("frozen, ").removesuffix(", lora"), set()).add(found)
    assert ranges == {"linear probe": {linear}, "mlp probe": {mlp}, "fine-tuned": {fine}}
    (scale,) = {json.dumps(one["scale"]) for one in parts(drawn["frozen"].specs["layers"], "color") if "scale" in one}
    assert json.loads(scale)["range"] == [linear, mlp]


def test_looks_tell_curves_of_one_probe_apart() -> None:
    several = colours.styles_of(["linear", "mlp", "linear"])
    assert several[0].colour == several[2].colour and several[0].dash != several[2].dash
    alone = colours.styles_of(["linear"] * 8)
    assert len({look.colour for look in alone}) == 8 and alone[0].colour == colours.colour_of("linear")
    assert len(set(colours.others(20, "linear"))) == 20


@pytest.mark.usefixtures("specified")
def test_what_can_be_zoomed_is_cut_at_its_edge_so_every_marker_has_room_there(run_of: RunOf) -> None:
    """Vega-Lite clips where a selection is bound to the scale: a point at 1.0 was cut in half."""
    for page in pages(run_of, "en").values():
        for name, spec in page.specs.items():
            for channel in (one for param in spec.get("params", ()) for one in param["select"]["encodings"]):
                scales = [one["scale"] for one in parts(spec, channel) if isinstance(one, dict) and "scale" in one]
                assert scales
                for scale in scales:
                    assert scale.get("padding", 0) >= 10 or scale["type"] == "log", (name, channel)


@pytest.mark.usefixtures("specified")
@pytest.mark.parametrize(("strength", "below"), [(4.0, True), (0.2, False)])
def test_curves_fill_their_axis_and_chance_is_marked_beside_or_below(
    run_of: RunOf, predictions_of: Callable[..., Any], strength: float, below: bool
) -> None:
    run = run_of(layers=3, clips=200)
    own = {layer: predictions_of(run.task, 200, 10, strength, seed) for seed, layer in enumerate(run.layers)}
    spec = compare_page.page(compare.compare({"a": replace(run, layers=own)})).specs["layers"]
    rows = [row for rows in parts(spec, "values") for row in rows if isinstance(row, dict)]
    rule = next(row for row in rows if "rule" in row)
    low, high = next(one["scale"]["domain"] for one in parts(spec, "y") if "scale" in one)
    ends = [row[name] for row in rows if "rule" not in row for name in ("lower", "upper")]
    assert rule["rule"] == pytest.approx(1 / 7) and high == max(ends)
    if below:
        assert rule["name"] == "↓ chance (0.143)" and low == min(ends) > 0.3
    else:
        assert rule["name"] == "chance (0.143)" and low == min(*ends, rule["rule"])


@pytest.mark.usefixtures("specified")
def test_a_timeline_has_an_axis_of_probability_for_every_label() -> None:
    found = made(MOOD, [(0, 20), (20, 80)], [(0.8, 0.1, 0.1), (0.2, 0.7, 0.1)])
    for language, title in (("en", "Probability"), ("zh", "概率")):
        (spec,) = timeline_page.specs({"call": found}, of(language)).values()
        (axis,) = (one for one in parts(spec, "axis") if isinstance(one, dict) and one.get("orient") == "right")
        share = timeline_page.ROW_SHARE
        assert axis["title"] == title and axis["values"] == pytest.approx(
            [row + share * value for row in range(3) for value in (0, 0.5, 1)]
        )
        (rows,) = (rows for rows in parts(spec, "values") if rows and isinstance(rows[0], dict) and "top" in rows[0])
        assert all(row["top"] - row["base"] == pytest.approx(share * row["probability"]) for row in rows)


def test_a_chinese_page_has_no_english_but_names_commands_and_terms(run_of: RunOf) -> None:
    task = Task("情绪", "multiclass", ("愤怒", "平静", "喜悦"), ("x",))
    for name, page in pages(run_of, "zh", task=task, notes=(), left_out={}, title="情绪 from whisper-tiny.en").items():
        shown = text_of(page).replace("toolkit probe --model whisper-tiny.en --target emotion", " ")
        facts = shown[shown.index("来源") :] if "来源" in shown else ""
        recorded = set(re.findall("[A-Za-z]+", facts)) if facts else set()
        left = set(re.findall("[A-Za-z]+", shown.removesuffix(facts))) - TERMS - NAMES
        assert not left, (name, left)
        assert not {"backbone", "seconds", "packages", "extraction"} & recorded
