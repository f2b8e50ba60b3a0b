"""A recipe's [[finetune]] tables: all that `toolkit finetune` would refuse once the probes are done, refused before."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from toolkit.core.errors import one_of
from toolkit.corpus.evaluation_task import EvaluationTask
from toolkit.study.recipe import Table, placed


def refuse(
    table: Table,
    checkpoints: Mapping[str, Any],
    probes: Sequence[str],
    extraction: Any,
    questions: Sequence[EvaluationTask],
) -> None:
    """checkpoints: by the names that the recipe gives them. probes: of the study. extraction: an `extract` Options.
    questions: every one that is trained for.

    Raises RecipeError.
    """
    from toolkit.finetune.checks import check_learnable, device_for, refuse_batch
    from toolkit.finetune.options import Recipe
    from toolkit.finetune.search import Search
    from toolkit.probe.registry import PROBES

    for name in table.values.get("model", ()):
        if name not in checkpoints:
            raise table.refusal("model", one_of("model", name, list(checkpoints)))
    probe = table.values.get("probe", probes[0])
    if probe not in probes:
        raise table.refusal("probe", one_of("probe", probe, probes))
    train, trials = table.values.get("train", "full"), table.values.get("search")
    ways = tuple(train.split(",")) if trials else (train,)
    known = {one.name for one in fields(Recipe)}
    given = {key.replace("-", "_"): value for key, value in table.values.items()}
    with placed(table, "train"):
        recipe = Recipe(**{**{key: value for key, value in given.items() if key in known}, "train": ways[0]})
        if trials:
            Search(trials, ways).check(recipe)
    if PROBES[probe].all_layers and table.values.get("depth") != "full" and train != "encoder-frozen":
        key = "probe" if "probe" in table.values else "depth"
        raise table.refusal(key, f"the probe {probe!r} chooses no layer; expected depth = 'full' beside it")
    for name in dict.fromkeys(table.values.get("model", checkpoints)):
        _backbone(table, recipe, ways, checkpoints[name], extraction)
    for question in questions:
        with placed(table, "batch-size"):
            refuse_batch(recipe.batch_size, len(question.folds.ids))
        with placed(table, ""):
            check_learnable(question.task, question.truth, question.folds, recipe.refit_on_development)
    with placed(table, "device"):
        device_for(table.values.get("device", "auto"), recipe.dtype)


def _backbone(table: Table, recipe: Any, ways: Sequence[str], checkpoint: Any, extraction: Any) -> None:
    """What does not fit one of the backbones."""
    from toolkit.extract.setup import layer_names
    from toolkit.finetune import origin
    from toolkit.finetune.checks import refuse_search_of
    from toolkit.finetune.recipe import refuse_convolutions, refuse_too_shallow

    given, search = table.values, "search" in table.values
    probed = layer_names(checkpoint, extraction)
    with placed(table, "train"):
        whole = origin.deepest(checkpoint, ways[0])
        chosen = given.get("depth") != "full" and "encoder-frozen" not in ways
        for way in ways:
            last = whole if search or not chosen else probed[-1]
            refuse_too_shallow(replace(recipe, train=way), {0: last}, checkpoint.backbone.layers)
    with placed(table, "context"):
        origin.refuse_context(given.get("context"), checkpoint)
    with placed(table, "train-convolutions"):
        refuse_convolutions(recipe, checkpoint)
    with placed(table, "statistics"):
        for layer in _ends(chosen, whole, probed):
            origin.refuse_statistics(layer, given.get("statistics"))
    with placed(table, "top"):
        origin.refuse_top(given.get("top", 1), len(probed), f"a probe of {checkpoint.name}")
    if search:
        with placed(table, "search"):
            refuse_search_of(list(_ends(chosen, whole, probed)))


def _ends(chosen: bool, whole: str, probed: Sequence[str]) -> Iterator[str]:
    """Where a round's model may end."""
    yield from probed if chosen else (whole,)
