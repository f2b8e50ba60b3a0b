"""From a run's finished rounds to the run: its predictions, what each round settled on, and what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from typing import Any

import numpy as np

from toolkit.audio.decode import SAMPLE_RATE
from toolkit.core.i18n import Note
from toolkit.corpus.material import Material
from toolkit.corpus.options import LOSSES
from toolkit.corpus.splits import Folds
from toolkit.finetune import distributed
from toolkit.finetune.audio_cache import Recordings
from toolkit.finetune.options import Recipe
from toolkit.finetune.origin import Source
from toolkit.finetune.round_context import Job
from toolkit.finetune.rounds import Finished
from toolkit.result.kinds import headline
from toolkit.result.predictions import Predictions
from toolkit.result.run import TUNED, Choice, Run


def collected(
    job: Job,
    source: Source,
    folds: Folds,
    groups: Sequence[str],
    finished: Sequence[Finished],
    left_out: Mapping[str, str],
    notes: Sequence[Note],
    train_mode: str,
    weights_bytes: int | None,
    provenance: Mapping[str, Any],
) -> Run:
    """The run of all its rounds. way: to train, or "search". weights_bytes: of the models that are kept, if any are."""
    task, recipe, name = job.task, job.recipe, source.checkpoint.name
    layer = one_name([one.layer for one in finished])
    predictions = _predictions(job, source, folds, groups, finished)
    return Run(
        title=f"{task.name} from {name}",
        backbone=name,
        probe=f"{TUNED}{train_mode}",
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
                {
                    "layer": one.layer,
                    "train": one.train,
                    "learning rate": one.rate,
                    "statistics": one.statistics,
                    "class_weights": one.class_weights,
                    **({"loss": recipe.loss or LOSSES[0]} if task.regression else {}),
                    "best epoch": one.epoch,
                    "epochs": one.epochs,
                },
                one.development,
                one.loss,
            )
            for one in finished
        ),
        losses={layer: tuple(one.loss for one in finished)},
        left_out=dict(left_out),
        notes=tuple(notes),
        provenance={
            **provenance,
            "packages": {**provenance.get("packages", {}), **{p: metadata.version(p) for p in ("accelerate", "peft")}},
            "seed": job.seed,
            "from": source.origin or "by hand",
            "weights_sha256": source.checkpoint.weights_sha256,
            **source.checkpoint.stated,
            "context": source.context,
            "windows": asdict(source.windows) if source.windows else None,
            "recipe": {**without_head(recipe), "learning_rate": recipe.rate},
            "layers": [one.layer for one in finished],
            "statistics": [one.statistics for one in finished],
            "class_weights": [one.class_weights for one in finished],
            "learnt_from": "train+development" if recipe.refit_on_development else "train",
            "folds": source.question.folds.sha256,
            "material": asdict(_material(job.recordings, folds.ids)),
            "trained_parameters": max(one.learning for one in finished),
            "parameters": max(one.parameters for one in finished),
            "seconds": round(sum(one.seconds for one in finished), 1),
            "learning_seconds": round(sum(one.learning_seconds for one in finished), 1),
            "audio_seconds": round(job.recordings.audio_seconds(folds.ids), 1),
            "heard_seconds": round(sum(one.heard_seconds for one in finished), 1),
            "peak_memory_bytes": max(one.peak_bytes for one in finished),
            "bytes_on_disk": weights_bytes,
            "processes": distributed.count(),
            "device": job.device.type,
        },
    )


def _material(recordings: Recordings, ids: Sequence[str]) -> Material:
    lengths = recordings.lengths
    return Material.of((recordings.clips[clip].channel, lengths[clip] / SAMPLE_RATE) for clip in ids)


def without_head(recipe: Recipe) -> dict[str, Any]:
    """A recipe without what differs by round (see `origin.Head`), and without the loss where there is one alone."""
    of_head = ("statistics", "class_weights", *(() if recipe.loss else ("loss",)))
    return {name: value for name, value in asdict(recipe).items() if name not in of_head}


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
    given, score = (
        np.concatenate([getattr(one, name) for one in finished])[order] for name in ("probability", "score")
    )
    numbers = job.task.regression  # they are the predictions
    return Predictions(
        job.task,
        tuple(folds.ids[clip] for clip in clips[order]),
        tuple(groups[clip] for clip in clips[order]),
        np.concatenate([np.full(len(round_.test), round_.fold) for round_ in rounds])[order],
        job.truth[clips[order]],
        np.concatenate([one.prediction for one in finished])[order],
        np.full_like(given, np.nan) if numbers else given,
        source.question.group,
        None if numbers else score,
    )
