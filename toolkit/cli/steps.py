"""The steps of a study, one command after the other; which of them stand; and what came of them."""

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from toolkit.cli.checks import Study, deals, dealt, extraction, listed
from toolkit.cli.combinations import SPELT
from toolkit.cli.common import CommandResult
from toolkit.cli.recipe_options import PLACES, SHARED, options
from toolkit.probe.options import TRIALS, ProbeOptions
from toolkit.study.recipe import Table

Standing = Callable[[], tuple[Path, ...] | None]


@dataclass(frozen=True)
class Step:
    """One command of a study.

    command: of `recipes.COMMANDS`. given: its options by name, and "" for its arguments. guess: the folders it will
    make, by the beginnings of their names. standing: those folders where all is finished, else None. after: what is
    still to be done with them. why: a remark.
    """

    command: str
    given: dict[str, Any]
    guess: tuple[Path, ...] = ()
    standing: Standing = lambda: None
    after: Callable[[CommandResult], None] = lambda made: None
    why: str = ""

    @property
    def words(self) -> list[str]:
        """As it would be typed in the workspace's folder."""
        words, known = self.command.split(), options(self.command)
        for name, value in self.given.items():
            for one in value if isinstance(value, list) else [value]:
                if one is False and known[name].negative:
                    words.append(f"--no-{name}")
                elif one is not False:
                    words += [f"--{name}"] * bool(name) + [str(one)] * (one is not True)
        return words

    @property
    def line(self) -> str:
        """The words as one line for a shell."""
        return shlex.join(["toolkit", *self.words])

    def __str__(self) -> str:
        return f"{self.line}  # {self.why}" if self.why else self.line

    def arguments(self, workspace: Path) -> dict[str, Any]:
        """For the command's function."""
        known = options(self.command)
        named = {known[name].parameter: value for name, value in self.given.items()}
        for name in {"manifest", "audio_root"} & named.keys():
            named[name] = workspace / named[name]
        return {**named, "workspace": workspace}


Take = Callable[[Step], CommandResult]


@dataclass
class Outcome:
    """pages: title and file of every page made. flattered: runs on clips split one by one, each with its honest one."""

    pages: list[tuple[str, Path]] = field(default_factory=list)
    flattered: list[tuple[Path, Path]] = field(default_factory=list)


def walk(study: Study, take: Take) -> Outcome:
    """Take every step; later ones are made of what earlier ones made."""
    outcome = Outcome()
    for checkpoint, control in zip(study.checkpoints, study.random):
        if not (study.workspace / "models" / control).is_dir():
            take(Step("models randomise", {"": checkpoint.name}))
    given = {**_places(study), **study.table("extract").values, "model": [*study.names, *study.random]}
    guess = tuple(study.workspace / "features" / checkpoint.name for checkpoint in study.checkpoints)
    made = take(Step("extract", given, guess, partial(_stores, study)))
    for target in study.questions:
        _target(study, target, made.folders[: len(study.names)], take, outcome)
    return outcome


def asked(study: Study, look: bool = True) -> list[tuple[Step, CommandResult]]:
    """The steps, none taken: with the folders of those that stand, if looked for, and guesses for the rest."""
    found = []

    def ask(step: Step) -> CommandResult:
        folders = step.standing() if look else None
        found.append((step, CommandResult(step.guess if folders is None else folders, folders is not None)))
        return found[-1][1]

    walk(study, ask)
    return found


def _places(study: Study) -> dict[str, Any]:
    given = study.table("study").values
    return {name: given[name] for name in ("manifest", "audio-root") if name in given}


