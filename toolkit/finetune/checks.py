"""What a fine-tuning is refused for, and what its page must say, before anything is trained."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from toolkit.core.errors import InputError, SplitError, one_of
from toolkit.core.i18n import Note
from toolkit.corpus import scales
from toolkit.corpus.labels import Task, Truth, constant_labels
from toolkit.corpus.splits import Folds
from toolkit.finetune.options import Recipe
from toolkit.models.load import choose_device

TRAINING_DTYPES = ("auto", "float32", "bfloat16", "float16")


def check_search(layers: Sequence[str]) -> None:
    """Raises InputError where a round's model ends in the decoder. layers: where they end, or may end."""
    if any(layer.startswith("decoder.") for layer in layers):
        raise InputError("--search cuts the encoder at different depths, and a round's model may end in the decoder")


def shallow_notes(recipe: Recipe, shallow: Mapping[int, str]) -> list[Note]:
    return [
        Note("head_alone", {"fold": fold, "layer": layer, "train": recipe.train}) for fold, layer in shallow.items()
    ]


def check_task_options(task: Task, loss: str | None, class_weights: str | None) -> None:
    """Raises InputError for what changes nothing of such a target."""
    if loss is not None and not task.regression:
        raise InputError(f"--loss {loss} has no effect: {task.name} is no regression; leave it out")
    if class_weights == "balanced" and (task.regression or task.ordinal):
        what = "numbers" if task.regression else "levels"
        raise InputError(f"--class-weights balanced has no effect: {task.name} holds {what}, no classes; leave it out")


def check_batch_size(batch: int, clips: int) -> None:
    """Raises InputError for a batch of more clips than there are."""
    if batch > clips:
        raise InputError(f"--batch-size {batch}: there are {clips} clips")


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


def check_learnable(task: Task, truth: Truth, folds: Folds, refit: bool) -> list[Note]:
    """Notes on labels that some training part cannot teach. Raises SplitError where a round has nothing to choose by.

    refit: whether development is learnt from in the end.
    """
    notes, middle = [], "mean" if task.regression else "prevalence"
    for round_ in folds.rounds():
        where = f"the round that tests fold {round_.fold}"
        constant = constant_labels(task, truth[round_.train])
        development = truth[round_.development]
        if len(constant) == len(task.labels):
            raise SplitError(f"In {where} the training clips have nothing to tell apart; take other folds or labels")
        taught = [label not in constant for label in task.labels]
        if task.multilabel and not ((share := development[:, taught].mean(axis=0)) * (1 - share)).any():
            raise SplitError(
                f"In {where} no label that the training clips teach varies in the development clips; there is nothing "
                "to choose by"
            )
        if task.regression and np.isnan(development[:, taught]).all():
            raise SplitError(
                f"In {where} no target that varies in the training clips has a number in the development clips; there "
                "is nothing to choose by"
            )
        if task.ordinal:
            continue
        to_the_end = constant_labels(task, truth[np.union1d(round_.train, round_.development)]) if refit else constant
        for label in constant:
            fields = {"fold": round_.fold, "label": label, "what": middle}
            notes.append(Note("constant_label" if label in to_the_end else "constant_until_chosen", fields))
    return notes + (scales.missing_levels(task, truth, folds.rounds(), refit) if task.ordinal else [])
