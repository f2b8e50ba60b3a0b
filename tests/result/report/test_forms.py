"""Every sentence on how clips were kept apart holds in every form of `--group-by`, `--split-by` and manifest."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from toolkit.audio.clip import Clip
from toolkit.core.i18n import of
from toolkit.corpus import evaluation_task
from toolkit.corpus.evaluation_task import EvaluationTask
from toolkit.corpus.manifest import Manifest
from toolkit.result import stats
from toolkit.result.predictions import Predictions
from toolkit.result.report import narrative
from toolkit.result.run import Choice, Run


@dataclass(frozen=True)
class Form:
    """columns: of the manifest beside id, path and mood. windows: of each recording. The rest as `build_task` takes it.

    line, unseen, apart: what the page says; notes: what it says before all.
    """

    columns: Sequence[str]
    line: str
    unseen: str
    apart: str
    notes: Sequence[str] = ()
    windows: int = 0
    group_by: str = "speaker"
    split_by: str = "group"
    count: int | None = 4


FOLDS = (
    "{} folds. Each in turn is the test set, the next one the development set, and the other {} train, so that every "
    "clip is predicted once"
)
FOUR = FOLDS.format(4, 2)
LEAKED = "clips whose speakers may occur in training"
LEAKY = "Clips were split one by one (--split-by clip): speakers are on both sides, so the scores are optimistic."
NO_SPEAKER = (
    "{} were split one by one (--split-by clip): speakers may be on both sides, so the scores may be optimistic.",
    "Without a speaker column it cannot be measured by how much.",
)
FORMS = {
    "speakers": Form(
        ("speaker",), "48 clips, 8 speakers; 4 folds, kept apart by speaker", "speakers unseen in training",
        f"{FOUR}. All clips of one speaker (8 of them) stay on one side.",
    ),
    "leave one out": Form(
        ("speaker",), "48 clips, 8 speakers; 8 folds, kept apart by speaker", "speakers unseen in training",
        f"{FOLDS.format(8, 6)}. All clips of one speaker (8 of them) stay "
        "on one side.", ("Every speaker is a fold of its own, so each round chooses on a single speaker.",), count=None,
    ),
    "sessions, speakers in several": Form(
        ("speaker", "session"), "48 clips, 12 sessions; 4 folds, kept apart by session",
        "sessions unseen in training", f"{FOUR}. All clips of one session (12 of them) stay on one side.",
        ("8 of 8 speakers are on both sides: the folds keep sessions apart.",), group_by="session",
    ),
    "calls, each speaker in one of them": Form(
        ("speaker", "call"), "48 clips, 4 calls; 4 folds, kept apart by call", "calls unseen in training",
        f"{FOUR}. All clips of one call (4 of them) stay on one side.", group_by="call",
    ),
    "sessions, no speaker known": Form(
        ("session",), "48 clips, 12 sessions; 4 folds, kept apart by session",
        "sessions unseen in training", f"{FOUR}. All clips of one session (12 of them) stay on one side.",
        group_by="session",
    ),
    "clip by clip": Form(
        ("speaker",), "48 clips, 8 speakers; 4 folds, kept apart by clips", LEAKED,
        f"{FOUR}. Clips are assigned one by one: a speaker may be on both sides, so the scores are optimistic.",
        (LEAKY,), split_by="clip",
    ),
    "clip by clip, sessions": Form(
        ("speaker", "session"), "48 clips, 12 sessions; 4 folds, kept apart by clips",
        "clips whose sessions may occur in training",
        f"{FOUR}. Clips are assigned one by one: a session may be on both sides, so the scores are optimistic.",
        (LEAKY.replace("speakers", "sessions"),), split_by="clip", group_by="session",
    ),
    "clip by clip, no speaker known": Form(
        (), "48 clips; 4 folds, kept apart by clips", LEAKED,
        f"{FOUR}. Clips are assigned one by one: a speaker may be on both sides, so the scores are optimistic.",
        tuple(note.format("Clips") for note in NO_SPEAKER), split_by="clip",
    ),
    "clip by clip beside a split column": Form(
        ("speaker", "split"), "48 clips, 8 speakers; 4 folds, kept apart by clips",
        LEAKED,
        f"{FOUR}. Clips are assigned one by one: a speaker may be on both sides, so the scores are optimistic.",
        (LEAKY, "The manifest's split column is not used: --split-by clip deals the clips out anew."), split_by="clip",
    ),
    "a fixed split": Form(
        ("speaker", "split"), "12 clips, 2 speakers; a fixed split, kept apart by speaker",
        "speakers unseen in training",
        "A fixed split: 24 training, 12 development and 12 test clips. All clips of one speaker (8 of them) "
        "stay on one side.",
    ),
    "numbered folds": Form(
        ("speaker", "fold numbers"), "48 clips, 8 speakers; 3 folds, kept apart by speaker",
        "speakers unseen in training",
        f"{FOLDS.format(3, 1)}. All clips of one speaker (8 of them) stay "
        "on one side.",
    ),
    "windows": Form(
        ("speaker",), "48 clips, 8 speakers; 4 folds, kept apart by speaker", "speakers unseen in training",
        f"{FOUR}. All clips of one speaker (8 of them) stay on one side.", windows=3,
    ),
    "windows, recording by recording": Form(
        ("speaker",), "48 clips, 8 speakers; 4 folds, kept apart by recordings",
        LEAKED,
        f"{FOUR}. Clips are assigned one by one, all windows of a recording together: a speaker may be on both "
        "sides, so the scores are optimistic.", (LEAKY.replace("Clips", "Recordings"),), windows=3, split_by="clip",
    ),
    "windows, recording by recording, no speaker known": Form(
        (), "48 clips, 16 recordings; 4 folds, kept apart by recordings", LEAKED,
        f"{FOUR}. Clips are assigned one by one, all windows of a recording together: a speaker may be on both "
        "sides, so the scores are optimistic.", tuple(note.format("Recordings") for note in NO_SPEAKER), windows=3,
        split_by="clip",
    ),
}  # fmt: skip


def asked(form: Form) -> EvaluationTask:
    """48 clips: 8 speakers of 6, 4 calls of two speakers, 12 sessions across speakers."""
    names = {"fold numbers": "split"}
    columns = ("id", "path", "mood", *(names.get(column, column) for column in form.columns))
    clips = []
    for number in range(48):
        recording, part = (number // form.windows, number % form.windows) if form.windows else (number, 0)
        speaker = number // 6
        cells = {
            "speaker": f"s{speaker}",
            "call": f"call{speaker // 2}",
            "session": f"d{number % 12}",
            "split": ("test", "dev", "train", "train")[speaker // 2],
            "fold numbers": str((2, 3, 10)[speaker % 3]),
        }
        name = f"r{recording}@{part}-{part + 1}" if form.windows else f"c{number}"
        own = (name, f"{recording}.wav", ("joy", "anger")[number % 2], *(cells[column] for column in form.columns))
        start = float(part) if form.windows else None
        clips.append(
            Clip(name, own[1], recording + 2, start, None if start is None else start + 1, cells=own,
                 recording=f"r{recording}" if form.windows else None)
        )  # fmt: skip
    corpus = Manifest("manifest.csv", Path(), columns, tuple(clips))
    return evaluation_task.build_task(corpus, "mood", form.count, 0, form.group_by, form.split_by)


def run_of(question: EvaluationTask) -> Run:
    """A run with a prediction of every tested clip."""
    folds, rounds = question.folds, list(question.folds.rounds())
    tested = np.sort(np.concatenate([one.test for one in rounds]))
    truth = question.truth[tested]
    predictions = Predictions(
        question.task, tuple(folds.ids[row] for row in tested), tuple(question.groups[row] for row in tested),
        folds.fold[tested], truth, truth, np.eye(2)[truth], question.group,
    )  # fmt: skip
    choices = tuple(Choice(one.fold, "encoder.0", {}, 1.0) for one in rounds)
    return Run(
        "mood from made-up", "made-up", "linear", question.task, "unweighted_average_recall", folds, predictions,
        {"encoder.0": predictions}, {"encoder.0": (1.0,) * len(rounds)}, choices, {}, question.notes, {},
    )  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_every_sentence_is_the_one_that_holds(name: str) -> None:
    form, question = FORMS[name], asked(FORMS[name])
    run = run_of(question)
    assert narrative.protocol_line(run) == form.line
    assert narrative.unseen(run) == form.unseen
    assert dict(narrative.protocol(run, stats.evaluate(run.predictions)))["Split"] == form.apart
    assert [*map(str, question.notes)] == list(form.notes)


@pytest.mark.parametrize("name", FORMS)
def test_what_the_sentences_say_is_so(name: str) -> None:
    form, question = FORMS[name], asked(FORMS[name])
    run = run_of(question)
    said = " ".join([narrative.unseen(run), narrative.protocol_line(run), FORMS[name].apart, *map(str, question.notes)])
    folds = question.folds
    both = set()
    for one in folds.rounds():
        heard = {question.groups[row] for row in (*one.train, *one.development)}
        both |= heard & {question.groups[row] for row in one.test}
    if "unseen in training" in said:
        assert not both
    if "are on both sides, so the scores are optimistic" in said:
        assert both
    windows = [clip.rpartition("@")[0] for clip in folds.ids] if form.windows else list(folds.ids)
    sides: dict[str, set[int]] = {}
    for recording, fold in zip(windows, folds.fold.tolist()):
        sides.setdefault(recording, set()).add(fold)
    assert all(len(own) == 1 for own in sides.values())  # a recording's windows together, in every form
    kept = re.search(r"kept apart by (\w+?)s?$", narrative.protocol_line(run))
    assert kept is not None
    values = {"clip": list(folds.ids), "recording": windows}.get(kept[1], list(folds.groups))
    assert len(set(zip(values, folds.fold.tolist()))) == len(set(values))
    if number := re.search(r"(\d+) of them", said):
        assert int(number[1]) == len(set(folds.groups))
    assert len(set(folds.fold.tolist())) == int((re.search(r"(\d+) folds", said) or ["", 3])[1])


@pytest.mark.parametrize("name", FORMS)
def test_the_chinese_page_says_all_of_it(name: str) -> None:
    run, say = run_of(asked(FORMS[name])), of("zh")
    own = {"session", "call", "split", "by", "clip"}  # the user's columns, and options as they are typed
    for text in (
        narrative.protocol_line(run, say),
        narrative.unseen(run, say),
        *(say(note) for note in run.notes),
    ):
        assert set(re.findall("[A-Za-z]+", text)) <= own, text
