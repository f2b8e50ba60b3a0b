"""Options without effect next to others are refused by name before a command runs.

A stage's options bring their own rules (`core.options.Rule`); here are those of what is no field of a stage. What a
checkpoint, a manifest or a run decides is refused where that is read.
"""

from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import typer.core

from toolkit.core.options import Rule, check_idle
from toolkit.extract.options import ExtractOptions
from toolkit.result.options import CompareOptions

RULES = {
    "compare": tuple(
        Rule(option, rule.idle, rule.because)
        for rule in CompareOptions.RULES[:1]
        for option in ("manifest", "audio_root")
    ),
    "models check": ExtractOptions.RULES,
    "manifest anonymise": tuple(
        Rule(option, lambda opts: opts.who is not None, "has no effect with --who, which reads no manifest")
        for option in ("manifest", "audio_root", "keep_text")
    ),
}  # fmt: skip


class Command(typer.core.TyperCommand):
    """A command that refuses options without effect before it runs. Raises InputError."""

    def invoke(self, ctx: Any) -> Any:
        given = {
            str(parameter.name)
            for parameter in self.params
            if getattr(ctx.get_parameter_source(parameter.name), "name", "") == "COMMANDLINE"
        }
        stage = getattr(self.callback, "options", None)
        if stage is not None:
            values = {name: ctx.params[name] for name in ctx.params.keys() & {one.name for one in fields(stage)}}
            check_idle(getattr(stage, "RULES", ()), given, stage(**values))
        check_idle(RULES.get(_path(ctx), ()), given, SimpleNamespace(**ctx.params))
        return super().invoke(ctx)


def _path(ctx: Any) -> str:
    """ "models check": the names after the program's."""
    return "" if ctx.parent is None else f"{_path(ctx.parent)} {ctx.info_name}".strip()


def guard(app: typer.Typer) -> None:
    """Let every command of an application, and of those below it, check its rules."""
    for command in app.registered_commands:
        command.cls = Command
    for below in app.registered_groups:
        if below.typer_instance is not None:
            guard(below.typer_instance)
