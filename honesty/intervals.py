"""Do 95 % intervals hold the truth in 95 of 100 studies?"""

from collections.abc import Callable
from functools import cache

import numpy as np

from honesty.rows import Row, share, studies
from honesty.studies import Drawn, Generator, binary, rare, seven
from toolkit.result.calibration import calibrate
from toolkit.result.counts import count
from toolkit.result.metrics import METRICS, f1
from toolkit.result.rank_metrics import ranked
from toolkit.result.stats import Score, evaluate, headline_score

Draw = Callable[[Generator, int, float], Drawn]
POPULATION = 4_000  # speakers that the truth is taken of, several times
SPEAKERS = (5, 10, 20, 50, 105)
CLIPS = {105: 190.0}  # a speaker; 50 where nothing else is said
LEAST, MOST = 0.93, 0.97


@cache
def truth_of(draw: Draw, metric: str, clips: float, times: int = 6) -> float:
    """A metric of the population: of `times` large studies together."""
    random = np.random.default_rng(99)
    parts = [draw(random, POPULATION, clips) for _ in range(times)]
    if metric in ("roc_auc", "average_precision"):
        values = [ranked(one.truth, one.score[:, 1])[metric == "average_precision"] for one in parts]
        return float(np.mean(values))
    predictions = [one.predictions() for one in parts]
    truth, chosen = (np.concatenate([getattr(one, name) for one in predictions]) for name in ("truth", "prediction"))
    counts = count(truth, chosen, len(parts[0].task.labels))
    return float(f1(counts)[int(metric[3:])] if metric.startswith("f1:") else METRICS[metric].function(counts))


def interval(drawn: Drawn, metric: str) -> Score:
    if metric.startswith("f1:"):
        only = drawn.only(int(metric[3:]))
        return evaluate(only.predictions()).per_label[only.task.labels[0]]["f1"]
    predictions = drawn.predictions()
    if metric in ("unweighted_average_recall", "f1_macro"):
        return headline_score(predictions)
    return evaluate(predictions).overall[metric]


def coverage(name: str, draw: Draw, metric: str, speakers: int, wanted: int, quiet: bool = False) -> Row:
    clips = CLIPS.get(speakers, 50.0)
    truth = truth_of(draw, metric, clips)

    def case(random: Generator) -> tuple[float, float] | None:
        score = interval(draw(random, speakers, clips), metric)
        if score.lower is None or score.upper is None:
            return None
        return float(score.lower <= truth <= score.upper), score.upper - score.lower

    found = studies(f"{name}, {speakers} speakers", case, wanted, speakers, quiet)
    text, held = share(found[:, 0], LEAST, MOST)
    without = "" if len(found) == wanted else f"; {wanted - len(found)} studies gave no interval"
    words = f"{text}, {found[:, 1].mean():.3f} wide on average{without}"
    return Row(f"95 % interval of {name} (truth {truth:.3f})", f"{speakers} speakers", len(found), words, held)


def common(random: Generator, speakers: int, clips: float) -> Drawn:
    return binary(random, speakers, clips)


def scarce(random: Generator, speakers: int, clips: float) -> Drawn:
    return binary(random, speakers, clips, prior=-3.3)


def slope(speakers: int, wanted: int, quiet: bool = False) -> Row:
    """Of probabilities that are right for the population, up to each speaker's own ways."""
    reference = calibrate(common(np.random.default_rng(98), 3_000, 50.0).predictions())
    assert reference is not None and reference.slope.estimate is not None
    truth = reference.slope.estimate

    def case(random: Generator) -> tuple[float] | None:
        found = calibrate(common(random, speakers, 50.0).predictions())
        if found is None or found.slope.lower is None or found.slope.upper is None:
            return None
        return (float(found.slope.lower <= truth <= found.slope.upper),)

    found = studies(f"calibration slope, {speakers} speakers", case, wanted, speakers, quiet)
    text, held = share(found[:, 0], LEAST, MOST)
    return Row("95 % interval of the calibration slope", f"{speakers} speakers", len(found), text, held)


def recall_near_one(speakers: int, wanted: int, quiet: bool = False) -> Row:
    """Of a class that few speakers are mistaken in, down to one or none; the interval may cover more."""
    large = seven(np.random.default_rng(97), 5 * POPULATION, 30.0, 4.0)
    truth = float(np.mean(large.predictions().prediction[large.truth == 0] == 0))

    def case(random: Generator) -> tuple[float, float] | None:
        found = evaluate(seven(random, speakers, 30.0, 4.0).predictions()).per_label["a"]["recall"]
        if found.lower is None or found.upper is None:
            return None
        return float(found.lower <= truth <= found.upper), found.upper - found.lower

    found = studies(f"recall near 1, {speakers} speakers", case, wanted, speakers, quiet)
    text, held = share(found[:, 0], LEAST, 1.0)
    words = f"{text}, {found[:, 1].mean():.3f} wide on average, {found[:, 1].max():.2f} at most"
    without = "" if len(found) == wanted else f"; {wanted - len(found)} studies gave no interval"
    return Row(f"95 % interval of a class's recall near 1 (truth {truth:.3f})", f"{speakers} speakers", len(found),
               words + without, held)  # fmt: skip


def rows(part: float) -> list[Row]:
    """part: of the full number of studies."""
    found = []
    for name, draw, metric, speakers in (
        ("UAR, two classes", common, "unweighted_average_recall", SPEAKERS),
        ("UAR, seven classes", seven, "unweighted_average_recall", SPEAKERS),
        ("macro F1, eleven rare labels", rare, "f1_macro", SPEAKERS),
        ("F1 of one label of 5 %", rare, "f1:3", SPEAKERS[1:]),
        ("ROC-AUC, label of 38 %", common, "roc_auc", SPEAKERS),
        ("ROC-AUC, label of 5 %", scarce, "roc_auc", SPEAKERS[1:]),
        ("average precision, label of 38 %", common, "average_precision", SPEAKERS[1:]),
    ):
        quick = metric in ("unweighted_average_recall", "f1_macro")
        for number in speakers:
            slow = metric in ("roc_auc", "average_precision")  # whose every interval takes half a second with 105
            full = (2_000 if quick else 500) if number < 105 else (150 if slow else 500)
            found.append(coverage(name, draw, metric, number, max(20, int(part * full))))
    found += [recall_near_one(number, max(20, int(part * 2_000))) for number in (10, 20)]
    return [*found, *(slope(number, max(20, int(part * 500))) for number in (10, 20, 50))]
