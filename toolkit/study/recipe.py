"""A study's recipe, a TOML file: read and checked; whatever is wrong is reported by file, line and column."""

import difflib
import math
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.core.errors import InputError, RecipeError
from toolkit.study.toml_positions import Key, Offsets, offsets, place

MOST_BYTES = 1_000_000
LARGEST = 2**63  # of TOML's whole numbers
WHERE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
DIGITS = re.compile(r"[0-9_]{4300,}")  # Python turns no longer number into an integer


@dataclass(frozen=True)
class Option:
    """What one key takes.

    kind: str, int, float or bool; where it is str, a whole number will do (folds = 5), and where it is float too.
    several: a list of them as well. low, high: bounds of a number, both allowed. parameter: its name in Python.
    """

    kind: type
    several: bool = False
    low: float | None = None
    high: float | None = None
    parameter: str = ""

    @property
    def expected(self) -> str:
        """In words."""
        name = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}[self.kind]
        if self.low is not None:
            name += f" from {self.low:g}"
        if self.high is not None:
            name += f" to {self.high:g}"
        return f"{name}, or a list of {'texts' if self.kind is str else 'them'}" if self.several else name

    def takes(self, value: Any) -> bool:
        """Whether one value, no list, is of the kind and within the bounds."""
        if self.kind in (bool, str):
            return isinstance(value, self.kind) or (self.kind is str and type(value) is int)
        if type(value) is not int and not (self.kind is float and type(value) is float and math.isfinite(value)):
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True)
class Shape:
    """What a table takes. needed: keys without which it means nothing. many: it may come several times, [[name]]."""

    options: Mapping[str, Option]
    needed: Sequence[str] = ()
    many: bool = False


@dataclass(frozen=True)
class Table:
    """One table as it was read.

    values: by key, of the option's kind; a list, never empty, where it takes several. Text is never blank.
    places: (line, column) of each value, counted from 1, and under "" that of the table.
    """

    file: str
    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def refusal(self, key: str, message: str) -> RecipeError:
        """The error about a key's value; about the table where the key is not there."""
        return RecipeError(self.file, *self.places.get(key, self.places.get("", (1, 1))), message)


def read(file: Path, shapes: Mapping[str, Shape]) -> dict[str, tuple[Table, ...]]:
    """The tables of a recipe by name, each of `shapes` with as many as it has, a single empty one where it has none.

    A table that may come several times has none instead. Raises RecipeError for the first thing that is wrong.
    """
    text = _text(file)
    try:
        content = tomllib.loads(text)
        found = offsets(text)
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(file.name, text, error) from None
    except RecursionError:
        raise RecipeError(file.name, 1, 1, "its lists or tables are nested too deeply") from None
    except ValueError:  # a whole number of thousands of digits
        digits = DIGITS.search(text)
        raise RecipeError(file.name, *place(text, digits.start() if digits else 0), "too long a number") from None
    reader = _Reader(file.name, text, found)
    for name in content:
        if name not in shapes:
            raise reader.error((name,), _unknown("table", name, shapes))
    return {name: tuple(reader.tables(name, shape, content.get(name))) for name, shape in shapes.items()}


def _text(file: Path) -> str:
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise RecipeError(file.resolve().name, 1, 1, "it is not a regular file; expected a recipe in TOML")
        if status.st_size > MOST_BYTES:
            raise RecipeError(file.name, 1, 1, f"it has {status.st_size:,} bytes; a recipe has {MOST_BYTES:,} at most")
        raw = file.read_bytes()
    except FileNotFoundError:
        raise RecipeError(file.name, 1, 1, "there is no such file; expected a recipe in TOML") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else "no name of a file"
        raise RecipeError(file.name, 1, 1, f"it cannot be read: {reason}") from None
    try:
        return raw.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        where = place(raw[: error.start].decode("utf-8"), error.start)
        raise RecipeError(file.name, *where, f"byte 0x{raw[error.start]:02x} is not UTF-8; save it as UTF-8") from None


def _not_toml(name: str, text: str, error: tomllib.TOMLDecodeError) -> RecipeError:
    where = WHERE.search(str(error))
    line, column = (int(where[1]), int(where[2])) if where and where[1] else place(text, len(text))
    message = WHERE.sub("", str(error))
    return RecipeError(name, line, column, f"it is not TOML: {message[:1].lower()}{message[1:200]}")


