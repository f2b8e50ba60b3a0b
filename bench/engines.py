"""The mlp and lightgbm engines beside the loops that a user would write.

    python bench/engines.py mlp|lightgbm [--clips 5000] [--width 768] [--labels 7] [--trials 30] [--loop-seconds 60]
        [--workers 2]

mlp: the first trials of each fold, `--trials` networks in stacks of ten as `toolkit probe` fits them; the loops train
the same networks one by one, each for as many epochs as ours ran; once on all threads, their default, and once on one;
past --loop-seconds a loop stops and its time is scaled up, marked "~". lightgbm: the folds --rounds, ours side by
side; the loop is Optuna's TPE around lgb.train on a dataset built for every trial, in the same space, one fold after
the other; the figure is when the toolkit has reached the loop's lowest development loss in all.
"""

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import lightgbm
import numpy as np
import optuna
import torch
from probe import FOLDS, synthetic
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sweep import Layers, print_rows
from threadpoolctl import threadpool_limits

from toolkit.core.artifacts import STUDY_FILE
from toolkit.core.study_file import StudyFile
from toolkit.probe.batched_training import BATCH_CLIPS, MAX_EPOCHS, PATIENCE
from toolkit.probe.boosting import BoostingFitter
from toolkit.probe.networks import NetworkFitter
from toolkit.probe.optuna_study import Report, distribution, search
from toolkit.probe.protocol import Setting
from toolkit.probe.registry import PROBES
from toolkit.probe.search import BATCH
from toolkit.probe.targets import ALL, Targets, scaler_of, targets_of
from toolkit.result.thresholds import balanced_log_loss

CLOCKS = {"wall": time.perf_counter, "processor": time.thread_time}
Job = tuple[np.ndarray, np.ndarray, Setting, int]  # training features, truth, setting, epochs


