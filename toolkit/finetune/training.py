"""One round: development chooses the epoch, then the model is trained again on all that it may see, and predicts."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from toolkit.audio.decode import SAMPLE_RATE
from toolkit.core.artifacts import make_folder
from toolkit.core.i18n import ENGLISH
from toolkit.core.platform import peak_memory
from toolkit.corpus.labels import FloatArray, IntArray, Truth, middle_of
from toolkit.corpus.splits import Round
from toolkit.finetune import distributed, resume
from toolkit.finetune.classifier import Classifier
from toolkit.finetune.epochs import KeepBest, Spent, Watch, fit
from toolkit.finetune.recipe import count
from toolkit.finetune.round_context import Job, scored
from toolkit.result.kinds import decide
from toolkit.result.thresholds import Scale, bars_of, scale_of, thresholds_of


@dataclass(frozen=True)
class Selected:
    """What development chose. epoch: of `epochs`; development, loss: its headline score and its loss there.
    thresholds: see `thresholds.thresholds_of`. seconds, learning: as `Spent` has them."""

    epoch: int
    epochs: int
    development: float | None
    loss: float
    thresholds: list[float | None]
    seconds: float
    learning: float


@dataclass(frozen=True)
class Trained:
    """A finished round. train, rate, statistics, class_weights: see `Recipe`. development, loss: the chosen epoch's.

    bars, scale: what the model's probabilities are compared with, and where they are on the clips that it learnt from;
    of numbers, mean and deviation. probability, prediction, score: of the test clips; numbers have no score.
    weights: those that learnt, by name; learning: how many numbers they are, of `parameters` in all. seconds: of
    training and evaluation, all sittings together; learning_seconds: of them those between an epoch's first step and
    its last. heard_seconds: of audio that was learnt from, every epoch counted. peak_bytes: of the device's memory, on
    the CPU of the process.
    """

    layer: str
    train: str
    rate: float
    statistics: str
    class_weights: str
    epoch: int
    epochs: int
    development: float | None
    loss: float
    bars: FloatArray
    scale: Scale
    probability: FloatArray
    prediction: Truth
    score: FloatArray
    learning: int
    parameters: int
    seconds: float
    learning_seconds: float
    heard_seconds: float
    peak_bytes: int
    weights: dict[str, Tensor]


def train(job: Job, round_: Round, layer: str, folder: Path, say: Callable[[str], None]) -> Trained:
    """Choose the epoch by development, train the model from the checkpoint's own weights, predict the test clips.

    With `Recipe.refit_on_development` the model starts again and learns the chosen number of epochs from training and
    development clips together, as a probe is fitted again; else the chosen epoch's model is kept, which never saw
    development. folder: private, for what a stopped round needs to resume; the caller deletes it. A round that was
    stopped resumes from its last epoch and ends, on the CPU, in the same bytes.
    """
    if job.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(job.device)
    recipe, clips = job.recipe, round_.train
    selection = folder / "selection"
    content = distributed.main_first(lambda: resume.read_selected(folder)) if recipe.refit_on_development else None
    model = None
    if content is None:
        selected, model = select(job, round_, layer, make_folder(selection), say)
    else:
        selected = Selected(**content)
    heard_seconds, spent = selected.epochs * _seconds(job, round_.train), Spent(selected.seconds, selected.learning)
    if recipe.refit_on_development:
        distributed.wait()  # each one has read the best weights
        if content is None and not distributed.rank():
            resume.write_selected(folder, asdict(selected))
            shutil.rmtree(selection)
        distributed.wait()
        clips, model = np.union1d(round_.train, round_.development), None  # one model in memory at a time
        say(f"the round that tests fold {round_.fold} learns again, from training and development: {_chosen(selected)}")
        again = make_folder(folder / "refit")
        model = fit(job, round_.fold, clips, layer, again, Watch(again, selected.epoch, spent))
        heard_seconds += selected.epoch * _seconds(job, clips)
    assert model is not None
    return _tested(job, round_, layer, model, clips, selected, spent, heard_seconds)


def select(
    job: Job, round_: Round, layer: str, folder: Path, say: Callable[[str], None]
) -> tuple[Selected, Classifier]:
    """Train on the training clips, and see development alone: the best epoch's model, and what it is.

    Thresholds come from the development clips' scores, standardised by the training clips' own: models for the other
    folds too, which would give every clip a score of a model that did not see it, would cost K - 1 trainings a round.
    """
    watch = KeepBest(job, round_, folder, say)
    model = fit(job, round_.fold, round_.train, layer, folder, watch)
    distributed.wait()  # the main process has written the best weights
    model.load_state_dict(load_file(resume.best_weights(folder, watch.epoch)), strict=False)
    thresholds: list[float | None] = []
    if job.task.multilabel:
        scale = scale_of(model.probability(scored(job, model, round_.train)))
        development = scale.scores(model.probability(scored(job, model, round_.development)))
        development[:, model.constant.cpu().numpy()] = np.nan
        found = thresholds_of(job.task, job.truth[round_.development], development)
        thresholds = [None if np.isnan(value) else float(value) for value in found]
    spent = watch.spent
    return Selected(
        watch.epoch, watch.epochs, watch.score, watch.loss, thresholds, spent.seconds, spent.learning
    ), model


def _tested(
    job: Job,
    round_: Round,
    layer: str,
    model: Classifier,
    clips: IntArray,
    selected: Selected,
    spent: Spent,
    heard_seconds: float,
) -> Trained:
    """The test clips' predictions by the finished model, and one more pass over the clips that it learnt from."""
    recipe, task = job.recipe, job.task
    middle, spread = middle_of(task, job.truth[clips])
    scale = Scale(middle, spread) if task.regression else scale_of(model.probability(scored(job, model, clips)))
    thresholds = np.array([np.nan if value is None else value for value in selected.thresholds])
    bars = bars_of(task, middle, scale, thresholds)
    probability = model.probability(scored(job, model, round_.test, alone=True))  # as `finetune.apply` does
    peak = peak_memory()
    if job.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(job.device)
    return Trained(
        layer,
        recipe.train,
        recipe.rate,
        recipe.statistics,
        recipe.class_weights,
        selected.epoch,
        selected.epochs,
        selected.development,
        selected.loss,
        bars,
        scale,
        probability,
        decide(task, probability, bars),
        np.empty((len(probability), 0)) if task.regression else scale.scores(probability),
        count(model),
        sum(weight.numel() for weight in model.parameters()),
        spent.seconds,
        spent.learning,
        heard_seconds,
        peak,
        {name: value.cpu() for name, value in model.state_dict().items()},
    )


def _seconds(job: Job, clips: IntArray) -> float:
    return sum(job.recordings.lengths[job.ids[clip]] for clip in clips) / SAMPLE_RATE


def _chosen(selected: Selected) -> str:
    return (
        ENGLISH.counted(selected.epoch, "epoch")
        if selected.epoch
        else "the head alone, for no epoch was better than that"
    )
