"""Choosing a layer: one of six knows the label, moderately; is it chosen in every round?"""

import tempfile
from collections.abc import Iterator

import numpy as np

from honesty.rows import Row, studies
from honesty.studies import Generator
from toolkit import probe_arrays

SPEAKERS, CLIPS, WIDTH, LAYERS, TRIALS = 10, 24, 12, 6, 10
KNOWS = "encoder.3"
LEAST = {1: 0.85, 4: 0.99}  # of the rounds, by folds that judge: what `--inner-folds` is offered for


def chosen(random: Generator, inner: int) -> tuple[float]:
    """The share of one study's five rounds that choose the layer which knows."""
    speaker = np.repeat(np.arange(SPEAKERS), CLIPS)
    truth = random.permutation(np.arange(len(speaker)) % 2)
    layers = {}
    for number in range(LAYERS):
        matrix = random.standard_normal((len(speaker), WIDTH)) + random.standard_normal((SPEAKERS, WIDTH))[speaker]
        if f"encoder.{number}" == KNOWS:
            matrix[:, 0] += 1.7 * truth
        layers[f"encoder.{number}"] = matrix.astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        found = probe_arrays(layers, truth, speaker.astype(str), folder=folder, inner_folds=inner, trials=TRIALS)
    return (float(np.mean([choice.layer == KNOWS for choice in found.run.choices])),)


def row(inner: int, wanted: int, quiet: bool = False) -> Row:
    shares = studies(f"planted layer, {inner} inner", lambda random: chosen(random, inner), wanted, 11, quiet)[:, 0]
    return Row(
        f"the layer that knows the label is chosen, --inner-folds {inner}",
        f"{SPEAKERS} speakers, one of {LAYERS} layers",
        wanted,
        f"in {100 * shares.mean():.1f} % of rounds; in all five of {np.mean(shares == 1) * 100:.0f} % of studies",
        bool(shares.mean() >= LEAST[inner]),
    )


def rows(part: float) -> Iterator[Row]:
    for inner in LEAST:
        yield row(inner, max(2, round(16 * part)))
