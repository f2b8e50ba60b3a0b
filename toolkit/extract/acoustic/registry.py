"""Which acoustic sets exist: ours, those of libraries that a user installs, and those of installed packages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.audio.decode import Samples
from toolkit.core.registry import Registry

LAYER = "features.0"  # the one layer of such a store
UNVOICED = "unvoiced"  # flag of a clip in which no pitch was found; see `material.FLAGS`


@dataclass(frozen=True)
class Measured:
    """What is measured of one clip. values: (n_columns,), finite. flags: what a reader of them should know."""

    values: npt.NDArray[np.float64]
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measure:
    """A set that is ready to measure.

    Attributes:
        columns: Their names, in order; of ours "contour.functional".
        of: Samples (n,) float32 at 16 kHz -> Measured, the same bits each time; raises AudioError with the reason why a
            clip cannot be measured.
        settings: All that changes the numbers (library, version, level), for the store's name.
    """

    columns: tuple[str, ...]
    of: Callable[[Samples], Measured]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AcousticSet:
    """A row of the table.

    Attributes:
        title: In sentences.
        begin: Loads what it needs; raises MachineError with what to install.
        licence: A sentence on what its library may be used for, kept with the store and shown on the page; "" where
            there is nothing to mind.
    """

    title: str
    begin: Callable[[], Measure]
    licence: str = ""


SETS = Registry(
    "acoustic set",
    "acoustic_sets",
    AcousticSet,
    {
        "acoustic": "toolkit.extract.acoustic.own:ACOUSTIC",
        "egemaps": "toolkit.extract.acoustic.others:EGEMAPS",
        "compare": "toolkit.extract.acoustic.others:COMPARE",
        "praat": "toolkit.extract.acoustic.others:PRAAT",
    },
)


@lru_cache
def measure_of(name: str) -> Measure:
    """A set, ready. Raises InputError for an unknown name, MachineError for a library that is not installed."""
    return SETS.find(name).begin()
