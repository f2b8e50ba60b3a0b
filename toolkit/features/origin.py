"""Whether a manifest's clips are the recordings that a store holds under their ids."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from toolkit.audio.clip import Clip
from toolkit.core.artifacts import cores
from toolkit.core.errors import InputError
from toolkit.corpus.manifest import Manifest
from toolkit.features.loading import decode_all
from toolkit.features.shard import Source, mark
from toolkit.features.store import Store
from toolkit.features.texts import with_texts


def names_other(clip: Clip, source: Source) -> bool:
    """Whether the manifest names another path, segment, channel or text than what is stored came from; no file is
    asked."""
    named, marked = (clip.start, clip.end, clip.channel), source[6:7]  # a store of an earlier version has no mark
    text = clip.text is not None and source[7:] != (mark(clip.text),)
    return source[2:5] != named or marked not in ((), (mark(clip.path),)) or text


@dataclass(frozen=True)
class Compared:
    """Doubtful clips, decoded again. moved: those whose audio is the same, with where it is now. others: by id, the
    hash of the audio that is not what is stored, or of the text. unreadable: by id, why there is none.
    """

    moved: Mapping[str, Source]
    others: Mapping[str, str]
    unreadable: Mapping[str, str]


def compare(
    manifest: Manifest, store: Store, looks_other: Callable[[Clip, Source], bool], say: Callable[[str], None]
) -> Compared:
    """Decode the clips of which `looks_other` than what is stored under their ids."""
    stored = store.clips
    doubtful = [clip for clip in manifest.clips if clip.id in stored and looks_other(clip, stored[clip.id].source)]
    if not doubtful:
        return Compared({}, {}, {})
    say(f"{len(doubtful):,} clips come from other or newer files than what {store.folder.name} holds: comparing audio")
    moved, others, unreadable = {}, {}, {}
    with closing(decode_all(manifest, doubtful, cores())) as decoded:
        for item in decoded:
            if item.audio is None:
                unreadable[item.clip.id] = item.reason
            elif item.audio.sha256 != stored[item.clip.id].audio_sha256:
                others[item.clip.id] = item.audio.sha256
            elif item.source is not None and item.source[7:] != stored[item.clip.id].source[7:]:
                others[item.clip.id] = f"text {item.source[7:]}"
            elif item.source is not None:
                moved[item.clip.id] = item.source
    return Compared(moved, others, unreadable)


def check_origins(
    manifest: Manifest, store: Store, looks_other: Callable[[Clip, Source], bool], say: Callable[[str], None]
) -> None:
    """Raises InputError where a clip's audio is another one than what is stored under its id, or cannot be had; or its
    text, of a store of texts that this manifest has."""
    column = store.settings.get("text", {}).get("column")
    if column in manifest.columns:
        manifest = with_texts(manifest, manifest.cells(column))
    refuse(compare(manifest, store, looks_other, say), store)


def refuse(found: Compared, store: Store) -> None:
    """Raises InputError where audio is another one, or cannot be had."""
    if found.others or found.unreadable:
        reason = next((f" ({clip!r} {reason})" for clip, reason in found.unreadable.items()), "")
        some = _some([*found.others, *found.unreadable])
        what = "audio or text" if "text" in store.settings else "audio"
        recompute = "compute it again with `toolkit extract` and --changed recompute, " if found.others else ""
        raise InputError(
            f"The {what} of {some} is not what {store.folder.name} holds under that "
            f"id{reason}. Restore it, {recompute}give the new recordings new ids, or use another --workspace"
        )


def _some(names: Sequence[str], most: int = 3) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + rest
