"""Which probes exist. A row adds a probe; its search space is the row of the same name in `search.SPACES`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolkit.corpus.labels import IntArray, Task
from toolkit.features.layout import LayerFeatures
from toolkit.probe import boosting, linear, networks
from toolkit.probe.protocol import Fitter, Model
from toolkit.probe.search import Setting
from toolkit.probe.targets import FloatArray, Targets

Layers = Sequence[LayerFeatures]
Build = Callable[[Layers, Task, IntArray, int, str], Fitter]
Apply = Callable[[Layers, Model, Setting, Targets], FloatArray]


@dataclass(frozen=True)
class Probe:
    """A row of the table.

    build: from layers, task, truth (a row per clip of the layers), seed and device (torch's, or LightGBM's
    device_type). apply: a kept model to other clips' layers, with its setting and what it was fitted to, ->
    (n, n_fitted) probabilities, as the class weights taught them. all_layers: it sees every layer at once and stands in
    the layer curve under its own name; the others get one layer at a time.
    """

    title: str
    build: Build
    apply: Apply
    all_layers: bool = False


def _linear(layers: Layers, task: Task, truth: IntArray, seed: int, device: str) -> Fitter:
    return linear.LinearFitter(layers[0], task, truth, device)


def _mlp(layers: Layers, task: Task, truth: IntArray, seed: int, device: str) -> Fitter:
    return networks.NetworkFitter(layers, task, truth, seed, mix=False, device=device)


def _mix(layers: Layers, task: Task, truth: IntArray, seed: int, device: str) -> Fitter:
    return networks.NetworkFitter(layers, task, truth, seed, mix=True, device=device)


def _lightgbm(layers: Layers, task: Task, truth: IntArray, seed: int, device: str) -> Fitter:
    return boosting.BoostingFitter(layers[0], task, truth, seed, device)


PROBES = {
    "linear": Probe("L2 logistic regression", _linear, linear.apply),
    "mlp": Probe("network of one or two hidden layers", _mlp, networks.apply_mlp),
    "lightgbm": Probe("gradient-boosted trees", _lightgbm, boosting.apply),
    "mix": Probe("learned weighting of all layers", _mix, networks.apply_mix, all_layers=True),
}
