"""A recording over time: what its windows say at each instant, its stretches of one decision, and their summary.

At an instant the probability is the mean over the windows that cover it, and so is the threshold of a multilabel task;
the decision follows from both as for a clip. Instants that no window covers (one failed) are gaps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toolkit.labels import HOTLINE, IntArray, Task
from toolkit.result.applied import Applied
from toolkit.result.cells import csv_text
from toolkit.result.thresholds import decide

FloatArray = npt.NDArray[np.float64]
# Labels that count as negative unless the user names others: the hotline's eleven, and the usual ones of acted corpora.
NEGATIVE = frozenset({*HOTLINE, "negative", "anger", "angry", "disgust", "sad", "fearful", "disgusted"})
SAME_INSTANT = 5e-4  # seconds; windows are cut to whole milliseconds


@dataclass(frozen=True)
class Window:
    """One clip of a recording. start, end: seconds in the file. position: of its row in what was predicted."""

    recording: str
    start: float
    end: float
    position: int


@dataclass(frozen=True)
class Timeline:
    """A recording in the pieces that the windows' borders make, in order; where windows fail there are gaps between.

    start, end: (n,) seconds in the file. probability: (n, n_labels). decision: (n,) or (n, n_labels). windows: how many
    there are; failed: how many more gave nothing.
    """

    recording: str
    task: Task
    start: FloatArray
    end: FloatArray
    probability: FloatArray
    decision: IntArray
    windows: int
    failed: int

    @property
    def seconds(self) -> FloatArray:
        return self.end - self.start

    @property
    def decided(self) -> npt.NDArray[np.bool_]:
        """(n, n_labels): which labels hold in each piece."""
        if self.task.multilabel:
            return self.decision.astype(bool)
        decided: npt.NDArray[np.bool_] = np.arange(len(self.task.labels)) == self.decision[:, None]
        return decided


def timelines(applied: Applied, windows: Sequence[Window], failed: Sequence[str] = ()) -> list[Timeline]:
    """One per recording, in the order of their first windows. failed: the recording of each window without a word."""
    by_recording: dict[str, list[Window]] = {}
    for window in windows:
        by_recording.setdefault(window.recording, []).append(window)
    return [
        _timeline(applied, recording, own, list(failed).count(recording)) for recording, own in by_recording.items()
    ]


def _timeline(applied: Applied, recording: str, windows: Sequence[Window], failed: int) -> Timeline:
    borders = _borders([border for window in windows for border in (window.start, window.end)])
    pieces = len(borders) - 1
    labels = len(applied.task.labels)
    total, bars = np.zeros((pieces, labels)), np.zeros((pieces, applied.thresholds.shape[1]))
    count = np.zeros(pieces)
    for window in windows:
        first, last = (int(np.abs(borders - border).argmin()) for border in (window.start, window.end))
        total[first:last] += applied.probability[window.position]
        bars[first:last] += applied.thresholds[window.position]
        count[first:last] += 1
    kept = count > 0
    probability, bars = total[kept] / count[kept, None], bars[kept] / count[kept, None]
    decision = decide(applied.task, probability, bars)
    start, end = borders[:-1][kept], borders[1:][kept]
    return Timeline(recording, applied.task, start, end, probability, decision, len(windows), failed)


def _borders(seconds: Sequence[float]) -> FloatArray:
    """In order, each once."""
    ordered = np.unique(seconds)
    borders: FloatArray = ordered[np.append(True, np.diff(ordered) > SAME_INSTANT)]
    return borders


@dataclass(frozen=True)
class Summary:
    """What one recording comes to. Times are of the pieces that windows cover, gaps left out.

    seconds: covered. share: (n_labels,) of that time in which each label is decided. negative: share of the time in
    which any negative label is decided, None where no label is known to be negative.
    changes: times a minute that the decision (of a multilabel task the set of labels) differs from one piece to the
    next. slope: (n_labels,) mean absolute slope of the probability a minute: the sum of its steps' sizes from piece to
    piece (its total variation), over the minutes; 1 is once all the way from 0 to 1 a minute.
    Neither counts a step over a gap.
    """

    seconds: float
    share: FloatArray
    negative: float | None
    changes: float
    slope: FloatArray


def summary(timeline: Timeline, negative: Sequence[str]) -> Summary:
    """negative: the labels that count as negative."""
    seconds, decided = timeline.seconds, timeline.decided
    whole = float(seconds.sum())
    joined = timeline.start[1:] - timeline.end[:-1] < SAME_INSTANT
    changed = (decided[1:] != decided[:-1]).any(axis=1) & joined
    steps = np.abs(np.diff(timeline.probability, axis=0))[joined].sum(axis=0)
    columns = [timeline.task.labels.index(label) for label in negative]
    bad = float(seconds[decided[:, columns].any(axis=1)].sum()) / whole if columns else None
    minutes = whole / 60
    return Summary(whole, seconds @ decided / whole, bad, float(changed.sum()) / minutes, steps / minutes)


def negative_labels(task: Task) -> tuple[str, ...]:
    """The labels of a task that are negative by their name; `negative` alone where there is one."""
    if "negative" in task.labels:
        return ("negative",)
    return tuple(label for label in task.labels if label.lower() in NEGATIVE)


def stretches(timeline: Timeline) -> Iterator[tuple[float, float, str]]:
    """(start, end, label) of adjoining pieces in which a label holds, by start; the labels of one task may overlap."""
    found = []
    for label, holds in zip(timeline.task.labels, timeline.decided.T):
        begun: float | None = None
        for number, (start, end) in enumerate(zip(timeline.start.tolist(), timeline.end.tolist())):
            if holds[number] and begun is None:
                begun = start
            last = number + 1 == len(holds) or timeline.start[number + 1] - end > SAME_INSTANT
            if begun is not None and (last or not holds[number + 1]):
                found.append((begun, end, label))
                begun = None
    return iter(sorted(found))


def audacity(timeline: Timeline) -> str:
    """An Audacity label track: start, end and label with tabs between, a line for each stretch.

    https://manual.audacityteam.org/man/importing_and_exporting_labels.html
    """
    lines = (f"{start:.6f}\t{end:.6f}\t{' '.join(label.split())}\n" for start, end, label in stretches(timeline))
    return "".join(lines)


def timeline_csv(found: Sequence[Timeline]) -> str:
    """recording, start, end (seconds in the file), probability:LABEL, and decision, or decision:LABEL of 0 and 1."""
    task = found[0].task
    decisions = [f"decision:{label}" for label in task.labels] if task.multilabel else ["decision"]
    columns = ["recording", "start", "end", *(f"probability:{label}" for label in task.labels), *decisions]
    rows = []
    for one in found:
        pieces = zip(one.start.tolist(), one.end.tolist(), one.probability.astype(np.float32), one.decision.tolist())
        for start, end, probability, decision in pieces:
            said = [str(cell) for cell in decision] if task.multilabel else [task.labels[decision]]
            rows.append([one.recording, _seconds(start), _seconds(end), *map(str, probability), *said])
    return csv_text(columns, rows)


def summary_csv(found: Sequence[tuple[Timeline, Summary]]) -> str:
    """A row a recording; see `Summary`. What is not known is empty."""
    labels = found[0][0].task.labels
    columns = ["recording", "seconds", "windows", "failed_windows", "negative_share", "changes_per_minute"]
    columns += [f"share:{label}" for label in labels] + [f"slope_per_minute:{label}" for label in labels]
    rows = []
    for one, own in found:
        numbers = [own.negative, own.changes, *own.share.tolist(), *own.slope.tolist()]
        cells = ["" if number is None else f"{number:.6f}" for number in numbers]
        rows.append([one.recording, _seconds(own.seconds), str(one.windows), str(one.failed), *cells])
    return csv_text(columns, rows)


def _seconds(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
