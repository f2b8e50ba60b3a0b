"""`toolkit finetune`: every round of a question trained from fresh weights, committed one by one, then the run."""

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toolkit.core.artifacts import STUDY_FILE, cores, locked, make_folder, run_folder, signature
from toolkit.core.errors import InputError, MachineError, disk_full_is_named, is_out_of_memory
from toolkit.core.i18n import Note
from toolkit.core.progress import Advance, bar
from toolkit.core.study_file import StudyFile
from toolkit.corpus.evaluation_task import check_leaks
from toolkit.corpus.labels import Truth, listed
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.material import flag_notes
from toolkit.corpus.splits import Folds, Round
from toolkit.finetune import distributed, history
from toolkit.finetune import rounds as rounds_folder
from toolkit.finetune.assemble import collected, without_head
from toolkit.finetune.audio_cache import record
from toolkit.finetune.checks import check_batch_size, check_learnable, check_search, device_for, shallow_notes
from toolkit.finetune.options import Recipe
from toolkit.finetune.origin import Source, deepest
from toolkit.finetune.recipe import check_convolutions, check_depth, too_shallow
from toolkit.finetune.round_context import Job
from toolkit.finetune.rounds import Finished
from toolkit.finetune.search import Search, settle
from toolkit.finetune.training import train
from toolkit.models.precision import for_training
from toolkit.result import run as result_run
from toolkit.result import run_files
from toolkit.result.clips import write_clips
from toolkit.result.run import TUNED, Run

PROTOCOL = 4  # part of the folder's name: raise it when the same options would give other predictions
PRIVATE = ".training"


@dataclass(frozen=True)
class Options:
    """save_weights: leave each round's weights in the run's folder. workers: threads that decode, None: the cores.
    search: how each round finds its own recipe and layer; None: it takes the ones that are given. report_to: as
    `tracking.check` takes it; no figure depends on it. name: what a new run's folder begins with."""

    recipe: Recipe
    search: Search | None = None
    seed: int = 0
    device: str = "auto"
    workers: int | None = None
    save_weights: bool = False
    report_to: tuple[str, ...] = ()
    name: str | None = None


@dataclass(frozen=True)
class Finetuned:
    """folder: of the finished run. cached: it was there already. failed: the reason by id of undecodable clips."""

    folder: Path
    run: Run
    cached: bool
    failed: Mapping[str, str]


