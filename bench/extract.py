"""Extraction side by side with what a researcher would write instead, and with the floor under all of them.

    python bench/extract.py                              HuBERT-base and Whisper-small, 48 clips
    python bench/extract.py --model whisper-medium --clips 32 --context clip
    python bench/extract.py --profile                    what the floor's time goes into, too
    python bench/extract.py --front-end                  what decoding, resampling and mel can feed

One run, one machine, one checkpoint (real sizes, random weights), the same clips: durations log-normal around 3 s, cut
to 0.5 .. 20 s, wav at 22.05, 16 and 8 kHz. Every way begins with the files on disk and a loaded model:

    loop      transformers, one clip at a time, float32, all hidden states, mean over the clip's frames
    padded    transformers, batches of 8 in file order, the feature extractor pads, float32, mean over all frames
    half      `loop` in bfloat16, as `dtype=torch.bfloat16` gives it
    sorted    transformers in bfloat16, batches of 8 sorted by length, mean over the clip's own frames
    compiled  on CUDA `sorted` in float16 with SDPA and torch.compile, warm
    floor     our forward passes alone, in the dtype and the batches of `extract`; nothing decoded, pooled or stored
    extract   `toolkit extract`: decode, batch, forward, pool, committed shards

`off by` is the largest relative error of a clip's mean, in any layer, against `loop`. What is printed is measured,
never asserted. On a machine that others use at the same time, `--threads 1 --clock
processor` compares the work of all threads instead of the time on the wall; waiting for other programs does not count.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import transformers
from plain_loops import DTYPES, PlainLoops
from workload import CLOCKS, CONFIGS, checkpoint_of, corpus_of, durations, machine, peak

from toolkit.audio.decode import SAMPLE_RATE, Samples, decode
from toolkit.core.matmul import rounded_up
from toolkit.core.progress import Advance, quiet
from toolkit.corpus.manifest import Manifest
from toolkit.extract.batching import batches
from toolkit.extract.options import Options
from toolkit.extract.run import BUDGETS_FILE, Extraction, budget_of, extract
from toolkit.features.layout import CLIPS_PER_SHARD
from toolkit.features.loading import decode_all
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.encoder import on_device, waveforms
from toolkit.models.load import choose_device, load
from toolkit.models.logmel import LogMel
from toolkit.models.normalisation import normalise
from toolkit.models.precision import PRECISIONS, ladder

PROFILED_CLIPS = 100
now = CLOCKS["wall"]


@dataclass
class Bench:
    """One model on one corpus; each way gives the seconds it took."""

    checkpoint: Checkpoint
    corpus: Manifest
    options: Options
    folder: Path

    def __post_init__(self) -> None:
        self.device = choose_device(self.options.device)
        self.samples = [decode(self.corpus.audio_path(clip)).samples for clip in self.corpus.clips]
        self.audio_seconds = sum(map(len, self.samples)) / SAMPLE_RATE
        self.whisper = self.checkpoint.backbone.family == "whisper"
        self.plain = PlainLoops(self.checkpoint.folder, self.corpus, self.whisper, self.device, now)
        # Seconds of the first `extract` before its first batch: load, precision, batch size. And from then on.
        self.started = self.first = 0.0

    def first_extract(self) -> Extraction:
        """The store's beginning: what is measured once per store (dtype, batch size) is measured here."""
        self.result, self.first = self._extract(self.folder / "first")
        self.started = self.result.seconds - self.first
        self.dtype = self.result.store.settings["dtype"]
        self.encoder = load(
            self.checkpoint,
            self.device,
            PRECISIONS[self.dtype],
            context="clip" if self.whisper and self.options.context == "clip" else "full",
        )
        self.budget = budget_of(self.result.store, self.encoder, list, len(self.corpus.clips))
        return self.result

    def extract(self) -> float:
        """Seconds from the first decoded file to the last committed shard, in a store that holds nothing else."""
        fresh = self.folder / "again"
        store = fresh / self.result.store.folder.name
        store.mkdir(parents=True)
        for file in (BUDGETS_FILE, "precision.json"):
            if (self.result.store.folder / file).exists():
                shutil.copy(self.result.store.folder / file, store)
        seconds = self._extract(fresh)[1]
        shutil.rmtree(fresh)
        return seconds

    def _extract(self, features: Path) -> tuple[Extraction, float]:
        inside = 0.0

        @contextmanager
        def timed(title: str, total: int, unit: str) -> Iterator[Advance]:
            nonlocal inside
            began = now()
            yield quiet
            inside = now() - began

        return extract(self.corpus, self.checkpoint, features, self.options, show=timed), inside

    def floor(self, most: int | None = None) -> float:
        """most: so many clips alone."""
        lengths = [len(clip) for clip in self.samples[:most]]
        began = now()
        for batch in self._batches(lengths):
            for _ in self.encoder.states([self.samples[position] for position in batch]):
                pass
        self._wait()
        return now() - began

    def profile(self) -> str:
        """What the floor's time goes into, operation by operation."""
        on_cuda = self.device.type == "cuda"
        activities = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] * on_cuda)]
        with torch.profiler.profile(activities=activities) as profiled:
            self.floor(PROFILED_CLIPS)
        order = "self_cuda_time_total" if on_cuda else "self_cpu_time_total"
        return str(profiled.key_averages().table(order, row_limit=20, max_name_column_width=60))

    def padding(self) -> float:
        """Share of what is computed that is no clip's own (for Whisper's full context that is silence, by design).

        Counted in a layer's products, whose rows are rounded up on CPUs; 320 samples a frame in all families. Of a
        whole shard: the fewer clips, the worse their lengths go together.
        """
        seconds = durations(CLIPS_PER_SHARD, np.random.default_rng(0))
        lengths, cost = [round(SAMPLE_RATE * length) for length in seconds], self.encoder.padded_samples
        frames = [len(batch) * cost(max(lengths[clip] for clip in batch)) // 320 for batch in self._batches(lengths)]
        computed = 320 * sum(rounded_up(count, self.encoder.precision.dtype, self.device) for count in frames)
        return 1 - sum(lengths) / computed

    def _batches(self, lengths: list[int]) -> Iterator[list[int]]:
        return batches(lengths, self.encoder.padded_samples, self.budget)

    def error(self, method: str) -> float:
        """The largest relative error of a mean against the loop's, over clips and layers."""
        exact, found = self.plain.means["loop"], self.plain.means.get(method)
        if found is None:
            store = self.result.store
            found = np.stack([store.layer(name).mean for name in store.layers], axis=1)
        return float((np.linalg.norm(found - exact, axis=2) / np.linalg.norm(exact, axis=2)).max())

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def compare(
    name: str, corpus: Manifest, options: Options, folder: Path, repeats: int, skip: Sequence[str], profile: bool
) -> None:
    """Print one model's table: the best of `repeats` of each way, taken in turns."""
    bench = Bench(checkpoint_of(name, folder), corpus, options, Path(tempfile.mkdtemp(dir=folder)))
    bench.first_extract()
    every = ("loop", "padded", "half", "sorted", *["compiled"] * (bench.device.type == "cuda"), "floor", "extract")
    methods = {
        method: getattr(bench.plain if method in DTYPES else bench, method) for method in every if method not in skip
    }
    seconds = {method: float("inf") for method in methods}
    for _ in range(repeats):
        for method, run in methods.items():
            seconds[method] = min(seconds[method], run())
    context = f", {bench.options.context} context" if bench.whisper else ""
    clips = len(corpus.clips)
    print(f"\n{name}{context}, {clips} clips, {bench.audio_seconds:,.0f} s of audio, {bench.dtype}, {bench.device}")
    print(f"  {'':9}{'seconds':>9}{'s a clip':>10}{'audio s/s':>11}{'loop / it':>11}{'it / floor':>12}{'off by':>10}")
    for method, took in seconds.items():
        dtype = DTYPES.get(method, bench.dtype)
        compared = "loop" in seconds and (method in bench.plain.means or method == "extract")
        error = f"{bench.error(method):10.1e}" if compared else f"{'-':>10}"
        against_loop = f"{seconds['loop'] / took:.2f}" if "loop" in seconds else "-"
        print(
            f"  {method:9}{took:9.2f}{took / clips:10.4f}{bench.audio_seconds / took:11.1f}{against_loop:>11}"
            f"{took / seconds['floor']:12.3f}{error}  {dtype}"
        )
    print(f"  padding {bench.padding():.1%} of what a shard computes; batches of {bench.budget:g} s")
    print(
        f"  the first extract, with shapes that the device had not met, {bench.first:.2f} s; once a store: load, dtype "
        f"and batch size {bench.started:.1f} s (neither in the times above)",
        flush=True,
    )
    if profile:
        print(bench.profile(), flush=True)
    shutil.rmtree(bench.folder)


def front_end(corpus: Manifest, device: torch.device, workers: int) -> None:
    """Print what feeds a model: audio seconds per second on all cores, a shard sorted into batches of 100 s."""
    log_mel = LogMel(transformers.WhisperFeatureExtractor(), device)

    def normalised(batch: list[Samples]) -> torch.Tensor:
        lengths = on_device([len(clip) for clip in batch], device)
        return normalise(waveforms(batch, (len(batch), max(map(len, batch))), device), lengths)

    methods: dict[str, Callable[[list[Samples]], object]] = {
        "decode + resample": lambda batch: None,
        "  + normalise (wav2vec 2.0)": normalised,
        "  + log-mel, clip context": lambda batch: log_mel(batch, 2 * max(-(-len(clip) // 320) for clip in batch)),
        "  + log-mel, full context": lambda batch: log_mel(batch),
    }
    print(f"\nfront end, {len(corpus.clips)} clips, {workers} decoding threads, device {device}")
    for method, run in methods.items():
        best = float("inf")
        for _ in range(3):
            began, samples = now(), list[Samples]()
            for item in decode_all(corpus, corpus.clips, workers):
                assert item.audio is not None, item.reason
                samples.append(item.audio.samples)
            for batch in batches([len(clip) for clip in samples], lambda length: length, 100.0):
                run([samples[position] for position in batch])
            audio = sum(map(len, samples)) / SAMPLE_RATE
            best = min(best, now() - began)
        print(f"  {method:30}{audio / best:9,.0f} audio s/s{1e3 * best / len(corpus.clips):8.2f} ms a clip", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    models = [name for name in CONFIGS if name != "tiny"]
    parser.add_argument("--model", action="append", choices=models, help="may be repeated")
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--times", type=int, default=1, help="the clips so many times over: files take long to make")
    parser.add_argument("--repeats", type=int, default=2, help="the best of so many is taken")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--context", default="full", help="of Whisper: full or clip")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="of torch; its own choice unless told")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: of all threads together")
    parser.add_argument("--skip", action="append", default=[], choices=list(DTYPES), help="a way to leave out")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--front-end", action="store_true")
    parser.add_argument("--folder", type=Path, help="keep clips and checkpoints here, for the next run")
    given = parser.parse_args()
    global now
    now = CLOCKS[given.clock]
    if given.threads:
        torch.set_num_threads(given.threads)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    device = choose_device(given.device)
    ladder(given.dtype, device)  # decides what oneDNN keeps, before the first product, as in `toolkit extract`
    peaks = ", ".join(f"{peak(dtype, device):,.0f} in {dtype}" for dtype in (torch.float32, torch.bfloat16))
    print(f"{machine()}; {given.clock} clock; products at best, GFLOP/s: {peaks}".replace("torch.", ""), flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        corpus = corpus_of(given.clips, folder / f"clips-{given.clips}")
        again = [replace(clip, id=f"{clip.id}-{turn}") for turn in range(given.times) for clip in corpus.clips]
        corpus = replace(corpus, clips=tuple(again)) if given.times > 1 else corpus
        if given.front_end:
            front_end(corpus, device, os.cpu_count() or 1)
            return
        options = Options(dtype=given.dtype, context=given.context, device=given.device)
        for name in given.model or ("hubert-base", "whisper-small"):
            compare(name, corpus, options, folder, given.repeats, given.skip, given.profile)


if __name__ == "__main__":
    main()
