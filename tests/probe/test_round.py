"""What a round settles from its own clips: the criterion, the thresholds, the model's scale."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from tests.probe.conftest import WIDTH, Corpus, run
from toolkit.core.artifacts import STUDY_FILE
from toolkit.core.errors import InputError, SplitError
from toolkit.core.i18n import Note
from toolkit.core.study_file import StudyFile
from toolkit.corpus.labels import IntArray, Task
from toolkit.corpus.splits import Folds, fixed, make
from toolkit.features.layout import LayerFeatures
from toolkit.probe import winners
from toolkit.probe.data import Data, check, inner_parts, parts_of
from toolkit.probe.linear import LinearFitter
from toolkit.probe.protocol import Fit, Found, GiveUp, Setting, middle, never
from toolkit.probe.registry import PROBES
from toolkit.probe.round import PARTS, refitted
from toolkit.probe.round import LayerResult as Outcome
from toolkit.probe.round import test as settle
from toolkit.probe.targets import ALL, FloatArray, targets_of
from toolkit.result.kinds import headline_score
from toolkit.result.run import curve
from toolkit.result.thresholds import balanced_log_loss, bars_of, decide, scale_of, thresholds_of

Make = Callable[..., Corpus]


def data_of(corpus: Corpus) -> Data:
    rows = np.arange(len(corpus.ids))
    return Data(corpus.task, corpus.truth, corpus.speakers, corpus.folds, rows, {})


def folds_of(fold: IntArray) -> Folds:
    ids = tuple(f"c{number}" for number in range(len(fold)))
    return Folds(ids, ids, fold, "speaker", 0)


def test_the_folds_that_are_not_tested_are_held_out_in_turn_from_development_on() -> None:
    folds = folds_of(np.repeat(np.arange(5), 2))
    round_ = list(folds.rounds())[3]
    parts = parts_of(folds, round_, folds.count)
    assert [part.held_out.tolist() for part in parts] == [[8, 9], [0, 1], [2, 3], [4, 5]]
    assert [part.train.tolist() for part in parts[:2]] == [[0, 1, 2, 3, 4, 5], [2, 3, 4, 5, 8, 9]]
    np.testing.assert_array_equal(parts[0].held_out, round_.development)
    np.testing.assert_array_equal(parts[0].train, round_.train)
    assert [part.held_out.tolist() for part in inner_parts(folds, round_, 2)] == [[8, 9], [0, 1]]
    two = parts_of(folds, round_, 2)
    assert [part.held_out.tolist() for part in two] == [[2, 3, 8, 9], [0, 1, 4, 5]]


def test_many_folds_are_held_out_a_few_at_a_time() -> None:
    folds = folds_of(np.arange(106))
    round_ = next(iter(folds.rounds()))
    parts = parts_of(folds, round_, PARTS)
    assert len(parts) == PARTS and sorted(np.concatenate([part.held_out for part in parts])) == list(range(1, 106))
    assert {len(part.held_out) for part in parts} == {10, 11}


def test_a_fixed_split_holds_out_its_development_set(make_corpus: Make) -> None:
    corpus = make_corpus("binary", clips_a_speaker=4)
    split = ["test" if one in ("s0", "s1") else "dev" if one == "s2" else "train" for one in corpus.speakers]
    folds = fixed(corpus.ids, corpus.speakers, split, "speaker", 0)
    (round_,) = folds.rounds()
    (part,) = parts_of(folds, round_, 5)
    np.testing.assert_array_equal(part.held_out, round_.development)
    np.testing.assert_array_equal(part.train, round_.train)


def test_what_several_searches_found_is_taken_by_label() -> None:
    assert middle([{0: 10, 2: 7}, {0: 30}, {0: 20, 2: 9}]) == {0: 20, 2: 7}
    assert middle([{ALL: 5}]) == {ALL: 5}


def test_a_development_fold_of_classes_that_training_does_not_have_is_refused() -> None:
    folds = folds_of(np.repeat(np.arange(4), 2))
    task = Task("feeling", "multiclass", ("a", "b", "c"), ("feeling",))
    asked = Data(task, np.array([0, 1, 2, 2, 0, 1, 0, 1]), folds.groups, folds, np.arange(8), {})
    with pytest.raises(SplitError) as caught:
        check(asked, list(folds.rounds()))
    said = "In the round that tests fold 0 no label that the training clips teach occurs in the development clips; "
    assert str(caught.value) == said + "there is nothing to choose by"
    check(replace(asked, truth=np.array([0, 1, 2, 0, 0, 1, 0, 1])), list(folds.rounds()))


@dataclass
class Said:
    """A fitter that says what it was told to; `asked` keeps the parts of its fits.

    given: by the setting's C, the probabilities of all clips, (n_clips, n_labels).
    """

    given: dict[float, FloatArray]
    asked: list[tuple[str, list[int], list[int]]] = field(default_factory=list)

    def search(
        self, train: IntArray, development: IntArray, settings: list[Setting], name: str, give_up: GiveUp = never
    ) -> list[Fit]:
        self.asked.append(("search", train.tolist(), development.tolist()))
        key = [min(self.given, key=lambda c: abs(np.log(c / float(setting["C"])))) for setting in settings]
        return [Fit(self.given[one][development], {ALL: len(train)}) for one in key]

    def refit(self, train: IntArray, test: IntArray, setting: Setting, found: Found, name: str) -> Fit:
        self.asked.append(("refit", train.tolist(), [clip for clip in test.tolist() if clip not in train]))
        key = min(self.given, key=lambda c: abs(np.log(c / float(setting["C"]))))
        return Fit(self.given[key][test])


def round_tested(folder: Path, fitter: Said, data: Data, inner: int = 1, fold: int = 0) -> Outcome:
    file = StudyFile(folder / STUDY_FILE)
    round_, space = list(data.folds.rounds())[fold], PROBES["linear"].space
    return settle(fitter, data, file, "t", "mark", space, 10, inner, 0, round_, float("inf"))  # type: ignore[arg-type]


def test_the_thresholds_of_many_labels_are_chosen_on_all_that_is_not_tested(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    fold, task = np.repeat(np.arange(4), 10), Task("two", "multilabel", ("a", "b"), ("a", "b"))
    truth = (generator.random((40, 2)) < [0.5, 0.3]).astype(np.int64)
    probability = np.clip(0.3 + 0.3 * truth + 0.2 * generator.standard_normal((40, 2)), 0.01, 0.99)
    data = Data(task, truth, tuple("s" * 40), folds_of(fold), np.arange(40), {})
    fitter = Said({1.0: probability})
    found = round_tested(tmp_path, fitter, data)
    rest = fold != 0
    scores = np.full((40, 2), np.nan)
    for out in (1, 2, 3):
        own = scale_of(probability[rest & (fold != out)])
        scores[fold == out] = own.scores(probability[fold == out])
    order = np.concatenate([np.flatnonzero(fold == out) for out in (1, 2, 3)])
    thresholds = thresholds_of(task, truth[order], scores[order])
    expected = bars_of(task, truth[rest].mean(axis=0), scale_of(probability[rest]), thresholds)
    np.testing.assert_allclose(found.bars, expected)
    np.testing.assert_array_equal(found.prediction, probability[fold == 0] > expected)
    refits = [asked for asked in fitter.asked if asked[0] == "refit"]
    assert [out for _, _, out in refits] == [np.flatnonzero(fold == number).tolist() for number in (1, 2, 3, 0)]
    assert not any(clip < 10 for _, train, _ in fitter.asked for clip in train)  # the test fold taught nothing
    share, scale = truth[fold > 1].mean(axis=0), scale_of(probability[fold > 1])
    decided = decide(task, probability[fold == 1], bars_of(task, share, scale, thresholds))
    assert found.development == headline_score(task, truth[fold == 1], decided)


def test_a_label_that_a_part_cannot_teach_has_no_scores_there(tmp_path: Path) -> None:
    """All positives of b are in fold 2: the models of other parts score fold 2's alone not."""
    generator = np.random.default_rng(1)
    fold, task = np.repeat(np.arange(4), 10), Task("two", "multilabel", ("a", "b"), ("a", "b"))
    truth = np.stack([generator.permutation(np.arange(40) % 2), np.zeros(40, dtype=np.int64)], axis=1)
    truth[20:24, 1] = 1
    probability = np.clip(0.3 + 0.4 * truth + 0.1 * generator.standard_normal((40, 2)), 0.01, 0.99)
    data = Data(task, truth, tuple("s" * 40), folds_of(fold), np.arange(40), {})
    found = round_tested(tmp_path, Said({1.0: probability}), data)
    assert found.bars[1] == 0.5  # no positive among the clips that have a score


