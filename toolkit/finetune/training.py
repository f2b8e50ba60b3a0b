"""One round of fine-tuning: transformers' Trainer on the training clips, the best epoch chosen on development."""

import math
import resource
import shutil
import time
from collections.abc import Callable
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
from toolkit.audio import SAMPLE_RATE
from toolkit.errors import MachineError
from toolkit.finetune import processes, trusted
from toolkit.finetune.classifier import Classifier
from toolkit.finetune.head import standard, teach
from toolkit.finetune.job import Job, collate, layer_of, scored
from toolkit.finetune.recipe import blank_spans, choose_weights, count, parameter_groups
from toolkit.finetune.trainer import EpochOrder, FoldTrainer, arguments
from toolkit.labels import IntArray, one_hot
from toolkit.models.trainable import load_trainable
from toolkit.result.decide import decide, thresholds_of
from toolkit.result.metrics import headline_score
from toolkit.runs import commit_file
from toolkit.splits import Round

FloatArray = npt.NDArray[np.float64]
SPAN = 10  # frames, or channels, that SpecAugment blanks in one piece


@dataclass(frozen=True)
class Trained:
    """A finished round. train, rate: see `Recipe`. development: the best epoch's score.

    probability, prediction: of the test clips. weights: those that learnt, by name; learning: how many numbers they
    are, of `parameters` in all. seconds: of training and evaluation, all sittings together; learning_seconds: of them
    those between an epoch's first step and its last. heard_seconds: of audio that it learnt from, every epoch counted.
    peak_bytes: of the device's memory, on the CPU of the process.
    """

    layer: str
    train: str
    rate: float
    epoch: int
    epochs: int
    development: float
    thresholds: FloatArray
    probability: FloatArray
    prediction: IntArray
    learning: int
    parameters: int
    seconds: float
    learning_seconds: float
    heard_seconds: float
    peak_bytes: int
    weights: dict[str, Tensor]


def train(job: Job, round_: Round, layer: str, folder: Path, say: Callable[[str], None]) -> Trained:
    """Train one round's model from the checkpoint's own weights and predict its test clips.

    folder: private, for what a stopped round needs to go on; the caller deletes it. A round that was stopped goes on
    from its last epoch and ends, on the CPU, in the same bytes.
    """
    if job.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(job.device)
    model, best = fit(job, round_, layer, folder, say)
    model.load_state_dict(load_file(trusted.best_weights(folder, best.epoch)), strict=False)
    tuned = model.probability(scored(job, model, round_.development))
    tested = model.probability(scored(job, model, round_.test, alone=True))  # as `finetune.apply` does
    thresholds = thresholds_of(job.task, job.truth[round_.development], tuned)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if job.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(job.device)
    return Trained(
        layer,
        job.recipe.train,
        job.recipe.rate,
        best.epoch,
        best.epochs,
        best.score,
        thresholds,
        tested,
        decide(job.task, tested, thresholds),
        count(model),
        sum(weight.numel() for weight in model.parameters()),
        best.spent.seconds,
        best.spent.learning,
        best.epochs * sum(job.recordings.lengths[job.ids[clip]] for clip in round_.train) / SAMPLE_RATE,
        peak,
        {name: value.cpu() for name, value in model.state_dict().items()},
    )


