"""The report.html of a comparison: the answer first, then what it rests on, each figure with its table."""

from collections.abc import Mapping
from typing import Any

from toolkit.core.i18n import ENGLISH, Language
from toolkit.result.compare import Comparison, Line
from toolkit.result.report import compare_charts, compare_narrative, narrative
from toolkit.result.report.charts import Spec
from toolkit.result.report.compare_tables import Tables
from toolkit.result.report.label_charts import label_metric
from toolkit.result.report.page import Page, drawing, filled


def page(comparison: Comparison, say: Language = ENGLISH) -> Page:
    """The page."""
    run, say = comparison.run, narrative.words(comparison.run, say)
    specs = compare_charts.specs(comparison, say)
    fields = {
        "metric": narrative.metric_name(run, say),
        "value": say(f"metric.{label_metric(run.task)}"),
        "number": len(run.task.labels),
        "unit": narrative.unit(run.predictions, say),
        "group": say.name("noun", run.predictions.group),
        "groups": say.counted(len(set(run.predictions.groups)), run.predictions.group),
        "runs": say.counted(len(comparison.lines), "run"),
    }
    only = "_frozen" if comparison.probes_alone else ""
    best: dict[str, Line] = {line.kind: line for line in comparison.best}
    first, *more = compare_narrative.sentences(comparison, say)
    names = {kind: compare_narrative.name(line, comparison, say) for kind, line in best.items()}
    return filled(
        "compare.html",
        specs,
        {
            **fields,
            "scores": say(f"compare.dumbbell{only}"),
            "title": say(f"compare.title{only}", task=run.task.name),
            "answer": first,
            "terms": narrative.terms(run, say),
            "protocol": say("common.sentences").join(
                [
                    *more,
                    say(f"compare.protocol{only}", line=narrative.protocol_line(run, say)),
                ]
            ),
            "cautions": compare_narrative.cautions(comparison, say),
            "figures": {name: _drawing(comparison, name, spec, fields, names, say) for name, spec in specs.items()},
            "tables": Tables(comparison, say),
            "best": [(kind, names[kind], line) for kind, line in best.items()],
            "columns": list(comparison.columns),
            "multilabel": run.task.multilabel,
            "regression": run.task.regression,
        },
        say,
    )


def _drawing(
    comparison: Comparison, name: str, spec: Spec, fields: Mapping[str, Any], names: Mapping[str, str], say: Language
) -> dict[str, str]:
    """A figure with its caption and with what is read aloud for it."""
    part, _, which = name.partition("-")
    only = "_frozen" if part == "dumbbell" and comparison.probes_alone else ""
    spoken, caption, more = f"compare.{part}_spoken{only}", f"compare.{part}_caption{only}", {}
    if part == "gaps":
        spoken, caption, more = "gaps.spoken", "gaps.caption", {"column": list(comparison.columns)[int(which) - 1]}
    elif part == "confusion":
        kind = "multilabel" if comparison.run.task.multilabel else "single"
        caption, more = f"report.figure_confusion_{kind}", {"way": names[which]}
    return drawing(name, spec, say(spoken, **fields, **more), say(caption, **fields, **more))
