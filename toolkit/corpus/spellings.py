"""Two spellings of one name ("3" and "3.0", s1 and S1), and cells that name nothing ("nan"): seen here alone.

`key` decides what is suspicious, never what is counted: two cells of one key are refused, merged or kept apart, as the
user says.
"""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from toolkit.core.errors import InputError, LabelError, SplitError, one_of
from toolkit.core.i18n import Note
from toolkit.corpus.doubtful import doubtful

SPELLINGS = ("refuse", "merge", "keep")
UNKNOWN = ("refuse", "keep")
UNLABELLED = ("refuse", "skip")
SCALES = ("ordinal", "regression")
KINDS = ("auto", "classes", *SCALES)
NUMBER = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]*))?|([+-]?)\.([0-9]+)")
# What no one sees, next to the format and control signs that Unicode has categories for: Default_Ignorable_Code_Point
IGNORED = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
DOUBT = re.compile(r"(?<=\w) ?(?:\?+|\(\?+\))$")  # "sad?", "sad (?)": the same name, by one who was not sure
NAMELESS = frozenset(  # by their keys
    ("nan", "na", "n/a", "n.a.", "#n/a", "<na>", "none", "null", "nil", "unknown", "unk", "undefined", "missing", "?",
     "??", "???", "-", "--", "---", ".", "...", "/", "unbekannt", "inconnu", "未知", "不详", "不明", "无", "缺失",
     "#value!", "#ref!", "#name", "#div/0!", "#num!", "#null!",  # Excel's errors
     "don't know", "don’t know", "no answer", "no agreement", "not applicable", "not available", "xxx", "keine angabe",
     "k.a.", "weiss nicht", "不知道", "不清楚", "无法判断", "拒答", "未填", "未填写", "未标注")
)  # fmt: skip
SHOWN = 3  # names in a sentence; of more, how many more


