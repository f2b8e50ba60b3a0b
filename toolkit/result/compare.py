"""Frozen against fine-tuned on the same folds: scores, paired differences with intervals, and what each cost."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table as TerminalTable
from rich.text import Text

from toolkit.errors import InputError, ToolkitError
from toolkit.result import beside, figures, stats, words
from toolkit.result import run as result_run
from toolkit.result.metrics import METRICS, RANKED, title
from toolkit.result.predictions import FORMULA
from toolkit.result.run import TUNED, Run
from toolkit.result.stats import Difference, Score, decimal
from toolkit.runs import commit_text, make_folder, signature

TABLE, LATEX, PAGE = "compare.csv", "compare.tex", "compare.html"
SHOWN = ("unweighted_average_recall", "f1_macro", "f1_weighted", "accuracy", "exact_match", "roc_auc")
LATEX_SIGNS = {"\\": r"\textbackslash{}", **{sign: f"\\{sign}" for sign in "&%$#_{}"},
               "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One run. folder: its name. layers: what the rounds ended at or chose, in how many rounds.

    scores: every metric by name. development: mean over the rounds. behind: this run minus the best frozen probe in
    the headline metric, on the same resamples, and p_value corrected by Holm for all of them; None for that probe
    itself and where other clips were tested, which `why` then says.
    parameters, seconds, memory (bytes): what training took, None where the run did not record it.
    """

    folder: str
    run: Run
    layers: str
    scores: Mapping[str, Score]
    development: float | None
    behind: Score | None
    p_value: float | None
    why: str = ""

    @property
    def way(self) -> str:
        return f"fine-tuned, {self.run.probe.removeprefix(TUNED)}" if self.run.tuned else f"{self.run.probe} probe"

    @property
    def score(self) -> Score:
        return self.scores[self.run.metric]

    def cost(self, name: str) -> float | None:
        """ "trained_parameters", "seconds" or "peak_memory_bytes"."""
        value = self.run.provenance.get(name)
        return float(value) if isinstance(value, int | float) else None


@dataclass(frozen=True)
class Comparison:
    """Runs of one task on the same folds, the best first by development within frozen and fine-tuned.

    frozen, tuned: the best of each on development, None where there is none.
    """

    lines: tuple[Line, ...]
    frozen: Line | None
    tuned: Line | None

    @property
    def run(self) -> Run:
        return self.lines[0].run


def key(run: Run) -> tuple[Any, ...]:
    """What two runs must share: the task, and the folds before any clip was left out."""
    folds = run.provenance.get("folds", run.folds.sha256)
    return (run.task, run.metric, folds)


def gather(result: Path, named: Sequence[Path]) -> tuple[list[dict[str, Run]], list[str]]:
    """Runs by folder name, grouped by what can be compared; and a sentence for each that is left out.

    named: folders; empty for every finished run in `result` but the controls. Raises InputError for named runs that do
    not belong together, StoreError for a damaged one.
    """
    folders = list(named) or sorted(path.parent for path in result.glob(f"*/{result_run.RUN}"))
    runs = {folder.name: result_run.read(folder) for folder in folders}
    if not runs:
        raise InputError("No finished run to compare; `toolkit probe` and `toolkit finetune` make them")
    groups: dict[tuple[Any, ...], dict[str, Run]] = {}
    if named:
        (first, run), *others = runs.items()
        for name, other in others:
            if other.task != run.task:
                raise InputError(f"{name} is of the task {other.task.name!r}, {first} of {run.task.name!r}")
            if key(other) != key(run):
                raise InputError(f"{name} was made on other folds than {first}; runs are compared on the same ones")
        return [runs], []
    controls = {one.folder for folder in folders for one in beside.read(folder) if one.kind in ("shuffled", "random")}
    left_out = []
    for name, run in runs.items():
        if name in controls:
            left_out.append(f"{name} is a control")
        else:
            groups.setdefault(key(run), {})[name] = run
    alone = [group for group in groups.values() if len(group) == 1]
    left_out += [f"{name} is the only run of its task on its folds" for group in alone for name in group]
    return [group for group in groups.values() if len(group) > 1], left_out


