"""Decode, batch, forward, pool, store: the stages of extraction, overlapped."""

import ctypes
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from toolkit.audio.clip import Clip
from toolkit.audio.decode import SAMPLE_RATE, Audio, Samples
from toolkit.audio.decode_pool import AHEAD, Ahead
from toolkit.core import seeds
from toolkit.core.errors import MachineError
from toolkit.core.progress import Advance, quiet
from toolkit.corpus.manifest import Manifest
from toolkit.extract.batching import batches, find_budget, run_halving
from toolkit.extract.plan import Plan
from toolkit.extract.pooled import Pooled
from toolkit.features.layout import dataset_of
from toolkit.features.loading import Decoded, decode_all
from toolkit.features.shard import ClipRecord, FailedRecord, ShardContent
from toolkit.features.writer import Writer
from toolkit.models.encoder import Encoder, on_device
from toolkit.models.generic import BOUND, MODES, GenericEncoder
from toolkit.models.pooling import mean_and_std
from toolkit.models.proof import relative_error

# Of audio that is sorted by length together, 64 kB each: the more, the larger the batches of hardly any padding. A GPU
# needs batches of minutes, or it waits for the host's kernel launches, and is done with them in a second.
WINDOW_SECONDS, GPU_WINDOW_SECONDS = 2_400.0, 9_600.0
UNBATCHED = "unbatched"  # flag of clips whose batches were not what each clip is alone; see `material.FLAGS`
TRIM_SECONDS = 2.0  # between two times that freed memory is given back: kernels that come and go leave it in pieces
GPU_AHEAD = Ahead(per_worker=64, seconds=GPU_WINDOW_SECONDS)  # decoded while the host only waits to launch


@dataclass
class _Window:
    """Clips that were computed together.

    statistics: (as `Pooled` has them, n_layers, n, width) float32, and frames of each clip by layer, (n_frames, width):
    on their way from the device until `arrived`. reasons: why clips failed, by their place.
    """

    records: list[ClipRecord]
    statistics: Tensor
    frames: list[dict[str, Tensor]]
    reasons: dict[int, str]
    arrived: torch.cuda.Event | None = None


@dataclass
class _Shard:
    """A shard as it grows, window by window. failed: clips that never reached the model."""

    failed: list[FailedRecord] = field(default_factory=list)
    windows: list[_Window] = field(default_factory=list)


