"""From a manifest and the user's options to the task, the truth and the folds that every stage of a study shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from toolkit.core.artifacts import make_folder
from toolkit.core.errors import InputError, LabelError, SplitError, one_of
from toolkit.core.i18n import Note
from toolkit.corpus import repeats, scales, selection, spellings, splits
from toolkit.corpus.doubtful import several_names
from toolkit.corpus.labels import IntArray, Task, Truth, columns_of, constant_labels, middle_of, strata, task_of
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.spellings import REFUSE, SHOWN, Rules
from toolkit.corpus.splits import Folds

SPLIT_BY = ("group", "clip")
ALL = "all"


@dataclass(frozen=True)
class EvaluationTask:
    """The task that is evaluated on a corpus, the same for every backbone, probe and fine-tuning.

    truth: in the order of folds.ids. groups: likewise, what an interval resamples (callers, unless something else is
    kept apart; the clips themselves where no speaker is known), and group what they are, e.g. "speaker".
    notes: what a reader of the figures must see. rules: how labels and groups were read.
    dealt, left_out: of a task on some of its clips, the SHA-256 of the folds that all were dealt out by, and why
    the others are left out, by id. donors: of shuffled labels, the row that each one's was before.
    """

    task: Task
    truth: Truth
    folds: Folds
    groups: tuple[str, ...]
    group: str = "speaker"
    notes: tuple[Note, ...] = field(default=())
    rules: Rules = REFUSE
    dealt: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
    donors: IntArray | None = None


def fold_count(folds: str | int) -> int | None:
    """None for "all". Raises InputError."""
    text = str(folds)
    if text == ALL:
        return None
    if not (text.isascii() and text.isdigit()):
        raise InputError(f"Bad --folds {text!r}, expected a number from 3, or {ALL}")
    return int(text)


def build_task(
    manifest: Manifest,
    target: str,
    count: int | None,
    seed: int,
    group_by: str = "speaker",
    split_by: str = "group",
    own_split: bool = True,
    rules: Rules = REFUSE,
) -> EvaluationTask:
    """Task, truth and folds for `--target`.

    count: folds, None for as many as there are groups (leave one speaker out); a number is ignored where the manifest
    has a `split` column. group_by: the column that is kept apart. split_by: "clip" deals clips out one by one and
    accepts that a speaker is on both sides; a `split` column is not used then, nor with own_split False. rules: for two
    spellings of one label or group, and for cells that name nothing, and for what clips and labels are left out.
    Raises LabelError for a target that the columns do not give or that the folds give away, SplitError for folds that
    cannot be made or for one recording under two groups.
    """
    if split_by not in SPLIT_BY:
        raise SplitError(one_of("--split-by", split_by, SPLIT_BY))
    if group_by == "clip" and split_by == "group":
        raise SplitError("--group-by clip means clips one by one; give that column another name, or --split-by clip")
    if group_by not in manifest.columns and (split_by == "group" or group_by != "speaker"):
        known = [column for column in manifest.columns if column not in ("id", "path", "start", "end", "duration")]
        raise SplitError(
            f"No column {group_by!r} to keep apart, the manifest has {known}. Name one with --group-by, or accept "
            "that a speaker may be on both sides with --split-by clip"
        )
    if count is None and (split_by == "clip" or "split" in manifest.columns):
        fixed = "--split-by clip" if split_by == "clip" else "the manifest's split column"
        raise SplitError(f"--folds all makes a fold of every {group_by}, and {fixed} deals the clips out otherwise")
    picked = selection.columns(columns_of(target), rules)
    manifest, left_out = selection.labelled(manifest, picked, rules)
    columns, names, notes = _settled(manifest, picked, group_by, rules)
    manifest, columns, others = selection.of_labels(manifest, columns, names, rules)
    whole, scaled = columns, scales.is_scale(rules)
    columns = selection.of_numbers(columns, names, rules, manifest.lines)
    notes = [*left_out, *others, *notes]
    named = target if names == columns_of(target) else ",".join(names)
    if scaled and rules.threshold is None:
        task, truth, more = scales.task_of(named, columns, manifest.lines, rules)
        notes += more
    else:
        task, truth = task_of(named, columns, manifest.lines)
    dealt_by = strata(task, truth)
    if scaled and rules.threshold is not None:  # as the scale itself is dealt out, for the same folds
        uncut, values, _ = scales.task_of(named, whole, manifest.lines, rules)
        dealt_by = strata(uncut, values)
    ids = tuple(clip.id for clip in manifest.clips)
    if split_by == "clip":
        return _clip_by_clip(manifest, task, truth, dealt_by, columns, group_by, count or 0, seed, notes, rules)
    groups = tuple(columns[group_by])
    _check_target_is_not_the_group(task, truth, groups, group_by)
    check_overlap(manifest, groups, group_by)
    if own_split and dealt_by_column(manifest, split_by):
        folds = splits.fixed(ids, groups, columns["split"], group_by, seed)
        notes += _untested(task, truth, folds)
    else:
        folds = splits.make(ids, groups, dealt_by, count or len(set(groups)), seed, group_by)
        if count is None:
            notes.append(Note("one_group_a_fold", {"group": group_by}))
    if several := several_names(list(dict.fromkeys(groups))):
        listed = "; ".join(" and ".join(map(repr, same[:SHOWN])) for same in several[:SHOWN])
        notes.append(Note("several_names", {"group": group_by, "some": len(several), "list": listed}))
    if "speaker" in columns:
        split = splits.audit(folds, {}, dict(zip(ids, columns["speaker"])))
        speakers = len(set(columns["speaker"]))
        if split:
            notes.append(Note("speakers_on_both_sides", {"some": len(split), "all": speakers, "group": group_by}))
    return EvaluationTask(task, truth, folds, groups, group_by, tuple(notes), rules)


def _untested(task: Task, truth: Truth, folds: Folds) -> list[Note]:
    """A note on labels of which a fixed split tests no clip.

    Raises SplitError where it leaves nothing to tell apart.
    """
    if folds.scheme != "fixed":
        return []
    test = truth[folds.fold == 0]
    absent = [label for label, share in zip(task.labels, middle_of(task, test)[0]) if not task.regression and not share]
    constant = constant_labels(task, test)
    if len(constant) == len(task.labels):
        raise SplitError(
            f"The test part of the split column has nothing to tell apart in {', '.join(map(repr, task.columns))}: it "
            f"does not vary in its {len(test):,} clips; expected clips of two labels there, or no split column"
        )
    return [Note("untested", {"list": ", ".join(map(repr, absent))})] if absent else []


def dealt_by_column(manifest: Manifest, split_by: str) -> bool:
    """Whether the manifest's split column deals the clips out, so that neither --folds nor --repeats can."""
    return "split" in manifest.columns and split_by != "clip"


