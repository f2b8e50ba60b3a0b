"""Extraction side by side with what a researcher would write instead, and with the floor under all of them.

    python bench/extract.py                              HuBERT-base and Whisper-small, 48 clips
    python bench/extract.py --model whisper-medium --clips 32 --context clip
    python bench/extract.py --front-end                  what decoding, resampling and mel can feed
    python bench/extract.py --memory                     peak memory and restart, 500 against 50,000 clips

One run, one machine, one checkpoint (real sizes, random weights), the same clips: durations log-normal around 3 s, cut
to 0.5 .. 20 s, wav at 22.05, 16 and 8 kHz. Every way begins with the files on disk and a loaded model:

    loop      transformers, one clip at a time, float32, all hidden states, mean over the clip's frames
    padded    transformers, batches of 8 in file order, the feature extractor pads, float32, mean over all frames
    floor     our forward passes alone, in the dtype and the batches of `extract`; nothing decoded, pooled or stored
    extract   `toolkit extract`: decode, batch, forward, pool, committed shards

What is printed is measured, never asserted. On a machine that others use at the same time, `--threads 1 --clock
processor` compares the work of all threads instead of the time on the wall; waiting for other programs does not count.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import transformers

from toolkit import manifest as manifests
from toolkit.audio import SAMPLE_RATE, Samples, decode
from toolkit.extract.batching import batches
from toolkit.extract.decoding import decode_all
from toolkit.extract.run import BUDGETS_FILE, Extraction, extract
from toolkit.extract.session import Options
from toolkit.manifest import Manifest
from toolkit.models.checkpoint import Checkpoint, inspect
from toolkit.models.load import choose_device, load
from toolkit.models.logmel import LogMel
from toolkit.models.normalisation import normalise
from toolkit.progress import Advance, quiet

RATES = (22_050, 16_000, 8_000)
MEDIAN_SECONDS, SPREAD, SHORTEST, LONGEST = 3.0, 0.7, 0.5, 20.0
PADDED_BATCH = 8
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
now = CLOCKS["wall"]


def _whisper(width: int, layers: int, heads: int) -> transformers.WhisperConfig:
    """The encoder's real size; the decoder, which no way here runs, of one layer to spare the disk."""
    return transformers.WhisperConfig(
        d_model=width,
        encoder_layers=layers,
        encoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
        decoder_layers=1,
        decoder_attention_heads=heads,
        decoder_ffn_dim=4 * width,
    )


CONFIGS: dict[str, Callable[[], Any]] = {
    "hubert-base": transformers.HubertConfig,
    "xlsr-53-large": lambda: transformers.Wav2Vec2Config(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        feat_extract_norm="layer",
        conv_bias=True,
        do_stable_layer_norm=True,
    ),
    "whisper-small": lambda: _whisper(768, 12, 12),
    "whisper-medium": lambda: _whisper(1024, 24, 16),
    "tiny": lambda: transformers.HubertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    ),
}


def checkpoint_of(name: str, folder: Path) -> Checkpoint:
    """A checkpoint of that model's size with random weights, made in `folder` if it is not there."""
    place = folder / f"random-{name}"
    if not place.is_dir():
        torch.manual_seed(0)
        config = CONFIGS[name]()
        model = transformers.AutoModel.from_config(config)
        whisper = config.model_type == "whisper"
        kind = transformers.WhisperFeatureExtractor if whisper else transformers.Wav2Vec2FeatureExtractor
        model.save_pretrained(place)
        (kind() if whisper else kind(do_normalize=True)).save_pretrained(place)
    return inspect(place, place.name)


