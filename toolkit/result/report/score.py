"""`toolkit score FILE.csv`: every metric of any predictions file, ours or the paper's two-column form."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from toolkit.core.errors import PredictionsError
from toolkit.core.i18n import ENGLISH
from toolkit.corpus.labels import Task
from toolkit.corpus.numerals import NUMBER
from toolkit.corpus.spellings import REFUSE, Rules
from toolkit.result import stats
from toolkit.result.contradiction import check_probabilities
from toolkit.result.cut import cut
from toolkit.result.predictions import Predictions
from toolkit.result.predictions_reader import read_csv
from toolkit.result.report import terminal
from toolkit.result.stats import Evaluation


@dataclass(frozen=True)
class Scored:
    """A predictions file and every metric of it."""

    predictions: Predictions
    evaluation: Evaluation
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        task = self.predictions.task
        notes = {"notes": list(self.notes)} if self.notes else {}
        return {"task": {"kind": task.kind, "labels": list(task.labels)}, **notes, **self.evaluation.to_json()}

    def renderable(self) -> RenderableType:
        """For the terminal: what was read, the metrics, the labels, and what to mind."""
        task, evaluation = self.predictions.task, self.evaluation
        who = ENGLISH.counted(evaluation.clips, "clip")
        who += "" if evaluation.unit == "clips" else f" of {ENGLISH.counted(evaluation.units, self.predictions.group)}"
        what = {"ordinal": "levels", "regression": "targets"}.get(task.kind, "labels")
        read = Text(f"{who}; {task.kind}, {len(task.labels)} {what}; 95 % intervals over {evaluation.unit}")
        cautions = [*self.notes, *([evaluation.caution] if evaluation.caution else [])]
        notes = [Text(f"note: {caution}", style="yellow") for caution in cautions]
        if task.regression:
            pass  # nothing that it has asks for probabilities
        elif not self.predictions.has_probability:
            notes.append(Text("note: no probabilities, so ROC-AUC and average precision are missing", style="yellow"))
        elif self.predictions.score is None and len(set(self.predictions.fold.tolist())) > 1:
            notes.append(
                Text(
                    "note: no score:LABEL columns, so ROC-AUC and average precision rank probabilities of different "
                    "folds' models against each other; see the means of folds",
                    style="yellow",
                )
            )
        blank = Text("")
        return Group(read, blank, terminal.every_metric(evaluation), blank, terminal.per_label(evaluation), *notes)


def score_file(path: Path, task: Task | None = None, rules: Rules = REFUSE) -> Scored:
    """Read and score a file. task: gives the labels; without it they come from the file.

    rules: for two spellings of one label or group, for what names nothing, and for what scales are.
    Raises PredictionsError; LabelError or SplitError by the rules.
    """
    notes: list[str] = []
    predictions = read_csv(path, task, rules, notes.append)
    check_probabilities(path.name, predictions)
    found = predictions.task
    if rules.kind == "auto" and found.kind == "multiclass" and all(map(NUMBER.fullmatch, found.labels)):
        raise PredictionsError(
            f"{path.name} holds {len(found.labels)} different numbers, {found.labels[0]} to {found.labels[-1]}: as "
            "classes their order is lost. Say --kind regression, --kind ordinal, or --kind classes"
        )
    if rules.threshold is not None:
        predictions = cut(predictions, rules.threshold)
    return Scored(predictions, stats.evaluate(predictions), tuple(notes))
