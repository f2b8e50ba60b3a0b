"""`toolkit run RECIPE.toml`: a whole study in one command, each step skipped where its result stands."""

import inspect
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_args, get_origin

import typer
from typer.models import ArgumentInfo, OptionInfo

from toolkit.cli.combinations import SPELT
from toolkit.cli.common import HERE, Made, Workspace, relative, remark, workspace_folder
from toolkit.cli.comparing import compare
from toolkit.cli.finetune import finetune
from toolkit.cli.models import randomise
from toolkit.cli.probing import probe
from toolkit.cli.study import extract
from toolkit.errors import InputError
from toolkit.recipes import Option, Shape, read

COMMANDS: dict[str, Callable[..., Made | None]] = {
    "extract": extract,
    "probe": probe,
    "finetune": finetune,
    "compare": compare,
    "models randomise": randomise,
}
SHARED = (
    "manifest",
    "audio-root",
    "folds",
    "group-by",
    "split-by",
    "spellings",
    "unknown",
    "seed",
)  # of `toolkit probe`, said in [study]
PLACES = ("", "workspace", "manifest", "audio-root")
ASKED = (*PLACES, *SPELT, "model", "target", "folds", "group-by", "split-by")
# What `toolkit finetune --from` takes from the probe run, and `toolkit probe --explain`, have no place in a recipe.
LEFT_OUT = {"probe": (*ASKED, "seed", "explain"), "finetune": (*ASKED, "from", "layer", "window", "hop", "repeats")}


def add_to(app: typer.Typer) -> None:
    """Register the command on the root command."""
    app.command()(run)


def run(
    recipe: Annotated[Path, typer.Argument(help="A TOML file, such as recipes/corrected.toml.", metavar="RECIPE.toml")],
    workspace: Workspace = HERE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the steps as commands, and which stand already; do nothing.")
    ] = False,
) -> Made:
    """A whole study by a recipe: extract, probe, fine-tune, compare.

    The recipe is checked before anything is computed. A step whose result stands is skipped, and one that was stopped
    goes on, so the same command finishes what was interrupted. Clips that failed are named and make the exit code 3.

    Example: toolkit run recipes/corrected.toml
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("toolkit run works in one process; for `accelerate launch` take the commands of --dry-run")
    tables = read(recipe, shapes())
    from toolkit.cli import checks, steps  # they import what reads manifest and checkpoints

    study = checks.check(tables, workspace_folder(workspace))
    if dry_run:
        for step, made in steps.asked(study):
            print(f"{'stands' if made.stood else 'to do':<8}{step}")
        return Made(())
    count = len(steps.asked(study, look=False))
    codes: list[int] = []

    def take(step: Any) -> Made:
        number = len(codes) + 1
        remark(f"\nstep {number} of {count}: {step}")
        began = time.monotonic()
        try:
            made = _take(step, workspace)
        except BaseException:
            remark(f"stopped in step {number} of {count}: {step}")
            raise
        seconds = f"{time.monotonic() - began:,.1f} s"
        remark(f"step {number} of {count} " + ("stands already" if made.stood else f"is done, {seconds}"))
        codes.append(made.exit_code)
        return made

    outcome = steps.walk(study, take)
    print("\nMade, or standing already:")
    for title, page in outcome.pages:
        print(f"  {title}: {relative(page, workspace)}")
    for sentence in steps.flattery(outcome):
        print(sentence)
    return Made((), exit_code=max(codes))


def _take(step: Any, workspace: Path) -> Made:
    """Call the command's own function. step: a `steps.Step`."""
    with _typed(step.words):
        made = COMMANDS[step.command](**step.arguments(workspace)) or Made(())
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


def shapes() -> dict[str, Shape]:
    """What a recipe takes: in each table the options of its command, as they are declared there."""
    probing, tuning = options("probe"), options("finetune")
    study = {name: option for name, option in probing.items() if name in SHARED}
    names = Option(str, several=True)
    return {
        "study": Shape({"target": names, **study}, needed=("target",)),
        "extract": Shape(_without(options("extract"), PLACES), needed=("model",)),
        "probe": Shape(_without(probing, LEFT_OUT["probe"])),
        "finetune": Shape(
            {"model": names, "probe": Option(str), **_without(tuning, LEFT_OUT["finetune"])}, many=True
        ),
        "compare": Shape(_without(options("compare"), (*PLACES, *SPELT))),
    }  # fmt: skip


def _without(options: dict[str, Option], names: Sequence[str]) -> dict[str, Option]:
    return {name: option for name, option in options.items() if name not in names}


def options(command: str) -> dict[str, Option]:
    """A command's options by name, without the two dashes, as its signature declares them; under "" its arguments."""
    found = {}
    for parameter, declared in inspect.signature(COMMANDS[command]).parameters.items():
        kind, *about = get_args(declared.annotation)
        for info in about:
            if isinstance(info, ArgumentInfo):
                found[""] = Option(str, parameter=parameter)
            if isinstance(info, OptionInfo):
                # behind Annotated, Typer reads the first positional word as a name too
                names = [name for name in map(str, (info.default, *(info.param_decls or ()))) if name.startswith("--")]
                name = names[0] if names else "--" + parameter.replace("_", "-")
                found[name.removeprefix("--")] = _option(kind, info, parameter)
    return found


def defaults(command: str) -> dict[str, Any]:
    """What each option of a command is where it is not given, by name."""
    declared = inspect.signature(COMMANDS[command]).parameters
    return {name: declared[option.parameter].default for name, option in options(command).items()}


def _option(kind: Any, info: OptionInfo, parameter: str) -> Option:
    if get_origin(kind) is UnionType:
        (kind,) = (one for one in get_args(kind) if one is not type(None))
    several = get_origin(kind) is list
    (kind,) = get_args(kind) if several else (kind,)
    pair = kind is bool and info.default is ... and not info.param_decls  # Typer makes --no-NAME too
    return Option(str if kind is Path else kind, several, info.min, info.max, parameter, pair)
