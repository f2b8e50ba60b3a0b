"""Silero's voice activity detector (MIT), run by ONNX Runtime alone: how probable speech is, every 32 ms.

Its package is not imported: that would set the threads of torch. Source: https://github.com/snakers4/silero-vad, the
model `silero_vad.onnx` with the frames and the context of the package's `OnnxWrapper`. Unlike there, its state starts
again every 4 s: after a long pause it misses whole turns otherwise (docs/segment.md). All these pieces run at once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.audio.decode import SAMPLE_RATE, Samples
from toolkit.core.errors import MachineError

FRAME = 512  # samples
CONTEXT = 64  # samples of the frame before
FRAME_SECONDS = FRAME / SAMPLE_RATE
PIECE = 125  # frames, 4 s: processed with one state
BEFORE = 62  # frames, 2 s: from which the state of a piece comes
STATE = 128  # width of its LSTM
MODEL = "silero_vad/data/silero_vad.onnx"

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Heard:
    """One signal. probability: (n_frames,) of speech; power: (n_frames,) mean squares."""

    probability: Floats
    power: Floats


def load() -> Any:
    """An ONNX Runtime session. Raises MachineError where the extra is not installed."""
    try:
        import onnxruntime

        file = distribution("silero-vad").locate_file(MODEL)
    except ImportError:
        raise MachineError(
            "Finding speech takes silero-vad and onnxruntime, which are not installed; `pip install "
            "'speech-layer-toolkit[segment]'` adds them"
        ) from None
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1  # a call a thread, and the same bits everywhere
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def listen(session: Any, blocks: Iterable[Samples]) -> Heard:
    """Hear a signal of any length. blocks: (n,) samples at SAMPLE_RATE, one after the other."""
    probabilities, powers = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
    for frames, samples in _pieces(blocks):
        speech = np.empty((len(samples), BEFORE + PIECE), np.float32)
        state = np.zeros((2, len(samples), STATE), np.float32)
        for number in range(BEFORE + PIECE):
            frame = samples[:, number * FRAME : (number + 1) * FRAME + CONTEXT]
            given = {"input": frame, "state": state, "sr": np.array(SAMPLE_RATE)}
            probability, state = session.run(["output", "stateN"], given)
            speech[:, number] = probability[:, 0]
        probabilities.append(speech[:, BEFORE:].ravel()[:frames])
        frames_there = samples[:, CONTEXT + BEFORE * FRAME :].reshape(-1, FRAME)[:frames]
        powers.append(np.square(frames_there).mean(axis=1))
    return Heard(np.concatenate(probabilities), np.concatenate(powers))


def _pieces(blocks: Iterable[Samples]) -> Iterator[tuple[int, Floats]]:
    """Frames that there are, and (n_pieces, samples of CONTEXT, BEFORE and PIECE); what is not there is zero."""
    ahead, whole = CONTEXT + BEFORE * FRAME, PIECE * FRAME
    before, left = np.zeros(ahead, np.float32), np.zeros(0, np.float32)
    for block in chain(blocks, [None]):
        samples = left if block is None else np.concatenate([left, block])
        count = -(-len(samples) // whole) if block is None else len(samples) // whole
        now, left = samples[: count * whole], samples[count * whole :]
        if count:
            frames = -(-len(now) // FRAME)
            signal = np.concatenate([before, now, np.zeros(count * whole - len(now), np.float32)])
            before = signal[-ahead:]
            yield frames, np.lib.stride_tricks.sliding_window_view(signal, ahead + whole)[::whole]
