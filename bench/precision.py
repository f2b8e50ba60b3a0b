"""How far bfloat16 strays from float32, clip by clip, each run alone.

    python bench/precision.py                                        HuBERT-base and Whisper-small, random weights
    python bench/precision.py --checkpoint models/whisper-base --manifest manifest.csv --clips 60 --context clip

The relative error is what `--dtype auto` measures: the norm of the difference over the norm in float32, of a clip's
frames, of their mean and of their deviation, in the layer where it is largest. Printed: its quantiles over the clips
and how many are above 1e-2.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from workload import checkpoint_of, corpus_of, machine

from toolkit.audio.decode import decode
from toolkit.corpus import manifest as manifests
from toolkit.corpus.manifest import Manifest
from toolkit.extract.setup import PRECISION_BOUND, kept, relative_errors
from toolkit.models.checkpoint import Checkpoint, inspect
from toolkit.models.load import choose_device, choose_dtype, load

KINDS = ("mean", "deviation", "frames")  # as `kept` gives them


def measure(checkpoint: Checkpoint, corpus: Manifest, count: int, context: str, device: torch.device) -> None:
    """Print the table of one checkpoint, over `count` clips from all over the corpus."""
    chosen = [corpus.clips[place] for place in np.linspace(0, len(corpus.clips) - 1, count).round().astype(int)]
    clips = [decode(corpus.audio_path(clip), clip.start, clip.end, clip.channel).samples for clip in chosen]
    both = []
    for dtype in (torch.float32, torch.bfloat16):  # one after the other: loading settles how CUDA multiplies
        encoder = load(checkpoint, device, dtype, context=context)
        both.append(kept(encoder, clips, encoder.layer_names))
    worst = relative_errors(*both).reshape(count, -1, len(KINDS)).max(axis=1)
    print(f"\n{checkpoint.name}, {context} context, {count} clips, {device}")
    print(f"  {'':10}{'median':>9}{'90 %':>9}{'most':>9}{f'above {PRECISION_BOUND:g}':>13}")
    for kind, values in zip(KINDS, worst.T):
        quantiles = "".join(f"{value:9.1e}" for value in np.quantile(values, [0.5, 0.9, 1.0]))
        print(f"  {kind:10}{quantiles}{np.count_nonzero(values > PRECISION_BOUND):13}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, action="append", help="a folder; may be repeated")
    parser.add_argument("--manifest", type=Path, help="real speech instead of synthetic")
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--context", choices=["full", "clip"], default="full", help="of Whisper")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    print(machine(), flush=True)
    device = choose_device(given.device)
    choose_dtype("bfloat16", device)  # keeps its kernels
    with tempfile.TemporaryDirectory() as folder:
        corpus = manifests.read(given.manifest) if given.manifest else corpus_of(given.clips, Path(folder) / "clips")
        if given.checkpoint:
            checkpoints = [inspect(place, place.name) for place in given.checkpoint]
        else:
            checkpoints = [checkpoint_of(name, Path(folder)) for name in ("hubert-base", "whisper-small")]
        for checkpoint in checkpoints:
            context = given.context if checkpoint.backbone.family == "whisper" else "full"
            measure(checkpoint, corpus, given.clips, context, device)


if __name__ == "__main__":
    main()
