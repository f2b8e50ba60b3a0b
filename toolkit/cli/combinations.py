"""Which option says nothing beside which other ones: a table, and the one place that refuses them by name.

An option that is typed and changes nothing lets its user believe that it did. `Command` asks the table before a command
runs, `checks.check` before a recipe's first step. What a checkpoint, a manifest or a run decides is refused where that
is read.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import typer.core

from toolkit.core.errors import InputError

Values = Mapping[str, Any]  # of all options of a command, by name without dashes; what was not typed has its default


@dataclass(frozen=True)
class Rule:
    """option: of the command ("models check"), without dashes. idle: given all values, whether it would change nothing.
    because: what the refusal says behind the option's name.
    """

    command: str
    option: str
    idle: Callable[[Values], bool]
    because: str


def _ways(values: Values) -> list[str]:
    """To train, that `toolkit finetune` is asked for."""
    return str(values["train"]).split(",") if values["search"] else [str(values["train"])]


def _only(values: Values, *ways: str) -> bool:
    return all(way in ways for way in _ways(values))


def _works_here(values: Values) -> bool:
    """Whether a probe has work for this machine's cores beside what Ray's nodes do."""
    shuffles = "shuffled" in (values["control"] or ()) and values["shuffles"] > 0
    return shuffles or "loudness" in str(values["nuisance"])


SPELT = ("spellings", "unknown")
OF_THE_PROBE = ("model", "target", "layer", "folds", "group-by", "split-by", "window", "hop", "repeats", *SPELT)
RULES = (
    *(
        Rule("finetune", option, lambda values: values["from"] is not None,
             "has no effect with --from, which takes it from the probe run")
        for option in OF_THE_PROBE
    ),
    Rule("finetune", "top", lambda values: values["from"] is None,
         "takes the best layers of a probe run; name it with --from"),
    Rule("finetune", "top", lambda values: values["depth"] == "full",
         "takes the best layers of a probe run, and --depth full the whole backbone; give one"),
    Rule("finetune", "top", lambda values: _only(values, "encoder-frozen"),
         "takes the best layers of a probe run, and --train encoder-frozen the whole backbone; give one"),
    Rule("finetune", "depth", lambda values: values["depth"] == "best" and _only(values, "encoder-frozen"),
         "best ends a model at the layer its round chose, and --train encoder-frozen trains what lies behind the "
         "encoder; leave it out"),
    Rule("finetune", "top", lambda values: values["search"] is not None,
         "gives each model its layer, and --search looks for another one; give one"),
    Rule("finetune", "depth", lambda values: values["layer"] is not None,
         "has no effect with --layer, which says where the model ends"),
    Rule("finetune", "learning-rate", lambda values: _only(values, "head"),
         "has no effect with --train head; the head's own is --head-lr"),
    Rule("finetune", "layer-decay", lambda values: _only(values, "head", "top-1"),
         "has no effect with --train head or top-1: it lowers the rate from one layer to the one below"),
    Rule("finetune", "gradient-checkpointing", lambda values: _only(values, "head"),
         "has no effect with --train head: nothing is kept of the backbone for the backward pass"),
    Rule("finetune", "lora-rank", lambda values: not any(way == "lora" for way in _ways(values)),
         "is LoRA's; it has no effect without --train lora"),
    Rule("finetune", "train-convolutions", lambda values: not any(way == "full" for way in _ways(values)),
         "has no effect without --train full"),
    Rule("probe", "trials", lambda values: values["minutes"] is not None,
         "and --minutes are two ways to end a search; give one"),
    Rule("probe", "minutes", lambda values: values["ray"] is not None,
         "ends a search by this machine's clock; with --ray, give --trials"),
    Rule("probe", "device", lambda values: values["ray"] is not None and values["device"] != "cpu",
         "cannot go with --ray: blocks run on the nodes' cores"),
    Rule("probe", "shuffles", lambda values: "shuffled" not in (values["control"] or ()),
         "has no effect without --control shuffled"),
    Rule("probe", "workers", lambda values: values["ray"] is not None and not _works_here(values),
         "has no effect with --ray, which takes every core of the nodes"),
    *(
        Rule("predict", option, lambda values: values["manifest"] is None,
             "has no effect without --manifest, to which it belongs")
        for option in ("audio-root", *SPELT)
    ),
    *(
        Rule("compare", option, lambda values: values["subgroups"] == "none",
             "has no effect with --subgroups none, which reads no manifest")
        for option in ("manifest", "audio-root", *SPELT)
    ),
    Rule("manifest anonymise", "manifest", lambda values: values["who"] is not None,
         "has no effect with --who, which reads no manifest"),
)  # fmt: skip


def refusal(command: str, typed: Collection[str], values: Values) -> tuple[str, str] | None:
    """The first typed option that would change nothing, and the sentence about it; None where each one counts.

    typed: the names of the options that were given, on the command line or in a recipe.
    """
    for rule in RULES:
        if rule.command == command and rule.option in typed and rule.idle(values):
            return rule.option, f"--{rule.option} {rule.because}"
    return None


def name_of(parameter: Any) -> str:
    """A click parameter's name as it is typed, without dashes; an argument's as the help shows it."""
    long = [word for word in parameter.opts if word.startswith("--")]
    return long[0].removeprefix("--") if long else str(parameter.name).upper()


class Command(typer.core.TyperCommand):
    """A command that refuses options without effect before it runs. Raises InputError."""

    def invoke(self, ctx: Any) -> Any:
        values, typed = {}, set()
        for parameter in self.params:
            name = name_of(parameter)
            values[name] = ctx.params.get(parameter.name)
            source = ctx.get_parameter_source(parameter.name)
            if source is not None and source.name == "COMMANDLINE":
                typed.add(name)
        found = refusal(_path(ctx), typed, values)
        if found:
            raise InputError(found[1])
        return super().invoke(ctx)


def _path(ctx: Any) -> str:
    """ "models check": the names behind the program's own."""
    return "" if ctx.parent is None else f"{_path(ctx.parent)} {ctx.info_name}".strip()


def guard(app: typer.Typer) -> None:
    """Let every command of an application, and of those below it, ask the table."""
    for command in app.registered_commands:
        command.cls = Command
    for below in app.registered_groups:
        if below.typer_instance is not None:
            guard(below.typer_instance)
