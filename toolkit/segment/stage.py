"""`toolkit manifest segment`: planned (all that can be refused before a call is decoded), then run."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

import numpy as np

from toolkit.audio import decode_pool
from toolkit.audio.clip import Clip
from toolkit.audio.decode import Samples
from toolkit.core.artifacts import cores
from toolkit.core.errors import AudioError, InputError
from toolkit.corpus import manifest
from toolkit.corpus.adhoc import gather
from toolkit.corpus.manifest import RECORDING, RESERVED, Manifest
from toolkit.corpus.place import Place
from toolkit.corpus.roots import located, roots_of
from toolkit.corpus.windows import span_of
from toolkit.segment import detector, stores
from toolkit.segment.options import SegmentOptions
from toolkit.segment.turns import Mask, Turn, one_signal, own_speech, speech, turns
from toolkit.segment.voices import two_voices

BLOCK_SECONDS = 600  # decoded at once: 38 MB, however long the call
VOICE = "voice"  # column of the voice, where two are told apart
SHOWN = 20  # calls that are named


@dataclass(frozen=True)
class Call:
    """clip: its row. channels: those that are listened to, None for the only one. kept: whose turns are kept, None for
    all. seconds: how long it is. alone: whether the only channel may hold two voices.
    """

    clip: Clip
    channels: tuple[int | None, ...]
    kept: int | None
    seconds: float
    alone: bool = False


@dataclass(frozen=True)
class Segmented:
    """What was made of whole calls.

    file: the manifest. turns: its rows. calls: those with a turn. seconds: of all turns together. silent: ids of calls
    without one. failed: by id, why a call could not be read. same: ids of calls whose channels hold one signal.
    """

    file: Path
    turns: int
    calls: int
    seconds: float
    silent: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    same: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"failed: call {call!r} {reason}" for call, reason in self.failed.items()]
        if self.same:
            lines.append(f"one signal in all channels, taken for one channel: {_listed(self.same)}")
        if self.silent:
            lines.append(f"without a turn, and so without a row: {_listed(self.silent)}")
        return "\n".join([*lines, f"{self.file.name}: {self.turns:,} turns of {self.calls:,} calls, "
                                  f"{self.seconds / 60:,.1f} minutes of speech"])  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """paths: the calls' files as the new manifest has them, by id. source: None where voices are not told apart."""

    place: Place
    options: SegmentOptions
    out: Path
    corpus: Manifest
    calls: Sequence[Call]
    paths: Mapping[str, str]
    failed: Mapping[str, str]
    source: stores.Source | None

    def run(self) -> Segmented:
        """Raises InputError where no call has a turn, MachineError where the detector is not installed."""
        session, failed = detector.load(), dict(self.failed)
        found: dict[str, list[Turn]] = {}
        same: list[str] = []
        rows: list[list[str]] = []

        def hear(call: Call, stop: Event) -> tuple[Call, list[detector.Heard] | str]:
            try:
                return call, [detector.listen(session, self._blocks(call, one, stop)) for one in call.channels]
            except AudioError as error:
                return call, str(error)

        decoded = decode_pool.ahead(hear, self.calls, cores(), lambda result: result[0].seconds)
        with closing(decoded), self.place.bar("listening", len(self.calls), "calls") as advance:
            for call, channels in decoded:
                advance(1, call.seconds * len(call.channels))
                if isinstance(channels, str):
                    failed[call.clip.id] = channels
                    continue
                masks = [speech(one, self.options.threshold) for one in channels]
                if one_signal(channels, masks):
                    same.append(call.clip.id)
                    first = call.kept or 0
                    call = replace(call, channels=(first,), alone=call.clip.channel is None)
                    channels, masks = [channels[first]], [masks[first]]
                found[call.clip.id] = self._turns(call, channels, masks)
                rows += self._rows(call, found[call.clip.id])
        silent = tuple(call for call, spoken in found.items() if not spoken)
        if not rows:
            summary = Segmented(self.out, 0, 0, 0.0, silent, failed)
            raise InputError(f"No turn in {len(self.corpus.clips):,} calls, and nothing was written\n  {summary}")
        manifest.write(self.out, self._columns(), rows)
        seconds = math.fsum(turn.end - turn.start for spoken in found.values() for turn in spoken)
        return Segmented(self.out, len(rows), len(found) - len(silent), seconds, silent, failed, tuple(same))

    def _blocks(self, call: Call, channel: int | None, stop: Event) -> Iterator[Samples]:
        clip, path = call.clip, self.corpus.audio_path(call.clip)
        base = clip.start or 0.0
        for number in range(math.ceil(call.seconds / BLOCK_SECONDS)):
            start = base + number * BLOCK_SECONDS
            last = (number + 1) * BLOCK_SECONDS >= call.seconds
            end = clip.end if last else start + BLOCK_SECONDS
            yield decode_pool.decode(path, start or None, end, channel, None, stop).samples

    def _turns(self, call: Call, channels: Sequence[detector.Heard], masks: Sequence[Mask]) -> list[Turn]:
        masks = own_speech(channels, masks, self.options.crosstalk)
        voices = None
        if call.alone and self.source is not None and self.source.windows[call.clip.id]:
            ids, states = self.source.of(call.clip.id)
            base = call.clip.start or 0.0
            whole = (base, base + call.seconds)
            spans = np.array([span_of(one) or whole for one in ids]) - base
            voices = two_voices(states, spans, masks[0])
        kept = [
            turn
            for channel, mask, signal in zip(call.channels, masks, channels)
            if call.kept in (None, channel)
            for turn in turns(mask, signal.power, self.options, voices, channel)
        ]
        end = round(call.seconds, 3)
        kept = [replace(turn, end=min(turn.end, end)) for turn in kept if turn.start < end]
        return sorted(kept, key=lambda turn: (turn.start, turn.channel or 0))

    @property
    def _by_channel(self) -> bool:
        return any(channel is not None for call in self.calls for channel in call.channels)

    def _carried(self) -> list[str]:
        """Columns of the calls that their turns have, too."""
        return [name for name in self.corpus.columns if name not in RESERVED or name == "split"]

    def _columns(self) -> list[str]:
        carried = self._carried()
        return ["id", "path", "start", "end", *["channel"] * self._by_channel, "speaker",
                *[VOICE] * (self.source is not None), *[RECORDING] * (RECORDING not in carried), *carried]  # fmt: skip

    def _rows(self, call: Call, found: Sequence[Turn]) -> Iterator[list[str]]:
        clip, several = call.clip, call.kept is None and len(call.channels) > 1
        cells, base = dict(zip(self.corpus.columns, clip.cells)), clip.start or 0.0
        for turn in found:
            start, end = (f"{round(base + seconds, 3):.10g}" for seconds in (turn.start, turn.end))
            channel = "" if turn.channel is None else str(turn.channel)
            speaker = clip.speaker or clip.id
            row = {
                **cells,
                "id": f"{clip.id}{'#' + channel if channel else ''}:{start}-{end}",
                "path": self.paths[clip.id],
                "start": start,
                "end": end,
                "channel": channel,
                "speaker": f"{speaker}#{channel}" if several else speaker,
                VOICE: "" if turn.voice is None else f"voice-{turn.voice + 1}",
                RECORDING: cells.get(RECORDING) or clip.id,
            }
            yield [row[name] for name in self._columns()]


