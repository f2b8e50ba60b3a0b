"""`toolkit probe`: one store and one question in, a run's folder out; begun once, finished once, read ever after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.features.store import Store
from toolkit.folding import Question, refuse_leaks
from toolkit.probe import run as probe_run
from toolkit.probe.run import PROTOCOL, Progress
from toolkit.result import run as result_run
from toolkit.result.run import Run
from toolkit.runs import locked, make_folder, signature

STUDY, WINNERS = "study.db", "winners"


@dataclass(frozen=True)
class Options:
    """probe: a name of `probe.table.PROBES`. workers: fits at a time, None: one a core.

    trials: per layer and round; or minutes: of search, shared by all layers and rounds.
    """

    probe: str = "linear"
    trials: int = 30
    minutes: float | None = None
    seed: int = 0
    workers: int | None = None

    @property
    def budget(self) -> dict[str, float]:
        return {"trials": self.trials} if self.minutes is None else {"minutes": self.minutes}


@dataclass(frozen=True)
class Sweep:
    """folder: of the finished run. stood: it was there already, finished by the same command on the same data."""

    folder: Path
    run: Run
    stood: bool


def sweep(
    store: Store,
    question: Question,
    options: Options,
    result: Path,
    provenance: Mapping[str, Any],
    notes: Sequence[str],
    progress: Progress,
) -> Sweep:
    """Probe every layer of a store and commit the run to result/TASK-BACKBONE-PROBE-SIG12/.

    notes: more sentences for the report. A run that was stopped goes on; a finished one is read and verified instead.
    Raises SplitError when the same audio is on both sides, and what `probe.run.probe` and `result.run.read` raise.
    """
    refuse_leaks(question, store.audio_sha256)
    folder = _folder(store, question, options, result, notes)
    with locked(make_folder(folder)):
        if (folder / result_run.RUN).exists():
            return Sweep(folder, result_run.read(folder), stood=True)
        run = probe_run.probe(
            store,
            question.task,
            question.truth,
            question.folds,
            question.groups,
            study=folder / STUDY,
            group=question.group,
            probe=options.probe,
            trials=options.trials,
            minutes=options.minutes,
            seed=options.seed,
            backbone=store.backbone,
            notes=[*question.notes, *notes],
            provenance={
                **provenance,
                "seed": options.seed,
                **options.budget,
                "store": store.signature,
                "features": store.settings,
                "folds": question.folds.sha256,
            },
            winners=folder / WINNERS,
            workers=options.workers,
            progress=progress,
        )
        result_run.write(folder, run)
    return Sweep(folder, run, stood=False)


def _folder(store: Store, question: Question, options: Options, result: Path, notes: Sequence[str]) -> Path:
    task = question.task
    sha256 = signature(
        {
            "protocol": PROTOCOL,
            "store": store.signature,
            "clips": len(store.ids),
            "task": [task.kind, list(task.labels), list(task.columns)],
            "truth": question.truth.tolist(),
            "folds": question.folds.sha256,
            "probe": options.probe,
            **options.budget,
            "seed": options.seed,
            "notes": list(notes),
        }
    )
    return result / f"{task.name}-{store.backbone}-{options.probe}-{sha256[:12]}"