def compare(runs: Mapping[str, Run]) -> Comparison:
    """Compare runs of one group of `gather`. Raises ToolkitError for others."""
    if len({key(run) for run in runs.values()}) != 1:
        raise ToolkitError("A comparison needs runs of one task on the same folds")
    ordered = sorted(runs.items(), key=lambda pair: (pair[1].tuned, -_development(pair[1])))
    frozen = next((run for _, run in ordered if not run.tuned), None)
    paired: dict[str, Difference | str] = {}
    for name, run in ordered:
        if frozen is not None and run is not frozen:
            try:
                paired[name] = stats.difference(run.predictions, frozen.predictions, run.metric)
            except InputError as error:
                paired[name] = str(error)
    known = {n: d.p_value for n, d in paired.items() if isinstance(d, Difference) and d.p_value is not None}
    corrected = dict(zip(known, stats.holm(list(known.values()))))
    lines = []
    for name, run in ordered:
        pair = paired.get(name)
        behind = pair.score if isinstance(pair, Difference) else None
        own = _development(run)
        lines.append(
            Line(name, run, _layers(run), stats.evaluate(run.predictions).overall, own if own >= 0 else None, behind,
                 corrected.get(name), pair if isinstance(pair, str) else "")
        )  # fmt: skip
    best = next((line for line in lines if line.run is frozen), None)
    return Comparison(tuple(lines), best, next((line for line in lines if line.run.tuned), None))


def _development(run: Run) -> float:
    values = [choice.development for choice in run.choices if choice.development is not None]
    return float(np.mean(values)) if values else -1.0


def _layers(run: Run) -> str:
    names = [str(choice.setting.get("layer", choice.layer)) for choice in run.choices]
    return ", ".join(f"{layer} ({names.count(layer)})" for layer in sorted(set(names), key=lambda n: -names.count(n)))


def answer(comparison: Comparison) -> str:
    """The sentence that stands first. Both runs were picked by their development scores, not by what is told here."""
    frozen, tuned = comparison.frozen, comparison.tuned
    if frozen is None or tuned is None:
        there, missing = ("fine-tuned", "frozen") if frozen is None else ("frozen", "fine-tuned")
        return f"Only {there} runs are here; with a {missing} one on the same folds this page answers which is better."
    metric = words.metric_name(comparison.run)
    versus = f"the {frozen.way} of {frozen.run.backbone}"
    what = f"Fine-tuning {tuned.run.backbone} ({tuned.run.probe.removeprefix(TUNED)})"
    if tuned.behind is None or tuned.behind.estimate is None:
        return f"{what} and {versus} cannot be paired: {tuned.why or 'the ' + metric + ' is undefined'}."
    points = f"{100 * abs(tuned.behind.estimate):.1f} points of {metric}"
    verb = "gains" if tuned.behind.estimate >= 0 else "loses"
    told = f"{what} {verb} {points} {'over' if verb == 'gains' else 'against'} {versus}"
    if tuned.behind.lower is None or tuned.behind.upper is None:
        return f"{told}; there is no interval.{_price(tuned, frozen)}"
    low, high = 100 * tuned.behind.lower, 100 * tuned.behind.upper
    told = f"{told} [{low:+.1f}, {high:+.1f}]"
    if low <= 0 <= high:
        told += ": no difference is shown"
    return f"{told}.{_price(tuned, frozen)}"


def _price(tuned: Line, frozen: Line) -> str:
    seconds, before = tuned.cost("seconds"), frozen.cost("seconds")
    if seconds is None:
        return ""
    times = f", {seconds / before:,.0f} times as long as the probe" if before else ""
    return f" Training took {seconds:,.0f} s{times}."


def metrics_shown(comparison: Comparison) -> list[str]:
    """The metrics of the table, the headline first."""
    run = comparison.run
    names = [name for name in SHOWN if name in RANKED or run.task.kind in METRICS[name].kinds]
    return sorted(names, key=lambda name: name != run.metric)


