"""The tables of a comparison's page: every number of every figure, and those that no figure shows."""

from collections.abc import Sequence
from functools import partial

from toolkit.core.i18n import Language
from toolkit.result import metrics
from toolkit.result.compare import Comparison, Line
from toolkit.result.paired import p_text
from toolkit.result.report import compare_narrative, run_tables
from toolkit.result.report.label_charts import label_metric
from toolkit.result.report.page import Cell, Row, Table, count_cell, number_cell, score_cell, table

SHARES = {"minimum": 0.0, "tenth": 0.1, "quarter": 0.25, "median": 0.5, "three_quarters": 0.75, "ninetieth": 0.9,
          "maximum": 1.0}  # fmt: skip


def p_cell(p_value: float | None) -> Cell:
    """A p-value; where there is none it sorts behind all others."""
    return Cell(p_text(p_value), True, 2.0 if p_value is None else p_value)


class Tables:
    """Each method is a table of the page, in the page's language."""

    def __init__(self, comparison: Comparison, say: Language) -> None:
        self.comparison, self.say = comparison, say
        self.metric = metrics.title(comparison.run.metric, say)
        self.scored = partial(score_cell, say=say)

    def _names(self, line: Line) -> list[Cell]:
        return [Cell(line.run.backbone), Cell(compare_narrative.row(line, self.comparison, self.say))]

    def _heads(self, *keys: str) -> list[str]:
        return [self.say(f"column.{key}") for key in keys]

    def _row(self, line: Line, cells: Sequence[Cell]) -> Row:
        return Row([*self._names(line), *cells], chosen=line in self.comparison.best)

    def _of_metric(self) -> str:
        return self.say("common.interval", name=self.metric)

    def differences(self) -> Table:
        say = self.say
        heads = self._heads("backbone", "way", "runs", "layers_rounds", "development")
        rows = [
            self._row(
                line,
                [
                    Cell(compare_narrative.runs(line, say)),
                    Cell(line.layers_chosen),
                    number_cell(say.figure(line.development), line.development),
                    self.scored(line.score),
                    self.scored(line.difference.score),
                    p_cell(line.difference.p_value),
                    self.scored(line.difference.method),
                    p_cell(line.difference.method_p),
                    p_cell(line.difference.equal_p),
                ],
            )
            for line in self.comparison.lines
        ]
        more = self._heads("minus_probe", "p_holm", "as_methods", "p_holm", "p_equal")
        return table([*heads, self._of_metric(), *more], rows, texts=4)

    def costs(self) -> Table:
        keys = ("backbone", "way", "trained", "search_seconds", "extraction_seconds", "memory", "disk", "throughput")
        rows = [
            self._row(line, [number_cell(text, value) for text, value in compare_narrative.costs(line).values()])
            for line in self.comparison.lines
        ]
        return table(self._heads(*keys), rows, texts=2)

    def layers(self) -> Table:
        """Every layer of every frozen probe."""
        rows = [
            Row([*self._names(line), Cell(layer), self.scored(score)], chosen=layer in _chosen(line))
            for line in self.comparison.lines
            if line.kind == "frozen"
            for layer, score in line.curve.items()
        ]
        return table([*self._heads("backbone", "way", "layer"), self._of_metric()], rows, texts=3)

    def labels(self) -> Table:
        """A row a label, the best runs side by side."""
        best, task = self.comparison.best, self.comparison.run.task
        key, first = label_metric(task), self.comparison.run.predictions
        evaluation = self.comparison.best[0].evaluation
        rows = [
            Row(
                [
                    Cell(label),
                    count_cell(evaluation.support[label]),
                    number_cell(f"{evaluation.support[label] / len(first.ids):.3f}", evaluation.support[label]),
                    *(self.scored(line.evaluation.per_label[label][key]) for line in best),
                ]
            )
            for label in task.labels
        ]
        names = [compare_narrative.name(line, self.comparison, self.say) for line in best]
        return table([*self._heads("label", "clips", "prevalence"), *names], rows)

    def confusion(self, line: Line) -> Table:
        return run_tables.confusion(line.run, self.say)

    def errors(self) -> Table:
        """The calibration of every run that has probabilities."""
        rows = [
            self._row(
                line,
                [
                    self.scored(line.evaluation.overall["brier"]),
                    self.scored(line.evaluation.overall["log_loss"]),
                    self.scored(line.calibration.slope),
                    self.scored(line.calibration.intercept),
                    number_cell(self.say.figure(line.calibration.error), line.calibration.error),
                    number_cell(self.say.figure(line.calibration.noise), line.calibration.noise),
                ],
            )
            for line in self.comparison.lines
            if line.calibration is not None
        ]
        heads = [self.say(f"metric.{name}") for name in ("brier", "log_loss")]
        return table(
            [*self._heads("backbone", "way"), *heads, *self._heads("slope", "intercept", "ece", "ece_noise")],
            rows,
            texts=2,
        )

    def bins(self) -> Table:
        rows = [
            self._row(
                line,
                [
                    Cell(f"{one.low:.1f} – {one.high:.1f}"),
                    count_cell(one.count),
                    number_cell(self.say.figure(one.predicted), one.predicted),
                    self.scored(one.happened),
                ],
            )
            for line in self.comparison.best
            if line.calibration is not None
            for one in line.calibration.bins
        ]
        return table(self._heads("backbone", "way", "bin", "in_bin", "predicted_mean", "happened"), rows, texts=3)

    def spreads(self) -> Table:
        rows = []
        for line in self.comparison.lines:
            values = [line.spread.quantile(share) for share in SHARES.values()]
            rows.append(self._row(line, [number_cell(self.say.figure(value), value) for value in values]))
        return table(self._heads("backbone", "way", *SHARES), rows, texts=2)

    def gaps(self, column: str) -> Table:
        """A row a group and run; the gap is to all other clips."""
        rows = [
            Row(
                [
                    Cell(part.value or self.say("gaps.unknown")),
                    Cell(compare_narrative.name(line, self.comparison, self.say)),
                    count_cell(part.clips),
                    count_cell(part.callers),
                    self.scored(part.score),
                    self.scored(part.gap),
                    p_cell(part.p_value),
                ]
            )
            for line, parts in self.comparison.gaps[column]
            for part in parts
        ]
        unit = self.say.many(self.comparison.run.predictions.group)
        unit = unit[:1].upper() + unit[1:]
        heads = [column, *self._heads("way", "clips"), unit, self._of_metric(), *self._heads("gap", "p_holm")]
        return table(heads, rows, texts=2)

    def metrics(self) -> Table:
        names = self.comparison.metrics
        rows = [
            self._row(line, [self.scored(line.evaluation.overall[name]) for name in names])
            for line in self.comparison.lines
        ]
        return table(
            [*self._heads("backbone", "way"), *(metrics.title(name, self.say) for name in names)], rows, texts=2
        )

    def runs(self) -> Table:
        rows = [
            Row([*self._names(line), Cell(folder), Cell(str(run.provenance.get("command", "")))])
            for line in self.comparison.lines
            for folder, run in line.runs.items()
        ]
        return table(self._heads("backbone", "way", "folder", "command"), rows, texts=4)


def _chosen(line: Line) -> set[str]:
    return {choice.layer for choice in line.run.choices}
