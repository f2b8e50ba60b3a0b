"""Recordings longer than a backbone's context, cut into windows that stay clips of their recording."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from toolkit.audio import decode_pool
from toolkit.audio.clip import Clip
from toolkit.core.errors import AudioError, InputError, ManifestError
from toolkit.corpus.manifest import Manifest

SHORTEST_HOP = 0.1  # seconds
WINDOW_ID = re.compile(r"(.+)@([0-9.]+)-([0-9.]+)")


@dataclass(frozen=True)
class Windows:
    """seconds: of each window. hop: seconds from one window's start to the next one's; at most the window itself."""

    seconds: float
    hop: float

    @classmethod
    def of(cls, seconds: float | None, hop: float | None) -> "Windows | None":
        """What `--window` and `--hop` say; without a hop, windows touch. Raises InputError."""
        if seconds is None:
            if hop is not None:
                raise InputError(f"--hop {hop:g} without --window; expected both, or --window alone")
            return None
        hop = seconds if hop is None else hop
        if not (math.isfinite(seconds) and SHORTEST_HOP <= hop <= seconds):
            raise InputError(
                f"--window {seconds:g} --hop {hop:g}; expected seconds, the hop from {SHORTEST_HOP} to the window, "
                "so that no audio is skipped"
            )
        return cls(_milliseconds(seconds), _milliseconds(hop))

    @classmethod
    def kept_in(cls, settings: Mapping[str, Any]) -> "Windows | None":
        """What a feature store was cut by, from its settings."""
        found = settings.get("windows")
        return cls(float(found["seconds"]), float(found["hop"])) if found else None

    @classmethod
    def shared(cls, stores: Mapping[str, Mapping[str, Any]]) -> "Windows | None":
        """What all of some stores (settings by name) were cut by. Raises InputError where they differ."""
        (first, expected), *rest = [(name, cls.kept_in(settings)) for name, settings in stores.items()]
        for name, found in rest:
            if found != expected:
                raise InputError(
                    f"{first} holds {_cut_by(expected)}, {name} {_cut_by(found)}; expected stores of the same clips"
                )
        return expected

    def starts(self, duration: float) -> Iterator[float]:
        """Where the windows of `duration` seconds begin; the last one ends with the recording.

        >>> list(Windows(10.0, 5.0).starts(23.0)), list(Windows(10.0, 10.0).starts(20.0))
        ([0.0, 5.0, 10.0, 13.0], [0.0, 10.0])
        """
        last = _milliseconds(max(0.0, duration - self.seconds))
        for number in range(math.ceil(round(last / self.hop, 6)) + 1):
            yield _milliseconds(min(number * self.hop, last))


def cut(manifest: Manifest, windows: Windows | None) -> Manifest:
    """The manifest with every clip longer than a window replaced by its windows.

    A window is a clip of its own, `ID@START-END` (seconds in the file), with the cells of its recording: the same
    labels, group and split. Its `recording` is the clip's id. A clip that a window holds, or whose audio cannot be
    read, stays as it is. Reads every file's header. Raises ManifestError for an id that a window would take twice.
    """
    if windows is None:
        return manifest
    clips: list[Clip] = []
    for clip in manifest.clips:
        clips += _cut(manifest, clip, windows)
    seen: set[str] = set()
    for clip in clips:
        if clip.id in seen:
            raise ManifestError(
                manifest.name, [f"line {clip.line}: {clip.id!r} is the id of a window and of another clip"]
            )
        seen.add(clip.id)
    return replace(manifest, clips=tuple(clips))


def recording_of(clip: str) -> str:
    """The id of the recording that a window's id names; any other id as it is.

    >>> recording_of("call 7@12.5-22.5"), recording_of("call@home")
    ('call 7', 'call@home')
    """
    window = WINDOW_ID.fullmatch(clip)
    return window[1] if window else clip


def span_of(clip: str) -> tuple[float, float] | None:
    """Where a window begins and ends in its file, in seconds, by its id; None of another clip.

    >>> span_of("call 7@12.5-22.5"), span_of("call@home")
    ((12.5, 22.5), None)
    """
    window = WINDOW_ID.fullmatch(clip)
    return (float(window[2]), float(window[3])) if window else None


def _cut(manifest: Manifest, clip: Clip, windows: Windows) -> list[Clip]:
    try:
        path = manifest.audio_path(clip)
        duration = decode_pool.header(path, clip.start, clip.end, clip.channel, clip.duration, longest=math.inf).seconds
    except AudioError:
        return [clip]  # named when it is decoded
    if duration <= windows.seconds + 5e-4:
        return [clip]
    base, parts = clip.start or 0.0, []
    for offset in windows.starts(duration):
        start, end = _milliseconds(base + offset), _milliseconds(base + offset + windows.seconds)
        name = f"{clip.id}@{start:.10g}-{end:.10g}"
        cells = tuple(name if column == "id" else cell for column, cell in zip(manifest.columns, clip.cells))
        parts.append(replace(clip, id=name, start=start, end=end, duration=None, cells=cells, recording=clip.id))
    return parts


def _cut_by(windows: Windows | None) -> str:
    return f"windows of {windows.seconds:g} s, every {windows.hop:g} s" if windows else "recordings as they are"


def _milliseconds(seconds: float) -> float:
    """Whole milliseconds, so that an id says exactly what it holds."""
    return round(seconds, 3)
