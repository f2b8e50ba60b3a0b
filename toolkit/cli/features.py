"""`toolkit features`: what lies in the cache, whether it is whole, and how to give it to others."""

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.common import HERE, Workspace, of_bytes, remark, show, workspace_folder
from toolkit.errors import MACHINE

app = typer.Typer(no_args_is_help=True, help="The feature cache: list, verify, export.")

StoreName = Annotated[str, typer.Argument(help="A backbone's name, or the beginning of a store's folder name.")]


@app.command("list")
def list_stores(workspace: Workspace = HERE) -> None:
    """One line per store: clips, failures, layers, width, dtype, context, size.

    Example: toolkit features list
    """
    from rich.table import Table

    from toolkit.features.store import stores

    table = Table("store", "clips", "failed", "layers", "width", "dtype", "context", "size", box=None)
    for store in stores(workspace_folder(workspace) / "features"):
        row = (len(store.ids), len(store.failed), len(store.layers), store.width)
        table.add_row(
            store.folder.name,
            *map(str, row),
            store.settings["dtype"],
            store.settings["context"],
            of_bytes(store.bytes),
        )
    if not table.row_count:
        remark("No features yet; `toolkit extract --model NAME` makes them")
        return
    show(table)


@app.command()
def verify(
    store: Annotated[str | None, typer.Argument(help="A backbone or a store; all of them if left out.")] = None,
    workspace: Workspace = HERE,
) -> None:
    """Compare every shard with its SHA-256; damaged ones are named, and the exit code is then 4.

    Example: toolkit features verify whisper-medium
    """
    from toolkit.features.store import find, stores

    folder = workspace_folder(workspace) / "features"
    damaged = count = 0
    for each in [find(folder, store)] if store else stores(folder):
        for name, defect in each.verify():
            count += 1
            damaged += bool(defect)
            if defect:
                print(f"{each.folder.name}/{name}: {defect}")
    print(f"{count} shards compared with their SHA-256, {damaged} damaged")
    if damaged:
        raise typer.Exit(MACHINE)


@app.command()
def export(
    store: StoreName,
    out: Annotated[Path, typer.Argument(help="The .h5 file to make.")],
    workspace: Workspace = HERE,
) -> None:
    """Write one plain .h5 file: id, and mean and std of shape (layer, clip, width) in float32.

    Example: toolkit features export whisper-medium whisper-medium.h5
    """
    from toolkit.features.export import export as export_store
    from toolkit.features.store import find

    found = find(workspace_folder(workspace) / "features", store)
    size = export_store(found, out)
    print(f"{len(found.ids):,} clips, {len(found.layers)} layers: {of_bytes(size)} in {out.name}")
