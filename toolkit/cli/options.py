"""Commands made of a stage's options: every field becomes an option, its docstring line the help."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from toolkit.cli import common
from toolkit.core.options import Names, helps, offered

KEYWORD = inspect.Parameter.KEYWORD_ONLY
PLACES = {"workspace": common.Workspace, "manifest": common.ManifestFile, "audio_root": common.AudioRoot}


def command(options: type, places: Sequence[str] = tuple(PLACES)) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate `run(options, **rest)` into a command that Typer reads: its name, its help, an option a field.

    places: of PLACES, options that say where the study is, handed on as they are; and so are run's own annotated
    keyword parameters.
    """

    def made(run: Callable[..., Any]) -> Callable[..., Any]:
        fields = {field.name: field for field in dataclasses.fields(options)}

        @functools.wraps(run)
        def called(quiet: bool = False, **given: Any) -> Any:
            common.watched(not quiet)
            values = {name: given.pop(name) for name in fields if name in given}
            return run(options(**values), **{**absent, **given})

        docs, hints = helps(options), get_type_hints(options, include_extras=True)
        parameters = [_parameter(field, hints[field.name], docs.get(field.name, "")) for field in fields.values()]
        empty = inspect.Parameter.empty
        required = [one for one in parameters if one.default is empty]
        where = [
            inspect.Parameter(name, KEYWORD, default=default, annotation=PLACES[name])
            for name, default in (("workspace", common.HERE), ("manifest", None), ("audio_root", None))
            if name in places
        ]
        quiet = inspect.Parameter("quiet", KEYWORD, default=False, annotation=common.Quiet)
        more = [
            parameter
            for name, parameter in inspect.signature(run, eval_str=True).parameters.items()
            if get_origin(parameter.annotation) is Annotated and name not in PLACES
        ]
        every = [*required, *where, *(one for one in parameters if one.default is not empty), *more, quiet]
        absent = {one.name: one.default for one in (*where, *more)}
        signature = inspect.Signature([one.replace(kind=KEYWORD) for one in every])
        called.options = options  # type: ignore[attr-defined]
        called.__signature__ = signature  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in every}
        del called.__wrapped__
        return called

    return made


def _parameter(field: "dataclasses.Field[Any]", hint: Any, doc: str) -> inspect.Parameter:
    about = offered(hint)
    if get_origin(hint) is Annotated:
        hint, *_ = get_args(hint)
    if hint == Names:
        hint = list[str] | None if about.repeated else str | None
    needed = field.default is dataclasses.MISSING
    if needed and hint == list[str] | None:
        hint = list[str]
    elif needed and hint == str | None:
        hint = str
    default = inspect.Parameter.empty if needed else field.default
    shown: Any = {"show_default": about.shown} if about.shown else {}
    info: Any
    if about.argument:
        info = typer.Argument(help=doc, **shown)
    else:
        name = "--" + (about.name or field.name.replace("_", "-"))
        bare = hint is bool and not about.switch
        words = [] if bare else [name, *([about.short] if about.short else [])]
        info = typer.Option(*words, help=doc, min=about.least, max=about.most, **shown)
    return inspect.Parameter(field.name, KEYWORD, default=default, annotation=Annotated[hint, info])
