"""What a corpus's row says, and the two ways in which most corpora say what a clip is: names of files, and tables."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from toolkit.core.errors import InputError
from toolkit.corpus import sheet
from toolkit.corpus.finding import Finder
from toolkit.corpus.walk import NO_AUDIO as OTHER_FILES
from toolkit.corpus.walk import audio_paths

Cells = dict[str, str]
SPLITS = {"train": "train", "validation": "dev", "valid": "dev", "dev": "dev", "test": "test"}
NO_AUDIO = "rows without their audio file"


@dataclass
class Corpus:
    """A corpus's folder while it is read.

    skipped: what is passed over, counted by reason. write_audio: where audio that tables hold is written, None for
    nowhere; paths are then from there.
    """

    root: Path
    write_audio: Path | None = None
    skipped: Counter[str] = field(default_factory=Counter)

    @cached_property
    def audio(self) -> list[str]:
        """Of all audio files, the paths from the root."""
        found = sorted(audio_paths(self.root, self.skipped, in_folders=False))
        self.skipped.pop(OTHER_FILES, None)  # tables and the like, which belong to a corpus
        return found

    @cached_property
    def by_name(self) -> dict[str, str]:
        """Path by the name without its suffix, of the names that only one file has."""
        names = Counter(Path(path).stem for path in self.audio)
        return {stem: path for path in self.audio if names[stem := Path(path).stem] == 1}

    @cached_property
    def finder(self) -> Finder:
        """Finds paths of another machine below the root."""
        return Finder([(self.root, "")])

    def file(self, name: str) -> Path:
        """The one file of that name. Raises InputError where there is none, or several."""
        found = sorted(self.root.rglob(name))
        if len(found) != 1:
            how_many = "there are several" if found else "there is none"
            raise InputError(f"Expected one file {name} below {self.root.resolve().name}/, and {how_many}")
        return found[0]

    def table(self, file: Path, *columns: str) -> list[Cells]:
        """A table's rows by its column names. Raises InputError for a column of `columns` that it lacks."""
        read = sheet.read(file)
        if missing := [name for name in columns if name not in read.columns]:
            raise InputError(f"{file.name}: no column {missing[0]!r}; its header has {list(read.columns)}")
        return [dict(zip(read.columns, cells)) for _, cells in read.rows]

    def pass_over(self, reason: str) -> None:
        """Count what is left out."""
        self.skipped[reason] += 1


Reader = Callable[[Corpus], Iterator[Cells]]


@dataclass(frozen=True)
class Layout:
    """A corpus's row.

    Attributes:
        about: The corpus, its emotions' language, and the folder to give.
        source: Where its layout is described: a publication or its own documentation.
        read: Yields a clip's cells by column: path from the corpus's folder, and what is known of speaker, split,
            labels, scales, sex, age. `text`, what is said, is written only where it is asked for.
        holds_audio: Its tables may hold the audio itself, which is then written where the user says.
    """

    about: str
    source: str
    read: Reader
    holds_audio: bool = False


def named(
    pattern: str,
    codes: Mapping[str, Mapping[str, str]] | None = None,
    more: Callable[[Cells], Mapping[str, str]] = lambda cells: {},
) -> Reader:
    """Of a corpus whose paths say it all.

    pattern: searched in each path, its named groups are the columns; other files are passed over and counted. codes: by
    column, what its codes mean; what is not among them is no clip of the corpus. more: columns that follow.
    """
    compiled, known = re.compile(pattern), codes or {}

    def read(corpus: Corpus) -> Iterator[Cells]:
        for path in corpus.audio:
            match = compiled.search(path)
            cells = {name: value or "" for name, value in match.groupdict().items()} if match else {}
            if not match or any(cells[column] not in names for column, names in known.items()):
                corpus.pass_over("audio files whose names do not follow the layout")
                continue
            cells |= {column: names[cells[column]] for column, names in known.items()}
            yield {"path": path, **cells, **more(cells)}

    return read
