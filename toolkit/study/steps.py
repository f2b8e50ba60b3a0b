"""The steps of a study, one stage after the other; which of them are done; and what came of them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from toolkit.core import i18n
from toolkit.core.errors import ToolkitError
from toolkit.core.options import Offered
from toolkit.corpus.place import Place
from toolkit.extract import stage as extraction
from toolkit.features.fused import SEPARATOR
from toolkit.finetune import stage as tuning
from toolkit.finetune.options import FinetuneOptions
from toolkit.models.checkpoint import locate
from toolkit.probe import stage as probing
from toolkit.probe.tasks import fused_probes
from toolkit.result import controls
from toolkit.result.compare import PAGE
from toolkit.result.report import compare_stage, contrast_stage
from toolkit.result.run import REPORT
from toolkit.study.leakage import leakage_inflation
from toolkit.study.plan import Following, Study, Target

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class RandomiseOptions:
    """Of `models randomise`."""

    name: Annotated[str, Offered(argument=True)]
    """A checkpoint."""


@dataclass(frozen=True)
class Randomising:
    """A random-weights control to be made."""

    place: Place
    options: RandomiseOptions

    def run(self) -> None:
        from toolkit.models.randomise import randomise

        randomise(locate(self.options.name, self.place.models), self.place.models)


PLANS: dict[str, Callable[[Place, Any], Any]] = {
    "models randomise": Randomising,
    "extract": extraction.plan,
    "probe": probing.plan,
    "finetune": tuning.plan,
    "compare": compare_stage.plan,
    "contrast": contrast_stage.plan,
}


class Taken(Protocol):
    """What a step made. folders: in features/ or result/, in the order requested. cached: all of it was
    there already."""

    @property
    def folders(self) -> Sequence[Path]: ...
    @property
    def cached(self) -> bool: ...


@dataclass(frozen=True)
class Done:
    """Taken, of a step that was looked at or run."""

    folders: tuple[Path, ...] = ()
    cached: bool = False


@dataclass(frozen=True)
class Step:
    """One command of a study.

    command: of PLANS. guess: the folders it will make, by the beginnings of their names. why: a remark.
    """

    command: str
    place: Place
    options: Any
    guess: tuple[Path, ...] = ()
    why: str = ""

    @property
    def line(self) -> str:
        """As it would be typed in the workspace's folder."""
        return self.place.typed(self.command, self.options)

    def __str__(self) -> str:
        return f"{self.line}  # {self.why}" if self.why else self.line

    def plan(self) -> Any:
        """Of its stage; it has a method `run`. Raises what the stage's plan does."""
        return PLANS[self.command](self.place, self.options)

    def finished(self) -> tuple[Path, ...] | None:
        """The folders of a step whose every result is there."""
        if self.command == "finetune":
            return self._tuned()
        if self.command not in ("extract", "probe"):
            return None
        try:
            found: tuple[Path, ...] | None = self.plan().finished()
        except ToolkitError:  # what an earlier step makes is not there, or is refused when this one's turn comes
            return None
        return found

    def _tuned(self) -> tuple[Path, ...] | None:
        """The finished runs that name this command; it names the probe run, and that its data and folds."""
        found = []
        for path in sorted(self.place.result.glob("*-finetune-*/run.json")):
            try:
                made_by = json.loads(path.read_text(encoding="utf-8"))["provenance"]["command"]
            except (OSError, ValueError, KeyError, TypeError):
                continue  # a damaged run is no result
            found += [path.parent] * (made_by == self.line)
        return tuple(found) if len(found) >= self.options.top * self.options.seeds else None


Take = Callable[[Step], Taken]


@dataclass
class Outcome:
    """pages: title and file of each. optimistic: runs on clips split one by one, each with its honest one and the
    language of its page."""

    pages: list[tuple[str, Path]] = field(default_factory=list)
    optimistic: list[tuple[Path, Path, str]] = field(default_factory=list)


@dataclass(frozen=True)
class StudyResult:
    """What came of a recipe.

    Attributes:
        steps: Every command and whether its results were there before.
        pages: Title and file of every page, in the order of the steps; empty for a dry run.
        leakage: Of each run whose clips were split one by one, a sentence: by how much its score is optimistic.
    """

    steps: tuple[tuple[str, bool], ...]
    pages: tuple[tuple[str, Path], ...] = ()
    leakage: tuple[str, ...] = ()

    def table(self) -> "pd.DataFrame":
        """The steps as a frame: `command`, as it would be typed, and `cached`."""
        import pandas as pd

        return pd.DataFrame(self.steps, columns=["command", "cached"])

    def _repr_html_(self) -> str:
        return str(self.table().to_html(index=False))


def run(study: Study, dry_run: bool = False) -> StudyResult:
    """Take every step, saying what the study's place says; or only look which are done."""
    if dry_run:
        return StudyResult(tuple((str(step), made.cached) for step, made in steps_of(study)))
    steps: list[tuple[str, bool]] = []

    def take(step: Step) -> Taken:
        study.place.say(str(step))
        made = _taken(step)
        steps.append((str(step), made.cached))
        return made

    outcome = walk(study, take)
    leakage = tuple(leakage_inflation(outcome.optimistic))
    return StudyResult(tuple(steps), tuple(outcome.pages), leakage)


def _taken(step: Step) -> Taken:
    made = step.plan().run()
    if step.command == "models randomise":
        return Done()
    if step.command == "compare":
        return Done(tuple(one.folder for one in made))
    if step.command == "contrast":
        return Done((made.folder,))
    return Done(made.folders, made.cached)


