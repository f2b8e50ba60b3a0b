"""`toolkit finetune`: every round of a question trained from fresh weights, committed one by one, then the run."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toolkit.errors import InputError, MachineError, SplitError, disk_full_is_named, is_out_of_memory, one_of
from toolkit.finetune import processes
from toolkit.finetune import rounds as rounds_folder
from toolkit.finetune.job import Job
from toolkit.finetune.outcome import collected
from toolkit.finetune.recipe import Recipe, refuse_too_shallow
from toolkit.finetune.recordings import record
from toolkit.finetune.rounds import Finished
from toolkit.finetune.search import Search, Studies, settle
from toolkit.finetune.source import Source
from toolkit.finetune.training import train
from toolkit.folding import refuse_leaks
from toolkit.labels import IntArray, Task, one_hot
from toolkit.manifest import Manifest
from toolkit.material import flag_notes
from toolkit.models.load import DTYPES, choose_device, choose_dtype
from toolkit.progress import Advance, bar
from toolkit.result import run as result_run
from toolkit.result.applied import write_clips
from toolkit.result.run import TUNED, Run
from toolkit.runs import cores, locked, make_folder, signature
from toolkit.splits import Folds, Round

PROTOCOL = 3  # part of the folder's name: raise it when the same options would give other predictions
KEEP = ("none", "best")
TRAINING_DTYPES = ("auto", *DTYPES, "float16")
PRIVATE = ".training"


@dataclass(frozen=True)
class Options:
    """keep: "best" leaves each round's weights in the run's folder. workers: threads that decode, None: the cores.
    search: how each round finds its own recipe and layer; None: it takes the ones that are given."""

    recipe: Recipe
    search: Search | None = None
    seed: int = 0
    device: str = "auto"
    workers: int | None = None
    keep: str = "none"


@dataclass(frozen=True)
class Finetuned:
    """folder: of the finished run. stood: it was there already. failed: reason by id of clips that were not decoded."""

    folder: Path
    run: Run
    stood: bool
    failed: Mapping[str, str]


def finetune(
    manifest: Manifest,
    source: Source,
    options: Options,
    result: Path,
    provenance: Mapping[str, Any],
    notes: Sequence[str] = (),
    say: Callable[[str], None] = lambda sentence: None,
    show: Callable[[str, int, str], AbstractContextManager[Advance]] = bar,
) -> Finetuned:
    """Train a model per round and commit the run to result/TASK-BACKBONE-finetune-WAY-SIG12/.

    Each round begins with the checkpoint's own weights, learns from its training clips, stops and is chosen by its
    development clips, and predicts its test clips. Finished rounds are committed one by one; a round that was stopped
    goes on from its last epoch. A finished run is read, not run again.
    Raises InputError, SplitError, MachineError, and what `models.trainable` and `result.run.read` raise.
    """
    if options.keep not in KEEP:
        raise InputError(one_of("--keep", options.keep, KEEP))
    device, recipe = _device(options, say)
    _refuse_search(options, source)
    _refuse_shallow(options, source)
    question, workers = source.question, options.workers or cores()
    wanted = [clip for clip in question.folds.ids if clip not in source.left_out]
    with show("decode", len(wanted), "clips") as advance:
        recordings = record(manifest, wanted, workers, advance)
    refuse_leaks(question, recordings.sha256)
    left_out = {**source.left_out, **recordings.failed}
    folds = question.folds.without(set(left_out)) if left_out else question.folds
    kept = np.array([clip not in left_out for clip in question.folds.ids])
    truth = question.truth[kept]
    groups = tuple(group for group, keep in zip(question.groups, kept) if keep)
    notes = [
        *question.notes,
        *flag_notes(recordings.flags[clip] for clip in folds.ids),
        *_check(question.task, truth, folds),
        *notes,
    ]
    if recipe.batch > len(folds.ids):
        raise InputError(f"--batch {recipe.batch}: there are {len(folds.ids)} clips")
    content = _content(source, recipe, options, notes, folds, truth, recordings.sha256)
    way = "search" if options.search else recipe.train
    folder = result / f"{question.task.name}-{source.checkpoint.name}-{TUNED}{way}-{signature(content)[:12]}"
    main = not processes.rank()
    with locked(make_folder(folder)) if main else nullcontext(), disk_full_is_named(folder):
        processes.wait()  # now the others may look into the folder: only the main process changes it
        if (folder / result_run.RUN).exists():
            if options.keep == "best" and not (folder / rounds_folder.WEIGHTS).exists():
                say(f"{folder.name} was finished without --keep best; delete its folder to train it again")
            if main:
                _tidy(folder)
            return Finetuned(folder, result_run.read(folder), True, recordings.failed)
        job = Job(
            source.checkpoint, source.context, question.task, folds.ids, truth, recordings, recipe, options.seed,
            device, workers,
        )  # fmt: skip
        with closing(Studies(folder)) if options.search else nullcontext() as studies:
            finished = [_round(job, round_, source, folder, options, studies, say) for round_ in folds.rounds()]
        weights = _weights_bytes(folder) if options.keep == "best" else None
        run = collected(job, source, folds, groups, finished, left_out, notes, way, weights, provenance)
        if main:
            if options.keep == "best":
                write_clips(folder, {clip: recordings.sha256[clip] for clip in folds.ids})
            result_run.write(folder, run)
            _tidy(folder)
        processes.wait()
    return Finetuned(folder, run, False, recordings.failed)


def _tidy(folder: Path) -> None:
    """What only an unfinished run needs."""
    shutil.rmtree(folder / PRIVATE, ignore_errors=True)
    rounds_folder.clear(folder)


def _weights_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / rounds_folder.WEIGHTS).iterdir())


def _refuse_search(options: Options, source: Source) -> None:
    if options.search is None:
        return
    options.search.check(options.recipe)
    if processes.count() > 1:
        raise InputError("--search runs in one process; give what it finds to several with --train and --learning-rate")
    if any(layer.startswith("decoder.") for layer in source.layers.values()):
        raise InputError("--search cuts the encoder at different depths, and these models end in the decoder")


def _refuse_shallow(options: Options, source: Source) -> None:
    encoder_layers = source.checkpoint.backbone.layers
    if options.search is None:
        refuse_too_shallow(options.recipe, source.layers, encoder_layers)
        return
    whole = dict.fromkeys(source.layers, f"encoder.{encoder_layers}")  # as deep as a search may go
    for way in options.search.ways:
        refuse_too_shallow(replace(options.recipe, train=way), whole, encoder_layers)


def device_for(device: str, dtype: str) -> torch.device:
    """What `--device` names. Raises InputError for what is not there, or does not train in the dtype."""
    chosen = choose_device(device)
    if chosen.index:
        raise InputError(f"--device {device}: finetune takes cpu or cuda; CUDA_VISIBLE_DEVICES picks another one")
    if dtype not in TRAINING_DTYPES:
        raise InputError(one_of("--dtype", dtype, TRAINING_DTYPES))
    if dtype == "float16" and chosen.type != "cuda":
        raise InputError("--dtype float16 trains on CUDA devices alone; take bfloat16 or float32")
    return chosen


def _device(options: Options, say: Callable[[str], None]) -> tuple[torch.device, Recipe]:
    """The device, and the recipe with the dtype that stands in the end."""
    device, recipe = device_for(options.device, options.recipe.dtype), options.recipe
    together = processes.count()
    if recipe.batch // recipe.accumulate % together:
        raise InputError(
            f"--batch {recipe.batch} --accumulate {recipe.accumulate}: {together} processes get no equal parts of it"
        )
    device = processes.join(device)
    if recipe.dtype == "float16":
        return device, recipe
    dtype, reason = choose_dtype(recipe.dtype, device)
    say(f"training on {device.type}{f' in {together} processes' if together > 1 else ''}, {reason}")
    return device, replace(recipe, dtype=str(dtype).removeprefix("torch."))


def _check(task: Task, truth: IntArray, folds: Folds) -> list[str]:
    """Notes on labels that some training part cannot teach. Raises SplitError where a round has nothing to go by."""
    notes = []
    for round_ in folds.rounds():
        where = f"the round that tests fold {round_.fold}"
        share = one_hot(task, truth[round_.train]).mean(axis=0)
        constant = [label for label, part in zip(task.labels, share) if part in (0.0, 1.0)]
        if len(constant) == len(task.labels):
            raise SplitError(f"In {where} the training clips have nothing to tell apart; take other folds or labels")
        if task.multilabel and not truth[round_.development].any():
            raise SplitError(f"In {where} no development clip has any label; there is nothing to choose by")
        notes += [
            f"In {where} {label!r} does not vary in the training clips; it is predicted at its prevalence."
            for label in constant
        ]
    return notes


def _content(
    source: Source,
    recipe: Recipe,
    options: Options,
    notes: Sequence[str],
    folds: Folds,
    truth: IntArray,
    sha256: Mapping[str, str],
) -> dict[str, Any]:
    """Everything that changes the predictions, and nothing else."""
    task = source.question.task
    return {
        "protocol": PROTOCOL,
        "weights": source.checkpoint.weights_sha256,
        "context": source.context,
        "layers": [[fold, layer] for fold, layer in source.layers.items()],
        "recipe": asdict(recipe),
        **({"search": asdict(options.search)} if options.search else {}),
        "task": [task.kind, list(task.labels), list(task.columns)],
        "truth": truth.tolist(),
        "folds": folds.sha256,
        "audio": [sha256[clip] for clip in folds.ids],
        "seed": options.seed,
        "notes": list(notes),
    }


def _round(
    job: Job,
    round_: Round,
    source: Source,
    folder: Path,
    options: Options,
    studies: Studies | None,
    say: Callable[[str], None],
) -> Finished:
    """One round, read if it was finished before."""
    stood = rounds_folder.read(folder, round_.fold, options.keep)
    if stood is not None:
        return stood
    private, layer = make_folder(folder / PRIVATE / f"round-{round_.fold}"), source.layers[round_.fold]
    try:
        if options.search and studies:
            recipe, layer = settle(job, round_, layer, options.search, studies, private / "trial", say)
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
    if not processes.rank():
        rounds_folder.write(folder, round_, trained, settings if options.keep == "best" else None)
        shutil.rmtree(private)
    processes.wait()
    finished = rounds_folder.read(folder, round_.fold, options.keep)
    assert finished is not None
    return finished


def _too_much(recipe: Recipe) -> str:
    """What to say where memory ran out."""
    together = processes.count()
    parts = [n for n in range(recipe.accumulate + 1, recipe.batch + 1) if recipe.batch % (n * together) == 0]
    advice = [f"--accumulate {parts[0]}"] if parts else []
    advice += [] if recipe.recompute else ["--recompute"]
    advice += [] if recipe.train in ("lora", "head") else ["--train lora"]
    at_a_time = recipe.batch // recipe.accumulate // together
    return f"Memory ran out with {at_a_time} clips at a time; take {' or '.join(advice) or 'another device'}"
