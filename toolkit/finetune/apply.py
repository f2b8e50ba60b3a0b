"""The models that a fine-tuning kept (`--save-weights`), on other clips; on its own test clips, the run's own bits."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from toolkit.core.artifacts import read_hashed, sha256_of_file
from toolkit.core.errors import InputError, MachineError, StoreError
from toolkit.core.progress import Advance, quiet
from toolkit.core.registry import check_plugins
from toolkit.corpus.labels import IntArray, Task
from toolkit.finetune.audio_cache import Recordings
from toolkit.finetune.classifier import Classifier
from toolkit.finetune.options import Recipe
from toolkit.finetune.recipe import choose_weights
from toolkit.finetune.round_context import Job, scored
from toolkit.finetune.rounds import OWN_HASH, WEIGHTS
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.load import choose_device
from toolkit.models.load_trainable import load_trainable
from toolkit.result.run import Run
from toolkit.result.thresholds import Scale

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Kept:
    """One round's trained weights. described: what is next to them as JSON.

    bars: (n_labels,) what `thresholds.decide` compares its probabilities with. scale: by which they
    become scores that the rounds share.
    """

    weights: Path
    described: Mapping[str, Any]
    bars: FloatArray
    scale: Scale

    @property
    def recipe(self) -> Recipe:
        return Recipe(**self.described["recipe"])

    @property
    def prevalence(self) -> FloatArray:
        """(n_labels,) of each label in the clips that it was fitted on; read from the weights."""
        with safe_open(self.weights, "pt") as file:
            return np.asarray(file.get_tensor("prevalence").double())


def of_run(folder: Path, run: Run, checkpoint: Checkpoint) -> list[Kept]:
    """The models that a run kept, one per round, in the order of its choices; each file's hash is checked.

    Raises InputError where the run kept none, StoreError for damaged weights or those of another run or checkpoint.
    """
    check_plugins(run.provenance, folder.name)
    if not (folder / WEIGHTS).is_dir():
        raise InputError(f"{folder.name} kept no weights; fine-tune with --save-weights")
    found = []
    for choice in run.choices:
        weights = folder / WEIGHTS / f"round-{choice.fold}.safetensors"
        where = f"{folder.name}/{WEIGHTS}/{weights.stem}"
        try:
            described = read_hashed(weights.with_suffix(".json"), OWN_HASH)
            kept = kept_in(weights, described)
            mine = {"fold": choice.fold, "layer": choice.setting["layer"], "epoch": choice.setting["best epoch"],
                    "labels": list(run.task.labels), "folds": run.provenance["folds"], "seed": run.provenance["seed"],
                    "weights_sha256": run.provenance["weights_sha256"]}  # fmt: skip
            other = [name for name, value in mine.items() if described[name] != value]
            whole = sha256_of_file(weights) == described["sha256"]
            Recipe(**described["recipe"])
        except FileNotFoundError as error:
            raise StoreError(
                f"{where}: there is no {Path(error.filename).name}; expected a model for each round"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, InputError) as error:
            raise StoreError(f"{where}.json is damaged, or of an older version: {error!r}") from None
        if other:
            raise StoreError(f"{where} is the model of another run: its {other[0]} is not this run's")
        if not whole:
            raise StoreError(f"{where}.safetensors is damaged: its SHA-256 is not the one next to it")
        if described["weights_sha256"] != checkpoint.weights_sha256:
            raise StoreError(
                f"The checkpoint {checkpoint.name} has other weights than those that {folder.name} trained"
            )
        found.append(kept)
    return found


def kept_in(weights: Path, described: Mapping[str, Any]) -> Kept:
    """One round's model from what is next to its weights. Raises KeyError or ValueError for what is not all there."""
    bars, centre, spread = (np.array(described[name], dtype=np.float64) for name in ("bars", "centre", "spread"))
    return Kept(weights, described, bars, Scale(centre, spread))


def apply(
    task: Task,
    kept: Sequence[Kept],
    checkpoint: Checkpoint,
    recordings: Recordings,
    ids: Sequence[str],
    rows: Sequence[IntArray],
    device: str = "auto",
    advance: Advance = quiet,
) -> list[FloatArray]:
    """Each round's probabilities (n, n_labels) of its own clips, `rows` of `ids`; one model is in memory at a time.

    Every clip runs alone, as the run tested it, and on the processor with as many threads: then it gets the same bits.
    Raises MachineError where a clip gets no finite number.
    """
    chosen = choose_device(device)
    if chosen.type == "cpu" and any(model.recipe.dtype == "float16" for model in kept):
        raise InputError("The run was trained in float16, which CUDA devices alone compute; take --device cuda")
    job = Job(checkpoint, kept[0].described["context"], task, tuple(ids), np.empty(0, np.int64), recordings,
              kept[0].recipe, 0, chosen, 1)  # fmt: skip
    found = []
    for model, clips in zip(kept, rows, strict=True):
        if not len(clips):
            found.append(np.empty((0, len(task.labels))))
            continue
        with _threads(model.described["threads"]):
            probability = _probability(replace(job, recipe=model.recipe), model, clips, advance)
        if not np.isfinite(probability).all():
            raise MachineError(f"{model.weights.stem} gives numbers that are not finite in {model.recipe.dtype}")
        found.append(probability)
    return found


def _probability(job: Job, model: Kept, clips: IntArray, advance: Advance) -> FloatArray:
    classifier = _loaded(job, model)
    parts = []
    for clip in clips:
        parts.append(classifier.probability(scored(job, classifier, np.array([clip]), alone=True)))
        advance(1, 0.0)
    return np.concatenate(parts)


def _loaded(job: Job, model: Kept) -> Classifier:
    backbone = load_trainable(job.checkpoint, model.described["layer"], job.context)
    return filled(backbone, job.task, model).to(job.device)


def filled(backbone: Any, task: Task, model: Kept) -> Classifier:
    """The checkpoint with the weights that learnt in their place. Raises StoreError for weights of another model.

    backbone: a `Trainable` up to the model's layer; changed in place.
    """
    recipe = model.recipe
    choose_weights(backbone, recipe)
    values = load_file(model.weights)
    try:
        share = values["prevalence"].double().numpy()
        balanced = recipe.class_weights == "balanced"
        standard = values["centre"], values["scale"]
        spread = values["spread"].double().numpy() if task.regression else None
        classifier = Classifier(backbone, task, share, standard, balanced, recipe.statistics, spread, recipe.loss)
        if classifier.state_dict().keys() != values.keys():
            raise KeyError("other weights than its recipe trains")
        classifier.load_state_dict(values, strict=False)
    except (KeyError, RuntimeError) as error:
        raise StoreError(f"{model.weights.name} does not fit its recipe: {error}") from None
    return classifier


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """A sum's last bit can depend on how many threads shared it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
