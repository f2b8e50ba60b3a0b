"""Options that several commands share, and the two ways of talking: results on stdout, remarks on stderr."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.core.errors import DONE
from toolkit.core.options import helps
from toolkit.corpus.options import Spelt
from toolkit.corpus.roots import Roots

Workspace = Annotated[
    Path,
    typer.Option(
        "--workspace",
        "-w",
        envvar="TOOLKIT_WORKSPACE",
        help="Folder with manifest.csv, models/, features/ and result/.",
        show_default="the current folder",
    ),
]
AUDIO_ROOT = "Folder the manifest's paths start from, or lead into. May be repeated."
ManifestFile = Annotated[
    Path | None, typer.Option("--manifest", help="The corpus.", show_default="manifest.csv in the workspace")
]
AudioRoot = Annotated[
    list[Path] | None,
    typer.Option("--audio-root", help=AUDIO_ROOT, show_default="TOOLKIT_AUDIO_ROOT, then the manifest's own"),
]
SPELT = helps(Spelt)
Spellings = Annotated[str, typer.Option("--spellings", help=SPELT["spellings"])]
Unknown = Annotated[str, typer.Option("--unknown", help=SPELT["unknown"])]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks; results and refusals alone.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
HERE = Path()


@dataclass(frozen=True)
class CommandResult:
    """What a command leaves to the next one, and the exit code.

    folders: in features/ or result/, in the order of what was asked for. cached: all of it was there already.
    """

    folders: tuple[Path, ...]
    cached: bool = False
    exit_code: int = DONE


_watched = [True]


def watched(by_someone: bool) -> None:
    """Whether remarks and progress are shown from here on."""
    _watched[:] = [by_someone]


def remark(sentence: str) -> None:
    """A sentence for the person who watches, on standard error."""
    if _watched[0]:
        print(sentence, file=sys.stderr, flush=True)


def show(renderable: Any) -> None:
    """A table or text on standard output; as wide as it needs when that is no terminal."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=isinstance(renderable, str))
    if not console.is_terminal:
        console = Console(highlight=False, width=140, soft_wrap=isinstance(renderable, str))
    console.print(renderable, markup=False)


def show_json(wanted: bool, *results: Any) -> None:
    """Results as JSON on standard output, a list of them where there are several. results: with `to_json`."""
    if wanted:
        import json

        values = [one.to_json() for one in results]
        print(json.dumps(values[0] if len(values) == 1 else values, indent=1, ensure_ascii=False, allow_nan=False))


def place_of(workspace: Path, manifest: Path | None = None, audio_root: Roots = None) -> Any:
    """A `corpus.place.Place` that reports on standard error, for the command that was typed."""
    from toolkit.core.artifacts import command_line
    from toolkit.core.progress import bar, unseen
    from toolkit.corpus.place import Place

    return Place(workspace, manifest, audio_root, remark, bar if _watched[0] else unseen, command=command_line())
