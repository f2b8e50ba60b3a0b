"""What a recipe means for a workspace, checked whole before anything is computed; no model is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from toolkit.cli import combinations, recipe_options, tuning_checks
from toolkit.core.errors import InputError, LabelError, one_of
from toolkit.core.options import names as names_of
from toolkit.core.seeds import RANDOM
from toolkit.corpus.evaluation_task import (
    ALL,
    SPLIT_BY,
    EvaluationTask,
    build_task,
    fold_count,
    kept_apart,
    refuse_repeats,
)
from toolkit.corpus.manifest import FILE_NAME, Manifest, read
from toolkit.corpus.spellings import SPELLINGS, UNKNOWN, Rules
from toolkit.corpus.windows import cut
from toolkit.extract.options import Options
from toolkit.study.recipe import Table, placed


@dataclass(frozen=True)
class Study:
    """A recipe that can be followed.

    names: the backbones as the recipe names them; checkpoints: in the same order. corpus: cut into windows, if it is
    to be. questions: by target. honest: the targets whose clips are split one by one while their speakers could be kept
    apart. probes: which are fitted.
    """

    tables: Mapping[str, tuple[Table, ...]]
    workspace: Path
    corpus: Manifest
    names: tuple[str, ...]
    checkpoints: tuple[Any, ...]
    questions: Mapping[str, EvaluationTask]
    honest: frozenset[str]
    probes: tuple[str, ...]

    def table(self, name: str) -> Table:
        """A table that stands once."""
        return self.tables[name][0]

    @property
    def random(self) -> tuple[str, ...]:
        """The random-weights controls that are asked for, by name."""
        asked = "random" in self.table("probe").values.get("control", ())
        return tuple(checkpoint.name + RANDOM for checkpoint in self.checkpoints) if asked else ()


def check(tables: Mapping[str, tuple[Table, ...]], workspace: Path) -> Study:
    """Raises RecipeError by line and column, ManifestError, CheckpointError for a backbone that is not there."""
    for name, found in tables.items():
        for table in found:
            _choices(name, table)
            _effects(name, table)
    study, extract, probe = (tables[name][0] for name in ("study", "extract", "probe"))
    corpus = _corpus(study, workspace)
    names = tuple(dict.fromkeys(extract.values["model"]))
    checkpoints = tuple(_checkpoint(extract, name, workspace / "models") for name in names)
    corpus = _extraction(extract, checkpoints, corpus)
    questions = {target: _question(study, corpus, target) for target in dict.fromkeys(study.values["target"])}
    probes = _probing(probe, questions, corpus)
    honest = frozenset(target for target, question in questions.items() if _can_be_honest(question))
    asked = [*questions.values(), *(kept_apart(questions[target]) for target in sorted(honest))]
    for target, question in questions.items():
        others = [_question(study, corpus, target, deal) for deal in deals(study, probe)[1:]]
        with placed(probe, "repeats"):
            refuse_repeats(
                corpus, study.values.get("split-by", "group"), [question.folds, *(other.folds for other in others)]
            )
        asked += others
    _learnable(study, probe, asked)
    for table in tables["finetune"]:
        tuning_checks.refuse(table, dict(zip(names, checkpoints)), probes, extraction(extract), asked)
    for name in listed(tables["compare"][0], "subgroups"):
        if name not in (*corpus.columns, "none"):
            raise tables["compare"][0].refusal("subgroups", one_of("subgroups", name, [*corpus.label_columns, "none"]))
    return Study(tables, workspace, corpus, names, checkpoints, questions, honest, probes)


def _choices(name: str, table: Table) -> None:
    """The keys that take one of a few words."""
    from toolkit.core.i18n import LANGUAGES
    from toolkit.extract.setup import CONTEXTS
    from toolkit.finetune.checks import TRAINING_DTYPES
    from toolkit.finetune.origin import DEPTHS
    from toolkit.models.load import DTYPES
    from toolkit.probe.controls import CONTROLS
    from toolkit.probe.registry import PROBES

    known: dict[tuple[str, str], Sequence[str]] = {
        ("study", "split-by"): SPLIT_BY,
        ("study", "spellings"): SPELLINGS,
        ("study", "unknown"): UNKNOWN,
        ("extract", "context"): CONTEXTS,
        ("extract", "dtype"): ("auto", *DTYPES),
        ("probe", "probe"): (*PROBES, ALL),
        ("probe", "control"): CONTROLS,
        ("finetune", "context"): CONTEXTS,
        ("finetune", "depth"): DEPTHS,
        ("finetune", "dtype"): TRAINING_DTYPES,
        **{(table, "language"): LANGUAGES for table in ("probe", "finetune", "compare")},
    }
    for (owner, key), words in known.items():
        if owner == name and key in table.values:
            value = table.values[key]
            for one in value if isinstance(value, list) else [value]:
                if one not in words:
                    raise table.refusal(key, one_of(key, one, words))


def _effects(name: str, table: Table) -> None:
    """No key without effect beside the others."""
    if name not in recipe_options.COMMANDS:
        return
    own = dict(table.values)
    if name == "finetune":
        own.pop("model", None)  # which of the study's backbones, not the option of that name
    given = {"from": "the probe run of this study"} if name == "finetune" else {}
    found = combinations.refusal(name, own, {**recipe_options.defaults(name), **own, **given})
    if found:
        raise table.refusal(*found)


def _corpus(study: Table, workspace: Path) -> Manifest:
    for key in ("manifest", "audio-root"):
        if Path(study.values.get(key, "")).is_absolute():
            raise study.refusal(key, f"{key} is an absolute path; expected one from the workspace")
    name, root = study.values.get("manifest", FILE_NAME), study.values.get("audio-root")
    if not (workspace / name).is_file():
        raise study.refusal("manifest", f"no file {name!r} in the workspace; expected the manifest")
    if root is not None and not (workspace / root).is_dir():
        raise study.refusal("audio-root", f"no folder {root!r} in the workspace; expected the one of the audio")
    return read(workspace / name, None if root is None else workspace / root)


def _checkpoint(extract: Table, name: str, models: Path) -> Any:
    from toolkit.models.checkpoint import locate

    with placed(extract, "model"):
        return locate(name, models)


def _extraction(extract: Table, checkpoints: Sequence[Any], corpus: Manifest) -> Manifest:
    from toolkit.extract.setup import layer_names
    from toolkit.models.load import choose_device

    with placed(extract, "device"):
        choose_device(extract.values.get("device", "auto"))
    with placed(extract, "layers"):
        options = extraction(extract)
    for checkpoint in checkpoints:
        with placed(extract, "layers"):
            layers = layer_names(checkpoint, options)
        for name in names_of(options.frames):
            if not (name.startswith("encoder.") and name in layers):
                raise extract.refusal(
                    "frames", f"{checkpoint.name} has no encoder layer {name!r} among those extracted"
                )
    with placed(extract, "window", "hop"):
        return cut(corpus, options.windows)


def extraction(extract: Table) -> Options:
    """Raises InputError for layers that are no range."""
    known = {one.name for one in fields(Options)}
    given = {key.replace("-", "_"): value for key, value in extract.values.items()}
    options = Options(**{key: value for key, value in given.items() if key in known})
    _ = options.span
    return options


def deals(study: Table, probe: Table) -> range:
    """The seeds of the folds that the probes are run on."""
    first = study.values.get("seed", 0)
    return range(first, first + probe.values.get("repeats", 1))


def dealt(study: Study, target: str, deal: int) -> EvaluationTask:
    """A target's question on the folds of this seed."""
    base, corpus = study.questions[target], study.corpus
    return base if deal == base.folds.seed else _question(study.table("study"), corpus, target, deal)


