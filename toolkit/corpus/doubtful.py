"""Names in a column that are perhaps none: what a spreadsheet made of them, and several labels in one cell."""

import re
from collections.abc import Sequence

from toolkit.corpus.numerals import COMMA

DIGITS = 15  # of a number, that a spreadsheet keeps
SCIENTIFIC = re.compile(r"[0-9](?:\.[0-9]+)?E\+[0-9]+", re.IGNORECASE)  # how it shows a long one
MONTH = "jan|feb|mar|mär|mrz|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez"
DAY = re.compile(rf"[0-9]{{1,2}}(?:-|\. ?)(?:{MONTH})|[0-9]{{1,2}}月[0-9]{{1,2}}日", re.IGNORECASE)  # 1-2, 1/2 or 1.2
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?: 00:00:00)?")
LISTING = re.compile(r"[;,/|+&、，；]")
CALL = re.compile(r"(.*\w)[ _.-](?:call|session|sess?|visit|part|take|通话|第)[ _.-]?[0-9]+[次通]?", re.IGNORECASE)
COUNTRY = (1, 2, 3)  # digits of its code
PHONE = re.compile(r"\+?[0-9][0-9 ()/-]{6,}")


def doubtful(names: Sequence[str], group: bool) -> tuple[int, str] | None:
    """The place of the first name that is perhaps none, with what is wrong with it and what to write.

    names: of a column, each once. group: they are callers or the like, and no labels.
    """
    for find in (_cut, _dated) if group else (_dated, _listing):
        if (found := find([name.strip() for name in names])) is not None:
            return found[0], f"{found[1]}, or --unknown keep (takes it for a name like any other)"
    return None


def _cut(names: Sequence[str]) -> tuple[int, str] | None:
    """1.38E+11, or all long numbers with zeros at their end."""
    at = next((at for at, name in enumerate(names) if SCIENTIFIC.fullmatch(name)), None)
    if at is None:
        long = [at for at, name in enumerate(names) if name.isdecimal() and len(name) > DIGITS]
        if len(long) < 3 or any(names[at][DIGITS:].strip("0") for at in long):
            return None
        at = long[0]
    return at, (
        f"looks cut by a spreadsheet, which keeps {DIGITS} digits of a number, so that several names may have become "
        "one; expected names as they were given: save the column as text"
    )


def _dated(names: Sequence[str]) -> tuple[int, str] | None:
    """2-Jan for 1-2, or a date among what is none."""
    filled = [name for name in names if name]
    mixed = not all(map(DATE.fullmatch, filled))
    for at, name in enumerate(names):
        if DAY.fullmatch(name) or (mixed and DATE.fullmatch(name)):
            return at, (
                "looks like a date that a spreadsheet made of a name such as 1-2; expected names as they were given: "
                "save the column as text"
            )
    return None


def _listing(names: Sequence[str]) -> tuple[int, str] | None:
    """ "sad,joy" where "sad" is a label too, or "joy,sad"."""
    every = {name.casefold() for name in names}
    sets: set[frozenset[str]] = set()
    for at, name in enumerate(names):
        parts = [part.strip() for part in LISTING.split(name.casefold()) if part.strip()]
        if len(parts) < 2 or COMMA.fullmatch(name):
            continue
        if every & {*parts} or frozenset(parts) in sets:
            return at, (
                "lists several labels in one cell, and would be a label of its own; expected one label, or a column of "
                "0 and 1 for each (--target with commas between them)"
            )
        sets.add(frozenset(parts))
    return None


def several_names(callers: Sequence[str]) -> list[list[str]]:
    """Callers that may be one: of two calls (s1_call1, s1_call2), or of a number with and without a country's code.

    callers: each once.
    """
    stems: dict[str, list[str]] = {}
    numbers: dict[str, list[str]] = {}
    for name in callers:
        if call := CALL.fullmatch(name):
            stems.setdefault(call[1].casefold(), []).append(name)
        if PHONE.fullmatch(name):
            numbers.setdefault(_digits(name), []).append(name)
    if len(stems) < 2:  # all begin alike, and what is behind that tells them apart
        stems = {}
    for whole, same in numbers.items():
        if any(name.startswith(("+", "00")) for name in same):
            for code in COUNTRY:
                same += numbers.get(_digits(whole[code:]), [])
    return [same for same in (*stems.values(), *numbers.values()) if len(same) > 1]


def _digits(name: str) -> str:
    return re.sub("[^0-9]", "", name).lstrip("0")
