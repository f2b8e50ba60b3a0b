from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from toolkit import folding, splits
from toolkit.errors import LabelError, SplitError
from toolkit.manifest import Clip, Manifest


def manifest(rows: Sequence[dict[str, str]]) -> Manifest:
    clips = tuple(Clip(row["id"], "x.wav", line, cells=("x.wav", *row.values())) for line, row in enumerate(rows, 2))
    return Manifest("manifest.csv", Path(), ("path", *rows[0]), clips)


def rows(count: int = 60, **extra: str) -> list[dict[str, str]]:
    return [
        {
            "id": f"c{k}",
            "speaker": f"s{k % 10}",
            "syllable": f"y{k % 12}",
            "emotion": ["joy", "anger", "fear"][k % 3],
            **extra,
        }
        for k in range(count)
    ]


def test_speakers_are_kept_apart_and_resampled() -> None:
    asked = folding.pose(manifest(rows()), "emotion", 5, seed=0)
    assert asked.task.kind == "multiclass" and asked.folds.count == 5
    assert asked.group == "speaker" and asked.groups == asked.folds.groups
    assert splits.audit(asked.folds, {}) == [] and asked.notes == ()


def test_another_column_is_kept_apart_and_the_speakers_on_both_sides_are_told() -> None:
    asked = folding.pose(manifest(rows()), "emotion", 5, seed=0, group_by="syllable")
    assert asked.group == "syllable" and set(asked.groups) == {f"y{k}" for k in range(12)}
    assert asked.notes == ("10 of 10 speakers are on both sides: the folds keep syllables apart.",)


def test_clips_are_split_only_when_leakage_is_accepted_and_intervals_still_resample_speakers() -> None:
    asked = folding.pose(manifest(rows()), "emotion", 5, seed=0, split_by="clip")
    assert asked.folds.groups == asked.folds.ids and asked.group == "speaker" and len(set(asked.groups)) == 10
    assert "the figures flatter" in asked.notes[0]


def test_no_speaker_column_is_refused_unless_clips_may_be_split() -> None:
    without = [{key: value for key, value in row.items() if key != "speaker"} for row in rows()]
    with pytest.raises(SplitError, match=r"No column 'speaker' to keep apart.*--split-by clip"):
        folding.pose(manifest(without), "emotion", 5, seed=0)
    asked = folding.pose(manifest(without), "emotion", 5, seed=0, split_by="clip")
    assert asked.groups == asked.folds.ids


def test_a_split_column_is_honoured() -> None:
    corpus = rows()
    for row in corpus:
        row["split"] = "test" if row["speaker"] in ("s0", "s1") else "train"
    asked = folding.pose(manifest(corpus), "emotion", 5, seed=0)
    (only,) = asked.folds.rounds()
    tested = {asked.folds.groups[clip] for clip in only.test}
    assert asked.folds.scheme == "fixed" and tested == {"s0", "s1"} and len(only.development)


def test_clips_split_one_by_one_are_dealt_out_anew_where_there_is_a_split_column_and_it_is_said() -> None:
    corpus = rows()
    plain = folding.pose(manifest(corpus), "emotion", 5, seed=0, split_by="clip")
    for number, row in enumerate(corpus):
        row["split"] = "test" if number % 3 else "train"  # of every speaker on both sides
    asked = folding.pose(manifest(corpus), "emotion", 5, seed=0, split_by="clip")
    assert asked.folds.sha256 == plain.folds.sha256
    assert "The manifest's split column is not used: --split-by clip deals the clips out anew." in asked.notes
    with pytest.raises(SplitError, match="The split column leaks"):
        folding.pose(manifest(corpus), "emotion", 5, seed=0)
    apart = folding.pose(manifest(corpus), "emotion", 5, seed=0, own_split=False)
    assert apart.folds.sha256 == folding.kept_apart(asked).folds.sha256 and splits.audit(apart.folds, {}) == []


def test_the_same_audio_under_two_ids_on_both_sides_is_refused() -> None:
    asked = folding.pose(manifest(rows()), "emotion", 5, seed=0)
    first = asked.folds.ids[0]
    other = next(clip for clip, fold in zip(asked.folds.ids, asked.folds.fold) if fold != asked.folds.fold[0])
    audio = {clip: clip for clip in asked.folds.ids}
    folding.refuse_leaks(asked, audio)
    with pytest.raises(SplitError, match="the same audio is in fold"):
        folding.refuse_leaks(asked, {**audio, other: first})


def test_wrong_questions_are_refused_with_both_sides_of_the_story() -> None:
    with pytest.raises(LabelError, match="'mood'"):
        folding.pose(manifest(rows()), "mood", 5, seed=0)
    with pytest.raises(SplitError, match=r"11 folds.*10"):
        folding.pose(manifest(rows()), "emotion", 11, seed=0)
    with pytest.raises(SplitError, match="Bad --split-by"):
        folding.pose(manifest(rows()), "emotion", 5, seed=0, split_by="speaker")


def test_the_folds_are_written_once_and_shared(tmp_path: Path) -> None:
    asked = folding.pose(manifest(rows()), "emotion", 5, seed=0)
    path = folding.keep(asked, tmp_path)
    assert path == folding.keep(asked, tmp_path) and path.parent.name == "folds"
    assert np.array_equal(splits.read(path).fold, asked.folds.fold)


def test_all_folds_leave_one_speaker_out() -> None:
    asked = folding.pose(manifest(rows()), "emotion", None, seed=0)
    assert asked.folds.count == 10
    for one in asked.folds.rounds():
        assert len({asked.groups[clip] for clip in one.test}) == 1
    assert "chooses on a single speaker" in asked.notes[0]
    with pytest.raises(SplitError, match="split column deals"):
        folding.pose(manifest(rows(split="train")), "emotion", None, seed=0)


def test_a_question_split_by_clip_can_be_asked_with_its_speakers_kept_apart() -> None:
    by_clip = folding.pose(manifest(rows()), "emotion", 5, seed=0, split_by="clip")
    honest = folding.kept_apart(by_clip)
    plain = folding.pose(manifest(rows()), "emotion", 5, seed=0)
    assert honest.folds.sha256 == plain.folds.sha256 and honest.notes == () and honest.groups == plain.groups
