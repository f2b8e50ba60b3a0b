"""`toolkit run RECIPE.toml`: a whole study in one command, each step skipped whose result is there."""

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli.common import HERE, CommandResult, Workspace, place_of, remark
from toolkit.cli.compare import carry_out as compare
from toolkit.cli.contrast import carry_out as contrast
from toolkit.cli.extract import carry_out as extract
from toolkit.cli.finetune import carry_out as finetune
from toolkit.cli.probe import carry_out as probe
from toolkit.core.errors import InputError


def _randomise(planned: Any) -> CommandResult:
    planned.run()
    return CommandResult(())


SHOWN = {
    "models randomise": _randomise,
    "extract": extract,
    "probe": probe,
    "contrast": contrast,
    "finetune": finetune,
    "compare": compare,
}


def run(
    recipe: Annotated[Path, typer.Argument(help="A TOML file, such as recipes/corrected.toml.", metavar="RECIPE.toml")],
    workspace: Workspace = HERE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the steps as commands, and which stand already; do nothing.")
    ] = False,
    own_code: Annotated[
        bool, typer.Option("--own-code", help="Run the Python files that the recipe names as models.")
    ] = False,
) -> CommandResult:
    """A whole study by a recipe: extract, probe, contrast, fine-tune, compare.

    The recipe is checked before anything is computed. A step whose result is there is skipped, and one that was stopped
    resumes, so the same command finishes what was interrupted. Clips that failed are named and make the exit code 3.

    Example: toolkit run recipes/corrected.toml
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("toolkit run works in one process; for `accelerate launch` take the commands of --dry-run")
    from toolkit.study import steps
    from toolkit.study.leakage import leakage_inflation
    from toolkit.study.plan import plan

    study = plan(place_of(workspace), recipe, own_code)
    if dry_run:
        for step, made in steps.steps_of(study):
            print(f"{'done' if made.cached else 'to do':<8}{step}")
        return CommandResult(())
    count = len(steps.steps_of(study, check=False))
    codes: list[int] = []

    def take(step: Any) -> CommandResult:
        number = len(codes) + 1
        remark(f"\nstep {number} of {count}: {step}")
        began = time.monotonic()
        try:
            made = SHOWN[step.command](step.plan())
        except BaseException:
            remark(f"stopped in step {number} of {count}: {step}")
            raise
        seconds = f"{time.monotonic() - began:,.1f} s"
        remark(f"step {number} of {count} " + ("is finished already" if made.cached else f"is done, {seconds}"))
        codes.append(made.exit_code)
        return made

    outcome = steps.walk(study, take)
    sentences = list(leakage_inflation(outcome.optimistic))
    print("\nMade, or finished already:")
    for title, page in outcome.pages:
        print(f"  {title}: {study.place.shown(page)}")
    for sentence in sentences:
        print(sentence)
    return CommandResult((), exit_code=max(codes))