def finetune(
    manifest: Manifest,
    source: Source,
    options: Options,
    result: Path,
    provenance: Mapping[str, Any],
    notes: Sequence[Note] = (),
    say: Callable[[str], None] = lambda sentence: None,
    show: Callable[[str, int, str], AbstractContextManager[Advance]] = bar,
) -> Finetuned:
    """Train a model per round and commit the run to result/TASK-BACKBONE-finetune-WAY-SIG12/.

    Each round begins with the checkpoint's own weights, learns from its training clips, stops and is chosen by its
    development clips, and predicts its test clips. Finished rounds are committed one by one; a round that was stopped
    resumes from its last epoch. A finished run is read, not run again.
    Raises InputError, SplitError, MachineError, and what `models.trainable` and `result.run_files.read` raise.
    """
    device, recipe = _device(options, say)
    _check_search(options, source)
    check_convolutions(recipe, source.checkpoint)
    shallow = _shallow(options, source)
    question, workers = source.question, options.workers or cores()
    wanted = [clip for clip in question.folds.ids if clip not in source.left_out]
    with show("decode", len(wanted), "clips") as advance:
        recordings = record(manifest, wanted, workers, advance)
    check_leaks(question, recordings.sha256)
    left_out = {**source.left_out, **recordings.failed}
    folds = question.folds.without(set(left_out)) if left_out else question.folds
    kept = np.array([clip not in left_out for clip in question.folds.ids])
    truth = question.truth[kept]
    groups = tuple(group for group, keep in zip(question.groups, kept) if keep)
    given_notes = tuple(notes)
    notes = [
        *question.notes,
        *flag_notes(recordings.flags[clip] for clip in folds.ids),
        *check_learnable(question.task, truth, folds, recipe.refit_on_development),
        *shallow_notes(recipe, shallow),
        *notes,
    ]
    check_batch_size(recipe.batch_size, len(folds.ids))
    content = _content(source, recipe, options, notes, folds, truth, recordings.sha256)
    train_mode = "search" if options.search else recipe.train
    model = f"{source.checkpoint.name}-{TUNED}{train_mode}"
    folder = run_folder(result, question.task.name, model, signature(content), options.name)
    main = not distributed.rank()
    with locked(make_folder(folder)) if main else nullcontext(), disk_full_is_named(folder):
        distributed.wait()  # now the others may look into the folder: only the main process changes it
        if (folder / result_run.RUN).exists():
            if options.save_weights and not (folder / rounds_folder.WEIGHTS).exists():
                say(f"{folder.name} was finished without --save-weights; delete its folder to train it again")
            if main:
                _tidy(folder)
            return Finetuned(folder, run_files.read(folder), True, recordings.failed)
        job = Job(
            source.checkpoint, source.context, question.task, folds.ids, truth, recordings, recipe, options.seed,
            device, workers, folder / history.FILE,
            report_to=options.report_to,
        )  # fmt: skip
        studies = StudyFile(folder / STUDY_FILE) if options.search else None
        finished = [
            _round(_job_of(job, source, round_.fold, shallow), round_, source, folder, options, studies, say)
            for round_ in folds.rounds()
        ]
        weights = _weights_bytes(folder) if options.save_weights else None
        stated = {**provenance, "series": _series(content, folds, given_notes), "deal": question.folds.seed}
        run = collected(job, source, folds, groups, finished, left_out, notes, train_mode, weights, stated)
        if main:
            if options.save_weights:
                write_clips(folder, {clip: recordings.sha256[clip] for clip in folds.ids})
            from toolkit.result.report import run_page  # Altair takes a second to import

            run_files.write(folder, run, run_page.draw)
            _tidy(folder)
        distributed.wait()
    return Finetuned(folder, run, False, recordings.failed)


def _tidy(folder: Path) -> None:
    """What only an unfinished run needs."""
    shutil.rmtree(folder / PRIVATE, ignore_errors=True)
    rounds_folder.clear(folder)


def _weights_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / rounds_folder.WEIGHTS).iterdir())


def _check_search(options: Options, source: Source) -> None:
    if options.search is None:
        return
    options.search.check(options.recipe)
    if distributed.count() > 1:
        raise InputError("--search runs in one process; give what it finds to several with --train and --learning-rate")
    check_search(list(source.layers.values()))


def _shallow(options: Options, source: Source) -> dict[int, str]:
    """The rounds, by test fold, whose probe chose too low a layer for the train mode, and that layer.

    Raises InputError where the backbone itself, or what was given by hand, is not deep enough.
    """
    encoder_layers, recipe = source.checkpoint.backbone.layers, options.recipe
    whole = {0: deepest(source.checkpoint, recipe.train)}
    if options.search is not None:
        for mode in options.search.train_modes:
            check_depth(replace(recipe, train=mode), whole, encoder_layers)
        return {}
    check_depth(recipe, whole if source.chosen else source.layers, encoder_layers)
    return {fold: source.layers[fold] for fold in too_shallow(recipe, source.layers, encoder_layers)}


def _job_of(job: Job, source: Source, fold: int, shallow: Collection[int]) -> Job:
    """A round's own: its head, and the head alone where its model has no layer to train."""
    head = source.heads[fold]
    recipe = replace(job.recipe, statistics=head.statistics, class_weights=head.class_weights)
    if fold in shallow:
        recipe = replace(recipe, train="head", learning_rate=None)
    return replace(job, recipe=recipe)


