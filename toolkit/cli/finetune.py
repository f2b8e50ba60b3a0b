"""`toolkit finetune` and `toolkit compare`: is training the backbone worth it?"""

from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli.common import HERE, AudioRoot, ManifestFile, Workspace, manifest_file, relative, remark, show
from toolkit.errors import SOME_CLIPS_FAILED, InputError

TRAINING = "Training"


def add_to(app: typer.Typer) -> None:
    """Register the commands on the root command."""
    for command in (finetune, compare):
        app.command()(command)


def finetune(
    workspace: Workspace = HERE,
    manifest: ManifestFile = None,
    audio_root: AudioRoot = None,
    origin: Annotated[
        str | None,
        typer.Option("--from", help="A probe run: its folder, or its name in result/. Gives all that follows."),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="By hand: a checkpoint.")] = None,
    target: Annotated[str | None, typer.Option("--target", "-t", help="By hand: as `toolkit probe` takes it.")] = None,
    layer: Annotated[int | None, typer.Option(min=0, help="By hand: the encoder's last layer to use.")] = None,
    folds: Annotated[str, typer.Option(help="By hand: how many, or all for one per group.")] = "5",
    group_by: Annotated[str, typer.Option(help="By hand: the column that is kept apart.")] = "speaker",
    split_by: Annotated[str, typer.Option(help="By hand: group, or clip, which accepts leaks.")] = "group",
    context: Annotated[str, typer.Option(help="By hand: what Whisper hears, full (30 s) or clip.")] = "full",
    depth: Annotated[
        str | None,
        typer.Option(help="best: up to the layer each round chose; full: the whole backbone.", show_default="best"),
    ] = None,
    train: Annotated[str, typer.Option(help="full, encoder-frozen, top-K (such as top-4), lora or head.")] = "full",
    learning_rate: Annotated[
        float | None,
        typer.Option(min=0.0, help="Of the backbone.", show_default="by --train", rich_help_panel=TRAINING),
    ] = None,
    head_rate: Annotated[
        float, typer.Option(min=0.0, help="Learning rate of the head.", rich_help_panel=TRAINING)
    ] = 1e-3,
    layer_decay: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Each layer learns at this part of the rate of the one above.")
    ] = 1.0,
    weight_decay: Annotated[float, typer.Option(min=0.0, help="Of AdamW; not on norms and biases.")] = 0.01,
    warmup: Annotated[float, typer.Option(help="Share of the steps in which the rates rise.")] = 0.1,
    epochs: Annotated[int, typer.Option(min=1, help="At most.")] = 15,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without a better development score.")] = 4,
    batch: Annotated[int, typer.Option(min=1, help="Clips a step.")] = 8,
    accumulate: Annotated[int, typer.Option(min=1, help="Parts of a batch, one after the other.")] = 1,
    gradient_norm: Annotated[float, typer.Option(min=0.0, help="Longer gradients are scaled down to it.")] = 1.0,
    recompute: Annotated[bool, typer.Option("--recompute", help="Less memory, more time.")] = False,
    rank: Annotated[int, typer.Option(min=1, help="Of LoRA's factors.")] = 8,
    spec_augment: Annotated[float, typer.Option(help="Share of frames and channels to blank, 0 for none.")] = 0.0,
    layer_drop: Annotated[float, typer.Option(help="Probability that a layer is skipped, 0 for none.")] = 0.0,
    train_convolutions: Annotated[
        bool, typer.Option("--train-convolutions", help="With full: those of wav2vec 2.0 and its kin too.")
    ] = False,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16 (CUDA).")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that decode audio.", show_default="cores")] = None,
    keep: Annotated[str, typer.Option(help="best leaves each round's weights in the run's folder; or none.")] = "none",
    seed: Annotated[
        int | None, typer.Option(help="Of the training; by hand also of the folds.", show_default="0")
    ] = None,
    note: Annotated[list[str] | None, typer.Option(help="A sentence that the report shows. May be repeated.")] = None,
) -> None:
    """Train the backbone end to end, on the very folds of a probe run, one model per round, each from fresh weights.

    A round learns from its training clips, stops and is chosen by its development clips, and predicts its test clips.
    Stopped, it goes on from the last epoch and ends with the same predictions.

    Example: toolkit finetune --from negative-whisper-medium-linear-0123456789ab --train lora
    """
    from toolkit.finetune import source as sources
    from toolkit.finetune.recipe import Recipe
    from toolkit.finetune.run import Options
    from toolkit.finetune.run import finetune as run
    from toolkit.folding import keep as keep_folds
    from toolkit.manifest import read
    from toolkit.result import stats, tables
    from toolkit.result.run import REPORT, curve
    from toolkit.runs import command_line
    from toolkit.runs import provenance as made_with

    if (origin is None) == (model is None or target is None):
        raise InputError("Say what to train: --from a probe run, or --model and --target by hand")
    recipe = Recipe(
        train, learning_rate, head_rate, layer_decay, weight_decay, warmup, epochs, patience, batch, accumulate,
        gradient_norm, rank, spec_augment, layer_drop, train_convolutions, dtype, recompute,
    )  # fmt: skip
    corpus = read(manifest_file(workspace, manifest), audio_root)
    result, models = workspace / "result", workspace / "models"
    if origin is not None:
        if model or target or layer is not None:
            raise InputError("--from gives backbone, target and layers; leave --model, --target and --layer out")
        source = sources.from_run(sources.find_run(origin, result), corpus, models, depth, train)
    else:
        source = _by_hand(corpus, models, str(model), str(target), folds, seed or 0, group_by, split_by, context,
                          layer, depth, train)  # fmt: skip
    remark(f"folds in {relative(keep_folds(source.question, result), workspace)}")
    options = Options(recipe, seed or 0, device, workers, keep)
    done = run(corpus, source, options, result, made_with(command_line()), note or (), remark)
    if done.stood:
        remark("this run stood already, finished and whole; its figures are shown again")
    for clip, reason in done.failed.items():
        remark(f"failed: clip {clip!r} {reason}")
    show(tables.summary(done.run, curve(done.run), stats.evaluate(done.run.predictions)))
    report = relative(done.folder / REPORT, workspace)
    print(f"{len(done.run.predictions.ids):,} clips predicted; CSV, metrics and figures beside the report: {report}")
    if done.failed:
        raise typer.Exit(SOME_CLIPS_FAILED)