def _target(study: Study, target: str, stores: Sequence[Path], take: Take, outcome: Outcome) -> None:
    """Probe, fine-tune and compare; where clips are split one by one, once more with the groups kept apart."""
    result, task = study.workspace / "result", study.questions[target].task.name
    shared = {name: value for name, value in study.table("study").values.items() if name in SHARED}
    given = {"model": [store.name for store in stores], "target": target, **shared, **study.table("probe").values}
    each = [(name, checkpoint.name, probe) for name, checkpoint in zip(study.names, study.checkpoints)
            for probe in study.probes]  # fmt: skip
    seeds, repeats = (study.table("probe").values.get(name, 1) for name in ("seeds", "repeats"))
    guess = tuple(result / f"{task}-{backbone}-{probe}" for _, backbone, probe in each for _ in range(seeds * repeats))
    made = take(Step("probe", given, guess, partial(_probes, study, target, stores)))
    series = [made.folders[at : at + seeds] for at in range(0, len(made.folders), seeds * repeats)]  # on one deal
    frozen = {(name, probe): own[0] for (name, _, probe), own in zip(each, series, strict=True)}
    honest = {run: other for run in frozen.values() if target in study.honest and (other := _kept_apart(run))}
    page = _page(study.table("probe"))
    outcome.pages += [(f"{target}, {probe} probe of {name}", run / page) for (name, probe), run in frozen.items()]
    outcome.flattered += honest.items()
    runs, honest_runs = list(dict.fromkeys(run for own in series for run in own)), list(honest.values())
    for table in study.tables["finetune"]:
        for name in dict.fromkeys(table.values.get("model", study.names)):
            run, way = frozen[name, table.values.get("probe", study.probes[0])], table.values.get("train", "full")
            tuned = take(_tuning(study, table, run))
            runs += tuned.folders
            page = _page(table)
            outcome.pages += [(f"{target}, {name} fine-tuned ({way})", folder / page) for folder in tuned.folders]
            if run in honest:
                set_beside = partial(_set_beside, tuned, table.values.get("language", "en"))
                again = take(_tuning(study, table, honest[run], set_beside, "speakers kept apart"))
                honest_runs += again.folders
                outcome.flattered += zip(tuned.folders[:1], again.folders)
    _compare(study, runs, target, take, outcome)
    _compare(study, honest_runs, f"{target}, speakers kept apart", take, outcome)


def _tuning(
    study: Study, table: Table, run: Path, after: Callable[[CommandResult], None] = lambda made: None, why: str = ""
) -> Step:
    seed = {name: value for name, value in study.table("study").values.items() if name == "seed"}
    own = {name: value for name, value in table.values.items() if name not in ("model", "probe")}
    given = {**_places(study), "from": run.name, **seed, **own}
    prefix = run.name.rsplit("-", 1 + (run / "run.json").exists())[0]
    guess = (run.parent / f"{prefix}-finetune-{table.values.get('train', 'full')}",)
    step = Step("finetune", given, guess, after=after, why=why)
    count = own.get("top", 1) * own.get("seeds", 1)
    return Step("finetune", given, guess, partial(_runs_by, step.line, run.parent, count), after, why)


def _compare(study: Study, runs: Sequence[Path], title: str, take: Take, outcome: Outcome) -> None:
    from toolkit.result.compare import PAGE

    if len(runs) > 1:
        table = study.table("compare")
        reads = table.values.get("subgroups") != "none"
        shared = set((*PLACES, *SPELT)) & set(options("compare"))
        given = {name: value for name, value in study.table("study").values.items() if reads and name in shared}
        made = take(Step("compare", {"": [run.name for run in runs], **given, **table.values}))
        outcome.pages += [(f"{title}: all side by side", folder / _page(table, PAGE)) for folder in made.folders]


def _page(table: Table, name: str = "report.html") -> str:
    """The page's file in the table's language."""
    from toolkit.core.i18n import of

    return of(table.values.get("language", "en")).file(name)


def _stores(study: Study) -> tuple[Path, ...] | None:
    """The backbones' and the controls' features, where no clip is missing."""
    from toolkit.extract.plan import plan
    from toolkit.extract.setup import Session
    from toolkit.models.checkpoint import locate

    models, wanted, folders = study.workspace / "models", extraction(study.table("extract")), []
    if not all((models / control).is_dir() for control in study.random):
        return None
    for checkpoint in (*study.checkpoints, *(locate(control, models) for control in study.random)):
        store = Session(checkpoint, study.workspace / "features", wanted, None, lambda sentence: None).found()
        if store is None or plan(study.corpus, store, wanted.retry_failed).missing:
            return None
        folders.append(store.folder)
    return tuple(folders)