def fit(
    job: Job,
    round_: Round,
    layer: str,
    folder: Path,
    say: Callable[[str], None],
    stop: Callable[[int, float], bool] | None = None,
) -> tuple[Classifier, "KeepBest"]:
    """Train on the training clips, and see development alone. Returns the last epoch's model, and which was the best.

    stop: given an epoch and its development score, whether to leave it at that; such a training cannot be gone on with.
    """
    recipe, name = job.recipe, ("finetune", round_.fold)
    spent = Spent()
    backbone: Any = load_trainable(job.checkpoint, layer, job.context).to(job.device)
    backbone.recompute, backbone.layer_drop = recipe.recompute, recipe.layer_drop
    if recipe.spec_augment:
        backbone.augment = partial(_augment, share=recipe.spec_augment)
    pooled = layer_of(job, backbone, round_.train)
    _refuse_broken(job, round_, pooled)
    torch.manual_seed(seeds.integer(job.seed, *name, "weights"))
    choose_weights(backbone, recipe)
    share = one_hot(job.task, job.truth[round_.train]).mean(axis=0)
    balanced = recipe.class_weights == "balanced"
    model = Classifier(backbone, job.task, share, standard(pooled), balanced).to(job.device)
    best = KeepBest(job, model, round_, folder, spent, say, stop)
    lengths = [job.recordings.lengths[job.ids[clip]] for clip in round_.train]
    trainer = FoldTrainer(
        job,
        round_.fold,
        EpochOrder(lengths, recipe.batch, job.seed, round_.fold),
        model=model,
        args=arguments(job, folder, seeds.integer(job.seed, *name), keep=stop is None),
        train_dataset=[int(clip) for clip in round_.train],
        data_collator=partial(collate, job, backbone),
        optimizers=(torch.optim.AdamW(parameter_groups(model, recipe), fused=True), None),
        callbacks=[best],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    resumed = processes.main_first(best.go_on)
    if resumed is None and recipe.head_epochs:
        teach(job, model, round_, pooled)
        best.judge(0)
    try:
        trainer.train(resume_from_checkpoint=str(resumed.folder) if resumed else None)
    except MachineError as error:  # of a process that decodes: DataLoader makes its traceback a part of the sentence
        raise MachineError(
            str(error).strip().splitlines()[-1].removeprefix(f"{MachineError.__module__}.MachineError: ")
        ) from None
    return model, best


def _refuse_broken(job: Job, round_: Round, pooled: Tensor) -> None:
    broken = round_.train[~torch.isfinite(pooled).all(dim=1).cpu().numpy()]
    if len(broken):
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        raise MachineError(
            f"The untrained backbone gives no finite numbers for clip {job.ids[broken[0]]!r}{more} in "
            f"{job.recipe.dtype}; take --dtype float32, or leave the clip out"
        )


class Spent:
    """Seconds of a round: in all, and of them in steps; a stopped round takes up what it had spent."""

    def __init__(self) -> None:
        self._began, self._step, self.before, self.learning = time.monotonic(), 0.0, 0.0, 0.0

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self._began

    def begin_steps(self) -> None:
        self._step = time.monotonic()

    def end_steps(self) -> None:
        self.learning += time.monotonic() - self._step


class KeepBest(transformers.TrainerCallback):  # type: ignore[misc]
    """After every epoch: the development score, the best weights so far, an end when patience is used up.

    Trainer's own way (early stopping, `load_best_model_at_end`) keeps absolute paths and loses its patience on a
    restart. The files here are written before the epoch's checkpoint; an epoch that is done again writes the same.
    """

    def __init__(
        self,
        job: Job,
        model: Classifier,
        round_: Round,
        folder: Path,
        spent: Spent,
        say: Callable[[str], None],
        stop: Callable[[int, float], bool] | None,
    ) -> None:
        self.job, self.model, self.round, self.folder, self.say = job, model, round_, folder, say
        self.spent, self.stop = spent, stop
        self.score, self.loss, self.epoch, self.epochs = -1.0, math.inf, 0, 0

    def go_on(self) -> trusted.Resumable | None:
        """Take up an earlier sitting, or forget it."""
        resumed = trusted.last(self.folder)
        if resumed:
            self.score, self.loss, self.epoch = trusted.read_best(self.folder)
            self.spent.before, self.spent.learning = resumed.seconds, resumed.learning
        else:
            for path in list(self.folder.iterdir()):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return resumed

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.spent.begin_steps()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.spent.end_steps()
        self.epochs = epoch = round(state.epoch)
        score = self.judge(epoch)
        if epoch - self.epoch >= self.job.recipe.patience or (self.stop is not None and self.stop(epoch, score)):
            control.should_training_stop = True
        if control.should_training_stop or epoch >= self.job.recipe.epochs:
            control.should_save = False  # nothing is left to go on with

    def judge(self, epoch: int) -> float:
        """The epoch's development score; its weights are kept if they are the best so far. 0: the head alone."""
        truth = self.job.truth[self.round.development]
        logits = scored(self.job, self.model, self.round.development)
        probability = self.model.probability(logits)
        if not np.isfinite(probability).all():
            raise MachineError(
                f"Epoch {epoch} of the round that tests fold {self.round.fold} left no finite numbers in "
                f"{self.job.recipe.dtype}; take a smaller {'--learning-rate' if epoch else '--head-rate'}, or "
                "--dtype float32"
            )
        prediction = decide(self.job.task, probability, thresholds_of(self.job.task, truth, probability))
        score = headline_score(self.job.task, truth, prediction)
        assert score is not None  # the run has seen to it that the development set has labels
        self.say(f"epoch {epoch} of the round that tests fold {self.round.fold}: development {score:.3f}")
        loss = self._loss(logits, truth)
        if (score, -loss) > (self.score, -self.loss):  # small development sets have many equal scores
            self.score, self.loss, self.epoch = score, loss, epoch
            self._keep()
        return score

    def _keep(self) -> None:
        if processes.rank() or self.stop is not None:
            return
        own = {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
        commit_file(trusted.best_weights(self.folder, self.epoch), lambda path: save_file(own, path))
        trusted.write_best(self.folder, self.score, self.loss, self.epoch)

    def _loss(self, logits: Tensor, truth: IntArray) -> float:
        """Over the clips whose label was there to be learnt."""
        labels = torch.from_numpy(truth).to(logits.device)
        if not self.job.task.multilabel:
            known = ~self.model.constant[labels]
            logits, labels = logits[known], labels[known]
        return float(self.model.loss(logits, labels)) if len(labels) else math.inf

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        processes.wait()  # each one's random state is there
        if not processes.rank():
            checkpoint = self.folder / f"checkpoint-{state.global_step}"
            trusted.write(self.folder, checkpoint, self.spent.seconds, self.spent.learning)
        processes.wait()


def _augment(values: Tensor, share: float) -> Tensor:
    """SpecAugment of time and of channels. values: (batch, frames, channels)."""
    return blank_spans(blank_spans(values, share, SPAN, 1), share, SPAN, 2)
