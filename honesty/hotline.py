"""A hotline dealt out of EmoDB: callers with planted shares of negative clips, said by a real probe's own errors.

Each clip of a call is an EmoDB clip of the caller's voice, drawn with replacement, whose prediction is the one that a
model which never heard this voice gave it. The errors thus differ from voice to voice, as they do in a corpus, and are
the same for a voice's calls. Behind each other the clips, of two seconds, are windows of a call, so that changes a
minute are told too.
"""

from functools import cache

import numpy as np

from honesty.intervals import LEAST, MOST
from honesty.rows import Row, share, studies
from honesty.studies import BINARY, IntArray
from toolkit.result.calls import SOURCES, Measure, Source, per_call
from toolkit.result.contrast import Difference, compared
from toolkit.result.predictions import Predictions

# Of EmoDB's ten speakers: negative clips that `toolkit probe --model whisper-tiny.en --target negative --trials 10`
# (features of `extract --context clip`) took for negative, and not; other clips that it took for negative, and not.
VOICES = np.array([
    [16, 15, 2, 16], [33, 4, 1, 20], [16, 14, 2, 11], [30, 0, 7, 1], [32, 6, 6, 11],
    [23, 6, 1, 5], [33, 9, 1, 18], [34, 20, 2, 13], [32, 7, 1, 16], [51, 4, 4, 12],
])  # fmt: skip
CALLERS = (46, 60)  # suicidal ones as in arXiv 2501.08696, and others
CLIPS, SECONDS = 64, 2  # of a call, each
SHARES = ((4.8, 3.2), (3.6, 4.4))  # Beta's parameters of a caller's negative share: means 0.60 and 0.45
MEASURES = {Measure("negative"): "share of negative time", Measure("changes"): "changes a minute"}


@cache
def planted() -> dict[tuple[Source, Measure], float]:
    """The differences in the population, from the shares' first two moments. A share p is predicted as f + (r - f) p,
    by a voice's rates r and f; neighbours differ with probability 2 p (1 - p)."""
    recall, false = VOICES[:, 0] / VOICES[:, :2].sum(axis=1), VOICES[:, 2] / VOICES[:, 2:].sum(axis=1)
    pairs = 60 / SECONDS * (CLIPS - 1) / CLIPS  # a minute
    found: dict[tuple[Source, Measure], float] = {}
    for source, offset, slope in (("truth", np.zeros(1), np.ones(1)), ("prediction", false, recall - false)):
        first, second = [], []
        for a, b in SHARES:
            mean = a / (a + b)
            square = mean * (a + 1) / (a + b + 1)
            first.append(float((offset + slope * mean).mean()))
            squared = offset**2 + 2 * offset * slope * mean + slope**2 * square
            second.append(2 * (first[-1] - float(squared.mean())) * pairs)
        for measure, values in zip(MEASURES, (first, second)):
            found[source, measure] = values[0] - values[1]  # type: ignore[index]
    return found


def draw(random: np.random.Generator) -> tuple[Predictions, list[str], IntArray]:
    """Clips with their calls' names, a call a caller, and each caller's group."""
    group = np.repeat([0, 1], CALLERS)
    negative = np.array([random.beta(*SHARES[side]) for side in group])
    voice = np.repeat(random.integers(len(VOICES), size=len(group)), CLIPS)
    caller = np.repeat(np.arange(len(group)), CLIPS)
    truth = (random.random(len(caller)) < negative[caller]).astype(np.int64)
    counts = np.where(truth[:, None] == 1, VOICES[voice, :2], VOICES[voice, 2:])
    predicted = (random.random(len(caller)) < counts[:, 0] / counts.sum(axis=1)).astype(np.int64)
    names = [f"s{number:03d}" for number in caller.tolist()]
    ids = tuple(f"{name}@{SECONDS * at}-{SECONDS * (at + 1)}" for name, at in zip(names, np.arange(len(names)) % CLIPS))
    nothing = np.full((len(caller), 2), np.nan)
    return Predictions(BINARY, ids, tuple(names), caller % 5, truth, predicted, nothing), names, group


def rows_of(random: np.random.Generator) -> list[Difference]:
    """What `toolkit contrast` says of one hotline."""
    predictions, names, group = draw(random)
    found = per_call(predictions, names, ("negative",))
    return compared(found, group[[int(name[1:]) for name in found.caller]], permutations=1)


def coverage(wanted: int, quiet: bool = False) -> list[Row]:
    keys = [(source, measure) for measure in MEASURES for source in SOURCES]

    def case(random: np.random.Generator) -> list[float]:
        found = {(row.source, row.measure): row.difference for row in rows_of(random)}
        return [float(found[key].lower <= planted()[key] <= found[key].upper) for key in keys]  # type: ignore[operator]

    found = studies("hotline of EmoDB", case, wanted, 46, quiet)
    return [
        Row(
            f"95 % interval of the difference in {MEASURES[measure]}, "
            f"{'predicted' if source == 'prediction' else 'true'} ({planted()[source, measure]:.3f})",
            f"EmoDB's clips dealt into calls of {CALLERS[0]} and {CALLERS[1]} callers",
            len(found),
            *share(column, LEAST, MOST),
        )
        for (source, measure), column in zip(keys, found.T)
    ]


def rows(part: float) -> list[Row]:
    """part: of the full number of studies."""
    return coverage(max(20, int(part * 500)))
