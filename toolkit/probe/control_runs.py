"""A probe run with the runs it is read beside: the honest split, the controls, the nuisances."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from toolkit.core.errors import SplitError
from toolkit.corpus.evaluation_task import EvaluationTask, kept_apart, refuse_leaks
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.material import flag_notes
from toolkit.features import copies
from toolkit.features.store import Store
from toolkit.probe import controls, nuisance, permutation
from toolkit.probe.data import matched
from toolkit.probe.online import online
from toolkit.probe.registry import PROBES
from toolkit.probe.run import Progress
from toolkit.probe.run_folder import STUDY, Options, Sweep, sweep
from toolkit.result import controls as beside
from toolkit.result import online as kept_online
from toolkit.result.controls import Beside, Kind
from toolkit.result.metrics import headline_score

Bar = Callable[[str, int], AbstractContextManager[Progress]]  # what is running and its layers -> a Progress


@dataclass(frozen=True)
class Companion:
    """A run to be made beside another. kind, name: as in `result.beside.Beside`. shuffles: of labels, more of them."""

    kind: Kind
    name: str
    store: Store
    question: EvaluationTask
    shuffles: int = 0


@dataclass(frozen=True)
class Plan:
    """One store's question with its companions, all checked before anything is fitted.

    alike: a sentence on clips of two folds that may be one recording, if there are any; it is among the notes too.
    online: whether code lengths and a learning curve are wanted.
    """

    store: Store
    question: EvaluationTask
    companions: tuple[Companion, ...]
    alike: str = ""
    online: bool = False


def plan(
    store: Store,
    question: EvaluationTask,
    corpus: Manifest,
    control: Sequence[str],
    nuisances: Sequence[str],
    loudness: Mapping[str, float] | None,
    seed: int,
    shuffles: int = 0,
    callers: bool = False,
) -> Plan:
    """What to run for one store.

    control: of `controls.CONTROLS`. nuisances: "duration", "loudness" or columns of the manifest; loudness: dB by clip
    id, needed for the nuisance of that name. shuffles: how many more than the control's one, fitted without a search.
    callers: whether a learning curve is wanted. A question whose clips were split one by one gets its honest
    counterpart, or a note that there is none. Raises InputError, LabelError, SplitError, StoreError for what cannot be
    asked.
    """
    companions = []
    if question.folds.group_by == "clip" and question.groups != question.folds.groups:
        try:
            honest = kept_apart(question)
            refuse_leaks(honest, store.sounding_sha256)
            companions.append(Companion("split", f"{question.group}s kept apart", store, honest))
        except SplitError as error:
            note = f"By how much the scores are optimistic cannot be measured. {error}."
            question = replace(question, notes=(*question.notes, note))
    for name in dict.fromkeys(control):
        if name == "shuffled":
            asked = controls.shuffled(question, seed)
            companions.append(Companion("shuffled", f"labels shuffled by {question.group}", store, asked, shuffles))
        else:
            other = controls.random_store(store, store.folder.parent, question.folds.ids)
            companions.append(Companion("random", "random weights", other, question))
    for name in dict.fromkeys(nuisances):
        measured = {nuisance.DURATION: nuisance.durations(store), nuisance.LOUDNESS: loudness}.get(name)
        companions.append(Companion("nuisance", name, store, nuisance.ask(question, corpus, name, measured)))
    alike, notes = _heard(store, question)
    return Plan(store, replace(question, notes=(*question.notes, *notes)), tuple(companions), alike, callers)


def _heard(store: Store, question: EvaluationTask) -> tuple[str, list[str]]:
    """On clips of two folds that are nearly one recording; that and what there is to say of flagged clips."""
    there = [row for row, clip in enumerate(question.folds.ids) if clip in store.clips]
    ids = [question.folds.ids[row] for row in there]
    found = copies.near_copies(store, ids, question.folds.fold[there]) if question.folds.group_by != "clip" else []
    alike = copies.note(found) if found else ""
    notes = flag_notes(store.clips[clip].flags for clip in ids)
    if store.imported:
        notes.insert(
            0, f"{store.backbone} was imported from a file, sha256 {store.imported}: not computed by this toolkit."
        )
    return alike, [*([alike] if alike else []), *notes]


def series(deals: Sequence[Plan], options: Options, seeds: int) -> Iterator[tuple[Plan, Options]]:
    """The runs that tell how far training and the deal of the folds move a figure: every deal with every seed.

    Controls, nuisances, an honest split and a learning curve are made for the first run alone.
    """
    for number, (dealt, training) in enumerate(product(deals, range(seeds))):
        own = dealt if number == 0 else replace(dealt, companions=(), online=False)
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
        found = beside.compare(one.kind, one.name, other.folder, done.run, other.run)
        if one.shuffles:
            with bar(f"{one.store.backbone}, {one.shuffles} shuffles", units) as progress:
                found = _permuted(found, plan, options, done, one.shuffles, progress)
        new.append(found)
    drawn_anew = plan.online and _online(plan, options, done, bar)
    if not (new or drawn_anew):
        return done, beside.read(done.folder)
    every = beside.add(done.folder, new)
    from toolkit.result.report import run_page  # Altair takes a second to import

    run_page.redraw(done.folder, done.run)
    return done, every


def _online(plan: Plan, options: Options, done: Sweep, bar: Bar) -> bool:
    """Keep code lengths and the learning curve beside the run; whether they were not there before."""
    if kept_online.read(done.folder) is not None:
        return False
    question = plan.question
    data = matched(plan.store, question.task, question.truth, question.folds, question.groups)
    with bar(f"{plan.store.backbone}, more {question.group}s", len(plan.store.layers)) as progress:
        kept_online.write(done.folder, online(plan.store, data, options.seed, progress))
    return True


def _permuted(found: Beside, plan: Plan, options: Options, done: Sweep, shuffles: int, progress: Progress) -> Beside:
    """With the scores of so many shuffles, those that are kept beside the run already or new ones."""
    for kept in beside.read(done.folder):
        if kept.kind == "shuffled" and len(kept.shuffles) == shuffles:
            return replace(found, shuffles=kept.shuffles, p_value=kept.p_value)
    scores = permutation.scores(
        plan.store,
        plan.question,
        done.folder / STUDY,
        options.probe,
        options.seed,
        shuffles,
        progress,
        options.device,
        options.workers,
    )
    real = headline_score(done.run.task, done.run.predictions.truth, done.run.predictions.prediction)
    p_value = permutation.p_value(real, scores) if real is not None else None
    return replace(found, shuffles=tuple(scores), p_value=p_value)
