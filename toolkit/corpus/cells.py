"""What a cell of someone's table says: seconds, yes or no, a channel, a number that a program gave a point."""

import re
from collections.abc import Sequence

from toolkit.corpus.spellings import key

YES = frozenset(("1", "是", "有", "对", "真", "yes", "y", "true", "ja", "oui", "√", "✓", "✔"))  # by their keys
NO = frozenset(("0", "否", "无", "没有", "不是", "错", "假", "no", "n", "false", "nein", "non", "×", "✗", "✘"))
SIDES = {"左": 0, "左声道": 0, "left": 0, "l": 0, "右": 1, "右声道": 1, "right": 1, "r": 1}
CHANNEL = re.compile(r"(?:声道|通道|channel|chan|ch)?[ _#-]?([0-9]{1,4})(?:\.0*)?(?:声道|通道)?")
SECONDS = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e([-+]?[0-9]{1,2}))? ?(ms|毫秒|s|secs?|seconds?|秒)?")
CLOCK = re.compile(r"(?:0 days? )?(?:([0-9]{1,3}):)?([0-9]{1,4}):([0-9]{1,2}(?:\.[0-9]*)?)")
SPOKEN = re.compile(
    r"(?:([0-9]+)(?:小时|时|h) ?)?(?:([0-9]+)(?:分钟|分|m(?:in)?) ?)?(?:([0-9]+(?:\.[0-9]*)?)(?:秒|s))?"
)
WHOLE = re.compile(r"([0-9]+)\.0*")


def seconds(text: str, milliseconds: bool = False) -> float | None:
    """Seconds, of a number or a time by the clock; None for what is neither. milliseconds: what a bare number counts.

    >>> [seconds(text) for text in ("14", "14,5", "00:01:14.50", "1:14", "00:00:14,000", "1分14秒", "250 ms", "soon")]
    [14.0, 14.5, 74.5, 74.0, 14.0, 74.0, 0.25, None]
    """
    plain = re.sub(r"(?<=[0-9]),(?=[0-9]+\D*$)", ".", key(text))
    if number := SECONDS.fullmatch(plain):
        value = float(f"{number[1]}e{number[2] or 0}")
        return value / 1000 if number[3] in ("ms", "毫秒") or (milliseconds and not number[3]) else value
    clock = CLOCK.fullmatch(plain)
    found = clock or (SPOKEN.fullmatch(plain) if plain else None)
    if found is None:
        return None
    hours, minutes, rest = (float(part or 0) for part in found.groups())
    if clock and (rest >= 60 or (found[1] and minutes >= 60)):
        return None
    return 3600 * hours + 60 * minutes + rest


def written(value: float) -> str:
    """Seconds as a manifest has them: to the microsecond, no trailing zeros.

    >>> written(14.0), written(0.1 + 0.2)
    ('14', '0.3')
    """
    return f"{value:.6f}".rstrip("0").rstrip(".")


def channel(text: str) -> tuple[int, bool] | None:
    """A channel, and whether it was named by its side, so that it is counted from 0; None for what is no channel.

    >>> channel("2.0"), channel("声道1"), channel("右"), channel("both")
    ((2, False), (1, False), (1, True), None)
    """
    plain = key(text)
    if plain in SIDES:
        return SIDES[plain], True
    number = CHANNEL.fullmatch(plain)
    return (int(number[1]), False) if number else None


def whole_numbers(cells: Sequence[str], some: bool = False) -> list[str]:
    """The cells without the .0 that pandas gives whole numbers next to an empty cell, where all of them are whole.

    some: of a row, where others may be anything.

    >>> whole_numbers(["1.0", "", "12"]), whole_numbers(["1.0", "1.5"])
    (['1', '', '12'], ['1.0', '1.5'])
    """
    if not some and not all(WHOLE.fullmatch(cell) or cell.isdecimal() for cell in cells if cell):
        return list(cells)
    return [found[1] if (found := WHOLE.fullmatch(cell)) else cell for cell in cells]


def flags(cells: Sequence[str]) -> list[str] | None:
    """0 and 1 for a column of yes and no, empty cells as they are; None for a column of anything else.

    >>> flags(["是", "否", ""]), flags(["TRUE", "1.0"]), flags(["悲伤", "是"])
    (['1', '0', ''], ['1', '1'], None)
    """
    keys = [key(cell) for cell in cells]
    if not set(keys) - {""} or not set(keys) <= YES | NO | {""}:
        return None
    return ["" if not cell else "1" if cell in YES else "0" for cell in keys]
