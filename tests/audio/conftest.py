"""Files made up byte by byte."""

import struct

import numpy as np


def wav_bytes(
    samples: np.ndarray, rate: int = 16_000, size: int | None = None, before: bytes = b"", after: bytes = b""
) -> bytes:
    """A 16-bit mono WAV made by hand; size: what the data chunk claims; before, after: other chunks."""
    data = (samples * 32767).astype("<i2").tobytes()
    claimed = len(data) if size is None else size
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    body = b"WAVE" + form + before + struct.pack("<4sI", b"data", claimed) + data + after
    return b"RIFF" + struct.pack("<I", min(len(body), 0xFFFF_FFFF)) + body


def ramp(count: int = 1600) -> np.ndarray:
    return np.linspace(-0.5, 0.5, count)


def mp3_frames(content: bytes) -> list[int]:
    """Where the frames of an MPEG-1 layer III file at 44.1 kHz begin."""
    rates = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
    starts = [0]
    while starts[-1] + 4 < len(content):
        flags = content[starts[-1] + 2]
        starts.append(starts[-1] + 144_000 * rates[flags >> 4] // 44_100 + (flags >> 1 & 1))
    return starts
