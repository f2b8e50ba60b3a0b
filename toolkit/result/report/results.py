"""Finished runs in Python's hands: frames, charts, the page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from toolkit.core.errors import InputError
from toolkit.core.i18n import ENGLISH, of
from toolkit.result import controls, online, stats
from toolkit.result.report import narrative, overview
from toolkit.result.report.overview import Entry, Line
from toolkit.result.run import PREDICTIONS, REPORT, Point, Run, curve, read
from toolkit.result.stats import Evaluation

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd


@dataclass(frozen=True)
class RunResult:
    """One finished run.

    cached: it was there before it was asked for. beside: controls, nuisances and honest splits that were run with it.
    failed: the reason by id of clips that could not be decoded.
    """

    folder: Path
    run: Run
    cached: bool = True
    beside: tuple[controls.Beside, ...] = ()
    language: str = "en"
    failed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "RunResult":
        """Raises StoreError for a folder without a whole run."""
        return cls(folder, read(folder), True, tuple(controls.read(folder)))

    def drawn(self) -> Self:
        """Itself, with its page in its language; the English one was drawn when the run was written."""
        if of(self.language) is not ENGLISH:
            from toolkit.result.report import run_page  # which loads what draws

            run_page.redraw(self.folder, self.run, of(self.language))
        return self

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / of(self.language).file(REPORT)

    @cached_property
    def points(self) -> list[Point]:
        """The layer curve."""
        return curve(self.run)

    @cached_property
    def evaluation(self) -> Evaluation:
        """Every metric, of the layers chosen on development."""
        return stats.evaluate(self.run.predictions)

    def table(self) -> "pd.DataFrame":
        """A row a layer: test score with its 95 % interval, development score (optimistic), rounds that chose it."""
        import pandas as pd

        rows = [
            {
                "backbone": self.run.backbone,
                "probe": self.run.probe,
                "layer": point.layer,
                "metric": self.run.metric,
                "test": point.test.estimate,
                "lower": point.test.lower,
                "upper": point.test.upper,
                "development": point.development,
                "rounds": point.chosen,
                "may_be_best": point.may_be_best,
            }
            for point in self.points
        ]
        return pd.DataFrame(rows)

    def predictions(self) -> "pd.DataFrame":
        """A row a clip, as in predictions.csv: id, group, fold, truth, prediction, probability and score."""
        import pandas as pd

        names = {"id": str, self.run.predictions.group: str}
        found = pd.read_csv(self.folder / PREDICTIONS, dtype=names, na_filter=False)
        for column in (name for name in found.columns if name.startswith("score:")):  # a spreadsheet's guard before "-"
            found[column] = pd.to_numeric(found[column].astype(str).str.removeprefix("'"))
        return found

    def figure(self, name: str) -> "alt.Chart":
        """A chart of the page, by its file's name: "layers", "confusion" ... Raises InputError for another name."""
        from toolkit.result.report import charts, run_charts

        say, kept = of(self.language), online.read(self.folder)
        specs = run_charts.specs(self.run, self.points, self.evaluation, say, self.beside, kept)
        chart: alt.Chart = charts.figure(specs, name)
        return chart

    def to_json(self) -> dict[str, Any]:
        """What was found, in plain values: the curve, every metric, what each round chose."""
        run = self.run
        return {
            "name": self.name,
            "task": {"name": run.task.name, "kind": run.task.kind, "labels": list(run.task.labels)},
            "backbone": run.backbone,
            "probe": run.probe,
            "layers": json.loads(self.table().to_json(orient="records")),
            "rounds": [
                {"fold": one.fold, "layer": one.layer, "setting": dict(one.setting), "development": one.development}
                for one in run.choices
            ],
            **self.evaluation.to_json(),
            "notes": list(run.notes),
        }

    def _repr_html_(self) -> str:
        say = of(self.language)
        return f"<p>{escape(narrative.answer(self.run, self.evaluation, say))}</p>" + self.table().to_html(index=False)


@dataclass(frozen=True)
class RunResults:
    """What a stage made, in the order asked for; several runs are shown side by side.

    series: runs that differ in their training seed or the deal of their folds alone, under the name of their backbone.
    folder: of the page over several series; None for one.
    """

    series: tuple[tuple[str, tuple[RunResult, ...]], ...]
    lines: tuple[Line, ...] = ()
    folder: Path | None = None
    language: str = "en"

    @classmethod
    def of(
        cls, result: Path, series: Sequence[tuple[str, tuple[RunResult, ...]]], language: str = "en"
    ) -> "RunResults":
        """Several series get a page of their own in `result`."""
        if len(series) < 2:
            return cls(tuple(series), language=language)
        entries = [
            Entry(name, runs[0].folder, runs[0].run, {other.name: other.run for other in runs[1:]})
            for name, runs in series
        ]
        from toolkit.result.report import overview_files  # which loads what draws

        lines = overview.lines(entries)
        return cls(tuple(series), tuple(lines), overview_files.write(result, lines, of(language)), language)

    @property
    def runs(self) -> tuple[RunResult, ...]:
        return tuple(run for _, runs in self.series for run in runs)

    @property
    def cached(self) -> bool:
        """Whether all of it was there before."""
        return all(run.cached for run in self.runs)

    @property
    def report(self) -> Path:
        """The page of all runs."""
        return self.runs[0].report if self.folder is None else self.folder / of(self.language).file(REPORT)

    def table(self) -> "pd.DataFrame":
        """A row a layer of every run, as `RunResult.table`, behind the run's name where there are several."""
        import pandas as pd

        return pd.concat([run.table().assign(run=run.name) for run in self.runs], ignore_index=True)

    def predictions(self) -> "pd.DataFrame":
        """A row a clip of every run, as `RunResult.predictions`, with the run's name."""
        import pandas as pd

        return pd.concat([run.predictions().assign(run=run.name) for run in self.runs], ignore_index=True)

    def figure(self, name: str) -> "alt.Chart":
        """A chart of the only run's page. Raises InputError where there are several: ask one of `runs`."""
        if len(self.runs) > 1:
            raise InputError(f"{len(self.runs)} runs have a figure {name!r} each; ask one of .runs")
        return self.runs[0].figure(name)

    def to_json(self) -> dict[str, Any]:
        return {"runs": [run.to_json() for run in self.runs]}

    def _repr_html_(self) -> str:
        if len(self.runs) == 1:
            return self.runs[0]._repr_html_()
        return self.table().to_html(index=False)
