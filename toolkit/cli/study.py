"""The stages of a study: extract, probe, score."""

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.common import (
    HERE,
    AudioRoot,
    ManifestFile,
    Workspace,
    manifest_file,
    of_bytes,
    relative,
    remark,
    show,
)
from toolkit.errors import SOME_CLIPS_FAILED, InputError

Models = Annotated[
    list[str],
    typer.Option("--model", "-m", help="A name of `toolkit models list`, or a checkpoint folder. May be repeated."),
]


def add_to(app: typer.Typer) -> None:
    """Register the stages on the root command."""
    for command in (extract, probe, score):
        app.command()(command)


def extract(
    model: Models,
    workspace: Workspace = HERE,
    manifest: ManifestFile = None,
    audio_root: AudioRoot = None,
    dtype: Annotated[str, typer.Option(help="auto, float32 or bfloat16; auto says which it takes and why.")] = "auto",
    context: Annotated[
        str, typer.Option(help="What Whisper hears: full (30 s, padded) or clip (a different, cheaper feature).")
    ] = "full",
    decoder: Annotated[bool, typer.Option("--decoder", help="Whisper's decoder too, fed its start token.")] = False,
    layers: Annotated[
        str | None,
        typer.Option(help="Encoder layers to keep, e.g. 0-12; nothing above is computed.", show_default="all"),
    ] = None,
    frames: Annotated[
        list[str] | None,
        typer.Option(help="Keep this layer's frame-level states too, e.g. encoder.7. May be repeated."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that decode audio.", show_default="cores")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try clips again that failed before.")] = False,
) -> None:
    """Compute every layer of every clip once, pooled to its mean and standard deviation over time, into features/.

    Started again, it does only what is missing. Clips that cannot be decoded are named and recorded, and make the
    exit code 3.

    Example: toolkit extract --model whisper-medium --model hubert-base-ls960
    """
    from toolkit.extract.run import extract as run
    from toolkit.extract.session import Options
    from toolkit.manifest import read
    from toolkit.models.checkpoint import locate

    corpus = read(manifest_file(workspace, manifest), audio_root)
    options = Options(dtype, context, decoder, _layer_range(layers), tuple(frames or ()), device, workers, retry_failed)
    checkpoints = [locate(name, workspace / "models") for name in model]  # all of them before the first is run
    failed = 0
    for checkpoint in checkpoints:
        done = run(corpus, checkpoint, workspace / "features", options, remark)
        for clip, reason in done.failed.items():
            remark(f"failed: clip {clip!r} {reason}")
        failed += len(done.failed)
        store = done.store
        print(
            f"{checkpoint.name}: {done.new:,} clips new, {done.before:,} there before, {len(done.failed):,} failed; "
            f"{len(store.layers)} layers x {store.width} in {relative(store.folder, workspace)} "
            f"({of_bytes(store.bytes)}, {done.seconds:,.1f} s)"
        )
    if failed:
        raise typer.Exit(SOME_CLIPS_FAILED)


def _layer_range(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, dash, last = text.partition("-")
    if not (first.isdigit() and (last.isdigit() or not dash)):
        raise InputError(f"Bad --layers {text!r}, expected a range such as 0-12")
    return int(first), int(last if dash else first)


def probe(
    model: Models,
    target: Annotated[
        str,
        typer.Option("--target", "-t", help="A label column, several 0/1 columns with commas, or hotline (its 11)."),
    ],
    workspace: Workspace = HERE,
    manifest: ManifestFile = None,
    audio_root: AudioRoot = None,
    probe: Annotated[str, typer.Option(help="Which classifier searches every layer.")] = "linear",
    trials: Annotated[int, typer.Option(min=1, help="Optuna trials per layer and round.")] = 30,
    folds: Annotated[int, typer.Option(min=3, help="Folds; ignored where the manifest has a split column.")] = 5,
    group_by: Annotated[str, typer.Option(help="The column whose values never stand on both sides.")] = "speaker",
    split_by: Annotated[str, typer.Option(help="group; or clip, which accepts that speakers leak.")] = "group",
    seed: Annotated[int, typer.Option(help="Of the folds and the search.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Fits at a time.", show_default="cores")] = None,
    note: Annotated[list[str] | None, typer.Option(help="A sentence that the report shows. May be repeated.")] = None,
) -> None:
    """Which layer knows it: classifiers on every layer, by speaker-disjoint folds, searched with Optuna.

    Fold k is the test, the next one the development set, the rest trains. Hyper-parameters, thresholds and the layer
    are chosen on development; the winner is refitted on train and development. Stopped, it goes on where it was.

    Example: toolkit probe --model whisper-medium --target negative --probe linear --trials 30 --folds 5
    """
    from toolkit.features.store import find
    from toolkit.folding import keep, pose
    from toolkit.manifest import read
    from toolkit.probe.sweep import Options, sweep
    from toolkit.progress import bar
    from toolkit.result import stats, tables
    from toolkit.result.run import REPORT, curve
    from toolkit.runs import command_line
    from toolkit.runs import provenance as made_with

    corpus = read(manifest_file(workspace, manifest), audio_root)
    question = pose(corpus, target, folds, seed, group_by, split_by)
    stores = [find(workspace / "features", name) for name in model]
    result = workspace / "result"
    remark(f"folds in {relative(keep(question, result), workspace)}")
    options = Options(probe, trials, seed, workers)
    for store in stores:
        with bar(f"probe {store.backbone}", len(store.layers), "layers") as advance:
            done = sweep(
                store,
                question,
                options,
                result,
                made_with(command_line()),
                note or (),
                lambda layer, finished, total, advance=advance: advance(1, 0.0),  # type: ignore[misc]
            )
        if done.stood:
            remark("this run stood already, finished and whole; its figures are shown again")
        show(tables.summary(done.run, curve(done.run), stats.evaluate(done.run.predictions)))
        report = relative(done.folder / REPORT, workspace)
        print(
            f"{len(done.run.predictions.ids):,} clips predicted; CSV, metrics and figures beside the report: {report}"
        )


def score(
    file: Annotated[Path, typer.Argument(help="predictions.csv, or a CSV with `Predictions` and `Actual Labels`.")],
    seed: Annotated[int, typer.Option(help="Of the resamples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Every metric of a predictions file, with 95 % intervals from resampling speakers.

    Example: toolkit score result/negative-whisper-medium-linear-0123456789ab/predictions.csv
    """
    import json

    from toolkit.result.score import score_file

    scored = score_file(file, seed=seed)
    if as_json:
        print(json.dumps(scored.to_json(), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        show(scored.renderable())
