"""The audio file that a cell of someone's table means."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from toolkit.audio.decode import SUFFIXES
from toolkit.corpus.roots import ABSOLUTE


class Finder:
    """Finds files by paths of another machine: backslashes, other cases, no suffix, folders that are elsewhere here.

    bases: folders to start from, each with what a manifest's path begins with there.
    """

    def __init__(self, bases: Sequence[tuple[Path, str]]) -> None:
        self._bases = bases
        self._listings: dict[Path, dict[str, list[str]]] = {}

    def find(self, cell: str) -> str | None:
        """The manifest's path of what a cell names, None where there is no such file, or several alike.

        Of an absolute path the longest end is taken that there is.
        """
        parts = [part for part in re.split(r"[\\/]+", cell) if part not in ("", ".")]
        if not parts or ".." in parts:
            return None
        starts = range(len(parts)) if ABSOLUTE.match(cell) else range(1)
        for start in starts:
            for base, prefix in self._bases:
                if (found := self._walk(base, parts[start:])) is not None:
                    return prefix + found
        return None

    def _walk(self, base: Path, parts: Sequence[str]) -> str | None:
        place, taken = base, []
        for number, part in enumerate(parts, start=1):
            last = number == len(parts)
            names = [part, *(part + suffix for suffix in SUFFIXES if last)]
            step = self._only(place, names[:1]) or self._only(place, names[1:])
            if step is None:
                return None
            taken.append(step)
            place = place / step
        return "/".join(taken) if place.is_file() else None

    def _only(self, folder: Path, names: Sequence[str]) -> str | None:
        """The one entry that is called by one of these names, whatever its case and its Unicode form."""
        listing = self._listing(folder)
        found = [entry for name in names for entry in listing.get(_folded(name), ())]
        exact = [entry for entry in found if entry in names]
        return exact[0] if exact else found[0] if len(found) == 1 else None

    def _listing(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._listings:
            entries: dict[str, list[str]] = {}
            try:
                for entry in folder.iterdir():
                    entries.setdefault(_folded(entry.name), []).append(entry.name)
            except OSError:
                pass
            self._listings[folder] = entries
        return self._listings[folder]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
