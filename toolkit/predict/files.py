"""The folder that `toolkit predict` leaves: predictions, and of recordings in windows timelines, tracks and figures."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.audio.clip import Clip
from toolkit.core.artifacts import commit_json, commit_text, make_folder
from toolkit.core.errors import LabelError
from toolkit.core.i18n import ENGLISH, Language, Note
from toolkit.corpus import scales
from toolkit.corpus.labels import Task
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.selection import above
from toolkit.corpus.spellings import REFUSE, Rules, key, settle
from toolkit.predict import inference, timeline
from toolkit.predict.inference import Applied, Known
from toolkit.predict.timeline import Window
from toolkit.result.predictions import write_paper_csv

PREDICTIONS, PAPER, TIMELINE, SUMMARY, MADE = (
    "predictions.csv",
    "paper.csv",
    "timeline.csv",
    "summary.csv",
    "predict.json",
)
PAGE, TRACKS, FIGURES = "timeline.html", "tracks", "figures"
DRAWN = 12  # recordings that get a figure, the first ones; all are in the tables


def known_of(
    task: Task,
    group: str,
    manifest: Manifest,
    ids: Sequence[str],
    say: Callable[[str], None],
    rules: Rules = REFUSE,
    run_rules: Rules = REFUSE,
) -> Known | None:
    """The truth of these clips, None where the manifest does not have all of it.

        group: the column that an interval resamples; without it windows are resampled by their recording, and other
        clips one by one. rules: for groups, and for a cell that is another spelling of one of the task's labels.
    run_rules: of the run's task: its labels may have been picked, or be those of a threshold.
        Raises LabelError for a cell that is none of them, SplitError by the rules.
    """
    if not set(task.columns) <= set(manifest.columns):
        return None
    place = {clip.id: number for number, clip in enumerate(manifest.clips)}
    places = [place[clip] for clip in ids]
    flags = task.multilabel or (task.kind == "binary" and task.labels[0] == f"not {task.columns[0]}")
    allowed = ("0", "1") if flags else task.labels
    spelt = {key(label): label for label in allowed} if rules.spellings != "keep" else {}
    truth = np.empty((len(ids), len(task.columns)), dtype=np.float64 if task.regression else np.int64)
    columns = {column: manifest.cells(column) for column in task.columns}
    for number, (column, cells) in enumerate(columns.items()):
        if task.regression or run_rules.threshold is not None:
            mine, lines = zip(*((cells[at], manifest.clips[at].line) for at in places), strict=True)
            scales.check_codes(column, mine, lines, rules)
        for row, at in enumerate(places):
            line = manifest.clips[at].line
            if task.regression and not cells[at].strip() and any(each[at].strip() for each in columns.values()):
                truth[row, number] = np.nan  # the clip counts for the targets that it has
                continue
            if not cells[at].strip():
                say(f"no truth is written: line {line} has none in {column!r}")
                return None
            if task.regression:
                truth[row, number] = scales.number(cells[at].strip())
                if np.isnan(truth[row, number]):
                    raise LabelError(f"Manifest line {line}, column {column!r}: {scales.expected(cells[at].strip())}")
                continue
            cell = cells[at]
            if run_rules.threshold is not None:
                (cell,) = above(column, [cell], run_rules.threshold, [line])
            if cell not in allowed and rules.spellings == "merge":
                cell = spelt.get(key(cell), cell)
            if cell not in allowed and run_rules.labels and key(cell) not in spelt:
                say(f"no truth is written: line {line} has {cell!r} in {column!r}, which the run was not asked of")
                return None
            if cell not in allowed:
                where, meant = f"Manifest line {line}, column {column!r}: {cell!r}", spelt.get(key(cell))
                if meant is not None:
                    raise LabelError(f"{where}, another spelling of {meant!r}; --spellings merge takes it for that")
                raise LabelError(f"{where}, expected one of {list(allowed)}")
            truth[row, number] = allowed.index(cell)
    names: Sequence[str] = [
        clip.recording or clip.id for clip in manifest.clips
    ]  # windows of one are no sample of many
    if group in manifest.columns:
        found = settle(group, manifest.cells(group), manifest.lines, rules, group=True)
        names = found.cells
        for note in found.notes:
            say(str(note))
    elif any(clip.recording for clip in manifest.clips):
        group = "recording"
    groups = tuple(names[at] for at in places)
    return Known(truth if task.multilabel or task.regression else truth[:, 0], groups, group)


def write(
    folder: Path,
    applied: Applied,
    clips: Sequence[Clip],
    seconds: Sequence[float],
    failed: Mapping[str, str],
    known: Known | None,
    windows: bool,
    negative: Sequence[str],
    run: str,
    made: Mapping[str, Any],
    lost: Iterable[str] = (),
    say: Language = ENGLISH,
    levels: Sequence[float] = (),
    notes: Sequence[Note] = (),
) -> str:
    """Commit everything to a folder and return the finding in a sentence.

    clips, seconds: what was predicted, in the order of `applied`. failed: reason by id; lost: the recordings of those.
    windows: whether there are timelines. run: its folder's name. made: what predict.json should say. say: of the page
    and its figures, next to the English ones. levels: of each clip, by which silence is recognised. notes: what a
    reader must see.
    """
    ids = [clip.id for clip in clips]
    commit_text(folder / PREDICTIONS, inference.to_csv(applied, ids, known))
    if known is not None and not applied.task.regression:  # a form of labels
        write_paper_csv(folder / PAPER, inference.predictions_of(applied, ids, known))
    answer = ""
    if windows:
        answer = _timelines(folder, applied, clips, seconds, levels, list(lost), negative, run, say, notes)
    silence = {"floor_decibels": timeline.FLOOR_DECIBELS, "below_loudest_decibels": timeline.BELOW_DECIBELS}
    outcome = {"notes": list(map(str, notes)), **({"no_speech": silence} if windows else {}), "failed": dict(failed)}
    commit_json(folder / MADE, {**made, **outcome})
    return answer


def _timelines(
    folder: Path,
    applied: Applied,
    clips: Sequence[Clip],
    seconds: Sequence[float],
    levels: Sequence[float],
    lost: Sequence[str],
    negative: Sequence[str],
    run: str,
    say: Language,
    notes: Sequence[Note],
) -> str:
    from toolkit.predict import timeline_page  # Altair takes a second to import

    starts = [clip.start or 0.0 for clip in clips]
    parts = [
        Window(clip.recording or clip.id, start, start + length, position, level)
        for position, (clip, start, length, level) in enumerate(zip(clips, starts, seconds, levels, strict=True))
    ]
    found = timeline.timelines(applied, parts, lost)
    summed = [(one, timeline.summary(one, negative)) for one in found]
    names = file_names([one.recording for one in found])
    commit_text(folder / TIMELINE, timeline.timeline_csv(found))
    commit_text(folder / SUMMARY, timeline.summary_csv(summed))
    tracks = make_folder(folder / TRACKS)
    for one in found:
        commit_text(tracks / f"{names[one.recording]}.txt", timeline.audacity(one))
    drawn = {names[one.recording]: one for one in found if len(one.start) > 1 or len(found) == 1}
    drawn = dict(list(drawn.items())[:DRAWN])
    for language in dict.fromkeys((ENGLISH, say)):
        timeline_page.page(drawn, summed, negative, run, len(lost), language, notes).write(folder, PAGE)
    return timeline_page.answer(summed, negative)


def file_names(recordings: Sequence[str]) -> dict[str, str]:
    """A file name for each recording: plain signs of its id, numbered where two would be one."""
    names: dict[str, str] = {}
    for recording in recordings:
        plain = re.sub(r"[^\w.@+-]+", "_", recording).strip("._").encode()[:120].decode(errors="ignore") or "recording"
        name, number = plain, 1
        while name.lower() in map(str.lower, names.values()):  # some file systems take A for a
            number += 1
            name = f"{plain}-{number}"
        names[recording] = name
    return names
