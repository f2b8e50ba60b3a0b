"""The mil probe on the clips of many calls: time and memory of its search, one layer.

    python bench/units.py [--clips 20000 --units 1500 --width 1280 --trials 30 --folds 5 --rounds 5]

The features are random but for a direction that some clips of the calls with the label have. A round takes what any
other does, so --rounds 1 measures a fifth.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from toolkit.core.artifacts import STUDY_FILE
from toolkit.core.study_file import StudyFile
from toolkit.corpus.labels import Task, one_hot
from toolkit.corpus.splits import make
from toolkit.features.layout import LayerFeatures
from toolkit.features.units import MAX, gathered
from toolkit.probe.data import Data
from toolkit.probe.run import Budget, here


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"clips": 20_000, "units": 1_500, "width": 1_280, "trials": 30, "folds": 5, "rounds": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--probe", default="mil")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    generator = np.random.default_rng(0)
    cuts = np.sort(generator.choice(np.arange(1, args.clips), args.units - 1, replace=False))
    members = tuple(np.split(np.arange(args.clips), cuts))
    truth = generator.permutation(np.arange(args.units) % 2)
    clips = generator.standard_normal((args.clips, args.width), dtype=np.float32)
    for label, members_of in zip(truth, members):
        clips[members_of[: 1 + len(members_of) // 20], :40] += label
    ids = tuple(f"clip{row}" for row in range(args.clips))
    units = tuple(f"call{unit}" for unit in range(args.units))
    speakers = tuple(f"s{unit % 100}" for unit in range(args.units))
    layer = LayerFeatures("layer", ids, clips, clips[:, :0])
    task = Task("risk", "binary", ("no", "yes"), ("risk",))
    folds = make(units, speakers, one_hot(task, truth), args.folds, 0)
    position = np.array([units.index(unit) for unit in folds.ids])
    data = Data(task, truth[position], tuple(speakers[row] for row in position), folds, position, {},
                ("mean", "std", MAX))  # fmt: skip

    class View:
        ids, layers, statistics, failed = units, ("layer",), ("mean", "std", MAX), {}

        def layer(self, name: str) -> LayerFeatures:
            return gathered(layer, units, members, lambda: clips)

    with tempfile.TemporaryDirectory() as folder:
        file = StudyFile(Path(folder) / STUDY_FILE)
        begun = time.perf_counter()
        here(View(), data, list(folds.rounds())[: args.rounds], args.probe, Budget(args.trials), 0, file, "cpu",
             args.workers, lambda name, done, total: None)  # fmt: skip
        seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{args.probe}: {args.clips:,} clips in {args.units:,} units, {args.trials} trials, {args.rounds} of "
          f"{args.folds} rounds: {seconds:.0f} s, peak {peak:.1f} GiB")  # fmt: skip


if __name__ == "__main__":
    main()
