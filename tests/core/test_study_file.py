"""Studies on disk: what was appended is there, whatever tore the file afterwards."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from toolkit.core.errors import DiskFullError, StoreError
from toolkit.core.study_file import StudyFile

NAMES = "linear encoder.0 round 0", "mlp encoder.1 round 2"


def trial(value: float, pruned: bool = False) -> FrozenTrial:
    state = TrialState.PRUNED if pruned else TrialState.COMPLETE
    return create_trial(
        state=state,
        value=value,
        params={"C": value / 3},
        distributions={"C": FloatDistribution(1e-6, 1e3, log=True)},
        intermediate_values={1: value + 1, 7: value},
    )


def filled(path: Path) -> StudyFile:
    """Two studies of two trials and of one."""
    file = StudyFile(path)
    for name in NAMES:
        assert file.kept(name) == [] and file.finished(name, "made with") == []
    file.append(NAMES[0], [trial(0.1), trial(0.2, pruned=True)])
    file.append(NAMES[1], [trial(0.3)])
    return file


def said(trials: list[FrozenTrial]) -> list[tuple[object, ...]]:
    return [(one.number, one.state, one.value, one.params, one.intermediate_values) for one in trials]


def test_what_was_appended_is_read_again_to_the_last_bit(tmp_path: Path) -> None:
    file, again = filled(tmp_path / "a.jsonl"), StudyFile(tmp_path / "a.jsonl")
    for name in NAMES:
        assert said(again.finished(name, "made with")) == said(file.kept(name))
    assert [one.value for one in again.kept(NAMES[0])] == [0.1, 0.2]
    assert again.kept(NAMES[0])[1].params == {"C": 0.2 / 3}
    assert again.kept("another") == []


def test_optuna_itself_reads_the_file(tmp_path: Path) -> None:
    file = filled(tmp_path / "a.jsonl")
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "a.jsonl")))
    assert optuna.get_all_study_names(storage) == list(NAMES)
    study = optuna.load_study(study_name=NAMES[0], storage=storage)
    assert said(study.trials) == said(file.kept(NAMES[0])) and study.best_value == 0.1


def test_a_study_of_other_data_is_refused(tmp_path: Path) -> None:
    file = filled(tmp_path / "a.jsonl")
    with pytest.raises(StoreError, match=r"a\.jsonl.*made with other clips"):
        file.finished(NAMES[0], "another")


@pytest.mark.parametrize("content", [b"not a journal" * 100, b'{"op_code": 77}\n', b"[1]\n"])
def test_a_file_that_is_no_study_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(StoreError, match=r"a\.jsonl is not a readable Optuna study"):
        StudyFile(tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == content


def test_cut_off_anywhere_the_whole_lines_are_read_and_the_rest_is_written_anew(tmp_path: Path) -> None:
    whole = filled(tmp_path / "a.jsonl")
    content = (tmp_path / "a.jsonl").read_bytes()
    first, *others = [match.end() for match in re.finditer(b"\n", content)]
    for cut in (first, *(cut for end in others for cut in (end - 9, end - 1, end))):
        for tail in (b"", b"\0" * 40):  # a power cut leaves zeros where nothing had reached the disk
            (tmp_path / "b.jsonl").write_bytes(content[:cut] + tail)
            file = StudyFile(tmp_path / "b.jsonl")
            for name in NAMES:
                kept = file.finished(name, "made with")
                assert said(kept) == said(whole.kept(name))[: len(kept)]
                file.append(name, whole.kept(name)[len(kept) :])
            for name in NAMES:
                assert said(StudyFile(tmp_path / "b.jsonl").kept(name)) == said(whole.kept(name))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda lines: [line.replace(b"0.3", b"0.4") for line in lines], 7),
        (lambda lines: [*lines[:4], lines[3], *lines[4:]], 5),
        (lambda lines: [*lines[:3], *lines[4:]], 4),
    ],
)
def test_a_line_that_was_changed_doubled_or_lost_is_named(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], line: int
) -> None:
    filled(tmp_path / "a.jsonl")
    lines = (tmp_path / "a.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_bytes(b"".join(change(lines)))
    with pytest.raises(StoreError, match=rf"a\.jsonl is not .*: line {line} is changed since it was written; move it"):
        StudyFile(tmp_path / "a.jsonl")


def test_a_write_that_failed_half_way_is_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = filled(tmp_path / "a.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
        with pytest.raises(DiskFullError):
            file.append(NAMES[1], [trial(0.4)])
    with (tmp_path / "a.jsonl").open("ab") as torn:
        torn.write(b'{"half')
    file.append(NAMES[1], [trial(0.5)])
    assert [one.value for one in StudyFile(tmp_path / "a.jsonl").kept(NAMES[1])] == [0.3, 0.4, 0.5]


def test_a_file_that_is_deleted_meanwhile_is_written_anew(tmp_path: Path) -> None:
    file = filled(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").unlink()
    file.append(NAMES[1], [trial(0.4)])
    again = StudyFile(tmp_path / "a.jsonl")
    for name in NAMES:
        assert said(again.finished(name, "made with")) == said(file.kept(name))


def test_a_search_that_goes_on_adds_its_trials_alone(tmp_path: Path) -> None:
    filled(tmp_path / "a.jsonl")
    before = (tmp_path / "a.jsonl").read_bytes()
    file = StudyFile(tmp_path / "a.jsonl")
    for name in NAMES:
        file.finished(name, "made with")
    file.append(NAMES[0], [trial(0.4)])
    after = (tmp_path / "a.jsonl").read_bytes()
    assert after.startswith(before) and after[len(before) :].count(b"\n") == 1


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").mkdir()
    with pytest.raises(StoreError, match=r"a\.jsonl cannot be read"):
        StudyFile(tmp_path / "a.jsonl")