@dataclass(frozen=True)
class Rules:
    """What the user says of them.

    spellings: of SPELLINGS, what to do with two spellings of one name. unknown: of UNKNOWN, what to do with a cell that
    names nothing. unlabelled: of UNLABELLED, what to do with a clip that has no label. labels: those that are picked,
    () for all. kind: of KINDS, what to make of a column of numbers. threshold: makes two labels of it. levels: of
    an ordinal target, from the lowest up; () for numbers in their own order.
    Raises InputError for other words.
    """

    spellings: str = "refuse"
    unknown: str = "refuse"
    unlabelled: str = "refuse"
    labels: tuple[str, ...] = ()
    kind: str = "auto"
    threshold: float | None = None
    levels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))  # JSON gives a list
        object.__setattr__(self, "levels", tuple(self.levels))
        for name, known in (
            ("spellings", SPELLINGS), ("unknown", UNKNOWN), ("unlabelled", UNLABELLED), ("kind", KINDS),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                raise InputError(one_of(f"--{name}", getattr(self, name), known))
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise InputError(f"Bad --threshold {self.threshold}, expected a finite number such as 12.5")
        if len(set(self.levels)) < len(self.levels):
            raise InputError(f"--levels {','.join(self.levels)} names a level twice; expected each once")

    @property
    def left_out(self) -> dict[str, object]:
        """What leaves clips or labels out, as far as it does."""
        return {name: value for name, value in self.stated().items() if name not in ("spellings", "unknown")}

    def stated(self) -> dict[str, object]:
        """For a run's provenance: what leaves clips out only where it does."""
        found = asdict(self)
        return {
            name: value
            for name, value in found.items()
            if name in ("spellings", "unknown") or value != getattr(REFUSE, name)
        }


REFUSE, KEEP = Rules(), Rules("keep", "keep")


def key(text: str) -> str:
    """What all spellings of a name share: NFKC, nothing invisible, single spaces, case folded, numbers in one form, no
    question mark behind it.

    >>> key(" \\uff33\\uff13\\u200b"), key("03") == key("3.0") == key("+3.00"), key("-0.50"), key("0."), key("sad?")
    ('s3', True, '-0.5', '0', 'sad')
    """
    before = None
    while text != before:  # folding a case can make another composition possible
        before = text
        visible = "".join(sign for sign in " ".join(text.split()) if unicodedata.category(sign) not in ("Cf", "Cc"))
        text = unicodedata.normalize("NFKC", IGNORED.sub("", unicodedata.normalize("NFKC", visible)).casefold())
        text = DOUBT.sub("", " ".join(text.split()))
    number = NUMBER.fullmatch(text)
    if number is None:
        return text
    whole, part = (number[2] or "").lstrip("0"), (number[3] or number[5] or "").rstrip("0")
    value = (whole or "0") + (f".{part}" if part else "")
    return f"-{value}" if "-" in (number[1], number[4]) and value != "0" else value


@dataclass(frozen=True)
class Name:
    """A name and the lines of each of its spellings: the most frequent first, of equals the one that came first.

    Before all of them come those without spaces around them or signs that cannot be seen.
    """

    key: str
    lines: Mapping[str, Sequence[int]]

    @property
    def kept(self) -> str:
        """The spelling that a merge keeps."""
        return next(iter(self.lines))

    @property
    def several(self) -> bool:
        return len(self.lines) > 1

    @property
    def first_line(self) -> int:
        """The first line in which the name is spelt for the second time in another way."""
        return sorted(lines[0] for lines in self.lines.values())[min(1, len(self.lines) - 1)]

    def __str__(self) -> str:
        return " and ".join(f"{spelling!r} ({_lines(lines)})" for spelling, lines in self.lines.items())


def _lines(lines: Sequence[int]) -> str:
    more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
    return f"line {lines[0]}{more}"


def _plain(text: str) -> bool:
    return text == text.strip() and text.isprintable()


def names(cells: Sequence[str], lines: Sequence[int]) -> list[Name]:
    """Every name in a column, in the order in which they come. lines: of each cell."""
    found: dict[str, list[int]] = {}
    for cell, line in zip(cells, lines, strict=True):
        found.setdefault(cell, []).append(line)
    by_key: dict[str, dict[str, list[int]]] = {}
    for cell, places in found.items():
        by_key.setdefault(key(cell), {})[cell] = places
    return [
        Name(same, dict(sorted(each.items(), key=lambda item: (not _plain(item[0]), -len(item[1])))))  # then the first
        for same, each in by_key.items()
    ]


@dataclass(frozen=True)
class Settled:
    """A column as the rules take it. cells: as many as went in. notes: what a reader of figures must see."""

    cells: tuple[str, ...]
    notes: tuple[Note, ...] = field(default=())


def settle(
    column: str,
    cells: Sequence[str],
    lines: Sequence[int],
    rules: Rules,
    group: bool = False,
    where: str = "Manifest",
) -> Settled:
    """A column's cells with every name in one spelling, or left as they are where the user wants that.

    A merged name gets the first spelling of its `Name`. A label column of nothing but 0 and 1 in any
    form (pandas writes 1.0 where a cell is missing) holds "0" and "1" after a merge.
    group: the column's values are kept apart or resampled, and are no labels. where: what is being read.
    Raises LabelError, or SplitError for a group.
    """
    found = names(cells, lines)
    error = SplitError if group else LabelError
    if rules.spellings == "refuse":
        for name in found:
            if name.several:
                raise error(f"{where}, column {column!r}: {two(name)}")
        if not group and flags(found) and {name.kept for name in found} != {name.key for name in found}:
            raise error(f"{where}, column {column!r}: {other_flags(found)}")
    if rules.unknown == "refuse":
        for name in found:
            if name.key in NAMELESS:
                raise error(f"{where}, column {column!r}: {nameless(name)}")
    check_doubtful(where, column, found, rules, group)
    notes = []
    several = [name for name in found if name.several]
    if several and rules.spellings == "keep":
        listed = "; ".join(" and ".join(map(repr, name.lines)) for name in several[:SHOWN]) + _more(several)
        notes.append(Note("kept_apart", {"column": column, "list": listed}))
    unknown = [spelling for name in found if name.key in NAMELESS for spelling in name.lines]
    if unknown:
        listed = ", ".join(map(repr, unknown[:SHOWN])) + _more(unknown)
        notes.append(Note("unknown", {"column": column, "list": listed}))
    if rules.spellings != "merge":
        return Settled(tuple(cells), tuple(notes))
    as_flags = not group and flags(found)
    kept = {spelling: name.key if as_flags else name.kept for name in found for spelling in name.lines}
    moved = [(spelling, to) for spelling, to in kept.items() if spelling != to]
    if moved:
        listed = ", ".join(f"{spelling!r} as {to!r}" for spelling, to in moved[:SHOWN]) + _more(moved)
        notes.insert(0, Note("merged", {"column": column, "list": listed}))
    return Settled(tuple(kept[cell] for cell in cells), tuple(notes))


def known_names(column: str, cells: Sequence[str], lines: Sequence[int], rules: Rules) -> tuple[str, ...]:
    """As `settle` does it for a column of groups that are only shown: what names nothing is empty, unless it is kept.

    Raises SplitError for two spellings of one name.
    """
    unknown = rules.unknown == "refuse"
    named = ["" if unknown and key(cell) in NAMELESS else cell for cell in cells]
    return settle(column, named, lines, rules, group=True).cells


def settle_columns(names: Sequence[str], columns: Mapping[str, Sequence[str]], rules: Rules) -> tuple[str, ...]:
    """The columns of a target less those that are another spelling of one before. columns: cells, settled.

    They are merged only where they say the same of every clip. Raises LabelError.
    """
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(key(name), name)
        if other == name or rules.spellings == "keep":
            continue
        if rules.spellings == "refuse":
            raise LabelError(
                f"The columns {other!r} and {name!r} are spellings of one label; name one of them in --target, or say "
                "--spellings merge (where they hold the same) or --spellings keep (two labels)"
            )
        if columns[other] != columns[name]:
            raise LabelError(
                f"The columns {other!r} and {name!r} are spellings of one label and differ, so they cannot be merged; "
                "name one of them in --target"
            )
    return tuple(name for name in names if rules.spellings == "keep" or first[key(name)] == name)


def check_spellings(columns: Sequence[str], rules: Rules, where: str) -> None:
    """Columns of a table that are spellings of one label, unless they are kept apart: they cannot be merged there."""
    first: dict[str, str] = {}
    for name in columns:
        other = first.setdefault(key(name), name)
        if other != name and rules.spellings != "keep":
            raise LabelError(
                f"{where}, line 1: the columns {other!r} and {name!r} are spellings of one label; expected one, "
                "or --spellings keep (two labels)"
            )


def flags(found: Sequence[Name]) -> bool:
    """Whether a column holds 0 and 1 alone, in whatever form."""
    return {name.key for name in found} <= {"0", "1"}


def two(name: Name) -> str:
    """What is wrong with a name of several spellings, and what to type."""
    return (
        f"{name} are spellings of one name; expected one of them, or --spellings merge (takes all for {name.kept!r}) "
        "or --spellings keep (keeps them apart)"
    )


def other_flags(found: Sequence[Name]) -> str:
    """What is wrong with a column of 0.0 and 1.0."""
    listed = " and ".join(repr(name.kept) for name in found)
    return (
        f"it holds {listed}; expected 0 and 1, or --spellings merge (takes them for 0 and 1) or --spellings keep "
        "(takes them as they are written)"
    )


def nameless(name: Name) -> str:
    """What is wrong with a cell that names nothing, and what to type."""
    return (
        f"{name} may stand for an unknown value; expected a name in every row, or --unknown keep (takes it for a name "
        "like any other)"
    )


def doubt(found: Sequence[Name], rules: Rules, group: bool) -> tuple[Name, str] | None:
    """The first name that is perhaps none (`doubtful`), and what is wrong with it, unless such names are kept."""
    wrong = doubtful([name.kept for name in found], group) if rules.unknown == "refuse" else None
    return None if wrong is None else (found[wrong[0]], f"{found[wrong[0]]} {wrong[1]}")


def check_doubtful(where: str, column: str, found: Sequence[Name], rules: Rules, group: bool) -> None:
    """Raises LabelError, or SplitError for a group, where a name of a column is perhaps none."""
    if wrong := doubt(found, rules, group):
        raise (SplitError if group else LabelError)(f"{where}, column {column!r}: {wrong[1]}")


def _more(every: Sequence[object]) -> str:
    return f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
