"""What 10,000 hours of calls would take on 1, 8 and 64 GPUs: measured where this machine can, computed where it cannot.

python bench/scale.py --measure             # what a clip costs the driver, and a fit, here; minutes
python bench/scale.py [--hours 10000] [--clip 4] [--share 0.3] [--cores 8] ...    # the tables of docs/scale.md
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from toolkit.features.layout import CLIPS_PER_SHARD
from toolkit.models.registry import BACKBONES, Backbone

SIX = (
    "hubert-base-ls960",
    "wav2vec2-large-xlsr-53-chinese-zh-cn",
    "whisper-small-chinese-base",
    "whisper-small",
    "whisper-medium",
    "whisper-large-v3",
)
CONVOLUTIONS = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))  # kernel, stride of wav2vec 2.0 and HuBERT
CHANNELS = 512
POSITIONAL_KERNEL, POSITIONAL_GROUPS = 128, 16
WINDOW_FRAMES = 1_500  # what Whisper's encoder computes for any clip of up to 30 s in its full context
HOUR = 3_600.0


def layers_flops(backbone: Backbone, frames: float) -> float:
    """Of the transformer layers over one clip: 24 width^2 a frame (attention's four products, a feed-forward of four
    widths), and 4 frames width a frame for scores and their use."""
    per_frame = 24 * backbone.width**2 + 4 * frames * backbone.width
    return backbone.layers * frames * per_frame


def flops(backbone: Backbone, seconds: float) -> float:
    """Of the encoder over one clip of so many seconds, from its configuration: two per multiplication."""
    if backbone.family == "whisper":
        front = 2 * WINDOW_FRAMES * 3 * backbone.width * (2 * backbone.mel_bins + backbone.width)
        return front + layers_flops(backbone, WINDOW_FRAMES)
    rate, inputs, front = 16_000.0, 1, 0.0
    for kernel, stride in CONVOLUTIONS:
        rate /= stride
        front += 2 * rate * kernel * inputs * CHANNELS
        inputs = CHANNELS
    frames = backbone.frame_rate * seconds
    positional = 2 * POSITIONAL_KERNEL * backbone.width**2 / POSITIONAL_GROUPS
    return front * seconds + frames * (positional + 2 * CHANNELS * backbone.width) + layers_flops(backbone, frames)


def tables(args: argparse.Namespace) -> None:
    """Per backbone, then together."""
    clips = args.hours * HOUR / args.clip
    shards = -(-clips // CLIPS_PER_SHARD)
    decoding = args.hours * HOUR / args.decoded / HOUR
    print(f"{args.hours:,.0f} hours in clips of {args.clip:g} s: {clips:,.0f} clips, {shards:,.0f} shards a backbone.")
    print(f"Decoding: {decoding:,.1f} core hours a backbone, at {args.decoded:,.0f} s of audio a second and core.\n")
    print("| backbone | GFLOP a clip | GPU hours | decoding, hours of a GPU's cores | store, GB |", end="")
    print("".join(f" {gpus} GPU{'s' * (gpus > 1)}, h |" for gpus in args.gpus))
    print("|---" * (5 + len(args.gpus)) + "|")
    total = [0.0, 0.0, 0.0]
    for name in SIX:
        backbone = BACKBONES[name]
        compute = clips * flops(backbone, args.clip) / (args.peak * 1e12 * args.share) / HOUR
        size = clips * ((backbone.layers + 1) * backbone.width * 2 * 2 + args.sidecar) / 1e9
        waiting = decoding / args.cores
        total = [total[0] + compute, total[1] + waiting, total[2] + size]
        cells = [f"{flops(backbone, args.clip) / 1e9:,.0f}", f"{compute:.2f}", f"{waiting:.2f}", f"{size:,.0f}"]
        hours = [f"{(compute + waiting) / gpus:.2f}" for gpus in args.gpus]
        print("| " + " | ".join([name, *cells, *hours]) + " |")
    hours = [f"{(total[0] + total[1]) / gpus:.2f}" for gpus in args.gpus]
    print("| " + " | ".join(["all six", "", f"{total[0]:.1f}", f"{total[1]:.1f}", f"{total[2]:,.0f}", *hours]) + " |\n")
    print("| | " + " | ".join(f"{gpus} GPU{'s' * (gpus > 1)}" for gpus in args.gpus) + " |")
    print("|---" * (1 + len(args.gpus)) + "|")
    audio = args.hours * HOUR * args.audio_rate * 2
    rows: dict[str, Callable[[int], str]] = {
        "audio read from shared storage, all six, MB/s": lambda gpus: (
            f"{6 * audio / 1e6 / ((total[0] + total[1]) / gpus * HOUR):,.0f}"
        ),
        "shards a second that the driver commits": lambda gpus: (
            f"{6 * shards / ((total[0] + total[1]) / gpus * HOUR):,.2f}"
        ),
        "share of the driver's time in committing": lambda gpus: (
            f"{6 * shards * args.commit / ((total[0] + total[1]) / gpus * HOUR):.1%}"
        ),
    }
    for title, cell in rows.items():
        print(f"| {title} | " + " | ".join(cell(gpus) for gpus in args.gpus) + " |")
    took = clips * (args.manifest + 6 * args.sidecars) / HOUR
    print(f"\nFiles: {6 * 2 * shards:,.0f}. Memory of the driver: {clips * args.clip_bytes / 1e9:,.0f} GB.")
    print(
        f"The driver alone, one command for all six: {took:.1f} h of its own, before the first task and after the last,"
    )
    print(f"and {clips * args.stat / HOUR:.1f} h of asking shared storage for each file.")


def measure() -> None:
    """Print what a clip costs a driver and what a fit costs, at several sizes; times are of the processor."""
    for count in (500, 5_000, 50_000):
        print(json.dumps(driver(count)), flush=True)
    print(json.dumps({"wall s to commit a staged shard": commit(100)}), flush=True)
    for count in (500, 5_000, 50_000):
        print(json.dumps(fit(count)), flush=True)


def driver(count: int) -> dict[str, float]:
    """Reading a manifest, and the sidecars of a finished store, and planning over both."""
    import numpy as np
    import soundfile

    from toolkit.corpus import manifest as manifests
    from toolkit.extract.plan import plan
    from toolkit.features.loading import source_of
    from toolkit.features.shard import ClipRecord, ShardContent
    from toolkit.features.store import create

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        soundfile.write(folder / "a.wav", np.zeros(160, np.float32), 16_000)
        rows = [
            (f"clip-{number}", "a.wav", f"{number}", f"{number + 1}", f"speaker-{number % 100}", "yes")
            for number in range(count)
        ]
        manifests.write(folder / "manifest.csv", ("id", "path", "start", "end", "speaker", "label"), rows)
        began, before = time.process_time(), memory()
        corpus = manifests.read(folder / "manifest.csv")
        read = time.process_time() - began
        store = create(folder, "backbone", ("encoder.0",), 1, {})
        with store.writing() as writer:
            for first in range(0, count, CLIPS_PER_SHARD):
                part = corpus.clips[first : first + CLIPS_PER_SHARD]
                records = []
                for clip in part:
                    source = source_of(corpus.audio_path(clip), clip)
                    assert source is not None
                    records.append(ClipRecord(clip.id, source, "0" * 64, 160))
                values = np.zeros((1, len(part), 1), np.float32)
                writer.commit(ShardContent(tuple(records), (), {"mean": values, "std": values}))
        sidecars = sum(path.stat().st_size for path in store.folder.glob("shard-*.json"))
        store.refresh()
        began = time.process_time()
        done = plan(corpus, store).done
        planned = time.process_time() - began
        assert done == count
        return {
            "clips": count,
            "manifest, us a clip": read / count * 1e6,
            "sidecars and plan, us a clip": planned / count * 1e6,
            "bytes of memory a clip": (memory() - before) / count,
            "bytes of sidecar a clip": sidecars / count,
        }


def memory() -> int:
    """Bytes that are resident now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def commit(count: int) -> float:
    """Seconds that adopting one staged shard takes on this disk: two renames, each made durable."""
    from toolkit.features import staging

    with tempfile.TemporaryDirectory() as name, staging.granted(Path(name)) as folder:
        staged = []
        for number in range(count):
            attempt = staging.attempt(folder)
            for suffix in (".h5", ".json"):
                (attempt / f"shard-{number:05d}{suffix}").write_bytes(b"0" * 50_000)
            staged.append(attempt)
        began = time.monotonic()
        for number, attempt in enumerate(staged):
            staging.adopt(attempt, number)
        return (time.monotonic() - began) / count