@dataclass(frozen=True)
class _Reader:
    file: str
    text: str
    found: Offsets

    def error(self, key: Key, message: str, value: bool = False) -> RecipeError:
        """About a key, or its value. A key that was found nowhere would be a fault of ours: the nearest table's."""
        while key and key not in self.found:
            key = key[:-1]
        return RecipeError(self.file, *self.place(key, value), message)

    def place(self, key: Key, value: bool = True) -> tuple[int, int]:
        return place(self.text, self.found.get(key, (0, 0))[value])

    def tables(self, name: str, shape: Shape, content: Any) -> Iterator[Table]:
        if content is None:
            if shape.needed and not shape.many:
                raise self.error((), f"no table [{name}]; expected one with {' and '.join(shape.needed)}")
            if not shape.many:
                yield Table(self.file, name)
            return
        listed = isinstance(content, list)
        for number, values in enumerate(content if listed else [content]):
            key: Key = (name, number) if listed else (name,)
            if not isinstance(values, dict):
                raise self.error(key, f"{name} = {shown(values)}, expected a table [{name}]", value=True)
            if number and not shape.many:
                raise self.error(key, f"a second [{name}]; expected one")
            yield self.table(key, name, shape, values)

    def table(self, key: Key, name: str, shape: Shape, content: Mapping[str, Any]) -> Table:
        for missing in shape.needed:
            if missing not in content:
                raise self.error(key, f"[{name}] has no {missing!r}; expected {shape.options[missing].expected}")
        for option in content:
            if option not in shape.options:
                raise self.error((*key, option), _unknown(f"key in [{name}]", option, shape.options))
        values = {option: self.value((*key, option), shape.options[option], found) for option, found in content.items()}
        places = {option: self.place((*key, option)) for option in content}
        return Table(self.file, name, values, {**places, "": self.place(key, value=False)})

    def value(self, key: Key, option: Option, value: Any) -> Any:
        several = isinstance(value, list) and option.several
        taken = []
        for number, one in enumerate(value if several else [value]):
            where = (*key, number) if several else key
            if not option.takes(one) or (type(one) is int and abs(one) >= LARGEST):
                raise self.error(where, f"{key[-1]} = {shown(one)}, expected {option.expected}", value=True)
            if isinstance(one, str) and not (one.strip() and one.isprintable()):
                raise self.error(where, f"{key[-1]} = {shown(one)}, expected text in one line", value=True)
            taken.append(one if option.kind is bool else option.kind(one))
        if not taken:
            raise self.error(key, f"{key[-1]} is an empty list; expected one entry or more", value=True)
        return taken if option.several else taken[0]


def _unknown(what: str, name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name[:100], known, n=1)
    hint = f"did you mean {near[0]!r}" if near else f"expected one of {list(known)}"
    return f"unknown {what}: {shown(name)}, {hint}{'?' if near else ''}"


def shown(value: Any) -> str:
    """A value of TOML in an error: short, in one line.

    >>> shown(True), shown("a"), shown([1])
    ('true', "'a'", 'a list')
    """
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a table"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= LARGEST:
        return "a number beyond 64 bits"  # Python would not print the longest ones
    text = repr(value) if isinstance(value, str) else str(value)
    return (text.lower() if isinstance(value, bool) else text)[:80]


@contextmanager
def placed(*tables: Table, otherwise: str = "") -> Iterator[None]:
    """Give an error the place in the recipe of the key that it names first, as "--key" or "Bad key".

    otherwise: the key that is meant where none is named.
    """
    try:
        yield
    except RecipeError:
        raise
    except InputError as error:
        found = [
            (match.start(), table, key)
            for table in tables
            for key in table.values
            if (match := re.search(rf"(--|\bBad (--)?){key}(?![\w-])", str(error)))
        ]
        unsaid = "" if " --" in str(error) else otherwise  # it names an option that the table leaves to its default
        _, table, key = min(found, key=lambda one: one[0], default=(0, tables[0], unsaid))
        raise table.refusal(key, str(error)) from None
