"""What all rounds of a run share, and how clips go through a model: in batches for training, or only to be scored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor

from toolkit.audio.decode import SAMPLE_RATE
from toolkit.corpus.labels import IntArray, Task, Truth
from toolkit.finetune import distributed
from toolkit.finetune.audio_cache import Recordings
from toolkit.finetune.classifier import Classifier, pool
from toolkit.finetune.options import Recipe
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.trainable import Prepared, last_states
from toolkit.models.whisper import Context

INPUTS_SHARE = 0.25  # of the memory that is free once the clips are decoded, of all processes on this host together
EVALUATION_SECONDS = 60.0  # of audio in a batch that is only predicted


class Inputs:
    """What enters the backbone, by clip: computed once and kept while it fits into the budget (bytes)."""

    def __init__(self, budget: int) -> None:
        self._left, self._kept = budget, dict[str, Prepared]()

    def of(self, backbone: Any, recordings: Recordings, clip: str) -> Prepared:
        """A backbone's own input; all that share one have one checkpoint and context, and may differ in depth."""
        found = self._kept.get(clip)
        if found is None:
            found = backbone.prepare(recordings[clip])
            if found.bytes <= self._left:
                self._left -= found.bytes
                self._kept[clip] = found
        return found


def _budget() -> int:
    return int(psutil.virtual_memory().available * INPUTS_SHARE / distributed.here())


@dataclass(frozen=True)
class Job:
    """What all rounds of a run share. truth: in the order of ids. device: "cpu" or "cuda". history: a file.
    report_to: names of `tracking.PACKAGES`."""

    checkpoint: Checkpoint
    context: Context
    task: Task
    ids: tuple[str, ...]
    truth: Truth
    recordings: Recordings
    recipe: Recipe
    seed: int
    device: torch.device
    workers: int
    history: Path | None = None
    report_to: tuple[str, ...] = ()
    inputs: Inputs = field(default_factory=lambda: Inputs(_budget()))


def scored(job: Job, model: Classifier, clips: IntArray, alone: bool = False) -> Tensor:
    """(len(clips), outputs) logits; a clip's neighbours change them by rounding; alone, they are none."""
    result = torch.zeros(len(clips), model.outputs, device=job.device)
    was_training = model.training
    model.eval()
    with torch.no_grad(), autocast(job):
        batches = list(np.arange(len(clips))[:, None] if alone else _batches(job, model.backbone, clips))
        for rows in batches[distributed.rank() :: distributed.count()]:
            batch = _on(job.device, _joined(job, model.backbone, clips[rows]))
            result[rows] = model(**batch)["logits"]
    model.train(was_training)
    return distributed.summed(result)


def autocast(job: Job) -> torch.autocast:
    """The recipe's dtype for the products."""
    dtype = getattr(torch, job.recipe.dtype)
    return torch.autocast(job.device.type, dtype=dtype, enabled=dtype != torch.float32)


def layer_of(job: Job, backbone: Any, clips: IntArray) -> Tensor:
    """The pooled layer, float32 on the device: (len(clips), width), or twice that of both statistics."""
    statistics = job.recipe.statistics
    result = torch.zeros(len(clips), backbone.width * (2 if statistics == "both" else 1), device=job.device)
    with torch.no_grad(), autocast(job):
        for rows in list(_batches(job, backbone, clips))[distributed.rank() :: distributed.count()]:
            batch = _on(job.device, _joined(job, backbone, clips[rows]))
            values, lengths = last_states(backbone, **batch)
            result[rows] = pool(values, lengths, batch["owner"], statistics)
    return distributed.summed(result)


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
    """A batch to learn from. clips: positions; the batch has them too, to name the one that a fault is of."""
    labels = torch.from_numpy(job.truth[list(clips)])
    return {**_joined(job, backbone, clips), "labels": labels, "clips": torch.tensor(clips)}


def _joined(job: Job, backbone: Any, clips: Sequence[int] | IntArray) -> dict[str, Tensor]:
    batch: dict[str, Tensor] = backbone.collate([job.inputs.of(backbone, job.recordings, job.ids[c]) for c in clips])
    return batch


def _on(device: torch.device, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.to(device) for name, value in batch.items()}
