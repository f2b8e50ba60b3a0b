"""One clip: a row of the manifest."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Clip:
    """One row. start, end, duration: seconds; channel: counted from 0; line: in the CSV file, the header is line 1.

    cells: the row's text as it is, a cell for each of the manifest's columns; none if `read` was called with
    cells=False. recording: for a window of a longer clip (`toolkit.corpus.windows`), that clip's id. text: what is
    said, for whoever reads it; None for all others. It is in no message.
    """

    id: str
    path: str
    line: int
    start: float | None = None
    end: float | None = None
    channel: int | None = None
    duration: float | None = None
    speaker: str | None = None
    split: str | None = None
    cells: tuple[str, ...] = ()
    recording: str | None = None
    text: str | None = field(default=None, repr=False)
