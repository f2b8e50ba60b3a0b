"""A corpus of a known layout -> manifest.csv."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from toolkit.core.artifacts import committed_folder
from toolkit.core.errors import InputError
from toolkit.corpus import manifest
from toolkit.corpus.importers import Imported, new_file, written
from toolkit.corpus.layouts.registry import LAYOUTS
from toolkit.corpus.layouts.row import Cells, Corpus

FIRST = ("id", "path", "start", "end", "speaker", manifest.RECORDING, "split")
PUBLISHED = "published_split"
MOST_LABELS = 12  # values of a column whose counts are listed


def corpus(
    layout: str,
    root: Path,
    out: Path,
    *,
    text: bool = False,
    overwrite: bool = False,
    write_audio: Path | None = None,
) -> Imported:
    """Write a manifest of a corpus, by what its own names and tables say.

    A published split that does not keep speakers apart becomes the column `published_split`, which nothing takes for
    one. Rows that a later command would refuse are left out and reported.

    Args:
        layout: A name of `LAYOUTS`.
        root: The corpus's folder, as the layout describes it.
        out: The manifest.
        text: Keep what is said, where the corpus has it. It is personal data.
        overwrite: Write over a manifest that is there.
        write_audio: Where audio that the corpus's tables hold is written, a new folder.

    Raises:
        InputError: For an unknown layout, a folder that has another one, and where `out` exists.
    """
    row = LAYOUTS.find(layout)
    new_file(root, out, overwrite)
    if write_audio is not None and not row.holds_audio:
        raise InputError(f"The layout {layout} has its audio in files already; leave out --write-audio")
    with committed_folder(write_audio) if write_audio else nullcontext() as folder:
        read = Corpus(root, write_audio=folder)
        rows = list(row.read(read))
    if not rows:
        passed_over = "".join(f"; {count:,} {reason} passed over" for reason, count in sorted(read.skipped.items()))
        raise InputError(f"Nothing in {root.resolve().name}/ follows the layout {layout} ({row.about}){passed_over}")
    leaks = _leaks(rows)
    columns = {
        PUBLISHED if name == "split" and leaks else name: [cells.get(name, "") for cells in rows]
        for name in _columns(rows, text)
    }
    found, made = written(write_audio or root, out, columns, read.skipped)
    notes = [*_counts(found), *([f"{leaks}, so that its split is the column {PUBLISHED}"] if leaks else [])]
    return replace(made, notes=notes)


def _columns(rows: Sequence[Cells], text: bool) -> list[str]:
    """The manifest's own first, then the corpus's, in the order in which they came."""
    for cells in rows:
        cells.setdefault("id", cells["path"])
    named = dict.fromkeys(name for cells in rows for name in cells if any(cells.values()))
    filled = [name for name in named if any(cells.get(name) for cells in rows) and (text or name != manifest.TEXT)]
    return [name for name in FIRST if name in filled] + [name for name in filled if name not in FIRST]


def _leaks(rows: Sequence[Cells]) -> str:
    """A speaker, or else a recording, that the published split has on two sides; "" for none."""
    for column in ("speaker", manifest.RECORDING):
        sides: dict[str, str] = {}
        for cells in rows:
            value, split = cells.get(column, ""), cells.get("split", "")
            if value and split and sides.setdefault(value, split) != split:
                return f"{column} {value!r} is in the parts {sides[value]!r} and {split!r} of the published split"
    return ""


def _counts(found: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A sentence on each column that has few values."""
    for name, cells in found.items():
        if name not in (*FIRST, manifest.TEXT) and len(counts := Counter(cells)) <= MOST_LABELS:
            yield f"{name}: " + ", ".join(f"{counts[value]:,} {value or '(none)'}" for value in sorted(counts))
