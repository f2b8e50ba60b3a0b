import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

from toolkit.audio.decode import decode
from toolkit.core.errors import InputError, ManifestError
from toolkit.core.progress import quiet
from toolkit.corpus import manifest as manifests
from toolkit.corpus.evaluation_task import build_task
from toolkit.corpus.labels import Task
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.windows import Windows, cut
from toolkit.features import store
from toolkit.features.shard import ClipRecord, ShardContent, Source, mark
from toolkit.finetune.audio_cache import record
from toolkit.predict.files import known_of
from toolkit.probe.nuisance import audio_seconds

RATE = 8_000


def corpus(folder: Path, rows: list[tuple[str, ...]], columns: tuple[str, ...], **seconds: float) -> Manifest:
    for name, length in seconds.items():
        soundfile.write(folder / f"{name}.wav", np.linspace(-0.5, 0.5, round(length * RATE)), RATE)
    manifests.write(folder / "manifest.csv", columns, rows)
    return manifests.read(folder / "manifest.csv")


@given(
    duration=st.integers(4_410, 4_000 * 44_100).map(lambda samples: samples / 44_100),
    seconds=st.floats(0.5, 60).map(lambda seconds: round(seconds, 3)),
    share=st.floats(0.2, 1),
)
@example(duration=240_003 / 16_000, seconds=10.0, share=0.5)  # 0.2 ms beyond a window's end
def test_windows_cover_a_recording_without_gaps_and_end_with_it(duration: float, seconds: float, share: float) -> None:
    windows = Windows.of(seconds, max(0.1, round(seconds * share, 3)))
    assert windows is not None
    starts = list(windows.starts(duration))
    assert starts[0] == 0 and len(set(starts)) == len(starts)
    assert all(after - before <= windows.hop + 1.1e-3 for before, after in itertools.pairwise(starts))
    assert math.isclose(max(starts[-1] + seconds, duration), max(duration, seconds), abs_tol=1e-3)


def test_a_window_is_a_clip_with_the_cells_of_its_recording(tmp_path: Path) -> None:
    rows = [("a", "a.wav", "s1", "sad", "train"), ("b", "b.wav", "s2", "glad", "test")]
    whole = corpus(tmp_path, rows, ("id", "path", "speaker", "mood", "split"), a=25.0, b=9.0)
    clips = cut(whole, Windows.of(10, 5)).clips
    assert [clip.id for clip in clips] == ["a@0-10", "a@5-15", "a@10-20", "a@15-25", "b"]
    assert {clip.recording for clip in clips[:4]} == {"a"} and clips[4].recording is None
    for clip in clips[:4]:
        assert (clip.speaker, clip.split, clip.cells) == ("s1", "train", (clip.id, "a.wav", "s1", "sad", "train"))
        assert decode(tmp_path / clip.path, clip.start, clip.end).seconds == pytest.approx(10, abs=1e-3)


@pytest.mark.parametrize(("samples", "windows"), [(80_004, 1), (80_006, 2)])
def test_what_is_longer_by_less_than_a_millisecond_is_one_window(tmp_path: Path, samples: int, windows: int) -> None:
    """Of 10 s: half a millisecond is four samples."""
    assert (
        len(cut(corpus(tmp_path, [("a", "a.wav")], ("id", "path"), a=samples / RATE), Windows.of(10, 5)).clips)
        == windows
    )


def test_a_segment_is_cut_within_itself(tmp_path: Path) -> None:
    whole = corpus(tmp_path, [("a", "a.wav", "3.5", "16")], ("id", "path", "start", "end"), a=25.0)
    clips = cut(whole, Windows.of(5, None)).clips
    assert [(clip.start, clip.end) for clip in clips] == [(3.5, 8.5), (8.5, 13.5), (11.0, 16.0)]


def test_a_recording_over_an_hour_can_be_cut(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(3_700 * 4_000, np.int16), 4_000)
    manifests.write(tmp_path / "manifest.csv", ("id", "path"), [("a", "a.wav")])
    assert len(cut(manifests.read(tmp_path / "manifest.csv"), Windows.of(100, None)).clips) == 37