@pytest.mark.parametrize("inner", [1, 2, 3])
def test_a_setting_is_judged_by_its_mean_loss_over_the_inner_folds(tmp_path: Path, inner: int) -> None:
    fold, task = np.repeat(np.arange(4), 6), Task("mood", "multiclass", ("a", "b", "c"), ("mood",))
    truth = np.tile([0, 1, 2, 0, 1, 2], 4)
    good, poor = np.eye(3)[truth] * 0.7 + 0.1, np.eye(3)[truth] * 0.1 + 0.3
    weak, strong = good.copy(), good.copy()
    weak[fold == 1], strong[fold > 1] = good[fold == 1] * 0.9 + 0.1 / 3, poor[fold > 1]  # strong shines on fold 1 alone
    data = Data(task, truth, tuple("s" * 24), folds_of(fold), np.arange(24), {})
    found = round_tested(tmp_path, Said({1e-4: weak, 1e2: strong}), data, inner)
    wins = strong if inner == 1 else weak
    losses = [balanced_log_loss(task, truth[fold == out], wins[fold == out], np.full(3, 1 / 3)) for out in (1, 2, 3)]
    assert found.loss == pytest.approx(np.mean(losses[:inner]))
    assert (float(found.setting["C"]) > 0.1) == (inner == 1)


