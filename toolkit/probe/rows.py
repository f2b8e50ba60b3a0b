"""Our rows of the probes' table: all that is known of each.

What fits and applies it is loaded when first called, so that a finished run is found and shown without torch.
"""

from toolkit.core.registry import later
from toolkit.probe.protocol import LogUniform, OneOf, Probe, Uniform
from toolkit.probe.search import AGGREGATIONS, CLASS_WEIGHTS, STATISTICS, WIDTHS

_linear = later("toolkit.probe.linear:fitter")
_network = later("toolkit.probe.networks:NetworkFitter")
_trees = later("toolkit.probe.boosting:BoostingFitter")
_clips = later("toolkit.probe.clips:ClipFitter")

LINEAR = Probe(
    "L2 logistic regression",  # of numbers ridge regression, of levels proportional odds
    space={"C": LogUniform(1e-5, 1e3), "statistics": STATISTICS, "class_weights": CLASS_WEIGHTS},
    build=lambda layers, task, truth, seed, device: _linear(layers[0], task, truth, device),
    apply=later("toolkit.probe.linear:apply"),
    meanings={"C": "inverse strength of the L2 penalty"},
    forks=True,
    side_by_side=_linear,
)
MLP = Probe(
    "network of one or two hidden layers",
    space={
        "width": OneOf(WIDTHS),
        "depth": OneOf((1, 2)),
        "dropout": Uniform(0.0, 0.6),
        "learning_rate": LogUniform(3e-4, 1e-2),
        "weight_decay": LogUniform(1e-3, 1.0),
        "statistics": STATISTICS,
        "class_weights": CLASS_WEIGHTS,
    },
    build=lambda layers, task, truth, seed, device: _network(layers, task, truth, seed, mix=False, device=device),
    apply=later("toolkit.probe.networks:apply_mlp"),
    meanings={
        "width": "units in a hidden layer",
        "depth": "hidden layers",
        "dropout": "share of hidden units left out of a training step",
    },
    forks=True,
)
MIX = Probe(
    "learned weighting of all layers",
    space={
        "learning_rate": LogUniform(1e-3, 3e-2),
        "weight_decay": LogUniform(1e-3, 3.0),
        "statistics": STATISTICS,
        "class_weights": CLASS_WEIGHTS,
    },
    build=lambda layers, task, truth, seed, device: _network(layers, task, truth, seed, mix=True, device=device),
    apply=later("toolkit.probe.networks:apply_mix"),
    all_layers=True,
    shares=later("toolkit.probe.networks:layer_shares"),
    forks=True,
)
LIGHTGBM = Probe(
    "gradient-boosted trees",
    space={
        "num_leaves": OneOf((4, 8, 16, 31)),
        "learning_rate": LogUniform(0.03, 0.3),
        "min_data_in_leaf": OneOf((5, 10, 20, 40)),
        "feature_fraction": LogUniform(0.05, 0.5),
        "lambda_l2": LogUniform(1e-3, 30.0),
        "statistics": STATISTICS,
        "class_weights": CLASS_WEIGHTS,
    },
    build=lambda layers, task, truth, seed, device: _trees(layers[0], task, truth, seed, device),
    apply=later("toolkit.probe.boosting:apply"),
    meanings={
        "num_leaves": "leaves of a tree",
        "min_data_in_leaf": "clips in a leaf, at least",
        "feature_fraction": "share of the features that a tree may use",
        "lambda_l2": "L2 penalty on the leaves",
    },
    devices=("cpu", "gpu", "cuda"),
    torch=False,
)
CLIPS = Probe(
    "L2 logistic regression on the clips of a unit, aggregated",
    space={
        "C": LogUniform(1e-5, 1e3),
        "statistics": OneOf(("mean",)),
        "class_weights": CLASS_WEIGHTS,
        "aggregation": AGGREGATIONS,
    },
    build=lambda layers, task, truth, seed, device: _clips(layers, task, truth, device),
    apply=later("toolkit.probe.clips:apply"),
    weights=later("toolkit.probe.clips:weights"),
    meanings={
        "C": "inverse strength of the L2 penalty on clips",
        "aggregation": "of the clips' probabilities to the unit's: mean, mean of the 1, 3 or 10 highest, or noisy-or",
    },
    forks=True,
)


def _bags(title: str, reader: str) -> Probe:
    return Probe(
        title,
        space={
            "learning_rate": LogUniform(1e-3, 3e-2),
            "weight_decay": LogUniform(1e-3, 3.0),
            "statistics": OneOf(("mean",)),
            "class_weights": CLASS_WEIGHTS,
        },
        build=later("toolkit.probe.mil:BagFitter", reader),
        apply=later("toolkit.probe.mil:apply", reader),
        weights=later("toolkit.probe.mil:weights", reader),
        forks=True,
    )


MIL = _bags("gated attention over the clips of a unit", "toolkit.probe.bags:attention")
MIL_GRU = _bags("recurrent network over the clips of a unit in time", "toolkit.probe.bags:recurrent")
