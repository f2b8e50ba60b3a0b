"""`toolkit extract` of an acoustic set: each clip measured, in processes of its own, into a store of one layer."""

import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from toolkit.audio.clip import Clip
from toolkit.audio.decode import NEAR_SILENCE, SAMPLE_RATE, Samples
from toolkit.core.artifacts import cores
from toolkit.core.errors import AudioError
from toolkit.core.progress import Advance
from toolkit.corpus.manifest import Manifest
from toolkit.extract.acoustic.registry import LAYER, SETS, Measured, measure_of
from toolkit.extract.options import Filling, Options
from toolkit.extract.plan import Plan
from toolkit.features.loading import Decoded, decode_all
from toolkit.features.shard import ClipRecord, FailedRecord, ShardContent
from toolkit.features.store import Store, create, folder_of

FEW = 64  # clips that are measured here: beginning processes takes longer


@dataclass(frozen=True)
class AcousticBackbone:
    """An acoustic set in the place of a checkpoint; see `filled.StandIn`. name: what `--model` takes."""

    name: str
    untuned: ClassVar[str] = "is an acoustic set, which has no weights to fine-tune"
    idle: ClassVar[str] = f"is an acoustic set of one layer, {LAYER}"

    def corpus(self, manifest: Manifest) -> Manifest:
        return manifest

    def shards(
        self, manifest: Manifest, todo: Plan, options: Filling, say: Callable[[str], None], advance: Advance
    ) -> Generator[ShardContent, None, None]:
        """Clips that are too short or near-silent fail, with the reason: what has no voice has no numbers."""
        workers, width = options.workers or cores(), len(measure_of(self.name).columns)
        every = (clip for clips in todo.shards for clip in clips)
        with (
            _measuring(1 if todo.missing < FEW else workers) as submit,
            closing(decode_all(manifest, every, workers)) as decoded,
        ):
            for clips in todo.shards:
                yield _shard(self.name, clips, decoded, submit, width, advance)

    def store(self, features: Path, options: Options) -> Store:
        """The store to fill, made if it is not there."""
        return create(features, self.name, (LAYER,), len(measure_of(self.name).columns), self._settings(options))

    def folder(self, features: Path, options: Options) -> Path:
        """Where `store` is, or will be."""
        return folder_of(features, self.name, self._settings(options))

    def _settings(self, options: Options) -> dict[str, Any]:
        """Everything that changes the numbers, the columns' names, and the library's licence where it binds."""
        measure, row = measure_of(self.name), SETS.find(self.name)
        return {
            "acoustic": self.name,
            **SETS.stated(self.name),
            **measure.settings,
            **({"licence": row.licence} if row.licence else {}),
            "columns": list(measure.columns),
            "layers": [LAYER],
            "statistics": ["mean"],
            "preprocessing": f"mono, {SAMPLE_RATE} Hz by soxr HQ",
            **({"windows": asdict(options.windows)} if options.windows else {}),
        }


def check(name: str) -> AcousticBackbone:
    """An acoustic set, its library loaded. Raises MachineError for one that is not installed."""
    measure_of(name)
    return AcousticBackbone(name)


Submit = Callable[[str, Samples], "Future[Measured | str]"]


@contextmanager
def _measuring(workers: int) -> Iterator[Submit]:
    """How a clip is handed over: to `workers` processes, for what measures holds Python's lock; to this one alone."""
    if workers == 1:

        def here(name: str, samples: Samples) -> "Future[Measured | str]":
            done: Future[Measured | str] = Future()
            done.set_result(measured(name, samples))
            return done

        yield here
        return
    context = multiprocessing.get_context("spawn")
    pool: Executor = ProcessPoolExecutor(workers, context, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        yield lambda name, samples: pool.submit(measured, name, samples)
    finally:
        pool.shutdown(cancel_futures=True)


def measured(name: str, samples: Samples) -> Measured | str:
    """A clip's numbers, or the reason why there are none."""
    try:
        return measure_of(name).of(samples)
    except AudioError as error:
        return str(error)


def _shard(
    name: str, clips: Sequence[Clip], decoded: Iterator[Decoded], submit: Submit, width: int, advance: Advance
) -> ShardContent:
    begun: list[tuple[Decoded, Future[Measured | str] | str]] = []
    for _ in clips:
        item = next(decoded)
        if item.audio is None:
            begun.append((item, item.reason))
        elif "near-silent" in item.audio.flags:
            begun.append(
                (item, f"is near-silent (standard deviation below {NEAR_SILENCE:g}): there is nothing to measure")
            )
        else:
            begun.append((item, submit(name, item.audio.samples)))
    records: list[ClipRecord] = []
    failed: list[FailedRecord] = []
    rows: list[np.ndarray[Any, Any]] = []
    for item, one in begun:
        found = one if isinstance(one, str) else one.result()
        advance(1, item.seconds)
        if isinstance(found, str):
            failed.append(FailedRecord(item.clip.id, item.source, found))
        else:
            record = item.record
            records.append(replace(record, flags=(*record.flags, *found.flags)))
            rows.append(found.values)
    mean = np.array(rows, dtype=np.float32).reshape(1, len(rows), width)
    return ShardContent(tuple(records), tuple(failed), {"mean": mean}, exact=True)
