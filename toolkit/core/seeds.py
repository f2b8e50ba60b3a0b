"""The only place that makes randomness: every generator is derived from the user's seed and a path of names."""

import hashlib

import numpy as np

RANDOM = "-random"  # after a backbone's name: the same architecture with weights drawn at random


def integer(seed: int, *names: object) -> int:
    """A seed of 31 bits (LightGBM takes no larger one), e.g. ``integer(0, "probe", "encoder.3", fold)``.

    >>> integer(0, "a") == integer(0, "a"), integer(0, "a") == integer(0, "b")
    (True, False)
    """
    return int.from_bytes(_digest(seed, names)[:4], "little") >> 1


def generator(seed: int, *names: object) -> np.random.Generator:
    """An independent numpy generator for the purpose that `names` spell out."""
    return np.random.default_rng(int.from_bytes(_digest(seed, names), "little"))


def _digest(seed: int, names: tuple[object, ...]) -> bytes:
    return hashlib.sha256("\x1f".join([str(seed), *map(str, names)]).encode()).digest()
