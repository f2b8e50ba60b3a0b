"""What a recipe means for a workspace, checked whole before anything is computed; no model is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from toolkit.core import i18n
from toolkit.core.artifacts import code_file
from toolkit.core.errors import InputError, LabelError, one_of
from toolkit.core.options import names
from toolkit.core.seeds import RANDOM
from toolkit.corpus.evaluation_task import EvaluationTask
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.place import Place
from toolkit.corpus.roots import VARIABLE
from toolkit.corpus.windows import cut
from toolkit.extract import stage as extraction
from toolkit.extract.filled import StandIn
from toolkit.extract.layers import layer_names
from toolkit.extract.options import ExtractOptions
from toolkit.features.fused import SEPARATOR
from toolkit.finetune import stage as tuning
from toolkit.finetune.options import FinetuneOptions
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.load import choose_device
from toolkit.models.own_code import OwnCheckpoint
from toolkit.probe import tasks as probe_tasks
from toolkit.probe.options import ProbeOptions
from toolkit.probe.registry import PROBES
from toolkit.result.options import CompareOptions, ContrastOptions
from toolkit.result.report import contrast_stage
from toolkit.result.subgroups import check_columns
from toolkit.study.recipe import Table, placed, read
from toolkit.study.shapes import DEALT, LABELLED, SPELT, options, parse, shapes

T = TypeVar("T")
TO_COME = "the probe run of this study"


@dataclass(frozen=True)
class Following(Generic[T]):
    """A stage that reads the probe's runs. options: of a run to come. models: whose, empty for all. probe: which."""

    options: T
    models: tuple[str, ...]
    probe: str


@dataclass(frozen=True)
class Target:
    """One question of a study. options: of its probing, whose stores are named once they are there. tasks: what those
    make of the corpus."""

    options: ProbeOptions
    tasks: probe_tasks.Tasks


@dataclass(frozen=True)
class Study:
    """A recipe that can be followed.

    place: with the recipe's manifest. names: the backbones as the recipe names them; checkpoints: in the same order.
    fused: "A+B" of these names. targets: by name.
    """

    place: Place
    names: tuple[str, ...]
    checkpoints: tuple[Checkpoint | StandIn, ...]
    extract: ExtractOptions
    fused: tuple[str, ...]
    targets: Mapping[str, Target]
    tunings: tuple[Following[FinetuneOptions], ...]
    contrasts: tuple[Following[ContrastOptions], ...]
    compare: CompareOptions

    @property
    def random(self) -> tuple[str, ...]:
        """The random-weights controls that are asked for, by name."""
        (first, *_) = self.targets.values()
        wanted = "random" in names(first.options.control)
        return tuple(checkpoint.name + RANDOM for checkpoint in self.trained) if wanted else ()

    @property
    def trained(self) -> tuple[Checkpoint, ...]:
        """The backbones that have weights: not acoustic sets, nor what reads text."""
        return tuple(one for one in self.checkpoints if isinstance(one, Checkpoint))

    @property
    def tunable(self) -> tuple[str, ...]:
        """The backbones that can be fine-tuned, as the recipe names them."""
        return tuple(
            name for name, one in zip(self.names, self.checkpoints, strict=True) if isinstance(one, Checkpoint)
        )


def plan(place: Place, recipe: Path, own_code: bool = False) -> Study:
    """A recipe read and checked. own_code: files of code that it names as models may be run, as they are already here.

    Raises:
        RecipeError: for the first thing that is wrong with it, by line and column.
        ManifestError: for a corpus with defects.
        CheckpointError: for a backbone that is not there.
    """
    tables = read(recipe, shapes())
    study, extract, probe, compare = (tables[name][0] for name in ("study", "extract", "probe", "compare"))
    place = _placed(place, study)
    with placed(extract, otherwise="model"):
        wanted = parse(extract, ExtractOptions)
        for name in names(wanted.model):
            if code_file(name) and not own_code:
                raise InputError(f"Bad model {name!r}: it is code, which is run; type --own-code if you trust it")
        extracted = extraction.plan(place, wanted)
    with placed(probe, otherwise="control"):
        for checkpoint in extracted.checkpoints if "random" in names(probe.values.get("control")) else ():
            if isinstance(checkpoint, OwnCheckpoint):
                raise InputError(f"{checkpoint.name} is code, of which there is no control random")
    corpus = cut(place.corpus(), extracted.options.windows)
    models = names(extracted.options.model)
    fused = _fused(probe, models)
    target_tables = {table.values["name"]: table for table in tables["target"]}
    for name, table in target_tables.items():
        if name not in study.values["target"]:
            raise table.refusal("name", one_of("name", name, study.values["target"]))
    targets = {
        name: _target(target_tables.get(name), study, probe, (*models, *fused), corpus, name)
        for name in dict.fromkeys(study.values["target"])
    }
    (first, *_) = targets.values()
    if first.options.device == "cuda" and set(first.tasks.probes) != {"lightgbm"}:
        with placed(probe):
            choose_device("cuda")
    backbones = dict(zip(models, extracted.checkpoints))
    seed = _given(study, ("seed",))
    tunings = [_following(table, FinetuneOptions, first.tasks.probes, **seed) for table in tables["finetune"]]
    questions = [question for target in targets.values() for question in _trained_on(target)]
    for table, one in zip(tables["finetune"], tunings):
        for name in one.models or [name for name in models if isinstance(backbones[name], Checkpoint)]:
            with placed(table, otherwise="model"):
                if name not in backbones:
                    raise InputError(one_of("model", name, models))
                backbone = backbones[name]
                if not isinstance(backbone, Checkpoint):
                    raise InputError(f"{name} {backbone.untuned}")
                probed = layer_names(backbone, extracted.options)
                by_layer = not PROBES[one.probe].all_layers
                tuning.check(one.options, backbone, probed, by_layer, questions)
    contrasts = [
        _following(table, ContrastOptions, first.tasks.probes, **_given(study, SPELT)) for table in tables["contrast"]
    ]
    for table, held in zip(tables["contrast"], contrasts):
        for target in targets.values():
            with placed(table, otherwise="by"):
                contrast_stage.check(held.options, target.tasks.questions[0].task, target.options.unit, corpus)
        for name in held.models:
            if name not in models:
                raise table.refusal("model", one_of("model", name, models))
    compared = parse(
        compare, CompareOptions, **_given(study, SPELT if compare.values.get("subgroups") != "none" else ())
    )
    with placed(compare, otherwise="subgroups"):
        i18n.of(compared.language)
        if compared.subgroups != "none":
            check_columns(corpus, names(compared.subgroups))
    return Study(
        place, models, extracted.checkpoints, extracted.options, fused, targets, tuple(tunings), tuple(contrasts),
        compared,
    )  # fmt: skip


