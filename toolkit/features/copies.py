"""Pairs of clips on two sides of a split that are nearly one audio: a copy that is quieter, resampled or coded again.

Exact copies are recognised by their SHA-256 (`toolkit.corpus.splits.audit`). Others keep the direction of their
standardised features, so a pair is listed when its cosine is above SAME; or when it is above LIKE and each is the
other's nearest in another fold by LEAD (after Lowe 2004: what leads its runner-up clearly is no chance neighbour).

Found of 40 copies of EmoDB's clips, each dealt to another fold, in the layer at three quarters of Whisper tiny.en's
depth (clip context): all at 0.9 and at 0.1 of the level, started 5 ms later, and resampled through 11 kHz; 37 through
8 kHz, with or without mu-law; 36 started 0.2 s later; 26 with noise at -20 dB. Of EmoDB's 535 clips, speakers apart, no
pair was listed; of random 240 to 400 of them, one pair in 30 to 50 draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toolkit.core.i18n import Note
from toolkit.corpus.labels import IntArray
from toolkit.features.layout import FloatArray
from toolkit.features.store import Store

SAME = 0.9  # cosine
LIKE, LEAD = 0.75, 0.15  # cosine, and how far above the next nearest
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
    """Pairs of a store's clips that look like one recording, the most alike first; none where that is not known.

    ids, fold: (n_clips,) the clips to compare, all of them in the store, and each one's fold.
    """
    layer = store.layers[len(store.layers) * 3 // 4]
    if store.width < FEWEST_FEATURES or len(ids) < FEWEST_CLIPS:
        return []
    features = store.layer(layer)
    place: Mapping[str, int] = {clip: row for row, clip in enumerate(features.ids)}
    matrix = features.matrix("both" if "std" in store.statistics else "mean")
    return pairs(matrix[[place[clip] for clip in ids]], ids, fold)


def pairs(features: FloatArray, ids: Sequence[str], fold: IntArray) -> list[Pair]:
    """Pairs of different folds, as above. features: (n_clips, n_features), standardised here by all of them."""
    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    scaled = np.ascontiguousarray(scaled / np.where(length > 0, length, 1), dtype=np.float32)
    found: dict[tuple[int, int], float] = {}
    nearest = np.zeros(len(ids), np.intp)
    top = np.full((2, len(ids)), -1, np.float32)  # each clip's greatest product, and the next
    for first in range(0, len(ids), BLOCK):
        block, rest = slice(first, first + BLOCK), slice(first + BLOCK, None)
        products = scaled[block] @ scaled[first:].T  # each pair once
        products[fold[block, None] == fold[None, first:]] = -1
        rows, columns = np.nonzero(np.triu(products > SAME, 1))
        values = products[rows, columns].tolist()
        found |= dict(zip(zip((rows + first).tolist(), (columns + first).tolist()), values, strict=True))
        if len(found) > MOST_PAIRS:  # features that are the same for every clip
            break
        _lead(nearest[rest], top[:, rest], products[:, BLOCK:].T.copy(), first)
        _lead(nearest[block], top[:, block], products, first)
    else:
        lead = top[0] - top[1]
        mutual = (nearest[nearest] == np.arange(len(ids))) & (top[0] > LIKE) & (np.minimum(lead, lead[nearest]) > LEAD)
        for one in np.flatnonzero(mutual).tolist():
            found[min(one, nearest[one]), max(one, nearest[one])] = float(top[0, one])
    listed = [Pair(ids[one], ids[other], value) for (one, other), value in found.items()]
    return sorted(listed, key=lambda pair: (-pair.cosine, pair.one, pair.other))


def _lead(nearest: npt.NDArray[np.intp], top: FloatArray, products: FloatArray, first: int) -> None:
    """Let more clips compete for the places of some, in place. products: (some, more), overwritten; first: of more."""
    if not products.size:
        return
    every = np.arange(len(products))
    column = products.argmax(axis=1)
    greatest = products[every, column]
    products[every, column] = -1
    higher = greatest > top[0]
    nearest[higher] = column[higher] + first
    top[1] = np.where(higher, np.maximum(top[0], products.max(axis=1)), np.maximum(top[1], greatest))
    top[0] = np.maximum(top[0], greatest)


def note(found: Sequence[Pair]) -> Note:
    """A note that names the pairs."""
    listed = ", ".join(f"{pair.one!r} and {pair.other!r} ({pair.cosine:.3f})" for pair in found[:SHOWN])
    more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
    return Note("copies", {"list": listed + more})
