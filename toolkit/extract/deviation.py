"""How far a precision is from float32 on clips of the corpus: measured, judged by a bound, kept with a store."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from toolkit.audio.decode import SAMPLE_RATE, Samples
from toolkit.core.i18n import ENGLISH
from toolkit.core.progress import Advance, quiet
from toolkit.extract.pooled import Pooled
from toolkit.models.encoder import Encoder
from toolkit.models.precision import BFLOAT16, FLOAT32, PRECISIONS, Precision

# Clips that are compared with float32, one in 25 between these. In bfloat16 now and then a frame of whisper-base swells
# tenfold, by how much is a matter of rounding, and one clip in fifteen has a deviation that is off by more than 1e-2:
# 16 clips show it in two cases of three, 64 in 99 of a hundred.
FEWEST_COMPARED, MOST_COMPARED = 16, 64
LEAST = 0.1  # of the mean's size: the error of a smaller deviation (silence has one) is taken relative to this
PRECISION_FILE = "precision.json"


@dataclass(frozen=True)
class Compared:
    """Clips of a corpus that a precision is measured by. clips: gives `count` of them, or all that have audio."""

    count: int
    clips: Callable[[], list[Samples]]


@dataclass(frozen=True)
class Measured:
    """What was found on drawn clips.

    deviations: by a precision's name the largest relative error of a mean, a deviation or a clip's kept frames; None
    for one that was left out, for being slower than float32 there. clips: that were compared, of `asked`. device: on
    which.
    """

    deviations: Mapping[str, float | None]
    clips: int
    asked: int
    device: str

    def chosen(self, rungs: Sequence[Precision], bound: float) -> Precision | None:
        """The first within the bound, or the one that was requested; None where one before it was not tried."""
        for rung in rungs:
            if rung == FLOAT32:
                return rung
            if rung.name not in self.deviations:
                return None
            if (found := self.deviations[rung.name]) is not None and (found <= bound or len(rungs) == 1):
                return rung
        return None

    def holds(self, rung: Precision, bound: float) -> bool:
        return (self.deviations.get(rung.name) or 0.0) <= bound

    def sentence(self, rungs: Sequence[Precision], rung: Precision, bound: float, why: str) -> str:
        """Which of the rungs is taken. why: the sentence on what the hardware is fast at."""
        limit = f"on {ENGLISH.counted(self.clips, 'clip')} (bound {bound:g})"
        if len(rungs) == 1 and not self.holds(rung, bound):
            found = f"differs from float32 by {self.deviations[rung.name]:.3g} {limit}"
            return f"{rung.name} as asked for, but it {found}: --dtype float32 is exact."
        if rung == rungs[0]:
            return f"{why.removesuffix('.')}; it differs from float32 by {self.deviations[rung.name]:.3g} {limit}."
        tried = [one for one in rungs if self.deviations.get(one.name) is not None]
        first, *others = (f"by {self.deviations[one.name]:.3g}" for one in tried)
        errors = [f"{tried[0].name} differs from float32 {first}", *map("{0.name} {1}".format, tried[1:], others)]
        return f"{rung.name}: {', '.join(errors)} {limit}."


def record_of(folder: Path) -> Measured | None:
    """The record in a store's folder; None if there is none, or it is damaged."""
    try:
        found: dict[str, Any] = json.loads((folder / PRECISION_FILE).read_text())
        if "deviation" in found:  # of an earlier version, with bfloat16 and float32 alone
            deviations = {**dict.fromkeys(PRECISIONS), BFLOAT16.name: found["deviation"]}
        else:
            deviations = found["deviations"]
        sound = 0 < found["clips"] <= found["asked"] < math.inf and isinstance(found["device"], str)
        sound = sound and all(value is None or 0 <= value < math.inf for value in deviations.values())
        return Measured(deviations, found["clips"], found["asked"], found["device"]) if sound else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


Kept = list[tuple[npt.NDArray[np.float32], float]]  # arrays, each with the size that an error of it is relative to


def kept(
    encoder: Encoder,
    clips: Sequence[Samples],
    frames: Sequence[str],
    advance: Advance = quiet,
    pooled: Pooled | None = None,
) -> Kept:
    """Each clip run alone: of each layer the mean (width,), the deviation (width,), what else is pooled and, in the
    layers `frames`, the (frames, width).
    """
    pooled = pooled or Pooled()
    found: Kept = []
    for clip in clips:
        for layer in encoder.states([clip]):
            mean, *others = pooled(layer.values, layer.lengths)[:, 0].cpu().numpy()
            size = float(np.linalg.norm(mean))
            found += [(mean, size), *((one, max(float(np.linalg.norm(one)), LEAST * size)) for one in others)]
            if layer.name in frames:
                valid = layer.values[0, : int(layer.lengths[0])]  # copied: a view would keep 30 s
                values = valid.to("cpu", torch.float32, copy=True).numpy()
                found.append((values, float(np.linalg.norm(values))))
        advance(1, len(clip) / SAMPLE_RATE)
    return found


def relative_errors(exact: Kept, found: Kept) -> npt.NDArray[np.float64]:
    """(n,): of each array the norm of the difference, relative to the size of the exact one; 1e30 if not finite."""
    pairs = zip(exact, found, strict=True)
    errors = np.array([np.linalg.norm(other - values) / max(size, 1e-30) for (values, size), (other, _) in pairs])
    finite: npt.NDArray[np.float64] = np.nan_to_num(errors, nan=1e30, posinf=1e30)  # JSON has no infinity
    return finite
