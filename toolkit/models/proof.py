"""Random short clips, and how far what a batch gives is from what each of them gives alone."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from toolkit.audio.decode import SAMPLE_RATE, Samples
from toolkit.core import seeds
from toolkit.models.encoder import Encoder, LayerStates

SECONDS = (0.03, 1.2)
TOGETHER = 8  # clips of a batch


class Giving(Protocol):
    """What gives states of clips, or of texts."""

    def states(self, clips: Sequence[Any], /) -> Iterator[LayerStates]: ...


def error_of_a_batch(encoder: Encoder, count: int) -> float:
    """The largest relative error of any layer of `count` clips, run together, against each alone."""
    clips = random_clips(count, 0, SAMPLE_RATE)
    return worst_error(own_states(encoder, clips, TOGETHER), own_states(encoder, clips, 1))


def own_states(encoder: Giving, clips: Sequence[Any], together: int) -> list[list[Tensor]]:
    """Of each clip every layer's own frames."""
    found: list[list[Tensor]] = []
    for start in range(0, len(clips), together):
        batch = clips[start : start + together]
        rows: list[list[Tensor]] = [[] for _ in batch]
        for layer in encoder.states(batch):
            for row, values, length in zip(rows, layer.values, layer.lengths.tolist()):
                row.append(values[:length])
        found += rows
    return found


def relative_error(found: Tensor, expected: Tensor) -> float:
    """The norm of the difference over that of what is expected; infinite for other shapes and what is not finite."""
    if found.shape != expected.shape:
        return math.inf
    size = torch.linalg.vector_norm(expected.double())
    error = float(torch.linalg.vector_norm(found.double() - expected.double()) / size.clamp(min=1e-30))
    return error if math.isfinite(error) else math.inf


def worst_error(found: Sequence[Sequence[Tensor]], expected: Sequence[Sequence[Tensor]]) -> float:
    """The largest relative error of any layer of any clip."""
    pairs = (pair for mine, theirs in zip(found, expected, strict=True) for pair in zip(mine, theirs, strict=True))
    return max(relative_error(*pair) for pair in pairs)


def random_clips(count: int, shortest: int, rate: int) -> list[Samples]:
    """Short clips of random lengths, shortest first: noise and a tone in syllables, so that no two frames are alike."""
    generator = seeds.generator(0, "proof")
    low, high = max(SECONDS[0] * rate, shortest), SECONDS[1] * rate
    clips = []
    for size in sorted(np.exp(generator.uniform(np.log(low), np.log(high), count)).astype(int).tolist()):
        seconds = np.arange(size) / rate
        loudness = 0.05 + np.sin(2 * np.pi * generator.uniform(2, 5) * seconds + generator.uniform(0, 6)) ** 2
        tone = np.sin(2 * np.pi * generator.uniform(100, 400) * seconds)
        clips.append((0.1 * loudness * (tone + generator.standard_normal(size))).astype(np.float32))
    return clips
