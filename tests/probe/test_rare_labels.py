"""Every label's column is its own, whatever part of the clips a rare label's positives are in."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.corpus.labels import IntArray, Task
from toolkit.features.layout import LayerFeatures
from toolkit.probe.protocol import Fitter, Setting
from toolkit.probe.registry import PROBES
from toolkit.probe.targets import ALL, FloatArray, targets_of

LABELS, CLIPS, WIDTH = 4, 48, 8
SETTINGS: dict[str, Setting] = {
    "linear": {"C": 1.0, "statistics": "mean", "class_weights": "balanced"},
    "mlp": {
        "width": 32, "depth": 1, "dropout": 0.0, "learning_rate": 1e-2, "weight_decay": 0.01, "statistics": "mean",
        "class_weights": "none",
    },
    "lightgbm": {
        "num_leaves": 4, "learning_rate": 0.3, "min_data_in_leaf": 1, "feature_fraction": 1.0, "lambda_l2": 1e-3,
        "statistics": "mean", "class_weights": "balanced",
    },
    "mix": {"learning_rate": 3e-2, "weight_decay": 1e-3, "statistics": "mean", "class_weights": "none"},
}  # fmt: skip
TRAIN, DEVELOPMENT, TEST = (np.arange(start, CLIPS, 3) for start in range(3))


@dataclass(frozen=True)
class Drawn:
    """Clips in whose features the first LABELS columns say what the labels are."""

    truth: IntArray
    features: LayerFeatures

    @property
    def task(self) -> Task:
        names = tuple(f"label-{number}" for number in range(LABELS))
        return Task("many", "multilabel", names, names)

    def permuted(self, order: IntArray) -> "Drawn":
        return Drawn(self.truth[:, order], self.features)

    def fitter(self, probe: str) -> Fitter:
        return PROBES[probe].build([self.features], self.task, self.truth, 0, "cpu")


def drawn(seed: int, counts: tuple[tuple[int, int], ...]) -> Drawn:
    """counts: of each label, its positives in training and in development, no two labels having the same ones.

    Three test clips have a label, and no other.
    """
    generator = np.random.default_rng(seed)
    truth = np.zeros((CLIPS, LABELS), dtype=np.int64)
    order = generator.permutation(len(TRAIN))
    for label, (in_training, in_development) in enumerate(counts):
        for part, positives in ((TRAIN, in_training), (DEVELOPMENT, in_development)):
            truth[part[np.take(order, 5 * label + np.arange(positives), mode="wrap")], label] = 1
        truth[TEST[4 * label : 4 * label + 3 if in_training + in_development else 0], label] = 1
    mean = 0.3 * generator.standard_normal((CLIPS, WIDTH)).astype(np.float32)
    mean[:, :LABELS] += 3 * truth
    ids = tuple(f"c{number}" for number in range(CLIPS))
    return Drawn(truth, LayerFeatures("encoder.0", ids, mean, np.abs(mean)))


def round_of(corpus: Drawn, probe: str) -> tuple[FloatArray, FloatArray, FloatArray]:
    """A round's probabilities: of development by the search, of the test by the refit and by the kept winner."""
    fitter, setting = corpus.fitter(probe), SETTINGS[probe]
    (searched,) = fitter.search(TRAIN, DEVELOPMENT, [setting], "round")
    both = np.union1d(TRAIN, DEVELOPMENT)
    found = {ALL: 40} if probe in ("mlp", "mix") else searched.found  # else few epochs, as development is so unlike
    refitted = fitter.refit(both, TEST, setting, found, "round")
    targets = targets_of(corpus.task, corpus.truth[both])
    fitted = PROBES[probe].apply([corpus.features], refitted.model, setting, targets)
    kept = targets.probability(fitted, corpus.task, str(setting["class_weights"]))
    return searched.probability, refitted.probability, kept[TEST]


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_trees_are_not_stopped_by_clips_of_a_class_that_training_does_not_have(class_weights: str) -> None:
    generator = np.random.default_rng(0)
    truth = np.concatenate([np.arange(36) % 2, np.full(12, 2)])
    mean = generator.standard_normal((CLIPS, 4)).astype(np.float32)
    mean[:, 0] += 2 * (truth > 0)  # the third class sounds like the second one
    ids = tuple(f"c{number}" for number in range(CLIPS))
    features = LayerFeatures("encoder.0", ids, mean, np.abs(mean))
    fitter = PROBES["lightgbm"].build([features], Task("t", "multiclass", ("a", "b", "c"), ("t",)), truth, 0, "cpu")
    setting = {**SETTINGS["lightgbm"], "class_weights": class_weights}
    (every,) = fitter.search(np.arange(24), np.arange(24, 48), [setting], "round")
    (known,) = fitter.search(np.arange(24), np.arange(24, 36), [setting], "round")  # the same bins
    assert every.found == known.found == {ALL: 2}  # counted as the first class, they would stop it after one tree
    np.testing.assert_array_equal(every.probability[:12], known.probability)


COUNTS = st.tuples(st.integers(0, 6), st.integers(0, 6))


@pytest.mark.parametrize("probe", [name for name in sorted(PROBES) if PROBES[name].weights is None])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.integers(0, 99), st.tuples(COUNTS, COUNTS, COUNTS), st.permutations(range(LABELS)))
def test_the_labels_in_another_order_give_the_columns_in_that_order(
    probe: str, seed: int, rare: tuple[tuple[int, int], ...], order: list[int]
) -> None:
    corpus, moved = drawn(seed, ((6, 6), *rare)), np.array(order)
    for found, again in zip(round_of(corpus, probe), round_of(corpus.permuted(moved), probe)):
        if probe == "mlp":  # its first weights are drawn output by output: another network, which knows the same
            assert (np.abs(again - found[:, moved]).mean(axis=0) < 0.2).all()
        else:
            np.testing.assert_allclose(again, found[:, moved], atol=0.02 if probe == "mix" else 1e-5)


@pytest.mark.parametrize("probe", [name for name in sorted(PROBES) if PROBES[name].weights is None])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.integers(0, 99), COUNTS, COUNTS, st.integers(4, 8))
def test_a_label_of_development_alone_is_predicted_by_what_it_taught(
    probe: str, seed: int, one: tuple[int, int], other: tuple[int, int], late: int
) -> None:
    """The second label's positives are all in development: the search cannot learn it, the refit can."""
    corpus = drawn(seed, ((6, 6), (0, late), one, other))
    searched, refitted, kept = round_of(corpus, probe)
    assert (searched[:, 1] == 0).all()
    np.testing.assert_allclose(kept, refitted, atol=1e-6)
    taught = corpus.truth[np.union1d(TRAIN, DEVELOPMENT)].any(axis=0)
    assert (refitted[:, ~taught] == 0).all()
    has, no_label = corpus.truth[TEST, 1] == 1, ~corpus.truth[TEST].any(axis=1)
    assert refitted[has, 1].mean() > refitted[no_label, 1].mean()
