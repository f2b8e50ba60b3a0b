"""From a manifest and the user's options to the task, the truth and the folds that every stage of a study shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toolkit import splits
from toolkit.errors import SplitError, one_of
from toolkit.labels import IntArray, Task, one_hot, task_of
from toolkit.manifest import Manifest
from toolkit.runs import make_folder
from toolkit.splits import Folds

SPLIT_BY = ("group", "clip")


@dataclass(frozen=True)
class Question:
    """What is asked of a corpus, the same for every backbone, probe and fine-tuning.

    truth: in the order of folds.ids. groups: likewise, what an interval resamples (callers, unless something else is
    kept apart; the clips themselves where no speaker is known), and group what they are, e.g. "speaker".
    notes: sentences that a reader of the figures must see.
    """

    task: Task
    truth: IntArray
    folds: Folds
    groups: tuple[str, ...]
    group: str = "speaker"
    notes: tuple[str, ...] = field(default=())


def pose(
    manifest: Manifest, target: str, count: int, seed: int, group_by: str = "speaker", split_by: str = "group"
) -> Question:
    """Task, truth and folds for `--target`.

    count: folds; ignored where the manifest has a `split` column. group_by: the column that is kept apart.
    split_by: "clip" deals clips out one by one and accepts that a speaker is on both sides.
    Raises LabelError for a target that the columns do not give, SplitError for folds that cannot be made.
    """
    if split_by not in SPLIT_BY:
        raise SplitError(one_of("--split-by", split_by, SPLIT_BY))
    columns: dict[str, Sequence[str]] = {column: manifest.cells(column) for column in manifest.columns}
    task, truth = task_of(target, columns, manifest.lines)
    ids = tuple(clip.id for clip in manifest.clips)
    notes = []
    if split_by == "clip":
        apart, group_by = ids, "clip"
        groups, group = tuple(columns.get("speaker", ids)), "speaker"
        notes.append("Clips were split one by one (--split-by clip): speakers are on both sides, the figures flatter.")
    elif group_by not in columns:
        known = [column for column in columns if column not in ("id", "path", "start", "end", "duration")]
        raise SplitError(
            f"No column {group_by!r} to keep apart, the manifest has {known}. Name one with --group-by, or accept "
            "that a speaker may be on both sides with --split-by clip"
        )
    else:
        apart = groups = tuple(columns[group_by])
        group = group_by
        for value, line in zip(groups, manifest.lines):
            if not value.strip():
                raise SplitError(f"Line {line}, column {group_by!r}: it is empty; expected the group to keep apart")
    if "split" in columns and split_by != "clip":
        folds = splits.fixed(ids, apart, columns["split"], group_by, seed)
    else:
        folds = splits.make(ids, apart, one_hot(task, truth), count, seed, group_by)
    if group_by not in ("clip", "speaker") and "speaker" in columns:
        split = splits.audit(folds, {}, dict(zip(ids, columns["speaker"])))
        speakers = len(set(columns["speaker"]))
        if split:
            notes.append(f"{len(split)} of {speakers} speakers are on both sides: the folds keep {group_by}s apart.")
    return Question(task, truth, folds, groups, group, tuple(notes))


def refuse_leaks(question: Question, audio_sha256: Mapping[str, str]) -> None:
    """The same recording under two ids must not be on both sides. Raises SplitError, unless clips were split."""
    if question.folds.group_by == "clip":
        return
    leaks = splits.audit(question.folds, audio_sha256)
    if leaks:
        more = f" (and {len(leaks) - 1} more)" if len(leaks) > 1 else ""
        raise SplitError(
            f"The folds leak: {leaks[0]}{more}. Give both the same {question.folds.group_by!r}, drop one, or accept it "
            "with --split-by clip"
        )


def keep(question: Question, result: Path) -> Path:
    """Write the folds to result/folds/, under a name with their hash; runs on the same folds share the file."""
    name = f"{safe(question.task.name)}-{question.folds.count}-{question.folds.sha256[:12]}.json"
    path = make_folder(result / "folds") / name
    if not path.exists():
        question.folds.write(path)
    return path


def safe(name: str) -> str:
    """A label's name as part of a file's name.

    >>> safe("despair+sadness"), safe("a/b c")
    ('despair+sadness', 'a_b_c')
    """
    return "".join(letter if letter.isalnum() or letter in "+-." else "_" for letter in name).lstrip(".") or "task"
