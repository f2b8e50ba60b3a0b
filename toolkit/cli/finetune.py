"""`toolkit finetune`: the backbone trained end to end, on the folds of a probe run."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli.common import (
    HERE,
    AudioRoot,
    Made,
    ManifestFile,
    PageLanguage,
    Workspace,
    manifest_file,
    relative,
    remark,
    report_in,
    show,
)
from toolkit.cli.comparing import compare
from toolkit.errors import DONE, SOME_CLIPS_FAILED, InputError

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
    window: Annotated[
        float | None, typer.Option(help="By hand: cut longer recordings into windows of so many seconds.")
    ] = None,
    hop: Annotated[
        float | None, typer.Option(help="By hand: seconds from one window's start to the next.", show_default="window")
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(help="What Whisper hears, full (30 s) or clip.", show_default="as it was probed; by hand full"),
    ] = None,
    depth: Annotated[
        str | None,
        typer.Option(help="best: up to the layer each round chose; full: the whole backbone.", show_default="best"),
    ] = None,
    top: Annotated[
        int, typer.Option(min=1, help="With --from: train so many of its layers, the best on development first.")
    ] = 1,
    train: Annotated[
        str,
        typer.Option(help="full, encoder-frozen, top-K (such as top-4), lora or head; with --search several, commas."),
    ] = "full",
    search: Annotated[
        int | None,
        typer.Option(min=2, help="Trials per round for learning rate, depth and --train, pruned, on development."),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(min=0.0, help="Of the backbone.", show_default="by --train", rich_help_panel=TRAINING),
    ] = None,
    head_rate: Annotated[
        float, typer.Option(min=0.0, help="Learning rate of the head.", rich_help_panel=TRAINING)
    ] = 1e-3,
    head_epochs: Annotated[
        int, typer.Option(min=0, help="Of the head alone, before the backbone learns too.", rich_help_panel=TRAINING)
    ] = 30,
    class_weights: Annotated[
        str, typer.Option(help="balanced: in the loss every class counts the same; none: every clip.")
    ] = "balanced",
    layer_decay: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Each layer learns at this part of the rate of the one above.")
    ] = 1.0,
    weight_decay: Annotated[float, typer.Option(min=0.0, help="Of AdamW; not on norms and biases.")] = 0.01,
    warmup: Annotated[float, typer.Option(help="Share of the steps in which the rates rise.")] = 0.3,
    epochs: Annotated[int, typer.Option(min=1, help="At most.")] = 10,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without a better development score.")] = 5,
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
    language: PageLanguage = "en",
) -> Made:
    """Train the backbone end to end, on the very folds of a probe run, one model per round, each from fresh weights.

    A round learns from its training clips, stops and is chosen by its development clips, and predicts its test clips.
    Stopped, it goes on from the last epoch and ends with the same predictions.

    Example: toolkit finetune --from negative-whisper-medium-linear-0123456789ab --train lora
    """
    from toolkit.finetune import processes
    from toolkit.finetune.recipe import Recipe
    from toolkit.finetune.run import Options
    from toolkit.finetune.run import finetune as run
    from toolkit.finetune.search import Search
    from toolkit.folding import keep as keep_folds
    from toolkit.manifest import read
    from toolkit.progress import bar, quiet
    from toolkit.runs import command_line
    from toolkit.runs import provenance as made_with

    if origin is None and (model is None or target is None):
        raise InputError("Say what to train: --from a probe run, or --model and --target by hand")
    ways = tuple(train.split(",")) if search else (train,)
    recipe = Recipe(
        ways[0], learning_rate, head_rate, layer_decay, weight_decay, warmup, epochs, patience, batch, accumulate,
        gradient_norm, rank, spec_augment, layer_drop, train_convolutions, dtype, recompute, head_epochs,
        class_weights,
    )  # fmt: skip
    corpus = read(manifest_file(workspace, manifest), audio_root)
    result, models = workspace / "result", workspace / "models"
    if origin is not None:
        corpus, sources = _from_run(corpus, origin, result, models, depth, ways[0], context, top)
    else:
        corpus, source = _by_hand(corpus, models, str(model), str(target), folds, seed or 0, group_by, split_by,
                                  context, layer, depth, ways[0], window, hop)  # fmt: skip
        sources = [source]
    say: Any = remark
    shown: Any = bar
    if processes.rank():  # the main process speaks
        say, shown = lambda sentence: None, lambda *_: nullcontext(quiet)
    say(f"folds in {relative(keep_folds(sources[0].question, result), workspace)}")
    options = Options(recipe, Search(search, ways) if search else None, seed or 0, device, workers, keep)
    done = [run(corpus, source, options, result, made_with(command_line()), note or (), say, shown)
            for source in sources]  # fmt: skip
    processes.leave()
    if not processes.rank():
        for one in done:
            _tell(one, workspace, language)
        if len(done) > 1:
            _table([one.run for one in done], [one.folder for one in done])
    failed = any(one.failed for one in done)
    folders = tuple(one.folder for one in done)
    return Made(folders, all(one.stood for one in done), SOME_CLIPS_FAILED if failed else DONE)


def _from_run(
    corpus: Any,
    origin: str,
    result: Path,
    models: Path,
    depth: str | None,
    train: str,
    context: str | None,
    top: int,
) -> Any:
    """The manifest, cut as it was probed, and a source for each of the best layers."""
    from toolkit.finetune import source as sources
    from toolkit.windows import cut

    _known_context(context)
    folder = sources.find_run(origin, result)
    run = sources.probed(folder)
    corpus = cut(corpus, sources.windows_of(run))
    if top > 1 and top > (there := len(sources.standings(run, folder.name))):
        raise InputError(f"--top {top}: {folder.name} has {there} layers")
    return corpus, [
        sources.from_run(run, folder.name, corpus, models, depth, train, context, place)  # type: ignore[arg-type]
        for place in range(1, top + 1)
    ]


def _by_hand(
    corpus: Any,
    models: Path,
    model: str,
    target: str,
    folds: str,
    seed: int,
    group_by: str,
    split_by: str,
    context: str | None,
    layer: int | None,
    depth: str | None,
    train: str,
    window: float | None,
    hop: float | None,
) -> Any:
    from toolkit.finetune.source import by_hand
    from toolkit.folding import pose
    from toolkit.models.checkpoint import locate
    from toolkit.windows import Windows, cut

    if folds != "all" and not folds.isdecimal():
        raise InputError(f"Bad --folds {folds!r}, expected a number or all")
    _known_context(context)
    windows = Windows.of(window, hop)
    corpus = cut(corpus, windows)
    question = pose(corpus, target, None if folds == "all" else int(folds), seed, group_by, split_by)
    checkpoint = locate(model, models)
    return corpus, by_hand(checkpoint, context or "full", question, layer, depth, train, windows)  # type: ignore[arg-type]


def _known_context(context: str | None) -> None:
    from toolkit.errors import one_of

    if context not in (None, "full", "clip"):
        raise InputError(one_of("--context", context, ["full", "clip"]))


def _tell(done: Any, workspace: Path, language: str) -> None:
    """done: a `finetune.run.Finetuned`."""
    from toolkit.result import stats, tables
    from toolkit.result.run import curve

    if done.stood:
        remark("this run stood already, finished and whole; its figures are shown again")
    for clip, reason in done.failed.items():
        remark(f"failed: clip {clip!r} {reason}")
    points, evaluation = curve(done.run), stats.evaluate(done.run.predictions)
    show(tables.summary(done.run, points, evaluation))
    report = relative(report_in(language, done.folder, done.run, points, evaluation), workspace)
    print(f"{len(done.run.predictions.ids):,} clips predicted; CSV, metrics and figures beside the report: {report}")


def _table(runs: Any, folders: Any) -> None:
    """What `--top` trained, the probe's best on development first."""
    from rich.table import Table

    from toolkit.result.run import curve

    table = Table("place", "each round's layer", "development", f"test {runs[0].metric}", "run", box=None)
    for place, (run, folder) in enumerate(zip(runs, folders), start=1):
        (point,) = curve(run)
        layers = ", ".join(choice.setting["layer"].removeprefix("encoder.") for choice in run.choices)
        test = f"{point.test.estimate:.3f} [{point.test.lower:.3f}, {point.test.upper:.3f}]"
        table.add_row(str(place), layers, f"{point.development:.3f}", test, folder.name)
    show(table)
