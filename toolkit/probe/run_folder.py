"""`toolkit probe`: one store and one question in, a run's folder out; started once, finished once, then only read."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.core.artifacts import STUDY_FILE, locked, make_folder, run_folder, signature
from toolkit.core.errors import disk_full_is_named
from toolkit.core.i18n import Note
from toolkit.core.platform import peak_memory
from toolkit.corpus import evaluation_task
from toolkit.corpus.evaluation_task import EvaluationTask
from toolkit.corpus.labels import listed
from toolkit.corpus.material import Material
from toolkit.features.costs import extraction_seconds
from toolkit.features.fused import Features, Fused, clips_behind, stores_of
from toolkit.features.replaced import mark
from toolkit.features.shard import channel_of
from toolkit.features.units import UnitStore
from toolkit.probe import run as probe_run
from toolkit.probe import winners
from toolkit.probe.fused_rows import stated
from toolkit.probe.importance import columns_of
from toolkit.probe.nuisance import audio_seconds, durations
from toolkit.probe.run import PROTOCOL, Executor, Progress, here
from toolkit.probe.unit_weights import weighed
from toolkit.result import columns, run_files, units
from toolkit.result import run as result_run
from toolkit.result.clips import write_clips
from toolkit.result.run import Run

LEARNT = re.compile(
    r"(\d+\.)?(coefficients|intercepts|parameter\.)"
)  # of what a winner keeps; scalers and trees are not


@dataclass(frozen=True)
class Options:
    """probe: a name of `probe.registry.PROBES`, or `fused_rows.fused_name` of one. workers: fits at a time, None: one a
    core. executor: where they run; no figure depends on it. device: as `probe.run.probe` takes it.

    trials: per layer and round; or minutes: of search, shared by all layers and rounds. inner: the folds that are held
    out in turn to judge each setting. loss: "ccc" where networks are taught numbers by it, else "". name: what a new
    run's folder begins with.
    """

    probe: str = "linear"
    trials: int = 30
    minutes: float | None = None
    seed: int = 0
    workers: int | None = None
    executor: Executor = here
    device: str = "cpu"
    inner: int = 1
    loss: str = ""
    name: str | None = None

    @property
    def budget(self) -> dict[str, float]:
        return {"trials": self.trials} if self.minutes is None else {"minutes": self.minutes}


@dataclass(frozen=True)
class Sweep:
    """folder: of the finished run. cached: it was there already, finished by the same command on the same data."""

    folder: Path
    run: Run
    cached: bool


def sweep(
    store: Features,
    question: EvaluationTask,
    options: Options,
    result: Path,
    provenance: Mapping[str, Any],
    notes: Sequence[Note],
    progress: Progress,
) -> Sweep:
    """Probe every layer of a store and commit the run to result/TASK-BACKBONE-PROBE-SIG12/.

    notes: the user's own, for the report. A run that was stopped resumes; a finished one is read and verified instead.
    Raises SplitError when the same audio is on both sides, and what `run.probe` and `run_files.read` raise.
    """
    check_leaks(question, store)
    folder = folder_of(store, question, options, result, notes)
    with locked(make_folder(folder)), disk_full_is_named(folder):
        if (folder / result_run.RUN).exists():
            return Sweep(folder, run_files.read(folder), cached=True)
        whole, began = not (folder / STUDY_FILE).exists(), time.monotonic()
        run = probe_run.probe(
            store,
            question.task,
            question.truth,
            question.folds,
            question.groups,
            study=folder / STUDY_FILE,
            group=question.group,
            probe=options.probe,
            trials=options.trials,
            minutes=options.minutes,
            inner=options.inner,
            seed=options.seed,
            backbone=store.backbone,
            notes=[*question.notes, *notes],
            provenance={
                **provenance,
                "seed": options.seed,
                "deal": question.folds.seed,
                "series": series_of(store, question, options, notes),
                **options.budget,
                "inner_folds": options.inner,
                "learnt_from": "train+development",
                "store": store.signature,
                **stated(options.probe),
                "features": store.settings,
                "folds": question.dealt or question.folds.sha256,
                "rules": question.rules.stated(),
                **({"unit": store.stated} if isinstance(store, UnitStore) else {}),
            },
            winners=folder / winners.FOLDER,
            device=options.device,
            loss=options.loss,
            workers=options.workers,
            progress=progress,
            executor=options.executor,
        )
        seconds = time.monotonic() - began if whole else None
        clips, folds = clips_behind(store, run.folds)
        known = durations(clips)
        run = replace(run, left_out={**question.left_out, **run.left_out})
        material = asdict(Material.of((channel_of(clips.clips[clip].source), known[clip]) for clip in folds.ids))
        run = replace(run, provenance={**run.provenance, "material": material, **_costs(store, folder, run, seconds)})
        kept = winners.read(folder / winners.FOLDER)
        if isinstance(store, UnitStore):
            units.write(folder, weighed(store, run.folds, kept))
        elif (counts := columns_of(store, kept)) is not None:
            columns.write(folder, counts)
        hashes = clips.audio_sha256
        write_clips(folder, {clip: hashes[clip] for clip in folds.ids})
        from toolkit.result.report import run_page  # Altair takes a second to import

        run_files.write(folder, run, run_page.draw)
    return Sweep(folder, run, cached=False)


def check_leaks(question: EvaluationTask, store: Features) -> None:
    """`evaluation_task.check_leaks` of a store's clips, of units' too."""
    clips, folds = clips_behind(store, question.folds)
    evaluation_task.check_leaks(replace(question, folds=folds), clips.sounding_sha256)


def _costs(store: Features, folder: Path, run: Run, seconds: float | None) -> dict[str, float]:
    """What the run took, as far as it is known. seconds: of the search; None where it was stopped in between.

    Every figure is read by `toolkit compare` under its name here; peak memory is the whole process's.
    """
    kept = winners.read(folder / winners.FOLDER)
    clips, folds = clips_behind(store, run.folds)
    learnt = [sum(value.size for name, value in one.model.items() if LEARNT.match(name) and not isinstance(value, str))
              for one in kept]  # fmt: skip
    found = {
        "trained_parameters": max(learnt, default=0) or None,
        "seconds": seconds,
        "extraction_seconds": extraction_seconds(stores_of(store).values()),
        "audio_seconds": audio_seconds(clips, folds.ids) or None,  # of arrays none is known
        "peak_memory_bytes": peak_memory(),
        "bytes_on_disk": sum(one.total().bytes for one in stores_of(store).values())
        + sum(path.stat().st_size for path in (folder / winners.FOLDER).iterdir()),
    }
    return {name: round(value, 1) for name, value in found.items() if value is not None}


def folder_of(store: Features, question: EvaluationTask, options: Options, result: Path, notes: Sequence[Note]) -> Path:
    """Where `sweep` with the same arguments writes its run, or finds it."""
    task = question.task
    what = _what(store, question, options, notes)
    sha256 = signature({**what, "folds": question.folds.sha256, "seed": options.seed})
    return run_folder(result, task.name, f"{store.backbone}-{options.probe}", sha256, options.name)


def series_of(store: Features, question: EvaluationTask, options: Options, notes: Sequence[Note]) -> str:
    """The signature that runs share which differ in their training seed and the deal of their folds alone."""
    folds = question.folds
    return signature(
        {**_what(store, question, options, notes), "folds": [folds.scheme, folds.count, folds.group_by, folds.groups]}
    )


def _what(store: Features, question: EvaluationTask, options: Options, notes: Sequence[Note]) -> dict[str, Any]:
    """All that changes a figure but the folds and the seed."""
    task = question.task
    marks = {name: found for name, part in stores_of(store).items() if (found := mark(part))}
    replaced = marks if isinstance(store, Fused) else marks.get(store.backbone)
    return {
        "protocol": PROTOCOL,
        "store": store.signature,
        **({"replaced": replaced} if replaced else {}),
        "clips": len(store.ids),
        "task": [task.kind, list(task.labels), list(task.columns)],
        "truth": listed(task, question.truth),
        **question.rules.left_out,
        **({"unit": store.stated} if isinstance(store, UnitStore) else {}),
        "probe": options.probe,
        **stated(options.probe),
        **options.budget,
        "inner_folds": options.inner,
        **({"loss": options.loss} if options.loss else {}),
        "notes": list(notes),
    }
