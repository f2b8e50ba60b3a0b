"""`toolkit finetune`: the backbone trained end to end, on the folds of a probe run."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli.common import (
    HERE,
    AudioRoot,
    Made,
    ManifestFile,
    PageLanguage,
    Spellings,
    Unknown,
    Workspace,
    manifest_file,
    relative,
    remark,
    report_in,
    show,
)
from toolkit.cli.compare import compare
from toolkit.cli.probe import fold_count
from toolkit.core.errors import DONE, SOME_CLIPS_FAILED, InputError

TRAINING = "Training"
SETTINGS = ("train", "learning rate", "statistics", "class_weights")  # of a round, as its `Choice` names them


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
    folds: Annotated[
        str | None, typer.Option(help="By hand: how many, or all for one per group.", show_default="5")
    ] = None,
    group_by: Annotated[str, typer.Option(help="By hand: the column that is kept apart.")] = "speaker",
    split_by: Annotated[str, typer.Option(help="By hand: group, or clip, which accepts leaks.")] = "group",
    spellings: Spellings = "refuse",
    unknown: Unknown = "refuse",
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
        str | None,
        typer.Option(
            help="balanced: in the loss every class counts the same; none: every clip.",
            show_default="as each round's probe; by hand balanced",
        ),
    ] = None,
    statistics: Annotated[
        str | None,
        typer.Option(
            help="What of a clip's frames enters the head: mean, std or both.",
            show_default="as each round's probe; by hand mean",
        ),
    ] = None,
    refit_on_development: Annotated[
        bool,
        typer.Option(
            help="Once development has chosen the epoch, train anew on training and development clips together."
        ),
    ] = True,
    layer_decay: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Each layer learns at this part of the rate of the one above.")
    ] = 1.0,
    weight_decay: Annotated[float, typer.Option(min=0.0, help="Of AdamW; not on norms and biases.")] = 0.01,
    warmup: Annotated[float, typer.Option(help="Share of the steps in which the rates rise.")] = 0.3,
    epochs: Annotated[int, typer.Option(min=1, help="At most.")] = 10,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without a lower loss on development.")] = 5,
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
    seeds: Annotated[
        int, typer.Option(min=1, help="Train so often, from --seed on: a run each, and their mean and spread.")
    ] = 1,
    repeats: Annotated[
        int, typer.Option(min=1, help="By hand: deal the folds out so often, from --seed on, each for all --seeds.")
    ] = 1,
    note: Annotated[list[str] | None, typer.Option(help="A sentence that the report shows. May be repeated.")] = None,
    language: PageLanguage = "en",
) -> Made:
    """Train the backbone end to end, on the very folds of a probe run, one model per round, each from fresh weights.

    A round learns from its training clips and stops by its development clips, which choose the epoch; then it begins
    again, learns that many epochs from both, as the winner of a probe does, and predicts its test clips. Stopped, it
    goes on from the last epoch and ends with the same predictions.

    Example: toolkit finetune --from negative-whisper-medium-linear-0123456789ab --train lora
    """
    from toolkit.core.artifacts import command_line
    from toolkit.core.artifacts import provenance as made_with
    from toolkit.core.progress import bar, quiet
    from toolkit.corpus.evaluation_task import keep as keep_folds
    from toolkit.corpus.manifest import read
    from toolkit.corpus.spellings import Rules
    from toolkit.finetune import distributed
    from toolkit.finetune.recipe import Recipe
    from toolkit.finetune.run import Options
    from toolkit.finetune.run import finetune as run
    from toolkit.finetune.search import Search
    from toolkit.result.report.terminal import spread

    if origin is None and (model is None or target is None):
        raise InputError("Say what to train: --from a probe run, or --model and --target by hand")
    ways = tuple(train.split(",")) if search else (train,)
    recipe = Recipe(
        ways[0], learning_rate, head_rate, layer_decay, weight_decay, warmup, epochs, patience, batch, accumulate,
        gradient_norm, rank, spec_augment, layer_drop, train_convolutions, dtype, recompute, head_epochs,
        class_weights or "balanced", statistics or "mean", refit_on_development,
    )  # fmt: skip
    corpus = read(manifest_file(workspace, manifest), audio_root)
    result, models, first = workspace / "result", workspace / "models", seed or 0
    if origin is not None:
        corpus, sources = _from_run(corpus, origin, result, models, depth, ways[0], context, top, statistics,
                                    class_weights)  # fmt: skip
    else:
        corpus, sources = _by_hand(corpus, models, str(model), str(target), folds, range(first, first + repeats),
                                   group_by, split_by, Rules(spellings, unknown), context, layer, depth, ways[0],
                                   window, hop, statistics, class_weights)  # fmt: skip
    say: Any = remark
    shown: Any = bar
    if distributed.rank():  # the main process speaks
        say, shown = lambda sentence: None, lambda *_: nullcontext(quiet)
    for folder in dict.fromkeys(keep_folds(source.question, result) for source in sources):
        say(f"folds in {relative(folder, workspace)}")
    options = Options(recipe, Search(search, ways) if search else None, first, device, workers, keep)
    done = [run(corpus, source, replace(options, seed=number), result, made_with(command_line()), note or (), say,
                shown)
            for source in sources for number in range(first, first + seeds)]  # fmt: skip
    distributed.leave()
    if not distributed.rank():
        for one in done:
            _tell(one, workspace, language)
        if len(done) > 1:
            _table([one.run for one in done], [one.folder for one in done])
        together = [done] if top == 1 else [done[at : at + seeds] for at in range(0, len(done), seeds)]
        for own in together:
            if len(own) > 1:
                print(spread([one.run for one in own]))
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
    statistics: str | None,
    class_weights: str | None,
) -> Any:
    """The manifest, cut as it was probed, and a source for each of the best layers."""
    from toolkit.corpus.windows import cut
    from toolkit.finetune import origin as sources
    from toolkit.result.run import find_run

    _known_context(context)
    folder = find_run(origin, result)
    run = sources.probed(folder)
    corpus = cut(corpus, sources.windows_of(run))
    if top > 1:
        sources.refuse_top(top, len(sources.standings(run, folder.name)), folder.name)
    return corpus, [
        sources.from_run(run, folder.name, corpus, models, depth, train, context, place,  # type: ignore[arg-type]
                         statistics, class_weights)
        for place in range(1, top + 1)
    ]  # fmt: skip


def _by_hand(
    corpus: Any,
    models: Path,
    model: str,
    target: str,
    folds: str | None,
    deals: Sequence[int],
    group_by: str,
    split_by: str,
    rules: Any,
    context: str | None,
    layer: int | None,
    depth: str | None,
    train: str,
    window: float | None,
    hop: float | None,
    statistics: str | None,
    class_weights: str | None,
) -> Any:
    from toolkit.corpus.evaluation_task import dealt_by_column, pose, refuse_repeats
    from toolkit.corpus.windows import Windows, cut
    from toolkit.finetune.origin import by_hand
    from toolkit.models.checkpoint import locate

    count = fold_count("5" if folds is None else folds)
    _known_context(context)
    windows = Windows.of(window, hop)
    corpus = cut(corpus, windows)
    checkpoint = locate(model, models)
    questions = [pose(corpus, target, count, deal, group_by, split_by, rules=rules) for deal in deals]
    if folds is not None and dealt_by_column(corpus, split_by):
        raise InputError(
            f"--folds {folds} has no effect: the manifest's split column deals the clips out; leave it out"
        )
    refuse_repeats(corpus, split_by, [question.folds for question in questions])
    return corpus, [
        by_hand(checkpoint, context, question, layer, depth, train, windows, statistics, class_weights)  # type: ignore[arg-type]
        for question in questions
    ]


def _known_context(context: str | None) -> None:
    from toolkit.core.errors import one_of

    if context not in (None, "full", "clip"):
        raise InputError(one_of("--context", context, ["full", "clip"]))


def _tell(done: Any, workspace: Path, language: str) -> None:
    """done: a `finetune.run.Finetuned`."""
    from toolkit.result import stats
    from toolkit.result.report import terminal
    from toolkit.result.run import curve

    if done.stood:
        remark("this run stood already, finished and whole; its figures are shown again")
    for clip, reason in done.failed.items():
        remark(f"failed: clip {clip!r} {reason}")
    points, evaluation = curve(done.run), stats.evaluate(done.run.predictions)
    show(terminal.summary(done.run, points, evaluation))
    report = relative(report_in(language, done.folder, done.run, points, evaluation), workspace)
    print(f"{len(done.run.predictions.ids):,} clips predicted; CSV, metrics and figures beside the report: {report}")


def _table(runs: Sequence[Any], folders: Sequence[Path]) -> None:
    """A row a run, in the order of training; what was chosen or set in each round where two rows differ in it."""
    from rich.table import Table

    from toolkit.result.run import curve

    columns = {"each round's layer": [_of_rounds(run, "layer").replace("encoder.", "") for run in runs]}
    settings = {name: [_of_rounds(run, name) for run in runs] for name in SETTINGS}
    settings |= {"folds' seed": [str(run.provenance["deal"]) for run in runs],
                 "seed": [str(run.provenance["seed"]) for run in runs]}  # fmt: skip
    columns |= {name: values for name, values in settings.items() if len(set(values)) > 1}
    table = Table("", *columns, "dev, optimistic", f"test {runs[0].metric}", "run", box=None)
    for number, (run, folder) in enumerate(zip(runs, folders)):
        (point,) = curve(run)
        told = [values[number] for values in columns.values()]
        table.add_row(str(number + 1), *told, f"{point.development:.3f}", str(point.test), folder.name)
    show(table)


def _of_rounds(run: Any, name: str) -> str:
    """A setting of every round; once where all have the same."""
    values = [str(choice.setting[name]) for choice in run.choices]
    return ", ".join(values if name == "layer" else dict.fromkeys(values) if len(set(values)) == 1 else values)
