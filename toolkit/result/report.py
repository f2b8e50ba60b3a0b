"""One self-contained report.html of a run: the answer first, then how it was got, the figures and the tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.result import figures, metrics, stats, words
from toolkit.result.beside import Beside
from toolkit.result.page import Cell, Row, Table, count_cell, drawing, filled, score_cell, table
from toolkit.result.run import Point, Run
from toolkit.result.stats import Evaluation, decimal

PAIRED = "They do not cover the draw of the control itself, which is one."
MAX_LISTED = 500  # clips left out; run.json has all of them


def page(run: Run, points: Sequence[Point], evaluation: Evaluation, beside: Sequence[Beside] = ()) -> str:
    """The page's HTML. points: `toolkit.result.run.curve` of the run; evaluation: of its chosen predictions.

    beside: other runs to show it with, controls and nuisances.
    """
    split = [one for one in beside if one.kind == "split"]
    controls = [one for one in beside if one.kind != "nuisance"]
    nuisances = [one for one in beside if one.kind == "nuisance"]
    themes = {
        name: figures.specs(run, points, evaluation, palette, "container", beside)
        for name, palette in (("light", figures.LIGHT), ("dark", figures.DARK))
    }
    return filled(
        "report.html",
        themes,
        {
            "title": run.title,
            "answer": words.answer(run, evaluation),
            "chosen": words.chosen(run),
            "cautions": [*words.cautions(run, evaluation), *(words.beside(run, one) for one in split)],
            "cards": _cards(run, evaluation),
            "protocol": words.protocol(run, evaluation),
            "figures": _figures(run, points, evaluation, beside),
            "controls": [words.beside(run, one) for one in controls],
            "controls_table": _controls(run, points, controls),
            "nuisances": [words.beside(run, one) for one in nuisances],
            "nuisances_table": _nuisances(run, points, nuisances),
            "beside_notes": list(dict.fromkeys(note for one in beside for note in one.notes)),
            "layers": _layers(run, points),
            "choices": _choices(run),
            "labels": _labels(evaluation),
            "confusion": _confusion(run),
            "confusion_caption": "Clips by outcome"
            if run.task.multilabel
            else "Clips by true label (rows) and predicted label",
            "metrics": _metrics(evaluation),
            "left_out": _left_out(run),
            "left_out_summary": f"{words.counted(len(run.left_out), 'clip')}, with reasons",
            "provenance": _provenance(run),
        },
    )


def _cards(run: Run, evaluation: Evaluation) -> list[dict[str, str]]:
    chance, name = metrics.chance(run.predictions)
    names = (run.metric, "exact_match" if run.task.multilabel else "accuracy", "f1_weighted", "roc_auc")
    cards = []
    for metric in names:
        score = evaluation.overall[metric]
        told = "no interval" if score.lower is None else f"{decimal(score.lower)} to {decimal(score.upper)}"
        cards.append({"name": metrics.title(metric), "value": decimal(score.estimate), "detail": told})
    return [*cards, {"name": "Chance", "value": decimal(chance), "detail": name.removeprefix("chance: ")}]


def _figures(
    run: Run, points: Sequence[Point], evaluation: Evaluation, beside: Sequence[Beside]
) -> dict[str, dict[str, str]]:
    stills = figures.specs(run, points, evaluation, figures.LIGHT, figures.WIDTH, beside)
    metric, value = words.metric_name(run), "F1" if run.task.multilabel else "recall"
    best = max(points, key=lambda point: point.test.estimate or 0.0)
    what = f"the model trained ({run.probe})" if run.tuned else f"a {run.probe} probe on each layer"
    captions = {
        "layers": (
            f"The {metric} of {what}. The band is the 95 % interval from resampling "
            f"{evaluation.unit}. Rings mark the layers chosen on development; what they score together is the figure "
            "above, the only one that no test clip helped to choose."
        ),
        "labels": f"Bars: {value}, with its 95 % interval as a line. Short marks: the share of clips with the label.",
        "confusion": "Clips that have the label: found or missed. Clips that lack it: false alarm or rejected."
        if run.task.multilabel
        else "Each row is a true label, each column what was predicted.",
        "controls": f"The same probe, folds and search, layer by layer; bands are 95 % intervals. {PAIRED}",
        "selectivity": f"Differences on the same resamples, layer by layer. {PAIRED}",
        "nuisance": (
            "Scores moved so that 0 is chance and 1 is perfect, (score - chance) / (1 - chance): questions of two "
            "classes and of ten share the axis. The table has the scores themselves."
        ),
    }
    spoken = {
        "layers": f"Line chart of {metric} by layer, {len(points)} layers; highest on test: {best.layer}, {best.test}.",
        "labels": f"Bar chart of {value} for {len(run.task.labels)} labels; the table below has the numbers.",
        "confusion": "Heat map of clips by true and predicted label; the table below has the numbers.",
        "controls": "Lines of the run and of its controls by layer; the table below has the numbers.",
        "selectivity": "Lines of the differences to each control by layer; the table below has the numbers.",
        "nuisance": "Lines of the target and of each nuisance by layer; the table below has the numbers.",
    }
    return {name: drawing(name, spec, spoken[name], captions[name]) for name, spec in stills.items()}


def _layers(run: Run, points: Sequence[Point]) -> Table:
    rows = [
        Row(
            [
                Cell(point.layer),
                Cell(decimal(point.development), True),
                score_cell(point.test),
                Cell(f"{point.chosen} of {len(run.choices)}" if point.chosen else "", True),
            ],
            chosen=point.chosen > 0,
        )
        for point in points
    ]
    name = metrics.title(run.metric)
    return table(["Layer", f"Development {name}", f"Test {name}, 95 %", "Chosen in rounds"], rows)


def _controls(run: Run, points: Sequence[Point], controls: Sequence[Beside]) -> Table:
    """The run, and each control with the difference to it; the chosen layers first, then layer by layer."""
    columns = ["Layer", run.task.name]
    for control in controls:
        columns += [control.name, "difference"]
    (chosen,) = stats.headline_scores([run.predictions])
    pairs = [score for control in controls for score in (control.score, control.minus)]
    rows = [Row([Cell("chosen on development"), *map(score_cell, (chosen, *pairs))], chosen=True)]
    for point in points:
        layer = point.layer
        pairs = [score for control in controls for score in (control.curve.get(layer), control.curve_minus.get(layer))]
        rows.append(Row([Cell(layer), *map(score_cell, (point.test, *pairs))]))
    return table(columns, rows)


def _nuisances(run: Run, points: Sequence[Point], nuisances: Sequence[Beside]) -> Table:
    chance, _ = metrics.chance(run.predictions)
    names = [(run.task.name, chance), *((nuisance.name, nuisance.chance) for nuisance in nuisances)]
    rows = [
        Row([Cell(p.layer), *map(score_cell, (p.test, *(nuisance.curve.get(p.layer) for nuisance in nuisances)))])
        for p in points
    ]
    return table(["Layer", *(f"{name}, chance {decimal(known)}" for name, known in names)], rows)


def _choices(run: Run) -> Table:
    rows = []
    for choice in run.choices:
        setting = ", ".join(f"{name} = {_plain(value)}" for name, value in choice.setting.items())
        rows.append(
            Row([Cell(str(choice.fold)), Cell(choice.layer), Cell(setting), Cell(decimal(choice.development), True)])
        )
    return table(["Test fold", "Layer", "Setting", "Development"], rows, texts=3)


def _labels(evaluation: Evaluation) -> Table:
    names = ("recall", "precision", "f1", "roc_auc", "average_precision")
    heads = ["Label", "Clips", "Predicted", "Recall", "Precision", "F1", "ROC-AUC", "Average precision"]
    rows = [
        Row(
            [
                Cell(label),
                count_cell(evaluation.support[label]),
                count_cell(evaluation.predicted[label]),
                *(score_cell(scores[name]) for name in names),
            ]
        )
        for label, scores in evaluation.per_label.items()
    ]
    return table(heads, rows)


def _confusion(run: Run) -> Table:
    multilabel = run.task.multilabel
    counts = figures.multilabel_counts(run.predictions) if multilabel else figures.confusion_counts(run.predictions)
    columns = figures.MULTILABEL_CELLS if multilabel else run.task.labels
    rows = [Row([Cell(label), *map(count_cell, line)]) for label, line in zip(run.task.labels, counts.tolist())]
    return table(["Label" if multilabel else "True", *columns], rows)


def _metrics(evaluation: Evaluation) -> Table:
    rows = [Row([Cell(metrics.title(name)), score_cell(score)]) for name, score in evaluation.overall.items()]
    return table(["Metric", "Value, 95 %"], rows)


def _left_out(run: Run) -> Table:
    listed = list(run.left_out.items())[:MAX_LISTED]
    rows = [Row([Cell(clip), Cell(reason)]) for clip, reason in listed]
    if len(run.left_out) > MAX_LISTED:
        rows.append(Row([Cell("..."), Cell(f"{len(run.left_out) - MAX_LISTED:,} more are in run.json")]))
    return table(["Clip", "Reason"], rows, texts=2)


def _provenance(run: Run) -> Table:
    facts: dict[str, Any] = {
        "backbone": run.backbone,
        "probe": run.probe,
        "folds": f"sha256 {run.folds.sha256}, seed {run.folds.seed}",
        **run.provenance,
    }
    rows = [Row([Cell(name.replace("_", " ")), Cell(_plain(value))]) for name, value in facts.items()]
    return table(["What", "Value"], rows, texts=2)


def _plain(value: Any) -> str:
    """A setting or a fact as a reader wants it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
