"""A Ray cluster of several nodes on this machine, disturbed: is the result that of one undisturbed process?

    python bench/ray_cluster.py [--clips 96] [--clips-per-shard 4] [--layers 3] [--pause 1]

Separate raylets, each with a core, run `toolkit extract --ray` and `toolkit probe --ray` on a corpus of short synthetic
clips and a tiny random backbone. In turn: nothing happens; a node is killed in the middle; a node is added in the
middle; the driver is killed with SIGKILL and started again. Every file is compared, byte by byte, with those of a run
without Ray, and a log of the tasks tells what was done twice. A task here takes less time than killing a node does, so
each waits for --pause seconds first: what dies is then in the middle of one. Needs the extra `ray`.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import soundfile

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.models import tiny
from toolkit.corpus import manifest as manifests

MEASURED = ("run.json", "costs.json")  # hold times
# A dead node is seen after some 2 s, in place of Ray's 15 to 20 s.
DETECTION = {"health_check_initial_delay_ms": 1_000, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
# What a driver runs: small shards, and every task leaves a line in a log before it begins.
DRIVER = """
import sys
import time
from importlib import import_module
from pathlib import Path
import toolkit.extract.plan, toolkit.extract.ray, toolkit.probe.ray
from toolkit.cli import main

log, clips_per_shard, pause = sys.argv.pop(1), int(sys.argv.pop(1)), float(sys.argv.pop(1))

def logged(module, work, name):
    home = module.__name__
    def call(common, item, place):  # on a node, whose module is as it was
        with Path(log).open("a") as file:
            file.write(f"{name(item)}\\n")
        time.sleep(pause)
        return getattr(import_module(home), work)(common, item, place)
    return call