def _probes(study: Study, target: str, stores: Sequence[Path]) -> tuple[Path, ...] | None:
    """The finished runs, where the first of each series has beside it all that was asked for."""
    from toolkit.features.store import Store
    from toolkit.probe.run_folder import Options, folder_of

    given, seed = study.table("probe").values, study.table("study").values.get("seed", 0)
    notes, trials = given.get("note", []), given.get("trials", TRIALS)
    questions = [dealt(study, target, deal) for deal in deals(study.table("study"), study.table("probe"))]
    folders = []
    for place in stores:
        if not (place / "store.json").is_file():
            return None
        for probe in study.probes:
            for number, (question, training) in enumerate(product(questions, range(given.get("seeds", 1)))):
                settings = Options(
                    probe,
                    trials,
                    given.get("minutes"),
                    seed + training,
                    inner=given.get("inner-folds", Options.inner),
                )
                folder = folder_of(Store(place), question, settings, study.workspace / "result", notes)
                if not (folder / "run.json").exists() or not (number or _accompanied(study, target, folder)):
                    return None
                folders.append(folder)
    return tuple(folders)


def _accompanied(study: Study, target: str, run: Path) -> bool:
    """Whether a probe's controls, as many shuffles, nuisances, honest split and learning curve are beside it."""
    from toolkit.result import controls, online

    table = study.table("probe")
    wanted = {*table.values.get("control", []), *listed(table, "nuisance"), *(["split"] * (target in study.honest))}
    there = controls.read(run)
    if not wanted <= {name for one in there for name in (one.kind, one.name)}:
        return False
    shuffles = table.values.get("shuffles", ProbeOptions.shuffles)
    if "shuffled" in wanted and not any(one.kind == "shuffled" and len(one.shuffles) == shuffles for one in there):
        return False
    return not table.values.get("online", False) or online.read(run) is not None


def _runs_by(line: str, result: Path, count: int) -> tuple[Path, ...] | None:
    """The finished runs that name this command as their own; it names the probe run, and that its data and folds."""
    found = []
    for path in sorted(result.glob("*-finetune-*/run.json")):
        try:
            made_by = json.loads(path.read_text(encoding="utf-8"))["provenance"]["command"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a damaged run stands for nothing
        found += [path.parent] * (made_by == line)
    return tuple(found) if len(found) >= count else None


def _kept_apart(run: Path) -> Path | None:
    """The honest run beside one whose clips were split one by one; before there is any, its own name."""
    from toolkit.result import controls

    if not (run / "run.json").exists():
        return run
    return next((run.parent / one.folder for one in controls.read(run) if one.kind == "split"), None)


def _set_beside(tuned: CommandResult, language: str, honest: CommandResult) -> None:
    """What the probe shows of its own accord: the report of the flattered run says by how much it is flattered."""
    from toolkit.core.i18n import ENGLISH, of
    from toolkit.result import controls
    from toolkit.result.report import run_page
    from toolkit.result.run import read

    for folder, other in zip(tuned.folders[:1], honest.folders):
        if other.name not in [one.folder for one in controls.read(folder)]:
            run, again = read(folder), read(other)
            title = f"{run.predictions.group}s kept apart"
            controls.add(folder, [controls.compare("split", title, other, run, again)])
            for tag in dict.fromkeys((ENGLISH.tag, language)):
                run_page.redraw(folder, run, of(tag))


def leakage_inflation(outcome: Outcome) -> Iterator[str]:
    """A sentence for each run whose clips were split one by one: its score, the honest one, the difference."""
    from toolkit.result import controls, stats
    from toolkit.result.report import narrative
    from toolkit.result.run import read

    for folder, other in outcome.flattered:
        run = read(folder)
        (score,) = stats.headline_scores([run.predictions])
        (one,) = (one for one in controls.read(folder) if one.folder == other.name)
        yield (
            f"{run.title}, {run.probe}: {narrative.metric_name(run)} {score} with clips split one by one, so that "
            f"{run.predictions.group}s are on both sides; {one.score} with {one.name}; flattered by {one.minus}"
        )
