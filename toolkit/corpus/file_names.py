"""What the names of files say: RAVDESS, CREMA-D, EmoDB and many others keep speaker and label there."""

import re
from collections.abc import Sequence

from toolkit.core.errors import InputError
from toolkit.corpus import cells, manifest

TIMES = ("start", "end", "duration")
TAKEN = ("id", "path")


def compiled(regex: str, option: str) -> re.Pattern[str]:
    """Raises InputError for what is no regular expression, or names no group."""
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise InputError(f"{option} {regex!r} is no regular expression: {error}") from None
    if option == "--regex" and (not pattern.groupindex or set(TAKEN) & pattern.groupindex.keys()):
        raise InputError(
            f"--regex {regex!r} must name what it finds: (?P<speaker>...), (?P<label>...), start, end, channel, split, "
            "or a column of your own, but neither id nor path"
        )
    return pattern


def columns(paths: Sequence[str], pattern: re.Pattern[str], label_column: str) -> dict[str, list[str]]:
    """A column for each named group, "label" under the label column's name; times as seconds.

    Raises InputError for a path that does not match, and for a group that is empty or no time.
    """
    matches = [pattern.search(path) for path in paths]
    without = [path for path, match in zip(paths, matches) if match is None]
    if without:
        raise InputError(
            f"--regex {pattern.pattern!r} does not match {len(without)} of {len(paths)} paths, e.g. {without[0]!r}; "
            "let it match them, or move them away"
        )
    found: dict[str, list[str]] = {}
    for name in pattern.groupindex:
        values = [(match[name] or "").strip() for match in matches if match is not None]
        if name in TIMES:
            seconds = [cells.seconds(value) for value in values]
            wrong = [path for path, value in zip(paths, seconds) if value is None]
            values = [cells.written(value) for value in seconds if value is not None]
        else:
            wrong = [path for path, value in zip(paths, values) if not value]
        if wrong:
            expected = "seconds" if name in TIMES else "text"
            raise InputError(f"--regex {pattern.pattern!r} finds no {name} in {wrong[0]!r}, expected {expected}")
        found[label_column if name == "label" else name] = values
    clash = [name for name in found if name.lower() in manifest.RESERVED and name not in manifest.RESERVED]
    if clash:
        raise InputError(f"--regex: name the group {clash[0].lower()!r} in small letters")
    return found


def speakers(paths: Sequence[str], regex: str) -> list[str]:
    """Of each path. Raises InputError where there is none."""
    pattern = compiled(regex, "--speaker-regex")
    group: str | int = "speaker" if "speaker" in pattern.groupindex else min(1, pattern.groups)
    matches = [pattern.search(path) for path in paths]
    found = [(match[group] or "").strip() if match else "" for match in matches]
    without = [path for path, speaker in zip(paths, found) if not speaker]
    if without:
        raise InputError(
            f"--speaker-regex {regex!r} finds no speaker in {len(without)} of {len(paths)} paths, e.g. {without[0]!r}"
        )
    return found


def spelt_out(labels: Sequence[str], names: Sequence[str]) -> list[str]:
    """Labels by what their codes mean. names: "CODE=NAME". Raises InputError for a code that no label has."""
    known = dict(pair.partition("=")[::2] for pair in names)
    for code, name in known.items():
        if code not in labels or not name.strip():
            codes = ", ".join(sorted(set(labels))[:20])
            raise InputError(f"--label-names {code}={name}: expected CODE=NAME, of the labels {codes}")
    return [known.get(label, label).strip() for label in labels]
