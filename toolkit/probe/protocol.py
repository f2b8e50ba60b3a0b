"""What a probe is: the settings it is searched over, what it gives back, and what the run asks of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from statistics import median_low
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from toolkit.corpus.labels import IntArray, Task, Truth
from toolkit.features.layout import LayerFeatures
from toolkit.features.units import ClipLabels
from toolkit.probe.targets import FloatArray, Targets

Value = str | float | int
Setting = Mapping[str, Value]  # one value per parameter, e.g. {"C": 0.1, "statistics": "mean", ...}


@dataclass(frozen=True)
class LogUniform:
    """A positive number, uniform in its logarithm between `low` and `high`."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}, log-uniform"


@dataclass(frozen=True)
class Uniform:
    """A number, uniform between `low` and `high`."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}, uniform"


@dataclass(frozen=True)
class OneOf:
    """One of a few values."""

    values: tuple[Value, ...]

    def __str__(self) -> str:
        return "one of " + ", ".join(str(value) for value in self.values)


Parameter = LogUniform | Uniform | OneOf
Space = Mapping[str, Parameter]

Model = Mapping[str, npt.NDArray[np.generic] | str]  # arrays by name, and LightGBM's text

# What a refit on more clips takes over from a search: the trees of each label, by its index; under `targets.ALL`, where
# it is one number for all labels, the trees of a softmax, the epochs, or the clips that a strength C was relative to.
Found = Mapping[int, int]


@dataclass(frozen=True)
class Fit:
    """One fitted probe, applied to clips it was not fitted on.

    Attributes:
        probability: (n_held_out, n_labels); of a regression the predicted numbers.
        found: Of a search, by label.
        model: What it takes to predict again; empty for the trials of a search.
    """

    probability: FloatArray
    found: Found = field(default_factory=dict)
    model: Model = field(default_factory=dict)


# A setting's number, a step, and its probability (n_development, n_labels) by then -> whether to give it up.
GiveUp = Callable[[int, int, FloatArray], bool]


def never(number: int, step: int, probability: FloatArray) -> bool:
    """Give nothing up."""
    return False


class Fitter(Protocol):
    """A probe on the features of one layer (or, for a mix, of all). Clips are positions in those features."""

    def search(
        self,
        train: IntArray,
        development: IntArray,
        settings: Sequence[Setting],
        name: str,
        give_up: GiveUp = never,
    ) -> Iterable[Fit]:
        """Fit every setting on `train` and apply it to `development`, which early stopping may look at.

        Args:
            train: (n,) positions of clips.
            development: (m,) positions of clips.
            settings: One fit each.
            name: Of the round; whatever is random is drawn from it and the seed.
            give_up: Called after each step by a fit that takes steps and is made before the next; what is given up is
                returned as it is then.
        """
        ...

    def refit(self, train: IntArray, test: IntArray, setting: Setting, found: Found, name: str) -> Fit:
        """Fit one setting on `train` (development included), with what its search `found`; apply it to `test`."""
        ...

    def relabelled(self, truth: Truth, clips: ClipLabels | None = None) -> "Fitter":
        """The same of other labels, of units' clips too; what was prepared of the features alone is shared."""
        ...


class Relabelled:
    """A fitter that has labels in `_truth` alone: of others it is itself, and shares all that it prepared."""

    _truth: Truth

    def relabelled(self, truth: Truth, clips: ClipLabels | None = None) -> Self:
        """As `Fitter` asks."""
        other = copy(self)
        other._truth = truth
        return other


Layers = Sequence[LayerFeatures]


@dataclass(frozen=True)
class Probe:
    """All that is known of a kind of probe.

    Attributes:
        title: In sentences and figures.
        space: What is searched, by parameter; "statistics" and "class_weights" are among them (`search.STATISTICS`,
            `search.CLASS_WEIGHTS`, or fewer of their values), for fine-tuning takes them over.
        build: From layers, task, truth (a row per clip of the layers), seed and device.
        apply: A kept model to other clips' layers, with its setting and what it was fitted to -> (n, n_fitted)
            probabilities, as the class weights taught them. A clip's bits do not depend on its batch.
        meanings: Of the parameters that are its alone, for `toolkit probe --explain`.
        all_layers: It sees every layer at once and is in the layer curve under its own name; the others get one layer
            at a time.
        shares: Of a kept model that sees all layers, (n_layers,) what it makes of each, adding up to 1; None for none.
        weights: It reads the clips of units (`features.units.UnitFeatures`): from layers, a kept model, its setting and
            what it was fitted to, of each unit the share of each of its clips, adding up to 1. None for a probe that
            reads one vector a clip or unit.
        devices: Names that `build` takes.
        side_by_side: `build` of one layer for several stores' features side by side, which weighs each by a parameter
            (`search.weight_of`): from the layer, task, truth, device and the widths by block. None where columns that
            stand side by side are all that it takes.
        torch: These are torch's devices; else those of a library of its own, which checks them.
        forks: On a CPU its rounds may be fitted in forks of the process: many short calls from Python, of which threads
            would wait for each other, and no library that may hang in a fork because it has threads of its own.
    """

    title: str
    space: Space
    build: Callable[[Layers, Task, Truth, int, str], Fitter]
    apply: Callable[[Layers, Model, Setting, Targets], FloatArray]
    meanings: Mapping[str, str] = field(default_factory=dict)
    all_layers: bool = False
    shares: Callable[[Model], FloatArray] | None = None
    weights: Callable[[Layers, Model, Setting, Targets], list[FloatArray]] | None = None
    devices: tuple[str, ...] = ("cpu", "cuda")
    torch: bool = True
    forks: bool = False
    side_by_side: Callable[[LayerFeatures, Task, Truth, str, Mapping[str, int]], Fitter] | None = None

    def __post_init__(self) -> None:
        if missing := {"statistics", "class_weights"} - self.space.keys():
            raise ValueError(f"the space of {self.title!r} lacks {sorted(missing)}")

    def in_forks(self, device: str) -> bool:
        """Whether its rounds are better fitted in forks than in threads there."""
        return self.forks and device == "cpu"


def middle(found: Sequence[Found]) -> Found:
    """What several searches of one setting found: by label the median, the lower one of two."""
    labels = dict.fromkeys(label for one in found for label in one)
    return {label: median_low([one[label] for one in found if label in one]) for label in labels}


def by_statistics(settings: Sequence[Setting]) -> Iterator[tuple[str, list[int]]]:
    """The settings' numbers, grouped by the statistics they use: those share a matrix and are fitted together."""
    for statistics in sorted({str(setting["statistics"]) for setting in settings}):
        yield statistics, [number for number, setting in enumerate(settings) if setting["statistics"] == statistics]
