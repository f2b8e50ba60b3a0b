"""Which probes exist: a module each, and those of installed packages."""

from toolkit.core.registry import Registry
from toolkit.probe.protocol import Probe

PROBES = Registry(
    "probe",
    "probes",
    Probe,
    {
        "linear": "toolkit.probe.linear:LINEAR",
        "mlp": "toolkit.probe.networks:MLP",
        "lightgbm": "toolkit.probe.boosting:LIGHTGBM",
        "mix": "toolkit.probe.networks:MIX",
        "clips": "toolkit.probe.clips:CLIPS",
        "mil": "toolkit.probe.mil:MIL",
        "mil-gru": "toolkit.probe.mil:MIL_GRU",
    },
)
