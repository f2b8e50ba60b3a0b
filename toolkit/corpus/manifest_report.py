"""What `toolkit manifest check` prints: counts per label and speaker, durations, and every defect by line."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from toolkit.audio import decode_pool
from toolkit.audio.clip import Clip
from toolkit.audio.decode import averaged
from toolkit.core.errors import AudioError
from toolkit.corpus import manifest, repeats, spellings
from toolkit.corpus.roots import Roots
from toolkit.corpus.spellings import REFUSE, Rules

MAX_VALUES = 50  # different values in a column; with more it is no label, and only their number is shown
FEWEST = 8  # clips, of which a file's header may be seen to predict the labels
PREDICTED = 0.95  # of the clips
MAX_SPEAKERS = 30  # rows in the speakers' table; with more, the ends of the range are shown
Rows = list[tuple[str, ...]]


@dataclass(frozen=True)
class Value:
    """One value of a label column: how many clips have it, of how many speakers."""

    clips: int
    speakers: int


@dataclass(frozen=True)
class Summary:
    """A manifest in figures.

    name: the file's. clips: rows that could be read. columns: by label column, its values in alphabetical order.
    speakers: clips by speaker, empty where there is no such column. seconds: of every clip whose header could be read.
    rates: clips by the file's samples per second. channels: clips by the file's number of channels. averaged: clips of
    several channels of which none is named, so that they are averaged. confounds: sentences on labels that the files'
    rate or channels predict.
    defects: each begins with "line N: ".
    """

    name: str
    clips: int
    columns: Mapping[str, Mapping[str, Value]]
    speakers: Mapping[str, int]
    seconds: tuple[float, ...]
    rates: Mapping[int, int]
    channels: Mapping[int, int]
    defects: tuple[str, ...]
    averaged: int = 0
    confounds: tuple[str, ...] = ()


def summarise(file: Path, audio_root: Roots = None, rules: Rules = REFUSE) -> Summary:
    """Read a manifest and the header of every clip's audio; nothing is raised for a defect, and nothing decoded but
    what FFmpeg reads, to be counted.

    rules: for two spellings of one label or speaker, and for what names nothing.
    """
    read, found = manifest.inspect(file, audio_root)
    if read is None:
        return Summary(file.name, 0, {}, {}, (), {}, {}, tuple(found))
    overlaps = repeats.of_two_speakers(read.clips) if "speaker" in read.columns else []
    defects = [*found, *_spelling_defects(read, rules), *overlaps]
    defective = {_line(defect) for defect in found}
    seconds, rates, channels, averaged = [], Counter[int](), Counter[int](), 0
    files: dict[int, tuple[int, int]] = {}  # by row, its rate and channels
    for row, clip in enumerate(read.clips):
        if clip.line in defective:
            continue
        try:
            header = decode_pool.header(read.audio_path(clip), clip.start, clip.end, clip.channel, clip.duration)
        except AudioError as error:
            defects.append(f"line {clip.line}: {clip.path!r} {error}")
        else:
            seconds.append(header.seconds)
            rates[header.rate] += 1
            channels[header.channels] += 1
            averaged += header.channels > 1 and clip.channel is None
            files[row] = header.rate, header.channels
    return Summary(
        file.name,
        len(read.clips),
        {column: _values(read.cells(column), read.clips) for column in read.label_columns},
        _counted(clip.speaker for clip in read.clips if clip.speaker is not None),
        tuple(seconds),
        dict(sorted(rates.items())),
        dict(sorted(channels.items())),
        tuple(sorted(defects, key=_line)),
        averaged,
        tuple(_confounds(read, files)),
    )


def _spelling_defects(read: manifest.Manifest, rules: Rules) -> list[str]:
    """Of the speakers, and of every column whose values make groups; one whose cells mostly differ is no label."""
    defects = []
    for column in ("speaker", *read.label_columns):
        cells = read.cells(column) if column in read.columns else ()
        if column != "speaker" and len(set(cells)) > max(MAX_VALUES, len(cells) // 2):
            continue
        found = spellings.names(cells, read.lines if cells else ())
        if column == "speaker" and (wrong := spellings.doubt(found, rules, True)):
            defects.append(f"line {wrong[0].first_line}, column {column!r}: {wrong[1]}")
        for name in found:
            if name.several and rules.spellings == "refuse":
                defects.append(f"line {name.first_line}, column {column!r}: {spellings.two(name)}")
            if name.key in spellings.NAMELESS and rules.unknown == "refuse":
                defects.append(f"line {name.first_line}, column {column!r}: {spellings.nameless(name)}")
    return defects


def _confounds(read: manifest.Manifest, files: Mapping[int, tuple[int, int]]) -> list[str]:
    """Labels that a file's header predicts: of patients at 8,000 Hz and others at 16,000 a model need not hear.

    files: of each row that could be read, its rate and channels.
    """
    found = []
    for column in read.label_columns if len(files) >= FEWEST else ():
        cells = read.cells(column)
        for place, fact in enumerate(("samples per second", "number of channels")):
            pairs = Counter((facts[place], cells[row]) for row, facts in files.items() if cells[row])
            best: dict[int, int] = {}
            labels = Counter[str]()
            for (value, label), count in pairs.items():
                best[value] = max(best.get(value, 0), count)
                labels[label] += count
            predicted, every = sum(best.values()), labels.total()
            if 1 < len(labels) <= MAX_VALUES and predicted >= PREDICTED * every > max(labels.values()) + FEWEST / 2:
                found.append(
                    f"{column}: the file's {fact} predicts the label of {predicted:,} of {every:,} clips; what a model "
                    "recognises may be the recording"
                )
    return found


def _line(defect: str) -> int:
    return int(re.split("[,:]", defect)[0].removeprefix("line "))


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _values(cells: Iterable[str], clips: Iterable[Clip]) -> dict[str, Value]:
    by_value: dict[str, list[str | None]] = {}
    for cell, clip in zip(cells, clips):
        by_value.setdefault(cell, []).append(clip.speaker)
    return {value: Value(len(who), len(set(who) - {None})) for value, who in sorted(by_value.items())}


def render(summary: Summary) -> RenderableType:
    """The summary for a terminal; what came from the manifest stays plain text."""
    parts: list[RenderableType] = [Text(_headline(summary), style="bold")]
    if summary.seconds:
        parts.append(Text(_durations(summary)))
    speakers = len(summary.speakers)
    shown = {column: values for column, values in summary.columns.items() if len(values) <= MAX_VALUES}
    if shown:
        rows = [
            (column, value, f"{has.clips:,}", f"{has.clips / summary.clips:.1%}", *_spread(has, speakers))
            for column, values in shown.items()
            for value, has in values.items()
            if set(values) != {"0", "1"} or value == "1"  # of a column of 0 and 1 the positives say all
        ]
        spread = ("speakers with", "speakers without") if speakers else ()
        parts.append(_table("Labels", ("column", "value", "clips", "share", *spread), rows))
    for column, values in summary.columns.items():
        if len(values) > MAX_VALUES:
            parts.append(Text(f"{column}: {len(values):,} different values"))
    if speakers:
        most_first = sorted(summary.speakers.items(), key=lambda item: (-item[1], item[0]))
        rows = [(name, f"{count:,}", f"{count / summary.clips:.1%}") for name, count in most_first]
        title = (
            "Speakers" if speakers <= MAX_SPEAKERS else f"The {MAX_SPEAKERS} of {speakers:,} speakers with most clips"
        )
        parts.append(_table(title, ("speaker", "clips", "share"), rows[:MAX_SPEAKERS]))
    if summary.averaged:
        parts.append(Text(averaged(summary.averaged, summary.clips), style="yellow"))
    parts += [Text(sentence, style="yellow") for sentence in summary.confounds]
    parts += [Text(f"{summary.name}, {defect}", style="red") for defect in summary.defects]
    return Group(*parts)


def _headline(summary: Summary) -> str:
    counts = list(summary.speakers.values())
    who = "no speaker column"
    if counts:
        least, most = min(counts), max(counts)
        each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        middle = "" if least == most else f" (median {median(counts):g})"
        who = f"{len(counts):,} speakers of {each} clips each{middle}"
    defects = len(summary.defects)
    state = "no defects" if not defects else f"{defects:,} defect{'s' if defects > 1 else ''}"
    return f"{summary.name}: {summary.clips:,} clips, {who}, {state}"


def _durations(summary: Summary) -> str:
    seconds = summary.seconds
    rates = ", ".join(f"{rate:,} Hz ({count:,})" for rate, count in summary.rates.items())
    channels = ", ".join(f"{number} ({count:,})" for number, count in summary.channels.items())
    return (
        f"{sum(seconds) / 3600:.2f} hours in {len(seconds):,} clips: "
        f"median {median(seconds):.2f} s, {min(seconds):.2f} to {max(seconds):.2f} s\n"
        f"samples per second: {rates}\nchannels: {channels}"
    )


def _spread(value: Value, speakers: int) -> tuple[str, ...]:
    return (f"{value.speakers:,}", f"{speakers - value.speakers:,}") if speakers else ()


def _table(title: str, headings: tuple[str, ...], rows: Rows) -> RenderableType:
    table = Table()
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("column", "value", "speaker") else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    return Group(Text(f"\n{title}"), table)