def check_repeats(manifest: Manifest, split_by: str, deals: Sequence[Folds]) -> None:
    """One deal of the folds counted twice would understate how far the deal moves a figure.

    deals: by their seeds, of one question. Raises SplitError where a split column deals them or two are the same.
    """
    if len(deals) > 1 and dealt_by_column(manifest, split_by):
        raise SplitError("--repeats deals the folds anew, and the manifest's split column fixes them; leave one out")
    differ = len({folds.partition for folds in deals})
    if differ < len(deals):
        raise SplitError(
            f"--repeats {len(deals)}: only {differ} of these deals of the folds differ; ask for fewer, or for other "
            "--folds"
        )


def _clip_by_clip(
    manifest: Manifest,
    task: Task,
    truth: Truth,
    dealt_by: IntArray,
    columns: Mapping[str, Sequence[str]],
    group_by: str,
    count: int,
    seed: int,
    notes: Sequence[Note],
    rules: Rules,
) -> EvaluationTask:
    """Clips, or recordings where these were cut into windows, dealt out one by one; intervals resample the groups."""
    ids = tuple(clip.id for clip in manifest.clips)
    apart = tuple(clip.recording or clip.id for clip in manifest.clips)  # windows overlap
    folds = splits.make(ids, apart, dealt_by, count, seed, "clip")
    dealt = "Clips" if apart == ids else "Recordings"
    if group_by in columns:
        group, groups = group_by, tuple(columns[group_by])
        leaks = splits.audit(replace(folds, groups=groups), {})
        notes = [*notes, Note("leaky" if leaks else "leaky_none", {"what": dealt, "group": group})]
    else:
        group, groups = "speaker" if apart == ids else "recording", apart
        notes = [*notes, Note("leaky_perhaps", {"what": dealt}), Note("leaky_unknown", {})]
    if "split" in columns:
        notes = [*notes, Note("split_unused", {})]
    return EvaluationTask(task, truth, folds, groups, group, tuple(notes), rules)


