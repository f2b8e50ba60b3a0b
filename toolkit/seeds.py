"""The only place that makes randomness: every generator is derived from the user's seed and a path of names."""

import hashlib

import numpy as np


def integer(seed: int, *names: object) -> int:
    """A 32-bit seed for libraries that take an integer, e.g. ``integer(0, "probe", "encoder.3", fold)``.

    >>> integer(0, "a") == integer(0, "a"), integer(0, "a") == integer(0, "b")
    (True, False)
    """
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def generator(seed: int, *names: object) -> np.random.Generator:
    """An independent numpy generator for the purpose that `names` spell out."""
    return np.random.default_rng(integer(seed, *names))
