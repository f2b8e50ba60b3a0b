"""What `toolkit predict` listens to: which channel, and what is unlike the clips that taught its models."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from toolkit.audio.clip import Clip
from toolkit.audio.decode import SAMPLE_RATE, averaged
from toolkit.audio.decode_pool import header
from toolkit.core.errors import AudioError, InputError
from toolkit.core.i18n import Note
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.material import Material, flag_notes
from toolkit.finetune.audio_cache import Recordings

AVERAGE = "average"
Say = Callable[[str], None]


def of_channel(corpus: Manifest, channel: str | None, material: Material | None, say: Say) -> Manifest:
    """The clips with the channel that is asked for, or that all of the run's clips are of; reported to `say`.

    A row of a manifest that names its channel keeps it. A file with one channel has nothing to choose where the run
    decides; where the user does, it must have that one.
    Raises InputError for what is no channel.
    """
    if channel is not None and channel != AVERAGE and not (channel.isascii() and channel.isdigit()):
        raise InputError(f"Bad --channel {channel!r}, expected 0, 1 ..., or {AVERAGE}")
    chosen = material.channel if channel is None and material else None
    if channel not in (None, AVERAGE):
        chosen = int(channel)
    if chosen is None:
        return corpus

    def has(clip: Clip) -> bool:
        try:
            path = corpus.audio_path(clip)
            return channel is not None or header(path, clip.start, clip.end, longest=math.inf).channels > 1
        except AudioError:
            return False  # named when it is decoded

    clips = tuple(
        replace(clip, channel=chosen) if clip.channel is None and has(clip) else clip for clip in corpus.clips
    )
    moved = sum(clip.channel != before.channel for clip, before in zip(clips, corpus.clips))
    if moved:
        why = "as asked for" if channel is not None else "as all of the run's clips are; --channel takes another"
        say(f"channel {chosen} of {moved:,} of {len(clips):,} recordings, {why}")
    return replace(corpus, clips=clips)


def notes_on(material: Material | None, windows: bool, audio: Recordings, ids: Sequence[str], say: Say) -> list[Note]:
    """Notes on what the models get now and did not learn from, reported to `say` too.

    windows: whether there are timelines, which show silence.
    """
    flags = [audio.flags[clip] for clip in ids]
    notes = flag_notes(flags)
    if material:
        notes += material.other_length([audio.lengths[clip] / SAMPLE_RATE for clip in ids])
    for note in notes:
        say(f"note: {note}")
    if some := sum("averaged" in of_clip for of_clip in flags):
        say(f"mind: {averaged(some, len(flags))} --channel does so for all of them.")
    silent = sum("near-silent" in of_clip for of_clip in flags)
    if silent and not windows:
        say(f"mind: {silent:,} of {len(flags):,} clips are near-silent; what is predicted of them means nothing.")
    return notes
