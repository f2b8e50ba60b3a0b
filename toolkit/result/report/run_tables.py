"""The tables of a run's page: what `page.table` shows, cell by cell."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from toolkit.core.i18n import Language
from toolkit.result import kinds, metrics, stats
from toolkit.result.columns import Columns
from toolkit.result.controls import Control
from toolkit.result.probability_metrics import measure
from toolkit.result.report import narrative, number_charts
from toolkit.result.report.label_charts import (
    MULTILABEL_CELLS,
    confusion_counts,
    multilabel_counts,
)
from toolkit.result.report.page import (
    Cell,
    Row,
    Table,
    count_cell,
    number_cell,
    score_cell,
    table,
)
from toolkit.result.run import Point, Run
from toolkit.result.screening import screening
from toolkit.result.stats import Evaluation

MAX_LISTED = 500  # clips left out; run.json has all of them
MOST_COLUMNS = 30  # on the page
MOST_LISTED = 40  # of a list in the table of provenance; run.json has all


def layers(run: Run, points: Sequence[Point], say: Language) -> Table:
    rounds = len(run.choices)
    rows = [
        Row(
            [
                Cell(point.layer),
                number_cell(say.figure(point.development), point.development),
                score_cell(point.test, say),
                Cell(say("figure.chosen_in", number=point.chosen, rounds=rounds) if point.chosen else "", True),
                Cell("✓" if point.may_be_best else "", True, float(point.may_be_best)),
            ],
            chosen=point.chosen > 0,
        )
        for point in points
    ]
    name = metrics.title(run.metric, say)
    heads = [say(f"column.{key}", metric=name) for key in ("layer", "development_metric", "test_metric")]
    return table([*heads, say("column.chosen_rounds"), say("column.may_be_best")], rows)


def alone(run: Run, alone: Sequence[Control], say: Language) -> Table:
    """The fusion, and each of its stores with the difference to it."""
    (whole,) = stats.headline_scores([run.predictions])
    rows = [Row([Cell(run.backbone), score_cell(whole, say), Cell("")], chosen=True)]
    rows += [Row([Cell(one.name), score_cell(one.score, say), score_cell(one.minus, say)]) for one in alone]
    heads = [say("column.features"), narrative.metric_name(run, say), say("column.difference")]
    return table(heads, rows)


def columns(columns: Columns | None, say: Language) -> Table:
    """The columns that count most; which label each favours or lowers."""
    rows = [
        Row(
            [
                Cell(one.name),
                number_cell(f"{100 * one.share:.1f}", one.share),
                Cell(f"{100 * one.low:.1f} – {100 * one.high:.1f}", True, one.low),
                Cell(f"{'−' if one.against else '+'} {one.label}" if one.label else ""),
            ]
        )
        for one in (columns.columns if columns else ())[:MOST_COLUMNS]
    ]
    return table([say(f"column.{key}") for key in ("column", "share", "share_range", "speaks_for")], rows)


def controls(run: Run, points: Sequence[Point], controls: Sequence[Control], say: Language) -> Table:
    """The run, and each control with the difference to it; the chosen layers first, then layer by layer."""
    cell = partial(score_cell, say=say)
    columns = [say("column.layer"), run.task.name]
    for control in controls:
        columns += [narrative.control_name(run, control, say), say("column.difference")]
    (chosen,) = stats.headline_scores([run.predictions])
    pairs = [score for control in controls for score in (control.score, control.minus)]
    rows = [Row([Cell(say("column.chosen_on_development")), *map(cell, (chosen, *pairs))], chosen=True)]
    for point in points:
        layer = point.layer
        pairs = [score for control in controls for score in (control.curve.get(layer), control.curve_minus.get(layer))]
        rows.append(Row([Cell(layer), *map(cell, (point.test, *pairs))]))
    return table(columns, rows)


def nuisances(run: Run, points: Sequence[Point], nuisances: Sequence[Control], say: Language) -> Table:
    chance, _ = kinds.chance(run.predictions)
    cell = partial(score_cell, say=say)
    names = [(run.task.name, chance), *((nuisance.name, nuisance.chance) for nuisance in nuisances)]
    rows = [
        Row([Cell(p.layer), *map(cell, (p.test, *(nuisance.curve.get(p.layer) for nuisance in nuisances)))])
        for p in points
    ]
    heads = [say("column.with_chance", name=name, chance=say.figure(known)) for name, known in names]
    return table([say("column.layer"), *heads], rows)


def choices(run: Run, say: Language) -> Table:
    rows = []
    for choice in run.choices:
        setting = ", ".join(f"{name} = {_plain(value)}" for name, value in choice.setting.items())
        development = number_cell(say.figure(choice.development), choice.development)
        loss = number_cell(say.figure(choice.loss), choice.loss)
        rows.append(
            Row(
                [
                    Cell(str(choice.fold)),
                    Cell(choice.layers if run.fusion else choice.layer),
                    Cell(setting),
                    loss,
                    development,
                ]
            )
        )
    heads = [say(f"column.{key}") for key in ("test_fold", "layer", "setting", "loss", "development")]
    return table(heads, rows, texts=3)


def labels(run: Run, evaluation: Evaluation, say: Language) -> Table:
    if run.task.regression:
        return _targets(run, evaluation, say)
    given = next(iter(evaluation.per_label.values()))
    names = [name for name in ("recall", "precision", "f1", "roc_auc", "average_precision") if name in given]
    heads = [say(f"column.{key}") for key in ("label", "clips", "predicted")]
    rows = [
        Row(
            [
                Cell(label),
                count_cell(evaluation.support[label]),
                count_cell(evaluation.predicted[label]),
                *(score_cell(scores[name], say) for name in names),
            ]
        )
        for label, scores in evaluation.per_label.items()
    ]
    return table([*heads, *(metrics.title(name, say) for name in names)], rows)


def _targets(run: Run, evaluation: Evaluation, say: Language) -> Table:
    """Each number with its range, in its own unit."""
    names = list(next(iter(evaluation.per_label.values())))
    rows = [
        Row(
            [
                Cell(label),
                count_cell(evaluation.support[label]),
                *(Cell(f"{low:.4g} – {high:.4g}", True, low) for low, high in number_charts.ranges(run, target)),
                *(score_cell(scores[name], say) for name in names),
            ]
        )
        for target, (label, scores) in enumerate(evaluation.per_label.items())
    ]
    heads = [say(f"column.{key}") for key in ("target", "clips", "true_range", "predicted_range")]
    return table([*heads, *(metrics.title(name, say) for name in names)], rows)


def detectors(run: Run, say: Language) -> Table:
    """A row a label and way to set its detector; none of a task whose labels exclude each other."""
    rows = [
        Row(
            [
                Cell(label),
                Cell(
                    say("report.screening_own")
                    if one.precision is None
                    else say("report.screening_precision", precision=one.precision)
                ),
                score_cell(one.recall, say),
                number_cell("" if one.false_alarms is None else f"{one.false_alarms:.1f}", one.false_alarms),
            ]
        )
        for label, working_points in screening(run.predictions, run.tested_hours).items()
        for one in working_points
    ]
    heads = [say(f"column.{key}") for key in ("label", "set_to", "recall_interval", "false_alarms")]
    return table(heads, rows, texts=2)


def confusion(run: Run, say: Language) -> Table:
    """The counts of the confusion figure."""
    multilabel = run.task.multilabel
    counts = multilabel_counts(run.predictions) if multilabel else confusion_counts(run.predictions)
    columns = [say(f"figure.{cell}") for cell in MULTILABEL_CELLS] if multilabel else run.task.labels
    rows = [Row([Cell(label), *map(count_cell, line)]) for label, line in zip(run.task.labels, counts.tolist())]
    return table([say("column.label" if multilabel else "column.true"), *columns], rows)


def every_metric(run: Run, evaluation: Evaluation, say: Language) -> Table:
    """The metrics, and what `metrics.guess` scores in each on the same clips."""
    guessed = measure(kinds.guess(run.predictions))
    rows = [
        Row(
            [
                Cell(metrics.title(name, say)),
                score_cell(evaluation.overall[name], say),
                number_cell(say.figure(guessed[name]), guessed[name]),
            ]
        )
        for name in narrative.shown_metrics(evaluation)
    ]
    return table([say("column.metric"), say("column.value"), say("column.chance")], rows)


def left_out(run: Run, say: Language) -> Table:
    listed = list(run.left_out.items())[:MAX_LISTED]
    rows = [Row([Cell(clip), Cell(reason)]) for clip, reason in listed]
    if len(run.left_out) > MAX_LISTED:
        more = say("report.left_out_more", number=len(run.left_out) - MAX_LISTED)
        rows.append(Row([Cell("..."), Cell(more)]))
    return table([say("column.clip"), say("column.reason")], rows, texts=2)


def provenance(run: Run, say: Language) -> Table:
    facts: dict[str, Any] = {
        "backbone": run.backbone,
        "probe": run.probe,
        "folds": f"sha256 {run.folds.sha256}, seed {run.folds.seed}",
        **run.provenance,
    }
    rows = [
        Row([Cell(say.phrases.get(f"fact.{name}", name.replace("_", " "))), Cell(_plain(value))])
        for name, value in facts.items()
    ]
    return table([say("column.what"), say("column.fact")], rows, texts=2)


def _plain(value: Any) -> str:
    """A setting or a fact as a reader wants it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        texts = list(map(_plain, value))
        return ", ".join(texts if len(texts) <= MOST_LISTED else [*texts[:3], f"... {texts[-1]} ({len(texts)})"])
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