def fit(count: int, width: int = 768, settings: int = 10) -> dict[str, float]:
    """One batch of Optuna's on one round: settings fitted together on three fifths of the clips, binary task."""
    import numpy as np
    import torch

    from toolkit.core import seeds
    from toolkit.corpus.labels import Task
    from toolkit.features.layout import LayerFeatures
    from toolkit.probe.linear import LinearFitter

    torch.set_num_threads(1)
    generator = seeds.generator(0, "scale", count)
    mean = generator.standard_normal((count, width), dtype=np.float32)
    truth = (mean[:, 0] + generator.standard_normal(count) > 0).astype(np.int64)
    layer = LayerFeatures("encoder.0", tuple(map(str, range(count))), mean, mean)
    fitter = LinearFitter(layer, Task("t", "binary", ("no", "yes"), ("t",)), truth)
    train, development = np.split(generator.permutation(count)[: count * 4 // 5], [count * 3 // 5])
    strengths = np.logspace(-5, 3, settings).tolist()
    together = [{"C": C, "statistics": "mean", "class_weights": "none"} for C in strengths]
    began = time.process_time()
    fitter.search(train, development, together, "round 0")
    return {"clips": count, "s a fit": (time.process_time() - began) / settings}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--hours", type=float, default=10_000.0, help="of audio")
    parser.add_argument("--clip", type=float, default=4.0, help="seconds of a clip")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--peak", type=float, default=989.0, help="TFLOP/s of a GPU: an H100 SXM's dense bfloat16")
    parser.add_argument("--share", type=float, default=0.3, help="of the peak that is reached; assumed, not measured")
    parser.add_argument("--cores", type=int, default=8, help="for decoding, to a GPU")
    parser.add_argument("--decoded", type=float, default=1_600.0, help="seconds of audio that a core decodes in one")
    parser.add_argument("--audio-rate", type=int, default=8_000, help="samples per second of the files, two bytes each")
    parser.add_argument("--sidecar", type=float, default=186.0, help="bytes of sidecar a clip")
    parser.add_argument("--clip-bytes", type=float, default=850.0, help="of the driver's memory a clip")
    parser.add_argument("--manifest", type=float, default=2.1e-5, help="seconds of the driver's to read a clip's row")
    parser.add_argument("--sidecars", type=float, default=1.1e-5, help="and to read it back from its sidecar")
    parser.add_argument("--stat", type=float, default=3e-4, help="seconds of a question to shared storage; assumed")
    parser.add_argument("--commit", type=float, default=0.01, help="seconds to commit a shard; assumed")
    args = parser.parse_args()
    if args.measure:
        measure()
    else:
        tables(args)


if __name__ == "__main__":
    main()