def drawn(name: str, number: int) -> list[Setting]:
    """Settings at random from a probe's space."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = {parameter: distribution(range_) for parameter, range_ in PROBES[name].space.items()}
    return [study.ask(space).params for _ in range(number)]


def scikit_learn(job: Job) -> None:
    features, truth, setting, epochs = job
    MLPClassifier(
        hidden_layer_sizes=(int(setting["width"]),) * int(setting["depth"]),
        alpha=float(setting["weight_decay"]),
        batch_size=min(BATCH_CLIPS, len(features)),
        learning_rate_init=float(setting["learning_rate"]),
        max_iter=epochs,
        n_iter_no_change=epochs + 1,
    ).fit(features, truth)


def torch_alone(job: Job) -> None:
    features, truth, setting, epochs = job
    inputs, targets = torch.from_numpy(features), torch.from_numpy(truth)
    widths = [inputs.shape[1], *[int(setting["width"])] * int(setting["depth"])]
    layers: list[torch.nn.Module] = []
    for before, after in pairwise(widths):
        layers += [torch.nn.Linear(before, after), torch.nn.ReLU(), torch.nn.Dropout(float(setting["dropout"]))]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], int(truth.max()) + 1))
    rate, decay = float(setting["learning_rate"]), float(setting["weight_decay"])
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)
    for _ in range(epochs):
        for clips in torch.randperm(len(inputs)).split(BATCH_CLIPS):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(inputs[clips]), targets[clips]).backward()
            optimiser.step()


def scaled(fit: Callable[[Job], None], jobs: list[Job], limit: float) -> tuple[float, float, bool]:
    """Seconds for all jobs, of processor, and whether that is scaled up from some of them, by epochs."""
    done, begun, spent = 0, time.perf_counter(), time.process_time()
    for job in jobs:
        fit(job)
        done += job[3]
        if time.perf_counter() - begun > limit:
            break
    share = done / sum(job[3] for job in jobs)
    return (time.perf_counter() - begun) / share, (time.process_time() - spent) / share, share < 1


def mlp(options: argparse.Namespace) -> Iterator[str]:
    case = synthetic(options.clips, options.width, options.labels, "multiclass")
    layer = Layers(case, 1).layer("encoder.0")
    settings = drawn("mlp", options.trials)

    def fold(number: int) -> list[int]:
        fitter = NetworkFitter([layer], case.task, case.truth, 0, mix=False)
        train, development = case.parts()[number]
        batches = [settings[start : start + BATCH] for start in range(0, len(settings), BATCH)]
        fits = [fit for batch in batches for fit in fitter.search(train, development, batch, f"round {number}")]
        return [min(fit.found[ALL] + PATIENCE, MAX_EPOCHS) for fit in fits]

    begun, spent = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(options.workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        epochs = list(pool.map(fold, range(FOLDS)))
    ours, spent = time.perf_counter() - begun, time.process_time() - spent
    yield (
        f"toolkit, {options.workers} workers: {ours:.1f} s, {spent:.1f} s of processor, development losses included; "
        f"{sum(map(sum, epochs))} epochs of one network"
    )
    jobs = []
    for (train, _), counts in zip(case.parts(), epochs):
        matrices = {name: layer.matrix(name)[train] for name in ("mean", "std", "both")}
        standardised = {name: scaler_of(matrix)(matrix) for name, matrix in matrices.items()}
        jobs += [
            (standardised[str(setting["statistics"])], case.truth[train], setting, count)
            for setting, count in zip(settings, counts)
        ]
    jobs = [jobs[number] for number in np.random.default_rng(0).permutation(len(jobs))]
    for threads in (os.cpu_count() or 1, 1):
        torch.set_num_threads(threads)
        with threadpool_limits(threads):
            for name, fit in (("MLPClassifier", scikit_learn), ("torch one by one", torch_alone)):
                seconds, processor, part = scaled(fit, jobs, options.loop_seconds)
                yield (
                    f"{name}, {threads} threads: {'~' if part else ''}{seconds:.1f} s, {seconds / ours:.1f} times; "
                    f"{processor:.1f} s of processor, {processor / spent:.1f} times"
                )


def boosting(options: argparse.Namespace) -> Iterator[str]:
    case, clock = synthetic(options.clips, options.width, options.labels, "multiclass"), CLOCKS[options.clock]
    layer = Layers(case, 1).layer("encoder.0")
    parts = [case.parts()[number] for number in options.rounds]

    def loss(targets: Targets, truth: np.ndarray, probability: np.ndarray) -> float:
        return balanced_log_loss(case.task, truth, probability, targets.prevalence)

    def loop(number: int, threads: int) -> tuple[float, float]:
        """Seconds, and the lowest loss."""
        train, development = parts[number]
        truth, labels = case.truth, len(case.task.labels)
        targets = targets_of(case.task, truth[train])

        def one(trial: optuna.Trial) -> float:
            setting = {
                name: trial._suggest(name, distribution(range_)) for name, range_ in PROBES["lightgbm"].space.items()
            }
            matrix = layer.matrix(setting.pop("statistics"))
            counts = np.bincount(truth[train], minlength=labels)
            weights = setting.pop("class_weights")
            of = len(train) / (labels * counts) if weights == "balanced" else np.ones(labels)
            parameters = {
                **setting,
                "objective": "multiclass",
                "num_class": labels,
                "verbosity": -1,
                "num_threads": threads,
            }
            fitted = lightgbm.Dataset(matrix[train], truth[train], weight=of[truth[train]])
            valid = lightgbm.Dataset(
                matrix[development], truth[development], weight=of[truth[development]], reference=fitted
            )
            stop = lightgbm.early_stopping(15, verbose=False)
            booster = lightgbm.train(parameters, fitted, 200, valid_sets=[valid], callbacks=[stop])
            probability = np.asarray(booster.predict(matrix[development], num_threads=threads))
            return loss(targets, truth[development], targets.natural(probability, weights))

        study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=options.seed))
        begun = clock()
        study.optimize(one, n_trials=options.trials)
        return clock() - begun, study.best_value

    fitter = BoostingFitter(layer, case.task, case.truth, options.seed)

    def ours(number: int, file: StudyFile) -> list[tuple[float, float]]:
        """Seconds since the start and loss of each trial."""
        train, development = parts[number]
        targets = targets_of(case.task, case.truth[train])
        seen: list[tuple[float, float]] = []

        def losses(settings: Sequence[Setting], report: Report) -> Iterator[float]:
            def give_up(trial: int, step: int, probability: np.ndarray) -> bool:
                return report(trial, step, loss(targets, case.truth[development], probability))

            for fit in fitter.search(train, development, settings, f"round {number}", give_up):
                value = loss(targets, case.truth[development], fit.probability)
                seen.append((clock() - begun, value))
                yield value

        begun = clock()
        search(file, f"round {number}", "", PROBES["lightgbm"].space, options.trials, options.seed, losses)
        return seen

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.workers) as pool:
        file = StudyFile(Path(folder) / STUDY_FILE)
        trajectories = list(pool.map(lambda number: ours(number, file), range(len(parts))))
    both = max if options.clock == "wall" and options.workers > 1 else sum
    whole = both(seen[-1][0] for seen in trajectories)
    best = [round(min(value for _, value in seen), 4) for seen in trajectories]
    yield f"toolkit: {whole:.1f} s, best {best}"
    for threads in (1,) if options.clock == "processor" else (os.cpu_count() or 1, 1):
        ends = [loop(number, threads) for number in range(len(parts))]
        seconds = sum(end for end, _ in ends)
        reached = [
            min((at for at, value in seen if value <= best), default=float("inf"))
            for seen, (_, best) in zip(trajectories, ends)
        ]
        theirs = [round(best, 4) for _, best in ends]
        yield (
            f"lgb.train in Optuna, {threads} threads: {seconds:.1f} s, best {theirs}; "
            f"the toolkit is there after {[round(at, 1) for at in reached]} s, {both(reached) / seconds:.2f} of that "
            f"time; its whole search takes {whole / seconds:.2f}"
        )


ROWS = {"mlp": mlp, "lightgbm": boosting}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=ROWS, nargs="?", default="mlp")
    parser.add_argument("--clips", type=int, default=1500)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--labels", type=int, default=7)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--loop-seconds", type=float, default=20.0, help="of mlp")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="of lightgbm; processor: of its one thread")
    parser.add_argument("--rounds", type=int, nargs="+", default=[0, 1], help="of lightgbm: which folds")
    parser.add_argument("--seed", type=int, default=0, help="of lightgbm: of both searches, not of the data")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # as many epochs as ours, no more
    print_rows(options.row, ROWS[options.row](options))


if __name__ == "__main__":
    main()
