"""Frames into turns: pauses, leaks between channels, voices, lengths."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.segment.detector import FRAME_SECONDS, Heard
from toolkit.segment.options import SegmentOptions
from toolkit.segment.turns import Turn, one_signal, own_speech, speech, turns
from toolkit.segment.voices import two_voices


def options(**given: Any) -> SegmentOptions:
    return SegmentOptions(calls=Path("calls.csv"), **given)


def mask(*spans: tuple[int, int], frames: int = 400) -> Any:
    found = np.zeros(frames, bool)
    for first, last in spans:
        found[first:last] = True
    return found


def heard(probability: Any, power: Any = None) -> Heard:
    probability = np.asarray(probability, np.float32)
    return Heard(probability, np.ones_like(probability) if power is None else np.asarray(power, np.float32))


def spans(found: list[Turn]) -> list[tuple[int, int]]:
    return [(round(turn.start / FRAME_SECONDS), round(turn.end / FRAME_SECONDS)) for turn in found]


def test_speech_goes_on_just_below_the_threshold_but_does_not_begin_there() -> None:
    probability = [0.1, 0.4, 0.6, 0.4, 0.2, 0.4, 0.4, 0.2, 0.5, 0.1]
    assert speech(heard(probability), 0.5).tolist() == [0, 1, 1, 1, 0, 0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [(50, 110), (150, 200)]),  # a pause of 10 frames is 0.32 s, one of 40 is 1.28 s; 10 frames are no turn
        ({"min_pause": 0.2}, [(50, 80), (90, 110), (150, 200)]),
        ({"min_turn": 0.2}, [(50, 110), (150, 200), (300, 310)]),
        ({"min_pause": 2.0}, [(50, 200)]),
    ],
)
def test_a_turn_has_no_longer_pause_and_is_long_enough(given: dict[str, Any], expected: list[tuple[int, int]]) -> None:
    found = mask((50, 80), (90, 110), (150, 200), (300, 310))
    assert spans(turns(found, np.ones(400, np.float32), options(pad=0.0, **given))) == expected


def test_padding_goes_to_the_middle_of_a_pause_and_not_beyond_the_call() -> None:
    found = turns(mask((1, 50), (60, 100), (397, 400), (200, 250)), np.ones(400, np.float32),
                  options(pad=1.0, min_pause=0.1, min_turn=0.05))  # fmt: skip
    assert [(turn.start, turn.end) for turn in found] == [(0.0, 1.76), (1.76, 4.2), (5.4, 9.0), (11.704, 12.8)]


def test_a_long_turn_is_cut_where_it_is_quietest() -> None:
    power = np.ones(400, np.float32)
    power[215:225] = 0.1
    found = turns(mask((0, 400)), power, options(pad=0.0, max_turn=8.0))
    assert len(found) == 2 and 215 <= spans(found)[0][1] <= 225 and found[0].end == found[1].start


def test_a_leak_is_not_a_turn_and_an_interruption_is() -> None:
    # the first channel speaks in frames 20 to 120; in the second this is heard 20 dB lower, and 5 frames late
    loud, own = mask((20, 120), frames=300), mask((90, 180), frames=300)
    first = heard(np.where(loud, 0.9, 0.0), np.where(loud, 1.0, 1e-6))
    leaked = np.roll(np.where(loud, 0.01, 0.0), 5) + np.where(own, 0.3, 0.0)
    second = heard(np.where(mask((25, 180), frames=300), 0.9, 0.0), leaked)
    channels = [first, second]
    masks = [speech(one, 0.5) for one in channels]
    kept = own_speech(channels, masks, 12.0)
    assert (kept[0] == masks[0]).all()
    assert not kept[1][:85].any() and kept[1][95:180].all()
    assert own_speech(channels, masks, 200.0)[1].tolist() == masks[1].tolist()
    assert own_speech(channels[:1], masks[:1], 12.0)[0].tolist() == masks[0].tolist()


def test_one_signal_in_two_channels_is_seen_and_two_voices_or_a_leak_are_not() -> None:
    generator = np.random.default_rng(0)
    power = generator.uniform(0.01, 1.0, 200)
    spoken = np.ones(200, bool)
    one = heard(spoken, power)
    assert one_signal([one, heard(spoken, power * 0.9)], [spoken, spoken])
    assert not one_signal([one, heard(spoken, power * 0.01)], [spoken, spoken])
    assert not one_signal([one, heard(spoken, generator.uniform(0.01, 1.0, 200))], [spoken, spoken])
    assert not one_signal([one, one], [~spoken, ~spoken]) and not one_signal([one], [spoken])


def test_a_change_of_voice_divides_a_turn_and_a_short_one_does_not() -> None:
    voices = np.zeros(400, np.intp)
    voices[150:300] = 1
    voices[200:205] = 0
    found = turns(mask((100, 350)), np.ones(400, np.float32), options(pad=0.0), voices)
    assert spans(found) == [(100, 150), (150, 300), (300, 350)]
    assert [turn.voice for turn in found] == [0, 1, 0]


def test_two_voices_are_two_clusters_of_windows_in_the_order_in_which_they_are_heard() -> None:
    generator = np.random.default_rng(0)
    spoken = mask((30, 180), (220, 390))
    starts = np.arange(0.0, 11.2, 0.4)
    states = generator.normal(0, 0.1, (len(starts), 16)).astype(np.float32)
    states[starts + 0.8 < 200 * FRAME_SECONDS, 0] += 1.0
    states[starts + 0.8 >= 200 * FRAME_SECONDS, 1] += 1.0
    found = two_voices(states, np.stack([starts, starts + 1.6], axis=1), spoken)
    assert not found[30:180].any() and found[230:390].all()
    assert not two_voices(states[:1], np.array([[0.0, 1.6]]), spoken).any()


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 120)), max_size=30),
    st.floats(0.0, 1.0), st.floats(0.1, 1.0), st.floats(0.0, 0.3), st.floats(3.0, 10.0),
)  # fmt: skip
def test_turns_never_overlap_and_keep_their_bounds(
    runs: list[tuple[bool, int]], pause: float, least: float, pad: float, most: float
) -> None:
    spoken = np.concatenate([np.zeros(0, bool), *(np.full(count, value) for value, count in runs)])
    asked = options(min_pause=pause, min_turn=least, pad=pad, max_turn=most)
    asked.check()
    found = turns(spoken, np.random.default_rng(0).random(len(spoken)).astype(np.float32), asked)
    assert all(0 <= turn.start < turn.end <= len(spoken) * FRAME_SECONDS + 1e-3 for turn in found)
    assert all(one.end <= two.start for one, two in pairwise(found))
    assert all(least - 2 * FRAME_SECONDS <= turn.end - turn.start <= most + 2e-3 for turn in found)
    assert all(spoken[int(turn.start / FRAME_SECONDS) :][: int(most / FRAME_SECONDS) + 2].any() for turn in found)
