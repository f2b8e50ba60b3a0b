"""What a recipe takes: the options of the commands it runs, as they are declared there."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from typer.models import ArgumentInfo, OptionInfo

from toolkit.cli.combinations import SPELT
from toolkit.cli.common import CommandResult
from toolkit.cli.compare import compare
from toolkit.cli.extract import extract
from toolkit.cli.finetune import finetune
from toolkit.cli.models import randomise
from toolkit.cli.probe import probe
from toolkit.study.recipe import Option, Shape

COMMANDS: dict[str, Callable[..., CommandResult | None]] = {
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
PLACES = ("", "workspace", "manifest", "audio-root", "json", "quiet")
ASKED = (*PLACES, *SPELT, "model", "target", "folds", "group-by", "split-by")
# What `toolkit finetune --from` takes from the probe run, and `toolkit probe --explain`, have no place in a recipe.
LEFT_OUT = {"probe": (*ASKED, "seed", "explain"), "finetune": (*ASKED, "from", "layer", "window", "hop", "repeats")}


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
