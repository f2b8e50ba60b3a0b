"""`toolkit finetune`: the backbone trained end to end, on the folds of a probe run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.cli.common import CommandResult, Json, place_of, show, show_json
from toolkit.cli.options import command
from toolkit.cli.probe import report_run
from toolkit.core.errors import DONE, SOME_CLIPS_FAILED
from toolkit.core.imports import uncollected
from toolkit.finetune.options import FinetuneOptions

SETTINGS = ("train", "learning rate", "statistics", "class_weights")  # of a round, as its `Choice` names them


@command(FinetuneOptions)
def finetune(
    options: FinetuneOptions,
    workspace: Path,
    manifest: Path | None,
    audio_root: list[Path] | None,
    as_json: Json = False,
) -> CommandResult:
    """Train the backbone end to end, on the very folds of a probe run, one model per round, each from fresh weights.

    A round learns from its training clips and stops by its development clips, which choose the epoch; then it begins
    again, learns that many epochs from both, as the winner of a probe does, and predicts its test clips. Stopped, it
    resumes from the last epoch and ends with the same predictions.

    Example: toolkit finetune --from negative-whisper-medium-linear-0123456789ab --train lora
    """
    with uncollected():
        from toolkit.finetune import stage

    return carry_out(stage.plan(place_of(workspace, manifest, audio_root), options), as_json)


def carry_out(planned: Any, as_json: bool = False) -> CommandResult:
    """Run a `finetune.stage.Plan` and show what comes of it."""
    from toolkit.finetune import distributed
    from toolkit.result.report.terminal import spread

    done = planned.run(lambda run: None if as_json else report_run(run, planned.place, planned.options.name))
    if not (distributed.rank() or as_json):
        if len(done.runs) > 1:
            _table([one.run for one in done.runs], [one.folder for one in done.runs])
        for _, runs in done.series:
            if len(runs) > 1:
                print(spread([one.run for one in runs]))
    show_json(as_json and not distributed.rank(), done)
    failed = any(one.failed for one in done.runs)
    return CommandResult(done.folders, done.cached, SOME_CLIPS_FAILED if failed else DONE)


def _table(runs: Sequence[Any], folders: Sequence[Path]) -> None:
    """A row a run, in the order of training; what was chosen or set in each round where two rows differ in it."""
    from rich.table import Table

    from toolkit.result.metrics import title
    from toolkit.result.run import curve

    columns = {"each round's layer": [_of_rounds(run, "layer").replace("encoder.", "") for run in runs]}
    settings = {name: [_of_rounds(run, name) for run in runs] for name in SETTINGS}
    settings |= {"folds' seed": [str(run.provenance["deal"]) for run in runs],
                 "seed": [str(run.provenance["seed"]) for run in runs]}  # fmt: skip
    columns |= {name: values for name, values in settings.items() if len(set(values)) > 1}
    table = Table("", *columns, "dev, optimistic", f"test {title(runs[0].metric)}", "run", box=None)
    for number, (run, folder) in enumerate(zip(runs, folders)):
        (point,) = curve(run)
        cells = [values[number] for values in columns.values()]
        table.add_row(
            str(number + 1),
            *cells,
            "" if point.development is None else f"{point.development:.3f}",
            str(point.test),
            folder.name,
        )
    show(table)


def _of_rounds(run: Any, name: str) -> str:
    """A setting of every round; once where all have the same."""
    values = [str(choice.setting[name]) for choice in run.choices]
    return ", ".join(values if name == "layer" else dict.fromkeys(values) if len(set(values)) == 1 else values)
