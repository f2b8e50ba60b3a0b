"""Which clips run together: alike in length, under a budget in seconds of audio that is found by measuring."""

import time
from collections.abc import Callable, Iterator, Sequence

import torch

from toolkit.audio.decode import SAMPLE_RATE
from toolkit.core.errors import is_out_of_memory

CALIBRATION_SECONDS = 6.0  # of time, about, that may go into finding the budget
WORTH_GROWING = 1.05  # a doubled batch must be this many times faster per second of audio
MAX_PADDING = 0.05  # share of a batch that may be computed for nothing


def batches(lengths: Sequence[int], cost: Callable[[int], int], budget_seconds: float) -> Iterator[list[int]]:
    """Positions of clips, shortest first, in batches whose longest cost times their number stays within the budget.

    lengths: (n_clips,) samples. cost: from a clip's length to the samples that are computed for it, which grow with it;
    of a batch's, at most MAX_PADDING are padding. A clip beyond the budget runs alone.
    """
    costs = [cost(length) for length in lengths]
    batch: list[int] = []
    exact = 0
    for position in sorted(range(len(costs)), key=lambda position: (lengths[position], position)):
        computed = costs[position] * (len(batch) + 1)
        padding = computed - exact - costs[position]
        if batch and (computed > budget_seconds * SAMPLE_RATE or padding > MAX_PADDING * computed):
            yield batch
            batch, exact = [], 0
        batch.append(position)
        exact += costs[position]
    if batch:
        yield batch


def find_budget(run: Callable[[int], None], cost: int) -> float:
    """The batch size, in seconds of audio, beyond which this device grows no faster.

    run: computes a batch of that many clips, each of `cost` samples, and waits for the device. Starts with one clip
    and doubles while the time per clip falls by WORTH_GROWING, memory allows and CALIBRATION_SECONDS are not used up.
    Each size is run twice and the faster run counts: the first pays for kernels, primitives and page faults.
    """
    began = time.monotonic()
    count, best = 1, _seconds(run, 1)
    while time.monotonic() - began < CALIBRATION_SECONDS:
        try:
            per_clip = _seconds(run, 2 * count) / (2 * count)
            if per_clip * WORTH_GROWING > best:  # once more: another program may have been busy just then
                per_clip = min(per_clip, _seconds(run, 2 * count) / (2 * count))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            break
        if per_clip * WORTH_GROWING > best:
            break
        count, best = 2 * count, per_clip
    return count * cost / SAMPLE_RATE


def _seconds(run: Callable[[int], None], count: int) -> float:
    """Of the faster of two runs."""

    def once() -> float:
        began = time.monotonic()
        run(count)
        return time.monotonic() - began

    return min(once(), once())


def run_halving(run: Callable[[list[int]], None], batch: list[int]) -> list[int]:
    """Run a batch; when memory runs out, run its halves, down to single clips. Returns the clips that do not fit."""
    try:
        run(batch)
        return []
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(batch) == 1:
        return batch
    middle = len(batch) // 2
    return run_halving(run, batch[:middle]) + run_halving(run, batch[middle:])