def _question(study: Table, corpus: Manifest, target: str, deal: int | None = None) -> EvaluationTask:
    """deal: the seed of the folds, None for the study's."""
    given = study.values
    seed = given.get("seed", 0) if deal is None else deal
    group_by, split_by = given.get("group-by", "speaker"), given.get("split-by", "group")
    with placed(study, "folds"):
        folds = fold_count(given.get("folds", "5"))
    rules = Rules(**{name: given[name] for name in ("spellings", "unknown") if name in given})
    try:
        return build_task(corpus, target, folds, seed, group_by, split_by, rules=rules)
    except LabelError as error:
        raise study.refusal("target", str(error)) from None
    except InputError as error:
        of_groups = group_by not in corpus.columns or any(option in str(error) for option in ("--spell", "--unknown"))
        key = "group-by" if of_groups else "folds"
        raise study.refusal(key, str(error)) from None


def _learnable(study: Table, probe: Table, questions: Sequence[EvaluationTask]) -> None:
    """Each round of every question has something to learn and to choose by."""
    inner = probe.values.get("inner-folds", 1)
    import numpy as np

    from toolkit.probe.data import Data, check, refuse_inner

    for question in questions:
        rows = np.arange(len(question.folds.ids))
        data = Data(question.task, question.truth, question.groups, question.folds, rows, {})
        rounds = list(question.folds.rounds())
        with placed(probe, "inner-folds"):
            refuse_inner(question.folds, rounds[0], inner)
        with placed(study, "target"):
            check(data, rounds, inner)


def _probing(probe: Table, questions: Mapping[str, EvaluationTask], corpus: Manifest) -> tuple[str, ...]:
    from toolkit.models.load import choose_device
    from toolkit.probe import nuisance
    from toolkit.probe.registry import PROBES
    from toolkit.probe.stage import known_device

    question = next(iter(questions.values()))
    for name in listed(probe, "nuisance"):
        if name not in nuisance.MEASURED:
            with placed(probe, "nuisance"):
                nuisance.ask(question, corpus, name)
    asked = probe.values.get("probe", ["linear"])
    if ALL in asked and len(asked) > 1:
        raise probe.refusal("probe", f"{ALL!r} stands for every probe; expected it alone, or some by name")
    probes = tuple(PROBES) if asked == [ALL] else tuple(dict.fromkeys(asked))
    with placed(probe, "device"):
        device = known_device(probe.values.get("device", "cpu"), probes)
        if device == "cuda" and set(probes) != {"lightgbm"}:
            choose_device(device)
    return probes


def listed(table: Table, key: str) -> tuple[str, ...]:
    """What stands with commas between, as the commands read it."""
    text = table.values.get(key, "")
    return tuple(name.strip() for name in text.split(",")) if text else ()


def _can_be_honest(question: EvaluationTask) -> bool:
    if question.folds.group_by != "clip" or question.groups == question.folds.groups:
        return False
    try:
        kept_apart(question)
    except InputError:
        return False
    return True
