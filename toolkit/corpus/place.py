"""Where a study is, and how it reports."""

import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from toolkit.core.errors import InputError
from toolkit.core.options import command_of
from toolkit.core.progress import Advance, bar
from toolkit.corpus.manifest import FILE_NAME, Manifest, read
from toolkit.corpus.roots import Roots, given_roots

Bar = Callable[[str, int, str], AbstractContextManager[Advance]]  # what is done, how many of it, their name


def silent(sentence: str) -> None:
    """For a study without progress bars."""


@dataclass(frozen=True)
class Place:
    """A workspace: a folder with models/, features/, result/ and predictions/."""

    folder: Path
    """Which must be there."""
    manifest: Path | None = None
    """The corpus; None for manifest.csv in the folder."""
    audio_root: Roots = None
    """Where the manifest's paths start from, one folder or several, before its own."""
    say: Callable[[str], None] = silent
    """Gets the sentences that a user should read."""
    bar: Bar = bar
    """Shows progress."""
    command: str | None = None
    """The command line that a report names, where one was typed."""

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise InputError(f"No workspace folder {self.folder.name!r}; make it, or name another with --workspace")

    @property
    def models(self) -> Path:
        return self.folder / "models"

    @property
    def features(self) -> Path:
        return self.folder / "features"

    @property
    def result(self) -> Path:
        return self.folder / "result"

    @property
    def manifest_file(self) -> Path:
        return self.manifest or self.folder / FILE_NAME

    def typed(self, command: str, options: object) -> str:
        """What a report says it was made by."""
        if self.command is not None:
            return self.command
        named = [("--manifest", path) for path in (self.manifest,) if path is not None]
        named += [("--audio-root", root) for root in given_roots(self.audio_root) or ()]
        words = [word for name, path in named for word in (name, self._from_here(path))]
        return shlex.join([*shlex.split(command_of(command, options)), *words])

    def _from_here(self, path: Path) -> str:
        """From the workspace's folder; without its folders where it is elsewhere."""
        whole, here = path.resolve(), self.folder.resolve()
        return str(whole.relative_to(here)) if whole.is_relative_to(here) else path.name

    def shown(self, path: Path) -> str:
        """A path as a user would type it: from the current folder where it is in there, else from the workspace."""
        for start in (Path.cwd(), self.folder.resolve()):
            if path.resolve().is_relative_to(start):
                return str(path.resolve().relative_to(start))
        return path.name

    def corpus(self, cells: bool = True) -> Manifest:
        """The manifest. cells: whether the rows' text is kept. Raises ManifestError."""
        return read(self.manifest_file, self.audio_root, cells=cells)
