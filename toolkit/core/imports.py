"""Heavy imports in less time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Import without Python's garbage collector.

    All that a module brings in stays, and yet it would be searched for garbage again and again: a quarter of the time
    that torch and transformers take.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
