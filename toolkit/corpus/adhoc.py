"""Audio files and folders named one by one, as a corpus without labels."""

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from toolkit.audio.clip import Clip
from toolkit.audio.decode import SUFFIXES
from toolkit.core.errors import InputError
from toolkit.corpus.manifest import Manifest


def gather(paths: Sequence[Path], say: Callable[[str], None] = lambda sentence: None) -> Manifest:
    """A manifest of these files, and of all audio below these folders; the id is the path from what they share.

    Hidden files are passed over, and so are links to folders, which are reported to `say`. Raises InputError for what
    is not there, for a link to a folder, for a file that is none (a pipe, a device), for one that a link takes out of
    its folder, and where there is no audio.
    """
    found = [(place, file) for path in paths for place, file in _found(path, say)]
    if not found:
        raise InputError(f"No audio in {', '.join(path.name + '/' for path in paths)}; expected {', '.join(SUFFIXES)}")
    root = Path(os.path.commonpath([place for place, _ in found]))
    names = dict.fromkeys(file.relative_to(root).as_posix() for _, file in found)
    for name in names:
        if not name.isprintable() or "\\" in name or name != name.strip():
            raise InputError(f"Bad file name {name!r}; expected printable signs, no backslash, no spaces around it")
    clips = tuple(Clip(name, name, line, cells=(name, name)) for line, name in enumerate(names, start=2))
    return Manifest("the audio", root, ("id", "path"), clips)


def _found(path: Path, say: Callable[[str], None]) -> list[tuple[Path, Path]]:
    """(folder, file) of a file, or of every audio file below a folder; no link on the way to either is left."""
    name = path.name or path.resolve().name
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from None
    if stat.S_ISREG(mode):
        place = path.parent.resolve()
        return [(place, place / path.name)]
    if not stat.S_ISDIR(mode):
        raise InputError(f"{name} is not a regular file; expected an audio file or a folder of them")
    if path.is_symlink():
        raise InputError(f"{name} is a link to a folder; name the folder itself")
    root, files = path.resolve(), []
    for place_name, folders, names in os.walk(root):
        place = Path(place_name)
        for folder in sorted(folders):
            if folder.startswith("."):
                folders.remove(folder)
            elif (place / folder).is_symlink():
                say(f"passed over: {(place / folder).relative_to(root)} is a link to a folder; name it if it is meant")
        folders.sort()
        for file in sorted(names):
            if file.startswith(".") or Path(file).suffix.lower() not in SUFFIXES:
                continue
            if not (place / file).resolve().is_relative_to(root):
                raise InputError(f"{(place / file).relative_to(root)} is a link that leaves {name}/")
            files.append((root, place / file))
    return files
