"""Backbones x probes on one question: a table, the curves on one axis, paired differences; for terminal and page."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table as TerminalTable
from rich.text import Text

from toolkit.errors import InputError, ToolkitError
from toolkit.result import metrics, stats, words
from toolkit.result.run import FIGURES, REPORT, Run
from toolkit.result.stats import Score, decimal
from toolkit.runs import commit_text, make_folder, signature

TABLE, CURVES = "overview.csv", "curves.csv"
DIFFERENCE = ("difference_to_best", "difference_lower", "difference_upper", "p_value_holm")
COLUMNS = ("backbone", "probe", "layers_chosen", "metric", "score", "lower", "upper", "development", *DIFFERENCE,
           "clips", "folder")  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A finished run under the name of its backbone (of its store, where a backbone has several). folder: the run's."""

    name: str
    folder: Path
    run: Run


@dataclass(frozen=True)
class Line:
    """One backbone and probe.

    score: of the layers chosen on development; layers: which, in how many rounds; development: mean over the rounds.
    behind: this one minus the best on development, on the same resamples, and p_value its Holm-corrected p-value; None
    for that best one itself and where other clips were tested.
    """

    entry: Entry
    score: Score
    layers: str
    development: float | None
    behind: Score | None
    p_value: float | None


def lines(entries: Sequence[Entry]) -> list[Line]:
    """Compare runs of one question, in the order given. Raises ToolkitError for runs of different questions."""
    if len({(entry.run.task, entry.run.metric) for entry in entries}) != 1:
        raise ToolkitError("An overview needs runs of one task")
    developments = [_development(entry.run) for entry in entries]
    best = int(np.argmax([-1.0 if value is None else value for value in developments]))
    paired: list[stats.Difference | None] = []
    for number, entry in enumerate(entries):
        try:
            other = stats.difference(entry.run.predictions, entries[best].run.predictions, entry.run.metric)
            paired.append(other if number != best else None)
        except InputError:  # other clips failed in this store's extraction
            paired.append(None)
    raw = [known.p_value for known in paired if known is not None and known.p_value is not None]
    corrected = iter(stats.holm(raw))
    found = []
    for entry, development, known in zip(entries, developments, paired):
        (score,) = stats.headline_scores([entry.run.predictions])
        p_value = next(corrected) if known is not None and known.p_value is not None else None
        behind = None if known is None else known.score
        found.append(Line(entry, score, _layers(entry.run), development, behind, p_value))
    return found


def _development(run: Run) -> float | None:
    values = [choice.development for choice in run.choices if choice.development is not None]
    return float(np.mean(values)) if values else None


def _layers(run: Run) -> str:
    rounds = Counter(choice.layer for choice in run.choices)
    return ", ".join(f"{layer} ({number})" for layer, number in rounds.most_common())


def terminal(found: Sequence[Line]) -> TerminalTable:
    """Backbones down, probes across; in each cell the score of the layers chosen on development."""
    probes = list(dict.fromkeys(line.entry.run.probe for line in found))
    table = TerminalTable(box=None, header_style="bold", pad_edge=False)
    table.add_column(f"{words.metric_name(found[0].entry.run)}, 95 %")
    for probe in probes:
        table.add_column(probe, justify="right", no_wrap=True)
    for name in dict.fromkeys(line.entry.name for line in found):
        cells = {line.entry.run.probe: str(line.score) for line in found if line.entry.name == name}
        table.add_row(Text(name), *(cells.get(probe, "") for probe in probes))
    return table


def write(result: Path, found: Sequence[Line]) -> Path:
    """Commit table, curves, figure and page to result/TASK-overview-SIG12/, and return that folder.

    The same runs share a folder. Raises DiskFullError.
    """
    from toolkit.result import figures, overview_page

    task = found[0].entry.run.task
    sha256 = signature({"runs": [line.entry.folder.name for line in found]})
    folder = make_folder(result / f"{task.name}-overview-{sha256[:12]}")
    commit_text(folder / TABLE, _table_csv(found))
    commit_text(folder / CURVES, _curves_csv(found))
    spec = overview_page.spec(found, figures.LIGHT, figures.WIDTH)
    figures.write_specs(make_folder(folder / FIGURES), {"backbones": spec})
    commit_text(folder / REPORT, overview_page.page(found))
    return folder


def depths(run: Run) -> list[float]:
    """Each layer's place from 0 (what enters the first) to 1 (the last), in the order of the run."""
    last = max(1, len(run.layers) - 1)
    return [number / last for number in range(len(run.layers))]


def _table_csv(found: Sequence[Line]) -> str:
    rows: list[Sequence[object]] = [COLUMNS]
    for line in found:
        run, missing = line.entry.run, Score(None, None, None)
        figures = [*_cells(line.score), _cell(line.development), *_cells(line.behind or missing), _cell(line.p_value)]
        clips, folder = len(run.predictions.ids), line.entry.folder.name
        rows.append([line.entry.name, run.probe, line.layers, run.metric, *figures, clips, folder])
    return _csv(rows)


def _curves_csv(found: Sequence[Line]) -> str:
    rows: list[Sequence[object]] = [["backbone", "probe", "layer", "depth", "score", "lower", "upper"]]
    for line in found:
        run = line.entry.run
        scores = stats.headline_scores(list(run.layers.values()))
        for layer, depth, score in zip(run.layers, depths(run), scores):
            rows.append([line.entry.name, run.probe, layer, f"{depth:.4f}", *_cells(score)])
    return _csv(rows)


def _cells(score: Score) -> list[str]:
    return [_cell(value) for value in (score.estimate, score.lower, score.upper)]


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def answer(found: Sequence[Line]) -> str:
    """The sentence that stands first: who is best by development, and what it scores."""
    best = max(found, key=lambda line: -1.0 if line.development is None else line.development)
    run = best.entry.run
    chance, _ = metrics.chance(run.predictions)
    return (
        f"Of {words.counted(len(found), 'run')} {best.entry.name} with the {run.probe} probe is best on development; "
        f"its {words.metric_name(run)} on {words.unheard(run)} is {best.score}, chance is {decimal(chance)}."
    )
