"""One self-contained report.html of a run: the answer first, then how it was got, the figures and the tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.core.i18n import ENGLISH, Language
from toolkit.result import columns as columns_file
from toolkit.result import controls, kinds, metrics, stats
from toolkit.result import online as online_file
from toolkit.result import units as units_file
from toolkit.result.columns import Columns
from toolkit.result.controls import Control
from toolkit.result.online import Online
from toolkit.result.report import narrative, number_charts, run_charts, run_online, run_tables, run_units
from toolkit.result.report.label_charts import (
    label_metric,
)
from toolkit.result.report.number_charts import MOST_DRAWN
from toolkit.result.report.page import (
    Page,
    drawing,
    filled,
)
from toolkit.result.run import TUNED, Point, Run, curve
from toolkit.result.stats import Evaluation
from toolkit.result.units import Member


def draw(
    folder: Path,
    run: Run,
    points: Sequence[Point],
    evaluation: Evaluation,
    compared: Sequence[Control] = (),
    say: Language = ENGLISH,
    online: Online | None = None,
) -> Path:
    """Commit a run's page and its figures (PDF, SVG, PNG) to its folder; return the page. Raises DiskFullError."""
    return page(
        run, points, evaluation, compared, say, online or online_file.read(folder), columns_file.read(folder),
        units_file.read(folder) or (),
    ).write(folder)  # fmt: skip


def redraw(
    folder: Path,
    run: Run,
    say: Language = ENGLISH,
    compared: Sequence[Control] | None = None,
    online: Online | None = None,
) -> Path:
    """`draw`, with what is kept next to the run, or is to be. Raises StoreError for what is damaged there,
    DiskFullError.
    """
    shown = controls.read(folder) if compared is None else compared
    return draw(folder, run, curve(run), stats.evaluate(run.predictions), shown, say, online)


def page(
    run: Run,
    points: Sequence[Point],
    evaluation: Evaluation,
    compared: Sequence[Control] = (),
    say: Language = ENGLISH,
    online: Online | None = None,
    columns: Columns | None = None,
    members: Sequence[Member] = (),
) -> Page:
    """The page. points: `toolkit.result.run.curve` of the run; evaluation: of its chosen predictions.

    compared: other runs to show it with, controls and nuisances. online: what was kept of more and more callers.
    columns: of features that have names. members: the clips of a run's units.
    """
    of_clips, say = say, narrative.words(run, say)
    alone = [one for one in compared if one.kind == "alone"]
    split = [one for one in compared if one.kind == "split"]
    controls = [one for one in compared if one.kind not in ("nuisance", "alone")]
    nuisances = [one for one in compared if one.kind == "nuisance"]
    specs = run_charts.specs(run, points, evaluation, say, compared, online)
    notes = [say(note) for one in compared for note in one.notes]
    return filled(
        "report.html",
        specs,
        {
            "title": narrative.run_title(run, say),
            "answer": narrative.answer(run, evaluation, say),
            "terms": narrative.terms(run, say),
            "cautions": [
                *narrative.cautions(run, evaluation, say),
                *(narrative.control(run, one, say) for one in split),
            ],
            "cards": _cards(run, evaluation, say),
            "protocol": narrative.protocol(run, evaluation, say),
            "figures": _figures(run, points, evaluation, specs, say),
            "alone": [narrative.control(run, one, say) for one in alone],
            "alone_table": run_tables.alone(run, alone, say),
            "columns": run_tables.columns(columns, say),
            "columns_text": say(f"report.columns_text_{columns.probe}") if columns else "",
            "units": run_units.carried(run, members, of_clips),
            "controls": [narrative.control(run, one, say) for one in controls],
            "controls_table": run_tables.controls(run, points, controls, say),
            "nuisances": [narrative.control(run, one, say) for one in nuisances],
            "nuisances_table": run_tables.nuisances(run, points, nuisances, say),
            "control_notes": list(dict.fromkeys(notes)),
            "may_be_best": narrative.may_be_best(points, say),
            "layers": run_tables.layers(run, points, say),
            "choices": run_tables.choices(run, say),
            "labels": run_tables.labels(run, evaluation, say),
            "confusion": None if run.task.regression else run_tables.confusion(run, say),
            "errors": number_charts.error_tables(run, say) if run.task.regression or run.task.ordinal else [],
            "scatters": number_charts.names("scatter", run) if run.task.regression else [],
            "multilabel": run.task.multilabel,
            "scaled": run.task.regression or run.task.ordinal,
            "screening": run_tables.detectors(run, say),
            "online": _online(run, online, say),
            "metrics": run_tables.every_metric(run, evaluation, say),
            "left_out": run_tables.left_out(run, say),
            "left_out_summary": say("report.left_out_summary", clips=say.counted(len(run.left_out), "clip")),
            "provenance": run_tables.provenance(run, say),
        },
        say,
    )


