"""One model's training: the head's first fit, then Trainer's epochs, watched; what was stopped resumes."""

import math
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor

from toolkit.core import seeds
from toolkit.core.artifacts import commit_file
from toolkit.core.errors import MachineError
from toolkit.corpus.labels import FloatArray, IntArray, Task, Truth, middle_of
from toolkit.corpus.splits import Round
from toolkit.finetune import distributed, diverged, history, resume, tracking
from toolkit.finetune.classifier import Classifier
from toolkit.finetune.head import standard, teach
from toolkit.finetune.history import Epoch
from toolkit.finetune.recipe import blank_spans, choose_weights, parameter_groups
from toolkit.finetune.round_context import Job, collate, layer_of, scored
from toolkit.finetune.trainer import EpochOrder, FoldTrainer, arguments
from toolkit.models.load_trainable import load_trainable
from toolkit.result.kinds import criterion, decide, headline_score
from toolkit.result.thresholds import bars_of, scale_of, thresholds_of

SPAN = 10  # frames, or channels, that SpecAugment blanks in one piece


def fit(job: Job, fold: int, clips: IntArray, layer: str, folder: Path, watch: "Watch") -> Classifier:
    """Train from the checkpoint's own weights on these clips, as long as `watch` lets it; the last epoch's model.

    fold: that the round tests; whatever is random is drawn from it and the seed. folder: private, for what a stopped
    training needs to resume; on the CPU it then ends in the same bytes.
    """
    recipe, name = job.recipe, ("finetune", fold)
    backbone: Any = load_trainable(job.checkpoint, layer, job.context).to(job.device)
    backbone.recompute, backbone.layer_drop = recipe.gradient_checkpointing, recipe.layer_drop
    if recipe.spec_augment:
        backbone.augment = partial(_augment, share=recipe.spec_augment)
    pooled = layer_of(job, backbone, clips)
    diverged.check_loss(job, clips, pooled)
    torch.manual_seed(seeds.integer(job.seed, *name, "weights"))
    choose_weights(backbone, recipe)
    balanced = recipe.class_weights == "balanced"
    share, spread = middle_of(job.task, job.truth[clips])
    model = Classifier(
        backbone, job.task, share, standard(pooled), balanced, recipe.statistics, spread, recipe.loss
    ).to(job.device)
    watch.model = model
    report_to = job.report_to if watch.reports else ()
    if report_to and job.history is not None:
        run = job.history.parent
        tracking.into(run.parent.parent / tracking.FOLDER / run.name / f"fold-{fold}")
    lengths = [job.recordings.lengths[job.ids[clip]] for clip in clips]
    trainer = FoldTrainer(
        job,
        fold,
        EpochOrder(lengths, recipe.batch_size, job.seed, fold),
        model=model,
        args=arguments(job, folder, seeds.integer(job.seed, *name), keep=watch.keeps, report_to=report_to),
        train_dataset=[int(clip) for clip in clips],
        data_collator=partial(collate, job, backbone),
        optimizers=(torch.optim.AdamW(parameter_groups(model, recipe), fused=True), None),
        callbacks=[watch],
    )
    watch.taken_loss, watch.log = trainer.taken_loss, trainer.log
    trainer.remove_callback(transformers.PrinterCallback)
    resumed = distributed.main_first(watch.go_on)
    if resumed is None and recipe.head_epochs:
        teach(job, model, fold, clips, pooled)
        watch.taught()
    if watch.last == 0:
        return model
    try:
        trainer.train(resume_from_checkpoint=str(resumed.folder) if resumed else None)
    except MachineError as error:  # of a process that decodes: DataLoader makes its traceback a part of the sentence
        raise MachineError(
            str(error).strip().splitlines()[-1].removeprefix(f"{MachineError.__module__}.MachineError: ")
        ) from None
    return model


class Spent:
    """Seconds of a training: in all, and of them in steps; a stopped one takes up what it had spent."""

    def __init__(self, before: float = 0.0, learning: float = 0.0) -> None:
        self._began, self._step, self.before, self.learning = time.monotonic(), 0.0, before, learning

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self._began

    def begin_steps(self) -> None:
        self._step = time.monotonic()

    def end_steps(self) -> None:
        self.learning += time.monotonic() - self._step


class Watch(transformers.TrainerCallback):  # type: ignore[misc]
    """Lets a training run for `last` epochs of its recipe's plan, and keeps what it takes to resume after a stop.

    The learning rates are those of the whole plan: an epoch has the rates that it had when development chose it.
    """

    model: Classifier
    taken_loss: Callable[[], float | None]
    log: Callable[[dict[str, float]], None]
    keeps = True  # a checkpoint after every epoch
    reports = False  # its losses, to the user's trackers

    def __init__(self, folder: Path, last: int, spent: Spent) -> None:
        self.folder, self.last, self.spent, self.epochs = folder, last, spent, 0

    def go_on(self) -> resume.Resumable | None:
        """Take up an earlier sitting, or forget it."""
        resumed = resume.last(self.folder) if self._whole() else None
        if resumed:
            self.spent.before, self.spent.learning = resumed.seconds, resumed.learning
        else:
            for path in list(self.folder.iterdir()):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return resumed

    def _whole(self) -> bool:
        """Whether what is next to the checkpoints is as it was written."""
        return True

    def taught(self) -> None:
        """The head has had its first fit."""

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.spent.begin_steps()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.spent.end_steps()
        self.epochs = round(state.epoch)
        if self._ends(self.epochs) or self.epochs >= self.last:
            control.should_training_stop = True
            control.should_save = False  # nothing is left to resume from

    def _ends(self, epoch: int) -> bool:
        return False

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        distributed.wait()  # each one's random state is there
        if not distributed.rank():
            checkpoint = self.folder / f"checkpoint-{state.global_step}"
            resume.write(self.folder, checkpoint, self.spent.seconds, self.spent.learning)
        distributed.wait()


