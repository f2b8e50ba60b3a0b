"""`toolkit contrast`: do the calls of two groups of callers differ?"""

from pathlib import Path
from typing import Any

from toolkit.cli.common import CommandResult, Json, place_of, show, show_json
from toolkit.cli.options import command
from toolkit.result.options import ContrastOptions


@command(ContrastOptions)
def contrast(
    options: ContrastOptions,
    workspace: Path,
    manifest: Path | None,
    audio_root: list[Path] | None,
    as_json: Json = False,
) -> CommandResult:
    """Two groups of callers, call by call: the negative share, its changes, its longest stretch, each label.

    From a run's own predictions of clips that its models never learnt from. Next to it is what the true labels say,
    so that one sees what the errors of the prediction do to the difference.

    Example: toolkit contrast --from hotline-whisper-medium-linear-0123456789ab --by suicidal
    """
    from toolkit.result.report import contrast_stage

    return carry_out(contrast_stage.plan(place_of(workspace, manifest, audio_root), options), as_json)


def carry_out(planned: Any, as_json: bool = False) -> CommandResult:
    """Run a `contrast_stage.Plan` and show what comes of it."""
    from toolkit.result.report import contrast_files

    found = planned.run()
    show_json(as_json, found)
    if not as_json:
        show(contrast_files.terminal(found.contrast))
        print(f"\n{found.answer}")
        print(f"The page, with every call as CSV next to it: {planned.place.shown(found.report)}")
    return CommandResult((found.folder,))
