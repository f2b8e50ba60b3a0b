"""Which probes exist. A row adds a probe; its search space is the row of the same name in `search.SPACES`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolkit.features.layout import LayerFeatures
from toolkit.labels import IntArray, Task
from toolkit.probe.fitting import Fitter
from toolkit.probe.linear import LinearFitter
from toolkit.probe.networks import NetworkFitter

Build = Callable[[Sequence[LayerFeatures], Task, IntArray, int], Fitter]


@dataclass(frozen=True)
class Probe:
    """A row of the table.

    build: from layers, task, truth (a row per clip of the layers) and seed. all_layers: it sees every layer at once
    and stands in the layer curve under its own name; the others get one layer at a time.
    """

    title: str
    build: Build
    all_layers: bool = False


PROBES = {
    "mlp": Probe("small network", lambda *given: NetworkFitter(*given, mix=False)),
    "mix": Probe("learned weighting of all layers", lambda *given: NetworkFitter(*given, mix=True), all_layers=True),
    "linear": Probe("L2 logistic regression", lambda layers, *rest: LinearFitter(layers[0], *rest)),
}
