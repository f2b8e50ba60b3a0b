"""`toolkit extract`: one backbone over one manifest, into its feature store."""

import json
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from toolkit.audio.clip import Clip
from toolkit.audio.decode import Samples
from toolkit.audio.decode_pool import header
from toolkit.core import seeds
from toolkit.core.artifacts import commit_json, cores
from toolkit.core.errors import AudioError, DiskFullError
from toolkit.core.progress import Advance, bar
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.windows import cut
from toolkit.extract.deviation import FEWEST_COMPARED, MOST_COMPARED, Compared
from toolkit.extract.options import Filling, Options
from toolkit.extract.pipeline import Pipeline, measure_budget
from toolkit.extract.plan import Plan, plan
from toolkit.extract.setup import Session
from toolkit.features import costs, replaced
from toolkit.features.loading import decode_all
from toolkit.features.store import Store
from toolkit.features.writer import Writer
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.encoder import Encoder

CALIBRATION_CLIPS = 32  # to find the batch size by
FEW_CLIPS = 8  # to find it takes the time of six clips at least, of ten as a rule
CALIBRATION_SECONDS = 30.0  # of each
BUDGETS_FILE = "batches.json"
LEAST_BUDGET = 1.0  # seconds of audio


class Executor(Protocol):
    """Who does the work of a run: this process (`LocalExecutor`), or others (`toolkit.extract.ray.RayExecutor`)."""

    store: Store  # the one to fill, made if it was not there
    on_gpu: bool

    def prepare(self, todo: Plan) -> None:
        """All that is needed before the first batch: a loaded model, the batch budget."""
        ...

    def compute(self, todo: Plan, writer: Writer, advance: Advance) -> None:
        """Every shard of the plan, under the writer's next numbers."""
        ...


class LocalExecutor:
    """A run in this process."""

    def __init__(
        self, manifest: Manifest, checkpoint: Checkpoint, features: Path, options: Options, say: Callable[[str], None]
    ) -> None:
        self._manifest, self._workers = manifest, options.workers or cores()
        self._sample_rate = sample_rate = checkpoint.backbone.sample_rate

        count = compared_of(len(manifest.clips))
        compared = Compared(count, lambda: first(manifest, drawn(manifest.clips), count, self._workers, sample_rate))
        self._session = Session(checkpoint, features, options, compared, say)
        self.store = self._session.store()
        self.on_gpu = self._session.device.type == "cuda"

    def prepare(self, todo: Plan) -> None:
        def samples() -> list[Samples]:
            return first(self._manifest, todo.shards[0], CALIBRATION_CLIPS, self._workers, self._sample_rate)

        self._encoder = self._session.encoder()
        self._budget = budget_of(self.store, self._encoder, samples, todo.missing)

    def compute(self, todo: Plan, writer: Writer, advance: Advance) -> None:
        layers, frames = self.store.layers, self._session.frames
        pipeline = Pipeline(
            self._manifest, self._encoder, writer, self._workers, layers, frames, self._sample_rate,
            self._session.pooled,
        )  # fmt: skip
        pipeline.run(todo, self._budget, advance)


@dataclass(frozen=True)
class Extraction:
    """What a run did. new: clips it tried; before: those that were there; failed: of both, the reason by id; flags: of
    both, how many have which; bytes: of the store's data files, clips of other manifests among them."""

    store: Store
    new: int
    before: int
    failed: dict[str, str]
    flags: Mapping[str, int]
    bytes: int
    seconds: float


def extract(
    manifest: Manifest,
    checkpoint: Checkpoint,
    features: Path,
    options: Options,
    say: Callable[[str], None] = lambda sentence: None,
    show: Callable[[str, int, str], AbstractContextManager[Advance]] = bar,
    begin: Callable[[Manifest, Checkpoint, Path, Options, Callable[[str], None]], Executor] = LocalExecutor,
) -> Extraction:
    """Compute what is missing of every clip's layers and commit it to the store that the options name.

    features: the workspace's folder of stores. say: gets the sentences a user should read, e.g. which dtype and why.
    begin: gives the executor that does the work; the store does not say which it was.
    Raises InputError, CheckpointError, StoreError, DiskFullError. Clips that fail do not raise: they are recorded.
    """
    began = time.monotonic()
    recordings = len(manifest.clips)
    manifest = cut(manifest, options.windows)
    if options.windows:
        say(f"{recordings:,} recordings are {len(manifest.clips):,} clips, windows of {options.windows.seconds:g} s")
    executor = begin(manifest, checkpoint, features, options, say)
    store = executor.store
    with store.writing() as writer:
        todo = due(manifest, store, writer, options, say, executor.on_gpu)
        before = len(store.clips) + len(store.failed)
        already = f"{todo.done:,} of {len(manifest.clips):,} clips are in {store.folder.name} already"
        if todo.done:
            say(f"{already}; {todo.missing:,} are missing" if todo.missing else already)
        if todo.missing:
            store.refresh()  # its index takes a kilobyte a clip, and is not needed to compute
            if options.frames:
                say(_frames_price(manifest, todo.shards, store, checkpoint.backbone.frame_rate))
            executor.prepare(todo)
            with show(f"extract {store.backbone}", todo.missing, "clips") as advance:
                executor.compute(todo, writer, advance)
    del executor  # the backbone's memory
    return counted(manifest, store, todo, before, began)


