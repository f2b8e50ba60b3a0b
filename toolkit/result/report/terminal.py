"""What the terminal shows of a run, or of a predictions file: the curve, the labels, the metrics."""

import statistics
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from toolkit.core.i18n import ENGLISH, Language
from toolkit.result import metrics
from toolkit.result.controls import Control
from toolkit.result.jackknife import Score, decimal
from toolkit.result.report import narrative
from toolkit.result.run import Point, Run
from toolkit.result.series import known_scores
from toolkit.result.stats import Evaluation

BAR_CELLS = 12
EIGHTHS = " ▏▎▍▌▋▊▉█"


def summary(
    run: Run, points: Sequence[Point], evaluation: Evaluation, others: Sequence[Control] = ()
) -> RenderableType:
    """All that `toolkit probe` ends with: the curve, the labels, the answer, the compared runs, what to mind."""
    say = narrative.words(run)
    lines = [Text(narrative.answer(run, evaluation, say), style="bold")]
    lines += [Text(narrative.chosen(run, say))] * run.tuned  # a probe's answer names the layers
    lines += [Text(narrative.control(run, other, say)) for other in others]
    notes = [Text(f"note: {note}", style="yellow") for note in narrative.cautions(run, evaluation, say)]
    if run.left_out:
        notes.append(Text(f"note: {say.counted(len(run.left_out), 'clip')} left out", style="yellow"))
    blank = Text("")
    return Group(layers(run, points), blank, per_label(evaluation, say), blank, *lines, *notes)


def layers(run: Run, points: Sequence[Point]) -> Table:
    """The layer curve. The bar goes from 0 to 1; chosen layers are marked with the number of rounds."""
    table = _table("layer", "dev, optimistic", f"test {metrics.title(run.metric)}, 95 %", "", "chosen")
    for point in points:
        table.add_row(
            Text(point.layer),
            decimal(point.development),
            str(point.test),
            bar(point.test.estimate),
            f"{point.chosen} of {len(run.choices)}" if point.chosen else "",
            style="bold" if point.chosen else None,
        )
    table.columns[3].justify = "left"
    return table


def per_label(evaluation: Evaluation, say: Language = ENGLISH) -> Table:
    """How often every label occurs, its precision, and recall and F1 with intervals; 80 columns wide."""
    if "recall" not in next(iter(evaluation.per_label.values())):
        return _per_target(evaluation, say)
    table = _table("label", say.many("clip"), "precision", "recall, 95 %", "F1, 95 %")
    for label, scores in evaluation.per_label.items():
        figures = (decimal(scores["precision"].estimate), str(scores["recall"]), str(scores["f1"]))
        table.add_row(Text(label), f"{evaluation.support[label]:,}", *figures)
    return table


def _per_target(evaluation: Evaluation, say: Language) -> Table:
    """Of each number its clips, errors in its own unit, and CCC with its interval."""
    names = ("concordance_correlation", "pearson", "mean_absolute_error", "root_mean_squared_error")
    table = _table("target", say.many("clip"), "CCC, 95 %", *map(metrics.title, names[1:]))
    for label, scores in evaluation.per_label.items():
        first, *rest = (scores[name] for name in names)
        figures = (str(first), *(decimal(score.estimate) for score in rest))
        table.add_row(Text(label), f"{evaluation.support[label]:,}", *figures)
    return table


def every_metric(evaluation: Evaluation) -> Table:
    """Each metric with its interval, but those that equal another one; the headline is bold."""
    table = _table("metric", "value", "95 % interval")
    for name in narrative.shown_metrics(evaluation):
        score = evaluation.overall[name]
        style = "bold" if name == evaluation.headline else None
        table.add_row(metrics.title(name), decimal(score.estimate), _bounds(score), style=style)
    return table


def bar(value: float | None) -> str:
    """A bar of at most BAR_CELLS characters for 0 .. 1, to an eighth of a character.

    >>> bar(0.5), bar(None)
    ('██████', '')
    """
    full, eighth = divmod(round(max(value or 0.0, 0.0) * BAR_CELLS * 8), 8)
    return "█" * full + EIGHTHS[eighth].strip()


def _bounds(score: Score) -> str:
    return "" if score.lower is None else f"{decimal(score.lower)} to {decimal(score.upper)}"


def _table(first: str, *numbers: str) -> Table:
    """The first column is text, the rest are numbers, right-aligned so that the decimal points line up."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(first, overflow="ellipsis", no_wrap=True, max_width=24)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def spread(runs: Sequence[Run]) -> str:
    """A series of two runs or more in one line: what they score in their headline metric, never the best of them."""
    known = known_scores(runs)
    if len(known) < len(runs):
        return f"{narrative.metric_name(runs[0])} is undefined in {len(runs) - len(known)} of {len(runs)} runs"
    deals, seeds = (len({run.provenance[name] for run in runs}) for name in ("deal", "seed"))
    dealt = ENGLISH.counted(deals, "deal") + " of the folds, " + ENGLISH.counted(seeds, "training seed")
    return (
        f"{narrative.metric_name(runs[0])} {statistics.mean(known):.3f} on average over {len(runs)} runs ({dealt}), "
        f"standard deviation {statistics.stdev(known):.3f}, {min(known):.3f} to {max(known):.3f}"
    )
