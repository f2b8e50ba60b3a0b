"""What all rounds of a run share, and how clips go through a model: in batches for training, or only to be scored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolkit.audio import SAMPLE_RATE
from toolkit.finetune.classifier import Classifier, pool
from toolkit.finetune.recipe import Recipe
from toolkit.finetune.recordings import Recordings
from toolkit.labels import IntArray, Task
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.whisper import Context

EVALUATION_SECONDS = 60.0  # of audio in a batch that is only predicted


@dataclass(frozen=True)
class Job:
    """What all rounds of a run share. truth: in the order of ids. device: "cpu" or "cuda"."""

    checkpoint: Checkpoint
    context: Context
    task: Task
    ids: tuple[str, ...]
    truth: IntArray
    recordings: Recordings
    recipe: Recipe
    seed: int
    device: torch.device
    workers: int


def scored(job: Job, model: Classifier, clips: IntArray) -> Tensor:
    """(len(clips), n_labels) logits; a clip's own do not depend on the others."""
    result = torch.zeros(len(clips), len(job.task.labels), device=job.device)
    was_training = model.training
    model.eval()
    with torch.no_grad(), _autocast(job):
        for rows in _batches(job, model.backbone, clips):
            batch = _on(job.device, model.backbone.collate([job.recordings[job.ids[clip]] for clip in clips[rows]]))
            result[rows] = model(**batch)["logits"]
    model.train(was_training)
    return result


def _autocast(job: Job) -> torch.autocast:
    dtype = getattr(torch, job.recipe.dtype)
    return torch.autocast(job.device.type, dtype=dtype, enabled=dtype != torch.float32)


def statistics(job: Job, backbone: Any, clips: IntArray) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the pooled layer over the training clips, untrained: (width,) each."""
    pooled = []
    with torch.no_grad(), _autocast(job):
        for rows in _batches(job, backbone, clips):
            batch = _on(job.device, backbone.collate([job.recordings[job.ids[clip]] for clip in clips[rows]]))
            values, lengths = backbone.last(**batch)
            pooled.append(pool(values, lengths, batch["owner"]).double().cpu())
    whole = torch.cat(pooled)
    scale = whole.std(dim=0, correction=0)
    scale = torch.where(scale > 1e-6 * whole.abs().amax(dim=0), scale, 1.0)
    return whole.mean(dim=0).float(), scale.float()


def _batches(job: Job, backbone: Any, clips: IntArray) -> Iterator[IntArray]:
    """Rows of `clips`, shortest first, in batches of about EVALUATION_SECONDS of computed audio."""
    costs = np.array([backbone.cost(job.recordings.lengths[job.ids[clip]]) for clip in clips])
    batch: list[int] = []
    for row in np.argsort(costs, kind="stable"):
        if batch and costs[row] * (len(batch) + 1) > EVALUATION_SECONDS * SAMPLE_RATE:
            yield np.array(batch)
            batch = []
        batch.append(int(row))
    if batch:
        yield np.array(batch)


def collate(job: Job, backbone: Any, clips: Sequence[int]) -> dict[str, Tensor]:
    batch: dict[str, Tensor] = backbone.collate([job.recordings[job.ids[clip]] for clip in clips])
    return {**batch, "labels": torch.from_numpy(job.truth[list(clips)])}


def _on(device: torch.device, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.to(device) for name, value in batch.items()}
