"""Every word of a page, in each language it is written in: words.en.toml and words.zh.toml, with the same keys."""

import functools
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from string import Formatter
from typing import Any, NamedTuple

from toolkit.core.errors import InputError, one_of

LANGUAGES = ("en", "zh")
NOUNS = ("group", "what")  # fields of a note that a language may have its own word for
OF_CLIPS = (
    "note.flag_",
    "note.unit_",
    "note.units",
    "noun.member",
    "note.purged",
    "note.copies",
    "report.units",
)  # whatever a row is


class Note(NamedTuple):
    """What a reader of the figures must see, worded in the language of the page; kept as [key, fields] in JSON.

    key: the phrase's name in the section "note". fields: what fills it, as JSON knows it.
    """

    key: str
    fields: Mapping[str, Any]

    def __str__(self) -> str:
        """
        >>> str(Note("flag_near-silent", {"some": 1, "all": 2000}))
        'Near-silent: 1 of 2,000 clips.'
        """
        return ENGLISH(self)


def user_notes(texts: Iterable[str]) -> tuple[Note, ...]:
    """A user's own notes, which are the same in every language."""
    return tuple(Note("user", {"text": text}) for text in texts)


@dataclass(frozen=True, eq=False)
class Language:
    """Phrases by "section.name". tag: as in HTML's lang."""

    tag: str
    phrases: Mapping[str, str]

    def __call__(self, key: str | Note, /, **fields: object) -> str:
        """The phrase with its fields filled in; a field's own braces stay as they are. Raises KeyError.

        A number whose format is a noun is counted: "{all:clip}" is "1 clip" or "2,000 clips".
        """
        if isinstance(key, Note):
            named = {name: self.name("noun", key.fields[name]) for name in NOUNS if name in key.fields}
            return self(f"note.{key.key}", **{**key.fields, **named})
        return _Filler(self).vformat(self.phrases[key], (), fields)

    def name(self, section: str, name: str) -> str:
        """The word for a name that code uses ("speaker", "fixed"), or the name itself where it is the user's own.

        >>> ENGLISH.name("noun", "speaker"), of("zh").name("noun", "speaker"), of("zh").name("noun", "village")
        ('speaker', '说话人', 'village')
        """
        return self.phrases.get(f"{section}.{name}", name)

    def counted(self, number: int, noun: str) -> str:
        """
        >>> ENGLISH.counted(1, "clip"), ENGLISH.counted(2000, "clip"), of("zh").counted(2000, "clip")
        ('1 clip', '2,000 clips', '2,000 个片段')
        """
        return self("count.one" if number == 1 else "count.many", number=number, noun=self.name("noun", noun))

    @functools.cached_property
    def of_units(self) -> "Language":
        """For a page whose predictions are of units: what counts clips elsewhere counts these.

        >>> ENGLISH.of_units.counted(2, "clip"), ENGLISH.of_units("protocol.clips_heading")
        ('2 units', 'Units')
        """
        clip, unit = self.name("noun", "clip"), self.name("noun", "unit")
        words = re.compile(rf"(?<![\w{{-])(?<!--split-by ){clip}(?=s?(?![a-z_]))", re.ASCII)
        phrases = {
            key: words.sub(unit, text).replace("Clip", "Unit")
            for key, text in self.phrases.items()
            if not key.startswith(OF_CLIPS)
        }
        return Language(self.tag, {**self.phrases, **phrases})

    def many(self, noun: str) -> str:
        """
        >>> ENGLISH.many("speaker"), of("zh").many("speaker")
        ('speakers', '说话人')
        """
        return self("count.plural", noun=self.name("noun", noun))

    def file(self, name: str) -> str:
        """A file's or folder's name, with the language in it unless that is English.

        >>> ENGLISH.file("report.html"), of("zh").file("report.html"), of("zh").file("figures")
        ('report.html', 'report.zh.html', 'figures.zh')
        """
        stem, dot, suffix = name.partition(".")
        return name if self.tag == "en" else f"{stem}.{self.tag}{dot}{suffix}"

    def figure(self, value: object) -> str:
        """A Score, a decimal or None as every page shows it."""
        text = "missing" if value is None else f"{value:z.3f}" if isinstance(value, float) else str(value)
        return self("common.missing") if text == "missing" else text


def plural(noun: str) -> str:
    """Of an English noun, or of a column's name.

    >>> plural("speaker"), plural("city"), plural("day"), plural("sex"), plural("class"), plural("epoch")
    ('speakers', 'cities', 'days', 'sexes', 'classes', 'epochs')
    """
    if re.search("[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return noun + ("es" if re.search("(?:s|x|(?<!po)ch|sh)$", noun) else "s")


class _Filler(Formatter):
    def __init__(self, say: Language) -> None:
        self._say = say

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "plural":
            return plural(value)
        counts = f"noun.{format_spec}" in self._say.phrases
        return self._say.counted(value, format_spec) if counts else str(super().format_field(value, format_spec))


@functools.cache
def of(tag: str) -> Language:
    """One of LANGUAGES. Raises InputError for another."""
    if tag not in LANGUAGES:
        raise InputError(one_of("language", tag, LANGUAGES))
    text = resources.files(__package__).joinpath(f"words.{tag}.toml").read_text(encoding="utf-8")
    return Language(tag, dict(_flat(tomllib.loads(text))))


def _flat(tables: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in tables.items():
        found += [(prefix + name, value)] if isinstance(value, str) else _flat(value, f"{prefix}{name}.")
    return found


ENGLISH = of("en")
