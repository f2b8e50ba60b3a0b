"""All that is asked of a CUDA device, in less than eight minutes: tests, the tables of docs/benchmarks.md, profiles.

    python bench/gpu.py                     everything that fits into 470 s, in this order; what did not fit is owed
    python bench/gpu.py --seconds 240       the first of it
    python bench/gpu.py --only xlsr         the steps whose names have this

Each step is a process with a limit of its own, and its output is printed as it comes to an end. Without a device the
tests run on the made-up one (tests/fake_device.py), and the rest is named as owed: its figures would be a CPU's.
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
TESTS = ("models/test_device.py", "models/test_precision.py", "extract/test_device.py", "extract/test_precision.py")


@dataclass(frozen=True)
class Step:
    """command: behind the interpreter. most: seconds."""

    name: str
    command: tuple[str, ...]
    most: float
    needs_device: bool = True


def table(model: str, clips: int, times: int, *more: str) -> Step:
    """`extract` against its floor, on clips * times. Plain loops take too long there; see `loops`."""
    skipped = [word for method in ("loop", "padded", "half", "sorted", "compiled") for word in ("--skip", method)]
    command = ("bench/extract.py", "--model", model, "--clips", str(clips), "--times", str(times), *skipped, *more)
    return Step(f"table {model} {clips * times:,} {' '.join(more)}".strip(), command, 60)


def loops(model: str, *more: str) -> Step:
    """Against what a researcher writes: float32, bfloat16, float16 compiled."""
    command = ("bench/extract.py", "--model", model, "--clips", "128", "--repeats", "1", *more)
    return Step(f"loops {model} {' '.join(more)}".strip(), command, 60)


# The most wanted first: what does not fit is at the end.
STEPS = (
    Step(
        "tests",
        ("-m", "pytest", "-q", "-n", "auto", "--maxprocesses", "8", *(f"tests/{file}" for file in TESTS)),
        120,
        needs_device=False,
    ),
    table("hubert-base", 512, 8, "--profile"),
    table("whisper-small", 512, 8, "--profile"),
    table("whisper-small", 512, 8, "--context", "clip", "--profile"),
    loops("hubert-base"),
    loops("whisper-small"),
    table("xlsr-53-large", 512, 8),
    table("whisper-large-v3", 512, 2),
    table("whisper-medium", 512, 4),
    table("hubert-base", 512, 32),
    *(table("hubert-base", 512, 8, "--dtype", name) for name in ("float16", "tf32", "float32")),
    loops("whisper-small", "--context", "clip"),
    loops("xlsr-53-large"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=470)
    parser.add_argument("--only", default="", help="a part of the steps' names")
    parser.add_argument("--folder", type=Path, help="keep clips and checkpoints here, for the next run")
    given = parser.parse_args()
    there, began, owed = torch.cuda.is_available(), time.monotonic(), []
    folder = ("--folder", str(given.folder.resolve())) if given.folder else ()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    print(torch.cuda.get_device_name() if there else "No CUDA device: tests on the made-up one", flush=True)
    for step in STEPS:
        left = given.seconds - (time.monotonic() - began)
        if given.only not in step.name:
            continue
        if (step.needs_device and not there) or left < 15:
            owed.append(step.name)
            continue
        print(f"\n== {step.name} (at {given.seconds - left:.0f} s)", flush=True)
        command = [sys.executable, *step.command, *(folder if step.command[0] == "bench/extract.py" else ())]
        try:
            code = subprocess.run(command, cwd=ROOT, env=environment, timeout=min(step.most, left)).returncode
        except subprocess.TimeoutExpired:
            code = -1
        if code:
            owed.append(f"{step.name} ({'out of time' if code < 0 else f'exit code {code}'})")
    print(f"\n{time.monotonic() - began:.0f} s; owed: {', '.join(owed) or 'nothing'}")


if __name__ == "__main__":
    main()
