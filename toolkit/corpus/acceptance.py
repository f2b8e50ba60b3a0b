"""Rows that no later command refuses, before they are written into a manifest."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from toolkit.audio import decode_pool
from toolkit.audio.clip import Clip
from toolkit.core.errors import AudioError, InputError
from toolkit.corpus import repeats
from toolkit.corpus.manifest import RESERVED, clip_of

Row = tuple[int, Sequence[str]]  # its line in what it comes from, its cells


def accepted(
    columns: Sequence[str], rows: Iterable[Row], roots: Sequence[Path], where: str
) -> tuple[list[Row], dict[int, str]]:
    """The rows without a defect for `manifest check`, and the defects of the others, by line.

    Each audio file's header is read. A row that is in all but its id the same as one before is one of the others.
    where: what the lines are of. Raises InputError where rows contradict each other.
    """
    kept: list[Row] = []
    clips: list[Clip] = []
    others: dict[int, str] = {}
    first: dict[tuple[str, ...], int] = {}
    ids: dict[str, int] = {}
    for line, row in rows:
        clip, defects = clip_of(columns, row, line, roots)
        if not defects:
            defects = _of_audio(clip, roots)
        same = first.setdefault(tuple(cell for name, cell in zip(columns, row) if name != "id"), line)
        if same != line:
            defects = [f"the same as line {same}"]
        if not defects:
            clips.append(replace(clip, id=str(line)))  # ids that were made of the audio are alike where it is
            if ids.setdefault(clip.id, line) != line:
                defects = [f"duplicate id {clip.id!r}, first used in line {ids[clip.id]}"]
        if defects:
            others[line] = "; ".join(defect.removeprefix(f"line {line}, ") for defect in defects)
        else:
            kept.append((line, row))
    contradictions = repeats.same_audio(columns, RESERVED, clips)
    if not contradictions and "speaker" in columns:
        contradictions = repeats.of_two_speakers(clips)
    if contradictions:
        raise InputError(f"{where}, {contradictions[0]}")
    return kept, others


def _of_audio(clip: Clip, roots: Sequence[Path]) -> list[str]:
    path = next(root / clip.path for root in roots if (root / clip.path).exists())
    try:
        decode_pool.header(path, clip.start, clip.end, clip.channel, clip.duration)
    except AudioError as error:
        return [f"{clip.path!r} {error}"]
    return []