def voice(seconds: float, rate: int, generator: np.random.Generator) -> Samples:
    """Harmonics of a gliding pitch in syllables, with breath: (round(seconds * rate),) float32."""
    time_ = np.arange(round(seconds * rate)) / rate
    pitch = 110 * 2 ** generator.uniform(0, 1) * (1 + 0.2 * np.sin(2 * np.pi * generator.uniform(0.5, 2) * time_))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    tone = sum(np.sin(k * phase) / k for k in range(1, 12))
    syllables = 0.1 + np.sin(2 * np.pi * generator.uniform(2, 4) * time_) ** 2
    return np.asarray(0.1 * syllables * tone + 0.005 * generator.standard_normal(len(time_)), dtype=np.float32)


def corpus_of(count: int, folder: Path) -> Manifest:
    """Hotline-like clips and their manifest, made in `folder`; the same ones for the same count."""
    generator = np.random.default_rng(0)
    seconds = np.clip(MEDIAN_SECONDS * np.exp(SPREAD * generator.standard_normal(count)), SHORTEST, LONGEST)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, length in enumerate(seconds):
        rate = RATES[number % len(RATES)]
        soundfile.write(folder / f"{number}.wav", voice(float(length), rate, generator), rate)
        rows.append((str(number), f"{number}.wav"))
    manifests.write(folder / manifests.FILE_NAME, ("id", "path"), rows)
    return manifests.read(folder / manifests.FILE_NAME)


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
        whole = transformers.AutoModel.from_pretrained(str(self.checkpoint.folder), dtype=torch.float32)
        self.model = (whole.get_encoder() if self.whisper else whole).eval().to(self.device)
        self.extractor = transformers.AutoFeatureExtractor.from_pretrained(str(self.checkpoint.folder))
        self.started = 0.0  # seconds of the first `extract` before its first batch: load, precision, batch size

    def first_extract(self) -> Extraction:
        """The store's beginning: what is measured once per store (dtype, batch size) is measured here."""
        self.result, inside = self._extract(self.folder / "first")
        self.started = self.result.seconds - inside
        self.dtype = self.result.store.settings["dtype"]
        budgets = json.loads((self.result.store.folder / BUDGETS_FILE).read_text())
        self.budget = float(next(iter(budgets.values())))
        self.encoder = load(
            self.checkpoint,
            self.device,
            getattr(torch, self.dtype),
            context="clip" if self.whisper and self.options.context == "clip" else "full",
        )
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

    def floor(self) -> float:
        lengths = [len(clip) for clip in self.samples]
        began = now()
        for batch in batches(lengths, self.encoder.padded_samples, self.budget):
            for _ in self.encoder.states([self.samples[position] for position in batch]):
                pass
        self._wait()
        return now() - began

    def padding(self) -> float:
        """Share of what is computed that is no clip's own (for Whisper's full context that is silence, by design)."""
        lengths, cost = [len(clip) for clip in self.samples], self.encoder.padded_samples
        computed = sum(
            len(batch) * cost(max(lengths[clip] for clip in batch)) for batch in batches(lengths, cost, self.budget)
        )
        return 1 - sum(lengths) / computed

    def loop(self) -> float:
        began = now()
        self.means = []
        for clip in self.corpus.clips:
            samples = decode(self.corpus.audio_path(clip)).samples
            states = self._states(self.extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt"))
            own = -(-len(samples) // 320) if self.whisper else None
            self.means.append(torch.stack([layer[0, :own].mean(dim=0) for layer in states]).cpu().numpy())
        return now() - began

    def padded(self) -> float:
        began = now()
        paths = [self.corpus.audio_path(clip) for clip in self.corpus.clips]
        padding: dict[str, Any] = {} if self.whisper else {"padding": True}
        for first in range(0, len(paths), PADDED_BATCH):
            samples = [decode(path).samples for path in paths[first : first + PADDED_BATCH]]
            inputs = self.extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt", **padding)
            torch.stack([layer.mean(dim=1) for layer in self._states(inputs)]).cpu()
        return now() - began

    @torch.inference_mode()
    def _states(self, inputs: Any) -> Sequence[torch.Tensor]:
        hidden: Sequence[torch.Tensor] = self.model(**inputs.to(self.device), output_hidden_states=True).hidden_states
        return hidden

    def error(self) -> float:
        """The largest relative error of a stored mean against the loop's, over clips and layers."""
        store, ours = self.result.store, np.stack(self.means, axis=1)
        worst = 0.0
        for row, name in enumerate(store.layers):
            stored = store.layer(name).mean
            error = np.linalg.norm(stored - ours[row], axis=1) / np.linalg.norm(ours[row], axis=1)
            worst = max(worst, float(error.max()))
        return worst

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def compare(name: str, corpus: Manifest, options: Options, folder: Path, repeats: int, skip: Sequence[str]) -> None:
    """Print one model's table: the best of `repeats` of each way, taken in turns."""
    bench = Bench(checkpoint_of(name, folder), corpus, options, Path(tempfile.mkdtemp(dir=folder)))
    bench.first_extract()
    ways = {way: getattr(bench, way) for way in ("loop", "padded", "floor", "extract") if way not in skip}
    seconds = {way: float("inf") for way in ways}
    for _ in range(repeats):
        for way, run in ways.items():
            seconds[way] = min(seconds[way], run())
    context = f", {bench.options.context} context" if bench.whisper else ""
    clips = len(corpus.clips)
    print(f"\n{name}{context}, {clips} clips, {bench.audio_seconds:,.0f} s of audio, {bench.dtype}, {bench.device}")
    print(f"  {'':9}{'seconds':>9}{'s a clip':>10}{'audio s/s':>11}{'loop / it':>11}{'it / floor':>12}")
    for way, took in seconds.items():
        dtype = bench.dtype if way in ("floor", "extract") else "float32"
        against_loop = f"{seconds['loop'] / took:.2f}" if "loop" in seconds else "-"
        print(
            f"  {way:9}{took:9.2f}{took / clips:10.4f}{bench.audio_seconds / took:11.1f}{against_loop:>11}"
            f"{took / seconds['floor']:12.3f}  {dtype}"
        )
    agreement = f"; largest relative error of a mean against the loop {bench.error():.1e}" if "loop" in ways else ""
    print(f"  padding {bench.padding():.1%} of what is computed; batches of {bench.budget:g} s{agreement}")
    print(f"  once a store: load, dtype and batch size {bench.started:.1f} s (not in the times above)", flush=True)
    shutil.rmtree(bench.folder)


def front_end(corpus: Manifest, device: torch.device, workers: int) -> None:
    """Print what feeds a model: audio seconds per second on all cores, a shard sorted into batches of 100 s."""
    log_mel = LogMel(transformers.WhisperFeatureExtractor(), device)
    ways: dict[str, Callable[[list[Samples]], object]] = {
        "decode + resample": lambda batch: None,
        "  + normalise (wav2vec 2.0)": lambda batch: [normalise(clip) for clip in batch],
        "  + log-mel, clip context": lambda batch: log_mel(batch, 2 * max(-(-len(clip) // 320) for clip in batch)),
        "  + log-mel, full context": lambda batch: log_mel(batch),
    }
    print(f"\nfront end, {len(corpus.clips)} clips, {workers} decoding threads, device {device}")
    for way, run in ways.items():
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
        print(f"  {way:30}{audio / best:9,.0f} audio s/s{1e3 * best / len(corpus.clips):8.2f} ms a clip", flush=True)


def memory(counts: Sequence[int], folder: Path) -> None:
    """Print peak memory, cost per hour of audio, and the time of a restart, each in a process of its own."""
    files = corpus_of(64, folder / "files")
    checkpoint_of("tiny", folder)
    seconds = [soundfile.info(files.audio_path(clip)).duration for clip in files.clips]
    print(f"\nmemory, tiny backbone, {len(seconds)} files; segments of them as clips")
    first: dict[str, float] = {}
    budgets: list[Path] = []
    for count in counts:
        rows = []
        for number in range(count):
            file = number % len(seconds)
            start = 0.2 * seconds[file] * (number // len(seconds)) / (count // len(seconds) + 1)
            rows.append((str(number), f"{file}.wav", f"{start:.4f}", f"{seconds[file]:.4f}"))
        manifests.write(files.root / f"{count}.csv", ("id", "path", "start", "end"), rows)
        for file in budgets:
            store = folder / f"features-{count}" / file.parent.name
            store.mkdir(parents=True)
            shutil.copy(file, store)
        for what in ("extract", "again"):
            command = [sys.executable, __file__, "--child", str(count), "--folder", str(folder)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            if not budgets:  # all runs get the first one's batches, so that their peaks can be compared
                budgets = list((folder / f"features-{count}").glob(f"*/{BUDGETS_FILE}"))
            first.setdefault(what, found["peak"])
            print(
                f"  {what:8}{count:7,} clips {found['audio'] / 3600:7.2f} h{found['seconds']:9.1f} s"
                f"{found['peak'] / 2**20:9.1f} MiB peak ({found['peak'] / first[what]:.3f} of the first)"
                + (f"{found['seconds'] / found['audio'] * 3600:9.1f} s an hour" if what == "extract" else ""),
                flush=True,
            )


def child(count: int, folder: Path) -> None:
    """What `memory` runs in a process of its own: read, extract, report as JSON."""
    began = now()
    corpus = manifests.read(folder / "files" / f"{count}.csv")
    checkpoint = inspect(folder / "random-tiny", "random-tiny")
    options = Options(dtype="float32")

    @contextmanager
    def silent(title: str, total: int, unit: str) -> Iterator[Advance]:
        yield quiet

    extract(corpus, checkpoint, folder / f"features-{count}", options, show=silent)
    seconds = now() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    audio = sum((clip.end or 0.0) - (clip.start or 0.0) for clip in corpus.clips)
    print(json.dumps({"seconds": seconds, "peak": peak, "audio": audio}))


def machine() -> str:
    """What the figures were measured on, without its name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    flags = [flag for flag in ("avx512f", "avx512_bf16", "amx_bf16") if flag in facts.get("flags", "").split()]
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{os.cpu_count()} cores {facts.get('model name', '')} ({' '.join(flags)}){gpu}; torch {torch.__version__} on "
        f"{torch.get_num_threads()} threads, transformers {transformers.__version__}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    models = [name for name in CONFIGS if name != "tiny"]
    parser.add_argument("--model", action="append", choices=models, help="may be repeated")
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=2, help="the best of so many is taken")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--context", default="full", help="of Whisper: full or clip")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="of torch; its own choice unless told")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: of all threads together")
    parser.add_argument("--skip", action="append", default=[], choices=["loop", "padded"], help="a way to leave out")
    parser.add_argument("--front-end", action="store_true")
    parser.add_argument("--memory", type=int, nargs="*", metavar="CLIPS", help="500 and 50000 unless told")
    parser.add_argument("--folder", type=Path, help="keep clips and checkpoints here, for the next run")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    global now
    now = CLOCKS[given.clock]
    if given.threads:
        torch.set_num_threads(given.threads)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    if given.child is not None:
        child(given.child, given.folder)
        return
    print(f"{machine()}; {given.clock} clock", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if given.memory is not None:
            memory(given.memory or (500, 50_000), Path(tempfile.mkdtemp(dir=temporary)))
            return
        corpus = corpus_of(given.clips, folder / f"clips-{given.clips}")
        if given.front_end:
            front_end(corpus, choose_device(given.device), os.cpu_count() or 1)
            return
        options = Options(dtype=given.dtype, context=given.context, device=given.device)
        for name in given.model or ("hubert-base", "whisper-small"):
            compare(name, corpus, options, folder, given.repeats, given.skip)


if __name__ == "__main__":
    main()