def due(
    manifest: Manifest,
    store: Store,
    writer: Writer,
    options: Filling,
    say: Callable[[str], None],
    on_gpu: bool = False,
    what: str = "audio",
) -> Plan:
    """What a store lacks of a manifest's clips. What it holds of clips that are other `what` now leaves it."""
    todo = plan(manifest, store, options.retry_failed, on_gpu, say, options.changed)
    if todo.changed:
        say(f"{len(todo.changed):,} clips are other {what} than before: what {store.folder.name} holds of them goes")
        replaced.take_out(store, writer, todo.changed)
    writer.renew(todo.moved)
    return todo


def counted(manifest: Manifest, store: Store, todo: Plan, before: int, began: float) -> Extraction:
    """What a run did. before: clips that the store had tried; began: of `time.monotonic()`."""
    total = store.total()
    if todo.missing:
        costs.add(store, before, total.tried, time.monotonic() - began)
    failed = {clip.id: total.failed[clip.id] for clip in manifest.clips if clip.id in total.failed}
    flags = Counter(flag for clip in manifest.clips for flag in total.flags.get(clip.id, ()))
    return Extraction(store, todo.missing, todo.done, failed, flags, total.bytes, time.monotonic() - began)


def compared_of(clips: int) -> int:
    """By how many of a corpus's clips a precision is measured."""
    return min(clips, MOST_COMPARED, max(FEWEST_COMPARED, clips // 25))


def drawn(clips: Sequence[Clip]) -> Iterator[Clip]:
    """All clips in an order drawn at random, the same each time: the first of a corpus are often one caller's."""
    return (clips[place] for place in seeds.generator(0, "compared").permutation(len(clips)))


def first(manifest: Manifest, clips: Iterable[Clip], count: int, workers: int, sample_rate: int) -> list[Samples]:
    """The beginnings of the first clips that have audio, at `sample_rate` samples a second."""
    most = round(CALIBRATION_SECONDS * sample_rate)
    with closing(decode_all(manifest, clips, workers, sample_rate=sample_rate)) as decoded:
        return list(islice((item.audio.samples[:most] for item in decoded if item.audio is not None), count))


def budget_of(
    store: Store, encoder: Encoder, samples: Callable[[], list[Samples]], clips: int = CALIBRATION_CLIPS
) -> float:
    """The batch size in seconds of audio, kept with the store, so that a resumed run batches as before.

    clips: that are to be computed. A few run one by one where nothing is kept: measuring would take longer.
    """
    path = store.folder / BUDGETS_FILE
    device = torch.cuda.get_device_name(encoder.device) if encoder.device.type == "cuda" else str(encoder.device)
    try:
        stored = {str(key): float(value) for key, value in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        stored = {}
    budgets = {key: value for key, value in stored.items() if LEAST_BUDGET <= value < math.inf}
    if device not in budgets:
        if clips <= FEW_CLIPS:
            return LEAST_BUDGET
        typical = samples()
        if not typical:  # nothing here has audio; what comes later may
            return LEAST_BUDGET
        budgets[device] = max(LEAST_BUDGET, measure_budget(encoder, typical))
        commit_json(path, budgets)
    return budgets[device]


def _frames_price(manifest: Manifest, shards: Sequence[Sequence[Clip]], store: Store, frame_rate: float) -> str:
    """A sentence with the bytes that frame-level states will take. Raises DiskFullError when they will not fit."""
    seconds = 0.0
    for clip in (clip for clips in shards for clip in clips):
        try:
            seconds += header(manifest.audio_path(clip), clip.start, clip.end, clip.channel).seconds
        except AudioError:
            continue  # it will be named when it is decoded
    layers = store.settings["frames"]
    price = round(seconds * frame_rate) * store.width * len(layers) * np.dtype(np.float16).itemsize
    free = shutil.disk_usage(store.folder).free
    if price > free:
        raise DiskFullError(
            f"Frames of {len(layers)} layers of {seconds:,.0f} s of audio need {price:,} bytes; {free:,} are free"
        )
    return f"Frames of {len(layers)} layers of {seconds:,.0f} s of audio will take {price:,} bytes ({free:,} are free)"