def _given(study: Table, fields: Sequence[str]) -> dict[str, Any]:
    """What [study] sets of a stage's fields."""
    known = options(ProbeOptions)
    return {known[key].parameter: value for key, value in study.values.items()
            if key in known and known[key].parameter in fields}  # fmt: skip


def _placed(place: Place, study: Table) -> Place:
    name, roots = study.values.get("manifest"), study.values.get("audio-root", [])
    for key, paths in (("manifest", [name or ""]), ("audio-root", roots)):
        if any(Path(path).is_absolute() for path in paths):
            elsewhere = f"; {VARIABLE} names folders elsewhere" if key == "audio-root" else ""
            raise study.refusal(key, f"{key} is an absolute path; expected one from the workspace{elsewhere}")
    here = replace(
        place,
        manifest=place.manifest if name is None else place.folder / name,
        audio_root=[place.folder / root for root in roots] or place.audio_root,
        command=None,
    )
    if not here.manifest_file.is_file():
        raise study.refusal("manifest", f"no file {here.manifest_file.name!r} in the workspace; expected the manifest")
    for root in roots:
        if not (place.folder / root).is_dir():
            raise study.refusal("audio-root", f"no folder {root!r} in the workspace; expected the one of the audio")
    return here


def _target(
    table: Table | None, study: Table, probe: Table, models: Sequence[str], corpus: Manifest, name: str
) -> Target:
    """table: [[target]] of this name, what it says wins over [study]."""
    tables = (study, probe) if table is None else (table, study, probe)
    given = {**_given(study, ("seed", *DEALT)), **(_given(table, LABELLED) if table else {})}
    try:
        with placed(*tables[:-1], probe, otherwise=""):
            chosen = parse(probe, ProbeOptions, model=list(models), target=name, **given)
            if any(SEPARATOR in name for name in models):
                probe_tasks.check_fused_options(chosen)
        found = probe_tasks.build_tasks(corpus, chosen)
    except LabelError as error:
        raise study.refusal("target", str(error)) from None
    except InputError as error:
        with placed(*tables, otherwise="name" if table else "target"):
            raise error
    return Target(chosen, found)


def _fused(probe: Table, models: Sequence[str]) -> tuple[str, ...]:
    """What [probe] fuses, of the study's own backbones."""
    fused = tuple(dict.fromkeys(probe.values.get("fuse", ())))
    for one in fused:
        parts = one.split(SEPARATOR)
        if len(parts) < 2 or len(set(parts)) < len(parts):
            raise probe.refusal("fuse", f'bad fuse {one!r}, expected different models joined by "+"')
        for name in parts:
            if name not in models:
                raise probe.refusal("fuse", one_of("fuse", name, models))
    return fused


def _trained_on(target: Target) -> list[EvaluationTask]:
    honest = target.tasks.honest
    return [target.tasks.questions[0], *([honest] if honest else [])]


def _following(table: Table, stage: type[T], probes: Sequence[str], **given: Any) -> Following[T]:
    """given: what [study] says, where the table does not."""
    probe = table.values.get("probe", probes[0])
    if probe not in probes:
        raise table.refusal("probe", one_of("probe", probe, probes))
    with placed(table):
        missing = {key: one for key, one in given.items() if key not in table.values}
        chosen = parse(table, stage, origin=TO_COME, **missing)
        if isinstance(chosen, FinetuneOptions):
            _ = chosen.recipe
    return Following(chosen, tuple(dict.fromkeys(table.values.get("model", ()))), probe)
