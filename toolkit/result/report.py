"""One self-contained report.html: scripts and pictures inside, nothing fetched, no label or file name ever markup."""

import base64
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from toolkit.result import figures, metrics, words
from toolkit.result.run import Point, Run
from toolkit.result.stats import Evaluation, Score, decimal

MAX_LISTED = 500  # clips left out; run.json has all of them


@dataclass(frozen=True)
class Cell:
    """order: the number that sorts the cell, for numeric columns."""

    text: str
    number: bool = False
    order: float | None = None


@dataclass(frozen=True)
class Row:
    cells: Sequence[Cell]
    chosen: bool = False


@dataclass(frozen=True)
class Table:
    columns: Sequence[Cell]
    rows: Sequence[Row]


def page(run: Run, points: Sequence[Point], evaluation: Evaluation) -> str:
    """The page's HTML. points: `toolkit.result.run.curve` of the run; evaluation: of its chosen predictions."""
    script = _script()
    themes = {
        name: {
            figure: {
                **spec,
                "title": None,
                "autosize": {"type": "fit-x", "contains": "padding"},
            }  # the page has headings
            for figure, spec in figures.specs(run, points, evaluation, palette, "container").items()
        }
        for name, palette in (("light", figures.LIGHT), ("dark", figures.DARK))
    }
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(_resource("report.html"))
    return (
        template.render(
            title=run.title,
            answer=words.answer(run, evaluation),
            chosen=words.chosen(run),
            cautions=words.cautions(run, evaluation),
            cards=_cards(run, evaluation),
            protocol=words.protocol(run, evaluation),
            figures=_figures(run, points, evaluation),
            layers=_layers(run, points),
            choices=_choices(run),
            labels=_labels(evaluation),
            confusion=_confusion(run),
            confusion_caption="Clips by outcome"
            if run.task.multilabel
            else "Clips by true label (rows) and predicted label",
            metrics=_metrics(evaluation),
            left_out=_left_out(run),
            left_out_summary=f"{words.counted(len(run.left_out), 'clip')}, with reasons",
            provenance=_provenance(run),
            specifications=_inert_json(themes),
            script=Markup(script),
            script_hash=Markup("'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"),
        )
        + "\n"
    )


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


@functools.cache
def _script() -> str:
    """Vega and our own script in one; the end tag cannot occur in it, and no line end that HTML would change."""
    bundle = vl_convert.javascript_bundle(_resource("report.js"))
    return (
        str(bundle)
        .replace("\r\n", "\n")
        .replace("\r", "\n")
        .replace("</script", "<\\/script")
        .replace("<!--", "<\\!--")
    )