def test_what_cannot_be_read_stays_to_be_named_later(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no audio")
    manifests.write(tmp_path / "manifest.csv", ("id", "path"), [("a", "a.wav")])
    assert [clip.id for clip in cut(manifests.read(tmp_path / "manifest.csv"), Windows.of(5, None)).clips] == ["a"]


def test_windows_of_a_recording_are_resampled_together_when_they_are_predicted(tmp_path: Path) -> None:
    whole = corpus(tmp_path, [("a", "a.wav", "1"), ("b", "b.wav", "0")], ("id", "path", "sad"), a=2.0, b=0.5)
    clips = cut(whole, Windows.of(1, 0.5))
    ids = [clip.id for clip in clips.clips]
    assert ids == ["a@0-1", "a@0.5-1.5", "a@1-2", "b"]
    for group in ("recording", "speaker"):  # the run's; neither is a column here
        known = known_of(Task("sad", "binary", ("not sad", "sad"), ("sad",)), group, clips, ids, print)
        assert known is not None and known.truth.tolist() == [1, 1, 1, 0]
        assert (known.group, known.groups) == ("recording", ("a", "a", "a", "b"))


def test_an_id_that_a_window_would_take_is_refused(tmp_path: Path) -> None:
    whole = corpus(tmp_path, [("a", "a.wav"), ("a@0-5", "b.wav")], ("id", "path"), a=9.0, b=1.0)
    with pytest.raises(ManifestError, match="'a@0-5' is the id of a window"):
        cut(whole, Windows.of(5, None))


def test_windows_of_a_recording_stay_on_one_side_even_when_clips_are_split(tmp_path: Path) -> None:
    names = [f"r{number}" for number in range(9)]
    rows = [(name, f"{name}.wav", str(number % 2)) for number, name in enumerate(names)]
    whole = corpus(tmp_path, rows, ("id", "path", "sad"), **dict.fromkeys(names, 2.0))
    clips = cut(whole, Windows.of(1, 0.5))
    question = build_task(clips, "sad", 3, 0, split_by="clip")
    sides: dict[str, set[int]] = {}
    for clip, fold in zip(clips.clips, question.folds.fold):
        sides.setdefault(str(clip.recording), set()).add(int(fold))
    assert len(sides) == 9 and all(len(folds) == 1 for folds in sides.values())
    assert question.groups[:3] == ("r0", "r0", "r0") and question.group == "recording"
    assert str(question.notes[0]).startswith("Recordings were split one by one")


@pytest.mark.parametrize(
    ("seconds", "hop"), [(5, 6), (5, 0), (math.nan, None), (math.inf, None), (None, 2), (0.05, None)]
)
def test_windows_that_skip_audio_are_refused(seconds: float | None, hop: float | None) -> None:
    with pytest.raises(InputError, match="--hop"):
        Windows.of(seconds, hop)


def test_windows_may_touch_and_start_every_tenth_of_a_second() -> None:
    assert Windows.of(5, None) == Windows.of(5, 5) == Windows(5.0, 5.0)
    assert Windows.of(0.1, None) == Windows(0.1, 0.1) and Windows.of(5.0004, 0.1) == Windows(5.0, 0.1)
    assert Windows.of(None, None) is None


def test_stores_that_were_cut_differently_are_not_compared() -> None:
    cut_up = {"windows": {"seconds": 10.0, "hop": 5.0}}
    assert Windows.shared({"a": cut_up, "b": cut_up}) == Windows(10, 5)
    assert Windows.shared({"a": {}}) is None
    with pytest.raises(InputError, match=r"a holds windows of 10 s, every 5 s, b recordings as they are"):
        Windows.shared({"a": cut_up, "b": {}})


def test_audio_that_several_clips_hold_counts_once(tmp_path: Path) -> None:
    """120 s in windows of 10 s every 5 s are 230 s of clips; segments of one channel overlap, those of two do not."""
    rows = [("call", "call.wav", "", "", ""), ("first", "two.wav", "0", "4", "0"), ("second", "two.wav", "3", "6", "0"),
            ("other", "two.wav", "3", "6", "1")]  # fmt: skip
    soundfile.write(tmp_path / "two.wav", np.full((6 * RATE, 2), 0.1), RATE)
    whole = corpus(tmp_path, rows, ("id", "path", "start", "end", "channel"), call=120.0)
    clips = cut(whole, Windows.of(10, 5))
    ids = [clip.id for clip in clips.clips]
    recordings = record(clips, ids, 1, quiet)
    assert len(ids) == 23 + 3 and sum(recordings.lengths.values()) == 16_000 * (230 + 4 + 3 + 3)
    assert recordings.audio_seconds(ids) == 120 + 6 + 3
    assert recordings.audio_seconds([clip for clip in ids if clip != "first"]) == 120 + 3 + 3

    kept = []
    for clip in clips.clips:
        source: Source = (1, 2, clip.start, clip.end, clip.channel, clip.duration, mark(clip.path))
        kept.append(ClipRecord(clip.id, source, "0" * 64, recordings.lengths[clip.id], recording=clip.recording))
    made = store.create(tmp_path, "tiny", ("encoder.0",), 1, {"dtype": "float32"})
    values = np.zeros((1, len(kept), 1), np.float32)
    with made.writing() as writer:
        writer.commit(ShardContent(tuple(kept), (), {"mean": values, "std": values}))
    made.refresh()
    assert audio_seconds(made, ids) == 120 + 6 + 3