class Pipeline:
    """One run of one encoder over a plan."""

    def __init__(
        self,
        manifest: Manifest,
        encoder: Encoder,
        writer: Writer,
        workers: int,
        layers: Sequence[str],
        frame_layers: Sequence[str] = (),
        sample_rate: int = SAMPLE_RATE,
        pooled: Pooled | None = None,
    ) -> None:
        self.manifest, self.encoder, self.writer, self.workers = manifest, encoder, writer, workers
        self.rows = {layer: row for row, layer in enumerate(layers)}  # of the layers that are stored
        self.frame_layers = tuple(frame_layers)
        self._pooled = pooled or Pooled()
        self._sample_rate = sample_rate  # samples a second
        every = encoder.widths if isinstance(encoder, GenericEncoder) else (encoder.width,) * len(encoder.layer_names)
        widths = dict(zip(encoder.layer_names, every))
        self._widths = [widths[layer] for layer in layers]
        self._on_gpu = encoder.device.type == "cuda"
        self._computed = False  # any clip, yet
        self._next_trim = 0.0
        self._window_seconds = GPU_WINDOW_SECONDS if self._on_gpu else WINDOW_SECONDS

    def run(self, plan: Plan, budget_seconds: float, advance: Advance) -> None:
        """Extract every shard of the plan; while one is computed, the next is decoded and the last one written.

        Raises what the writer raises (DiskFullError, StoreError), and MachineError where not even the shortest clip
        fits into memory; shards committed before stay.
        """
        clips_of_all = (clip for clips in plan.shards for clip in clips)
        far = GPU_AHEAD if self._on_gpu else AHEAD
        decoded = decode_all(self.manifest, clips_of_all, self.workers, far, self._sample_rate)
        pending: Future[None] | None = None
        with closing(decoded), ThreadPoolExecutor(1, thread_name_prefix="write") as writing:
            for clips in plan.shards:
                shard = self._shard(clips, decoded, budget_seconds, advance)
                if pending:
                    pending.result()
                pending = writing.submit(self._commit, shard)
            if pending:
                pending.result()

    def _shard(
        self, clips: Sequence[Clip], decoded: Iterator[Decoded], budget_seconds: float, advance: Advance
    ) -> _Shard:
        shard = _Shard()
        window: list[Decoded] = []
        seconds = 0.0
        for _ in clips:
            item = next(decoded)
            if item.audio is None or item.audio.seconds > self.encoder.longest_seconds:
                reason = item.reason if item.audio is None else self._too_long(item.audio)
                shard.failed.append(FailedRecord(item.clip.id, item.source, reason))
                advance(1, 0.0)
                continue
            window.append(item)
            seconds += item.audio.seconds
            if seconds >= self._window_seconds:
                shard.windows.append(self._window(window, budget_seconds, advance))
                window, seconds = [], 0.0
        if window:
            shard.windows.append(self._window(window, budget_seconds, advance))
        return shard

    def _too_long(self, audio: Audio) -> str:
        context_seconds = isinstance(self.encoder, GenericEncoder) and self.encoder.context_seconds
        why = "which is all that the model hears" if context_seconds else "which fit in memory at once"
        return (
            f"lasts {audio.seconds:,.1f} s, expected at most {self.encoder.longest_seconds:g} s, {why}; "
            "--window SECONDS --hop SECONDS cuts such recordings"
        )

    def _window(self, window: Sequence[Decoded], budget_seconds: float, advance: Advance) -> _Window:
        """Compute some clips, and prove it where the encoder's batches are exact by proof alone."""
        found = self._batched(self.encoder, window, budget_seconds, advance)
        for mode in MODES[MODES.index("equal") :]:
            if not isinstance(self.encoder, GenericEncoder) or self._is_proved(found, window, self.encoder):
                break
            found = self._batched(self.encoder.in_mode(mode), window, budget_seconds, quiet)
            found.records = [replace(record, flags=(*record.flags, UNBATCHED)) for record in found.records]
        return found

    def _is_proved(self, found: _Window, window: Sequence[Decoded], encoder: GenericEncoder) -> bool:
        """Whether one clip, drawn from the window, has what it has alone."""
        place = int(seeds.generator(0, "proof", window[0].clip.id).integers(len(window)))
        audio = window[place].audio
        if encoder.mode == "alone" or audio is None or place in found.reasons:
            return True
        errors = [0.0]
        for layer in encoder.in_mode("alone").states([audio.samples]):
            if layer.name in self.rows:
                alone = self._pooled(layer.values, layer.lengths)[:, 0].cpu()
                stored = found.statistics[:, self.rows[layer.name], place, : alone.shape[1]]
                errors.append(relative_error(stored, alone))
            if layer.name in self.frame_layers:
                errors.append(relative_error(found.frames[place][layer.name], layer.values[0].cpu()))
        return max(errors) <= BOUND

    def _batched(self, encoder: Encoder, window: Sequence[Decoded], budget_seconds: float, advance: Advance) -> _Window:
        """Compute some clips; nothing here waits for the device, which has the next window when it is done with one."""
        samples = [item.audio.samples for item in window if item.audio is not None]
        device = encoder.device
        shape = (len(self._pooled.names), len(self.rows), len(window), encoder.width)
        pooled = torch.zeros(shape, device=device)
        frames: list[dict[str, Tensor]] = [{} for _ in window]

        def run(batch: list[int]) -> None:
            columns = on_device(batch, device)
            for layer in encoder.states([samples[position] for position in batch]):
                if layer.name in self.rows:
                    found = self._pooled(layer.values, layer.lengths)
                    pooled[:, self.rows[layer.name], :, : found.shape[2]].index_copy_(1, columns, found)
                if layer.name in self.frame_layers:
                    for position, values in zip(batch, layer.values):  # copied: a view would keep the batch's padding
                        valid = values[: encoder.frames(len(samples[position]))]
                        frames[position][layer.name] = valid.to("cpu", non_blocking=True, copy=True)
            self._computed = True

        reasons: dict[int, str] = {}
        for batch in batches([len(clip) for clip in samples], encoder.padded_samples, budget_seconds):
            for position in run_halving(run, batch):
                reason = f"at {len(samples[position]) / self._sample_rate:.1f} s it needs more memory than there is"
                if not self._computed:  # the shortest clips come first
                    raise MachineError(
                        f"Clip {window[position].clip.id!r}: {reason} on {device}; other programs may use it"
                    )
                reasons[position] = reason
            if not self._on_gpu and time.monotonic() > self._next_trim:
                give_memory_back()
                self._next_trim = time.monotonic() + TRIM_SECONDS
            advance(len(batch), sum(len(samples[position]) for position in batch) / self._sample_rate)
        result = _Window([item.record for item in window], pooled.to("cpu", non_blocking=True), frames, reasons)
        if self._on_gpu:
            result.arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            result.arrived.record(torch.cuda.current_stream(device))
        return result

    def _commit(self, shard: _Shard) -> None:
        self.writer.commit(self._content(shard))
        give_memory_back()

    def _content(self, shard: _Shard) -> ShardContent:
        """What the store keeps of a shard, its clips in the manifest's order, once all of it has arrived."""
        clips: list[ClipRecord] = []
        failed = list(shard.failed)
        statistics: list[npt.NDArray[np.float32]] = []
        frames: list[dict[str, Tensor]] = []
        names = tuple(self.rows)
        for window in shard.windows:
            if window.arrived is not None:
                window.arrived.synchronize()
            values, reasons, dtype = window.statistics.numpy(), window.reasons, self.encoder.precision.name
            if dtype == "float16":
                dtype += ", which ends at 65,504; --dtype tf32 and float32 end later"
            for layer, position in zip(*np.nonzero(~np.isfinite(values).all(axis=(0, 3)))):
                reasons.setdefault(int(position), f"layer {names[layer]} is not finite in {dtype}")
            failed += [
                FailedRecord(window.records[position].id, window.records[position].source, reasons[position])
                for position in sorted(reasons)
            ]
            kept = [position for position in range(len(window.records)) if position not in reasons]
            clips += [window.records[position] for position in kept]
            frames += [window.frames[position] for position in kept]
            statistics.append(values[:, :, kept] if reasons else values)
        if len(statistics) != 1:
            empty = np.zeros((len(self._pooled.names), len(self.rows), 0, self.encoder.width), np.float32)
            statistics = [np.concatenate([empty, *statistics], axis=2)]
        content = ShardContent(
            tuple(clips), tuple(failed), by_layer(statistics[0], names, self._widths, self._pooled.names)
        )
        if not self.frame_layers:
            return content
        none = np.zeros((0, self.encoder.width), np.float32)
        joined = {name: np.concatenate([none, *(clip[name].numpy() for clip in frames)]) for name in self.frame_layers}
        counts = np.array([len(next(iter(clip.values()))) for clip in frames], dtype=np.int64)
        return replace(content, frames=joined, frame_counts=counts)


