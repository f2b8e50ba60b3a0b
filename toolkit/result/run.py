"""One probe of one backbone for one task: all that a reader of its figures needs."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.errors import ToolkitError
from toolkit.core.i18n import Note
from toolkit.corpus import splits
from toolkit.corpus.labels import Task
from toolkit.result import stats
from toolkit.result.jackknife import Score
from toolkit.result.predictions import Predictions

RUN, FOLDS, PREDICTIONS, LAYERS = "run.json", "folds.json", "predictions.csv", "layers.safetensors"
CURVE, METRICS = "layers.csv", "metrics.json"
VERIFIED = (FOLDS, PREDICTIONS, LAYERS, CURVE, METRICS)  # figures and the report are drawn from these, for people
FIGURES, REPORT = "figures", "report.html"
OUTSIDE = "outside"  # in place of the probe where predictions were made elsewhere
FUSIONS = ("early", "late")  # how the probe of a fusion's run is named begins with one of them and "-"
TUNED = "finetune-"  # how the probe of a run is named in which the backbone was trained; then the way


@dataclass(frozen=True)
class Choice:
    """What one round settled on, from its training and development clips alone.

    Attributes:
        fold: The test fold.
        layer: The layer chosen.
        setting: The winner's hyper-parameters.
        development: Its headline metric on the development set, 0 to 1; None where undefined.
        loss: What it was chosen by, the class-balanced log-loss on clips held out; None where something else chose.
    """

    fold: int
    layer: str
    setting: Mapping[str, Any]
    development: float | None
    loss: float | None = None

    @property
    def layers(self) -> str:
        """The layer; of a fusion each store's, as "whisper-medium:encoder.7 + acoustic:features.0"."""
        of_stores = [
            f"{key.removesuffix(':layer')}:{value}" for key, value in self.setting.items() if key.endswith(":layer")
        ]
        return " + ".join(of_stores) or str(self.setting.get("layer", self.layer))


def layers_chosen(choices: Sequence[Choice]) -> str:
    """As `Run.layers_chosen`, of the rounds of one run or of several."""
    rounds = Counter(choice.layers for choice in choices)
    return ", ".join(f"{layer} ({number})" for layer, number in rounds.most_common())


@dataclass(frozen=True)
class Run:
    """A finished probe run.

    Attributes:
        title: What is shown, e.g. "emotion from whisper-tiny.en".
        backbone: Its name.
        probe: Its name; "finetune-" and the way where the backbone was trained.
        task: Name, kind and labels.
        metric: Name of the headline metric.
        folds: Without the clips that were left out.
        predictions: Of the layer chosen in each round; every tested clip once.
        layers: Every layer's predictions of the same clips in the same order; layers in the order of depth.
        development: By layer, the headline metric on each round's development set; None where undefined.
        choices: One a round.
        left_out: Reason by clip id.
        notes: What the reader must see.
        provenance: Command, versions, hashes, seed.
        weights: Of a mix, by layer, its share in each round's refitted probe.
        losses: By layer, each round's `Choice.loss`; empty where something else chose.
    """

    title: str
    backbone: str
    probe: str
    task: Task
    metric: str
    folds: splits.Folds
    predictions: Predictions
    layers: Mapping[str, Predictions]
    development: Mapping[str, tuple[float | None, ...]]
    choices: tuple[Choice, ...]
    left_out: Mapping[str, str]
    notes: tuple[Note, ...]
    provenance: Mapping[str, Any]
    weights: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    losses: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def tuned(self) -> bool:
        """Whether the backbone was trained, and not only probed."""
        return self.probe.startswith(TUNED)

    @property
    def fusion(self) -> str:
        """How several stores were joined, of FUSIONS; "" for a run of one."""
        first, _, probe = self.probe.partition("-")
        return first if probe and first in FUSIONS else ""

    @property
    def frozen(self) -> bool:
        """Whether a probe of ours read a frozen backbone."""
        return not self.tuned and self.probe != OUTSIDE

    @property
    def tested_hours(self) -> float | None:
        """Hours of audio, where each clip was tested once and the run recorded how long they are; else None."""
        seconds = self.provenance.get("audio_seconds")
        if self.folds.scheme != "kfold" or not isinstance(seconds, int | float):
            return None
        return seconds / 3600

    @property
    def development_mean(self) -> float | None:
        """Mean development score of the chosen layers over the rounds, 0 to 1; None where none is defined."""
        values = [choice.development for choice in self.choices if choice.development is not None]
        return float(np.mean(values)) if values else None

    @property
    def layers_chosen(self) -> str:
        """What the rounds chose or ended at, and in how many: "encoder.3 (4), encoder.2 (1)"."""
        return layers_chosen(self.choices)

    def __post_init__(self) -> None:
        if self.layers.keys() != self.development.keys():
            raise ToolkitError(f"Run: layers {list(self.layers)}, development of {list(self.development)}")
        if self.losses and self.layers.keys() != self.losses.keys():
            raise ToolkitError(f"Run: layers {list(self.layers)}, losses of {list(self.losses)}")
        same = ("task", "ids", "groups", "group")
        for layer, predictions in self.layers.items():
            if any(getattr(predictions, name) != getattr(self.predictions, name) for name in same):
                raise ToolkitError(f"Run: {layer} predicts another task or other clips than the chosen layers")
            alike = np.array_equal(predictions.truth, self.predictions.truth, equal_nan=True)
            if not (alike and np.array_equal(predictions.fold, self.predictions.fold)):
                raise ToolkitError(f"Run: {layer} has another truth or fold than the chosen layers")
        for choice in self.choices:
            if choice.layer not in self.layers:
                raise ToolkitError(
                    f"Run: fold {choice.fold} chose {choice.layer!r}, which is none of {list(self.layers)}"
                )


@dataclass(frozen=True)
class Point:
    """One layer of the curve.

    Attributes:
        layer: Its name.
        development: Mean headline metric over the rounds' development sets; None where undefined.
        test: Headline metric over all tested clips, with its interval.
        chosen: In how many rounds.
        may_be_best: No other layer is shown to be ahead (`stats.may_be_best`).
        loss: Mean over the rounds of what they choose by; None where something else chose.
    """

    layer: str
    development: float | None
    test: Score
    chosen: int
    may_be_best: bool
    loss: float | None = None


def curve(run: Run) -> list[Point]:
    """Every layer's development and test score in the headline metric, in the order of depth."""
    points = []
    layers = list(run.layers.values())
    for layer, score, best in zip(run.layers, stats.headline_scores(layers), stats.may_be_best(layers)):
        defined = [value for value in run.development[layer] if value is not None]
        mean = float(np.mean(defined)) if defined else None
        chosen = sum(choice.layer == layer for choice in run.choices)
        loss = float(np.mean(run.losses[layer])) if run.losses else None
        points.append(Point(layer, mean, score, chosen, best, loss))
    return points


Draw = Callable[[Path, Run, Sequence[Point], stats.Evaluation], object]