def _by_hand(
    corpus: Any,
    models: Path,
    model: str,
    target: str,
    folds: str,
    seed: int,
    group_by: str,
    split_by: str,
    context: str,
    layer: int | None,
    depth: str | None,
    train: str,
) -> Any:
    from toolkit.errors import one_of
    from toolkit.finetune.source import by_hand
    from toolkit.folding import pose
    from toolkit.models.checkpoint import locate

    if folds != "all" and not folds.isdecimal():
        raise InputError(f"Bad --folds {folds!r}, expected a number or all")
    if context not in ("full", "clip"):
        raise InputError(one_of("--context", context, ["full", "clip"]))
    question = pose(corpus, target, None if folds == "all" else int(folds), seed, group_by, split_by)
    return by_hand(locate(model, models), context, question, layer, depth, train)  # type: ignore[arg-type]


def compare(
    results: Annotated[
        list[str] | None,
        typer.Argument(help="Runs: folders, or names in result/.", show_default="all finished ones of the workspace"),
    ] = None,
    workspace: Workspace = HERE,
) -> None:
    """Frozen and fine-tuned side by side: scores, paired differences with intervals, and what each cost.

    Runs of one task on the same folds belong together; others are refused, or left out with the reason.

    Example: toolkit compare
    """
    from toolkit.finetune.source import find_run
    from toolkit.result import compare as comparing

    result = workspace / "result"
    groups, left_out = comparing.gather(result, [find_run(name, result) for name in results or ()])
    for sentence in left_out:
        remark(f"left out: {sentence}")
    if not groups:
        raise InputError("No two runs of one task on the same folds; `toolkit finetune --from RUN` makes the second")
    for group in groups:
        comparison = comparing.compare(group)
        show(comparing.terminal(comparison))
        print(f"\n{comparing.answer(comparison)}")
        folder = comparing.write(result, comparison)
        print(f"The page, with CSV and LaTeX beside it: {relative(folder / comparing.PAGE, workspace)}")
