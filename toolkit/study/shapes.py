"""What a recipe takes: the fields of the stages' options, under the names that their commands have."""

import dataclasses
from collections.abc import Collection
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from toolkit.core.options import Names, made, offered, typed
from toolkit.corpus.options import Labelled, Spelt
from toolkit.extract.options import ExtractOptions
from toolkit.finetune.options import FinetuneOptions
from toolkit.probe.options import ProbeOptions
from toolkit.result.options import CompareOptions, ContrastOptions
from toolkit.study.recipe import Option, Shape, Table, placed

T = TypeVar("T")
SPELT = tuple(field.name for field in dataclasses.fields(Spelt))
LABELLED = tuple(field.name for field in dataclasses.fields(Labelled))
DEALT = ("folds", "group_by", "split_by", *LABELLED)  # how every stage deals the clips out: set in [study]
# A study gives these itself.
LEFT_OUT = {
    ProbeOptions: ("model", "target", "seed", *DEALT),
    FinetuneOptions: ("origin", "model", "target", "layer", "window", "hop", "repeats", *DEALT),
    CompareOptions: ("results", *SPELT),
    ContrastOptions: ("origin", *SPELT),
}


def shapes() -> dict[str, Shape]:
    """By table, what `toolkit.study.recipe.read` takes there."""
    names, dealt = Option(str, several=True), ("seed", *DEALT)
    study = {name: option for name, option in options(ProbeOptions).items() if option.parameter in dealt}
    places = {"manifest": Option(str), "audio-root": Option(str, several=True)}
    return {
        "study": Shape({"target": names, **places, **study}, needed=("target",)),
        "extract": Shape(options(ExtractOptions), needed=("model",)),
        "probe": Shape({"fuse": names, **options(ProbeOptions, LEFT_OUT[ProbeOptions])}),
        "finetune": Shape(
            {"model": names, "probe": Option(str), **options(FinetuneOptions, LEFT_OUT[FinetuneOptions])}, many=True
        ),
        "target": Shape(
            {"name": Option(str), **options(Labelled, SPELT)},
            needed=("name",),
            many=True,
        ),
        "contrast": Shape(
            {"model": names, "probe": Option(str), **options(ContrastOptions, LEFT_OUT[ContrastOptions])},
            needed=("by",),
            many=True,
        ),
        "compare": Shape(options(CompareOptions, LEFT_OUT[CompareOptions])),
    }


def options(stage: type, without: Collection[str] = ()) -> dict[str, Option]:
    """A stage's options by the names that its command gives them, without dashes."""
    hints = get_type_hints(stage, include_extras=True)
    fields = [field.name for field in dataclasses.fields(stage) if field.name not in without]
    return {offered(hints[name]).name or typed(name).removeprefix("--"): _option(name, hints[name]) for name in fields}


def _option(field: str, hint: Any) -> Option:
    about = offered(hint)
    if get_origin(hint) is Annotated:
        hint, *_ = get_args(hint)
    if hint == Names:
        return Option(str, several=about.repeated, parameter=field)
    if get_origin(hint) is UnionType:
        (hint,) = (one for one in get_args(hint) if one is not type(None))
    return Option(str if hint is Path else hint, False, about.least, about.most, field)


def parse(table: Table, stage: type[T], **more: Any) -> T:
    """A stage's options as a table gives them. more: fields that it does not give, or that win over it.

    Raises RecipeError for options that do not go together.
    """
    known = options(stage, LEFT_OUT.get(stage, ()))
    given = {known[key].parameter: value for key, value in table.values.items() if key in known}
    with placed(table):
        return made(stage, **{**given, **more})