def test_inner_folds_that_are_not_there_are_refused(make_corpus: Make, tmp_path: Path) -> None:
    corpus = make_corpus("binary", clips_a_speaker=8)
    assert Note("inner_folds", {"inner": 2}) in run(corpus, tmp_path, trials=2, inner=2).notes
    with pytest.raises(InputError, match=r"--inner-folds 3: 2 folds are not tested; expected 1 to 2$"):
        run(corpus, tmp_path, trials=2, inner=3)
    split = ["test" if one in ("s0", "s1") else "dev" if one == "s2" else "train" for one in corpus.speakers]
    folds = fixed(corpus.ids, corpus.speakers, split, "speaker", 0)
    with pytest.raises(InputError, match="--inner-folds 2: a fixed split has one development set; expected 1 to 1"):
        run(replace(corpus, folds=folds), tmp_path, trials=2, inner=2)


def test_labels_that_do_not_vary_where_they_are_judged_are_refused(make_corpus: Make, tmp_path: Path) -> None:
    corpus = make_corpus("multilabel", clips_a_speaker=8)
    truth = corpus.truth.copy()
    truth[corpus.folds.fold == 1] = 1
    with pytest.raises(SplitError, match=r"tests fold 0 no label that the training clips teach varies in the develop"):
        run(replace(corpus, truth=truth), tmp_path, trials=1)