def walk(study: Study, take: Take) -> Outcome:
    """Take every step; later ones are made of what earlier ones made."""
    outcome, place = Outcome(), study.place
    for checkpoint, control in zip(study.trained, study.random):
        if not (place.models / control).is_dir():
            bare = replace(place, manifest=None, audio_root=None)
            take(Step("models randomise", bare, RandomiseOptions(name=checkpoint.name)))
    options = replace(study.extract, model=[*study.names, *study.random])
    guess = tuple(place.features / checkpoint.name for checkpoint in study.checkpoints)
    stores = take(Step("extract", place, options, guess)).folders[: len(study.names)]
    for name, target in study.targets.items():
        _target(study, name, target, stores, take, outcome)
    return outcome


def steps_of(study: Study, check: bool = True) -> list[tuple[Step, Taken]]:
    """The steps, none taken: with the folders of those that are finished, if `check`, and guesses for the rest."""
    found: list[tuple[Step, Taken]] = []

    def step_taken(step: Step) -> Taken:
        folders = step.finished() if check else None
        found.append((step, Done(step.guess if folders is None else folders, folders is not None)))
        return found[-1][1]

    walk(study, step_taken)
    return found


def _target(study: Study, name: str, target: Target, stores: Sequence[Path], take: Take, outcome: Outcome) -> None:
    """Every step of one target; where clips are split one by one, fine-tuned once more with the groups kept apart."""
    result, probes = study.place.result, target.tasks.probes
    store_of, seeds = dict(zip(study.names, (store.name for store in stores), strict=True)), target.options.seeds
    fusions = [SEPARATOR.join(store_of[part] for part in one.split(SEPARATOR)) for one in study.fused]
    options = replace(target.options, model=[*store_of.values(), *fusions])
    task, deals = target.tasks.questions[0].task.name, len(target.tasks.questions)
    each = [(model, checkpoint.name, probe) for model, checkpoint in zip(study.names, study.checkpoints)
            for probe in probes]  # fmt: skip
    fused = [(one, probe) for one in study.fused for probe in fused_probes(target.options, probes)]
    named = [*((backbone, probe) for _, backbone, probe in each), *fused]
    guess = tuple(result / f"{task}-{backbone}-{probe}" for backbone, probe in named for _ in range(seeds * deals))
    made = take(Step("probe", study.place, options, guess))
    series = [made.folders[at : at + seeds] for at in range(0, len(made.folders), seeds * deals)]  # on one deal
    frozen = {(model, probe): runs_of[0] for (model, _, probe), runs_of in zip(each, series[: len(each)], strict=True)}
    honest = {run: other for run in frozen.values() if target.tasks.honest and (other := _kept_apart(run))}
    page = i18n.of(options.language).file(REPORT)
    outcome.pages += [(f"{name}, {probe} probe of {model}", run / page) for (model, probe), run in frozen.items()]
    outcome.pages += [
        (f"{name}, {probe} probe of {one}", runs_of[0] / page)
        for (one, probe), runs_of in zip(fused, series[len(each) :], strict=True)
    ]
    outcome.optimistic += [(run, other, options.language) for run, other in honest.items()]
    runs, honest_runs = list(dict.fromkeys(run for each_of in series for run in each_of)), list(honest.values())
    for contrast in study.contrasts:
        for model in contrast.models or study.names:
            chosen = replace(contrast.options, origin=frozen[model, contrast.probe].name)
            page = i18n.of(chosen.language).file(REPORT)
            contrasted = take(Step("contrast", study.place, chosen))
            title = f"{name}, callers by {chosen.by}, {contrast.probe} probe of {model}"
            outcome.pages += [(title, folder / page) for folder in contrasted.folders]
    for one in study.tunings:
        for model in one.models or study.tunable:
            run, page = frozen[model, one.probe], i18n.of(one.options.language).file(REPORT)
            tuned = take(_tuning(study, one, run))
            runs += tuned.folders
            title = f"{name}, {model} fine-tuned ({one.options.train})"
            outcome.pages += [(title, folder / page) for folder in tuned.folders]
            if run in honest:
                again = take(_tuning(study, one, honest[run], "speakers kept apart"))
                honest_runs += again.folders
                pairs = zip(tuned.folders[:1], again.folders)
                outcome.optimistic += [(run, other, one.options.language) for run, other in pairs]
    _compare(study, runs, name, take, outcome)
    _compare(study, honest_runs, f"{name}, speakers kept apart", take, outcome)


def _tuning(study: Study, one: Following[FinetuneOptions], run: Path, why: str = "") -> Step:
    prefix = run.name.rsplit("-", 1 + (run / "run.json").exists())[0]
    guess = (run.parent / f"{prefix}-finetune-{one.options.train}",)
    return Step("finetune", study.place, replace(one.options, origin=run.name), guess, why)


def _compare(study: Study, runs: Sequence[Path], title: str, take: Take, outcome: Outcome) -> None:
    if len(runs) > 1:
        options = replace(study.compare, results=[run.name for run in runs])
        bare = replace(study.place, manifest=None, audio_root=None)
        made = take(Step("compare", bare if options.subgroups == "none" else study.place, options))
        page = i18n.of(options.language).file(PAGE)
        outcome.pages += [(f"{title}: all side by side", folder / page) for folder in made.folders]


def _kept_apart(run: Path) -> Path | None:
    """The honest run of one whose clips were split one by one; before there is any, its own name."""
    if not (run / "run.json").exists():
        return run
    return next((run.parent / one.folder for one in controls.read(run) if one.kind == "split"), None)
