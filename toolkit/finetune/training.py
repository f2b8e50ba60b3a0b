"""One round of fine-tuning: transformers' Trainer on the training clips, the best epoch chosen on development."""

import math
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from toolkit import seeds
from toolkit.errors import MachineError
from toolkit.finetune import trusted
from toolkit.finetune.classifier import Classifier
from toolkit.finetune.job import Job, collate, scored, statistics
from toolkit.finetune.recipe import blank_spans, choose_weights, count, parameter_groups
from toolkit.labels import IntArray
from toolkit.models.trainable import load_trainable
from toolkit.result.decide import decide, thresholds_of
from toolkit.result.metrics import headline_score
from toolkit.runs import commit_file
from toolkit.splits import Round

FloatArray = npt.NDArray[np.float64]
SORTED_TOGETHER = 16  # batches; among their clips a step takes clips of like length
SPAN = 10  # frames, or channels, that SpecAugment blanks in one piece


@dataclass(frozen=True)
class Trained:
    """A finished round. development: the best epoch's score; probability, prediction: of the test clips.

    weights: those that learnt, by name. seconds: of training, all sittings together. peak_bytes: of the device's
    memory, on the CPU of the process.
    """

    layer: str
    epoch: int
    epochs: int
    development: float
    thresholds: FloatArray
    probability: FloatArray
    prediction: IntArray
    parameters: int
    seconds: float
    peak_bytes: int
    weights: dict[str, Tensor]


def train(job: Job, round_: Round, layer: str, folder: Path, say: Callable[[str], None]) -> Trained:
    """Train one round's model from the checkpoint's own weights and predict its test clips.

    folder: private, for what a stopped round needs to go on; the caller deletes it. A round that was stopped goes on
    from its last epoch and ends, on the CPU, in the same bytes.
    """
    began = time.monotonic()
    recipe, name = job.recipe, ("finetune", round_.fold)
    if job.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(job.device)
    backbone: Any = load_trainable(job.checkpoint, layer, job.context).to(job.device)
    backbone.recompute, backbone.layer_drop = recipe.recompute, recipe.layer_drop
    if recipe.spec_augment:
        backbone.augment = partial(_augment, share=recipe.spec_augment)
    standard = statistics(job, backbone, round_.train)
    torch.manual_seed(seeds.integer(job.seed, *name, "weights"))
    choose_weights(backbone, recipe)
    model = Classifier(backbone, job.task, job.truth[round_.train], standard).to(job.device)
    best = KeepBest(job, model, round_, folder, began, say)
    trainer = FoldTrainer(
        model=model,
        args=_arguments(job, folder, seeds.integer(job.seed, *name)),
        train_dataset=[int(clip) for clip in round_.train],
        data_collator=partial(collate, job, backbone),
        optimizers=(torch.optim.AdamW(parameter_groups(model, recipe)), None),
        callbacks=[best],
    )
    trainer.order = EpochOrder(
        [job.recordings.lengths[job.ids[clip]] for clip in round_.train], recipe.batch, job.seed, round_.fold
    )
    trainer.remove_callback(transformers.PrinterCallback)
    resumed = trusted.last(folder)
    best.before = resumed.seconds if resumed else 0.0
    best.read(resumed is not None)
    trainer.train(resume_from_checkpoint=str(resumed.folder) if resumed else None)
    model.load_state_dict(load_file(trusted.best_weights(folder, best.epoch)), strict=False)
    return _finished(job, model, round_, best, trainer)


def _finished(job: Job, model: Classifier, round_: Round, best: "KeepBest", trainer: Any) -> Trained:
    tuned, tested = (model.probability(scored(job, model, part)) for part in (round_.development, round_.test))
    thresholds = thresholds_of(job.task, job.truth[round_.development], tuned)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if job.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(job.device)
    return Trained(
        model.backbone.layer,
        best.epoch,
        round(trainer.state.epoch),
        best.score,
        thresholds,
        tested,
        decide(job.task, tested, thresholds),
        count(model),
        best.elapsed,
        peak,
        {name: value.cpu() for name, value in model.state_dict().items()},
    )


def _arguments(job: Job, folder: Path, seed: int) -> Any:
    recipe, cuda = job.recipe, job.device.type == "cuda"
    steps_a_part = recipe.batch // recipe.accumulate
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=steps_a_part,
        gradient_accumulation_steps=recipe.accumulate,
        learning_rate=recipe.rate,  # of the groups each has its own
        lr_scheduler_type="linear",
        warmup_steps=recipe.warmup,  # below 1: a share
        max_grad_norm=recipe.gradient_norm,
        bf16=recipe.dtype == "bfloat16",
        fp16=recipe.dtype == "float16",
        use_cpu=not cuda,
        dataloader_num_workers=job.workers if cuda else 0,
        dataloader_pin_memory=cuda,
        save_strategy="epoch",
        save_total_limit=2,  # the last one and, until that is trusted, the one before
        eval_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        log_level="error",
        report_to="none",
        remove_unused_columns=False,
        label_names=["labels"],
        seed=seed,
    )
    if arguments.n_gpu > 1:  # else Trainer would split each batch over every device in sight
        arguments._n_gpu = 1
    return arguments


