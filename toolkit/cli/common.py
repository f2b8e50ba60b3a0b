"""Options that several commands share, and the two ways of talking: results on stdout, remarks on stderr."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.core.errors import DONE, InputError

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
ManifestFile = Annotated[
    Path | None, typer.Option("--manifest", help="The corpus.", show_default="manifest.csv in the workspace")
]
AudioRoot = Annotated[
    Path | None,
    typer.Option("--audio-root", help="Folder the manifest's paths start from.", show_default="the manifest's own"),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        help="Run on Ray: local (this host, all its GPUs), or HOST:PORT of a cluster's head. See docs/cluster.md.",
        show_default="this process alone",
    ),
]
Spellings = Annotated[
    str,
    typer.Option(
        "--spellings",
        help="Two spellings of one label, speaker or group (3 and 3.0, s1 and S1): refuse; merge, which takes the most "
        "frequent; or keep them apart.",
    ),
]
Unknown = Annotated[
    str,
    typer.Option(
        "--unknown",
        help="nan, NA, none, unknown, ? and the like as a label, speaker or group: refuse, or keep as a name.",
    ),
]
HERE = Path()


def _known_language(tag: str) -> str:
    from toolkit.core.i18n import of

    return of(tag).tag


PageLanguage = Annotated[
    str,
    typer.Option(
        "--language", callback=_known_language, help="Of the page and its figures: en; or zh, beside the English ones."
    ),
]


@dataclass(frozen=True)
class Made:
    """What a command leaves to the one that goes on with it, and the exit code.

    folders: in features/ or result/, in the order of what was asked for. stood: all of it was there already.
    """

    folders: tuple[Path, ...]
    stood: bool = False
    exit_code: int = DONE


def remark(sentence: str) -> None:
    """A sentence for the person who watches, on standard error."""
    print(sentence, file=sys.stderr, flush=True)


def show(renderable: Any) -> None:
    """A table or text on standard output; as wide as it needs when that is no terminal."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=isinstance(renderable, str))
    if not console.is_terminal:
        console = Console(highlight=False, width=140, soft_wrap=isinstance(renderable, str))
    console.print(renderable, markup=False)


def workspace_folder(workspace: Path) -> Path:
    """The workspace, which must be a folder."""
    if not workspace.is_dir():
        raise InputError(f"No workspace folder {workspace.name!r}; make it, or name another with --workspace")
    return workspace


def manifest_file(workspace: Path, manifest: Path | None) -> Path:
    """The manifest of a workspace, which must be there, lest a misspelt one begin everything anew."""
    folder = workspace_folder(workspace)
    return manifest or folder / "manifest.csv"


def report_in(language: str, folder: Path, run: Any, points: Any, evaluation: Any, beside: Any = ()) -> Path:
    """A run's page in the language; the English one was drawn when the run was written."""
    from toolkit.core.i18n import ENGLISH, of
    from toolkit.result.report import run_page
    from toolkit.result.run import REPORT

    if of(language) is ENGLISH:
        return folder / REPORT
    return run_page.draw(folder, run, points, evaluation, beside, of(language))


def relative(path: Path, workspace: Path) -> str:
    """A path as a user would type it: from here when it lies here, else from the workspace."""
    for start in (Path.cwd(), workspace.resolve()):
        if path.resolve().is_relative_to(start):
            return str(path.resolve().relative_to(start))
    return path.name


def of_bytes(count: int) -> str:
    """12,345,678 -> "12.3 MB".

    >>> of_bytes(12_345_678), of_bytes(999)
    ('12.3 MB', '999 bytes')
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def of_lines(lines: Sequence[int]) -> str:
    """Line numbers, in order, as a person reads them.

    >>> of_lines([2, 3, 4, 9]), of_lines([7])
    ('lines 2-4, 9', 'line 7')
    """
    runs: list[list[int]] = []
    for line in lines:
        if runs and line == runs[-1][-1] + 1:
            runs[-1].append(line)
        else:
            runs.append([line])
    told = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"{'line' if len(lines) == 1 else 'lines'} {told}"
