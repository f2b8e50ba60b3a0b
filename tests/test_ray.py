"""A real Ray cluster of several nodes on this machine: what it computes is what this process computes, to the bit."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
import soundfile
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.models import tiny, zoo
from toolkit.core import ray_cluster
from toolkit.core.artifacts import STUDY_FILE
from toolkit.core.errors import InputError, MachineError, StoreError
from toolkit.core.progress import Advance
from toolkit.core.ray_cluster import Cluster, joined
from toolkit.core.ray_task import Need, Place
from toolkit.corpus import evaluation_task
from toolkit.corpus import manifest as manifests
from toolkit.corpus.manifest import Manifest
from toolkit.extract import plan, ray
from toolkit.extract.options import ExtractOptions, Options
from toolkit.extract.run import Extraction, extract
from toolkit.features import staging
from toolkit.features.store import Store
from toolkit.models.checkpoint import Checkpoint, inspect
from toolkit.models.generic import MODES
from toolkit.probe import ray as probe_spread
from toolkit.probe.run import probe

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

CLIPS, CLIPS_PER_SHARD = 30, 3


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster whose head computes nothing, and one node that does."""
    from ray.cluster_utils import Cluster as Nodes

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    quick = {
        "health_check_initial_delay_ms": 1_000,
        "health_check_period_ms": 1_000,
        "worker_niceness": 0,  # or its tasks wait for every other test
    }
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": quick}
    made = Nodes(initialize_head=True, head_node_args=head)
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def joint(nodes: Any) -> Iterator[Cluster]:
    with joined(nodes.address, lambda sentence: None) as made:
        yield made


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("corpus")
    rows = []
    for number in range(CLIPS):
        path = folder / f"{number}.wav"
        soundfile.write(path, tiny.speech_like(0.2 + 0.02 * (number % 7), seed=number), 16_000)
        rows.append((f"clip{number}", path.name, f"s{number % 6}", "ab"[number // 6 % 2]))
    (folder / "3.wav").write_bytes(b"RIFF")
    manifests.write(folder / "manifest.csv", ("id", "path", "speaker", "mood"), rows)
    return manifests.read(folder / "manifest.csv")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return inspect(tiny.hubert(tmp_path_factory.mktemp("models") / "tiny-hubert"), "tiny-hubert")


def test_a_family_by_transformers_own_forward_is_gone_on_with_in_the_mode_that_a_task_found(
    joint: Cluster, corpus: Manifest, tmp_path: Path
) -> None:
    bert = inspect(zoo.save("wav2vec2-bert", tmp_path / "wav2vec2-bert"), "tiny-bert")
    done = run(corpus, bert, tmp_path / "features", joint)
    assert done.store.settings["batches"]["mode"] in MODES and list(done.failed) == ["clip3"]
    again = run(corpus, bert, tmp_path / "features", None)
    assert (again.store.folder.name, again.new) == (done.store.folder.name, 0)
    alone = run(corpus, bert, tmp_path / "alone", None).store
    for layer in alone.layers:
        np.testing.assert_allclose(done.store.layer(layer).mean, alone.layer(layer).mean, rtol=2e-3, atol=2e-4)


class Interrupted(Exception):
    """Stands for whatever ends a driver."""


def run(corpus: Manifest, checkpoint: Checkpoint, features: Path, joint: Cluster | None, **shown: Any) -> Extraction:
    begin = {"begin": partial(ray.RayExecutor, joint)} if joint else {}
    return extract(corpus, checkpoint, features, Options(dtype="float32", workers=1), **begin, **shown)


def test_a_cluster_that_loses_and_gains_nodes_gives_the_same_files(
    nodes: Any,
    joint: Cluster,
    corpus: Manifest,
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan, "CLIPS_PER_SHARD", CLIPS_PER_SHARD)
    far, near = tmp_path / "far", tmp_path / "near"
    done: list[int] = []

    @contextmanager
    def show(title: str, total: int, unit: str) -> Iterator[Advance]:
        def advance(items: int, audio_seconds: float) -> None:
            done.append(items)
            if len(done) == 2:
                nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)
                nodes.add_node(num_cpus=1)
            if len(done) == 5:
                raise Interrupted

        yield advance

    with pytest.raises(Interrupted):
        run(corpus, checkpoint, far, joint, show=show)
    (store,) = far.iterdir()
    before = {path.name: path.stat().st_ino for path in store.glob("shard-*.json")}
    assert len(before) == 5
    second = run(corpus, checkpoint, far, joint)
    assert (second.before, second.new) == (5 * CLIPS_PER_SHARD, CLIPS - 5 * CLIPS_PER_SHARD)
    assert list(second.failed) == ["clip3"]
    assert {name: (store / name).stat().st_ino for name in before} == before, "a committed shard was written again"

    (near / store.name).mkdir(parents=True)
    shutil.copy(store / "batches.json", near / store.name)  # the one thing that is measured
    run(corpus, checkpoint, near, None)
    names = sorted(path.name for path in (near / store.name).iterdir())
    assert sorted(path.name for path in store.iterdir()) == names
    names.remove("costs.json")
    assert [name for name in names if (store / name).read_bytes() != (near / store.name / name).read_bytes()] == []
    assert {path.stat().st_mode & 0o077 for path in store.glob("shard-*")} == {0}

    question = evaluation_task.build_task(corpus, "mood", 3, 0, "speaker", "group")
    runs = [
        probe(
            Store(store),
            question.task,
            question.truth,
            question.folds,
            question.groups,
            study=tmp_path / name / STUDY_FILE,
            winners=tmp_path / name / "winners",
            trials=12,
            executor=executor,
        )
        for name, executor in (("far", probe_spread.RayExecutor(joint)), ("near", None))
    ]
    for layer, predicted in runs[0].layers.items():
        assert np.array_equal(predicted.probability, runs[1].layers[layer].probability)
    assert (runs[0].choices, runs[0].development) == (runs[1].choices, runs[1].development)
    names = sorted(path.name for path in (far / "winners").iterdir())
    assert len(names) == 4
    assert [
        name for name in names if (far / "winners" / name).read_bytes() != (near / "winners" / name).read_bytes()
    ] == []
    assert trials(far / STUDY_FILE) == trials(near / STUDY_FILE)


def trials(file: Path) -> dict[str, list[tuple[object, float | None]]]:
    storage = JournalStorage(JournalFileBackend(str(file)))
    names = optuna.get_all_study_names(storage)
    studies = {name: optuna.load_study(study_name=name, storage=storage) for name in names}
    return {name: [(trial.params, trial.value) for trial in study.trials] for name, study in studies.items()}


def test_a_node_that_differs_is_refused_by_name(
    joint: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = joint.need()

    def len_of(common: None, item: str, place: Place) -> int:
        return len(item)

    def ask(folder: Path) -> list[Any]:
        return list(joint.run(len_of, None, ["four"], need, [folder]))

    assert ask(tmp_path) == [("four", 4)]
    with pytest.raises(MachineError, match=r"^Node \S+ \(\w{8}\) does not see the folder nowhere/; .* all nodes share"):
        ask(tmp_path / "nowhere")
    found = ray_cluster.versions()
    monkeypatch.setattr(ray_cluster, "versions", lambda: {**found, "toolkit": "0.0.0"})
    with pytest.raises(
        MachineError, match=rf"^Node \S+ \(\w{{8}}\) has toolkit {found['toolkit']}, the driver 0\.0\.0"
    ):
        ask(tmp_path)
    with pytest.raises(InputError, match="Bad device with --ray 'cuda:1'"):
        joint.need("cuda:1")
    with pytest.raises(MachineError, match="has a GPU"):
        joint.need("cuda")


def test_tasks_get_a_gpu_each_and_nodes_without_one_rest(
    nodes: Any,
    joint: Cluster,
    corpus: Manifest,
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray hands GPUs out by number, whether there are any: what a task is told, and that torch then looks for one."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")  # as a scheduler gives them to a job
    node = nodes.add_node(num_cpus=4, num_gpus=2)
    try:
        need = joint.need("auto")
        assert (need, joint.places(need)) == (Need(2, 1), 2)

        def timed(common: None, item: int, place: Place) -> tuple[str, str, float, float]:
            began = time.monotonic()
            time.sleep(0.5)
            return place.device, place.node, began, time.monotonic()

        told = [result for _, result in joint.run(timed, None, range(6), need, [tmp_path])]
        assert {where for _, where, *_ in told} == {f"{node.node_ip_address} ({node.node_id[:8]})"}
        assert {device for device, *_ in told} == {"cuda:0", "cuda:1"}
        for device in ("cuda:0", "cuda:1"):
            own = sorted((began, ended) for used, _, began, ended in told if used == device)
            assert all(ended <= began for (_, ended), (began, _) in pairwise(own)), "two tasks shared a GPU"
        with pytest.raises(
            MachineError, match=r"^Node \S+ \(\w{8}\): No device cuda:[01] here: 0 CUDA devices .*--device cpu"
        ):
            run(corpus, checkpoint, tmp_path / "features", joint)
        assert joint.need("cpu") == Need(1)
    finally:
        nodes.remove_node(node)


def test_a_lease_that_another_run_withdrew_commits_nothing(tmp_path: Path) -> None:
    with staging.granted(tmp_path) as folder:
        staged = staging.attempt(folder)
        (staged / "shard-00000.h5").write_bytes(b"data")
        staging.clear(tmp_path)
        with pytest.raises(StoreError, match=f"Another run took {tmp_path.name} over"):
            staging.adopt(staged, 0)
        with pytest.raises(StoreError, match="Another run took"):
            staging.attempt(folder)
    assert list(tmp_path.iterdir()) == []


def test_what_a_command_line_repeats_can_be_kept_by(tmp_path: Path) -> None:
    class SentError(Exception):
        pass

    def sent(work: Any, job: ray.Job, *others: Any) -> None:
        raise SentError(hash(job.options), job.options)

    cluster: Any = SimpleNamespace(need=lambda *given: Need(1), run=sent)
    options = ExtractOptions(model=["tiny"], frames=["encoder.1"])
    nothing = Manifest("manifest.csv", tmp_path, (), ())
    checkpoint = inspect(tiny.hubert(tmp_path / "tiny"), "tiny")
    with pytest.raises(SentError, match=r"frames=\('encoder.1',\)"):
        ray.RayExecutor(cluster, nothing, checkpoint, tmp_path / "features", options, print)


def test_an_address_without_a_cluster_is_refused_at_once() -> None:
    # in a process of its own: Ray, after other clusters in one process, once took the whole of it down here
    code = "from toolkit.core.ray_cluster import joined; joined('127.0.0.1:1', print).__enter__()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "MachineError: No Ray cluster at '127.0.0.1:1': " in done.stderr
    with pytest.raises(InputError, match=r"^Bad --ray 'ray://head', expected local, auto, or HOST:PORT"):
        joined("ray://head", print).__enter__()


def test_a_long_folder_for_temporary_files_is_refused_with_the_remedy(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(long))
        with pytest.raises(MachineError, match=r"too long for Ray's sockets.*TMPDIR=/tmp"), joined("local", print):
            pass
    assert not list(long.iterdir())
