"""Frames of 32 ms -> turns: speech without a longer pause, of one channel or of one voice."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from toolkit.segment.detector import FRAME_SECONDS, Floats, Heard
from toolkit.segment.options import SegmentOptions

HYSTERESIS = 0.15  # below the threshold speech that was found continues, as in silero-vad's own code
SMOOTHED = 9  # frames, 0.29 s: over which loudness is compared, and by which an echo may be late
ALIKE_MEAN, ALIKE_DEVIATION = 3.0, 1.0  # decibels between two channels that are one signal

Mask = npt.NDArray[np.bool_]
Span = tuple[int, int]  # first frame, and the one after the last


@dataclass(frozen=True)
class Turn:
    """start, end: seconds. channel: counted from 0, None of a file that has one. voice: from 0 in the order in which
    they are first heard, None where voices are not told apart.
    """

    start: float
    end: float
    channel: int | None = None
    voice: int | None = None


def speech(signal: Heard, threshold: float) -> Mask:
    """(n_frames,) where there is speech: stretches that reach the threshold, as far as they stay just below it."""
    stretches, count = ndimage.label(signal.probability >= threshold - HYSTERESIS)
    reached = ndimage.maximum(signal.probability, stretches, np.arange(count + 1)) >= threshold
    reached[0] = False
    return np.asarray(reached[stretches])


def one_signal(channels: Sequence[Heard], masks: Sequence[Mask]) -> bool:
    """Whether several channels are one recording: where there is speech, all are about as loud from first to last."""
    spoken = np.any(masks, axis=0)
    if len(channels) < 2 or not spoken.any():
        return False
    first, *others = (10 * np.log10(signal.power[spoken] + 1e-10) for signal in channels)
    return all(abs(np.mean(one - first)) < ALIKE_MEAN and np.std(one - first) < ALIKE_DEVIATION for one in others)


def own_speech(channels: Sequence[Heard], masks: Sequence[Mask], decibels: float) -> list[Mask]:
    """Each channel's speech without frames that are another channel's voice: there that one speaks, or did within
    the last SMOOTHED frames, and is louder by `decibels`.
    """
    power = [ndimage.uniform_filter1d(signal.power, SMOOTHED) for signal in channels]
    spoken = [
        ndimage.maximum_filter1d(np.where(mask, level, 0.0), SMOOTHED, origin=SMOOTHED // 2)
        for mask, level in zip(masks, power)
    ]
    factor = 10 ** (decibels / 10)
    found = []
    for number, (mask, level) in enumerate(zip(masks, power)):
        others = [other for at, other in enumerate(spoken) if at != number]
        found.append(mask & (level * factor >= np.max(others, axis=0)) if others else mask)
    return found


def turns(mask: Mask, power: Floats, options: SegmentOptions, voices: npt.NDArray[np.intp] | None = None,
          channel: int | None = None) -> list[Turn]:  # fmt: skip
    """mask, power, voices: (n_frames,), the voice of each frame where voices are told apart."""
    spans = [
        (first, last, voice)
        for whole in _without_pauses(mask, _frames(options.min_pause))
        for first, last, voice in _by_voice(whole, voices, _frames(options.min_turn))
    ]
    longest = int((options.max_turn - 2 * options.pad) / FRAME_SECONDS)
    smooth = ndimage.uniform_filter1d(power, SMOOTHED)
    parts = [
        (*part, voice)
        for first, last, voice in spans
        if (last - first) * FRAME_SECONDS >= options.min_turn
        for part in _cut((first, last), smooth, longest, _frames(options.min_turn))
    ]
    end = len(mask) * FRAME_SECONDS
    found = []
    for number, (first, last, voice) in enumerate(parts):
        before = parts[number - 1][1] if number else -first
        following = parts[number + 1][0] if number + 1 < len(parts) else 2 * len(mask)
        start = first * FRAME_SECONDS - min(options.pad, (first - before) / 2 * FRAME_SECONDS)
        stop = last * FRAME_SECONDS + min(options.pad, (following - last) / 2 * FRAME_SECONDS)
        found.append(Turn(round(max(start, 0.0), 3), round(min(stop, end), 3), channel, voice))
    return found


def runs(mask: Mask) -> list[Span]:
    """Stretches of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def _frames(seconds: float) -> int:
    return round(seconds / FRAME_SECONDS)


def _without_pauses(mask: Mask, pause: int) -> list[Span]:
    joined: list[Span] = []
    for first, last in runs(mask):
        if joined and first - joined[-1][1] < pause:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def _by_voice(span: Span, voices: npt.NDArray[np.intp] | None, least: int) -> list[tuple[int, int, int | None]]:
    """The span's parts of one voice each; one shorter than `least` goes to the longer of its neighbours."""
    if voices is None:
        return [(*span, None)]
    first, last = span
    edges = [first, *(first + 1 + np.flatnonzero(np.diff(voices[first:last]))).tolist(), last]
    parts = [[begin, end, int(voices[begin])] for begin, end in pairwise(edges)]
    while len(parts) > 1 and min(end - begin for begin, end, _ in parts) < least:
        short = min(range(len(parts)), key=lambda at: parts[at][1] - parts[at][0])
        near = [at for at in (short - 1, short + 1) if 0 <= at < len(parts)]
        parts[short][2] = parts[max(near, key=lambda at: parts[at][1] - parts[at][0])][2]
        parts = _joined(parts)
    return [(begin, end, voice) for begin, end, voice in parts]


def _joined(parts: list[list[int]]) -> list[list[int]]:
    kept: list[list[int]] = []
    for begin, end, voice in parts:
        if kept and kept[-1][2] == voice:
            kept[-1][1] = end
        else:
            kept.append([begin, end, voice])
    return kept


def _cut(span: Span, power: Floats, longest: int, shortest: int) -> list[Span]:
    """Parts of at most `longest` frames, cut where the sound is quietest in the second half of what may be one."""
    first, last = span
    parts = []
    while last - first > longest:
        begin = first + longest // 2
        end = max(begin + 1, min(first + longest, last - shortest))
        at = begin + int(np.argmin(power[begin:end]))
        parts.append((first, at))
        first = at
    return [*parts, (first, last)]
