"""Audio that a corpus holds more than once: rows of one recording and segment, and segments that overlap."""

import math
import posixpath
import re
from collections.abc import Iterable, Sequence

from toolkit.audio.clip import Clip
from toolkit.corpus.spellings import key

# Names of columns, as `spellings.key` gives them, that others give to what is `start`, `end` and `channel` here
TIMES = re.compile(
    "(start|begin|beginn?ing|beginn?|anfang|onset|end|ende|stop|finish|offset|from|to|t0|t1|x?t?(min|max)|time)"
    "([ _.-]?(time|s|sec|secs|second|seconds|ms|sample|samples|frame|frames))?|(start|end|on|off)(time|set)"
    "|.*(开始|结束|起始|终止|起点|终点|时刻|时间).*"
)
CHANNELS = re.compile("(channels?|chan|ch|kanal|track|side)([ _.-]?(id|no|nr|number|index))?|.*(声道|通道|音轨).*")
MARKED_SECONDS = 0.1  # by which the marks of two speakers' turns may overlap: marks are no more exact


def same_audio(columns: Sequence[str], reserved: Sequence[str], clips: Sequence[Clip]) -> list[str]:
    """Rows of one recording, segment and channel, or of several segments without an end: a defect for each such audio.

    One clip under two ids is trained on and tested on; so are the parts of a recording whose times are in a column
    that is not read.
    """
    endless: dict[tuple[object, ...], int] = {}
    inside: list[str] = []
    rows: dict[tuple[object, ...], int | list[int]] = {}  # a list only where there are several
    for row, clip in enumerate(clips):
        audio = (posixpath.normpath(clip.path), clip.start or None, clip.end, clip.channel)
        first = rows.setdefault(audio, row)
        if clip.end is None:
            other = clips[endless.setdefault((audio[0], clip.channel), row)]
            if (other.start or 0) != (clip.start or 0):
                inside.append(
                    f"line {clip.line}: it has no end, as line {other.line} has none, so that both last to the end of "
                    f"{clip.path!r}; expected an `end` (seconds) for every segment of a file but one"
                )
        if isinstance(first, list):
            first.append(row)
        elif first != row:
            rows[audio] = [first, row]
    found = []
    for several in rows.values():
        if isinstance(several, list):
            by_id: dict[str, Clip] = {}
            for row in several:
                by_id.setdefault(clips[row].id, clips[row])  # an id that comes twice is another defect
            found += [list(by_id.values())] if len(by_id) > 1 else []
    named = [name for name in columns if name not in reserved]
    others = unread(named) if found else []
    cells = [at for at, name in enumerate(columns) if name in named]
    return [_same(same, columns, cells, others if number == 0 else []) for number, same in enumerate(found)] + inside


def _same(clips: Sequence[Clip], columns: Sequence[str], labels: Sequence[int], others: Sequence[str]) -> str:
    """labels: places of the columns that are not read. others: those of them that may hold times or channels."""
    first, second, *_ = clips
    more = f" and {len(clips) - 2} more rows" if len(clips) > 2 else ""
    text = f"line {second.line}: the same audio as line {first.line}{more}: {first.path!r}"
    text += f" from {first.start or 0:g} s" if first.start or first.end is not None else ", all of it"
    text += f" to {first.end:g} s" if first.end is not None else ""
    text += f", channel {first.channel}" if first.channel is not None else ""
    if others:
        return text + (
            f"; expected each audio once: {_listed(others)} may hold times or channels, which are read from columns "
            "named 'start', 'end' (seconds) and 'channel' (from 0)"
        )
    for at in labels if first.cells else ():
        if first.cells[at] != second.cells[at]:
            name, both = columns[at], f"{first.cells[at]!r} in line {first.line}"
            return f"{text}, with {name!r} {both} and {second.cells[at]!r} in line {second.line}; expected one row"
    return f"{text}; expected each audio once: leave the other rows out, or tell them apart by start, end or channel"


def unread(columns: Iterable[str]) -> list[str]:
    """Of columns that are not read, those that by their names hold times or channels.

    >>> unread(["开始", "Onset (s)", "end_time", "emotion", "声道", "story"])
    ['开始', 'Onset (s)', 'end_time', '声道']
    """
    plain = {name: re.sub(r"[ _]*[\[(].*[\])]", "", key(name)) for name in columns}
    return [name for name, heading in plain.items() if TIMES.fullmatch(heading) or CHANNELS.fullmatch(heading)]


def _listed(columns: Sequence[str]) -> str:
    return ("column " if len(columns) == 1 else "the columns ") + " and ".join(map(repr, columns))


def overlap(clips: Sequence[Clip], groups: Sequence[str]) -> tuple[Clip, Clip] | None:
    """Two clips of different groups that share more than MARKED_SECONDS of one file, or None.

    groups: of each clip. A clip without an end lasts to the end of its file; one without a channel holds all of them.
    """
    by_file: dict[str, list[int]] = {}
    for row, clip in enumerate(clips):
        by_file.setdefault(posixpath.normpath(clip.path), []).append(row)
    for rows in by_file.values():
        if len({groups[row] for row in rows}) > 1:
            open_ones: list[int] = []
            for row in sorted(rows, key=lambda row: clips[row].start or 0.0):
                clip = clips[row]
                begun = (clip.start or 0.0) + MARKED_SECONDS
                open_ones = [other for other in open_ones if _end(clips[other]) > begun]
                for other in open_ones:
                    one_channel = clip.channel is None or clips[other].channel in (None, clip.channel)
                    if groups[other] != groups[row] and one_channel and _end(clip) > begun:
                        return clips[other], clip
                open_ones.append(row)
    return None


def of_two_speakers(clips: Sequence[Clip]) -> list[str]:
    """A defect for the first two segments of two speakers that are one audio."""
    found = overlap(clips, [str(clip.speaker) for clip in clips])
    if found is None:
        return []
    first, second = sorted(found, key=lambda clip: clip.line)
    return [
        f"line {second.line}: overlaps line {first.line} in {first.path!r}, and they are of two speakers, "
        f"{second.speaker!r} and {first.speaker!r}; expected each audio of one speaker, or a `channel` for each"
    ]


def _end(clip: Clip) -> float:
    return math.inf if clip.end is None else clip.end