def _settled(
    manifest: Manifest, names: Sequence[str], group_by: str, rules: Rules
) -> tuple[dict[str, Sequence[str]], tuple[str, ...], list[Note]]:
    """Every column's cells, those of labels and groups by the rules; the target's columns that are left; notes."""
    columns: dict[str, Sequence[str]] = {column: manifest.cells(column) for column in manifest.columns}
    notes: list[Note] = []
    for column in dict.fromkeys((*names, group_by, "speaker")):
        if column in columns:
            if column in (group_by, "speaker"):
                _check_filled(column, columns[column], manifest.lines)
            if column in names and rules.kind == "regression":  # a number may be spelt in any way
                continue
            settled = spellings.settle(column, columns[column], manifest.lines, rules, group=column not in names)
            columns[column] = settled.cells
            notes += settled.notes
    if all(name in columns for name in names) and rules.kind != "regression":
        names = spellings.settle_columns(names, columns, rules)
    return columns, tuple(names), notes


def _check_filled(column: str, cells: Sequence[str], lines: Sequence[int]) -> None:
    for value, line in zip(cells, lines):
        if not value.strip():
            raise SplitError(f"Manifest line {line}, column {column!r}: it is empty; expected the group to keep apart")


def _check_target_is_not_the_group(task: Task, truth: Truth, groups: Sequence[str], group: str) -> None:
    """A label that each group has for itself is never in training when it is tested."""
    if task.multilabel or task.regression:  # a number between those of others can be learnt from them
        return
    pairs = set(zip(groups, truth.tolist()))
    if task.columns == (group,) or len(pairs) == len(set(groups)) == len({label for _, label in pairs}):
        raise LabelError(
            f"--target {task.columns[0]} has another value for every {group}, and the folds keep each {group} on one "
            "side: no label that is tested can be learnt. Name another --target or --group-by, or ask it with "
            "--split-by clip"
        )


def check_overlap(manifest: Manifest, groups: Sequence[str], group: str) -> None:
    """Raises SplitError for two groups' clips that are parts of one file and overlap."""
    found = repeats.overlap(manifest.clips, groups)
    if found:
        group_of = dict(zip((clip.id for clip in manifest.clips), groups))
        first, second = sorted(found, key=lambda clip: clip.line)
        raise SplitError(
            f"Manifest lines {first.line} and {second.line}: {first.id!r} of {group} {group_of[first.id]!r} and "
            f"{second.id!r} of {group} {group_of[second.id]!r} are parts of {first.path!r} that overlap: one audio on "
            f"both sides. Give both one {group}, correct start, end or channel, or accept it with --split-by clip"
        )


def kept_apart(question: EvaluationTask) -> EvaluationTask:
    """A question whose clips were split one by one, with its groups kept apart: as many folds, the same seed.

    Raises SplitError where there are fewer groups than folds.
    """
    split = question.folds
    indicators = strata(question.task, question.truth)
    folds = splits.make(split.ids, question.groups, indicators, split.count, split.seed, question.group)
    return replace(question, folds=folds, notes=())


def honest_of(question: EvaluationTask) -> EvaluationTask | None:
    """`kept_apart` of a question whose clips were split one by one; None for any other, and where it cannot be."""
    if question.folds.group_by != "clip" or question.groups == question.folds.groups:
        return None
    try:
        return kept_apart(question)
    except InputError:
        return None


def check_leaks(question: EvaluationTask, audio_sha256: Mapping[str, str]) -> None:
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


def keep(question: EvaluationTask, result: Path) -> Path:
    """Write the folds to result/folds/, under a name with their hash; runs on the same folds share the file."""
    name = f"{question.task.name}-{question.folds.count}-{question.folds.sha256[:12]}.json"
    path = make_folder(result / "folds") / name
    if not path.exists():
        question.folds.write(path)
    return path
