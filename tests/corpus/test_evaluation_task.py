from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.audio.clip import Clip
from toolkit.core.errors import InputError, LabelError, SplitError
from toolkit.core.i18n import Note
from toolkit.corpus import evaluation_task, splits
from toolkit.corpus.evaluation_task import build_task
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.spellings import Rules


def manifest(rows: Sequence[dict[str, str]]) -> Manifest:
    clips = tuple(
        Clip(row["id"], f"{row['id']}.wav", line, cells=("x.wav", *row.values())) for line, row in enumerate(rows, 2)
    )
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
    asked = build_task(manifest(rows()), "emotion", 5, seed=0)
    assert asked.task.kind == "multiclass" and asked.folds.count == 5
    assert asked.group == "speaker" and asked.groups == asked.folds.groups
    assert splits.audit(asked.folds, {}) == [] and asked.notes == ()


def test_several_labels_are_dealt_out_with_their_speakers_kept_apart() -> None:
    own = [{**row, "fear": str(k % 2), "anger": str(k // 10 % 2)} for k, row in enumerate(rows())]
    asked = build_task(manifest(own), "fear,anger", 5, seed=0)
    assert asked.task.kind == "multilabel" and asked.truth[:12].tolist() == [[k % 2, k // 10] for k in range(12)]
    assert splits.audit(asked.folds, {}) == [] and asked.folds.count == 5


def test_another_column_is_kept_apart_and_the_speakers_on_both_sides_are_told() -> None:
    asked = build_task(manifest(rows()), "emotion", 5, seed=0, group_by="syllable")
    assert asked.group == "syllable" and set(asked.groups) == {f"y{k}" for k in range(12)}
    assert [*map(str, asked.notes)] == ["10 of 10 speakers are on both sides: the folds keep syllables apart."]
    called = [{**row, "speaker": f"s{k % 5}_call{k // 5 % 2}"} for k, row in enumerate(rows())]
    assert [*map(str, build_task(manifest(called), "emotion", 5, seed=0).notes)] == [
        "One speaker may be here under several names, and so on both sides of a split (seen 5 times): 's0_call0' and "
        "'s0_call1'; 's1_call0' and 's1_call1'; 's2_call0' and 's2_call1'. If so, name a column with one name for each "
        "in --group-by."
    ]


def test_clips_are_split_only_when_leakage_is_accepted_and_intervals_still_resample_speakers() -> None:
    asked = build_task(manifest(rows()), "emotion", 5, seed=0, split_by="clip")
    assert asked.folds.groups == asked.folds.ids and asked.group == "speaker" and len(set(asked.groups)) == 10
    assert "so the scores are optimistic" in str(asked.notes[0])


def test_clip_by_clip_what_an_interval_resamples_is_the_group_that_is_named() -> None:
    corpus = rows()
    by_speaker = build_task(manifest(corpus), "emotion", 5, seed=0, split_by="clip")
    by_syllable = build_task(manifest(corpus), "emotion", 5, seed=0, split_by="clip", group_by="syllable")
    assert (by_speaker.group, by_speaker.groups) == ("speaker", tuple(row["speaker"] for row in corpus))
    assert (by_syllable.group, by_syllable.groups) == ("syllable", tuple(row["syllable"] for row in corpus))
    for asked in (by_speaker, by_syllable):
        assert asked.folds.groups == asked.folds.ids == tuple(f"c{k}" for k in range(60))
        assert asked.folds.group_by == "clip" and asked.folds.sha256 == by_speaker.folds.sha256
    assert evaluation_task.kept_apart(by_syllable).folds.groups == by_syllable.groups
    by_group = build_task(manifest(corpus), "emotion", 5, seed=0, group_by="syllable")
    assert by_group.groups == by_group.folds.groups == by_syllable.groups
    alone = [{**row, "speaker": f"s{number}"} for number, row in enumerate(corpus)]
    asked = build_task(manifest(alone), "emotion", 5, seed=0, split_by="clip")
    assert [*map(str, asked.notes)] == ["Clips were split one by one (--split-by clip): no speaker is on both sides."]


def test_no_speaker_column_is_refused_unless_clips_may_be_split() -> None:
    without = [{key: value for key, value in row.items() if key != "speaker"} for row in rows()]
    with pytest.raises(SplitError, match=r"No column 'speaker' to keep apart.*--split-by clip"):
        build_task(manifest(without), "emotion", 5, seed=0)
    asked = build_task(manifest(without), "emotion", 5, seed=0, split_by="clip")
    assert asked.groups == asked.folds.ids
    with pytest.raises(SplitError, match="No column 'call' to keep apart"):
        build_task(manifest(without), "emotion", 5, seed=0, split_by="clip", group_by="call")
    with pytest.raises(SplitError, match=r"the manifest has \['syllable', 'emotion'\]\."):  # and none that names audio
        build_task(manifest([{**row, "start": "", "end": "", "duration": ""} for row in without]), "emotion", 5, 0)
    assert (asked.group, len(asked.notes)) == ("speaker", 2) and str(asked.notes[0]).startswith(
        "Clips were split one by one"
    )
    named = manifest([{**row, "clip": row["id"]} for row in rows()])
    with pytest.raises(SplitError, match="--group-by clip means clips one by one"):
        build_task(named, "emotion", 5, 0, group_by="clip")
    assert build_task(named, "emotion", 5, 0, group_by="clip", split_by="clip").group == "clip"


@pytest.mark.parametrize("column", ["speaker", "syllable"])
def test_an_empty_cell_of_what_is_kept_apart_is_refused_with_its_line(column: str) -> None:
    """And of the speaker, who is counted where something else is kept apart."""
    corpus = rows()
    corpus[3][column] = " "
    with pytest.raises(SplitError, match=f"Manifest line 5, column '{column}': it is empty"):
        build_task(manifest(corpus), "emotion", 5, seed=0, group_by="syllable")


def test_speakers_who_are_asked_for_are_read_as_labels() -> None:
    corpus = manifest([{**row, "speaker": f"{number % 2}.0"} for number, row in enumerate(rows())])
    asked = build_task(corpus, "speaker", 5, seed=0, split_by="clip", rules=Rules("merge"))
    assert (asked.task.kind, asked.task.labels) == ("binary", ("not speaker", "speaker"))
    with pytest.raises(LabelError, match="column 'speaker'"):
        build_task(corpus, "speaker", 5, seed=0, split_by="clip")


def test_a_split_column_is_honoured() -> None:
    corpus = rows()
    for row in corpus:
        row["split"] = "test" if row["speaker"] in ("s0", "s1") else "train"
    asked = build_task(manifest(corpus), "emotion", 5, seed=0)
    (only,) = asked.folds.rounds()
    tested = {asked.folds.groups[clip] for clip in only.test}
    assert asked.folds.scheme == "fixed" and tested == {"s0", "s1"} and len(only.development)


def test_a_test_part_that_lacks_labels_is_told_and_one_without_any_difference_refused() -> None:
    corpus = rows(split="train")
    for row in corpus:
        if row["speaker"] in ("s0", "s1"):
            row |= {"split": "test", "emotion": "joy" if row["emotion"] == "fear" else row["emotion"]}
    assert [*map(str, build_task(manifest(corpus), "emotion", 5, seed=0).notes)] == [
        "The test part of the split column has no clip with 'fear': figures over all labels are of the others alone."
    ]
    alone = [{**row, "emotion": "joy"} if row["split"] == "test" else row for row in corpus]
    with pytest.raises(SplitError, match="has nothing to tell apart in 'emotion': it does not vary in its 12 clips"):
        build_task(manifest(alone), "emotion", 5, seed=0)


def test_clips_split_one_by_one_are_dealt_out_anew_where_there_is_a_split_column_and_it_is_said() -> None:
    corpus = rows()
    plain = build_task(manifest(corpus), "emotion", 5, seed=0, split_by="clip")
    for number, row in enumerate(corpus):
        row["split"] = "test" if number % 3 else "train"  # of every speaker on both sides
    asked = build_task(manifest(corpus), "emotion", 5, seed=0, split_by="clip")
    assert asked.folds.sha256 == plain.folds.sha256
    assert Note("split_unused", {}) in asked.notes
    with pytest.raises(SplitError, match="The split column leaks"):
        build_task(manifest(corpus), "emotion", 5, seed=0)
    apart = build_task(manifest(corpus), "emotion", 5, seed=0, own_split=False)
    assert apart.folds.sha256 == evaluation_task.kept_apart(asked).folds.sha256 and splits.audit(apart.folds, {}) == []


def test_the_same_audio_under_two_ids_on_both_sides_is_refused() -> None:
    asked = build_task(manifest(rows()), "emotion", 5, seed=0)
    first = asked.folds.ids[0]
    other = next(clip for clip, fold in zip(asked.folds.ids, asked.folds.fold) if fold != asked.folds.fold[0])
    audio = {clip: clip for clip in asked.folds.ids}
    evaluation_task.check_leaks(asked, audio)
    with pytest.raises(SplitError, match=r"the same audio is in fold .* \(clip '\w+'\)\. Give"):
        evaluation_task.check_leaks(asked, {**audio, other: first})
    with pytest.raises(SplitError, match=r" \(and 1 more\)\. Give"):
        evaluation_task.check_leaks(asked, {clip: str(number % 2) for number, clip in enumerate(asked.folds.ids)})


def test_what_the_folds_keep_apart_cannot_be_asked_for() -> None:
    for target, group in (("speaker", "speaker"), ("name", "speaker"), ("syllable", "syllable")):
        corpus = [{**row, "name": row["speaker"].replace("s", "caller ")} for row in rows()]
        with pytest.raises(LabelError, match=f"--target {target} has another value for every {group}"):
            build_task(manifest(corpus), target, 5, seed=0, group_by=group)
    asked = build_task(manifest(rows()), "speaker", 5, seed=0, group_by="syllable")
    assert len(asked.task.labels) == 10  # each in all folds
    assert len(build_task(manifest(rows()), "speaker", 5, seed=0, split_by="clip").task.labels) == 10
    corpus = [{**row, "name": "one" if row["speaker"] in ("s0", "s1") else row["speaker"]} for row in rows()]
    assert build_task(manifest(corpus), "name", 5, seed=0).task.kind == "multiclass"  # two speakers share a value


def segments(*spans: tuple[str, str, float | None, float | None, int | None]) -> Manifest:
    """Clips of (path, speaker, start, end, channel)."""
    clips = tuple(
        Clip(f"c{n}", path, n + 2, start, end, channel, cells=(f"c{n}", path, speaker, ["joy", "anger"][n % 2]))
        for n, (path, speaker, start, end, channel) in enumerate(spans)
    )
    return Manifest("manifest.csv", Path(), ("id", "path", "speaker", "emotion"), clips)


REST = tuple((f"{n}.wav", f"s{n // 2}", None, None, None) for n in range(8))


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        (("a.wav", "x", 0.0, 2.0, None), ("a.wav", "y", 1.8, 4.0, None), True),
        (("a.wav", "x", 0.0, 2.0, None), ("a.wav", "y", 1.95, 4.0, None), False),  # marks are no more exact
        (("a.wav", "x", None, None, None), ("./a.wav", "y", 60.0, 61.0, None), True),  # all of it holds the part
        (("a.wav", "x", 5.0, None, None), ("a.wav", "y", None, 5.0, None), False),
        (("a.wav", "x", 0.0, 2.0, 0), ("a.wav", "y", 0.0, 2.0, 1), False),  # two voices in two channels
        (("a.wav", "x", 0.0, 2.0, 0), ("a.wav", "y", 0.0, 2.0, None), True),  # the mean holds both
        (("a.wav", "x", 0.0, 2.0, None), ("a.wav", "x", 1.0, 3.0, None), False),  # one speaker's
        (("a.wav", "x", 0.0, 2.0, None), ("b.wav", "y", 1.0, 3.0, None), False),
    ],
)
def test_one_audio_under_two_groups_is_refused_from_the_manifest_alone(one: Any, other: Any, overlap: bool) -> None:
    corpus = segments(*REST, one, other)
    if not overlap:
        assert len(build_task(corpus, "emotion", 3, seed=0).folds.ids) == 10
        return
    with pytest.raises(SplitError, match=r"lines 10 and 11: 'c8' of speaker 'x' and 'c9' of speaker 'y' are parts of"):
        build_task(corpus, "emotion", 3, seed=0)
    assert len(build_task(corpus, "emotion", 3, seed=0, split_by="clip").folds.ids) == 10


def test_wrong_questions_are_refused_with_both_sides_of_the_story() -> None:
    for target in ("mood", "emotion,mood"):
        with pytest.raises(LabelError, match="'mood'"):
            build_task(manifest(rows()), target, 5, seed=0)
    for spelt in ("refuse", "merge", "keep"):  # a column that is not there is no spelling of one that is
        with pytest.raises(LabelError, match="No label column 'Emotion'"):
            build_task(manifest(rows()), "emotion,Emotion", 5, seed=0, rules=Rules(spelt))
    with pytest.raises(SplitError, match=r"--folds 11 needs.*10"):
        build_task(manifest(rows()), "emotion", 11, seed=0)
    with pytest.raises(SplitError, match="--folds 0: at least 3"):
        build_task(manifest(rows()), "emotion", 0, seed=0, split_by="clip")
    with pytest.raises(SplitError, match="Bad --split-by"):
        build_task(manifest(rows()), "emotion", 5, seed=0, split_by="speaker")


def test_the_folds_are_written_once_and_shared(tmp_path: Path) -> None:
    asked = build_task(manifest(rows()), "emotion", 5, seed=0)
    path = evaluation_task.keep(asked, tmp_path)
    assert path == evaluation_task.keep(asked, tmp_path) and path.parent.name == "folds"
    assert path.name == f"emotion-5-{asked.folds.sha256[:12]}.json"
    assert np.array_equal(splits.read(path).fold, asked.folds.fold)


def test_all_folds_leave_one_speaker_out() -> None:
    asked = build_task(manifest(rows()), "emotion", None, seed=0)
    assert asked.folds.count == 10
    for one in asked.folds.rounds():
        assert len({asked.groups[clip] for clip in one.test}) == 1
    assert "chooses on a single speaker" in str(asked.notes[0])
    with pytest.raises(SplitError, match="split column deals"):
        build_task(manifest(rows(split="train")), "emotion", None, seed=0)
    with pytest.raises(SplitError, match=r"--folds all .*--split-by clip deals"):
        build_task(manifest(rows()), "emotion", None, seed=0, split_by="clip")


def test_one_deal_of_the_folds_is_not_counted_twice() -> None:
    corpus = manifest(rows())
    deals = [build_task(corpus, "emotion", 5, seed).folds for seed in range(3)]
    evaluation_task.check_repeats(corpus, "group", deals)
    said = "--repeats 3: only 2 of these deals of the folds differ; ask for fewer, or for other --folds"
    with pytest.raises(SplitError) as caught:
        evaluation_task.check_repeats(corpus, "group", [*deals[:2], replace(deals[1], fold=4 - deals[1].fold, seed=2)])
    assert str(caught.value) == said
    out = [build_task(corpus, "emotion", None, seed).folds for seed in range(2)]
    with pytest.raises(SplitError, match="--repeats 2: only 1 of these deals"):
        evaluation_task.check_repeats(corpus, "group", out)


def test_folds_that_a_split_column_numbers_are_not_dealt_anew() -> None:
    corpus = manifest([{**row, "split": str(int(row["speaker"][1:]) % 3)} for row in rows()])
    one = build_task(corpus, "emotion", 5, seed=0).folds
    assert (one.scheme, one.count) == ("kfold", 3)
    evaluation_task.check_repeats(corpus, "group", [one])
    with pytest.raises(SplitError, match="--repeats deals the folds anew, and the manifest's split column fixes them"):
        evaluation_task.check_repeats(corpus, "group", [one, one])
    by_clip = [build_task(corpus, "emotion", 5, seed, split_by="clip").folds for seed in range(2)]
    evaluation_task.check_repeats(corpus, "clip", by_clip)


def test_a_question_split_by_clip_can_be_asked_with_its_speakers_kept_apart() -> None:
    by_clip = build_task(manifest(rows()), "emotion", 5, seed=0, split_by="clip")
    honest = evaluation_task.kept_apart(by_clip)
    plain = build_task(manifest(rows()), "emotion", 5, seed=0)
    assert honest.folds.sha256 == plain.folds.sha256 and honest.notes == () and honest.groups == plain.groups
    again = evaluation_task.honest_of(by_clip)
    assert again is not None and again.folds.sha256 == plain.folds.sha256
    assert evaluation_task.honest_of(plain) is None  # it is honest
    few = build_task(manifest(rows(speaker="one")), "emotion", 5, seed=0, split_by="clip")
    assert evaluation_task.honest_of(few) is None  # one speaker is not enough for folds


def test_a_number_of_folds_is_whole_or_all() -> None:
    assert [evaluation_task.fold_count(folds) for folds in (5, "12", "all")] == [5, 12, None]
    for folds in ("x", "-3", "2.5", "\u0663"):
        with pytest.raises(InputError, match="expected a number from 3, or all"):
            evaluation_task.fold_count(folds)
