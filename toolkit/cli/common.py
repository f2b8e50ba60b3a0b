"""Options that several commands share, and the two ways of talking: results on stdout, remarks on stderr."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.errors import InputError

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
HERE = Path()


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
    """The manifest of a workspace."""
    return manifest or workspace_folder(workspace) / "manifest.csv"


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