class KeepBest(Watch):
    """After every epoch: the loss on development, the best weights so far, an end when patience is used up.

    The best is the lowest loss (`kinds.criterion`), of equals the earliest epoch: it moves with every probability,
    where a score of so few clips moves with whole decisions. Trainer's own way (early stopping,
    `load_best_model_at_end`) keeps absolute paths and loses its patience on a restart. The files here are written
    before the epoch's checkpoint; an epoch that is done again writes the same.
    """

    def __init__(
        self,
        job: Job,
        round_: Round,
        folder: Path,
        say: Callable[[str], None],
        stop: Callable[[int, float], bool] | None = None,
    ) -> None:
        """stop: given an epoch and its loss, whether to leave it at that; such a training cannot be resumed."""
        super().__init__(folder, job.recipe.epochs, Spent())
        self.job, self.round, self.say, self.stop, self.keeps = job, round_, say, stop, stop is None
        self.reports = stop is None
        self.known = job.truth[round_.train]
        self.score: float | None = None
        self.loss, self.epoch = math.inf, 0

    def _whole(self) -> bool:
        try:
            self.score, self.loss, self.epoch = resume.read_best(self.folder)
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return True

    def go_on(self) -> resume.Resumable | None:
        resumed = super().go_on()
        if resumed is None:
            self.score, self.loss, self.epoch = None, math.inf, 0
        return resumed

    def taught(self) -> None:
        self._judge(0)

    def _ends(self, epoch: int) -> bool:
        loss = self._judge(epoch)
        return epoch - self.epoch >= self.job.recipe.patience or (self.stop is not None and self.stop(epoch, loss))

    def _judge(self, epoch: int) -> float:
        """The epoch's loss on development; its weights are kept if they are the best so far. 0: the head alone."""
        task, truth = self.job.task, self.job.truth[self.round.development]
        probability = self.model.probability(scored(self.job, self.model, self.round.development))
        if not np.isfinite(probability).all():
            clips = self.round.development
            pooled = layer_of(self.job, self.model.backbone, clips)
            raise diverged.error(self.job, self.round.fold, epoch, self.model, clips.tolist(), pooled)
        score, loss = headline_on(task, truth, probability, self.known), self._loss(truth, probability)
        self._report(epoch, loss, score)
        if loss < self.loss:
            self.score, self.loss, self.epoch = score, loss, epoch
            self._keep()
        return loss

    def _report(self, epoch: int, loss: float, score: float | None) -> None:
        """Say what the epoch came to, and how long the rest may take; keep it in the run's history."""
        fold, seconds = self.round.fold, self.spent.seconds
        training = self.taken_loss() if epoch else None
        line = f"epoch {epoch} of the round that tests fold {fold}: development loss {loss:.3f}"
        line += "" if score is None else f", score {score:.3f}"
        if training is not None:
            left = (self.last - epoch) * seconds / epoch
            line += f"; training loss {training:.3f}; {seconds:,.0f} s, at most {left:,.0f} s of it left"
        self.say(line)
        if self.job.history is not None and self.stop is None and not distributed.rank():
            history.add(self.job.history, Epoch(fold, epoch, training, loss, score, seconds))
        if self.job.report_to and self.reports and training is not None:
            self.log({"loss": training, "eval_loss": loss, **({} if score is None else {"eval_score": score})})

    def _loss(self, truth: Truth, probability: FloatArray) -> float:
        return criterion(self.job.task, truth, probability, self.known, self.job.recipe.loss)

    def _keep(self) -> None:
        if distributed.rank() or not self.keeps:
            return
        weights = {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
        commit_file(resume.best_weights(self.folder, self.epoch), lambda path: save_file(weights, path))
        resume.write_best(self.folder, self.score, self.loss, self.epoch)


def headline_on(task: Task, truth: Truth, probability: FloatArray, known: Truth) -> float | None:
    """The headline metric of these clips, of several labels with the thresholds that are best for them: optimistic.

    probability: (n, n_labels). known: of the model's training clips. None of a scale that does not vary there.
    """
    scale = scale_of(probability)
    bars = bars_of(task, middle_of(task, known)[0], scale, thresholds_of(task, truth, scale.scores(probability)))
    return headline_score(task, truth, decide(task, probability, bars))


def _augment(values: Tensor, share: float) -> Tensor:
    """SpecAugment of time and of channels. values: (batch, frames, channels)."""
    return blank_spans(blank_spans(values, share, SPAN, 1), share, SPAN, 2)
