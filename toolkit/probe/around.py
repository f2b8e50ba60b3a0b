"""A probe run with the runs it is read beside: the honest split, the controls, the nuisances."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from toolkit.errors import InputError, SplitError, one_of
from toolkit.features import copies
from toolkit.features.store import Store
from toolkit.folding import Question, kept_apart, refuse_leaks
from toolkit.manifest import Manifest
from toolkit.material import flag_notes
from toolkit.probe import controls, nuisance
from toolkit.probe.controls import CONTROLS
from toolkit.probe.run import Progress
from toolkit.probe.sweep import Options, Sweep, sweep
from toolkit.probe.table import PROBES
from toolkit.result import beside
from toolkit.result.beside import Beside, Kind

Bar = Callable[[str, int], AbstractContextManager[Progress]]  # what is running and its layers -> a Progress


@dataclass(frozen=True)
class Companion:
    """A run to be made beside another. kind, name: as in `result.beside.Beside`."""

    kind: Kind
    name: str
    store: Store
    question: Question


@dataclass(frozen=True)
class Plan:
    """One store's question with its companions, all checked before anything is fitted.

    alike: a sentence on clips of two folds that may be one recording, if there are any; it is among the notes too.
    """

    store: Store
    question: Question
    companions: tuple[Companion, ...]
    alike: str = ""


def plan(
    store: Store,
    question: Question,
    corpus: Manifest,
    control: Sequence[str],
    nuisances: Sequence[str],
    loudness: Mapping[str, float] | None,
    seed: int,
) -> Plan:
    """What to run for one store.

    control: of CONTROLS. nuisances: "duration", "loudness" or columns of the manifest; loudness: dB by clip id, needed
    for the nuisance of that name. A question whose clips were split one by one gets its honest counterpart, or a note
    that there is none. Raises InputError, LabelError, SplitError, StoreError for what cannot be asked.
    """
    companions = []
    if question.folds.group_by == "clip" and question.groups != question.folds.groups:
        try:
            honest = kept_apart(question)
            refuse_leaks(honest, store.sounding_sha256)
            companions.append(Companion("split", f"{question.group}s kept apart", store, honest))
        except SplitError as error:
            note = f"By how much the figures flatter cannot be measured. {error}."
            question = replace(question, notes=(*question.notes, note))
    for name in dict.fromkeys(control):
        if name == "shuffled":
            asked = controls.shuffled(question, seed)
            companions.append(Companion("shuffled", f"labels shuffled by {question.group}", store, asked))
        elif name == "random":
            other = controls.random_store(store, store.folder.parent, question.folds.ids)
            companions.append(Companion("random", "random weights", other, question))
        else:
            raise InputError(one_of("--control", name, CONTROLS))
    for name in dict.fromkeys(nuisances):
        measured = {nuisance.DURATION: nuisance.durations(store), nuisance.LOUDNESS: loudness}.get(name)
        companions.append(Companion("nuisance", name, store, nuisance.ask(question, corpus, name, measured)))
    alike, notes = _heard(store, question)
    return Plan(store, replace(question, notes=(*question.notes, *notes)), tuple(companions), alike)


def _heard(store: Store, question: Question) -> tuple[str, list[str]]:
    """On clips of two folds that are nearly one recording; that and what there is to say of flagged clips."""
    there = [row for row, clip in enumerate(question.folds.ids) if clip in store.clips]
    ids = [question.folds.ids[row] for row in there]
    found = copies.near_copies(store, ids, question.folds.fold[there]) if question.folds.group_by != "clip" else []
    alike = copies.note(found) if found else ""
    notes = flag_notes(store.clips[clip].flags for clip in ids)
    return alike, [*([alike] if alike else []), *notes]


def series(deals: Sequence[Plan], options: Options, seeds: int) -> Iterator[tuple[Plan, Options]]:
    """The runs that tell how far training and the deal of the folds move a figure: every deal with every seed.

    Controls, nuisances and an honest split are made for the first run alone.
    """
    for number, (dealt, training) in enumerate(product(deals, range(seeds))):
        own = dealt if number == 0 else replace(dealt, companions=())
        yield own, replace(options, seed=options.seed + training)


def run(
    plan: Plan, options: Options, result: Path, provenance: Mapping[str, Any], notes: Sequence[str], bar: Bar
) -> tuple[Sweep, list[Beside]]:
    """The run and its companions, each in a folder of its own; the report shows them together.

    Raises what `sweep` and `beside.compare` raise.
    """
    units = 1 if options.probe in PROBES and PROBES[options.probe].all_layers else len(plan.store.layers)
    with bar(plan.store.backbone, units) as progress:
        done = sweep(plan.store, plan.question, options, result, provenance, notes, progress)
    new = []
    for one in plan.companions:
        with bar(f"{one.store.backbone}, {one.name}", units) as progress:
            other = sweep(one.store, one.question, options, result, provenance, (), progress)
        new.append(beside.compare(one.kind, one.name, other.folder, done.run, other.run))
    return done, beside.add(done.folder, done.run, new) if new else beside.read(done.folder)
