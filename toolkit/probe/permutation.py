"""`--control shuffled`, many times over: where the headline is among those of labels that say nothing of a clip."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from toolkit.core import seeds
from toolkit.core.artifacts import cores
from toolkit.core.errors import SplitError
from toolkit.core.forks import Ask
from toolkit.corpus.evaluation_task import EvaluationTask
from toolkit.corpus.labels import IntArray
from toolkit.corpus.splits import Round
from toolkit.features.units import UnitStore
from toolkit.probe.controls import dealt, shuffled
from toolkit.probe.data import Data, Layers, check, matched, rows_of
from toolkit.probe.protocol import Fitter, Found, Setting
from toolkit.probe.registry import PROBES
from toolkit.probe.round import once, predicted
from toolkit.probe.run import Progress, units_of
from toolkit.probe.workers import in_turn
from toolkit.result.kinds import headline_score

TRIES = 10  # shuffles for each that is wanted: in some, a round has nothing to learn from


def scores(
    features: Layers,
    question: EvaluationTask,
    study: Path,
    probe: str,
    seed: int,
    draws: int,
    progress: Progress,
    device: str = "cpu",
    workers: int | None = None,
) -> list[float]:
    """The headline metric of `draws` shuffles of the labels (`controls.shuffled`), each against its own labels.

    study: of the real run. A search for each shuffle would cost as many runs. What is done again: every layer of every
    round is fitted to the shuffled labels with the setting that the real labels chose there, the round's layer is
    chosen among these by development loss, thresholds are chosen, the layer is fitted again and predicts the test. What
    is not: the search for the setting.
    """
    real = matched(features, question.task, question.truth, question.folds, question.groups)
    rounds, units = list(real.folds.rounds()), units_of(features.layers, probe)
    settings = _settings(study, probe, units, rounds)
    drawn = _drawn(features, question, rounds, seed, draws)
    builds = {title: partial(_build, features, real, names, probe, seed, device) for title, names in units.items()}
    losses: dict[tuple[int, int], dict[str, tuple[float, Found]]] = {}
    predictions = [np.zeros_like(data.truth) for data in drawn]
    at_a_time = workers or (1 if device != "cpu" else cores())
    in_forks = PROBES[probe].in_forks(device)
    for number, (title, build) in enumerate(builds.items()):
        try_once = partial(_once, build(), drawn, title, settings)
        for tried in in_turn(try_once, rounds, at_a_time, in_forks):
            for (draw, fold), found in tried.items():
                losses.setdefault((draw, fold), {})[title] = found
        progress(title, number + 1, len(builds))
    chosen = {key: _lowest(tried) for key, tried in losses.items()}
    for title, build in builds.items():
        mine = [key for key, layer in chosen.items() if layer == title]
        if mine:
            predict = partial(_predict, build(), drawn, title, settings, losses, mine)
            for round_, own_predictions in zip(rounds, in_turn(predict, rounds, at_a_time, in_forks), strict=True):
                for draw, prediction in own_predictions:
                    predictions[draw][round_.test] = prediction
    tested = np.concatenate([round_.test for round_ in rounds])
    scored = [
        headline_score(data.task, data.truth[tested], each[tested])
        for data, each in zip(drawn, predictions, strict=True)
    ]
    return [score for score in scored if score is not None]


def p_value(real: float, shuffles: Sequence[float]) -> float:
    """Of shuffles that score as much, and the real one among them: (1 + how many) / (1 + all). 0 < p <= 1."""
    return (1 + sum(score >= real for score in shuffles)) / (1 + len(shuffles))


def _lowest(tried: Mapping[str, tuple[float, Found]]) -> str:
    """The layer with the lowest loss; of equals the first."""
    return min(tried, key=lambda title: tried[title][0])


def _settings(
    study: Path, probe: str, units: Mapping[str, Sequence[str]], rounds: Sequence[Round]
) -> dict[tuple[str, int], Setting]:
    """What the real labels chose, by layer and test fold."""
    from toolkit.core.study_file import StudyFile  # as in `probe.run.probe`
    from toolkit.probe.optuna_study import best, trials_of

    file = StudyFile(study)
    return {
        (title, round_.fold): best(trials_of(file.kept(f"{probe} {title} round {round_.fold}"))).setting
        for title in units
        for round_ in rounds
    }


def _drawn(features: Layers, question: EvaluationTask, rounds: Sequence[Round], seed: int, draws: int) -> list[Data]:
    """Shuffles that leave every round something to learn and to choose by. Raises SplitError where too few do."""
    found: list[Data] = []
    for number in range(TRIES * draws):
        own_seed = seeds.integer(seed, "permutation", number)
        other = shuffled(question, own_seed)
        data = matched(features, other.task, other.truth, other.folds, other.groups)
        if isinstance(features, UnitStore):
            data = replace(data, clip_labels=dealt(features, other, own_seed).clip_labels)
        try:
            check(data, rounds)
        except SplitError:
            continue
        found.append(data)
        if len(found) == draws:
            return found
    raise SplitError(
        f"Of {TRIES * draws} shuffles {len(found)} leave every round something to learn; {draws} asked for"
    )


def _build(features: Layers, data: Data, names: Sequence[str], probe: str, seed: int, device: str) -> Fitter:
    layers = [rows_of(features.layer(name), data.rows) for name in names]
    return PROBES[probe].build(layers, data.task, data.truth, seed, device)


def _once(
    fitter: Fitter,
    drawn: Sequence[Data],
    title: str,
    settings: Mapping[tuple[str, int], Setting],
    round_: Round,
    ask: Ask,
) -> dict[tuple[int, int], tuple[float, Found]]:
    setting, name = settings[title, round_.fold], f"{title} round {round_.fold}"
    return {
        (draw, round_.fold): once(fitter.relabelled(data.truth, data.clip_labels), data, round_, setting, name)
        for draw, data in enumerate(drawn)
    }


def _predict(
    fitter: Fitter,
    drawn: Sequence[Data],
    title: str,
    settings: Mapping[tuple[str, int], Setting],
    losses: Mapping[tuple[int, int], Mapping[str, tuple[float, Found]]],
    mine: Sequence[tuple[int, int]],
    round_: Round,
    ask: Ask,
) -> list[tuple[int, IntArray]]:
    name = f"{title} round {round_.fold}"
    return [
        (
            draw,
            predicted(
                fitter.relabelled(drawn[draw].truth, drawn[draw].clip_labels),
                drawn[draw],
                round_,
                settings[title, fold],
                losses[draw, fold][title][1],
                name,
            ),
        )
        for draw, fold in mine
        if fold == round_.fold
    ]
