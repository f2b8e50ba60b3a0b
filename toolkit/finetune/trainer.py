"""transformers' Trainer as a round of fine-tuning uses it: our order of the clips, our own guard over the loss."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from toolkit.core import seeds
from toolkit.core.errors import MachineError
from toolkit.finetune import distributed, diverged
from toolkit.finetune.classifier import Classifier, pool
from toolkit.finetune.round_context import Job, autocast
from toolkit.models.trainable import last_states

SORTED_TOGETHER = 16  # batches; among their clips a step takes clips of like length


def arguments(job: Job, folder: Path, seed: int, *, keep: bool, report_to: Sequence[str] = ()) -> Any:
    """keep: write a checkpoint after every epoch, so that the round can resume from it."""
    recipe, cuda = job.recipe, job.device.type == "cuda"
    made = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size // recipe.grad_accum_steps // distributed.count(),
        gradient_accumulation_steps=recipe.grad_accum_steps,
        learning_rate=recipe.rate,  # of the groups each has its own
        lr_scheduler_type="linear",
        warmup_steps=recipe.warmup,  # below 1: a share
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.dtype == "bfloat16",
        fp16=recipe.dtype == "float16",
        use_cpu=not cuda,
        ddp_find_unused_parameters=recipe.layer_drop > 0,
        dataloader_num_workers=job.workers if cuda and not job.recordings.samples else 0,
        dataloader_pin_memory=cuda,
        save_strategy="epoch" if keep else "no",
        save_total_limit=2,  # the last one and, until that is trusted, the one before
        eval_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        log_level="error",
        report_to=list(report_to) or "none",
        remove_unused_columns=False,
        label_names=["labels"],
        seed=seed,
    )
    if made.n_gpu > 1:  # else Trainer would split each batch over every device in sight
        made._n_gpu = 1
    return made


class FoldTrainer(transformers.Trainer):  # type: ignore[misc]
    """Trainer, with clips in our own order. job, fold: what it trains and the fold that the round tests."""

    def __init__(self, job: Job, fold: int, order: "EpochOrder", **options: Any) -> None:
        super().__init__(**options)
        self.job, self.fold, self.order = job, fold, order
        self._loss: Any = 0.0  # the sum over the steps since it was last taken
        self._steps = 0

    def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        """As Trainer does; a loss that is no number ends the run, and says what it is of."""
        clips = inputs.pop("clips")
        found = super().compute_loss(model, inputs, *arguments, **options)
        loss = found[0] if isinstance(found, tuple) else found
        if not torch.isfinite(loss):
            raise self._diverged(self.accelerator.unwrap_model(model), inputs, clips.tolist())
        self._loss, self._steps = self._loss + loss.detach().float(), self._steps + 1
        return found

    def taken_loss(self) -> float | None:
        """The mean loss of the steps since the last call; None without any."""
        loss, steps = self._loss, self._steps
        self._loss, self._steps = 0.0, 0
        return float(loss) / steps if steps else None

    def _diverged(self, model: Classifier, inputs: dict[str, Any], clips: Sequence[int]) -> MachineError:
        batch = {name: value for name, value in inputs.items() if name != "labels"}
        with torch.no_grad(), autocast(self.job):
            values, lengths = last_states(model.backbone, **batch)
            pooled = pool(values, lengths, batch["owner"], model.statistics)
        return diverged.error(self.job, self.fold, int(self.state.epoch or 0) + 1, model, clips, pooled)

    def _get_train_sampler(self, train_dataset: Any = None) -> "EpochOrder":
        return self.order

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """A checkpoint lacks what does not learn, on purpose: it is the backbone's own, loaded before."""


class EpochOrder(torch.utils.data.Sampler[int]):
    """Every epoch another order, clips of like length in one step; it depends on seed, fold and epoch alone.

    Every step has as many clips: what the last one lacks is taken from the epoch's first, so that a batch in parts, or
    shared out to processes, is always the same batch.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int, fold: int) -> None:
        self.lengths, self.batch, self.names, self.epoch = np.array(lengths), batch, (seed, fold), 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch) * self.batch

    def __iter__(self) -> Iterator[int]:
        seed, fold = self.names
        generator = seeds.generator(seed, "finetune", fold, "order", self.epoch)
        order = np.resize(generator.permutation(len(self.lengths)), len(self))
        steps: list[np.ndarray[Any, Any]] = []
        for start in range(0, len(order), SORTED_TOGETHER * self.batch):
            some = order[start : start + SORTED_TOGETHER * self.batch]
            some = some[np.argsort(self.lengths[some], kind="stable")]
            steps += list(some.reshape(-1, self.batch))
        return iter(int(clip) for number in generator.permutation(len(steps)) for clip in steps[number])
