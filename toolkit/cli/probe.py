"""`toolkit probe`: a feature store and a question in, a run with its controls and a report out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli.common import (
    HERE,
    AudioRoot,
    Made,
    ManifestFile,
    PageLanguage,
    RayAddress,
    Spellings,
    Unknown,
    Workspace,
    manifest_file,
    relative,
    remark,
    report_in,
    show,
)
from toolkit.core.errors import InputError, one_of

ALL = "all"
TRIALS = 30
SHUFFLES = 20


def _explain(asked: bool) -> None:
    if asked:
        from toolkit.probe.search import explain

        print(explain())
        raise typer.Exit


def probe(
    model: Annotated[
        list[str],
        typer.Option("--model", "-m", help="Whose features: a backbone, a store's folder, or all. May be repeated."),
    ],
    target: Annotated[
        str,
        typer.Option("--target", "-t", help="A label column, several 0/1 columns with commas, or hotline (its 11)."),
    ],
    workspace: Workspace = HERE,
    manifest: ManifestFile = None,
    audio_root: AudioRoot = None,
    probe: Annotated[
        list[str] | None,
        typer.Option(help="Which classifier searches every layer, or all. May be repeated.", show_default="linear"),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Optuna trials per layer and round.", show_default=str(TRIALS))
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.0, help="In place of --trials: minutes of search for each run; not reproducible."),
    ] = None,
    folds: Annotated[
        str,
        typer.Option(help="How many, or all: leave one speaker out. Ignored where the manifest has a split column."),
    ] = "5",
    inner_folds: Annotated[
        int,
        typer.Option(
            min=1, help="Folds that judge each setting, held out in turn; 1 is development alone, K - 1 most."
        ),
    ] = 1,
    group_by: Annotated[str, typer.Option(help="The column whose values never stand on both sides.")] = "speaker",
    split_by: Annotated[
        str, typer.Option(help="group; or clip, which lets speakers leak and measures by how much that flatters.")
    ] = "group",
    spellings: Spellings = "refuse",
    unknown: Unknown = "refuse",
    control: Annotated[
        list[str] | None,
        typer.Option(help="shuffled (labels, by speaker) or random (untrained weights). May be repeated."),
    ] = None,
    shuffles: Annotated[
        int, typer.Option(min=0, help="Of --control shuffled: shuffles for a permutation p-value, 0 for none.")
    ] = SHUFFLES,
    nuisance: Annotated[
        str | None,
        typer.Option(help="What else the layers know: duration, loudness, columns (speaker,sex), with commas."),
    ] = None,
    online: Annotated[
        bool, typer.Option("--online", help="Code length of every layer, and a learning curve over callers.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the folds, the search and the shuffling.")] = 0,
    seeds: Annotated[
        int, typer.Option(min=1, help="Runs on the same folds, each with a training seed of its own, from --seed on.")
    ] = 1,
    repeats: Annotated[
        int, typer.Option(min=1, help="Deals of the folds, from --seed on, each with all its runs.")
    ] = 1,
    workers: Annotated[int | None, typer.Option(min=1, help="Fits at a time.", show_default="cores")] = None,
    device: Annotated[
        str, typer.Option(help="cpu or cuda; for lightgbm its device_type: cpu, gpu or cuda, as it was built.")
    ] = "cpu",
    note: Annotated[list[str] | None, typer.Option(help="A sentence that the report shows. May be repeated.")] = None,
    language: PageLanguage = "en",
    ray: RayAddress = None,
    explain: Annotated[
        bool, typer.Option("--explain", callback=_explain, is_eager=True, help="Print the search spaces and leave.")
    ] = False,
) -> Made:
    """Which layer knows it: classifiers on every layer, by speaker-disjoint folds, searched with Optuna.

    Fold k is the test, the next one the development set, the rest trains. Hyper-parameters and the layer are chosen by
    class-balanced log-loss on development; the winner is refitted on train and development. Stopped, it goes on.

    Example: toolkit probe --model whisper-medium --target negative --control shuffled --nuisance speaker,sex,duration
    """
    from contextlib import ExitStack

    from toolkit.core.artifacts import command_line
    from toolkit.core.artifacts import provenance as made_with
    from toolkit.core.ray_cluster import joined
    from toolkit.corpus.evaluation_task import keep, pose, refuse_repeats
    from toolkit.corpus.manifest import read
    from toolkit.corpus.spellings import Rules
    from toolkit.corpus.windows import Windows, cut
    from toolkit.extract.plan import names_other, refuse_others
    from toolkit.probe import control_runs
    from toolkit.probe.nuisance import LOUDNESS, loudnesses
    from toolkit.probe.ray import Spread
    from toolkit.probe.registry import PROBES
    from toolkit.probe.run import here
    from toolkit.probe.run_folder import Options, Sweep
    from toolkit.result.report.overview import Entry
    from toolkit.result.report.terminal import spread

    probes = list(PROBES) if probe == [ALL] else list(dict.fromkeys(probe or ["linear"]))
    known_device(device, probes)
    corpus = read(manifest_file(workspace, manifest), audio_root)
    stores = _stores(workspace / "features", model)
    corpus = cut(corpus, Windows.shared({store.folder.name: store.settings for store in stores}))
    for store in stores:
        refuse_others(corpus, store, names_other, remark)
    rules = Rules(spellings, unknown)
    questions = [
        pose(corpus, target, fold_count(folds), seed + deal, group_by, split_by, rules=rules) for deal in range(repeats)
    ]
    question, result = questions[0], workspace / "result"
    refuse_repeats(corpus, split_by, [one.folds for one in questions])
    for one in questions:
        remark(f"folds in {relative(keep(one, result), workspace)}")
    nuisances = [name.strip() for name in nuisance.split(",")] if nuisance else []
    loudness = loudnesses(corpus, workers) if LOUDNESS in nuisances else None
    plans = [
        control_runs.plan(store, question, corpus, control or (), nuisances, loudness, seed, shuffles, online)
        for store in stores
    ]
    deals = [
        [own, *(control_runs.plan(own.store, other, corpus, (), (), None, seed) for other in questions[1:])]
        for own in plans
    ]
    entries: list[Entry] = []
    made: list[Sweep] = []
    with ExitStack() as stack:
        hands = Spread(stack.enter_context(joined(ray, remark))) if ray else here
        for plan, dealt in zip(plans, deals, strict=True):
            if plan.alike:
                remark(f"mind: {plan.alike}")
            for name in probes:
                options = Options(name, trials or TRIALS, minutes, seed, workers, hands, device, inner_folds)
                series = []
                for own, training in control_runs.series(dealt, options, seeds):
                    made_by = made_with(command_line())
                    done, beside = control_runs.run(own, training, result, made_by, note or (), _bar(name))
                    _tell(done, beside, workspace, language)
                    series.append(done)
                others = {one.folder.name: one.run for one in series[1:]}
                entries.append(Entry(_name(plan, plans), series[0].folder, series[0].run, others))
                made += series
                if len(series) > 1:
                    print(f"{entries[-1].name}, {name}: {spread([done.run for done in series])}")
    if len(entries) > 1:
        _compare(entries, result, workspace, language)
    return Made(tuple(done.folder for done in made), all(done.stood for done in made))


def known_device(device: str, probes: Sequence[str]) -> str:
    """The device, if these probes know it by that name. Raises InputError."""
    if device not in ("cpu", "cuda") and not (device == "gpu" and list(probes) == ["lightgbm"]):
        raise InputError(one_of("device", device, ["cpu", "cuda", "gpu (of --probe lightgbm alone)"]))
    return device


def fold_count(text: str) -> int | None:
    """None for "all"."""
    if text == ALL:
        return None
    if not (text.isascii() and text.isdigit()):
        raise InputError(f"Bad --folds {text!r}, expected a number from 3, or {ALL}")
    return int(text)


def _stores(features: Path, names: Sequence[str]) -> list[Any]:
    """The feature stores in the order named; "all": every store but the random-weights controls of another one."""
    from toolkit.core.errors import StoreError
    from toolkit.core.seeds import RANDOM
    from toolkit.features.store import find, stores

    if ALL not in names:
        return [find(features, name) for name in dict.fromkeys(names)]
    every = stores(features)
    controls = {store.backbone + RANDOM for store in every}
    found = [store for store in every if store.backbone not in controls]
    if not found:
        raise StoreError(f"No features in {features.name}/ yet; `toolkit extract --model NAME` makes them")
    return found


def _name(plan: Any, plans: Sequence[Any]) -> str:
    """The backbone's name, or the store's where a backbone has several. plan: a `probe.around.Plan`."""
    store = plan.store
    several = sum(other.store.backbone == store.backbone for other in plans) > 1
    return str(store.folder.name if several else store.backbone)


def _bar(probe: str) -> Any:
    """A `probe.around.Bar`."""
    from toolkit.core.progress import bar

    @contextmanager
    def shown(what: str, layers: int) -> Iterator[Callable[[str, int, int], None]]:
        with bar(f"{probe} on {what}", layers, "layers") as advance:
            yield lambda layer, done, total: advance(1, 0.0)

    return shown


def _tell(done: Any, beside: Sequence[Any], workspace: Path, language: str) -> None:
    from toolkit.result import stats
    from toolkit.result.report import terminal
    from toolkit.result.run import curve

    if done.stood:
        remark("this run stood already, finished and whole; its figures are shown again")
    run = done.run
    points, evaluation = curve(run), stats.evaluate(run.predictions)
    show(terminal.summary(run, points, evaluation, beside))
    report = relative(report_in(language, done.folder, run, points, evaluation, beside), workspace)
    print(f"{len(run.predictions.ids):,} clips predicted; CSV, metrics and figures beside the report: {report}")


def _compare(entries: Sequence[Any], result: Path, workspace: Path, language: str) -> None:
    from toolkit.core.i18n import of
    from toolkit.result.report import overview, overview_files
    from toolkit.result.run import REPORT

    found = overview.lines(entries)
    print()
    show(overview.terminal(found))
    print(overview.answer(found))
    page = overview_files.write(result, found, of(language)) / of(language).file(REPORT)
    print(f"All of it, with curves on one axis and paired differences: {relative(page, workspace)}")
