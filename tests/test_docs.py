"""The documentation: every command line in it is one that there is (none is executed), and the website builds."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from toolkit.cli import app

ROOT = Path(__file__).parents[1]
# What a page tells of the past stays as it was.
PAGES = sorted(
    path.relative_to(ROOT)
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")]
    if path.name not in ("CHANGELOG.md", "benchmarks.md")
)
TOOLKIT: Any = typer.main.get_command(app)
ANY = "..."  # whatever options the line before it had
OTHERS = {"--cpu", "--multi_gpu", "--write", "--longest", "--measure", "--include-dashboard=false"}


def command_lines(text: str) -> Iterator[str]:
    """Those of code blocks, their continued lines joined, and those of inline code, which need not be complete."""
    fenced = re.compile(r"^```[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
    blocks = fenced.findall(text) + re.findall(r"^(?: {4}.*\n)+", fenced.sub("", text), re.MULTILINE)
    for block in blocks:
        yield from re.findall(r"(?:^ *|&& |-m |\" )(toolkit [a-z].*)$", block.replace("\\\n", " "), re.MULTILINE)
    for span in re.findall(r"`([^`]*\btoolkit\s[a-z][^`]*)`", fenced.sub("", text)):
        if span.startswith(("toolkit", "accelerate", "python")):
            yield f"{' '.join(span.split())} {ANY}"


def refusal(line: str) -> str | None:
    """Why the command line would not take it, or None."""
    line = line[line.index("toolkit ") :]
    words = shlex.split(line[:-1] if line.count('"') % 2 else line, comments=True)
    if ends := {"&&", "|", ">"}.intersection(words):
        words = words[: min(words.index(end) for end in ends)]
    command, words = TOOLKIT, words[1:]
    while hasattr(command, "commands") and words and words[0] not in (ANY, "--help"):
        name = words.pop(0)
        if name not in command.commands:
            return f"there is no command {name!r}"
        command = command.commands[name]
    given = tuple(word for word in words if word not in (ANY, "--help"))
    try:
        command.make_context(command.name, list(given), resilient_parsing=words == ["--help"]).close()
    except typer.TyperException as error:
        message = str(error.format_message())
        return None if ANY in words and ("Missing" in message or not given) else message
    return None


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_command_line_is_taken(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    refused = {line: why for line in command_lines(text) if (why := refusal(line))}
    assert not refused


def options(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    for below in getattr(command, "commands", {}).values():
        yield from options(below)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_option_that_is_named_alone_is_there(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = {words.split()[0] for words in re.findall(r"`(--[a-z][^`]*)`", text)}
    assert named - OTHERS <= {*options(TOOLKIT), "--help"}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("toolkit probes", "no command 'probes'"),
        ("toolkit probe --model a --target b --batch 3", "No such option: --batch"),
        ("toolkit probe --model a", "Missing"),
        ("toolkit probe ... --folds", "requires an argument"),
        ("toolkit manifest check here", "unexpected extra argument"),
        ("python -m toolkit finetune ... --epochs many", "valid integer"),
    ],
)
def test_what_is_not_taken_is_found(line: str, why: str) -> None:
    assert why in str(refusal(line))


def test_lines_are_found_where_pages_have_them() -> None:
    text = (
        "Say `toolkit\nruns` or\n\n    cd x && toolkit score f.csv   # all\n\n```sh\ntoolkit extract \\\n  -m a\n```\n"
    )
    assert list(command_lines(text)) == ["toolkit extract    -m a", "toolkit score f.csv   # all", "toolkit runs ..."]


def test_the_website_builds_and_fetches_nothing(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, capture_output=True, text=True, cwd=ROOT, env=quiet)
    assert done.returncode == 0 and not done.stderr, done.stderr
    fetched = re.compile(r"<(?:script|link|img|iframe)[^>]* (?:src|href)=\"?(?:https?:)?//")
    for page in (tmp_path / "site").glob("**/*.html"):
        assert not fetched.search(page.read_text(encoding="utf-8")), page.name
    assert "inner_folds" in (tmp_path / "site" / "reference.html").read_text(encoding="utf-8")
