"""Measures of each call, predicted or true: shares, changes, the longest stretch, mean probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from toolkit.corpus.labels import IntArray, Task, one_hot
from toolkit.corpus.windows import recording_of, span_of
from toolkit.result.predictions import Predictions

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
SAME_INSTANT = 5e-4  # seconds; windows are cut to whole milliseconds

Kind = Literal["negative", "changes", "stretch", "share", "probability"]
Source = Literal["prediction", "truth"]
SOURCES: tuple[Source, ...] = ("prediction", "truth")


@dataclass(frozen=True)
class Measure:
    """One figure of a call.

    negative: share of the call in which any negative label holds, 0 to 1. changes: times a minute that what holds
    changes from one window to the next. stretch: the longest run in which a negative label holds: seconds where all
    clips are windows, else clips. share: of the call in which `label` holds, 0 to 1. probability: mean of `label`'s.
    A share is of the time where the call was cut into windows, and else of its clips.
    """

    kind: Kind
    label: str = ""

    @property
    def bounded(self) -> bool:
        """Whether it is from 0 to 1."""
        return self.kind not in ("changes", "stretch")


@dataclass(frozen=True)
class Calls:
    """A row a call, in the order of their names.

    caller: of each, the name of its group in the predictions. clips: (n,). minutes: (n,) that its windows cover; NaN
    of a call with another clip than windows. timed: whether any call was cut into windows. values: by source and
    measure (n,), NaN where a call has none.
    """

    names: tuple[str, ...]
    caller: tuple[str, ...]
    clips: IntArray
    minutes: FloatArray
    timed: bool
    values: dict[tuple[Source, Measure], FloatArray]


def measures_of(task: Task, negative: Sequence[str], timed: bool, probability: bool) -> list[Measure]:
    """All that is known. Of a binary task only the positive label counts; its share is listed once."""
    labels = task.labels[1:] if task.kind == "binary" else task.labels
    found = [Measure("negative")] if negative else []
    found += [Measure("changes")] if timed else []
    found += [Measure("stretch")] if negative else []
    if tuple(negative) != labels or len(labels) > 1:  # else it is the share of what is negative
        found += [Measure("share", label) for label in labels]
    return found + ([Measure("probability", label) for label in labels] if probability else [])


def per_call(
    predictions: Predictions, calls: Sequence[str], negative: Sequence[str], places: Sequence[int] | None = None
) -> Calls:
    """Summarise every call.

    calls: the name of each clip's. negative: the labels that count as negative. places: numbers by which a call's clips
    are in the order in which they were spoken, without them that of the ids; windows have their times. A call's clips
    must be of one group.
    """
    task = predictions.task
    names, member = np.unique(np.array(calls, dtype=object).astype(str), return_inverse=True)
    spans = [span_of(clip) for clip in predictions.ids]
    timed = any(span is not None for span in spans)
    wanted = measures_of(task, negative, timed, predictions.has_probability)
    columns = [task.labels.index(label) for label in negative]
    known = {source: _decided(task, getattr(predictions, source)) for source in SOURCES}
    values: dict[tuple[Source, Measure], FloatArray] = {
        (source, measure): np.full(len(names), np.nan)
        for measure in wanted
        for source in SOURCES
        if source == "prediction" or measure.kind != "probability"
    }
    caller, minutes = [], np.full(len(names), np.nan)
    order = np.lexsort((np.arange(len(member)) if places is None else np.array(places), member))
    for call, clips in enumerate(np.split(order, np.cumsum(np.bincount(member))[:-1])):
        clips, weight, joined = _pieces(predictions.ids, spans, clips)
        windows = all(spans[clip] is not None for clip in clips)
        caller.append(predictions.groups[clips[0]])
        minutes[call] = weight.sum() / 60 if windows else np.nan
        for (source, measure), value in values.items():
            decided = known[source][clips]
            holds = np.asarray(decided[:, columns].any(axis=1))
            if measure.kind == "negative":
                value[call] = weight @ holds / weight.sum()
            elif measure.kind == "share":
                value[call] = weight @ decided[:, task.labels.index(measure.label)] / weight.sum()
            elif measure.kind == "probability":
                probability = predictions.probability[clips, task.labels.index(measure.label)]
                value[call] = weight @ probability / weight.sum()
            elif windows or not timed:
                changed = (decided[1:] != decided[:-1]).any(axis=1) & joined
                value[call] = (
                    changed.sum() / minutes[call] if measure.kind == "changes" else _longest(holds, weight, joined)
                )
    return Calls(tuple(names.tolist()), tuple(caller), np.bincount(member).astype(np.int64), minutes, timed, values)


def _decided(task: Task, values: IntArray) -> BoolArray:
    """(n, n_labels): which labels hold."""
    return np.asarray(values if task.multilabel else one_hot(task, values)).astype(bool)


def _pieces(
    ids: Sequence[str], spans: Sequence[tuple[float, float] | None], clips: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], FloatArray, BoolArray]:
    """A call's clips in order, the weight of each, and whether each but the first follows the one before at once.

    Of windows the weight is the seconds in which no other window's middle is nearer: an instant that several cover is
    one's alone. Where there is another clip among them, each counts as one.
    """
    if any(spans[clip] is None for clip in clips):
        return clips, np.ones(len(clips)), np.ones(len(clips) - 1, dtype=bool)
    files = {name: place for place, name in enumerate(dict.fromkeys(recording_of(ids[clip]) for clip in clips))}
    clips = np.array(sorted(clips, key=lambda clip: (files[recording_of(ids[clip])], spans[clip])), dtype=np.intp)
    file = np.array([files[recording_of(ids[clip])] for clip in clips])
    start, end = np.array([spans[clip] for clip in clips], dtype=np.float64).T
    joined = (file[1:] == file[:-1]) & (start[1:] - end[:-1] < SAME_INSTANT)
    border = (start[1:] + end[:-1]) / 2
    first, last = start.copy(), end.copy()
    first[1:][joined], last[:-1][joined] = border[joined], border[joined]
    return clips, last - first, joined


def _longest(holds: BoolArray, weight: FloatArray, joined: BoolArray) -> float:
    longest = reached = 0.0
    for place, (holding, share) in enumerate(zip(holds, weight)):
        follows = place > 0 and joined[place - 1]
        reached = share + (reached if follows else 0.0) if holding else 0.0
        longest = max(longest, reached)
    return float(longest)
