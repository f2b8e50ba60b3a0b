"""From a manifest and the user's options to the task, the truth and the folds that every stage of a study shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    manifest: Manifest,
    target: str,
    count: int | None,
    seed: int,
    group_by: str = "speaker",
    split_by: str = "group",
    own_split: bool = True,
) -> Question:
    """Task, truth and folds for `--target`.

    count: folds, None for as many as there are groups (leave one speaker out); a number is ignored where the manifest
    has a `split` column. group_by: the column that is kept apart. split_by: "clip" deals clips out one by one and
    accepts that a speaker is on both sides; a `split` column is not used then, nor with own_split False.
    Raises LabelError for a target that the columns do not give, SplitError for folds that cannot be made.
    """
    if split_by not in SPLIT_BY:
        raise SplitError(one_of("--split-by", split_by, SPLIT_BY))
    columns: dict[str, Sequence[str]] = {column: manifest.cells(column) for column in manifest.columns}
    task, truth = task_of(target, columns, manifest.lines)
    ids = tuple(clip.id for clip in manifest.clips)
    notes = []
    if count is None and (split_by == "clip" or "split" in columns):
        fixed = "--split-by clip" if split_by == "clip" else "the manifest's split column"
        raise SplitError(f"--folds all makes a fold of every {group_by}, and {fixed} deals the clips out otherwise")
    if split_by == "clip":
        group = group_by if group_by in columns else "speaker"
        apart, group_by = tuple(clip.recording or clip.id for clip in manifest.clips), "clip"  # windows overlap
        groups = tuple(columns.get(group, apart))
        notes.append(f"Clips were split one by one (--split-by clip): {group}s are on both sides, the figures flatter.")
        if "split" in columns:
            notes.append("The manifest's split column is not used: --split-by clip deals the clips out anew.")
        if group not in columns:
            notes.append("Without a speaker column it cannot be measured by how much.")
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
                raise SplitError(
                    f"Manifest line {line}, column {group_by!r}: it is empty; expected the group to keep apart"
                )
    if "split" in columns and split_by != "clip" and own_split:
        folds = splits.fixed(ids, apart, columns["split"], group_by, seed)
    else:
        folds = splits.make(ids, apart, one_hot(task, truth), count or len(set(apart)), seed, group_by)
        if count is None:
            notes.append(f"Every {group_by} is a fold of its own, so each round chooses on a single {group_by}.")
    if group_by not in ("clip", "speaker") and "speaker" in columns:
        split = splits.audit(folds, {}, dict(zip(ids, columns["speaker"])))
        speakers = len(set(columns["speaker"]))
        if split:
            notes.append(f"{len(split)} of {speakers} speakers are on both sides: the folds keep {group_by}s apart.")
    return Question(task, truth, folds, groups, group, tuple(notes))


def kept_apart(question: Question) -> Question:
    """A question whose clips were split one by one, asked with its groups kept apart: as many folds, the same seed.

    Raises SplitError where there are fewer groups than folds.
    """
    split = question.folds
    indicators = one_hot(question.task, question.truth)
    folds = splits.make(split.ids, question.groups, indicators, split.count, split.seed, question.group)
    return replace(question, folds=folds, notes=())


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
    name = f"{question.task.name}-{question.folds.count}-{question.folds.sha256[:12]}.json"
    path = make_folder(result / "folds") / name
    if not path.exists():
        question.folds.write(path)
    return path
