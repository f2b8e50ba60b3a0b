"""Ridge, every strength of every fold: one reduction a fold against a loop over scikit-learn's Ridge.

    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
    python bench/ridge.py [--clips 4800 --width 768 --folds 5 --strengths 30 --targets 3]

Both get the same standardised matrices and give predictions of the held-out clips; the largest difference is printed.
Seconds are of the processor, so that other programs count little.
"""

import argparse
import time

import numpy as np
import torch
from sklearn.linear_model import Ridge

from toolkit.probe.ridge import solve, tridiagonal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("clips", 4800), ("width", 768), ("folds", 5), ("strengths", 30), ("targets", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    matrix = generator.standard_normal((args.clips, args.width)) @ generator.standard_normal((args.width,) * 2)
    matrix = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0)
    truth = matrix[:, : args.targets] + generator.standard_normal((args.clips, args.targets))
    fold, penalties = np.arange(args.clips) % args.folds, np.logspace(-3, 5, args.strengths)
    parts = [(matrix[fold != tested], truth[fold != tested], matrix[fold == tested]) for tested in range(args.folds)]

    began = time.process_time()
    ours = []
    for train, known, held_out in parts:
        coefficients, intercepts = solve(tridiagonal(train), known, penalties)
        side_by_side = np.moveaxis(coefficients, 1, 0).reshape(args.width, -1)
        given = (held_out @ side_by_side).reshape(-1, args.strengths, args.targets)
        ours.append(np.moveaxis(given, 1, 0) + intercepts[:, None])
    own_seconds = time.process_time() - began
    began = time.process_time()
    theirs = [
        np.stack([Ridge(alpha=penalty).fit(train, known).predict(held_out) for penalty in penalties])
        for train, known, held_out in parts
    ]
    seconds = time.process_time() - began
    apart = max(float(np.abs(one - other).max()) for one, other in zip(ours, theirs, strict=True))
    print(f"{args.folds} folds, {args.strengths} strengths, {args.targets} targets, {args.clips} x {args.width}")
    print(f"toolkit {own_seconds:.2f} s, scikit-learn {seconds:.2f} s: {seconds / own_seconds:.0f} times")
    print(f"predictions apart by {apart:.0e} at most")


if __name__ == "__main__":
    main()
