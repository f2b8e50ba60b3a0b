"""Families that run by transformers' own forward: their speed against one clip at a time, and what proof costs.

    python bench/own_forward.py                     HuBERT-base's shape (12 layers of 768), 32 clips
    python bench/own_forward.py --clock processor   on a machine that others use at the same time

HuBERT has a loop of the toolkit's own; here it runs as a family without one would: proved when loaded, in the mode that
was found. Random weights, clips of 0.5 to 20 s, log-normal around 3 s. What is printed is measured, never asserted.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers
from workload import CLOCKS, checkpoint_of, corpus_of, machine

from toolkit.audio.decode import SAMPLE_RATE, Samples, decode
from toolkit.extract.batching import batches
from toolkit.extract.pipeline import measure_budget
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.families import FAMILIES, SAMPLES
from toolkit.models.generic import GenericEncoder
from toolkit.models.load import config_of, feature_extractor_of, model_of
from toolkit.models.pooling import mean_and_std
from toolkit.models.precision import FLOAT32

CPU = torch.device("cpu")


def by_transformers(model: Any, extractor: Any, clips: list[Samples]) -> None:
    """What a researcher would write: one clip at a time, the mean over its frames of every layer."""
    with torch.inference_mode():
        for clip in clips:
            values = extractor(clip, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
            for states in model(values, output_hidden_states=True).hidden_states:
                states.mean(dim=1)


def by_us(encoder: GenericEncoder, clips: list[Samples], budget: float) -> None:
    for batch in batches([len(clip) for clip in clips], encoder.padded_samples, budget):
        for layer in encoder.states([clips[place] for place in batch]):
            mean_and_std(layer.values, layer.lengths)


def loaded(checkpoint: Checkpoint, layers: int) -> tuple[Any, Any]:
    config = config_of(checkpoint)
    return model_of(checkpoint, config, decoder=False, last_layer=layers), feature_extractor_of(checkpoint, config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as torch takes")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    transformers.utils.logging.disable_progress_bar()
    now = CLOCKS[options.clock]
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = checkpoint_of("hubert-base", Path(folder))
        manifest = corpus_of(options.clips, Path(folder) / "corpus")
        clips = [decode(manifest.audio_path(clip)).samples for clip in manifest.clips]
        seconds = sum(map(len, clips)) / SAMPLE_RATE
        layers = checkpoint.backbone.layers
        assert FAMILIES["hubert"].feed is None and SAMPLES.feed is not None
        began = now()
        encoder = GenericEncoder(
            *loaded(checkpoint, layers), CPU, FLOAT32, layers, replace(SAMPLES.feed), checkpoint.backbone.width
        )
        proof = now() - began
        print(f"proof: {proof:.1f} s, {encoder.proof}")
        plain = loaded(checkpoint, layers)
        budget = measure_budget(encoder, clips)
        by_transformers(*plain, clips[:4])
        pairs = []
        for _ in range(options.pairs):  # turn and turn about: the machine may be slower for a while
            began = now()
            by_transformers(*plain, clips)
            between = now()
            by_us(encoder, clips, budget)
            pairs.append((between - began, now() - between))
        theirs, ours = map(min, zip(*pairs))
        print(
            f"{len(clips)} clips, {seconds:.0f} s: transformers {theirs:.1f} s, ours {ours:.1f} s in {encoder.mode!r}"
        )
        ratios = sorted(one / other for one, other in pairs)
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f} in {len(pairs)} pairs"
        share = proof / (1000 * ours / len(clips)) + 4 / 1000  # a clip of each shard is run again
        print(
            f"speed {median(ratios):.2f} ({spread}) of transformers'; proofs, at load and in 4 shards, are {share:.1%} "
            "of 1,000 clips"
        )


if __name__ == "__main__":
    main()
