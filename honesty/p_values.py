"""Are p-values below 5 % in 5 of 100 studies where nothing is there to be found?"""

from collections.abc import Callable

import numpy as np
from scipy.stats import kstest

from honesty.intervals import CLIPS, truth_of
from honesty.rows import Row, share, studies
from honesty.studies import Drawn, Generator, binary, rare
from toolkit.result.paired import difference, holm
from toolkit.result.stats import may_be_best
from toolkit.result.subgroups import parts

FAMILY = 5  # comparisons that Holm corrects together
Pair = Callable[[Generator, int, float], Drawn]


def two_classes(random: Generator, speakers: int, clips: float) -> Drawn:
    return binary(random, speakers, clips, models=2, shared=0.7)


def rare_labels(random: Generator, speakers: int, clips: float) -> Drawn:
    return rare(random, speakers, clips, models=2, shared=0.7)


def null(name: str, draw: Pair, metric: str, speakers: int, wanted: int, quiet: bool = False) -> list[Row]:
    """Two models that differ by chance alone."""

    def case(random: Generator) -> tuple[float] | None:
        drawn = draw(random, speakers, CLIPS.get(speakers, 50.0))
        found = difference([drawn.predictions(0)], [drawn.predictions(1)], metric).p_value
        return None if found is None else (found,)

    values = studies(f"p of {name}, {speakers} speakers", case, wanted, 1_000 + speakers, quiet)[:, 0]
    text, held = share(values < 0.05, 0.0, 0.06)
    strict, _ = share(values < 0.01, 0.0, 0.02)
    uniform = float(kstest(values, "uniform").pvalue)
    families = values[: len(values) // FAMILY * FAMILY].reshape(-1, FAMILY)
    least = np.array([min(holm(family.tolist())) for family in families])
    together, family_held = share(least < 0.05, 0.0, 0.06)
    study = f"{speakers} speakers, two models alike"
    words = f"p < .05 in {text}, p < .01 in {strict}; uniform by Kolmogorov and Smirnov: p = {uniform:.2f}"
    return [
        Row(f"p-value of a difference, {name}", study, len(values), words, held),
        Row(f"Holm over {FAMILY}, {name}", study, len(families), f"any p < .05 in {together}", family_held),
    ]


def equal(speakers: int, wanted: int, quiet: bool = False) -> Row:
    """Two models that are truly 2 points apart: how often they are called equal within 2 points."""
    truths = {signal: truth_of(_of_signal(signal), "unweighted_average_recall", 50.0) for signal in (1.4, 1.55)}
    slope = (truths[1.55] - truths[1.4]) / 0.15
    apart = (1.4, 1.4 + 0.02 / slope)

    def case(random: Generator) -> tuple[float] | None:
        drawn = binary(random, speakers, 50.0, models=2, shared=0.9, signal=apart)
        found = difference([drawn.predictions(0)], [drawn.predictions(1)], "unweighted_average_recall").equal_p
        return None if found is None else (float(found < 0.05),)

    found = studies(f"equal, {speakers} speakers", case, wanted, 3_000 + speakers, quiet)
    text, held = share(found[:, 0], 0.0, 0.05)
    return Row("equal within 2 points", f"{speakers} speakers, two models 2 points apart", len(found), text, held)


def _of_signal(signal: float) -> Pair:
    return lambda random, speakers, clips: binary(random, speakers, clips, signal=(signal,))


def gap(callers: int, inside: int, wanted: int, quiet: bool = False) -> Row:
    """A group of callers who are like all others."""

    def case(random: Generator) -> tuple[float] | None:
        predictions = binary(random, callers, 40.0).predictions()
        one, _ = parts(predictions, ["a" if int(name[1:]) < inside else "b" for name in predictions.groups])
        return None if one.p_value is None else (float(one.p_value < 0.05),)

    found = studies(f"gap of {inside} of {callers}", case, wanted, 4_000 + callers + inside, quiet)
    text, held = share(found[:, 0], 0.0, 0.06)
    study = f"{inside} of {callers} callers, who are like the others"
    return Row("p-value of a gap", study, len(found), f"p < .05 in {text}", held)


def layers(speakers: int, wanted: int, quiet: bool = False) -> Row:
    """Eight layers, of which three are alike and best."""
    signal = (0.6, 0.9, 1.2, 1.4, 1.4, 1.4, 1.1, 0.7)

    def case(random: Generator) -> tuple[float, float]:
        drawn = binary(random, speakers, 50.0, models=8, shared=0.7, signal=signal)
        found = may_be_best([drawn.predictions(layer) for layer in range(8)])
        return float(all(found[3:6])), float(sum(found))

    found = studies(f"layers, {speakers} speakers", case, wanted, 5_000 + speakers, quiet)
    text, held = share(found[:, 0], 0.95, 1.0)
    words = f"all three in {text}; {found[:, 1].mean():.1f} of 8 layers on average"
    return Row("the best layers are among those that may be", f"{speakers} speakers, 8 layers", len(found), words, held)


def rows(part: float) -> list[Row]:
    found = []
    for number in (10, 20, 50, 105):
        wanted = max(50, int(part * (2_000 if number < 105 else 500)))
        found += null("UAR", two_classes, "unweighted_average_recall", number, wanted)
    for number in (10, 20, 50, 105):
        wanted = max(50, int(part * (1_000 if number < 105 else 250)))
        found += null("macro F1 of rare labels", rare_labels, "f1_macro", number, wanted)
    found += [equal(number, max(50, int(part * 1_000))) for number in (10, 20, 50)]
    cases = ((10, 5), (20, 5), (50, 5), (50, 25), (105, 20))
    found += [gap(*case, max(50, int(part * 1_000))) for case in cases]
    return [*found, *(layers(number, max(50, int(part * 500))) for number in (10, 20, 50))]
