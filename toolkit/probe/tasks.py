"""The tasks of a probing, whatever the features; all that can be refused of it before there are any."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from toolkit.core import i18n
from toolkit.core.errors import InputError, one_of
from toolkit.core.options import names
from toolkit.corpus.evaluation_task import (
    ALL,
    EvaluationTask,
    build_task,
    check_repeats,
    fold_count,
    honest_of,
)
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.options import LOSSES
from toolkit.corpus.units import Units, units_of
from toolkit.probe.controls import CONTROLS
from toolkit.probe.data import Data, check
from toolkit.probe.fused_rows import EARLY, LATE, fused_name
from toolkit.probe.fused_rows import check as check_fused
from toolkit.probe.nuisance import MEASURED
from toolkit.probe.nuisance import build_task as nuisance_task
from toolkit.probe.options import ProbeOptions
from toolkit.probe.registry import PROBES
from toolkit.result.run import FUSIONS


@dataclass(frozen=True)
class Tasks:
    """What a probing evaluates, whatever the features.

    questions: on each deal of the folds, the first with the controls. honest: the first with its groups kept apart,
    where its clips are split one by one and they can be. units: that are labelled in place of clips.
    """

    probes: tuple[str, ...]
    questions: tuple[EvaluationTask, ...]
    honest: EvaluationTask | None = None
    units: Units | None = None


def build_tasks(corpus: Manifest, options: ProbeOptions) -> Tasks:
    """What can be refused of a probing before there are features.

    corpus: cut as they are, or will be.

    Raises:
        InputError: and its kin, for options that do not fit the corpus or each other.
    """
    i18n.of(options.language)
    named = names(options.probe) or ("linear",)
    probes = tuple(name for name in PROBES if options.unit or not PROBES[name].weights) if named == (ALL,) else named
    known_device(options.device, probes)
    for name in probes:
        if PROBES[name].weights and not options.unit:
            raise InputError(f"--probe {name} weighs the clips of a unit, and without --unit a clip is all there is")
    units = None
    if options.unit is not None:
        units = units_of(corpus, options.unit, options.unit_label, options.target, options.group_by, options.rules)
        corpus = units.manifest
    if options.loss not in (None, *LOSSES):
        raise InputError(one_of("--loss", options.loss, LOSSES))
    if options.kind == "regression" and options.threshold is None:
        if options.online:
            raise InputError("--online counts bits of labels, and --kind regression has none; leave it out")
        if LATE in names(options.fusion):
            raise InputError("--fusion late joins probabilities, and --kind regression has none; take --fusion early")
    for name in names(options.control):
        if name not in CONTROLS:
            raise InputError(one_of("--control", name, CONTROLS))
    questions = [
        build_task(corpus, options.target, fold_count(options.folds), options.seed + deal, options.group_by,
                   options.split_by, rules=options.rules)
        for deal in range(options.repeats)
    ]  # fmt: skip
    check_repeats(corpus, options.split_by, [one.folds for one in questions])
    for name in names(options.nuisance):
        if name not in MEASURED:
            nuisance_task(questions[0], corpus, name)
    honest = honest_of(questions[0])
    for question in [*questions, *([honest] if honest else [])]:
        data = Data(question.task, question.truth, question.groups, question.folds, np.arange(len(question.truth)), {})
        check(data, list(question.folds.rounds()), options.inner_folds)
    return Tasks(probes, tuple(questions), honest, units)


def known_device(device: str, probes: Sequence[str]) -> str:
    """The device, if each of these probes has it. Raises InputError."""
    if all(device in PROBES.find(name).devices for name in probes):
        return device
    first, *others = PROBES.values()
    shared = [name for name in first.devices if all(name in row.devices for row in others)]
    others_have = [
        f"{name} (of --probe {probe} alone)"
        for probe, row in PROBES.items()
        for name in row.devices
        if name not in shared
    ]
    raise InputError(one_of("device", device, [*shared, *others_have]))


def fused_probes(options: ProbeOptions, probes: Sequence[str]) -> tuple[str, ...]:
    """What a fusion's runs are called after: each probe by every fusion that is asked for."""
    return tuple(fused_name(fusion, probe) for probe, fusion in product(probes, names(options.fusion) or (EARLY,)))


def check_fused_options(options: ProbeOptions) -> None:
    """Raises InputError for what only one store can have."""
    for fusion in names(options.fusion):
        if fusion not in FUSIONS:
            raise InputError(one_of("--fusion", fusion, FUSIONS))
    for probe in PROBES if ALL in names(options.probe) else names(options.probe):
        check_fused(probe)
    for option, given in (
        ("--ray", options.ray is not None),
        ("--minutes", options.minutes is not None),
        ("--online", options.online),
        ("--control random", "random" in names(options.control)),
        ("--shuffles", "shuffled" in names(options.control) and options.shuffles > 0),
    ):
        if given:
            remedy = "give --shuffles 0" if option == "--shuffles" else "leave it out, or ask it of each store alone"
            raise InputError(f"{option} cannot be had of a fusion (--model A+B); {remedy}")