def _inert_json(value: Any) -> Markup:
    """JSON that is safe inside a script element: no character there can end or open one."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _table(columns: Sequence[str], rows: Iterable[Row], texts: int = 1) -> Table:
    """The first `texts` columns are text, the rest numbers."""
    return Table([Cell(name, number >= texts) for number, name in enumerate(columns)], list(rows))


def _score_cell(score: Score) -> Cell:
    return Cell(str(score), True, -1.0 if score.estimate is None else score.estimate)


def _count_cell(number: int) -> Cell:
    return Cell(f"{number:,}", True, number)


def _cards(run: Run, evaluation: Evaluation) -> list[dict[str, str]]:
    chance, name = metrics.chance(run.predictions)
    names = (run.metric, "exact_match" if run.task.multilabel else "accuracy", "f1_weighted", "roc_auc")
    cards = []
    for metric in names:
        score = evaluation.overall[metric]
        told = "no interval" if score.lower is None else f"{decimal(score.lower)} to {decimal(score.upper)}"
        cards.append({"name": metrics.title(metric), "value": decimal(score.estimate), "detail": told})
    return [*cards, {"name": "Chance", "value": decimal(chance), "detail": name.removeprefix("chance: ")}]


def _figures(run: Run, points: Sequence[Point], evaluation: Evaluation) -> dict[str, dict[str, str]]:
    stills = figures.specs(run, points, evaluation, figures.LIGHT, figures.WIDTH)
    metric, value = words.metric_name(run), "F1" if run.task.multilabel else "recall"
    best = max(points, key=lambda point: point.test.estimate or 0.0)
    captions = {
        "layers": (
            f"The {metric} of a {run.probe} probe on each layer. The band is the 95 % interval from resampling "
            f"{evaluation.unit}. Rings mark the layers chosen on development; what they score together is the figure "
            "above, the only one that no test clip helped to choose."
        ),
        "labels": f"Bars: {value}, with its 95 % interval as a line. Short marks: the share of clips with the label.",
        "confusion": "Clips that have the label: found or missed. Clips that lack it: false alarm or rejected."
        if run.task.multilabel
        else "Each row is a true label, each column what was predicted.",
    }
    spoken = {
        "layers": f"Line chart of {metric} by layer, {len(points)} layers; highest on test: {best.layer}, {best.test}.",
        "labels": f"Bar chart of {value} for {len(run.task.labels)} labels; the table below has the numbers.",
        "confusion": "Heat map of clips by true and predicted label; the table below has the numbers.",
    }
    return {
        name: {
            "name": name,
            "alt": spoken[name],
            "caption": captions[name],
            "image": "data:image/svg+xml;base64," + base64.b64encode(figures.svg(stills[name]).encode()).decode(),
        }
        for name in stills
    }


def _layers(run: Run, points: Sequence[Point]) -> Table:
    rows = [
        Row(
            [
                Cell(point.layer),
                Cell(decimal(point.development), True),
                _score_cell(point.test),
                Cell(f"{point.chosen} of {len(run.choices)}" if point.chosen else "", True),
            ],
            chosen=point.chosen > 0,
        )
        for point in points
    ]
    name = metrics.title(run.metric)
    return _table(["Layer", f"Development {name}", f"Test {name}, 95 %", "Chosen in rounds"], rows)


def _choices(run: Run) -> Table:
    rows = []
    for choice in run.choices:
        setting = ", ".join(f"{name} = {_plain(value)}" for name, value in choice.setting.items())
        rows.append(
            Row([Cell(str(choice.fold)), Cell(choice.layer), Cell(setting), Cell(decimal(choice.development), True)])
        )
    return _table(["Test fold", "Layer", "Setting", "Development"], rows, texts=3)


def _labels(evaluation: Evaluation) -> Table:
    names = ("recall", "precision", "f1", "roc_auc", "average_precision")
    heads = ["Label", "Clips", "Predicted", "Recall", "Precision", "F1", "ROC-AUC", "Average precision"]
    rows = [
        Row(
            [
                Cell(label),
                _count_cell(evaluation.support[label]),
                _count_cell(evaluation.predicted[label]),
                *(_score_cell(scores[name]) for name in names),
            ]
        )
        for label, scores in evaluation.per_label.items()
    ]
    return _table(heads, rows)


def _confusion(run: Run) -> Table:
    multilabel = run.task.multilabel
    counts = figures.multilabel_counts(run.predictions) if multilabel else figures.confusion_counts(run.predictions)
    columns = figures.MULTILABEL_CELLS if multilabel else run.task.labels
    rows = [Row([Cell(label), *map(_count_cell, line)]) for label, line in zip(run.task.labels, counts.tolist())]
    return _table(["Label" if multilabel else "True", *columns], rows)


def _metrics(evaluation: Evaluation) -> Table:
    rows = [Row([Cell(metrics.title(name)), _score_cell(score)]) for name, score in evaluation.overall.items()]
    return _table(["Metric", "Value, 95 %"], rows)


def _left_out(run: Run) -> Table:
    listed = list(run.left_out.items())[:MAX_LISTED]
    rows = [Row([Cell(clip), Cell(reason)]) for clip, reason in listed]
    if len(run.left_out) > MAX_LISTED:
        rows.append(Row([Cell("..."), Cell(f"{len(run.left_out) - MAX_LISTED:,} more are in run.json")]))
    return _table(["Clip", "Reason"], rows, texts=2)


def _provenance(run: Run) -> Table:
    facts: dict[str, Any] = {
        "backbone": run.backbone,
        "probe": run.probe,
        "folds": f"sha256 {run.folds.sha256}, seed {run.folds.seed}",
        **run.provenance,
    }
    rows = [Row([Cell(name.replace("_", " ")), Cell(_plain(value))]) for name, value in facts.items()]
    return _table(["What", "Value"], rows, texts=2)


def _plain(value: Any) -> str:
    """A setting or a fact as a reader wants it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