class FoldTrainer(transformers.Trainer):  # type: ignore[misc]
    """Trainer, with clips in our own order."""

    order: "EpochOrder"

    def _get_train_sampler(self, train_dataset: Any = None) -> "EpochOrder":
        return self.order

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """A checkpoint lacks what does not learn, on purpose: it is the backbone's own, loaded before."""


class EpochOrder(torch.utils.data.Sampler[int]):
    """Every epoch another order, clips of like length in one step; it depends on seed, fold and epoch alone."""

    def __init__(self, lengths: Sequence[int], batch: int, seed: int, fold: int) -> None:
        self.lengths, self.batch, self.names, self.epoch = np.array(lengths), batch, (seed, fold), 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        seed, fold = self.names
        generator = seeds.generator(seed, "finetune", fold, "order", self.epoch)
        order = generator.permutation(len(self.lengths))
        whole = len(order) // self.batch * self.batch
        steps: list[IntArray] = []
        for start in range(0, whole, SORTED_TOGETHER * self.batch):
            some = order[start : min(whole, start + SORTED_TOGETHER * self.batch)]
            some = some[np.argsort(self.lengths[some], kind="stable")]
            steps += list(some.reshape(-1, self.batch))
        mixed = [steps[number] for number in generator.permutation(len(steps))]
        return iter(int(clip) for step in (*mixed, order[whole:]) for clip in step)


class KeepBest(transformers.TrainerCallback):  # type: ignore[misc]
    """After every epoch: the development score, the best weights so far, an end when patience is used up.

    Trainer's own way (early stopping, `load_best_model_at_end`) keeps absolute paths and loses its patience on a
    restart. The files here are written before the epoch's checkpoint; an epoch that is done again writes the same.
    """

    def __init__(
        self, job: Job, model: Classifier, round_: Round, folder: Path, began: float, say: Callable[[str], None]
    ) -> None:
        self.job, self.model, self.round, self.folder, self.say = job, model, round_, folder, say
        self.began, self.before = began, 0.0
        self.score, self.loss, self.epoch = -1.0, math.inf, 0

    @property
    def elapsed(self) -> float:
        return self.before + time.monotonic() - self.began

    def read(self, resumed: bool) -> None:
        """Go on from an earlier sitting, or forget it."""
        if resumed:
            self.score, self.loss, self.epoch = trusted.read_best(self.folder)
        else:
            for path in list(self.folder.iterdir()):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        epoch = round(state.epoch)
        truth = self.job.truth[self.round.development]
        logits = scored(self.job, self.model, self.round.development)
        probability = self.model.probability(logits)
        if not np.isfinite(probability).all():
            raise MachineError(
                f"Epoch {epoch} of the round that tests fold {self.round.fold} left no finite numbers in "
                f"{self.job.recipe.dtype}; take a smaller --learning-rate, or --dtype float32"
            )
        prediction = decide(self.job.task, probability, thresholds_of(self.job.task, truth, probability))
        score = headline_score(self.job.task, truth, prediction)
        assert score is not None  # the run has seen to it that the development set has labels
        self.say(f"epoch {epoch} of the round that tests fold {self.round.fold}: development {score:.3f}")
        loss = self._loss(logits, truth)
        if (score, -loss) > (self.score, -self.loss):  # small development sets have many equal scores
            self.score, self.loss, self.epoch = score, loss, epoch
            own = {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
            commit_file(trusted.best_weights(self.folder, epoch), lambda path: save_file(own, path))
            trusted.write_best(self.folder, score, loss, epoch)
        if epoch - self.epoch >= self.job.recipe.patience:
            control.should_training_stop = True
        if control.should_training_stop or epoch >= self.job.recipe.epochs:
            control.should_save = False  # nothing is left to go on with

    def _loss(self, logits: Tensor, truth: IntArray) -> float:
        """Over the clips whose label was there to be learnt."""
        labels = torch.from_numpy(truth).to(logits.device)
        if not self.job.task.multilabel:
            known = ~self.model.constant[labels]
            logits, labels = logits[known], labels[known]
        return float(self.model.loss(logits, labels)) if len(labels) else math.inf

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        trusted.write(self.folder, self.folder / f"checkpoint-{state.global_step}", self.elapsed)


def _augment(values: Tensor, share: float) -> Tensor:
    """SpecAugment of time and of channels. values: (batch, frames, channels)."""
    return blank_spans(blank_spans(values, share, SPAN, 1), share, SPAN, 2)
