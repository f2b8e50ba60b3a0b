"""A probe run with the runs that it is compared with: the honest split, the controls, the nuisances."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.artifacts import STUDY_FILE
from toolkit.core.errors import SplitError
from toolkit.core.i18n import Note, plural
from toolkit.corpus.evaluation_task import EvaluationTask, kept_apart
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.material import flag_notes
from toolkit.features import copies
from toolkit.features.fused import Features, Fused, clips_behind, stores_of
from toolkit.features.units import UnitStore
from toolkit.probe import controls, nuisance, permutation
from toolkit.probe.data import matched
from toolkit.probe.fused_rows import parsed
from toolkit.probe.fusion import FusedExecutor
from toolkit.probe.online import online
from toolkit.probe.registry import PROBES
from toolkit.probe.run import Progress, here
from toolkit.probe.run_folder import Options, Sweep, check_leaks, sweep
from toolkit.result import controls as kept_controls
from toolkit.result import online as kept_online
from toolkit.result.controls import Control, Kind
from toolkit.result.kinds import headline_score
from toolkit.result.online import Online

Bar = Callable[[str, int], AbstractContextManager[Progress]]  # what is running and its layers -> a Progress


@dataclass(frozen=True)
class Companion:
    """A run to be made with another. kind, name: as in `result.controls.Control`. shuffles: of labels, more of them."""

    kind: Kind
    name: str
    store: Features
    question: EvaluationTask
    shuffles: int = 0


@dataclass(frozen=True)
class Plan:
    """One store's question with its companions, all checked before anything is fitted.

    alike: a note on clips of two folds that may be one recording, if there are any; it is among the notes too.
    online: whether code lengths and a learning curve are wanted.
    """

    store: Features
    question: EvaluationTask
    companions: tuple[Companion, ...]
    alike: Note | None = None
    online: bool = False


def plan(
    store: Features,
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
    companions: list[Companion] = []
    if isinstance(store, Fused):
        companions += [Companion("alone", name, part, shared(store, question)) for name, part in store.parts.items()]
    if question.folds.group_by == "clip" and question.groups != question.folds.groups:
        try:
            honest = kept_apart(question)
            check_leaks(honest, store)
            companions.append(Companion("split", f"{plural(question.group)} kept apart", store, honest))
        except SplitError as error:
            note = Note("unmeasured", {"reason": f"{error}."})
            question = replace(question, notes=(*question.notes, note))
    for name in dict.fromkeys(control):
        if name == "shuffled":
            shuffled = controls.shuffled(question, seed)
            moved = controls.dealt(store, shuffled, seed) if isinstance(store, UnitStore) else store
            companions.append(Companion("shuffled", f"labels shuffled by {question.group}", moved, shuffled, shuffles))
        else:
            assert not isinstance(store, Fused)  # `tasks.check_fused_options` refuses it of a fusion
            (first,), (_, folds) = stores_of(store).values(), clips_behind(store, question.folds)
            untrained = controls.random_store(first, store.folder.parent, folds.ids)
            other = UnitStore(untrained, store.units) if isinstance(store, UnitStore) else untrained
            companions.append(Companion("random", "random weights", other, question))
    for name in dict.fromkeys(nuisances):
        measured = {nuisance.DURATION: nuisance.durations(store), nuisance.LOUDNESS: loudness}.get(name)
        companions.append(Companion("nuisance", name, store, nuisance.build_task(question, corpus, name, measured)))
    alike, notes = _audio_notes(store, question)
    return Plan(store, replace(question, notes=(*question.notes, *notes)), tuple(companions), alike, callers)


def shared(store: Fused, question: EvaluationTask) -> EvaluationTask:
    """The question on the clips that all stores of a fusion have."""
    missing = set(question.folds.ids) - set(store.ids)
    if not missing:  # each store's own run is what it is without the fusion
        return replace(question, notes=tuple(note for note in question.notes if note.key != "fused_clips"))
    keep = np.array([clip not in missing for clip in question.folds.ids], dtype=bool)
    groups = tuple(group for group, kept in zip(question.groups, keep, strict=True) if kept)
    return replace(
        question,
        truth=question.truth[keep],
        groups=groups,
        folds=question.folds.without(missing),
        dealt=question.folds.sha256,
        left_out={clip: store.failed.get(clip, "not in the feature store") for clip in sorted(missing)},
    )


def _audio_notes(store: Features, question: EvaluationTask) -> tuple[Note | None, list[Note]]:
    """On clips of two folds that are nearly one recording; that and notes on flagged clips."""
    clips, folds = clips_behind(store, question.folds)
    there = [row for row, clip in enumerate(folds.ids) if clip in clips.clips]
    ids = [folds.ids[row] for row in there]
    first, *_ = stores_of(store).values()
    found = copies.near_copies(first, ids, folds.fold[there]) if folds.group_by != "clip" else []
    alike = copies.note(found) if found else None
    notes = flag_notes(clips.clips[clip].flags for clip in ids)
    if isinstance(store, UnitStore):
        if store.lacking:
            notes.insert(0, Note("unit_lacking", {"some": len(store.lacking)}))
        notes = [*store.units.notes, *notes]
    for name, part in stores_of(store).items():
        if part.imported:
            notes.insert(0, Note("imported", {"name": name, "sha256": part.imported}))
        if licence := part.settings.get("licence"):
            notes.append(Note("licence", {"name": name, "text": licence}))
    if isinstance(store, Fused):
        notes.append(_counted(store, question))
    return alike, [*([alike] if alike else []), *notes]


def _counted(store: Fused, question: EvaluationTask) -> Note:
    """How many clips each store has, and how many all of them."""
    clips = set(question.folds.ids)
    each = ", ".join(f"{name} {len(clips.intersection(part.ids)):,}" for name, part in store.parts.items())
    return Note("fused_clips", {"some": len(clips.intersection(store.ids)), "all": len(clips), "list": each})


def series(deals: Sequence[Plan], options: Options, seeds: int) -> Iterator[tuple[Plan, Options]]:
    """The runs that show how far training and the deal of the folds move a figure: every deal with every seed.

    Controls, nuisances, an honest split and a learning curve are made for the first run alone.
    """
    for number, (dealt, training) in enumerate(product(deals, range(seeds))):
        plan = dealt if number == 0 else replace(dealt, companions=(), online=False)
        yield plan, replace(options, seed=options.seed + training)


def run(
    plan: Plan, options: Options, result: Path, provenance: Mapping[str, Any], notes: Sequence[Note], bar: Bar
) -> tuple[Sweep, list[Control]]:
    """The run and its companions, each in a folder of its own; the report shows them together.

    Raises what `sweep` and `result.controls.compare` raise.
    """
    done = _swept(plan.store, plan.question, options, result, provenance, notes, bar)
    new = []
    for one in plan.companions:
        chosen = _alone(options) if one.kind == "alone" else replace(options, name=None)
        shown = notes if one.kind == "alone" else ()
        other = _swept(one.store, one.question, chosen, result, provenance, shown, bar, f", {one.name}")
        found = kept_controls.compare(one.kind, one.name, other.folder, done.run, other.run)
        if one.shuffles:
            with bar(f"{one.store.backbone}, {one.shuffles} shuffles", _units(one.store, options.probe)) as progress:
                found = _permuted(found, plan, options, done, one.shuffles, progress)
        new.append(found)
    learnt = _online(plan, options, done, bar) if plan.online else None
    kept = kept_controls.read(done.folder)
    every = kept_controls.joined(kept, new)
    if every != kept or learnt:
        from toolkit.result.report import run_page  # Altair takes a second to import

        run_page.redraw(done.folder, done.run, compared=every, online=learnt)
        if learnt:  # after the page: what was stopped before is drawn again
            kept_online.write(done.folder, learnt)
        kept_controls.write(done.folder, every)
    return done, every


def _swept(
    store: Features,
    question: EvaluationTask,
    options: Options,
    result: Path,
    provenance: Mapping[str, Any],
    notes: Sequence[Note],
    bar: Bar,
    what: str = "",
) -> Sweep:
    """A run; before a fusion's, each of its stores' own on the same clips and folds, by which it is fused."""
    if isinstance(store, Fused):
        common = shared(store, question)
        separate = {
            name: _swept(part, common, _alone(options), result, provenance, notes, bar, f", {name} alone{what}")
            for name, part in store.parts.items()
        }
        options = replace(options, executor=FusedExecutor({name: each.run for name, each in separate.items()}))
    with bar(f"{store.backbone}{what}", _units(store, options.probe)) as progress:
        return sweep(store, question, options, result, provenance, notes, progress)


def _alone(options: Options) -> Options:
    """For one store of a fusion."""
    return replace(options, probe=parsed(options.probe)[1], executor=here, name=None)


def _units(store: Features, probe: str) -> int:
    """How often a run's progress is reported: once a layer, or once for all of them."""
    return 1 if isinstance(store, Fused) or PROBES[probe].all_layers else len(store.layers)


def _online(plan: Plan, options: Options, done: Sweep, bar: Bar) -> Online | None:
    """Code lengths and the learning curve; None where they are kept next to the run already."""
    if kept_online.read(done.folder) is not None:
        return None
    question = plan.question
    data = matched(plan.store, question.task, question.truth, question.folds, question.groups)
    with bar(f"{plan.store.backbone}, more {plural(question.group)}", len(plan.store.layers)) as progress:
        return online(plan.store, data, options.seed, progress)


def _permuted(found: Control, plan: Plan, options: Options, done: Sweep, shuffles: int, progress: Progress) -> Control:
    """With the scores of so many shuffles, those that are kept next to the run already or new ones."""
    for kept in kept_controls.read(done.folder):
        if kept.kind == "shuffled" and len(kept.shuffles) == shuffles:
            return replace(found, shuffles=kept.shuffles, p_value=kept.p_value)
    scores = permutation.scores(
        plan.store,
        plan.question,
        done.folder / STUDY_FILE,
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