def _device(options: Options, say: Callable[[str], None]) -> tuple[torch.device, Recipe]:
    """The device, and the recipe with the dtype that is used in the end."""
    device, recipe = device_for(options.device, options.recipe.dtype), options.recipe
    together = distributed.count()
    if recipe.batch_size // recipe.grad_accum_steps % together:
        raise InputError(
            f"--batch-size {recipe.batch_size} --grad-accum-steps {recipe.grad_accum_steps}: {together} processes get "
            "no equal parts of it"
        )
    if recipe.loss == "ccc" and together > 1:
        raise InputError(f"--loss ccc is of a whole batch, which {together} processes share; train it in one")
    device = distributed.join(device)
    if recipe.dtype == "float16":
        return device, recipe
    dtype, reason = for_training(recipe.dtype, device)
    say(f"training on {device.type}{f' in {together} processes' if together > 1 else ''}, {reason}")
    return device, replace(recipe, dtype=str(dtype).removeprefix("torch."))


def _content(
    source: Source,
    recipe: Recipe,
    options: Options,
    notes: Sequence[Note],
    folds: Folds,
    truth: Truth,
    sha256: Mapping[str, str],
) -> dict[str, Any]:
    """Everything that changes the predictions, and nothing else."""
    task = source.question.task
    return {
        "protocol": PROTOCOL,
        "weights": source.checkpoint.weights_sha256,
        **source.checkpoint.stated,
        "context": source.context,
        "layers": [[fold, layer] for fold, layer in source.layers.items()],
        "heads": [[fold, asdict(head)] for fold, head in source.heads.items()],
        "recipe": without_head(recipe),
        **({"search": {"trials": options.search.trials, "ways": options.search.train_modes}} if options.search else {}),
        "task": [task.kind, list(task.labels), list(task.columns)],
        "truth": listed(task, truth),
        "folds": folds.sha256,
        "audio": [sha256[clip] for clip in folds.ids],
        "seed": options.seed,
        "notes": list(notes),
    }


def _series(content: Mapping[str, Any], folds: Folds, notes: Sequence[Note]) -> str:
    """What runs share that differ in their training seed and the deal of their folds alone. notes: the user's own."""
    alike = {name: value for name, value in content.items() if name != "seed"}
    dealt = [folds.scheme, folds.count, folds.group_by, folds.groups]
    return signature({**alike, "folds": dealt, "notes": list(notes)})


def _round(
    job: Job,
    round_: Round,
    source: Source,
    folder: Path,
    options: Options,
    studies: StudyFile | None,
    say: Callable[[str], None],
) -> Finished:
    """One round, read if it was finished before."""
    cached = rounds_folder.read(folder, round_.fold, options.save_weights)
    if cached is not None:
        return cached
    private, layer = make_folder(folder / PRIVATE / f"round-{round_.fold}"), source.layers[round_.fold]
    try:
        if options.search and studies:
            recipe, layer = settle(job, round_, layer, options.search, studies, folder.name, private / "trial", say)
            job = replace(job, recipe=recipe)
        trained = train(job, round_, layer, private, say)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise MachineError(_too_much(job.recipe)) from None
    settings = {"checkpoint": job.checkpoint.name, "weights_sha256": job.checkpoint.weights_sha256,
                "context": job.context, "recipe": asdict(job.recipe), "labels": list(job.task.labels),
                "device": job.device.type, "threads": torch.get_num_threads(),
                "folds": source.question.folds.sha256, "seed": job.seed}  # fmt: skip
    if not distributed.rank():
        rounds_folder.write(folder, round_, trained, settings if options.save_weights else None)
        shutil.rmtree(private)
    distributed.wait()
    finished = rounds_folder.read(folder, round_.fold, options.save_weights)
    assert finished is not None
    return finished


def _too_much(recipe: Recipe) -> str:
    """What to say where memory ran out."""
    together = distributed.count()
    parts = [
        n for n in range(recipe.grad_accum_steps + 1, recipe.batch_size + 1) if recipe.batch_size % (n * together) == 0
    ]
    advice = [f"--grad-accum-steps {parts[0]}"] if parts else []
    advice += [] if recipe.gradient_checkpointing else ["--gradient-checkpointing"]
    advice += [] if recipe.train in ("lora", "head") else ["--train lora"]
    at_a_time = recipe.batch_size // recipe.grad_accum_steps // together
    return f"Memory ran out with {at_a_time} clips at a time; take {' or '.join(advice) or 'another device'}"