def _cards(run: Run, evaluation: Evaluation, say: Language) -> list[dict[str, str]]:
    chance, how = kinds.chance(run.predictions, say)
    names = (run.metric, "exact_match" if run.task.multilabel else "accuracy", "f1_weighted", "roc_auc")
    if run.task.ordinal:
        names = (run.metric, "macro_absolute_error", "accuracy_within_one", "accuracy")
    elif run.task.regression:
        names = (run.metric, "pearson", "mean_absolute_error", "r_squared")
    cards = []
    for metric in (name for name in names if name in evaluation.overall):
        score = evaluation.overall[metric]
        detail = say("common.no_interval")
        if score.lower is not None:
            detail = say("common.bounds", lower=say.figure(score.lower), upper=say.figure(score.upper))
        cards.append({"name": metrics.title(metric, say), "value": say.figure(score.estimate), "detail": detail})
    return [*cards, {"name": say("chance.card"), "value": say.figure(chance), "detail": how}]


def _figures(
    run: Run, points: Sequence[Point], evaluation: Evaluation, stills: Mapping[str, Any], say: Language
) -> dict[str, dict[str, str]]:
    kind = "multilabel" if run.task.multilabel else "single"
    best = max(points, key=lambda point: point.test.estimate or 0.0)
    fields = {
        "metric": narrative.metric_name(run, say),
        "value": say(f"metric.{label_metric(run.task)}"),
        "what": say("report.what_tuned" if run.tuned else "report.what_probe", probe=run.probe.removeprefix(TUNED)),
        "unit": narrative.unit(run.predictions, say),
        "best": f"{best.layer}, {say.figure(best.test)}",
    }
    found = {}
    for name, spec in stills.items():
        number = {"layers": len(points), "weights": len(run.weights)}.get(name, len(run.task.labels))
        part, _, target = name.partition("-")
        spoken, caption, more = f"report.spoken_{part}", f"report.figure_{part}", {}
        if part == "scatter" and (clips := len(number_charts.pairs(run, int(target or 1) - 1)[0])) > MOST_DRAWN:
            caption, more = f"{caption}_some", {"drawn": MOST_DRAWN, "all": clips}
        if name == "callers":
            spoken, caption = "online.spoken", "online.caption"
        elif name == "confusion":
            caption = f"{caption}_{kind}"
        spoken = say(spoken, number=number, **fields)
        found[name] = drawing(name, spec, spoken, say(caption, **fields, **more))
    return found


def _online(run: Run, online: Online | None, say: Language) -> dict[str, Any]:
    """What the template shows of more and more callers; nothing where nothing was kept."""
    if online is None:
        return {}
    unit, noun = narrative.unit(run.predictions, say), say.name("noun", run.predictions.group)
    metric = narrative.metric_name(run, say)
    return {
        "heading": say("online.heading", unit=unit),
        "sentence": run_online.sentence(run, online, say),
        "text": say("online.text", unit=unit, noun=noun),
        "table": run_online.code_table(online, say),
        "caption": say("online.table", metric=metric, unit=unit),
    }
