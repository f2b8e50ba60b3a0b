"""The process that decodes audio for `toolkit.audio.decode_pool`: a crash, a hang or a bomb ends it, and not the run.

Requests come on standard input, a JSON line each. An answer on standard output is its length (uint32), JSON, and then
float32 samples where it has any. A timer of the kernel's ends the process when an answer takes too long, however deep
in C it is; the end of its input ends it too, so none outlives the program that started it.
"""

import contextlib
import json
import os
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.audio import decode
from toolkit.audio.decode import Samples
from toolkit.core import platform
from toolkit.core.errors import AudioError

ALLOWED_SECONDS = 10.0  # of time for a clip, and as much more
BYTES_PER_SECOND = 5e6  # as its file's size
AUDIO_PER_SECOND = 20.0  # and the seconds of audio to decode need at these rates
MEMORY_BYTES = 4 * 2**30  # of addresses, beyond what the process begins with; an hour at 192 kHz takes 3
LENGTH = struct.Struct("<I")
NOTHING = np.zeros(0, np.float32)


def main() -> None:
    """Answer until there are no more requests."""
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a library that prints must not do it into an answer
    platform.no_core_dumps()
    platform.limit_memory(MEMORY_BYTES)
    _send(answers, {"ready": os.getpid()}, NOTHING)
    for line in sys.stdin.buffer:
        answer, samples = _answer(json.loads(line))
        platform.alarm(0)
        _send(answers, answer, samples)


def _answer(request: Mapping[str, Any]) -> tuple[dict[str, Any], Samples]:
    path = Path(request.pop("path"))  # type: ignore[attr-defined]
    allowed = ALLOWED_SECONDS
    with contextlib.suppress(OSError):
        allowed += path.stat().st_size / BYTES_PER_SECOND
    platform.alarm(allowed)

    def announce(seconds: float) -> None:
        platform.alarm(allowed + seconds / AUDIO_PER_SECOND)

    try:
        if "longest" in request:
            return vars(decode.header(path, **request, announce=announce)), NOTHING
        clip = decode.decode(path, **request, announce=announce)
        found = {"samples": len(clip.samples), "sha256": clip.sha256, "flags": clip.flags, "count": clip.count}
        return found, clip.samples
    except AudioError as error:
        return {"error": str(error)}, NOTHING
    except MemoryError:
        return {"error": f"needs more than {MEMORY_BYTES / 2**30:g} GiB to be decoded; use `start` and `end`"}, NOTHING
    except Exception as error:  # whatever it is, only this clip fails, not the run
        return {"error": f"cannot be decoded: {type(error).__name__} in the decoder"}, NOTHING


def _send(answers: int, answer: Mapping[str, Any], samples: Samples) -> None:
    content = json.dumps(answer).encode()
    for part in (LENGTH.pack(len(content)) + content, samples.data.cast("B") if len(samples) else b""):
        left = memoryview(part)
        while left:
            left = left[os.write(answers, left) :]
