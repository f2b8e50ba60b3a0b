"""`toolkit finetune`: every round of a question trained from fresh weights, committed one by one, then the run."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toolkit.errors import InputError, MachineError, SplitError, one_of
from toolkit.finetune import rounds as rounds_folder
from toolkit.finetune.job import Job
from toolkit.finetune.recipe import Recipe
from toolkit.finetune.recordings import record
from toolkit.finetune.rounds import Finished
from toolkit.finetune.source import Source
from toolkit.finetune.training import train
from toolkit.folding import refuse_leaks
from toolkit.labels import IntArray, Task, one_hot
from toolkit.manifest import Manifest
from toolkit.models.load import choose_device, choose_dtype
from toolkit.progress import Advance, bar
from toolkit.result import run as result_run
from toolkit.result.metrics import headline
from toolkit.result.predictions import Predictions
from toolkit.result.run import TUNED, Choice, Run
from toolkit.runs import locked, make_folder, signature
from toolkit.splits import Folds, Round

PROTOCOL = 1  # part of the folder's name: raise it when the same options would give other predictions
KEEP = ("none", "best")
PRIVATE = ".training"


@dataclass(frozen=True)
class Options:
    """keep: "best" leaves each round's weights in the run's folder. workers: threads that decode, None: the cores."""

    recipe: Recipe
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
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("finetune runs in one process on one device; start it without `accelerate launch`")
    device, recipe = _device(options, say)
    question, workers = source.question, options.workers or os.cpu_count() or 1
    wanted = [clip for clip in question.folds.ids if clip not in source.left_out]
    with show("decode", len(wanted), "clips") as advance:
        recordings = record(manifest, wanted, workers, advance)
    refuse_leaks(question, recordings.sha256)
    left_out = {**source.left_out, **recordings.failed}
    folds = question.folds.without(set(left_out)) if left_out else question.folds
    kept = np.array([clip not in left_out for clip in question.folds.ids])
    truth = question.truth[kept]
    groups = tuple(group for group, keep in zip(question.groups, kept) if keep)
    notes = [*question.notes, *_check(question.task, truth, folds), *notes]
    content = _content(source, recipe, options.seed, notes, folds, truth, recordings.sha256)
    folder = result / f"{question.task.name}-{source.checkpoint.name}-{TUNED}{recipe.train}-{signature(content)[:12]}"
    with locked(make_folder(folder)):
        if (folder / result_run.RUN).exists():
            if options.keep == "best" and not (folder / rounds_folder.WEIGHTS).exists():
                say(f"{folder.name} was finished without --keep best; delete its folder to train it again")
            _tidy(folder)
            return Finetuned(folder, result_run.read(folder), True, recordings.failed)
        job = Job(
            source.checkpoint, source.context, question.task, folds.ids, truth, recordings, recipe, options.seed,
            device, workers,
        )  # fmt: skip
        finished = [_round(job, round_, source, folder, options.keep, say) for round_ in folds.rounds()]
        run = _run(job, source, folds, groups, finished, left_out, notes, provenance)
        result_run.write(folder, run)
        _tidy(folder)
    return Finetuned(folder, run, False, recordings.failed)


def _tidy(folder: Path) -> None:
    """What only an unfinished run needs."""
    shutil.rmtree(folder / PRIVATE, ignore_errors=True)
    rounds_folder.clear(folder)


def _device(options: Options, say: Callable[[str], None]) -> tuple[torch.device, Recipe]:
    """The device, and the recipe with the dtype that stands in the end."""
    device, recipe = choose_device(options.device), options.recipe
    if device.index:
        raise InputError(
            f"--device {options.device}: finetune takes cpu or cuda; CUDA_VISIBLE_DEVICES picks another one"
        )
    if recipe.dtype == "float16":
        if device.type != "cuda":
            raise InputError("--dtype float16 trains on CUDA devices alone; take bfloat16 or float32")
        return device, recipe
    dtype, reason = choose_dtype(recipe.dtype, device)
    say(f"training on {device.type}, {reason}")
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
    seed: int,
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
        "task": [task.kind, list(task.labels), list(task.columns)],
        "truth": truth.tolist(),
        "folds": folds.sha256,
        "audio": [sha256[clip] for clip in folds.ids],
        "seed": seed,
        "notes": list(notes),
    }


def _round(job: Job, round_: Round, source: Source, folder: Path, keep: str, say: Callable[[str], None]) -> Finished:
    """One round, read if it was finished before."""
    stood = rounds_folder.read(folder, round_.fold, keep)
    if stood is not None:
        return stood
    private = make_folder(folder / PRIVATE / f"round-{round_.fold}")
    try:
        trained = train(job, round_, source.layers[round_.fold], private, say)
    except torch.OutOfMemoryError:
        raise MachineError(
            f"The device has no memory for {job.recipe.batch // job.recipe.accumulate} clips at a time; "
            f"take --accumulate {2 * job.recipe.accumulate}, or --recompute"
        ) from None
    settings = {"checkpoint": job.checkpoint.name, "weights_sha256": job.checkpoint.weights_sha256,
                "context": job.context, "recipe": asdict(job.recipe), "labels": list(job.task.labels)}  # fmt: skip
    finished = rounds_folder.write(folder, round_, trained, settings if keep == "best" else None)
    shutil.rmtree(private)
    return finished


def _run(
    job: Job,
    source: Source,
    folds: Folds,
    groups: Sequence[str],
    finished: Sequence[Finished],
    left_out: Mapping[str, str],
    notes: Sequence[str],
    provenance: Mapping[str, Any],
) -> Run:
    task, recipe, name = job.task, job.recipe, source.checkpoint.name
    layer = one_name([one.layer for one in finished])
    predictions = _predictions(job, source, folds, groups, finished)
    return Run(
        title=f"{task.name} from {name}",
        backbone=name,
        probe=f"{TUNED}{recipe.train}",
        task=task,
        metric=headline(task),
        folds=folds,
        predictions=predictions,
        layers={layer: predictions},
        development={layer: tuple(one.development for one in finished)},
        choices=tuple(
            Choice(
                one.fold,
                layer,
                {"layer": one.layer, "best epoch": one.epoch, "epochs": one.epochs},
                one.development,
            )
            for one in finished
        ),
        left_out=dict(left_out),
        notes=tuple(notes),
        provenance={
            **provenance,
            "packages": {**provenance.get("packages", {}), **{p: metadata.version(p) for p in ("accelerate", "peft")}},
            "seed": job.seed,
            "from": source.origin or "by hand",
            "weights_sha256": source.checkpoint.weights_sha256,
            "context": source.context,
            "recipe": {**asdict(recipe), "learning_rate": recipe.rate},
            "layers": [one.layer for one in finished],
            "folds": source.question.folds.sha256,
            "trained_parameters": max(one.parameters for one in finished),
            "seconds": round(sum(one.seconds for one in finished), 1),
            "peak_memory_bytes": max(one.peak_bytes for one in finished),
            "device": job.device.type,
        },
    )


def one_name(layers: Sequence[str]) -> str:
    """One name for the layers that the rounds ended at.

    >>> one_name(["encoder.3", "encoder.3"]), one_name(["encoder.3", "encoder.11", "encoder.3"])
    ('encoder.3', 'encoder.3/11')
    """
    different = sorted(set(layers), key=lambda layer: (layer.split(".")[0], int(layer.split(".")[1])))
    first, *rest = different
    stack = first.split(".")[0]
    return "/".join([first, *(layer.removeprefix(f"{stack}.") for layer in rest)])


def _predictions(
    job: Job, source: Source, folds: Folds, groups: Sequence[str], finished: Sequence[Finished]
) -> Predictions:
    """The tested clips of all rounds, in the order of the folds."""
    rounds = list(folds.rounds())
    clips = np.concatenate([round_.test for round_ in rounds])
    order = np.argsort(clips)
    return Predictions(
        job.task,
        tuple(folds.ids[clip] for clip in clips[order]),
        tuple(groups[clip] for clip in clips[order]),
        np.concatenate([np.full(len(round_.test), round_.fold) for round_ in rounds])[order],
        job.truth[clips[order]],
        np.concatenate([one.prediction for one in finished])[order],
        np.concatenate([one.probability for one in finished])[order],
        source.question.group,
    )
