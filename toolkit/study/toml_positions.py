"""Where each key and value of a TOML text is, which tomllib does not give."""

import re
import tomllib

Key = tuple[str | int, ...]  # names of tables and keys, and positions in lists
Offsets = dict[Key, tuple[int, int]]  # characters from the start: of the key (or the table's header), and of its value

PART = r"(?:\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[A-Za-z0-9_-]+)"
NAME = re.compile(rf"{PART}(?:[ \t]*\.[ \t]*{PART})*")
BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
SCALAR = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|[^,\]}#\n]+",
    re.DOTALL,
)


def offsets(text: str) -> Offsets:
    """The place of everything in a text that tomllib has read (with \\n line ends): its syntax is not checked again."""
    return _Finder(text).found


def place(text: str, offset: int) -> tuple[int, int]:
    """Line and column, from 1.

    >>> place("a = 1\\nb = 2", 10)
    (2, 5)
    """
    offset = min(offset, len(text))
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


class _Finder:
    def __init__(self, text: str) -> None:
        self.text, self.at, self.found = text, 0, Offsets()
        self.lists: dict[Key, int] = {}  # how many tables [[name]] there were so far
        table: Key = ()
        while self.blank() < len(text):
            if text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)

    def blank(self) -> int:
        self.at = self.matched(BLANK).end()
        return self.at

    def matched(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = pattern.match(self.text, self.at)
        assert found is not None  # tomllib has read it
        return found

    def name(self) -> Key:
        """A dotted name, decoded by tomllib itself."""
        match = self.matched(NAME)
        self.at = match.end()
        nested, parts = tomllib.loads(f"{match[0]} = 0"), []
        while isinstance(nested, dict):
            ((part, nested),) = nested.items()
            parts.append(part)
        return tuple(parts)

    def header(self) -> Key:
        start = self.at
        several = self.text.startswith("[[", start)
        self.at += 1 + several
        self.blank()
        key: Key = ()
        *outer, last = self.name()
        for part in outer:  # of a list of tables, the last one so far
            key = (*key, part)
            key = (*key, self.lists[key] - 1) if key in self.lists else key
        key = (*key, last)
        if several:
            self.found.setdefault(key, (start, start))
            self.lists[key] = self.lists.get(key, 0) + 1
            key = (*key, self.lists[key] - 1)
        self.found[key] = start, start
        self.blank()
        self.at += 1 + several
        return key

    def pair(self, table: Key) -> None:
        start = self.at
        name = self.name()
        self.blank()
        self.at += 1  # =
        self.blank()
        for end in range(1, len(name) + 1):
            self.found.setdefault((*table, *name[:end]), (start, self.at))
        self.value((*table, *name))

    def value(self, key: Key) -> None:
        opening = self.text[self.at]
        if opening not in "[{":
            self.at = self.matched(SCALAR).end()
            return
        self.at += 1
        number = 0
        while self.text[self.blank()] not in "]}":
            if self.text[self.at] == ",":
                self.at += 1
            elif opening == "{":
                self.pair(key)
            else:
                self.found[(*key, number)] = self.at, self.at
                self.value((*key, number))
                number += 1
        self.at += 1
