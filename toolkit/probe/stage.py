"""The stage `probe`: planned (all that can be refused, cheaply), then run."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.core import i18n
from toolkit.core.artifacts import check_run_name
from toolkit.core.artifacts import provenance as made_with
from toolkit.core.errors import InputError, StoreError
from toolkit.core.i18n import user_notes
from toolkit.core.options import names, sentences
from toolkit.core.ray_cluster import joined
from toolkit.core.seeds import RANDOM
from toolkit.corpus.evaluation_task import (
    ALL,
    keep,
)
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.place import Place
from toolkit.corpus.windows import Windows, cut
from toolkit.features.finding import find, stores
from toolkit.features.fused import SEPARATOR, Features, Fused, stores_of
from toolkit.features.origin import check_origins, names_other
from toolkit.features.store import Store
from toolkit.features.units import UnitStore
from toolkit.probe import control_runs
from toolkit.probe.nuisance import LOUDNESS, loudnesses
from toolkit.probe.options import TRIALS, ProbeOptions
from toolkit.probe.run import Executor, Progress, here
from toolkit.probe.run_folder import Options, folder_of
from toolkit.probe.tasks import Tasks, build_tasks, check_fused_options, fused_probes
from toolkit.result import controls, online
from toolkit.result.options import CompareOptions
from toolkit.result.report import compare_stage
from toolkit.result.report.compare_stage import ComparisonResult
from toolkit.result.report.results import RunResult, RunResults
from toolkit.result.run import RUN

if TYPE_CHECKING:
    from toolkit.probe.estimator import ProbeEstimator


@dataclass(frozen=True)
class ProbeResult(RunResult):
    """A finished probe run."""

    def estimator(self, layer: str | None = None) -> "ProbeEstimator":
        """A fitted scikit-learn estimator of one layer; see `toolkit.probe.estimator.fitted`."""
        from toolkit.probe.estimator import fitted  # which loads scikit-learn, and that pandas

        return fitted(self.folder, self.run, layer)


@dataclass(frozen=True)
class Series:
    """One probe on one store. runs: they differ in their training seed and the deal of their folds alone."""

    name: str
    probe: str
    runs: tuple[tuple[control_runs.Plan, Options], ...]


@dataclass(frozen=True)
class Plan:
    """A probing that nothing refuses. corpus: cut as the stores were, or the units of it."""

    place: Place
    options: ProbeOptions
    corpus: Manifest
    stores: tuple[Features, ...]
    tasks: Tasks

    @cached_property
    def series(self) -> tuple[Series, ...]:
        """Every run with its controls. Measures loudness where that is a nuisance, which decodes every clip."""
        options, corpus, questions = self.options, self.corpus, self.tasks.questions
        nuisances = names(options.nuisance)
        loudness = loudnesses(corpus, options.workers) if LOUDNESS in nuisances else None
        found = []
        for store in self.stores:
            first = control_runs.plan(
                store, questions[0], corpus, names(options.control), nuisances, loudness, options.seed,
                options.shuffles, options.online,
            )  # fmt: skip
            others = [control_runs.plan(store, other, corpus, (), (), None, options.seed) for other in questions[1:]]
            for probe in self._probes(store):
                runs = control_runs.series([first, *others], self._training(probe), options.seeds)
                found.append(Series(_name(store, self.stores), probe, tuple(runs)))
        return tuple(found)

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where the runs are, or will be, in the order of the series."""
        notes, options = user_notes(sentences(self.options.note)), self.options
        return tuple(
            folder_of(store, question, replace(self._training(probe), seed=options.seed + seed), self.place.result,
                      notes)
            for store in self.stores
            for probe, question, seed in product(
                self._probes(store), self.tasks.questions, range(options.seeds)
            )
        )  # fmt: skip

    def finished(self) -> tuple[Path, ...] | None:
        """The folders where every run is done, with all that the first of each series is shown with."""
        folders, each = self.folders, len(self.tasks.questions) * self.options.seeds
        for number, folder in enumerate(folders):
            if not (folder / RUN).exists() or not (number % each or self._accompanied(folder)):
                return None
        return folders

    def _accompanied(self, run: Path) -> bool:
        options, found = self.options, controls.read(run)
        wanted = {*names(options.control), *names(options.nuisance), *(["split"] if self.tasks.honest else [])}
        shuffles = [len(one.shuffles) for one in found if one.kind == "shuffled"]
        return (
            wanted <= {name for one in found for name in (one.kind, one.name)}
            and ("shuffled" not in wanted or options.shuffles in shuffles)
            and (not options.online or online.read(run) is not None)
        )

    def _probes(self, store: Features) -> tuple[str, ...]:
        """The probes of one store, or of a fusion."""
        return fused_probes(self.options, self.tasks.probes) if isinstance(store, Fused) else self.tasks.probes

    def _training(self, probe: str) -> Options:
        options = self.options
        return Options(
            probe,
            options.trials or TRIALS,
            options.minutes,
            options.seed,
            options.workers,
            here,
            options.device,
            options.inner_folds,
            "ccc" if options.loss == "ccc" and probe.rpartition("-")[2] in ("mlp", "mix") else "",
            options.name,
        )

    def run(
        self,
        made: Callable[[RunResult], None] = lambda run: None,
        ended: Callable[[Series, Sequence[RunResult]], None] = lambda one, runs: None,
    ) -> RunResults:
        """Fit what is missing, one run after the other.

        made: gets each run when it is finished. ended: gets each series with its runs.

        Raises:
            SplitError: where one recording is on both sides of a fold.
            StoreError: for a damaged store or run.
        """
        place, options, series = self.place, self.options, self.series
        for question in self.tasks.questions:
            place.say(f"folds in {place.shown(keep(question, place.result))}")
        alike = (planned.alike for planned, _ in (one.runs[0] for one in series))
        for note in dict.fromkeys(str(note) for note in alike if note):  # a store's is that of all its probes
            place.say(f"mind: {note}")
        finished: list[tuple[str, tuple[RunResult, ...]]] = []
        with ExitStack() as stack:
            executor: Executor = here
            if options.ray:
                from toolkit.probe.ray import RayExecutor  # which loads torch

                executor = RayExecutor(stack.enter_context(joined(options.ray, place.say)))
            for one in series:
                results: list[RunResult] = []
                for planned, training in one.runs:
                    provenance = made_with(place.typed("probe", options))
                    done, controls_done = control_runs.run(
                        planned,
                        replace(training, executor=executor),
                        place.result,
                        provenance,
                        user_notes(sentences(options.note)),
                        _bar(place, one.probe),
                    )
                    result = ProbeResult(
                        done.folder, done.run, done.cached, tuple(controls_done), options.language
                    ).drawn()
                    results.append(result)
                    made(result)
                ended(one, results)
                finished.append((one.name, tuple(results)))
        return RunResults(tuple(finished), self._compared(finished), options.language)

    def _compared(self, finished: Sequence[tuple[str, tuple[RunResult, ...]]]) -> ComparisonResult | None:
        """Several series next to each other."""
        if len(finished) < 2:
            return None
        options = self.options
        defaults = CompareOptions(language=options.language, spellings=options.spellings, unknown=options.unknown)
        group = {run.name: run.run for _, runs in finished for run in runs}
        (comparison,) = compare_stage.Plan(self.place, defaults, (group,), ()).run()
        return comparison


