"""Backbones x probes on one question: a table, the curves on one axis, paired differences; for terminal and page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from rich.table import Table as TerminalTable
from rich.text import Text

from toolkit.core.errors import ToolkitError
from toolkit.core.i18n import ENGLISH, Language
from toolkit.result import kinds, paired, stats
from toolkit.result.jackknife import Score
from toolkit.result.predictions import Predictions
from toolkit.result.report import narrative
from toolkit.result.run import Run, layers_chosen


@dataclass(frozen=True)
class Entry:
    """A finished run under the name of its backbone (of its store, where a backbone has several). folder: the run's.

    others: of its series, runs of other training seeds and deals of the folds, by folder name.
    """

    name: str
    folder: Path
    run: Run
    others: Mapping[str, Run] = field(default_factory=dict)

    @property
    def runs(self) -> list[Run]:
        """All of the series."""
        return [self.run, *self.others.values()]

    @property
    def predictions(self) -> list[Predictions]:
        """Of the layers chosen on development, of each run."""
        return [run.predictions for run in self.runs]

    @property
    def development(self) -> float | None:
        """The mean over rounds and runs; None where none is defined."""
        known = [run.development_mean for run in self.runs if run.development_mean is not None]
        return float(np.mean(known)) if known else None


@dataclass(frozen=True)
class Line:
    """One backbone and probe.

    score: of the layers chosen on development; layers: which, in how many rounds; development: mean over the rounds.
    All are means over the runs of a series.
    behind: this one minus the best on development, on the same resamples, and p_value its Holm-corrected p-value; None
    for that best one itself and where other clips were tested.
    """

    entry: Entry
    score: Score
    layers: str
    development: float | None
    behind: Score | None
    p_value: float | None

    @cached_property
    def curve(self) -> dict[str, Score]:
        """Each layer's own score."""
        runs = self.entry.runs
        return {layer: stats.headline_score(*(one.layers[layer] for one in runs)) for layer in self.entry.run.layers}


def lines(entries: Sequence[Entry]) -> list[Line]:
    """Compare runs of one question, in the order given. Raises ToolkitError for runs of different questions."""
    if len({(entry.run.task, entry.run.metric) for entry in entries}) != 1:
        raise ToolkitError("An overview needs runs of one task")
    developments = [entry.development for entry in entries]
    best = int(np.argmax([-1.0 if value is None else value for value in developments]))
    several = [entry.predictions for entry in entries]
    compared = paired.against(best, several, entries[best].run.metric)
    return [
        Line(
            entry,
            stats.headline_score(*own),
            layers_chosen([choice for one in entry.runs for choice in one.choices]),
            development,
            one.difference.score,
            one.difference.p_value,
        )
        for entry, own, development, one in zip(entries, several, developments, compared)
    ]


def terminal(found: Sequence[Line]) -> TerminalTable:
    """Backbones down, probes across; in each cell the score of the layers chosen on development."""
    probes = list(dict.fromkeys(line.entry.run.probe for line in found))
    table = TerminalTable(box=None, header_style="bold", pad_edge=False)
    table.add_column(f"{narrative.metric_name(found[0].entry.run)}, 95 %")
    for probe in probes:
        table.add_column(probe, justify="right", no_wrap=True)
    for name in dict.fromkeys(line.entry.name for line in found):
        cells = {line.entry.run.probe: str(line.score) for line in found if line.entry.name == name}
        table.add_row(Text(name), *(cells.get(probe, "") for probe in probes))
    return table


def answer(found: Sequence[Line], say: Language = ENGLISH) -> str:
    """The sentence that stands first: who is best by development, and what it scores."""
    best = max(found, key=lambda line: -1.0 if line.development is None else line.development)
    run = best.entry.run
    chance, _ = kinds.chance(run.predictions)
    told = say(
        "overview.answer",
        runs=say.counted(len(found), "run"),
        model=narrative.model(run, best.entry.name, [one for run in best.entry.runs for one in run.choices], say),
        metric=narrative.metric_in_full(run, say),
        unseen=narrative.unseen(run, say),
        score=say.figure(best.score),
        chance=say.figure(chance),
    )
    runs = len(best.entry.runs)
    return told if runs == 1 else told + say("overview.series", runs=say.counted(runs, "run"))