def plan(place: Place, options: SegmentOptions) -> Plan:
    """Read the calls' headers. Raises InputError for what is not accepted, StoreError for a store that is not there."""
    options.check()
    out = Path(options.out or place.manifest_file)
    corpus = _read(place, options.calls)
    if options.calls.is_file() and out.exists() and out.samefile(options.calls):
        raise InputError(f"{out.name} is the manifest of the calls; give --out another name")
    manifest.check_overwrite(out, options.overwrite)
    if options.model is not None and VOICE in corpus.columns:
        raise InputError(f"{corpus.name} has a column {VOICE!r} already, which the turns' voices take; rename it")
    calls, failed = [], {}
    for clip in corpus.clips:
        try:
            calls.append(_call(corpus, clip, options.caller_channel))
        except AudioError as error:
            failed[clip.id] = str(error)
    alone = [call.clip.id for call in calls if call.alone]
    _check_voices(calls, alone, options)
    source = None
    if options.model is not None:
        source = stores.source(place.features, corpus, alone, options.model, options.layer, place.say)
    return Plan(place, options, out, corpus, calls, _paths(corpus, calls, out, place), failed, source)


def _read(place: Place, calls: Path) -> Manifest:
    if calls.suffix.lower() == ".csv":
        return manifest.read(calls, place.audio_root)
    return gather([calls], place.say)


def _call(corpus: Manifest, clip: Clip, caller: int | None) -> Call:
    segment = (corpus.audio_path(clip), clip.start, clip.end, clip.channel, clip.duration)
    header = decode_pool.header(*segment, longest=math.inf)
    kept = caller if clip.channel is None else clip.channel
    if kept is not None and kept >= header.channels:
        counted = f"{header.channels} channels, counted from 0" if header.channels > 1 else "one channel"
        raise InputError(f"Call {clip.id!r} has {counted}; --caller-channel {kept} asks for another one")
    if header.channels == 1:
        if caller is not None and clip.channel is None:
            raise InputError(f"Call {clip.id!r} has one channel; --caller-channel asks for one of several")
        return Call(clip, (clip.channel,), clip.channel, header.seconds, alone=clip.channel is None)
    return Call(clip, tuple(range(header.channels)), kept, header.seconds)


def _check_voices(calls: Sequence[Call], alone: Sequence[str], options: SegmentOptions) -> None:
    """Raises InputError where two voices are wanted of one channel, and no features separate them."""
    if alone and options.speakers == 2 and options.model is None:
        raise InputError(
            f"{len(alone):,} of {len(calls):,} calls have one channel, such as {alone[0]!r}: --model STORE names "
            f"features that tell two voices apart, which {stores.EXTRACT} makes; --speakers 1 does without"
        )
    if options.model is not None and not alone:
        raise InputError("--model has no effect here: no call has two voices in one channel")


def _paths(corpus: Manifest, calls: Sequence[Call], out: Path, place: Place) -> dict[str, str]:
    """Of each call, as the new manifest has it. Raises InputError for audio that it could not name."""
    roots = roots_of(place.audio_root, out.parent)
    found = {}
    for call in calls:
        found[call.clip.id], defect = located(str(corpus.audio_path(call.clip)), roots)
        if defect:
            raise InputError(
                f"The audio of call {call.clip.id!r} is outside {out.name}'s folder; name the folder that it is in "
                "with --audio-root, here and in later commands"
            )
    return found


def _listed(ids: Sequence[str], most: int = SHOWN) -> str:
    rest = f" and {len(ids) - most:,} more" if len(ids) > most else ""
    return f"{len(ids):,} ({', '.join(map(repr, ids[:most]))}{rest})"
