"""What else a layer knows: who speaks, their sex, how long and how loud the clip is. Tasks next to the target's."""

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from threading import Event

import numpy as np

from toolkit.audio.clip import Clip
from toolkit.audio.decode import SAMPLE_RATE
from toolkit.audio.decode_pool import ahead, decode
from toolkit.core.artifacts import cores
from toolkit.core.errors import AudioError, InputError, one_of
from toolkit.core.i18n import Note
from toolkit.corpus import splits
from toolkit.corpus.evaluation_task import EvaluationTask
from toolkit.corpus.labels import IntArray, one_hot, task_of
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.material import covered
from toolkit.corpus.spellings import settle
from toolkit.features.fused import Features, Fused
from toolkit.features.shard import ClipRecord
from toolkit.features.store import Store

DURATION, LOUDNESS = "duration", "loudness"
MEASURED = {DURATION: "s", LOUDNESS: "dB"}  # from the audio; every other nuisance is a column of the manifest
SILENCE = 1e-6  # root mean square that counts as the least loud: -120 dB
MANY_NUMBERS = 10  # a column of more different numbers than this is a quantity, not a label
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")


def durations(store: Features) -> dict[str, float]:
    """Seconds by clip id, of the audio that the features were computed from."""
    return {clip.id: clip.samples / SAMPLE_RATE for clip in store.clips.values()}


def audio_seconds(store: Store | Fused, clips: Iterable[str]) -> float:
    """Of the audio that these clips hold together, what several of them hold counted once."""

    def span(clip: ClipRecord) -> tuple[Hashable, float, float]:
        # a store of an earlier version has no marks of paths; a file's clips are then known by their recording alone
        file = clip.source[6] if len(clip.source) > 6 else clip.recording or clip.id
        start = clip.source[2] or 0.0
        return (file, clip.source[4]), start, start + clip.samples / SAMPLE_RATE

    return covered(span(store.clips[clip]) for clip in clips)


def loudnesses(manifest: Manifest, workers: int | None = None) -> dict[str, float]:
    """Level of each clip by id: root mean square over all samples in dB, 0 dB being 1. Decodes every clip once.

    Clips that cannot be decoded have none.
    """

    def one(clip: Clip, stop: Event) -> float | None:
        try:
            audio = decode(manifest.audio_path(clip), clip.start, clip.end, clip.channel, clip.duration, stop)
        except AudioError:
            return None
        return 20 * float(np.log10(max(np.sqrt(np.mean(audio.samples.astype(np.float64) ** 2)), SILENCE)))

    with closing(ahead(one, manifest.clips, workers or cores(), lambda level: 0.0)) as every:
        levels = dict(zip((clip.id for clip in manifest.clips), every))
    return {clip: level for clip, level in levels.items() if level is not None}


def build_task(
    question: EvaluationTask, manifest: Manifest, name: str, measured: Mapping[str, float] | None = None
) -> EvaluationTask:
    """The question of a nuisance, on the target's folds where these can answer it.

    name: "duration" or "loudness", whose values by clip id are in `measured`, or a column of the manifest. A quantity
    becomes four classes, cut at the quartiles of all clips: they define the question, no feature enters into them.
    A column whose every value stays within one fold (the speaker, where speakers are kept apart) cannot be learned from
    other folds; clips are then dealt out one by one, and intervals resample clips.
    Raises InputError for an unknown name or a quantity that does not vary, LabelError for a column that is no label.
    """
    if measured is None and name not in manifest.columns:
        labels = [column for column in manifest.columns if column not in ("id", "path", "start", "end", "split")]
        raise InputError(one_of("--nuisance", name, [*MEASURED, *labels]))
    ids = question.folds.ids
    quantity, lines = True, tuple(range(len(ids)))
    notes: tuple[Note, ...] = ()
    if measured is not None:
        cells = _quartiles(name, [measured.get(clip) for clip in ids], MEASURED[name])
    else:
        every, lines = manifest.cells(name), manifest.lines
        place = {clip.id: row for row, clip in enumerate(manifest.clips)}
        rows = [place[clip] for clip in ids]  # a question may leave clips out
        cells, lines = [every[row] for row in rows], tuple(lines[row] for row in rows)
        identity = name in ("speaker", question.group)
        quantity = len(set(cells)) > MANY_NUMBERS and not identity and all(map(NUMBER.fullmatch, cells))
        if quantity:
            cells = _quartiles(name, [float(cell) for cell in cells])
        else:
            spelt = settle(name, cells, lines, question.rules)
            cells, notes = list(spelt.cells), spelt.notes
    how = Note("nuisance_quartiles" if quantity else "nuisance_column", {"name": name})
    task, truth = task_of(name, {name: cells}, lines)
    asking = replace(question, task=task, truth=truth, notes=(how, *notes))
    if measured is None and _within_folds(truth, question.folds.fold):
        seed, count = question.folds.seed, min(question.folds.count, 5)
        folds = splits.make(ids, ids, one_hot(task, truth), count, seed, "clip")
        note = Note("nuisance_clips", {"name": name})
        return replace(asking, folds=folds, groups=ids, group="clip", notes=(*asking.notes, note))
    return asking


def _within_folds(truth: IntArray, fold: IntArray) -> bool:
    """Whether no value occurs in two folds."""
    return len(np.unique(np.stack([truth, fold]), axis=1).T) == len(np.unique(truth)) if truth.ndim == 1 else False


def _quartiles(name: str, values: Sequence[float | None], unit: str = "") -> list[str]:
    """A class for each value, "1: to 1.9 s", "2: 1.9 s to 2.6 s" ...: up to four of about equal size, fewer with ties.

    None (a clip without features, which no fold keeps) gets the first.
    """
    known = np.array([value for value in values if value is not None])
    cuts = np.unique(np.quantile(known, [0.25, 0.5, 0.75])) if len(known) else known
    cuts = cuts[cuts < known.max(initial=-np.inf)]
    if not len(cuts):
        raise InputError(f"--nuisance {name}: it is the same in every clip; there is nothing to tell apart")
    bounds = [f"{cut:.3g} {unit}".rstrip() for cut in cuts]
    ranges = [f"to {bounds[0]}", *(f"{low} to {high}" for low, high in pairwise(bounds)), f"above {bounds[-1]}"]
    labels = [f"{number}: {text}" for number, text in enumerate(ranges, start=1)]
    return [labels[0 if value is None else int(np.searchsorted(cuts, value))] for value in values]
