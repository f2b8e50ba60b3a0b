"""What a run was made from goes with it, so that `predict` hears others in the same way."""

from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.core.errors import InputError
from toolkit.core.i18n import ENGLISH
from toolkit.corpus import manifest
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.material import FLAGS, Material, flag_notes
from toolkit.predict.channels import of_channel

WriteSound = Callable[..., Path]
CALLERS = Material((1,), (1.0, 3.0, 9.0))


@pytest.fixture
def calls(tmp_path: Path, write_sound: WriteSound) -> Manifest:
    for name, count in (("one.wav", 1), ("two.wav", 2), ("named.wav", 2)):
        write_sound(name, channels=count)
    rows = [("one", "one.wav", ""), ("two", "two.wav", ""), ("named", "named.wav", "0"), ("gone", "one.wav", "9")]
    manifest.write(tmp_path / "manifest.csv", ("id", "path", "channel"), rows)
    return manifest.read(tmp_path / "manifest.csv")


@pytest.mark.parametrize(
    ("asked", "material", "channels"),
    [
        (None, CALLERS, [None, 1, 0, 9]),  # of files with several, the run's; a row keeps its own
        (None, Material((0, 1), (1, 3, 9)), [None, None, 0, 9]),
        (None, Material((None,), (1, 3, 9)), [None, None, 0, 9]),
        (None, None, [None, None, 0, 9]),  # a run of before
        ("0", CALLERS, [0, 0, 0, 9]),
        ("average", CALLERS, [None, None, 0, 9]),
    ],
)
def test_the_channel_is_the_runs_unless_another_is_asked_for(
    asked: str | None, material: Material | None, channels: list[int | None], calls: Manifest
) -> None:
    assert [clip.channel for clip in of_channel(calls, asked, material, print).clips] == channels


def test_what_is_no_channel_is_refused(calls: Manifest) -> None:
    with pytest.raises(InputError, match="Bad --channel 'left', expected 0, 1"):
        of_channel(calls, "left", CALLERS, print)


def test_a_run_remembers_channels_and_lengths() -> None:
    clips = [(1, seconds / 10) for seconds in range(101)]
    found = Material.of(clips)
    assert found == Material((1,), (0.5, 5.0, 9.5)) and found.channel == 1
    both = Material.of([(None, 1.0), (1, 2.0), (0, 3.0), (1, 2.0)])
    assert both.channels == (None, 0, 1) and both.channel is None
    kept = {"material": {"channels": [None, 0, 1], "seconds": list(both.seconds)}}
    assert Material.kept_in(kept) == both and Material.kept_in({}) is None


def test_windows_unlike_the_training_clips_are_said() -> None:
    assert CALLERS.other_length([2, 3, 30]) == CALLERS.other_length([9.0]) == []
    (said,) = CALLERS.other_length([10, 10, 2.5])
    assert str(said) == (
        "What is predicted is 10 s long (median) and what the models learnt from 1 to 9 s (5 to 95 %, median 3 s): "
        "probabilities and thresholds may not carry over."
    )


def test_flags_are_counted_and_each_has_its_sentence() -> None:
    flags = [("short", "near-silent"), ("averaged",), ("averaged", "clipped"), (), ("offset",)] * 500
    notes = flag_notes(flags)
    assert [*map(str, notes)] == [
        "Shorter than 25 ms and padded: 500 of 2,500 clips.",
        "Near-silent: 500 of 2,500 clips.",
        "Clipped, with a thousandth of their samples at full scale or more: 500 of 2,500 clips.",
        "With a constant offset larger than their sound: 500 of 2,500 clips.",
        "The average of several channels, in a call two voices in one: 1,000 of 2,500 clips.",
    ]
    assert flag_notes([(), ()]) == []
    assert {f"note.flag_{flag}" for flag in FLAGS} == {key for key in ENGLISH.phrases if key.startswith("note.flag_")}
