"""The audio files of a folder, and why others are passed over."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from toolkit.audio import decode_pool
from toolkit.audio.decode import SUFFIXES
from toolkit.core.errors import AudioError

# Suffixes of sound that is passed over by name where it cannot be read
OTHER_AUDIO = frozenset(
    (".m4a", ".aac", ".amr", ".awb", ".wma", ".webm", ".mp4", ".m4v", ".mov", ".mkv", ".mka", ".avi", ".3gp", ".3g2",
     ".mp2", ".caf", ".ape", ".spx", ".sph", ".au", ".snd", ".ac3", ".wv", ".tta", ".ra", ".rm", ".wmv", ".flv", ".vox",
     ".silk")
)  # fmt: skip
NO_AUDIO = "files that are no audio by their suffix"


def audio_paths(root: Path, skipped: Counter[str], in_folders: bool) -> Iterator[str]:
    """Paths of the audio files below `root`, with / between folders. in_folders: whether each needs a label's."""
    unread: dict[str, list[Path]] = {}
    for place, folders, files in os.walk(root):
        for name in list(folders):
            if name.startswith("."):
                skipped["hidden files or folders"] += 1
                folders.remove(name)
            elif (Path(place) / name).is_symlink():
                skipped["links to folders"] += 1
        for name in files:
            path, suffix = (Path(place) / name).relative_to(root).as_posix(), Path(name).suffix.lower()
            if name.startswith("."):
                skipped["hidden files or folders"] += 1
            elif suffix in OTHER_AUDIO and suffix not in SUFFIXES:
                unread.setdefault(suffix, []).append(Path(path))
            elif suffix not in SUFFIXES:
                skipped[NO_AUDIO] += 1
            elif "/" not in path and in_folders:
                skipped["audio files in no label's folder"] += 1
            elif not path.isprintable() or "\\" in path or any(part != part.strip() for part in path.split("/")):
                skipped["audio files whose path has unprintable signs, backslashes, or spaces around a name"] += 1
            else:
                yield path
    for suffix, paths in unread.items():
        example = min(paths)
        try:
            decode_pool.header(root / example)
            why = "by that suffix"
        except AudioError as error:
            why = str(error)
        skipped[f"{suffix} files as audio it cannot read: {example.as_posix()!r} {why}"] = len(paths)