def by_layer(
    values: npt.NDArray[np.float32],
    names: Sequence[str],
    widths: Sequence[int],
    statistics: Sequence[str],
) -> dict[str, npt.NDArray[np.float32]]:
    """A shard's datasets: of all layers, (n_layers, n, width), or one a layer where their widths differ.

    values: (statistics, n_layers, n, largest width).
    """
    if len(set(widths)) == 1:
        return dict(zip(statistics, values))
    return {
        dataset_of(statistic, name): each[row, :, :width]
        for statistic, each in zip(statistics, values)
        for row, (name, width) in enumerate(zip(names, widths))
    }


def give_memory_back() -> None:
    """To the system: what is free between arrays that live longer, which glibc keeps, in ever more pieces.

    8 ms a shard, for 80 MB of a tiny backbone's 620. Other C libraries are left alone.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return


def measure_budget(encoder: Encoder, samples: Sequence[Samples]) -> float:
    """The budget for `batches`, in seconds of audio, measured on the median of some clips."""
    typical = sorted(samples, key=len)[len(samples) // 2]

    def run(count: int) -> None:
        for layer in encoder.states([typical] * count):
            mean_and_std(layer.values, layer.lengths)
        if encoder.device.type == "cuda":
            torch.cuda.synchronize(encoder.device)

    return find_budget(run, encoder.padded_samples(len(typical)))
