"""`--search`: each round looks for its own learning rate, depth and way to train, by Optuna, on development alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from toolkit.core import seeds
from toolkit.core.artifacts import make_folder
from toolkit.core.errors import InputError
from toolkit.core.study_file import StudyFile
from toolkit.corpus.splits import Round
from toolkit.finetune.epochs import KeepBest, fit
from toolkit.finetune.options import Recipe
from toolkit.finetune.recipe import least_depth
from toolkit.finetune.round_context import Job
from toolkit.models.trainable import parsed

FACTORS = 0.1, 10.0  # on the learning rate that a train mode has by itself, or that the user gave
RANDOM_TRIALS = 4  # before Optuna's TPE proposes, the first of them what would be trained without a search
UNPRUNED = 2  # trials, and epochs of each, before one is given up for being below the median


@dataclass(frozen=True)
class Search:
    """trials: of each round. train_modes: that are tried, as `Recipe.train` names them."""

    trials: int
    train_modes: tuple[str, ...]

    def recipe(self, base: Recipe, mode: str, factor: float) -> Recipe:
        new = replace(base, train=mode)
        return replace(new, learning_rate=factor * new.rate)

    def check(self, base: Recipe) -> None:
        """Raises InputError for modes that a search cannot compare."""
        if "encoder-frozen" in self.train_modes:
            raise InputError("--search cuts the encoder at different depths, and encoder-frozen needs all of it")
        for mode in self.train_modes:
            replace(base, train=mode)


def settle(
    job: Job,
    round_: Round,
    layer: str,
    search: Search,
    file: StudyFile,
    signature: str,
    folder: Path,
    say: Callable[[str], None],
) -> tuple[Recipe, str]:
    """The recipe and the layer of the round's best trial, by the loss on development of its best epoch.

    layer: what is trained without a search, and the first trial. signature: of the run, whose file this is. folder:
    private. Proposals are made in memory, by a sampler that is seeded by (seed, fold, number of trials so far); a trial
    that was stopped starts again, so a resumed search ends where an undisturbed one does.
    """
    name = f"round-{round_.fold}"
    pruner = optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED, n_warmup_steps=UNPRUNED)
    study = optuna.create_study(direction="minimize", pruner=pruner)
    study.add_trials(file.finished(name, signature)[: search.trials])
    highest = job.checkpoint.backbone.layers
    lowest = max(least_depth(replace(job.recipe, train=mode)) for mode in search.train_modes)
    first = {"train": search.train_modes[0], "factor": 1.0, "depth": max(lowest, parsed(layer)[1])}
    if first["depth"] != parsed(layer)[1]:
        say(f"{layer} is too low for --train {','.join(search.train_modes)}; the search begins at encoder.{lowest}")
    for number in range(len(study.trials), search.trials):
        seed = seeds.integer(job.seed, "finetune", round_.fold, "search", number)
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)
        if number == 0:
            study.enqueue_trial(first)
        trial = study.ask()
        mode = trial.suggest_categorical("train", search.train_modes)
        factor = trial.suggest_float("factor", *FACTORS, log=True)
        depth = trial.suggest_int("depth", lowest, highest)
        say(f"trial {number + 1} of {search.trials}: {mode}, {factor:.2g} x its learning rate, encoder.{depth}")
        recipe = search.recipe(job.recipe, mode, factor)
        loss = _tried(replace(job, recipe=recipe), round_, f"encoder.{depth}", trial, folder, say)
        pruned = loss is None
        study.tell(trial, loss, state=TrialState.PRUNED if pruned else TrialState.COMPLETE)
        file.append(name, study.trials[-1:])
    best = min((one for one in study.trials if one.state == TrialState.COMPLETE), key=_rank)
    return search.recipe(job.recipe, best.params["train"], best.params["factor"]), f"encoder.{best.params['depth']}"


def _rank(trial: Any) -> tuple[float, int]:
    """The lowest loss; of equals the earliest."""
    return trial.value, trial.number


def _tried(
    job: Job, round_: Round, layer: str, trial: optuna.Trial, folder: Path, say: Callable[[str], None]
) -> float | None:
    """The lowest loss on development of its epochs; None where it was given up on the way."""
    pruned = False

    def hopeless(epoch: int, loss: float) -> bool:
        nonlocal pruned
        trial.report(loss, epoch)
        pruned = trial.should_prune()
        return pruned

    watch = KeepBest(job, round_, make_folder(folder), say, hopeless)
    fit(job, round_.fold, round_.train, layer, folder, watch)
    return None if pruned else watch.loss