def terminal(comparison: Comparison) -> TerminalTable:
    """A row a run: headline and differences; the CSV has every metric."""
    table = TerminalTable(box=None, header_style="bold", pad_edge=False)
    metric = title(comparison.run.metric)
    for name in ("backbone", "way", "up to layer (rounds)"):
        table.add_column(name, overflow="fold")
    for name in (f"{metric}, 95 %", "minus best probe", "p, Holm", "trained", "s", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in comparison.lines:
        behind = "best probe" if line is comparison.frozen else "" if line.behind is None else str(line.behind)
        table.add_row(
            Text(line.run.backbone), Text(line.way), Text(line.layers), str(line.score), behind, p_text(line),
            *costs(line), style="bold" if line in (comparison.frozen, comparison.tuned) else None,
        )  # fmt: skip
    return table


def p_text(line: Line) -> str:
    return "" if line.p_value is None else f"{line.p_value:.4f}"


def costs(line: Line) -> tuple[str, str, str]:
    """Trained parameters, seconds and peak memory, as a reader wants them."""
    parameters, seconds, memory = map(line.cost, ("trained_parameters", "seconds", "peak_memory_bytes"))
    return (
        "" if parameters is None else f"{parameters:,.0f}",
        "" if seconds is None else f"{seconds:,.0f}",
        "" if memory is None else f"{memory / 1e9:.1f} GB",
    )


def write(result: Path, comparison: Comparison) -> Path:
    """Commit table, LaTeX, figure and page to result/TASK-compare-SIG12/, and return that folder.

    The same runs share a folder. Raises DiskFullError.
    """
    from toolkit.result import compare_page

    sha256 = signature({"runs": sorted(line.folder for line in comparison.lines)})
    folder = make_folder(result / f"{comparison.run.task.name}-compare-{sha256[:12]}")
    commit_text(folder / TABLE, to_csv(comparison))
    commit_text(folder / LATEX, to_latex(comparison))
    spec = compare_page.spec(comparison, figures.LIGHT, figures.WIDTH)
    figures.write_specs(make_folder(folder / result_run.FIGURES), {"dumbbell": spec})
    commit_text(folder / PAGE, compare_page.page(comparison))
    return folder


def to_csv(comparison: Comparison) -> str:
    """Every metric with its interval, the difference, and the costs; a row a run."""
    names = list(comparison.lines[0].scores)
    head = ["backbone", "way", "layers", "development", "difference", "difference_lower", "difference_upper",
            "p_value_holm", "trained_parameters", "seconds", "peak_memory_bytes", "clips", "folder"]  # fmt: skip
    head += [f"{name}{part}" for name in names for part in ("", "_lower", "_upper")]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for line in comparison.lines:
        numbers = [line.development, *_parts(line.behind), line.p_value]
        numbers += [line.cost(name) for name in ("trained_parameters", "seconds", "peak_memory_bytes")]
        scores = [value for name in names for value in _parts(line.scores[name])]
        texts = [line.run.backbone, line.way, line.layers]
        clips, folder = str(len(line.run.predictions.ids)), line.folder
        writer.writerow([*map(_inert, texts), *map(_number, numbers), clips, _inert(folder), *map(_number, scores)])
    return text.getvalue()


def to_latex(comparison: Comparison) -> str:
    """A tabular of the shown metrics, for a paper; it needs no package."""
    names = metrics_shown(comparison)
    heads = ["backbone", "", "layers", *(title(name) for name in names), "difference", "$p$", "parameters", "s"]
    rows = [[_escaped(head) if head != "$p$" else head for head in heads]]
    for line in comparison.lines:
        behind = "" if line.behind is None else _interval(line.behind, signed=True)
        parameters, seconds, _ = costs(line)
        scores = [_interval(line.scores[name]) for name in names]
        texts = [_escaped(cell) for cell in (line.run.backbone, line.way, line.layers)]
        rows.append([*texts, *scores, behind, p_text(line), parameters, seconds])
    body = [" & ".join(row) + r" \\" for row in rows]
    columns = "lll" + "r" * (len(heads) - 3)
    lines = [f"\\begin{{tabular}}{{{columns}}}", r"\hline", body[0], r"\hline", *body[1:], r"\hline", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _interval(score: Score, signed: bool = False) -> str:
    if score.estimate is None:
        return "--"
    sign = "+" if signed else ""
    if score.lower is None or score.upper is None:
        return f"${score.estimate:{sign}.3f}$"
    return f"${score.estimate:{sign}.3f}$ [${score.lower:{sign}.3f}$, ${score.upper:{sign}.3f}$]"


def _escaped(text: str) -> str:
    return "".join(LATEX_SIGNS.get(sign, sign) for sign in text)


def _inert(cell: str) -> str:
    """A cell that no spreadsheet runs."""
    return "'" + cell if FORMULA.match(cell) else cell


def _parts(score: Score | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if score is None else (score.estimate, score.lower, score.upper)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"


def told(line: Line) -> str:
    """For a tooltip: the score, and the difference where there is one."""
    return f"{line.score}" + ("" if line.behind is None else f"; minus the best probe {decimal(line.behind.estimate)}")
