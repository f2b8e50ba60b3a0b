"""Sets of libraries that a user installs: openSMILE's eGeMAPS and ComParE, and what Praat measures of a voice.

Neither is a dependency or an extra of ours: openSMILE's licence allows research alone, Praat's is the GPL.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from toolkit.audio.decode import SAMPLE_RATE, Samples
from toolkit.core.errors import AudioError, MachineError
from toolkit.extract.acoustic.registry import AcousticSet, Measure, Measured

LOWEST, HIGHEST = 75.0, 600.0  # Hz, of Praat's pitch; its own default range for speech of any voice


def _finite(columns: tuple[str, ...], values: Any) -> Measured:
    found = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(found).all():
        raise AudioError(f"has no finite {columns[int(np.argmin(np.isfinite(found)))]}: too short, or without voice")
    return Measured(found)


def _opensmile(feature_set: str, name: str) -> Measure:
    try:
        import opensmile
    except ImportError:
        raise MachineError(
            f"--model {name} takes opensmile, which is not installed and whose licence allows research alone; "
            "`pip install opensmile` where that fits"
        ) from None
    smile = opensmile.Smile(
        feature_set=getattr(opensmile.FeatureSet, feature_set), feature_level=opensmile.FeatureLevel.Functionals
    )
    columns = tuple(map(str, smile.feature_names))

    def measure(samples: Samples) -> Measured:
        return _finite(columns, smile.process_signal(samples, SAMPLE_RATE).to_numpy())

    return Measure(columns, measure, {"library": f"opensmile {opensmile.__version__}", "feature_set": feature_set})


def _quantile(share: int) -> Callable[[Any], float]:
    return lambda voice: float(voice(voice.pitch, "Get quantile", 0, 0, share / 100, "Hertz"))


def _formant(number: int) -> Callable[[Any], float]:
    return lambda voice: float(voice(voice.formants, "Get mean", number, 0, 0, "hertz"))


PRAAT_COLUMNS: Mapping[str, Callable[[Any], float]] = {
    "f0_mean_hz": lambda voice: voice(voice.pitch, "Get mean", 0, 0, "Hertz"),
    "f0_std_hz": lambda voice: voice(voice.pitch, "Get standard deviation", 0, 0, "Hertz"),
    **{f"f0_p{share}_hz": _quantile(share) for share in (20, 50, 80)},
    "jitter_local": lambda voice: voice(voice.pulses, "Get jitter (local)", 0, 0, 1e-4, 0.02, 1.3),
    "jitter_ppq5": lambda voice: voice(voice.pulses, "Get jitter (ppq5)", 0, 0, 1e-4, 0.02, 1.3),
    "shimmer_local": lambda voice: voice(
        [voice.sound, voice.pulses], "Get shimmer (local)", 0, 0, 1e-4, 0.02, 1.3, 1.6
    ),
    "shimmer_apq5": lambda voice: voice([voice.sound, voice.pulses], "Get shimmer (apq5)", 0, 0, 1e-4, 0.02, 1.3, 1.6),
    "hnr_mean_db": lambda voice: voice(voice.harmonicity, "Get mean", 0, 0),
    "intensity_mean_db": lambda voice: voice(voice.intensity, "Get mean", 0, 0, "energy"),
    "intensity_std_db": lambda voice: voice(voice.intensity, "Get standard deviation", 0, 0),
    **{f"formant{number}_mean_hz": _formant(number) for number in (1, 2, 3)},
}


class _Voice:
    """One clip in Praat's objects."""

    def __init__(self, parselmouth: Any, samples: Samples) -> None:
        call = self._call = parselmouth.praat.call
        self.sound = parselmouth.Sound(samples.astype(np.float64), sampling_frequency=float(SAMPLE_RATE))
        self.pitch = call(self.sound, "To Pitch", 0.0, LOWEST, HIGHEST)
        self.pulses = call(self.sound, "To PointProcess (periodic, cc)", LOWEST, HIGHEST)
        self.harmonicity = call(self.sound, "To Harmonicity (cc)", 0.01, LOWEST, 0.1, 1.0)
        self.intensity = call(self.sound, "To Intensity", LOWEST, 0.0, "yes")
        self.formants = call(self.sound, "To Formant (burg)", 0.0, 5, 5_500.0, 0.025, 50.0)

    def __call__(self, of: Any, command: str, *arguments: Any) -> float:
        return float(self._call(of, command, *arguments))


def _praat() -> Measure:
    try:
        import parselmouth
    except ImportError:
        raise MachineError(
            "--model praat takes praat-parselmouth, which is not installed and whose licence is the GPL; "
            "`pip install praat-parselmouth` where that fits"
        ) from None
    columns = tuple(PRAAT_COLUMNS)

    def measure(samples: Samples) -> Measured:
        try:
            voice = _Voice(parselmouth, samples)
            found = [read(voice) for read in PRAAT_COLUMNS.values()]
        except parselmouth.PraatError as error:
            reason = str(error).strip().splitlines()
            raise AudioError(f"cannot be measured by Praat: {reason[0] if reason else 'no reason given'}") from None
        return _finite(columns, found)

    version = f"praat-parselmouth {parselmouth.__version__}, Praat {parselmouth.PRAAT_VERSION}"
    return Measure(columns, measure, {"library": version, "pitch": f"{LOWEST:g} to {HIGHEST:g} Hz"})


OPENSMILE = "openSMILE (audEERING) may be used for research alone; commercial use needs a licence of its makers."
EGEMAPS = AcousticSet("eGeMAPS by openSMILE", partial(_opensmile, "eGeMAPSv02", "egemaps"), OPENSMILE)
COMPARE = AcousticSet("ComParE 2016 by openSMILE", partial(_opensmile, "ComParE_2016", "compare"), OPENSMILE)
PRAAT = AcousticSet(
    "Praat's measures of a voice", _praat, "Praat and parselmouth are under the GPL, version 3 or later."
)
