"""Folds as they are kept: their file and its hash, clips left out of them, and the audit of leaks."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.core.artifacts import commit_hashed, signature
from toolkit.core.errors import SplitError
from toolkit.corpus import splits
from toolkit.corpus.splits import Folds


def small() -> Folds:
    return Folds(tuple("abcdef"), tuple("stuvwx"), np.array([0, 1, 2, 0, 1, 2]), "call", 7)


def test_the_audit_finds_the_same_audio_and_the_same_speaker_on_both_sides_once_each() -> None:
    same = {"a": "11", "b": "22", "c": "11", "d": "33", "e": "11"}
    leaks = splits.audit(small(), same, speakers=dict(zip("abcdef", "ppqqrr")))
    assert leaks[0] == "the same audio is in fold 0 (clip 'a') and in fold 2 (clip 'c')"
    assert [leak.split(" is in")[0] for leak in leaks[1:]] == ["speaker 'p'", "speaker 'q'", "speaker 'r'"]
    assert splits.audit(small(), {"a": "11", "d": "11"}) == []


def test_folds_come_back_from_their_file(tmp_path: Path) -> None:
    small().write(tmp_path / "folds.json")
    read = splits.read(tmp_path / "folds.json")
    assert (read.content, read.sha256) == (small().content, small().sha256)
    assert read.fold.dtype == np.int64


@pytest.mark.parametrize(
    ("key", "value"),
    [("fold", [0, 1, 2, 0, 1, 1]), ("ids", list("abcdeg")), ("seed", 8), ("group_by", "speaker"), ("scheme", "fixed"),
     ("format", 2), ("fold", [0.0, 1, 2, 0, 1, 2.5]), ("more", 1), ("sha256", "0" * 64)],
)  # fmt: skip
def test_folds_that_were_changed_by_hand_are_refused(key: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "folds.json"
    small().write(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(SplitError, match=r"folds\.json is .* damaged: it (has been changed|holds more than folds)"):
        splits.read(path)


def test_a_folds_file_with_something_more_is_refused_though_its_hash_is_right(tmp_path: Path) -> None:
    commit_hashed(tmp_path / "folds.json", {**small().content, "more": 1})
    with pytest.raises(SplitError, match="it holds more than folds"):
        splits.read(tmp_path / "folds.json")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"sha256": "a"}', "\udce9", "[" * 100_000,
     '{"sha256": "", "ids": ["\\ud800"], "groups": [], "fold": [], "group_by": "", "seed": 0, "scheme": "kfold"}',
     '{"sha256": "", "ids": [], "groups": [], "fold": [1e999], "group_by": "", "seed": 0, "scheme": "kfold"}',
     '{"sha256": "", "ids": [], "groups": [], "fold": [99999999999999999999], "group_by": "", "seed": 0, "scheme": ""}',
     '{"sha256": "", "ids": [], "groups": [], "fold": [[1], []], "group_by": "", "seed": NaN, "scheme": ""}'],
)  # fmt: skip
def test_files_that_are_no_folds_are_refused_in_a_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "folds.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(SplitError, match=r"folds\.json"):
        splits.read(path)


def test_a_missing_folds_file_or_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"No folds file absent\.json"):
        splits.read(tmp_path / "absent.json")
    with pytest.raises(SplitError, match="cannot be read"):
        splits.read(tmp_path)


@given(st.binary(max_size=8), st.integers(0, 400))
def test_a_damaged_folds_file_is_refused_or_unchanged(tmp_path: Path, patch: bytes, position: int) -> None:
    path = tmp_path / "folds.json"
    small().write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:position] + patch + whole[position + len(patch) :])
    try:
        assert splits.read(path).content == small().content
    except SplitError as error:
        assert path.name in str(error)


def test_left_out_clips_move_no_other(tmp_path: Path) -> None:
    rest = small().without({"b", "absent"})
    assert (rest.ids, rest.groups, rest.fold.tolist()) == (tuple("acdef"), tuple("suvwx"), [0, 2, 0, 1, 2])
    assert rest.sha256 != small().sha256
    assert small().without(set()).sha256 == small().sha256
    rest.write(tmp_path / "folds.json")
    assert splits.read(tmp_path / "folds.json").ids == rest.ids


@pytest.mark.parametrize("left_out", [set("be"), set("abcdef"), set("cf")])
def test_a_fold_that_would_be_empty_is_named(left_out: set[str]) -> None:
    with pytest.raises(SplitError, match=f"{len(left_out)} clips were left out a fold is empty; 3 filled"):
        small().without(left_out)


def test_the_hash_of_folds_is_that_of_their_content_on_every_machine() -> None:
    assert small().sha256 == signature(small().content)
    assert small().sha256.startswith("4000b4d06d50913a")