toolkit.extract.plan.CLIPS_PER_SHARD = clips_per_shard
extract, probe = toolkit.extract.ray, toolkit.probe.ray
extract._compute = logged(extract, "_compute", lambda shard: shard.number)
probe._fit = logged(probe, "_fit", lambda block: f"{block.title}/{block.round}")
main()
"""


class Study:
    """A workspace, its log of tasks, and what is asked of it."""

    def __init__(self, folder: Path, arguments: argparse.Namespace, stage: str) -> None:
        self.folder, self.stage = folder, stage
        self.log = folder / f"{stage}.log"
        self._settings = [str(arguments.clips_per_shard), str(arguments.pause)]
        words = {
            "extract": ["extract", "--model", "tiny-hubert", "--dtype", "float32", "--workers", "1"],
            "probe": ["probe", "--model", "tiny-hubert", "--target", "mood", "--folds", "4", "--trials", "20"],
        }[stage]
        self._words = [*words, "--workspace", str(folder)]

    def start(self, address: str | None) -> subprocess.Popen[bytes]:
        ray = ["--ray", address] if address else []
        command = [sys.executable, "-c", DRIVER, str(self.log), *self._settings, *self._words, *ray]
        with (self.folder / "output.txt").open("ab") as output:
            return subprocess.Popen(command, stdout=output, stderr=output)

    def finish(self, driver: subprocess.Popen[bytes]) -> None:
        if driver.wait() not in (0, 3):
            raise SystemExit((self.folder / "output.txt").read_text())

    @property
    def tasks(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []

    def wait_for(self, tasks: int, driver: subprocess.Popen[bytes]) -> None:
        """Until that many tasks were begun."""
        while len(self.tasks) < tasks and driver.poll() is None:
            time.sleep(0.01)

    def files(self) -> dict[str, bytes]:
        """Whatever holds a number: no figures with their dates, no file with times."""
        root = self.folder / {"extract": "features", "probe": "result"}[self.stage]
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.suffix in (".h5", ".json", ".csv", ".safetensors") and path.name not in MEASURED
        }


def nothing(study: Study, driver: subprocess.Popen[bytes], nodes: Any) -> subprocess.Popen[bytes]:
    """Two nodes, undisturbed."""
    return driver


def lose_a_node(study: Study, driver: subprocess.Popen[bytes], nodes: Any) -> subprocess.Popen[bytes]:
    """A node is killed in the middle."""
    nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)
    return driver


def gain_a_node(study: Study, driver: subprocess.Popen[bytes], nodes: Any) -> subprocess.Popen[bytes]:
    """A node is added in the middle."""
    nodes.add_node(num_cpus=1)
    return driver


def lose_the_driver(study: Study, driver: subprocess.Popen[bytes], nodes: Any) -> subprocess.Popen[bytes]:
    """The driver is killed (-9) and started again."""
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    return study.start(nodes.address)


DISTURBANCES: tuple[Callable[..., subprocess.Popen[bytes]], ...] = (
    nothing,
    lose_a_node,
    gain_a_node,
    lose_the_driver,
)


def corpus(folder: Path, clips: int, layers: int) -> None:
    tiny.hubert(folder / "models" / "tiny-hubert", num_hidden_layers=layers)
    (folder / "audio").mkdir()
    rows = []
    for number in range(clips):
        path = folder / "audio" / f"{number}.wav"
        soundfile.write(path, tiny.speech_like(0.2 + 0.01 * (number % 20), seed=number), 16_000)
        rows.append((f"clip{number}", f"audio/{path.name}", f"s{number % 12}", "ab"[number // 12 % 2]))
    manifests.write(folder / "manifest.csv", ("id", "path", "speaker", "mood"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--clips-per-shard", type=int, default=4)
    parser.add_argument("--layers", type=int, default=3, help="of the backbone, less what enters the first")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds that a task waits before it works")
    parser.add_argument("--stages", nargs="+", default=["extract", "probe"], choices=["extract", "probe"])
    names = [disturb.__name__ for disturb in DISTURBANCES]
    parser.add_argument("--disturbances", nargs="+", default=names, choices=names)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        everything(Path(folder), arguments)


def everything(folder: Path, arguments: argparse.Namespace) -> None:
    from ray.cluster_utils import Cluster

    alone = folder / "alone"
    alone.mkdir()
    corpus(alone, arguments.clips, arguments.layers)
    bare = shutil.copytree(alone, folder / "bare")
    for stage in ("extract", "probe"):
        study = Study(alone, arguments, stage)
        study.finish(study.start(None))
    began = time.monotonic()
    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, "_system_config": DETECTION}
    )
    try:
        nodes.add_node(num_cpus=1)
        nodes.add_node(num_cpus=1)
        print(f"a head and two nodes of one core came up in {time.monotonic() - began:.1f} s", flush=True)
        for stage in arguments.stages:
            rounds = {"extract": arguments.clips // arguments.clips_per_shard, "probe": 4 * (arguments.layers + 1)}
            print(f"\n{stage}: {rounds[stage]} tasks\n| | same bytes | begun before | done twice | s |")
            print("|---|---|---|---|---|", flush=True)
            for disturb in (one for one in DISTURBANCES if one.__name__ in arguments.disturbances):
                while len(nodes.worker_nodes) < 2:
                    nodes.add_node(num_cpus=1)
                while len(nodes.worker_nodes) > 2:
                    nodes.remove_node(next(iter(nodes.worker_nodes)))
                place = shutil.copytree(bare, folder / f"{stage}-{disturb.__name__}")
                row(disturb, Study(place, arguments, stage), Study(alone, arguments, stage), rounds[stage], nodes)
    finally:
        nodes.shutdown()


def row(disturb: Callable[..., subprocess.Popen[bytes]], study: Study, alone: Study, total: int, nodes: Any) -> None:
    """Run one stage, disturb it after a third of its tasks, and print a row."""
    features = alone.folder / "features"
    if study.stage == "probe":
        shutil.copytree(features, study.folder / "features")
    else:  # the batch budget is measured, so the same one is used
        (measured,) = features.glob("*/batches.json")
        (study.folder / "features" / measured.parent.name).mkdir(parents=True)
        shutil.copy(measured, study.folder / "features" / measured.parent.name)
    began = time.monotonic()
    driver = study.start(nodes.address)
    study.wait_for(total // 3, driver)
    before = len(study.tasks)
    study.finish(disturb(study, driver, nodes))
    done = Counter(study.tasks)
    same = study.files() == alone.files() and len(done) == total
    cells = ["yes" if same else "NO", before, done.total() - len(done), f"{time.monotonic() - began:.1f}"]
    print(f"| {disturb.__doc__} | " + " | ".join(map(str, cells)) + " |", flush=True)
    if not same:
        raise SystemExit("not the files of a run without Ray")


if __name__ == "__main__":
    main()
