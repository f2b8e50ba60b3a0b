"""A small study on tiny random backbones, and its commands as functions that a fork can run."""

import gc
import importlib
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import soundfile
import torch

import toolkit.audio.decode as decode
import toolkit.extract.run as extract_run
import toolkit.features.loading as loading
import toolkit.finetune.audio_cache as audio_cache
from tests.models import tiny
from toolkit.cli import diagnostics, main
from toolkit.corpus import manifest

for module in ("core.ray_cluster", "extract.ray", "features.costs", "finetune.run", "finetune.search",
               "probe.control_runs", "probe.nuisance", "probe.ray", "result.report.compare_stage",
               "result.report.compare_page", "result.report.results", "result.report.run_page"):  # fmt: skip
    importlib.import_module(f"toolkit.{module}")  # once, for all forks
gc.freeze()  # and left alone, or each of them would have to copy what it never reads

CLIPS, SPEAKERS = 36, 6
SHARD = 3  # clips a shard, where 256 would make one of the whole corpus
PRECIOUS = ("store.json", "shard-*", "batches.json", "run.json", "predictions.csv", "folds.json", "layers.csv",
            "metrics.json", "*.safetensors", "winners.json", "clips.json")  # fmt: skip


def make(folder: Path, clips: int = CLIPS) -> Path:
    """A workspace: clips of several speakers whose pitch tells the label, and a checkpoint."""
    folder.mkdir(parents=True)
    rows = []
    for number in range(clips):
        time = np.arange(int(16_000 * (0.25 + 0.01 * (number % 7)))) / 16_000
        pitch = 120 + 130 * (number % 2)
        tone = sum(np.sin(2 * np.pi * pitch * harmonic * time) / harmonic for harmonic in range(1, 9))
        noise = np.random.default_rng(number).standard_normal(len(time))
        soundfile.write(folder / f"{number}.wav", 0.1 * tone + 0.02 * noise, 16_000)
        rows.append((f"clip{number}", f"{number}.wav", f"s{number // 2 % SPEAKERS}", str(number % 2)))
    manifest.write(folder / "manifest.csv", ("id", "path", "speaker", "high"), rows)
    tiny.hubert(folder / "models" / "mine")
    return folder


def fresh(study: Path, folder: Path, *keep: str) -> Path:
    """A copy of a study's inputs (hard links), with the folders named as well."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in study.iterdir():
        if path.is_file() or path.name in ("models", *keep):
            whole = path.is_dir()
            linked = os.link if path.suffix == ".wav" else shutil.copy2
            shutil.copytree(path, folder / path.name) if whole else linked(path, folder / path.name)
    return folder


def command(*words: object, decode_here: bool = True, figures: bool = True) -> None:
    """`toolkit WORDS` in this process.

    decode_here: in this process, not in one of its own, which takes most of a second to begin. figures: draw them,
    which takes longer than all the rest.
    """
    torch.set_num_threads(1)
    import toolkit.extract.plan as plan

    plan.CLIPS_PER_SHARD = SHARD
    diagnostics.install = lambda: None
    extract_run.measure_budget = lambda *_: 4.0  # what a clock finds differs from run to run
    if decode_here:
        for module in (loading, audio_cache, plan):
            module.decode = _decode
    if not figures:
        from toolkit.result.report import run_page

        run_page.draw = lambda folder, *_: folder / "report.html"
    sys.argv = ["toolkit", *map(str, words)]
    main()


def _decode(path, start=None, end=None, channel=None, duration=None, stop=None, sample_rate=decode.SAMPLE_RATE):
    return decode.decode(path, start, end, channel, duration, sample_rate=sample_rate)


def extract(workspace: Path, *more: object, **how: bool) -> None:
    command("extract", "-m", "mine", "--dtype", "float32", "--device", "cpu", "--workers", 1, "-w", workspace, *more,
            **how)  # fmt: skip


def probe(workspace: Path, *more: object, figures: bool = False) -> None:
    command("probe", "-m", "mine", "-t", "high", "--folds", 3, "--trials", 12, "--workers", 2, "-w", workspace, *more,
            figures=figures)  # fmt: skip


def finetune(workspace: Path, *more: object, figures: bool = False) -> None:
    command("finetune", "-m", "mine", "-t", "high", "--folds", 3, "--epochs", 3, "--patience", 3, "--batch-size", 8,
            "--save-weights", "--dtype", "float32", "--device", "cpu", "--workers", 1, "-w", workspace, *more,
            figures=figures)  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    """What must come out the same, by its place; provenance holds seconds, so run.json counts by its presence."""
    found = {}
    for pattern in PRECIOUS:
        for path in sorted(folder.rglob(pattern)):
            timed = path.name == "run.json"
            found[str(path.relative_to(folder))] = b"" if timed else path.read_bytes()
    return found
