"""The set `acoustic`: pitch, voicing, energy and timbre, every column by name (docs/acoustic.md)."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.fft import dct
from scipy.signal.windows import hann
from scipy.sparse import csr_array

from toolkit.audio.decode import SAMPLE_RATE, Samples
from toolkit.core.errors import AudioError, MachineError
from toolkit.extract.acoustic.registry import UNVOICED, AcousticSet, Measure, Measured

FloatArray = npt.NDArray[np.float64]

VERSION = 1  # raise it when the same clip would get other numbers
FRAME, HOP, FFT = 400, 160, 512  # samples: 25 ms every 10 ms
HOP_SECONDS = HOP / SAMPLE_RATE
LEAST_SECONDS = 0.1  # 8 frames; of less no percentile or slope says anything
LOWEST, HIGHEST = 60.0, 600.0  # Hz, of F0
DIO_SPEED = 4  # decimation before DIO's filters; StoneMask refines on the samples themselves
LEAST_PERIODIC = 0.45  # correlation of a voiced frame with itself a period later: Praat's voicing threshold
SEMITONES_FROM = 27.5  # Hz, A0, as in eGeMAPS
MEL_BANDS, COEFFICIENTS = 40, 13
SLOPE_FROM, SLOPE_TO = 50.0, 5_000.0  # Hz
FLOOR = 1e-10  # power, -100 dB of full scale: what is added before a logarithm

FUNCTIONALS = ("mean", "std", "p20", "p50", "p80", "slope")
FRAMEWISE = (
    "energy_db",
    *(f"mfcc{number}" for number in range(1, COEFFICIENTS + 1)),
    *(f"mfcc{number}_delta" for number in range(1, COEFFICIENTS + 1)),
    "spectral_slope",
    "spectral_centroid",
)
CONTOURS = ("f0_semitone", *FRAMEWISE, "spectral_flux", "jitter_like", "shimmer_like")
VOICING = ("fraction", "segments_per_second", "segment_seconds_mean", "segment_seconds_std", "pause_seconds_mean")
COLUMNS = (
    *(f"{contour}.{functional}" for contour in CONTOURS for functional in FUNCTIONALS),
    *(f"voicing.{name}" for name in VOICING),
)


def measure(samples: Samples) -> Measured:
    """All columns of one clip: (203,), finite.

    samples: (n,) at 16 kHz. A clip without voice has 0 in the columns of F0, jitter and shimmer, and is flagged.
    Raises AudioError for one shorter than LEAST_SECONDS.
    """
    if len(samples) < LEAST_SECONDS * SAMPLE_RATE:
        raise AudioError(
            f"lasts {len(samples) / SAMPLE_RATE:.3g} s, expected at least {LEAST_SECONDS:g} s for acoustic features"
        )
    exact = samples.astype(np.float64)
    frames = np.lib.stride_tricks.sliding_window_view(exact, FRAME)[::HOP]
    f0 = pitch(exact)[1 : len(frames) + 1]  # DIO's frame k + 1 is 2.5 ms before the middle of ours
    framewise, magnitude = spectral(frames)
    voiced = f0 > 0
    pairs = np.flatnonzero(voiced[1:] & voiced[:-1])  # frames whose next one is voiced, too
    seconds: FloatArray = np.arange(len(frames), dtype=np.float64) * HOP_SECONDS
    period = 1 / np.where(voiced, f0, 1.0)
    jitter = 2 * np.abs(np.diff(period)) / (period[1:] + period[:-1])
    peak = np.abs(frames).max(axis=1)
    shimmer = np.abs(np.diff(20 * np.log10(peak + FLOOR)))
    values = np.concatenate(
        [
            functionals(12 * np.log2(f0[voiced] / SEMITONES_FROM)[:, None], seconds[voiced]),
            functionals(framewise, seconds),
            functionals(flux(magnitude)[:, None], seconds[1:]),
            functionals(jitter[pairs, None], seconds[pairs]),
            functionals(shimmer[pairs, None], seconds[pairs]),
            voicing(voiced),
        ]
    )
    return Measured(values, () if voiced.any() else (UNVOICED,))


def pitch(samples: FloatArray) -> FloatArray:
    """(n_samples // HOP + 1,) Hz at every HOP from the first sample on, 0 where there is no voice.

    DIO (Morise, Kawahara and Katayose, 2009), refined by StoneMask (Morise, 2016), as WORLD has them. DIO finds a pitch
    in noise, too: a frame that is not alike a period later has no voice.
    """
    import pyworld

    period = 1_000 * HOP_SECONDS
    rough, times = pyworld.dio(
        samples, SAMPLE_RATE, f0_floor=LOWEST, f0_ceil=HIGHEST, frame_period=period, speed=DIO_SPEED
    )
    found: FloatArray = pyworld.stonemask(samples, rough, times, SAMPLE_RATE)
    inside = (found >= LOWEST) & (found <= HIGHEST)
    inside[inside] = periodicity(samples, np.flatnonzero(inside) * HOP, found[inside]) >= LEAST_PERIODIC
    return np.where(inside, found, 0.0)


def periodicity(samples: FloatArray, middles: npt.NDArray[np.int64], f0: FloatArray) -> FloatArray:
    """(n,): the normalised correlation of two frames a period apart, around samples `middles` (n,); f0: (n,) Hz."""
    lag = np.rint(SAMPLE_RATE / f0).astype(np.int64)
    longest = FRAME + int(SAMPLE_RATE / LOWEST) + 1
    padded = np.pad(samples, longest)
    first = (middles + longest - (FRAME + lag) // 2)[:, None] + np.arange(FRAME)
    one, other = padded[first], padded[first + lag[:, None]]
    power = np.sqrt(np.square(one).sum(axis=1) * np.square(other).sum(axis=1))
    return np.asarray((one * other).sum(axis=1) / (power + FLOOR))


def spectral(frames: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The contours of FRAMEWISE (n_frames, n), and the magnitude spectra (n_frames, FFT // 2 + 1)."""
    power = np.square(np.abs(np.fft.rfft(frames * hann(FRAME, sym=False), FFT)))
    magnitude = np.sqrt(power)
    frequency = np.fft.rfftfreq(FFT, 1 / SAMPLE_RATE)
    mfcc = dct(np.log(mel_bands().dot(power.T).T + FLOOR), type=2, norm="ortho", axis=1)[:, 1 : COEFFICIENTS + 1]
    band = (frequency >= SLOPE_FROM) & (frequency <= SLOPE_TO)
    kilohertz = frequency[band] / 1_000
    centred = kilohertz - kilohertz.mean()
    tilt = (10 * np.log10(power[:, band] + FLOOR) * centred).sum(axis=1) / np.square(centred).sum()
    centroid = (magnitude * frequency).sum(axis=1) / (magnitude.sum(axis=1) + FLOOR)
    energy = 10 * np.log10(np.square(frames).mean(axis=1) + FLOOR)
    return np.column_stack([energy, mfcc, deltas(mfcc), tilt, centroid]), magnitude


def deltas(values: FloatArray) -> FloatArray:
    """(n, width): the regression over two frames on either side, the ends repeated (HTK's formula)."""
    padded = np.pad(values, ((2, 2), (0, 0)), mode="edge")
    return (2 * (padded[4:] - padded[:-4]) + padded[3:-1] - padded[1:-3]) / 10


def flux(magnitude: FloatArray) -> FloatArray:
    """(n - 1,): the distance between neighbouring spectra, each brought to length 1; from 0 to the root of 2."""
    unit = magnitude / (np.sqrt(np.square(magnitude).sum(axis=1, keepdims=True)) + FLOOR)
    return np.asarray(np.sqrt(np.square(np.diff(unit, axis=0)).sum(axis=1)))


def functionals(values: FloatArray, seconds: FloatArray) -> FloatArray:
    """Of contours (n, width) at times (n,): (width * 6,), those of FUNCTIONALS contour by contour; 0 of no value.

    The slope is least squares', per second; 0 of a single value.
    """
    if not len(values):
        return np.zeros(values.shape[1] * len(FUNCTIONALS))
    mean = values.mean(axis=0)
    centred = seconds - seconds.mean()
    spread = np.square(centred).sum()
    slope = (centred[:, None] * (values - mean)).sum(axis=0) / spread if spread > 0 else np.zeros(len(mean))
    return np.stack([mean, values.std(axis=0), *np.percentile(values, [20, 50, 80], axis=0), slope], axis=1).ravel()


def voicing(voiced: npt.NDArray[np.bool_]) -> FloatArray:
    """(5,), those of VOICING: of runs of voiced frames, and of the pauses between them."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], voiced, [False]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    lasting = (ends - starts) * HOP_SECONDS
    pauses = (starts[1:] - ends[:-1]) * HOP_SECONDS
    return np.array(
        [
            voiced.mean(),
            len(starts) / (len(voiced) * HOP_SECONDS),
            lasting.mean() if len(lasting) else 0.0,
            lasting.std() if len(lasting) else 0.0,
            pauses.mean() if len(pauses) else 0.0,
        ]
    )


@cache
def mel_bands() -> csr_array:
    """(MEL_BANDS, FFT // 2 + 1): triangles of height 1, evenly spaced in mel (2595 log10(1 + f / 700)) to 8 kHz.

    Sparse, for its product adds up in one order whatever the number of threads.
    """

    def mel(hertz: Any) -> Any:
        return 2_595 * np.log10(1 + hertz / 700)

    edges = np.linspace(mel(20.0), mel(SAMPLE_RATE / 2), MEL_BANDS + 2)
    bins = mel(np.fft.rfftfreq(FFT, 1 / SAMPLE_RATE))
    low, middle, high = (edges[start : start + MEL_BANDS, None] for start in range(3))
    return csr_array(np.maximum(0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle))))


def _begin() -> Measure:
    """Raises MachineError where pyworld is not installed."""
    try:
        import pyworld
    except ImportError:
        raise MachineError(
            "--model acoustic takes F0 by WORLD, which is not installed; "
            "`pip install 'speech-layer-toolkit[acoustic]'` brings it"
        ) from None
    settings: Mapping[str, Any] = {
        "version": VERSION,
        "f0": f"pyworld {pyworld.__version__}, DIO (speed {DIO_SPEED}) and StoneMask, {LOWEST:g} to {HIGHEST:g} Hz",
    }
    return Measure(COLUMNS, measure, settings)


ACOUSTIC = AcousticSet("pitch, voicing, energy and timbre", _begin)
