"""The search space of every probe; the only place that knows them. `toolkit probe --explain` prints them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Value = str | float | int
Setting = Mapping[str, Value]  # one value per parameter, e.g. {"C": 0.1, "statistics": "mean", ...}

BATCH = 10  # trials that Optuna proposes together; part of the protocol: the proposals depend on it


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

STATISTICS = OneOf(("mean", "std", "both"))
# What a network reads of its layer; in this order they stand.
HALVES = {"mean": ("mean",), "both": ("mean", "std"), "std": ("std",)}
CLASS_WEIGHTS = OneOf(("none", "balanced"))

MLP_WIDTHS = (32, 64, 128)

SPACES: dict[str, Space] = {
    "linear": {
        "C": LogUniform(1e-5, 1e3),
        "statistics": STATISTICS,
        "class_weights": CLASS_WEIGHTS,
    },
    "mlp": {
        "width": OneOf(MLP_WIDTHS),
        "depth": OneOf((1, 2)),
        "dropout": Uniform(0.0, 0.6),
        "learning_rate": LogUniform(3e-4, 1e-2),
        "weight_decay": LogUniform(1e-3, 1.0),
        "statistics": STATISTICS,
        "class_weights": CLASS_WEIGHTS,
    },
    "lightgbm": {
        "num_leaves": OneOf((4, 8, 16, 31)),
        "learning_rate": LogUniform(0.03, 0.3),
        "min_data_in_leaf": OneOf((5, 10, 20, 40)),
        "feature_fraction": LogUniform(0.05, 0.5),
        "lambda_l2": LogUniform(1e-3, 30.0),
        "statistics": STATISTICS,
        "class_weights": CLASS_WEIGHTS,
    },
    "mix": {
        "learning_rate": LogUniform(1e-3, 3e-2),
        "weight_decay": LogUniform(1e-3, 3.0),
        "statistics": STATISTICS,
        "class_weights": CLASS_WEIGHTS,
    },
}

MEANINGS = {
    "num_leaves": "leaves of a tree",
    "min_data_in_leaf": "clips in a leaf, at least",
    "feature_fraction": "share of the features that a tree may use",
    "lambda_l2": "L2 penalty on the leaves",
    "width": "units in a hidden layer",
    "depth": "hidden layers",
    "dropout": "share of hidden units left out of a training step",
    "learning_rate": "of AdamW, or the weight of a new tree",
    "weight_decay": "of AdamW, on weights, not on biases",
    "C": "inverse strength of the L2 penalty",
    "statistics": "what stands for a clip: the mean over its frames, their standard deviation, or both",
    "class_weights": "balanced: every class weighs the same in the loss, however rare",
}


def explain(probe: str | None = None) -> str:
    """The search space of one probe, or of all, as text for a terminal."""
    lines = []
    for name in SPACES if probe is None else [probe]:
        lines.append(name)
        lines += [f"  {parameter:<16} {space!s:<32} {MEANINGS[parameter]}" for parameter, space in SPACES[name].items()]
    lines.append(f"Optuna's TPE proposes {BATCH} settings at a time; the first {BATCH} are random.")
    lines.append("A lightgbm trial is given up where, tree for tree, its development loss is above the others' median.")
    return "\n".join(lines)


def narrowed(space: Space, statistics: Sequence[str]) -> Space:
    """The space on layers that have these statistics: where there is no std, a clip is its mean."""
    return space if "std" in statistics or "statistics" not in space else {**space, "statistics": OneOf(("mean",))}


def numbers(settings: Sequence[Setting], name: str) -> list[float]:
    """A parameter of all settings, in their order."""
    return [float(setting[name]) for setting in settings]


def readers(settings: Sequence[Setting]) -> dict[str, list[int]]:
    """By "mean" and "std": the settings that read it, where there are any."""
    rows = {
        half: [row for row, setting in enumerate(settings) if half in HALVES[str(setting["statistics"])]]
        for half in HALVES["both"]
    }
    return {half: mine for half, mine in rows.items() if mine}
