"""Which probes exist: our rows, and those of installed packages."""

from toolkit.core.registry import Registry
from toolkit.probe.protocol import Probe

PROBES = Registry(
    "probe",
    "probes",
    Probe,
    {
        "linear": "toolkit.probe.rows:LINEAR",
        "mlp": "toolkit.probe.rows:MLP",
        "lightgbm": "toolkit.probe.rows:LIGHTGBM",
        "mix": "toolkit.probe.rows:MIX",
        "clips": "toolkit.probe.rows:CLIPS",
        "mil": "toolkit.probe.rows:MIL",
        "mil-gru": "toolkit.probe.rows:MIL_GRU",
    },
)
