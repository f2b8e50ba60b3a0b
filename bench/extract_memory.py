"""Peak memory, cost per hour of audio and the time of a restart, by the number of clips.

    python bench/extract_memory.py                       500 against 50,000 clips
    python bench/extract_memory.py 500 4000
    python bench/extract_memory.py --model hubert-base --longest 0.3        of a real size, in hours

Each run is a process of its own; the clips are segments of 64 files. Peak is the most memory that the process ever
held, decoders aside (they hold one clip each, whatever the number of clips).
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import transformers
from workload import checkpoint_of, corpus_of, machine, processor_seconds

from toolkit.core.progress import Advance, quiet
from toolkit.corpus import manifest as manifests
from toolkit.extract.options import Options
from toolkit.extract.run import BUDGETS_FILE, extract
from toolkit.models.checkpoint import inspect

FILES = 64
SHARES = (0.1, 0.4)  # of a file, that a clip takes: each another one, because kernels are kept by length
SHORTEST = 0.1  # seconds


def memory(counts: Sequence[int], folder: Path, model: str, dtype: str, longest: float | None) -> None:
    """Print peak memory, cost per hour of audio, and the time of a restart, each in a process of its own."""
    files = corpus_of(FILES, folder / "files")
    checkpoint_of(model, folder)
    seconds = [soundfile.info(files.audio_path(clip)).duration for clip in files.clips]
    print(f"\nmemory, {model}, {dtype}, segments of {FILES} files as clips", flush=True)
    first: dict[str, float] = {}
    budgets: list[Path] = []
    for count in (FILES, *counts):  # the first run finds the batch size, which needs memory of its own, for all others
        rows = []
        generator = np.random.default_rng(0)
        for number in range(count):
            file = number % FILES
            shares = (SHORTEST, longest) if longest else tuple(share * seconds[file] for share in SHARES)
            length = generator.uniform(*shares)
            start = generator.uniform(0, seconds[file] - length)
            rows.append((str(number), f"{file}.wav", f"{start:.4f}", f"{start + length:.4f}"))
        manifests.write(files.root / f"{count}.csv", ("id", "path", "start", "end"), rows)
        for file_ in budgets:
            store = folder / f"features-{count}" / file_.parent.name
            store.mkdir(parents=True, exist_ok=True)
            shutil.copy(file_, store)
        for what in ("extract", "again"):
            command = [sys.executable, __file__, "--child", str(count), "--folder", str(folder), "--model", model]
            command += ["--dtype", dtype]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            if not budgets:
                budgets = list((folder / f"features-{count}").glob(f"*/{BUDGETS_FILE}"))
                break
            first.setdefault(what, found["peak"])
            print(
                f"  {what:8}{count:7,} clips {found['audio'] / 3600:7.2f} h{found['seconds']:9.1f} s"
                f"{found['processor']:9.1f} s of processor"
                f"{found['peak'] / 1024:9.1f} MiB peak ({found['peak'] / first[what]:.3f} of the first)"
                + (f"{found['processor'] / found['audio'] * 3600:9.1f} s an hour" if what == "extract" else ""),
                flush=True,
            )


def child(count: int, folder: Path, model: str, dtype: str) -> None:
    """What `memory` runs in a process of its own: read, extract, report as JSON."""
    began, processor = time.perf_counter(), processor_seconds()
    corpus = manifests.read(folder / "files" / f"{count}.csv", cells=False)
    checkpoint = inspect(folder / f"random-{model}", f"random-{model}")

    @contextmanager
    def silent(title: str, total: int, unit: str) -> Iterator[Advance]:
        yield quiet

    extract(corpus, checkpoint, folder / f"features-{count}", Options(dtype=dtype), show=silent)
    audio = sum((clip.end or 0.0) - (clip.start or 0.0) for clip in corpus.clips)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    found = {
        "seconds": time.perf_counter() - began,
        "processor": processor_seconds() - processor,
        "peak": int(status["VmHWM"].split()[0]),  # KiB; of this program alone, unlike getrusage's, which is inherited
        "audio": audio,
    }
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=int, nargs="*", default=[500, 50_000])
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--longest", type=float, help="seconds of the longest clip (default: by the files' lengths)")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    if given.child is not None:
        child(given.child, given.folder, given.model, given.dtype)
        return
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        memory(given.clips, Path(folder), given.model, given.dtype, given.longest)


if __name__ == "__main__":
    main()
