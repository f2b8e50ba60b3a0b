"""Pairs of clips on two sides of a split that are nearly one audio: a copy that is quieter, resampled or coded again.

Exact copies are told by their SHA-256 (`toolkit.corpus.splits.audit`). Others keep the direction of their standardised
means. Of 12 of EmoDB's 535 clips, in the middle layer of Whisper tiny.en (clip context), the least cosine of clip and
copy was 0.999 at 0.9 of the level, 0.966 through MP3 and 0.964 begun 5 ms later; of two speakers' clips it was at most
0.786. Not seen are copies at a tenth of the level (0.852), with nothing above 5.5 kHz (0.76) or 4 kHz (0.69), and those
begun 0.2 s later (0.607).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.corpus.labels import IntArray
from toolkit.features.layout import FloatArray
from toolkit.features.store import Store

LIKE = 0.9  # cosine
FEWEST_FEATURES = 128  # the width; of fewer, two clips that have nothing in common come as close by chance
FEWEST_CLIPS = 16  # standardised by fewer, clips are alike by chance
BLOCK = 1_024  # clips whose products with all others are in memory at once
MOST_PAIRS = 10_000
SHOWN = 5  # pairs in a sentence


@dataclass(frozen=True)
class Pair:
    """Two clips of different folds and the cosine of their standardised features."""

    one: str
    other: str
    cosine: float


def near_copies(store: Store, ids: Sequence[str], fold: IntArray) -> list[Pair]:
    """Pairs above LIKE of a store's middle layer, the most alike first; none where that cannot tell.

    ids, fold: (n_clips,) the clips to compare, all of them in the store, and each one's fold.
    """
    layer = store.layers[len(store.layers) // 2]
    if store.width < FEWEST_FEATURES or len(ids) < FEWEST_CLIPS:
        return []
    features = store.layer(layer)
    place: Mapping[str, int] = {clip: row for row, clip in enumerate(features.ids)}
    return pairs(features.mean[[place[clip] for clip in ids]], ids, fold)


def pairs(features: FloatArray, ids: Sequence[str], fold: IntArray) -> list[Pair]:
    """Pairs of different folds above LIKE. features: (n_clips, n_features), standardised here by all of them."""
    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    scaled = np.ascontiguousarray(scaled / np.where(length > 0, length, 1), dtype=np.float32)
    found: list[Pair] = []
    for first in range(0, len(ids), BLOCK):
        block = slice(first, first + BLOCK)
        cosine = scaled[block] @ scaled[first:].T
        rows, columns = np.nonzero(np.triu(cosine > LIKE, 1) & (fold[block, None] != fold[None, first:]))
        values = cosine[rows, columns].tolist()
        found += [
            Pair(ids[first + one], ids[first + other], value)
            for one, other, value in zip(rows.tolist(), columns.tolist(), values)
        ]
        if len(found) > MOST_PAIRS:  # features that tell nothing apart
            break
    return sorted(found, key=lambda pair: -pair.cosine)


def note(found: Sequence[Pair]) -> str:
    """A sentence that names the pairs."""
    told = ", ".join(f"{pair.one!r} and {pair.other!r} ({pair.cosine:.3f})" for pair in found[:SHOWN])
    more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
    return f"Pairs in two folds that may be one recording (cosine above {LIKE:g}): {told}{more}."
