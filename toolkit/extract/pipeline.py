"""Decode, batch, forward, pool, store: the stages of extraction, overlapped."""

import ctypes
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from toolkit.audio import SAMPLE_RATE, Audio, Samples
from toolkit.extract.batching import batches, find_budget, run_halving
from toolkit.extract.decoding import Decoded, decode_all
from toolkit.extract.plan import Plan
from toolkit.features.layout import STATISTICS
from toolkit.features.shard import ClipRecord, FailedRecord, ShardContent, Sidecar
from toolkit.features.store import Writer
from toolkit.manifest import Clip, Manifest
from toolkit.models.pooling import mean_and_std
from toolkit.models.states import Encoder, on_device
from toolkit.progress import Advance

WINDOW_SECONDS = 2_400.0  # of audio that is sorted by length together: 154 MB


@dataclass
class _Shard:
    """A shard as it grows, window by window."""

    clips: list[ClipRecord] = field(default_factory=list)
    failed: list[FailedRecord] = field(default_factory=list)
    statistics: list[npt.NDArray[np.float32]] = field(default_factory=list)  # (2, n_layers, n, width) each
    frames: list[dict[str, npt.NDArray[np.float32]]] = field(default_factory=list)
    frame_counts: list[int] = field(default_factory=list)


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
    ) -> None:
        self.manifest, self.encoder, self.writer, self.workers = manifest, encoder, writer, workers
        self.rows = {layer: row for row, layer in enumerate(layers)}  # of the layers that are stored
        self.frame_layers = tuple(frame_layers)

    def run(self, plan: Plan, budget_seconds: float, advance: Advance) -> None:
        """Extract every shard of the plan; while one is computed, the next is decoded and the last one written.

        Raises what the writer raises (DiskFullError, StoreError); shards committed before stay.
        """
        decoded = decode_all(self.manifest, (clip for clips in plan.shards for clip in clips), self.workers)
        pending: Future[Sidecar] | None = None
        with closing(decoded), ThreadPoolExecutor(1, thread_name_prefix="write") as writing:
            for clips in plan.shards:
                content = self._shard(clips, decoded, budget_seconds, advance)
                give_memory_back()
                if pending:
                    pending.result()
                pending = writing.submit(self.writer.commit, content)
            if pending:
                pending.result()

    def _shard(
        self, clips: Sequence[Clip], decoded: Iterator[Decoded], budget_seconds: float, advance: Advance
    ) -> ShardContent:
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
            if seconds >= WINDOW_SECONDS:
                self._window(window, shard, budget_seconds, advance)
                window, seconds = [], 0.0
        if window:
            self._window(window, shard, budget_seconds, advance)
        return self._content(shard)

    def _too_long(self, audio: Audio) -> str:
        return (
            f"lasts {audio.seconds:,.1f} s, expected at most {self.encoder.longest_seconds:g} s, which fit in memory "
            "at once; --window SECONDS --hop SECONDS cuts such recordings"
        )

    def _window(self, window: Sequence[Decoded], shard: _Shard, budget_seconds: float, advance: Advance) -> None:
        """Compute some clips and append them to the shard, in the manifest's order."""
        samples = [item.audio.samples for item in window if item.audio is not None]
        # stays on the device until the window is done, so that the model never waits for a copy
        shape = (len(STATISTICS), len(self.rows), len(window), self.encoder.width)
        pooled = torch.zeros(shape, device=self.encoder.device)
        frames: list[dict[str, npt.NDArray[np.float32]]] = [{} for _ in window]

        def run(batch: list[int]) -> None:
            columns = on_device(batch, self.encoder.device)
            for layer in self.encoder.states([samples[position] for position in batch]):
                if layer.name in self.rows:
                    both = torch.stack(mean_and_std(layer.values, layer.lengths))
                    pooled[:, self.rows[layer.name]].index_copy_(1, columns, both)
                if layer.name in self.frame_layers:
                    for position, values, length in zip(batch, layer.values.float().cpu(), layer.lengths.tolist()):
                        frames[position][layer.name] = values[:length].numpy()

        reasons: dict[int, str] = {}
        for batch in batches([len(clip) for clip in samples], self.encoder.padded_samples, budget_seconds):
            for position in run_halving(run, batch):
                reasons[position] = (
                    f"at {len(samples[position]) / SAMPLE_RATE:.1f} s it needs more memory than there is"
                )
            advance(len(batch), sum(len(samples[position]) for position in batch) / SAMPLE_RATE)

        values = pooled.cpu().numpy()
        names = tuple(self.rows)
        for layer, position in zip(*np.nonzero(~np.isfinite(values).all(axis=(0, 3)))):
            reasons.setdefault(int(position), f"layer {names[layer]} is not finite in {name_of(self.encoder.dtype)}")
        kept = [position for position in range(len(window)) if position not in reasons]
        for position, item in enumerate(window):
            if position in reasons or item.audio is None:
                shard.failed.append(FailedRecord(item.clip.id, item.source, reasons[position]))
                continue
            source = item.source
            assert source is not None  # it was decoded
            audio = item.audio
            shard.clips.append(
                ClipRecord(item.clip.id, source, audio.sha256, len(audio.samples), audio.flags, item.clip.recording)
            )
            if self.frame_layers:
                shard.frames.append(frames[position])
                shard.frame_counts.append(len(next(iter(frames[position].values()))))
        shard.statistics.append(values[:, :, kept])

    def _content(self, shard: _Shard) -> ShardContent:
        empty = np.zeros((len(STATISTICS), len(self.rows), 0, self.encoder.width), np.float32)
        values = np.concatenate([empty, *shard.statistics], axis=2)
        statistics = dict(zip(STATISTICS, values))
        if not self.frame_layers:
            return ShardContent(tuple(shard.clips), tuple(shard.failed), statistics)
        none = np.zeros((0, self.encoder.width), np.float32)
        frames = {name: np.concatenate([none, *(clip[name] for clip in shard.frames)]) for name in self.frame_layers}
        counts = np.array(shard.frame_counts, dtype=np.int64)
        return ShardContent(tuple(shard.clips), tuple(shard.failed), statistics, frames, counts)


def give_memory_back() -> None:
    """To the system: what lies free between arrays that live longer, which glibc keeps, in ever more pieces.

    8 ms a shard, for 80 MB of a tiny backbone's 620. Other C libraries are left alone.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return


def name_of(dtype: torch.dtype) -> str:
    """torch.float32 -> "float32"."""
    return str(dtype).removeprefix("torch.")


def measure_budget(encoder: Encoder, samples: Sequence[Samples]) -> float:
    """The budget for `batches`, in seconds of audio, measured on the median of some clips; at least 1 s."""
    if not samples:
        return 1.0
    typical = sorted(samples, key=len)[len(samples) // 2]

    def run(count: int) -> None:
        for layer in encoder.states([typical] * count):
            mean_and_std(layer.values, layer.lengths)
        if encoder.device.type == "cuda":
            torch.cuda.synchronize(encoder.device)

    return max(1.0, find_budget(run, encoder.padded_samples(len(typical))))
