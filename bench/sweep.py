"""Whole probe runs, and how their time grows.

    python bench/sweep.py run|growth [--clips 5000] [--width 768] [--labels 7] [--kind multiclass] [--layers 1]
        [--probe linear] [--trials 30] [--of-layers 13] [--workers 2]

run: `toolkit probe` as it is, studies on disk included, on synthetic layers; its time is scaled to --of-layers, its
peak memory the process's; what other programs took of the processor is told, for they change the wall clock. growth:
such runs with two and four times the clips, layers, trials, and the linear solver's iterations.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import optuna
import torch
from probe import FOLDS, Case, synthetic

from toolkit.core.artifacts import STUDY_FILE
from toolkit.core.matmul import keep_kernels
from toolkit.corpus.labels import one_hot
from toolkit.corpus.splits import make
from toolkit.features.layout import STATISTICS, LayerFeatures
from toolkit.probe import lbfgs as minimising
from toolkit.probe.registry import PROBES
from toolkit.probe.run import probe

SPEAKERS = 50


def processor_seconds() -> float:
    """Of this process and its forks that have ended."""
    return sum(os.times()[:4])


class Layers:
    """A feature store's attributes: layers that differ by noise, made when asked for."""

    def __init__(self, case: Case, number: int) -> None:
        self._features = case.features
        self.ids = tuple(f"clip{clip}" for clip in range(len(case.features)))
        self.layers = tuple(f"encoder.{layer}" for layer in range(number))
        self.failed: dict[str, str] = {}
        self.statistics = STATISTICS

    def layer(self, name: str) -> LayerFeatures:
        generator = np.random.default_rng(int(name.split(".")[1]))
        noise = generator.standard_normal(self._features.shape, dtype=np.float32)
        return LayerFeatures(name, self.ids, self._features + 0.1 * noise, np.abs(self._features + noise))


def busy() -> float:
    """Seconds that the machine's cores have worked since it was started; nan where Linux is not there to say so."""
    try:
        ticks = Path("/proc/stat").read_text("utf-8").split(maxsplit=9)[1:9]
    except OSError:
        return float("nan")
    idle = {3, 4}  # idle, and waiting for a disk
    return sum(int(tick) for place, tick in enumerate(ticks) if place not in idle) / os.sysconf("SC_CLK_TCK")


def measured(options: argparse.Namespace, clips: int, layers: int, trials: int) -> tuple[float, float, float]:
    """Seconds, of processor, and of processor by other programs, of a whole run with its study on disk."""
    case = synthetic(clips, options.width, options.labels, options.kind)
    store = Layers(case, layers)
    speakers = [f"speaker{clip % SPEAKERS}" for clip in range(len(store.ids))]
    folds = make(store.ids, speakers, one_hot(case.task, case.truth), FOLDS, 0)
    with tempfile.TemporaryDirectory() as folder:
        study, all_of_us = Path(folder) / STUDY_FILE, busy()
        begun, spent = time.perf_counter(), processor_seconds()
        probe(
            store, case.task, case.truth, folds, speakers,
            study=study, probe=options.probe, trials=trials, workers=options.workers,
        )  # fmt: skip
        seconds, spent = time.perf_counter() - begun, processor_seconds() - spent
        return seconds, spent, busy() - all_of_us - spent


def run(options: argparse.Namespace) -> Iterator[str]:
    count = options.of_layers if options.probe == "mix" else options.layers
    seconds, spent, others = measured(options, options.clips, count, options.trials)
    layers = f"{count} layers: {seconds:.1f} s, {spent:.1f} s of processor ({others:.1f} by other programs)"
    if count < options.of_layers:
        layers += f", {options.of_layers} layers: ~{seconds * options.of_layers / count:.0f} s"
        layers += f", ~{spent * options.of_layers / count:.0f} s of processor"
    unit = 2**30 if sys.platform == "darwin" else 2**20
    yield f"{layers}; peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit:.2f} GiB"


@contextmanager
def iterations() -> Iterator[Counter[str]]:
    """The linear solver's, while this lasts, and the columns that each of them had; on one worker exact."""
    seen: Counter[str] = Counter()
    step = minimising._step

    def counted(shared: minimising.Shared, state: minimising._State, *others: torch.Tensor) -> None:
        seen["iterations"] += 1
        seen["columns"] += state.variables.shape[0] * state.variables.shape[1]
        step(shared, state, *others)

    minimising._step = counted
    try:
        yield seen
    finally:
        minimising._step = step


def growth(options: argparse.Namespace) -> Iterator[str]:
    base = {"clips": options.clips, "layers": options.layers, "trials": options.trials}
    measured(options, **base)  # warm: kernels, caches
    with iterations() as seen:
        once, spent, _ = measured(options, **base)
    yield f"{base}: {once:.1f} s, {spent:.1f} s of processor; {dict(seen) or 'no linear solver'}"
    for name in base:
        for times in (2, 4):
            with iterations() as seen:
                seconds, processor, _ = measured(options, **{**base, name: times * base[name]})
            ratios = f"{seconds / once:.2f} times the time, {processor / spent:.2f} of processor"
            yield f"{times} times the {name}: {ratios}; {dict(seen) or 'no linear solver'}"


def print_rows(row: str, lines: Iterator[str]) -> None:
    """What a row measures, beneath the command and the machine it was measured by."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    keep_kernels()  # as `toolkit probe` does
    load = os.getloadavg()[0]
    print(f"{row}: {' '.join(sys.argv[1:])}; {os.cpu_count()} cores, load {load:.1f}", flush=True)
    for line in lines:
        print(f"  {line}", flush=True)


ROWS = {"run": run, "growth": growth}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=ROWS, nargs="?", default="run")
    parser.add_argument("--clips", type=int, default=1500)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--labels", type=int, default=7)
    parser.add_argument("--kind", choices=("binary", "multiclass", "multilabel"), default="multiclass")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--of-layers", type=int, default=13)
    parser.add_argument("--probe", choices=list(PROBES), default="linear")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    print_rows(options.row, ROWS[options.row](options))


if __name__ == "__main__":
    main()
