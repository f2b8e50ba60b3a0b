"""`toolkit features`: what is in the cache, whether it is whole, and how to give it to others."""

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.common import (
    HERE,
    AudioRoot,
    ManifestFile,
    Workspace,
    place_of,
    remark,
    show,
)
from toolkit.core.errors import FAULT, MACHINE, SOME_CLIPS_FAILED
from toolkit.core.progress import of_bytes

app = typer.Typer(
    no_args_is_help=True,
    help="The feature cache: list, verify, import, export, remove; purge a caller from everywhere.",
)

StoreName = Annotated[str, typer.Argument(help="A backbone's name, or the beginning of a store's folder name.")]


@app.command("list")
def list_stores(workspace: Workspace = HERE) -> None:
    """One line per store: clips, failures, layers, width, dtype, context, size, and how many clips are near-silent,
    short, clipped, averaged over channels or have an offset.

    Example: toolkit features list
    """
    from collections import Counter

    from rich.table import Table

    from toolkit.features.texts import every_store

    table = Table("store", "clips", "failed", "layers", "width", "dtype", "context", "size", "flags", box=None)
    for store in every_store(place_of(workspace).features):
        total = store.total()
        flags = Counter(flag for names in total.flags.values() for flag in names)
        row = (total.clips, len(total.failed), len(store.layers), store.width)
        table.add_row(
            store.folder.name,
            *map(str, row),
            store.settings.get("dtype", "imported"),
            store.settings.get("context", ""),
            of_bytes(total.bytes),
            ", ".join(f"{count:,} {flag}" for flag, count in sorted(flags.items())),
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
    from toolkit.features.texts import every_store, named

    folder = place_of(workspace).features
    damaged = count = 0
    for each in [named(folder, store)] if store else every_store(folder):
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
    from toolkit.features.finding import find

    found = find(place_of(workspace).features, store)
    size = export_store(found, out)
    print(f"{len(found.ids):,} clips, {len(found.layers)} layers: {of_bytes(size)} in {out.name}")


@app.command("import")
def import_file(
    name: Annotated[str, typer.Argument(help="What the store is called, as `toolkit probe --model NAME` takes it.")],
    file: Annotated[
        Path,
        typer.Argument(
            help=".npy (clips, width) or (layers, clips, width); .npz or .h5 with an array (clips, width) a layer."
        ),
    ],
    ids: Annotated[
        Path | None,
        typer.Option(
            help="The clip of each row: text with an id a line, or .csv with a column id.",
            show_default="the file's own array of ids",
        ),
    ] = None,
    workspace: Workspace = HERE,
    manifest: ManifestFile = None,
    audio_root: AudioRoot = None,
) -> None:
    """Make a feature store of embeddings from elsewhere, one vector a clip and layer, for probe and compare.

    Every clip of the manifest needs a row. Its audio is decoded once, so that leaks between folds, near-copies,
    durations and purges are found as for extracted features. Clips that cannot be decoded are named, and the exit code
    is then 3.

    Example: toolkit features import my-model embeddings.npy --ids ids.txt
    """
    from toolkit.features import import_

    store, failed = import_.import_file(place_of(workspace, manifest, audio_root), name, file, ids)
    print(f"{len(store.ids):,} clips, {len(store.layers)} layers of {store.width:,} values: {store.folder.name}")
    for clip, reason in failed.items():
        print(f"failed: {clip!r} {reason}")
    if failed:
        raise typer.Exit(SOME_CLIPS_FAILED)


@app.command()
def remove(store: StoreName, workspace: Workspace = HERE) -> None:
    """Delete a store: its features are computed again by `toolkit extract`. Runs on it stay, with all their figures.
    transcripts/NAME is one of transcripts.

    Example: toolkit features remove whisper-medium-0123456789ab
    """
    from toolkit.features.finding import remove
    from toolkit.features.texts import named

    place = place_of(workspace)
    found = named(place.features, store)
    total = found.total()
    remove(found)
    print(f"{found.folder.name} is deleted: {total.clips:,} clips, {of_bytes(total.bytes)}")


@app.command()
def purge(
    speaker: Annotated[list[str] | None, typer.Option(help="A caller, as in the manifest. May be repeated.")] = None,
    clip: Annotated[list[str] | None, typer.Option(help="The id of a clip or a recording. May be repeated.")] = None,
    workspace: Workspace = HERE,
    manifest: ManifestFile = None,
    models: Annotated[
        bool, typer.Option("--models", help="Delete the runs whose models learnt from them, instead of their rows.")
    ] = False,
    manifest_too: Annotated[
        bool, typer.Option("--manifest-too", help="Take their lines out of the manifest as well; the audio stays.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be touched, and touch nothing.")] = False,
) -> None:
    """Take callers or clips out of features and results, and search every byte of the workspace for what is left.

    Stores lose their rows; runs are made again without them, pages over several runs are deleted. What a model has
    learnt cannot be taken out of it: --models deletes those runs whole. Interrupted, start the same command again.
    Found somewhere still, the exit code is 1. Not overwritten: the disk's free blocks, and copies elsewhere.

    Example: toolkit features purge --speaker call0042 --dry-run
    """
    from dataclasses import replace

    from toolkit.privacy.purge import purge as run

    place = replace(place_of(workspace, manifest), say=print)
    left = run(place, speaker or (), clip or (), models, manifest_too, dry_run)
    if left and left.found:
        raise typer.Exit(FAULT)
