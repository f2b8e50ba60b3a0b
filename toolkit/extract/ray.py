"""`toolkit extract --ray`: this process plans and commits, Ray's tasks compute a shard each and stage it."""

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from toolkit.audio.clip import Clip
from toolkit.core.errors import CheckpointError
from toolkit.core.progress import Advance
from toolkit.core.ray_cluster import Cluster
from toolkit.core.ray_task import Place, Work
from toolkit.corpus.manifest import Manifest
from toolkit.extract.deviation import Compared
from toolkit.extract.options import Options
from toolkit.extract.pipeline import Pipeline
from toolkit.extract.plan import Plan
from toolkit.extract.run import CALIBRATION_CLIPS, budget_of, compared_of, drawn, first
from toolkit.extract.setup import Session
from toolkit.features import staging
from toolkit.features.store import Store
from toolkit.features.writer import Writer
from toolkit.models.checkpoint import Checkpoint, inspect
from toolkit.models.encoder import Encoder

SOUGHT_AMONG = 1_000  # drawn clips, those with audio that a precision is measured by


@dataclass(frozen=True)
class Job:
    """What the tasks of a run share. manifest: without its clips; every folder is absolute.

    lease: where shards are staged. budget: of `batches`, in seconds: one for the run, on whichever device a shard is
    computed.
    """

    manifest: Manifest
    checkpoint: Checkpoint
    features: Path
    options: Options
    store: str = ""
    budget: float = 0.0
    lease: Path | None = None


@dataclass(frozen=True)
class Shard:
    """What a task gets for its shard, before the first of them starts."""

    number: int
    clips: tuple[Clip, ...]


class RayExecutor:
    """A run whose model is never loaded here; has the methods of `toolkit.extract.run.LocalExecutor`."""

    def __init__(
        self,
        cluster: Cluster,
        manifest: Manifest,
        checkpoint: Checkpoint,
        features: Path,
        options: Options,
        say: Callable[[str], None],
    ) -> None:
        self._cluster, self._say = cluster, say
        self._need = cluster.need(options.device, options.workers)
        checkpoint = replace(checkpoint, folder=checkpoint.folder.resolve())
        repeated: dict[str, Any] = {
            name: tuple(given) for name, given in vars(options).items() if isinstance(given, list)
        }
        options = replace(options, **repeated)  # workers keep a model by them, and a list has no hash
        features.mkdir(exist_ok=True)
        self._job = Job(replace(manifest, clips=()), checkpoint, features.resolve(), options)
        sought = tuple(islice(drawn(manifest.clips), SOUGHT_AMONG))
        store, dtype, reason = self._once(_settle, (compared_of(len(manifest.clips)), sought))
        self._job = replace(self._job, store=store, options=replace(options, dtype=dtype))
        self._reason = reason
        self.store = Store(features / store)
        self.on_gpu = self._need.gpus > 0

    def prepare(self, todo: Plan) -> None:
        """Measure the batch budget where the tasks will run, before the first of them."""
        self._job = replace(self._job, budget=self._once(_measure, tuple(todo.shards[0])))
        places = self._cluster.places(self._need)
        self._say(f"{self._job.checkpoint.name} by Ray, {places} tasks at a time, each {self._need}; {self._reason}")

    def compute(self, todo: Plan, writer: Writer, advance: Advance) -> None:
        """Each missing shard by a task of its own, committed here under the number it would have got here."""
        with staging.granted(self._job.features / self._job.store) as folder:
            job = replace(self._job, lease=folder)
            shards = (Shard(number, tuple(clips)) for number, clips in zip(writer.numbers, todo.shards))
            with closing(self._run(_compute, job, shards)) as done:
                for shard, (staged, seconds) in done:
                    staging.adopt(folder / staged, shard.number)
                    advance(len(shard.clips), seconds)

    def _once(self, work: Work, item: Any) -> Any:
        ((_, result),) = self._run(work, self._job, [item])
        return result

    def _run(self, work: Work, job: Job, items: Iterable[Any]) -> Generator[tuple[Any, Any], None, None]:
        folders = [job.manifest.root, *job.manifest.more_roots, job.checkpoint.folder, job.lease or job.features]
        return self._cluster.run(work, job, items, self._need, folders)


def _settle(job: Job, sought: tuple[int, tuple[Clip, ...]], place: Place) -> tuple[str, str, str]:
    """Folder name of the store, which is created if it is not there; the precision that is taken, and why.

    sought: by how many clips a precision is measured, and among which.
    """
    torch.set_num_threads(place.cores)
    count, clips = sought
    manifest = replace(job.manifest, clips=clips)
    compared = Compared(count, lambda: first(manifest, clips, count, place.cores, job.checkpoint.backbone.sample_rate))
    options = replace(job.options, device=place.device)
    session = Session(job.checkpoint, job.features, options, compared, lambda sentence: None)
    store = session.store()
    return store.folder.name, session.precision.name, session.reason


def _measure(job: Job, clips: tuple[Clip, ...], place: Place) -> float:
    """The batch budget in seconds, kept with the store."""
    _, encoder = _loaded(job.checkpoint, job.features, job.options, place)
    manifest = replace(job.manifest, clips=clips)
    store = Store(job.features / job.store)
    return budget_of(
        store,
        encoder,
        lambda: first(manifest, clips, CALIBRATION_CLIPS, place.cores, job.checkpoint.backbone.sample_rate),
    )


def _compute(job: Job, shard: Shard, place: Place) -> tuple[str, float]:
    """The folder under the lease in which the shard is staged, whole and durable; and its seconds of audio."""
    assert job.lease is not None
    session, encoder = _loaded(job.checkpoint, job.features, job.options, place)
    staged = staging.attempt(job.lease)
    seconds = 0.0

    def advance(items: int, audio_seconds: float) -> None:
        nonlocal seconds
        seconds += audio_seconds

    manifest = replace(job.manifest, clips=shard.clips)
    writer = Writer(staged, iter([shard.number]))
    pipeline = Pipeline(
        manifest, encoder, writer, place.cores, session.names, session.frames, job.checkpoint.backbone.sample_rate,
        session.pooled,
    )  # fmt: skip
    pipeline.run(Plan((shard.clips,), 0), job.budget, advance)
    return staged.name, seconds


@lru_cache(maxsize=1)  # a worker of Ray takes many shards of a run
def _loaded(checkpoint: Checkpoint, features: Path, options: Options, place: Place) -> tuple[Session, Encoder]:
    """Raises CheckpointError where the node has other weights under the same path."""
    torch.set_num_threads(place.cores)
    found = inspect(checkpoint.folder, checkpoint.name).weights_sha256
    if found != checkpoint.weights_sha256:
        raise CheckpointError(
            f"Node {place.node} has other weights of {checkpoint.name} ({found[:12]}) than the driver "
            f"({checkpoint.weights_sha256[:12]}); expected one folder on shared storage"
        )
    session = Session(checkpoint, features, replace(options, device=place.device), None, lambda sentence: None)
    return session, session.encoder()