def plan(place: Place, options: ProbeOptions) -> Plan:
    """Everything that can be refused of a probing, before anything is fitted.

    Raises:
        InputError: and its kin, for options that do not fit the corpus, the store or each other.
        StoreError: for features that are not there.
    """
    i18n.of(options.language)
    check_run_name(options.name)
    corpus = place.corpus()
    found = _stores(place.features, names(options.model), names(options.store))
    every = {store.folder: store for one in found for store in stores_of(one).values()}
    corpus = cut(corpus, Windows.shared({folder.name: store.settings for folder, store in every.items()}))
    folders = [folder.name for folder in every]
    if idle := [one for one in names(options.store) if not any(folder.startswith(one) for folder in folders)]:
        raise InputError(
            f"--store {idle[0]} names none of {', '.join(folders)}; leave it out, or name one of their kin"
        )
    for store in every.values():
        check_origins(corpus, store, names_other, place.say)
    if any(isinstance(one, Fused) for one in found):
        check_fused_options(options)
    tasks = build_tasks(corpus, options)
    if tasks.units is not None:
        found = [UnitStore(store, tasks.units) for store in found if isinstance(store, Store)]
        corpus = tasks.units.manifest
    planned = Plan(place, options, corpus, tuple(found), tasks)
    if LOUDNESS not in names(options.nuisance):  # which only a run should take the time for
        _ = planned.series
    return planned


def _stores(features: Path, named: Sequence[str], picked: Sequence[str]) -> list[Features]:
    """The feature stores in the order named; "all": every store but the random-weights controls of another one.

    picked: which of a backbone's several.
    """
    if ALL not in named:
        return [_fused(features, name, picked) if SEPARATOR in name else find(features, name, picked) for name in named]
    every = stores(features)
    controls = {store.backbone + RANDOM for store in every}
    found: list[Features] = [store for store in every if store.backbone not in controls]
    if not found:
        raise StoreError(f"No features in {features.name}/ yet; `toolkit extract --model NAME` makes them")
    return found


def _fused(features: Path, named: str, picked: Sequence[str]) -> Fused:
    """A fusion of the stores that a name joins by "+"."""
    stores = [find(features, name, picked) for name in named.split(SEPARATOR)]
    if len({store.folder for store in stores}) < len(stores):
        raise InputError(f"--model {named}: one store is named twice; expected different ones")
    return Fused({_name(store, stores): store for store in stores})


def _name(store: Features, every: Sequence[Features]) -> str:
    """The backbone's name, or the store's where a backbone has several."""
    several = sum(other.backbone == store.backbone for other in every) > 1
    return str(store.folder.name if several and not isinstance(store, Fused) else store.backbone)


def _bar(place: Place, probe: str) -> control_runs.Bar:
    @contextmanager
    def shown(what: str, layers: int) -> Iterator[Progress]:
        with place.bar(f"{probe} on {what}", layers, "layers") as advance:
            yield lambda layer, done, total: advance(1, 0.0)

    def begun(what: str, layers: int) -> AbstractContextManager[Progress]:
        return shown(what, layers)

    return begun
