"""The probe engine beside the loop that a user would write: same clips, folds, settings.

    python bench/probe.py [--clips 1500] [--width 384] [--labels 11] [--trials 30] [--kind binary] [--features NPZ]

NPZ holds a real layer: "features" (n, width) float32, "truth" (n,) integers. Without it the features are
synthetic, with a spectrum that falls as steeply as a backbone's layer does, and truths that they half explain. The loop
calls scikit-learn once per fold, setting and label, at its default tolerance: on all threads, its default, in a process
of its own (beside torch, or at real-time priority, its threads wait for each other), and on one thread; past
--loop-seconds it stops and its time is scaled up by the settings left. The toolkit solves --workers folds at a time, on
one thread each, as `toolkit probe` does. "objective" is how much worse the toolkit's is at worst, relative, and the
decisions that differ are told apart: from scikit-learn at its default tolerance, which stops it early, and at a tight
one. Fits are taken in any order, and all figures are of those that were made.
"""

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from threadpoolctl import threadpool_limits

from toolkit.core.matmul import keep_kernels, linear
from toolkit.corpus.labels import Task
from toolkit.probe import lbfgs as minimising
from toolkit.probe import reference
from toolkit.probe.solver import Penalised, Solution, principal_axes, rotate, solve
from toolkit.probe.targets import Targets, scaler_of, targets_of

FOLDS = 5
FloatArray = npt.NDArray[np.float32]
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
KINDS = ("binary", "multilabel", "multiclass")
TOLERANCE = 1e-6  # of the toolkit's search


@dataclass(frozen=True)
class Case:
    """One layer, one task. truth: (n,) or (n, labels)."""

    name: str
    features: FloatArray
    task: Task
    truth: npt.NDArray[np.int64]

    def parts(self) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Training and held-out clips of each fold."""
        fold = np.arange(len(self.features)) % FOLDS
        return [
            (np.flatnonzero(fold > 1), np.flatnonzero(fold == 1)) for fold in ((fold - k) % FOLDS for k in range(FOLDS))
        ]


def synthetic(clips: int, width: int, labels: int, kind: str, seed: int = 0) -> Case:
    """Features whose standardised spectrum falls over five decades, as measured on speech encoders."""
    generator = np.random.default_rng(seed)
    mixing = np.linalg.qr(generator.standard_normal((width, width)))[0]
    latent = generator.standard_normal((clips, width))
    features = (latent * np.logspace(0, -2.5, width) @ mixing).astype(np.float32)
    logits = latent[:, : width // 4] @ generator.standard_normal((width // 4, labels)) / np.sqrt(width / 4)
    logits += generator.standard_normal(logits.shape)
    names = tuple(f"label{number}" for number in range(labels))
    if kind == "multilabel":
        truth = (logits > np.quantile(logits, np.linspace(0.5, 0.95, labels), axis=0).diagonal()).astype(np.int64)
        return Case("multilabel", features, Task("t", "multilabel", names, names), truth)
    if kind == "binary":
        return Case("binary", features, Task("t", "binary", ("no", "yes"), ("t",)), (logits[:, 0] > 0).astype(np.int64))
    return Case("multiclass", features, Task("t", "multiclass", names, ("t",)), logits.argmax(axis=1))


def objective(features: FloatArray, targets: Targets, at: Penalised, solution: Solution) -> float:
    """Summed over the setting's problems, in float64."""
    logits = features.astype(np.float64) @ solution.coefficients + solution.intercepts
    penalty = (solution.coefficients**2).sum() / (2 * at.C)
    if targets.softmax:
        shifted = logits - logits.max(axis=1, keepdims=True)
        return float((np.log(np.exp(shifted).sum(axis=1)) - (shifted * targets.columns).sum(axis=1)).sum() + penalty)
    return float((np.logaddexp(0, logits) - targets.columns * logits).sum() + penalty)


def decided(features: FloatArray, targets: Targets, solution: Solution) -> npt.NDArray[np.int64]:
    logits = features @ solution.coefficients + solution.intercepts
    return logits.argmax(axis=1) if targets.softmax else (logits > 0).astype(np.int64)


Solve = Callable[[FloatArray, Targets, Penalised], Solution]


