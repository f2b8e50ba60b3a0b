"""What a run's models, one a round, predict: for a clip that the run tested its own round's; for others the mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from toolkit.core.errors import InputError, one_of
from toolkit.corpus.labels import IntArray, Task, Truth
from toolkit.result.kinds import decide
from toolkit.result.predictions import MODEL, Predictions, value_cells, value_columns
from toolkit.result.run import Run
from toolkit.result.safe_csv import csv_text
from toolkit.result.thresholds import Scale

FloatArray = npt.NDArray[np.float64]
MEAN, FINAL = "mean", "final"  # in the column `model`, of all rounds, and of all clips; else "round-K"
ALL = -1  # in place of a test fold, of a model that is fitted on every clip


@dataclass(frozen=True)
class Assignment:
    """Which rounds' models each clip is for.

    folds: the test fold of each round. round_of: (n_clips,) the round (a position in `folds`) that tested the clip, -1
    for one that the run does not know. only: the round for those, None for all of them. seen: positions of clips that
    every model has learnt from or was chosen by (a fixed split's train and dev parts).
    """

    folds: tuple[int, ...]
    round_of: IntArray
    only: int | None
    seen: tuple[int, ...]

    @property
    def rows(self) -> list[IntArray]:
        """For each round, the positions of the clips that its model predicts."""
        return [
            np.flatnonzero((self.round_of == number) | ((self.round_of < 0) & (self.only in (None, number))))
            for number in range(len(self.folds))
        ]


def assign(run: Run, known: Mapping[str, str] | None, clips: Sequence[tuple[str, str]], only: int | None) -> Assignment:
    """Find the clips that the run tested: those of the same audio, whatever their id.

    known: SHA-256 of the audio by id, as `read_clips` gives it; without it ids are compared. clips: id and SHA-256.
    only: the fold whose round alone predicts other clips. Raises InputError for a fold that the run has not.
    """
    return assign_units(run, dict(zip(run.folds.ids, run.folds.fold.tolist())), known, [[one] for one in clips], only)


def assign_units(
    run: Run,
    fold_of: Mapping[str, int],
    known: Mapping[str, str] | None,
    units: Sequence[Sequence[tuple[str, str]]],
    only: int | None,
) -> Assignment:
    """As `assign`, of units that have one clip or more; one with clips of several folds has been seen by every model.

    fold_of: of the run's clips. units: id and SHA-256 of each one's clips.
    """
    folds = tuple(choice.fold for choice in run.choices)
    if only is not None and only not in folds:
        raise InputError(one_of("--round", only, folds))
    by_audio = {known[clip]: fold for clip, fold in fold_of.items() if clip in known} if known is not None else {}
    round_of = np.full(len(units), -1)
    seen = []
    for position, clips in enumerate(units):
        found = set[int]()
        for clip, sha256 in clips:
            same = known is None or (clip in fold_of and known.get(clip) == sha256)
            fold = fold_of.get(clip) if same else by_audio.get(sha256)
            found |= set() if fold is None else {fold}
        if len(found) > 1 or not found <= set(folds):
            seen.append(position)
        if len(folds) == 1 and found:
            round_of[position] = 0
        elif len(found) == 1 and found <= set(folds):
            round_of[position] = folds.index(found.pop())
    return Assignment(folds, round_of, None if only is None else folds.index(only), tuple(seen))


def assign_final(run: Run, known: Mapping[str, str] | None, clips: Sequence[tuple[str, str]]) -> Assignment:
    """Every clip to the one model that is fitted on all of the run's; arguments as `assign` takes them."""
    found = assign(run, known, clips, None)
    return Assignment((ALL,), np.full(len(clips), -1), 0, (*np.flatnonzero(found.round_of >= 0).tolist(),))


@dataclass(frozen=True)
class Applied:
    """What is predicted of each clip.

    models: per clip, "round-K" for the model of the round that tests fold K, "mean" for the mean of all, "final" for
    the one that was fitted on every clip.
    probability: (n, n_labels) float64. thresholds: (n, n_labels) what they were compared with, as `thresholds.bars_of`.
    decision: (n,) label indices, (n, n_labels) of 0 and 1, or numbers, which probability holds too.
    score: (n, n_labels), as in Predictions; the mean of the models' scores for a clip of several.
    """

    task: Task
    models: tuple[str, ...]
    probability: FloatArray
    thresholds: FloatArray
    decision: Truth
    score: FloatArray


class Model(Protocol):
    """One round's model, probed or fine-tuned.

    bars: (n_labels,), as `thresholds.bars_of`. scale: of its scores. prevalence: (n_labels,) of each label in the clips
    that it was fitted on.
    """

    @property
    def bars(self) -> FloatArray: ...

    @property
    def scale(self) -> Scale: ...

    @property
    def prevalence(self) -> FloatArray: ...


def together(task: Task, assigned: Assignment, models: Sequence[Model], probability: Sequence[FloatArray]) -> Applied:
    """The rounds' predictions, joined.

    models, probability: of each round, the latter of the clips in `assigned.rows`. A clip for several models gets the
    mean of their probabilities and of their scores, and is decided by the mean of their bars; a label of a multilabel
    task by the models that could learn it. One that was fitted on clips that all have the label, or none, gives 1 or 0
    to every clip: it knows nothing, and would outvote the others. All count where none could learn it.
    """
    shape = (len(assigned.round_of), len(task.labels))
    total, against, score, count = (np.zeros(shape) for _ in range(4))
    could = [(one.prevalence > 0) & (one.prevalence < 1) if task.multilabel else True for one in models]
    able = np.zeros(shape, dtype=bool)
    for rows, learnt in zip(assigned.rows, could, strict=True):
        able[rows] |= learnt
    for rows, probabilities, model, learnt in zip(assigned.rows, probability, models, could, strict=True):
        counts = np.where(able[rows], learnt, True)
        total[rows] += counts * probabilities
        against[rows] += counts * model.bars
        score[rows] += 0.0 if task.regression else counts * model.scale.scores(probabilities)
        count[rows] += counts
    # of one model, divided by 1: the same bits
    mean, against, score = total / count, against / count, score / count
    rounds = [FINAL if fold == ALL else f"round-{fold}" for fold in assigned.folds]
    new = MEAN if assigned.only is None else rounds[assigned.only]
    whose = tuple(new if number < 0 else rounds[number] for number in assigned.round_of)
    return Applied(task, whose, mean, against, decide(task, mean, against), score)


@dataclass(frozen=True)
class Known:
    """What a manifest knows of the clips. truth: as in Predictions. groups: what an interval resamples, or ids."""

    truth: Truth
    groups: tuple[str, ...]
    group: str


def to_csv(applied: Applied, ids: Sequence[str], known: Known | None) -> str:
    """The predictions as CSV: id, model, prediction, probability:LABEL and score:LABEL as in a run's predictions.csv.

    With the truth it has speaker and truth too, and `toolkit score` reads it: clips of different rounds are ranked by
    the scores, as the run's own page ranks them. Numbers are rounded to float32, as a run's are.
    """
    task = applied.task
    columns = ["id", *([known.group] if known else []), MODEL, *(value_columns(task, "truth") if known else [])]
    columns += value_columns(task, "prediction")
    rows = []
    if task.regression:
        numbers = np.empty((len(ids), 0), dtype=np.float32)
    else:
        columns += [f"{name}:{label}" for name in ("probability", "score") for label in task.labels]
        numbers = np.concatenate([applied.probability, applied.score], axis=1).astype(np.float32)
    decisions = applied.decision.astype(np.float32) if task.regression else applied.decision
    for row, (clip, model, decision) in enumerate(zip(ids, applied.models, decisions.tolist())):
        group = [known.groups[row]] if known else []
        truth = value_cells(task, known.truth[row].tolist()) if known else []
        rows.append([clip, *group, model, *truth, *value_cells(task, decision), *map(str, numbers[row])])
    return csv_text(columns, rows)


def predictions_of(applied: Applied, ids: Sequence[str], known: Known) -> Predictions:
    """The same as Predictions, for the paper's form and for metrics; the fold means nothing."""
    fold = np.zeros(len(ids), dtype=np.int64)
    return Predictions(
        applied.task, tuple(ids), known.groups, fold, known.truth, applied.decision, applied.probability, known.group,
        applied.score,
    )  # fmt: skip
