"""Finished runs in Python: frames, charts, the page."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from toolkit.core.errors import InputError
from toolkit.core.i18n import ENGLISH, of
from toolkit.result import online, stats
from toolkit.result.controls import Control
from toolkit.result.controls import read as read_controls
from toolkit.result.report import narrative
from toolkit.result.report.compare_stage import ComparisonResult
from toolkit.result.run import PREDICTIONS, REPORT, Point, Run, curve
from toolkit.result.run_files import read
from toolkit.result.safe_csv import read_table
from toolkit.result.stats import Evaluation

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd


@dataclass(frozen=True)
class RunResult:
    """One finished run.

    Attributes:
        folder: Holds all of it.
        run: Predictions of every layer, choices of every round, provenance.
        cached: Whether it existed already.
        controls: Controls, nuisances and speaker-disjoint splits that were run with it.
        language: Of the page and the figures, en or zh.
        failed: Clips that could not be decoded: the reason by id.
    """

    folder: Path
    run: Run
    cached: bool = True
    controls: tuple[Control, ...] = ()
    language: str = "en"
    failed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "RunResult":
        """Read a run back and verify it.

        Args:
            folder: Of the run, in result/.

        Raises:
            StoreError: The run is missing, unfinished or damaged.
        """
        return cls(folder, read(folder), True, tuple(read_controls(folder)))

    def drawn(self) -> Self:
        """Itself, with its page in its language.

        The English one was drawn when the run was written, and is anew whenever something is added; another language's
        is drawn where it is missing or older.
        """
        pages = (self.report, self.folder / REPORT)
        drawn, english = (page.stat().st_mtime_ns if page.is_file() else -1 for page in pages)
        if of(self.language) is not ENGLISH and drawn <= english:
            from toolkit.result.report import run_page  # which loads what draws

            run_page.redraw(self.folder, self.run, of(self.language))
        return self

    @property
    def name(self) -> str:
        """Of its folder in result/."""
        return self.folder.name

    @property
    def report(self) -> Path:
        """The page's file."""
        return self.folder / of(self.language).file(REPORT)

    @cached_property
    def points(self) -> list[Point]:
        """The layer curve, in the order of depth."""
        return curve(self.run)

    @cached_property
    def evaluation(self) -> Evaluation:
        """Every metric with its interval, of the layers chosen on development."""
        return stats.evaluate(self.run.predictions)

    def table(self) -> "pd.DataFrame":
        """The layer curve as a frame.

        Returns:
            A row a layer: backbone, probe, layer, metric, test (the score, 0 to 1) with lower and upper (its 95 %
            interval, missing for fewer than five speakers), development (optimistic), rounds (that chose it) and
            may_be_best (no other layer is shown to be ahead).
        """
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
        """The predictions as a frame, the columns those of predictions.csv.

        Returns:
            A row a clip: id, the group's column (speaker), fold, truth, prediction, and for each label its probability
            and its score.
        """
        import pandas as pd

        columns, rows = read_table(self.folder / PREDICTIONS)
        found = pd.DataFrame([cells for _, cells in rows], columns=columns)
        for column in columns:
            number = self.run.task.regression and column.partition(":")[0] in ("truth", "prediction")
            if number or column == "fold" or column.startswith(("probability:", "score:")):
                found[column] = pd.to_numeric(found[column])
        return found

    def figure(self, name: str) -> "alt.Chart":
        """A chart of the page.

        Args:
            name: Of its file: "layers", "confusion" ...; of a regression also "bland_altman".

        Raises:
            InputError: The page has no such chart; names those it has.
        """
        from toolkit.result.report import charts, run_charts

        say, kept = of(self.language), online.read(self.folder)
        specs = run_charts.specs(self.run, self.points, self.evaluation, say, self.controls, kept)
        if self.run.task.regression and name.startswith(run_charts.BLAND):  # only where somebody asks for it
            specs |= run_charts.bland_altman(self.run, say)
        chart: alt.Chart = charts.figure(specs, name)
        return chart

    def to_json(self) -> dict[str, Any]:
        """The curve, every metric and what each round chose, in values that JSON can hold."""
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
            "notes": list(map(str, run.notes)),
        }

    def _repr_html_(self) -> str:
        say = of(self.language)
        return f"<p>{escape(narrative.answer(self.run, self.evaluation, say))}</p>" + self.table().to_html(index=False)


@dataclass(frozen=True)
class RunResults:
    """The runs of a stage, in the order requested.

    Attributes:
        series: By the backbone's name, runs that differ only in their training seed or in how the folds were dealt.
        comparison: Of several series, with a page of its own; None for one.
        language: Of the page and the figures, en or zh.
    """

    series: tuple[tuple[str, tuple[RunResult, ...]], ...]
    comparison: ComparisonResult | None = None
    language: str = "en"

    @property
    def runs(self) -> tuple[RunResult, ...]:
        """All of them, series after series."""
        return tuple(run for _, runs in self.series for run in runs)

    @property
    def folders(self) -> tuple[Path, ...]:
        """Of the runs."""
        return tuple(run.folder for run in self.runs)

    @property
    def cached(self) -> bool:
        """Whether all of it was there before."""
        return all(run.cached for run in self.runs)

    @property
    def report(self) -> Path:
        """The page of all runs."""
        return self.runs[0].report if self.comparison is None else self.comparison.report

    def table(self) -> "pd.DataFrame":
        """The layer curves of all runs: the rows of `RunResult.table`, and the run's name in the column `run`."""
        import pandas as pd

        return pd.concat([run.table().assign(run=run.name) for run in self.runs], ignore_index=True)

    def predictions(self) -> "pd.DataFrame":
        """The rows of `RunResult.predictions` of all runs, and the run's name in the column `run`."""
        import pandas as pd

        return pd.concat([run.predictions().assign(run=run.name) for run in self.runs], ignore_index=True)

    def figure(self, name: str) -> "alt.Chart":
        """A chart of the only run's page.

        Args:
            name: As `RunResult.figure` takes it.

        Raises:
            InputError: There are several runs; ask one of `runs`.
        """
        if len(self.runs) > 1:
            raise InputError(f"{len(self.runs)} runs have a figure {name!r} each; ask one of .runs")
        return self.runs[0].figure(name)

    def to_json(self) -> dict[str, Any]:
        """`RunResult.to_json` of every run, in a list under "runs"."""
        return {"runs": [run.to_json() for run in self.runs]}

    def _repr_html_(self) -> str:
        if len(self.runs) == 1:
            return self.runs[0]._repr_html_()
        return self.table().to_html(index=False)
