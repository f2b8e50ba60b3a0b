"""Options of a stage: a frozen dataclass that the command line, a recipe and a notebook all fill in.

A field's type and default are written once, its help is the docstring line under it, and `Offered` says what only a
command line needs to know.
"""

import ast
import dataclasses
import difflib
import inspect
import itertools
import os
import re
import shlex
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from toolkit.core.errors import InputError, ToolkitError

T = TypeVar("T")


@dataclass(frozen=True)
class Offered:
    """How a command line offers a field: `Annotated[int, Offered(least=1)]`.

    name: of the option, without dashes, where it is not the field's own. short: such as "-m". least, most: bounds of a
    number. shown: the default in words. switch: a bool that can only be turned on. repeated: of `Names`, may be given
    several times; else they have commas between them. argument: it has no dashes.
    """

    name: str | None = None
    short: str | None = None
    least: float | None = None
    most: float | None = None
    shown: str | None = None
    switch: bool = False
    repeated: bool = False
    argument: bool = False


@dataclass(frozen=True)
class Rule:
    """An option that changes nothing next to certain others; its user would believe that it did.

    option: the field's name. idle: given the options, whether it would change nothing. because: what the refusal says
    after the option's name. A stage's options keep theirs in `RULES`.
    """

    option: str
    idle: Callable[[Any], bool]
    because: str


def typed(option: str) -> str:
    """A field's name as a command line has it: "--inner-folds"."""
    return "--" + TYPED_AS.get(option, option).replace("_", "-")


def check_idle(rules: Iterable[Rule], given: Collection[str], options: Any) -> None:
    """Raises InputError for the first option given, by its field's name, that would change nothing."""
    for rule in rules:
        if rule.option in given and rule.idle(options):
            raise InputError(f"{typed(rule.option)} {rule.because}")


def helps(options: type) -> dict[str, str]:
    """The docstring line under each field of a dataclass and of those it is built upon, by field."""
    found: dict[str, str] = {}
    for owner in reversed(options.__mro__[:-1]):
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        statements = body.body if isinstance(body, ast.ClassDef) else []
        for field, doc in itertools.pairwise(statements):
            if (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
                    and isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant)):  # fmt: skip
                found[field.target.id] = inspect.cleandoc(str(doc.value.value)).replace("\n", " ")
    return found


def offered(hint: Any) -> Offered:
    """What a field's annotation says to a command line."""
    about = getattr(hint, "__metadata__", ())
    return next((one for one in about if isinstance(one, Offered)), Offered())


def command_of(command: str, options: Any) -> str:
    """The command line that asks for the same: `toolkit COMMAND --option value ...`, defaults left out."""
    words = ["toolkit", *command.split()]
    hints, own_fields = get_type_hints(type(options), include_extras=True), type(options).__annotations__
    for field in sorted(dataclasses.fields(options), key=lambda field: field.name not in own_fields):
        value = getattr(options, field.name)
        if value == field.default or value is None:
            continue
        about = offered(hints[field.name])
        name = about.name or field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, str | int | float | Path):
            words += [f"--{name}"] * (not about.argument) + [last_part(value)]
        else:
            listed = [last_part(one) for one in value]
            each = listed if about.repeated or about.argument else [",".join(listed)]
            words += [word for one in each for word in ([one] if about.argument else [f"--{name}", one])]
    return shlex.join(words)


def last_part(value: object) -> str:
    """The last part of an absolute path, whose folders are private; any other text as it is."""
    text = str(value)
    return Path(text).name if Path(text).is_absolute() else text


def made(options: Callable[..., T], **given: Any) -> T:
    """The options, of keywords. Raises InputError for one that there is not, or that changes nothing next to others."""
    known = inspect.signature(options).parameters
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else f", expected one of {list(known)}"
            raise InputError(f"There is no option {name!r}{hint}")
    found = options(**given)
    check_idle(getattr(options, "RULES", ()), given, found)
    return found


@contextmanager
def from_python() -> Iterator[None]:
    """What the command line provides, for a call from Python: files are for their owner alone, and refusals, which name
    options as they are typed, name keywords (`inner_folds` for --inner-folds).
    """
    before = os.umask(0o077)
    try:
        yield
    except ToolkitError as error:
        error.args = (TYPED.sub(lambda typed: KEYWORDS.get(typed[1], typed[1].replace("-", "_")), str(error)),)
        raise
    finally:
        os.umask(before)


TYPED = re.compile(r"(?<!\S)--([a-z][a-z-]*[a-z])")
KEYWORDS = {"from": "origin", "round": "round_"}
TYPED_AS = {keyword: name for name, keyword in KEYWORDS.items()}
Names = str | Iterable[str] | None


def sentences(given: Names) -> tuple[str, ...]:
    """One text, or several, as they are."""
    return (given,) if isinstance(given, str) else tuple(given or ())


def names(given: Names) -> tuple[str, ...]:
    """What is named one after the other, or in one text with commas between; each once.

    >>> names("speaker, sex"), names(["a", "b", "a"]), names(None)
    (('speaker', 'sex'), ('a', 'b'), ())
    """
    if given is None:
        return ()
    listed = given.split(",") if isinstance(given, str) else given
    return tuple(dict.fromkeys(name.strip() for name in listed))
