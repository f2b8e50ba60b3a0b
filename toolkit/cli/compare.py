"""`toolkit compare`: is training the backbone worth it?"""

from pathlib import Path
from typing import Any

from toolkit.cli.common import CommandResult, Json, place_of, show, show_json
from toolkit.cli.options import command
from toolkit.result.options import CompareOptions


@command(CompareOptions)
def compare(
    options: CompareOptions,
    workspace: Path,
    manifest: Path | None,
    audio_root: list[Path] | None,
    as_json: Json = False,
) -> CommandResult:
    """Frozen and fine-tuned side by side: scores, paired differences with intervals, and what each cost.

    Runs of one task on the same folds belong together; others are refused, or left out with the reason. The values of
    --subgroups follow --spellings and --unknown too; an unknown value is shown as not known unless it is kept.

    Example: toolkit compare --subgroups sex,age_band
    """
    from toolkit.result.report import compare_stage

    return carry_out(compare_stage.plan(place_of(workspace, manifest, audio_root), options), as_json)


def carry_out(planned: Any, as_json: bool = False) -> CommandResult:
    """Run a `compare_stage.Plan` and show what comes of it."""
    from toolkit.result.report import compare_files

    def report(one: Any) -> None:
        if not as_json:
            show(compare_files.terminal(one.comparison))
            print(f"\n{one.answer}")
            print(f"The page, with CSV and LaTeX next to it: {planned.place.shown(one.report)}")

    done = planned.run(report)
    show_json(as_json, *done)
    return CommandResult(tuple(one.folder for one in done))
