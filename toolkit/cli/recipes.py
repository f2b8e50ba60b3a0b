"""`toolkit run RECIPE.toml`: a whole study in one command, each step skipped where its result stands."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli.common import HERE, CommandResult, Workspace, place_of, remark
from toolkit.cli.recipe_options import COMMANDS, shapes
from toolkit.core.errors import InputError
from toolkit.study.recipe import read


def add_to(app: typer.Typer) -> None:
    """Register the command on the root command."""
    app.command()(run)


def run(
    recipe: Annotated[Path, typer.Argument(help="A TOML file, such as recipes/corrected.toml.", metavar="RECIPE.toml")],
    workspace: Workspace = HERE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the steps as commands, and which stand already; do nothing.")
    ] = False,
) -> CommandResult:
    """A whole study by a recipe: extract, probe, fine-tune, compare.

    The recipe is checked before anything is computed. A step whose result stands is skipped, and one that was stopped
    goes on, so the same command finishes what was interrupted. Clips that failed are named and make the exit code 3.

    Example: toolkit run recipes/corrected.toml
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("toolkit run works in one process; for `accelerate launch` take the commands of --dry-run")
    tables = read(recipe, shapes())
    from toolkit.cli import checks, steps  # they import what reads manifest and checkpoints

    place = place_of(workspace)
    study = checks.check(tables, place.folder)
    if dry_run:
        for step, made in steps.asked(study):
            print(f"{'stands' if made.cached else 'to do':<8}{step}")
        return CommandResult(())
    count = len(steps.asked(study, look=False))
    codes: list[int] = []

    def take(step: Any) -> CommandResult:
        number = len(codes) + 1
        remark(f"\nstep {number} of {count}: {step}")
        began = time.monotonic()
        try:
            made = _take(step, workspace)
        except BaseException:
            remark(f"stopped in step {number} of {count}: {step}")
            raise
        seconds = f"{time.monotonic() - began:,.1f} s"
        remark(f"step {number} of {count} " + ("stands already" if made.cached else f"is done, {seconds}"))
        codes.append(made.exit_code)
        return made

    outcome = steps.walk(study, take)
    print("\nMade, or standing already:")
    for title, page in outcome.pages:
        print(f"  {title}: {place.shown(page)}")
    for sentence in steps.leakage_inflation(outcome):
        print(sentence)
    return CommandResult((), exit_code=max(codes))


def _take(step: Any, workspace: Path) -> CommandResult:
    """Call the command's own function. step: a `steps.Step`."""
    with _typed(step.words):
        made = COMMANDS[step.command](**step.arguments(workspace)) or CommandResult(())
        step.after(made)
    return made


@contextmanager
def _typed(words: Sequence[str]) -> Iterator[None]:
    """The report of a run names the command that makes this run again, not the recipe around it."""
    before, sys.argv = sys.argv, ["toolkit", *words]
    try:
        yield
    finally:
        sys.argv = before
