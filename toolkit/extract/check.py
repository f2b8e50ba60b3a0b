"""`toolkit models check`: is a clip's number, batched, what it is alone in float32, on this checkpoint and device?"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from toolkit.audio.decode import SAMPLE_RATE, Samples
from toolkit.core import seeds
from toolkit.core.artifacts import commit_json
from toolkit.extract.deviation import Kept, relative_errors
from toolkit.extract.options import Options
from toolkit.extract.setup import Session
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.encoder import Encoder
from toolkit.models.generic import GenericEncoder
from toolkit.models.precision import FLOAT32

CHECK_FILE = "check.json"
BOUND = 1e-5  # of the relative error per layer and clip in float32; of the other precisions it is the options'
SECONDS = (0.02, 0.31, 1.0, 1.7, 3.01, 5.5)


@dataclass(frozen=True)
class BatchCheck:
    """The self-test's outcome. worst: the largest relative error over layers and clips, found in `layer`. mode: in
    which clips run together, of a family whose batches are exact by proof; "" for the others.
    """

    device: str
    dtype: str
    clips: int
    worst: float
    layer: str
    bound: float
    mode: str = ""

    @property
    def passed(self) -> bool:
        return self.worst <= self.bound

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "passed": self.passed}


def check_batching(encoder: Encoder, clips: Sequence[Samples], alone: Sequence[Kept], bound: float) -> BatchCheck:
    """Run clips of mixed lengths together and compare every layer over each clip's own frames with `alone`.

    alone: of each clip its own frames (n_frames, width), layer by layer, each with the norm its error is relative to.
    bound: of any other precision than float32.
    """
    together = [layer for clip in _states(encoder, clips) for layer in clip]
    errors = relative_errors([layer for clip in alone for layer in clip], together)
    place, names = int(errors.argmax()), encoder.layer_names
    worst, layer = float(errors[place]), names[place % len(names)]
    mode = encoder.mode if isinstance(encoder, GenericEncoder) else ""
    bound = BOUND if encoder.precision == FLOAT32 else bound
    return BatchCheck(str(encoder.device), encoder.precision.name, len(clips), worst, layer, bound, mode)


def check_checkpoint(
    checkpoint: Checkpoint, features: Path, options: Options, say: Callable[[str], None]
) -> BatchCheck:
    """Load a checkpoint as `extract` with these options would, check it, and commit the result into its store."""
    voices = [_voice(seconds) for seconds in SECONDS]
    session = Session(checkpoint, features, options, None, say)
    store = session.store()
    exact = session.exact()
    alone = [_states(exact, [voice])[0] for voice in voices]
    del exact
    result = check_batching(session.encoder(), voices, alone, options.bound)
    commit_json(store.folder / CHECK_FILE, result.as_json())
    return result


def _states(encoder: Encoder, clips: Sequence[Samples]) -> list[Kept]:
    result: list[Kept] = [[] for _ in clips]
    for layer in encoder.states(clips):
        for clip, values, length in zip(result, layer.values.to("cpu", torch.float32), layer.lengths.tolist()):
            frames = values[: int(length)].numpy()
            clip.append((frames, float(np.linalg.norm(frames))))
    return result


def _voice(seconds: float) -> Samples:
    """A gliding harmonic tone with breath: speech enough to exercise every layer."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 3 * time)) / SAMPLE_RATE
    tone = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 12))
    noise = seeds.generator(0, "voice", seconds).standard_normal(len(time))
    return np.asarray(0.1 * tone * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time)) + 0.01 * noise, dtype=np.float32)
