"""A recording over time: what its windows say at each instant, its stretches of one decision, and their each.

At an instant the probability is the mean over the windows that cover it, and so is the threshold of a multilabel task;
the decision follows from both as for a clip. Instants that no window covers (one failed) are gaps. Where a window is
near silent there is no speech, so no label holds and nothing is counted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toolkit.corpus.labels import IntArray, Task
from toolkit.predict.inference import Applied
from toolkit.result.kinds import decide
from toolkit.result.safe_csv import csv_text

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
SAME_INSTANT = 5e-4  # seconds; windows are cut to whole milliseconds
# A window whose level (its samples' standard deviation; full scale is 1) is below the floor, or this far below the
# level that one window in twenty of its recording reaches, holds no speech. A pause on a telephone line is 35 dB or
# more below a voice, and ten seconds with half a second of speech in them 13 dB below ten full of it.
FLOOR_DECIBELS, BELOW_DECIBELS = -60.0, 30.0
NO_SPEECH = "no speech"


@dataclass(frozen=True)
class Window:
    """One clip of a recording. start, end: seconds in the file. position: of its row in what was predicted.

    level: the standard deviation of its samples, full scale being 1.
    """

    recording: str
    start: float
    end: float
    position: int
    level: float = 1.0


@dataclass(frozen=True)
class Timeline:
    """A recording in the pieces that the windows' borders make, in order; where windows fail there are gaps between.

    start, end: (n,) seconds in the file. probability: (n, n_labels). decision: (n,) or (n, n_labels). speech: (n,),
    False where a window that covers the piece holds none; probability and decision mean nothing there. windows: how
    many there are; failed: how many more gave nothing.
    """

    recording: str
    task: Task
    start: FloatArray
    end: FloatArray
    probability: FloatArray
    decision: IntArray
    speech: BoolArray
    windows: int
    failed: int

    @property
    def seconds(self) -> FloatArray:
        return self.end - self.start

    @property
    def decided(self) -> BoolArray:
        """(n, n_labels): which labels hold in each piece; none without speech."""
        labels = len(self.task.labels)
        decided = self.decision.astype(bool) if self.task.multilabel else np.arange(labels) == self.decision[:, None]
        return np.asarray(decided & self.speech[:, None])

    @property
    def joined(self) -> IntArray:
        """(n,): pieces with one number follow each other without a gap."""
        return np.cumsum(np.append(0, self.start[1:] - self.end[:-1] >= SAME_INSTANT))


def timelines(applied: Applied, windows: Sequence[Window], failed: Sequence[str] = ()) -> list[Timeline]:
    """One per recording, in the order of their first windows. failed: the recording of each window without a word."""
    by_recording: dict[str, list[Window]] = {}
    for window in windows:
        by_recording.setdefault(window.recording, []).append(window)
    return [
        _timeline(applied, recording, each, list(failed).count(recording)) for recording, each in by_recording.items()
    ]


def speaks(levels: Sequence[float]) -> BoolArray:
    """(n,): which windows of one recording hold speech, by their levels.

    >>> speaks([0.1, 0.05, 0.002, 0.0005]).tolist(), speaks([0.0004, 0.0005]).tolist()
    ([True, True, False, False], [False, False])
    """
    loud = float(np.quantile(levels, 0.95, method="higher")) * 10 ** (-BELOW_DECIBELS / 20)
    return np.asarray(levels) >= max(loud, 10 ** (FLOOR_DECIBELS / 20))


def _timeline(applied: Applied, recording: str, windows: Sequence[Window], failed: int) -> Timeline:
    borders = _borders([border for window in windows for border in (window.start, window.end)])
    pieces = len(borders) - 1
    labels = len(applied.task.labels)
    total, bars = np.zeros((pieces, labels)), np.zeros((pieces, applied.thresholds.shape[1]))
    count, speech = np.zeros(pieces), np.ones(pieces, dtype=bool)
    for window, speaking in zip(windows, speaks([window.level for window in windows])):
        first, last = (int(np.abs(borders - border).argmin()) for border in (window.start, window.end))
        total[first:last] += applied.probability[window.position]
        bars[first:last] += applied.thresholds[window.position]
        count[first:last] += 1
        speech[first:last] &= speaking
    kept = count > 0
    probability, bars = total[kept] / count[kept, None], bars[kept] / count[kept, None]
    decision = decide(applied.task, probability, bars)
    start, end = borders[:-1][kept], borders[1:][kept]
    return Timeline(recording, applied.task, start, end, probability, decision, speech[kept], len(windows), failed)


def _borders(seconds: Sequence[float]) -> FloatArray:
    """In order, each once."""
    ordered = np.unique(seconds)
    borders: FloatArray = ordered[np.append(True, np.diff(ordered) > SAME_INSTANT)]
    return borders


@dataclass(frozen=True)
class Summary:
    """What one recording comes to. Times are of the pieces that windows cover, gaps left out.

    seconds: covered. speech: of these, with speech; all that follows is of them alone, and NaN where there are none.
    share: (n_labels,) of the speech in which each label is decided. negative: share of the speech in which any negative
    label is decided, None where no label is known to be negative.
    changes: times a minute of speech that the decision (of a multilabel task the set of labels) differs from one piece
    with speech to the next one. slope: (n_labels,) mean absolute slope of the probability a minute of speech: the sum
    of its steps' sizes from piece to piece (its total variation), over the minutes; 1 is once all the way from 0 to 1
    a minute.
    Both pass over silence and count no step over a gap.
    """

    seconds: float
    speech: float
    share: FloatArray
    negative: float | None
    changes: float
    slope: FloatArray


def summary(timeline: Timeline, negative: Sequence[str]) -> Summary:
    """negative: the labels that count as negative."""
    spoken = timeline.speech
    whole, seconds, decided = float(timeline.seconds.sum()), timeline.seconds[spoken], timeline.decided[spoken]
    speech, joined = float(seconds.sum()), np.diff(timeline.joined[spoken]) == 0
    columns = [timeline.task.labels.index(label) for label in negative]
    if not speech:
        nothing = np.full(len(timeline.task.labels), np.nan)
        return Summary(whole, 0.0, nothing, np.nan if columns else None, np.nan, nothing)
    changed = (decided[1:] != decided[:-1]).any(axis=1) & joined
    steps = np.abs(np.diff(timeline.probability[spoken], axis=0))[joined].sum(axis=0)
    bad = float(seconds[decided[:, columns].any(axis=1)].sum()) / speech if columns else None
    minutes = speech / 60
    return Summary(whole, speech, seconds @ decided / speech, bad, float(changed.sum()) / minutes, steps / minutes)


def stretches(timeline: Timeline, labels: Sequence[str] | None = None) -> Iterator[tuple[float, float, str]]:
    """(start, end, label) of adjoining pieces in which a label holds, by start; the labels of one task may overlap.

    Pieces without speech are stretches of NO_SPEECH. labels: those that are looked for, None for all.
    """
    found = []
    named = zip(timeline.task.labels, timeline.decided.T)
    states = [*((label, holds) for label, holds in named if labels is None or label in labels)]
    states += [(NO_SPEECH, ~timeline.speech)]
    for label, holds in states:
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
    """recording, start, end (seconds in the file), speech (1, or 0 where there is none), probability:LABEL, and
    decision, or decision:LABEL of 0 and 1. Without speech, what follows is empty.
    """
    task = found[0].task
    decisions = [f"decision:{label}" for label in task.labels] if task.multilabel else ["decision"]
    columns = ["recording", "start", "end", "speech", *(f"probability:{label}" for label in task.labels), *decisions]
    rows = []
    for one in found:
        pieces = zip(
            one.start.tolist(), one.end.tolist(), one.speech, one.probability.astype(np.float32), one.decision.tolist()
        )
        for start, end, speech, probability, decision in pieces:
            words = [str(cell) for cell in decision] if task.multilabel else [task.labels[decision]]
            cells = [*map(str, probability), *words] if speech else [""] * (len(probability) + len(words))
            rows.append([one.recording, _seconds(start), _seconds(end), str(int(speech)), *cells])
    return csv_text(columns, rows)


def summary_csv(found: Sequence[tuple[Timeline, Summary]]) -> str:
    """A row a recording; see `Summary`. Shares, changes and slopes are of the speech. What is not known is empty."""
    labels = found[0][0].task.labels
    columns = ["recording", "seconds", "speech_seconds", "no_speech_seconds", "windows", "failed_windows"]
    columns += ["negative_share", "changes_per_minute"]
    columns += [f"share:{label}" for label in labels] + [f"slope_per_minute:{label}" for label in labels]
    rows = []
    for one, each in found:
        numbers = [each.negative, each.changes, *each.share.tolist(), *each.slope.tolist()]
        cells = ["" if number is None or np.isnan(number) else f"{number:.6f}" for number in numbers]
        times = [_seconds(seconds) for seconds in (each.seconds, each.speech, each.seconds - each.speech)]
        rows.append([one.recording, *times, str(one.windows), str(one.failed), *cells])
    return csv_text(columns, rows)


def _seconds(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