def moderate(kind: str, seed: int, strength: float) -> Corpus:
    """Ten speakers, six layers of noise; encoder.3 knows the label, moderately."""
    generator = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(10), 24)
    n, labels = len(speaker), 2 if kind == "binary" else 3
    truth: IntArray = generator.permutation(np.arange(n) % labels)
    if kind == "multilabel":
        truth = (generator.random((n, 3)) < [0.4, 0.3, 0.1]).astype(np.int64)
    indicators = truth if kind == "multilabel" else np.eye(labels, dtype=np.int64)[truth]
    ids = tuple(f"c{number}" for number in range(n))
    features = {}
    for number in range(6):
        mean, std = generator.standard_normal((2, n, WIDTH)).astype(np.float32)
        mean += generator.standard_normal((10, WIDTH)).astype(np.float32)[speaker]
        mean[:, :labels] += strength * indicators if number == 3 else 0
        features[f"encoder.{number}"] = LayerFeatures(f"encoder.{number}", ids, mean, np.abs(std))
    names = ("a", "b", "c")[:labels]
    task = Task("feeling", kind, names, names if kind == "multilabel" else ("feeling",))  # type: ignore[arg-type]
    speakers = tuple(f"s{number}" for number in speaker)
    return Corpus(features, task, truth, make(ids, speakers, indicators, 5, seed), speakers)


@pytest.mark.parametrize(
    ("kind", "seed", "strength"), [("binary", 1, 1.2), ("multiclass", 0, 1.2), ("multilabel", 0, 2.0)]
)
def test_all_five_rounds_choose_the_layer_in_which_the_label_was_planted(
    kind: str, seed: int, strength: float, tmp_path: Path
) -> None:
    """Chosen by the headline metric on the same development folds, some round takes another layer in most studies."""
    found = run(moderate(kind, seed, strength), tmp_path)
    assert [choice.layer for choice in found.choices] == ["encoder.3"] * 5
    for number, choice in enumerate(found.choices):
        assert choice.loss == min(own[number] for own in found.losses.values()) == found.losses["encoder.3"][number]
    points = {point.layer: point.loss for point in curve(found)}
    assert points["encoder.3"] == pytest.approx(np.mean(found.losses["encoder.3"]))


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_a_clip_s_score_is_its_log_odds_among_those_of_the_clips_that_taught_its_model(
    make_corpus: Make, tmp_path: Path, kind: str
) -> None:
    corpus = make_corpus(kind, clips_a_speaker=12)
    found = run(corpus, tmp_path, trials=2, winners=tmp_path / "kept")
    kept = winners.read(tmp_path / "kept")
    for winner in kept:
        own, _ = winner.apply([corpus.layer(layer) for layer in winner.layers])
        taught, tested = corpus.folds.fold != winner.fold, corpus.folds.fold == winner.fold
        odds = np.log(own / (1 - own))
        expected = (odds[tested] - odds[taught].mean(axis=0)) / odds[taught].std(axis=0)
        assert found.predictions.score is not None
        np.testing.assert_allclose(found.predictions.score[tested], expected, atol=1e-4)
        np.testing.assert_array_equal(
            winner.scale.scores(own)[tested].astype(np.float32), found.predictions.score[tested].astype(np.float32)
        )
        if kind == "multiclass":
            np.testing.assert_allclose(winner.bars, np.bincount(corpus.truth[taught], minlength=3) / taught.sum())
    assert all(layer.score is not None for layer in found.layers.values())


def test_a_model_is_read_against_the_clips_that_it_was_fitted_on(make_corpus: Make) -> None:
    corpus = make_corpus("multilabel", clips_a_speaker=12)
    data, setting = data_of(corpus), {"C": 1.0, "statistics": "mean", "class_weights": "balanced"}
    part = parts_of(corpus.folds, next(iter(corpus.folds.rounds())), 3)[0]
    fitter = LinearFitter(corpus.layer("encoder.1"), corpus.task, corpus.truth)
    one = refitted(fitter, data, part, setting, {ALL: len(part.train)}, "r")
    own = fitter.refit(part.train, part.train, setting, {ALL: len(part.train)}, "r").probability
    np.testing.assert_allclose(one.scale.centre, scale_of(own).centre, rtol=1e-6)
    np.testing.assert_allclose(one.prevalence, targets_of(corpus.task, corpus.truth[part.train]).prevalence)
    assert PROBES["linear"].space.keys() == setting.keys()
