"""`toolkit probe`: a feature store and a question in, a run with its controls and a report out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli.common import CommandResult, Json, place_of, remark, show, show_json
from toolkit.cli.options import command
from toolkit.core.imports import uncollected
from toolkit.probe.options import ProbeOptions


def _explain(given: bool) -> None:
    if given:
        from toolkit.probe.search import explain

        print(explain())
        raise typer.Exit


@command(ProbeOptions)
def probe(
    options: ProbeOptions,
    workspace: Path,
    manifest: Path | None,
    audio_root: list[Path] | None,
    as_json: Json = False,
    explain: Annotated[
        bool, typer.Option("--explain", callback=_explain, is_eager=True, help="Print the search spaces and leave.")
    ] = False,
) -> CommandResult:
    """Which layer knows it: classifiers on every layer, by speaker-disjoint folds, searched with Optuna.

    Fold k is the test, the next one the development set, the rest trains. Hyper-parameters and the layer are chosen by
    class-balanced log-loss on development; the winner is refitted on train and development. Stopped, it resumes.

    Example: toolkit probe --model whisper-medium --target negative --control shuffled --nuisance speaker,sex,duration
    """
    with uncollected():
        from toolkit.probe import stage

    return carry_out(stage.plan(place_of(workspace, manifest, audio_root), options), as_json)


def carry_out(planned: Any, as_json: bool = False) -> CommandResult:
    """Run a `probe.stage.Plan` and show what comes of it."""
    from toolkit.result.report import compare_files
    from toolkit.result.report.terminal import spread

    place = planned.place

    def report_series(one: Any, runs: Sequence[Any]) -> None:
        if len(runs) > 1:
            print(f"{one.name}, {one.probe}: {spread([run.run for run in runs])}")

    name = planned.options.name
    made = planned.run() if as_json else planned.run(lambda run: report_run(run, place, name), report_series)
    if made.comparison is not None and not as_json:
        print()
        show(compare_files.matrix(made.comparison.comparison))
        print(made.comparison.answer)
        print(f"All of it, with curves on one axis and paired differences: {place.shown(made.report)}")
    show_json(as_json, made)
    return CommandResult(made.folders, made.cached)


def report_run(run: Any, place: Any, name: str | None = None) -> None:
    """A run on the terminal, and where its page is. run: a `RunResult`. name: that it should have got."""
    from toolkit.result.report import narrative, terminal

    if run.cached:
        kept = "" if not name or run.folder.name.startswith(f"{name}-") else f"; it keeps its name, {run.folder.name}"
        remark(f"this run is finished already; its figures are shown again{kept}")
    for clip, reason in run.failed.items():
        remark(f"failed: clip {clip!r} {reason}")
    show(terminal.summary(run.run, run.points, run.evaluation, run.controls))
    count = narrative.words(run.run).counted(len(run.run.predictions.ids), "clip")
    print(f"{count} predicted; CSV, metrics and figures next to the report: {place.shown(run.report)}")
