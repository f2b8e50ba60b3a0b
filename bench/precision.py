"""How far bfloat16, or another --dtype, strays from float32, clip by clip, each run alone.

    python bench/precision.py                                        HuBERT-base and Whisper-small, random weights
    python bench/precision.py --products                             seconds of one product in each of this CPU's
    python bench/precision.py --checkpoint models/whisper-base --manifest manifest.csv --clips 60 --context clip

The relative error is what `--dtype auto` measures: the norm of the difference over the norm in float32, of a clip's
frames, of their mean and of their deviation, in the layer where it is largest. Printed: its quantiles over the clips
and how many are above the 1e-2 that `--bound` is by default.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from torch.utils.benchmark import Timer
from workload import checkpoint_of, corpus_of, machine

from toolkit.audio.decode import decode
from toolkit.corpus import manifest as manifests
from toolkit.corpus.manifest import Manifest
from toolkit.extract.deviation import kept, relative_errors
from toolkit.extract.options import Options
from toolkit.models.checkpoint import Checkpoint, inspect
from toolkit.models.fused_linear import Product
from toolkit.models.load import choose_device, load
from toolkit.models.precision import BY_DEVICE, FLOAT32, PRECISIONS, Precision, ladder

KINDS = ("mean", "deviation", "frames")  # as `kept` gives them


def measure(
    checkpoint: Checkpoint, corpus: Manifest, count: int, context: str, device: torch.device, rung: Precision
) -> None:
    """Print the table of one checkpoint, over `count` clips from all over the corpus."""
    chosen = [corpus.clips[place] for place in np.linspace(0, len(corpus.clips) - 1, count).round().astype(int)]
    clips = [decode(corpus.audio_path(clip), clip.start, clip.end, clip.channel).samples for clip in chosen]
    both = []
    for dtype in (FLOAT32, rung):  # one after the other: loading settles how CUDA multiplies
        encoder = load(checkpoint, device, dtype, context=context)
        both.append(kept(encoder, clips, encoder.layer_names))
    worst = relative_errors(*both).reshape(count, -1, len(KINDS)).max(axis=1)
    print(f"\n{checkpoint.name}, {context} context, {count} clips, {rung.name}, {device}")
    print(f"  {'':10}{'median':>9}{'90 %':>9}{'most':>9}{f'above {Options.bound:g}':>13}")
    for kind, values in zip(KINDS, worst.T):
        quantiles = "".join(f"{value:9.1e}" for value in np.quantile(values, [0.5, 0.9, 1.0]))
        print(f"  {kind:10}{quantiles}{np.count_nonzero(values > Options.bound):13}", flush=True)


def products(turns: int = 9) -> None:
    """One thread; each precision in turn, the fastest of `turns`: Whisper-small's feed-forward, 1,500 frames."""
    torch.set_num_threads(1)
    values, weight = torch.randn(1500, 768), torch.randn(3072, 768) / 768**0.5
    exact = values.double() @ weight.double().T
    found = {one: Product.of(weight, None, one) for one in BY_DEVICE["cpu"]}
    timers = {one: Timer("product(values)", globals={"product": found[one], "values": values}) for one in found}
    seconds = [{one: timer.timeit(1).mean for one, timer in timers.items()} for _ in range(turns)]
    for one, product in found.items():
        best = min(turn[one] for turn in seconds)
        error = float((product(values) - exact).norm() / exact.norm())
        speed = 2e-9 * values.numel() * len(weight) / best
        print(f"  {one.name:16}{1e3 * best:8.1f} ms{speed:8.0f} GFLOP/s  off by {error:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, action="append", help="a folder; may be repeated")
    parser.add_argument("--products", action="store_true")
    parser.add_argument("--manifest", type=Path, help="real speech instead of synthetic")
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--context", choices=["full", "clip"], default="full", help="of Whisper")
    parser.add_argument("--dtype", choices=PRECISIONS, default="bfloat16")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    print(machine(), flush=True)
    if given.products:
        return products()
    device = choose_device(given.device)
    ((rung, *_), _) = ladder(given.dtype, device)  # keeps its kernels
    with tempfile.TemporaryDirectory() as folder:
        corpus = manifests.read(given.manifest) if given.manifest else corpus_of(given.clips, Path(folder) / "clips")
        if given.checkpoint:
            checkpoints = [inspect(place, place.name) for place in given.checkpoint]
        else:
            checkpoints = [checkpoint_of(name, Path(folder)) for name in ("hubert-base", "whisper-small")]
        for checkpoint in checkpoints:
            context = given.context if checkpoint.backbone.family == "whisper" else "full"
            measure(checkpoint, corpus, given.clips, context, device, rung)


if __name__ == "__main__":
    main()