def scikit_learn(features: FloatArray, targets: Targets, setting: Penalised, solver: str) -> Solution:
    """What a user writes, with the iterations raised so that it converges."""
    truths = [targets.columns.argmax(axis=1)] if targets.softmax else list(targets.columns.T)
    fits = [LogisticRegression(C=setting.C, max_iter=10_000, solver=solver).fit(features, truth) for truth in truths]
    coefficients = np.concatenate([fit.coef_ for fit in fits]).T.astype(np.float64)
    return Solution(coefficients, np.concatenate([fit.intercept_ for fit in fits]).astype(np.float64))


FoldParts = tuple[FloatArray, FloatArray, Targets, npt.NDArray[np.int64]]


def width(case: Case) -> int:
    return case.features.shape[1]


Pair = tuple[int, int]  # fold, setting


def by_default(
    parts: list[FoldParts], settings: list[Penalised], pairs: list[Pair], limit: float, clock: str, solver: str
) -> float:
    """Seconds of the whole loop on all threads, scaled up from what was done within the limit."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.pop(name, None)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=_unhurried) as pool:
        return pool.submit(_timed, parts, settings, pairs, limit, clock, solver).result()


def _unhurried() -> None:
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _timed(
    parts: list[FoldParts], settings: list[Penalised], pairs: list[Pair], limit: float, clock: str, solver: str
) -> float:
    begun = CLOCKS[clock]()
    for done, (fold, setting) in enumerate(pairs, start=1):  # noqa: B007
        scikit_learn(parts[fold][0], parts[fold][2], settings[setting], solver)
        if CLOCKS[clock]() - begun > limit:
            break
    return (CLOCKS[clock]() - begun) * len(pairs) / done


def solved_by(case: Case, settings: list[Penalised], workers: int) -> tuple[list[FoldParts], list[list[Solution]]]:
    """As `toolkit probe` does it: the folds share the axes, and are solved `workers` at a time, on a thread each."""
    train = case.parts()[0][0]
    axes = principal_axes(scaler_of(case.features[train])(case.features[train])) if len(train) >= width(case) else None

    def fold_of(clips: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]) -> tuple[FoldParts, list[Solution]]:
        scaler = scaler_of(case.features[clips[0]])
        matrix, held_out = scaler(case.features[clips[0]]), scaler(case.features[clips[1]])
        targets = targets_of(case.task, case.truth[clips[0]])
        solutions = solve(rotate(matrix, axes), targets, settings, TOLERANCE)
        return (matrix, held_out, targets, case.truth[clips[1]]), solutions

    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        solved = list(pool.map(fold_of, case.parts()))
    return [part for part, _ in solved], [solutions for _, solutions in solved]


def compare(
    case: Case, trials: int, loop_seconds: float, tight_fits: int, workers: int, clock: str, solver: str
) -> list[str]:
    """One row of the table."""
    settings = [Penalised(float(c)) for c in np.logspace(-5, 3, trials)]
    begun = CLOCKS[clock]()
    parts, ours = solved_by(case, settings, workers)
    our_seconds = CLOCKS[clock]() - begun
    # In any order, so that a loop cut short has seen every strength.
    pairs = [divmod(int(pair), trials) for pair in np.random.default_rng(0).permutation(FOLDS * trials)]
    alone, worst, flips, tight_flips, gaps = 0.0, -np.inf, [], [], []
    for done, (fold, number) in enumerate(pairs, start=1):
        matrix, held_out, targets, truth = parts[fold]
        solution, setting = ours[fold][number], settings[number]
        mine = decided(held_out, targets, solution)
        with threadpool_limits(1):
            begun = CLOCKS[clock]()
            theirs = scikit_learn(matrix, targets, setting, solver)
            alone += CLOCKS[clock]() - begun
            if done <= tight_fits:
                (tight,) = reference.solve(matrix, targets, [setting])
                tight_flips.append(float((mine != decided(held_out, targets, tight)).mean()))
        value = objective(matrix, targets, setting, theirs)
        worst = max(worst, objective(matrix, targets, setting, solution) / value - 1)
        other = decided(held_out, targets, theirs)
        flips.append(float((mine != other).mean()))
        gaps.append(f1_score(truth, mine, average="macro") - f1_score(truth, other, average="macro"))
        if alone > loop_seconds:
            break
    default = by_default(parts, settings, pairs, loop_seconds, clock, solver)
    scaled = [default, alone * len(pairs) / done]
    return [
        f"{case.name}, {case.features.shape[0]:,} x {case.features.shape[1]}, {len(case.task.labels)} labels",
        f"{our_seconds:.2f}",
        " / ".join(f"~{seconds:.1f}" for seconds in scaled),
        " / ".join(f"{seconds / our_seconds:.1f}" for seconds in scaled),
        f"{worst:+.1e}",
        f"{np.mean(flips):.2%} / {np.mean(tight_flips):.2%}",
        f"{np.mean(gaps):+.4f}, {np.max(np.abs(gaps)):.4f}",
    ]


def peak(clock: str) -> float:
    """Matrix-product GFLOP/s in float32 on one thread by the fastest library there is, the best of five."""
    left, right = torch.randn(2, 3000, 3000)
    rates = []
    for _ in range(5):
        begun = CLOCKS[clock]()
        linear(left, right)
        rates.append(2 * 3000**3 / (CLOCKS[clock]() - begun) / 1e9)
    return max(rates)


def share_of_peak(case: Case, trials: int, clock: str) -> str:
    """What the solver's own products amount to, against `peak`."""
    train, _ = case.parts()[0]
    matrix = scaler_of(case.features[train])(case.features[train])
    targets = targets_of(case.task, case.truth[train])
    rotated, flops = rotate(matrix), 0.0
    product = minimising.linear

    def counted(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        nonlocal flops
        flops += 2 * left.numel() * len(right)
        return product(left, right)

    minimising.linear = counted
    try:
        begun = CLOCKS[clock]()
        solve(rotated, targets, [Penalised(float(c)) for c in np.logspace(-5, 3, trials)], TOLERANCE)
        rate = flops / (CLOCKS[clock]() - begun) / 1e9
    finally:
        minimising.linear = product
    best = peak(clock)
    return f"{case.name}: {rate:.0f} of {best:.0f} GFLOP/s, {rate / best:.0%} of the matrix-product peak"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1500)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--labels", type=int, default=11)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--loop-seconds", type=float, default=60.0)
    parser.add_argument("--tight-fits", type=int, default=10, help="how many are compared with a tight tolerance too")
    parser.add_argument("--kind", choices=KINDS, help="this row alone")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--solver", choices=("lbfgs", "newton-cholesky"), default="lbfgs", help="scikit-learn's")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: of all threads, on a busy machine")
    parser.add_argument("--features", help="a .npz with a real layer")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_kernels()  # as `toolkit probe` does
    if options.features:
        with np.load(options.features, allow_pickle=False) as file:
            features, truth = file["features"].astype(np.float32), file["truth"].astype(np.int64)
        names = tuple(map(str, range(int(truth.max()) + 1)))
        first = (truth == 0).astype(np.int64)
        columns = np.eye(len(names), dtype=np.int64)[truth]
        cases = [
            Case("real, binary", features, Task("t", "binary", ("no", "yes"), ("t",)), first),
            Case("real, multilabel", features, Task("t", "multilabel", names, names), columns),
            Case("real, multiclass", features, Task("t", "multiclass", names, ("t",)), truth),
        ]
    else:
        cases = [synthetic(options.clips, options.width, options.labels, kind) for kind in KINDS]
    cases = [case for case in cases if not options.kind or case.name.endswith(options.kind)]
    table = Table(
        "task",
        "toolkit s",
        "loop s, all / 1 thread",
        "times",
        "objective",
        "decisions differ, default / tight",
        "F1, mean and largest difference",
        box=None,
    )
    for case in cases:
        table.add_row(
            *compare(
                case,
                options.trials,
                options.loop_seconds,
                options.tight_fits,
                options.workers,
                options.clock,
                options.solver,
            )
        )
    console = Console(width=120)
    console.print(f"{FOLDS} folds x {options.trials} strengths from 1e-5 to 1e3, {options.workers} workers")
    console.print(table)
    for case in cases:
        console.print(share_of_peak(case, options.trials, options.clock))


if __name__ == "__main__":
    main()
