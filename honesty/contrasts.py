"""Two groups of callers: is a planted difference in the interval, and is one found where there is none?"""

from functools import cache

import numpy as np

from honesty.intervals import LEAST, MOST
from honesty.rows import Row, share, studies
from honesty.studies import BINARY, Drawn, Generator, IntArray, speakers
from toolkit.result.calls import SOURCES, Measure, per_call
from toolkit.result.contrast import Difference, compared

CALLERS = ((46, 200), (20, 20), (10, 10), (6, 40))  # of each group; the first as in arXiv 2501.08696
CLIPS = 40.0  # a caller, on average
GAP = 0.8  # in the log-odds of a negative clip
RECALL, FALSE = 0.75, 0.20  # of a negative clip, and of another one, that it is taken for negative
PERMUTATIONS = 999
NEGATIVE = Measure("negative")


def draw(random: Generator, callers: tuple[int, int], gap: float) -> tuple[Drawn, IntArray]:
    """Clips of callers whose log-odds differ by group and by caller, more widely in the first; each one's group."""
    group = np.repeat([0, 1], callers)
    odds = np.where(group == 0, gap - 0.5, -0.5) + np.where(group == 0, 1.1, 0.7) * random.standard_normal(len(group))
    if gap == 0:
        odds = -0.5 + 0.9 * random.standard_normal(len(group))
    speaker = speakers(random, len(group), CLIPS)
    truth = (random.random(len(speaker)) < 1 / (1 + np.exp(-odds[speaker]))).astype(np.int64)
    positive = random.random(len(speaker)) < np.where(truth == 1, RECALL, FALSE)
    return Drawn(
        BINARY, speaker, truth, np.stack([np.where(positive, 0.0, 1.0), np.where(positive, 1.0, 0.0)], axis=1)
    ), group


@cache
def planted() -> dict[str, float]:
    """The difference of the groups' shares in the population: true, and as such a model predicts it."""
    random = np.random.default_rng(97)
    noise = random.standard_normal(2_000_000)
    first, second = (1 / (1 + np.exp(-(level + spread * noise))) for level, spread in ((GAP - 0.5, 1.1), (-0.5, 0.7)))
    true = float(first.mean() - second.mean())
    return {"truth": true, "prediction": true * (RECALL - FALSE)}


def rows_of(random: Generator, callers: tuple[int, int], gap: float) -> list[Difference]:
    """What `toolkit contrast` says of one study: up to three calls a caller."""
    drawn, group = draw(random, callers, gap)
    predictions = drawn.predictions()
    call = random.integers(0, 3, len(drawn.speaker))
    names = [f"{caller}/{number}" for caller, number in zip(predictions.groups, call.tolist())]
    found = per_call(predictions, names, ("negative",))
    return compared(found, group[[int(name[1:]) for name in found.caller]], PERMUTATIONS)


def coverage(callers: tuple[int, int], wanted: int, quiet: bool = False) -> list[Row]:
    def case(random: Generator) -> list[float]:
        held = {row.source: row.difference for row in rows_of(random, callers, GAP) if row.measure == NEGATIVE}
        bounds = [(held[source].lower, held[source].upper) for source in SOURCES]
        assert None not in (bound for pair in bounds for bound in pair)
        return [float(low <= planted()[source] <= high) for source, (low, high) in zip(SOURCES, bounds)]  # type: ignore[operator]

    found = studies(f"contrast, {callers[0]} and {callers[1]} callers", case, wanted, sum(callers), quiet)
    return [
        Row(
            f"95 % interval of the difference of two groups of callers in their negative share, {name} "
            f"({planted()[source]:.3f})",
            _described(callers),
            len(found),
            *share(column, LEAST, MOST),
        )
        for source, name, column in zip(SOURCES, ("predicted", "true"), found.T)
    ]


def null(callers: tuple[int, int], wanted: int, quiet: bool = False) -> list[Row]:
    def case(random: Generator) -> list[float]:
        (row,) = (row for row in rows_of(random, callers, 0.0) if (row.measure, row.source) == (NEGATIVE, "prediction"))
        return [float(p_value is not None and p_value < 0.05) for p_value in (row.welch_p, row.permutation_p)]

    found = studies(f"no contrast, {callers[0]} and {callers[1]} callers", case, wanted, sum(callers) + 1, quiet)
    return [
        Row(f"no difference of two groups of callers: p < 0.05 by {name}", _described(callers), len(found),
            *share(column, 0.0, 0.06))
        for name, column in zip(("Welch's t", "permutation"), found.T)
    ]  # fmt: skip


def _described(callers: tuple[int, int]) -> str:
    return f"{callers[0]} and {callers[1]} callers"


def rows(part: float) -> list[Row]:
    """part: of the full number of studies."""
    wanted = max(20, int(part * 500))
    return [row for callers in CALLERS for make in (coverage, null) for row in make(callers, wanted)]
