"""Whether a manifest's clips are the recordings that a store holds under their ids."""

from collections.abc import Callable, Sequence
from contextlib import closing

from toolkit.audio.clip import Clip
from toolkit.core.artifacts import cores
from toolkit.core.errors import InputError
from toolkit.corpus.manifest import Manifest
from toolkit.features.loading import decode_all
from toolkit.features.shard import Source, path_mark
from toolkit.features.store import Store


def names_other(clip: Clip, source: Source) -> bool:
    """Whether the manifest names another path, segment or channel than what is stored came from; no file is asked."""
    named, marked = (clip.start, clip.end, clip.channel), source[6:]  # a store of an earlier version has no mark
    return source[2:5] != named or marked not in ((), (path_mark(clip.path),))


def refuse_others(
    manifest: Manifest, store: Store, looks_other: Callable[[Clip, Source], bool], say: Callable[[str], None]
) -> dict[str, Source]:
    """Decode the clips of which `looks_other` than what is stored under their ids.

    Returns where their audio is now. Raises InputError where it is another one, or cannot be had.
    """
    stored = store.clips
    doubtful = [clip for clip in manifest.clips if clip.id in stored and looks_other(clip, stored[clip.id].source)]
    if not doubtful:
        return {}
    say(f"{len(doubtful):,} clips come from other or newer files than what {store.folder.name} holds: comparing audio")
    others, reasons, moved = [], [], {}
    with closing(decode_all(manifest, doubtful, cores())) as decoded:
        for item in decoded:
            if item.audio is None or item.audio.sha256 != stored[item.clip.id].audio_sha256:
                others.append(item.clip.id)
                reasons += [f" ({item.clip.id!r} {item.reason})"] if item.reason else []
            elif item.source is not None:
                moved[item.clip.id] = item.source
    if others:
        raise InputError(
            f"The audio of {_some(others)} is not what {store.folder.name} holds under that id{''.join(reasons[:1])}. "
            "Restore it, give the new recordings new ids, or use another --workspace"
        )
    return moved


def _some(names: Sequence[str], most: int = 3) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + rest
