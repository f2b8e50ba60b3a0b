"""A bar with rate and time left on a terminal, a line now and then elsewhere; and bytes in words."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LINE_EVERY_SECONDS = 30.0
Advance = Callable[[int, float], None]  # how many more items, and how many seconds of audio they are


def quiet(items: int, audio_seconds: float = 0.0) -> None:
    """An Advance that shows nothing, for calls from Python."""


@contextmanager
def unseen(title: str, total: int, unit: str) -> Iterator[Advance]:
    """A `bar` that nobody sees."""
    yield quiet


def of_bytes(count: int) -> str:
    """12,345,678 -> "12.3 MB".

    >>> of_bytes(12_345_678), of_bytes(999)
    ('12.3 MB', '999 bytes')
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _number(rate: float) -> str:
    """To two digits at least, for a large backbone on a CPU is no faster than a clip in ten seconds.

    >>> _number(1234.5), _number(9.96), _number(0.0123)
    ('1,234', '10', '0.012')
    """
    return f"{rate:,.0f}" if rate >= 9.95 else f"{rate:.2g}"


@contextmanager
def bar(title: str, total: int, unit: str) -> Iterator[Advance]:
    """Show progress on standard error while the block runs; yields the function that advances it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    began = time.monotonic()
    last_line = began
    done, audio = 0, 0.0

    def rate() -> str:
        elapsed = max(time.monotonic() - began, 1e-9)
        audio_rate = f", {_number(audio / elapsed)} s of audio per s" if audio else ""
        return f"{_number(done / elapsed)} {unit}/s{audio_rate}"

    if not sys.stderr.isatty():

        def advance(items: int, audio_seconds: float = 0.0) -> None:
            nonlocal done, audio, last_line
            done, audio = done + items, audio + audio_seconds
            if time.monotonic() - last_line > LINE_EVERY_SECONDS:
                last_line = time.monotonic()
                left = (last_line - began) / max(done, 1) * (total - done)
                print(
                    f"{title}: {done:,} of {total:,} {unit}, {rate()}, {left:,.0f} s left", file=sys.stderr, flush=True
                )

        yield advance
        return

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task(title, total=total, rate="")

        def advance_bar(items: int, audio_seconds: float = 0.0) -> None:
            nonlocal done, audio
            done, audio = done + items, audio + audio_seconds
            display.update(task, advance=items, rate=rate())

        yield advance_bar
