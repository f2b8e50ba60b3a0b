"""The stage `finetune`: planned (what can be refused before anything is decoded), then run."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast

from toolkit.core import i18n
from toolkit.core.artifacts import check_run_name
from toolkit.core.artifacts import provenance as made_with
from toolkit.core.errors import InputError, one_of
from toolkit.core.i18n import user_notes
from toolkit.core.options import names, sentences
from toolkit.core.progress import quiet
from toolkit.corpus.evaluation_task import (
    EvaluationTask,
    build_task,
    check_repeats,
    dealt_by_column,
    fold_count,
    keep,
)
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.place import Place
from toolkit.corpus.windows import Windows, cut
from toolkit.finetune import distributed, origin, tracking
from toolkit.finetune.checks import check_batch_size, check_learnable, check_search, check_task_options, device_for
from toolkit.finetune.options import FinetuneOptions
from toolkit.finetune.origin import Source
from toolkit.finetune.recipe import check_convolutions, check_depth
from toolkit.finetune.run import Options, finetune
from toolkit.finetune.search import Search
from toolkit.models.checkpoint import Checkpoint, locate
from toolkit.models.whisper import Context
from toolkit.result.report.results import RunResult, RunResults
from toolkit.result.run_files import find_run


@dataclass(frozen=True)
class Plan:
    """A fine-tuning of which the options, the corpus and the probe run fit together.

    corpus: cut into the windows of its source. sources: a model is trained of each with every seed.
    """

    place: Place
    options: FinetuneOptions
    corpus: Manifest
    sources: tuple[Source, ...]

    def run(self, made: Callable[[RunResult], None] = lambda run: None) -> RunResults:
        """Train what is missing, one run after the other. made: gets each when it is finished, in the main process.

        Raises:
            SplitError: where one recording is on both sides of a fold.
            MachineError: for a device that is not there, or a loss that is not finite.
        """
        place, options, first = self.place, self.options, self.options.seed or 0
        say, bar = place.say, place.bar
        main = not distributed.rank()
        if not main:  # the main process speaks
            say, bar = lambda sentence: None, lambda *_: nullcontext(quiet)
        for folder in dict.fromkeys(keep(source.question, place.result) for source in self.sources):
            say(f"folds in {place.shown(folder)}")
        engine = Options(
            options.recipe, Search(options.search, options.train_modes) if options.search else None, first,
            options.device, options.workers, options.save_weights, tuple(names(options.report_to)), options.name,
        )  # fmt: skip
        done: list[RunResult] = []
        for source in self.sources:
            for seed in range(first, first + options.seeds):
                provenance = made_with(place.typed("finetune", options))
                tuned = finetune(self.corpus, source, replace(engine, seed=seed), place.result, provenance,
                               user_notes(sentences(options.note)), say, bar)  # fmt: skip
                done.append(
                    RunResult(tuned.folder, tuned.run, tuned.cached, language=options.language, failed=tuned.failed)
                )
        distributed.leave()
        if main:
            done = [one.drawn() for one in done]
            for one in done:
                made(one)
        seeds = options.seeds
        together = [done] if options.top == 1 else [done[at : at + seeds] for at in range(0, len(done), seeds)]
        return RunResults(tuple((one[0].run.backbone, tuple(one)) for one in together), language=options.language)


def plan(place: Place, options: FinetuneOptions) -> Plan:
    """What can be refused of a fine-tuning before anything is decoded; no model is loaded.

    Raises:
        InputError: and its kin, for options that do not fit the corpus, the probe run or each other.
        CheckpointError: for a backbone that is not there.
    """
    i18n.of(options.language)
    check_run_name(options.name)
    if options.origin is None and (options.model is None or options.target is None):
        raise InputError("Say what to train: --from a probe run, or --model and --target by hand")
    _ = options.recipe
    tracking.check(tuple(names(options.report_to)))
    if options.context not in (None, "full", "clip"):
        raise InputError(one_of("--context", options.context, ["full", "clip"]))
    corpus, sources = (_from_run if options.origin is not None else _by_hand)(place, options)
    for source in sources:
        check_task_options(source.question.task, options.loss, options.class_weights)
    return Plan(place, options, corpus, tuple(sources))


def check(
    options: FinetuneOptions,
    checkpoint: Checkpoint,
    probed: Sequence[str],
    by_layer: bool,
    questions: Sequence[EvaluationTask],
) -> None:
    """What `plan` and its run would refuse of a probe run that is not there yet.

    probed: the layers that it will be of. by_layer: whether its probe chooses one of them. questions: that it answers,
    on each deal of the folds that is trained on.

    Raises:
        InputError: as they would.
    """
    i18n.of(options.language)
    tracking.check(tuple(names(options.report_to)))
    if not checkpoint.family.trainable:
        raise InputError(f"model {checkpoint.name} cannot be fine-tuned")
    recipe, whole = options.recipe, origin.deepest(checkpoint, options.train_modes[0])
    ends = list(probed) if options.depth != "full" and "encoder-frozen" not in options.train_modes else [whole]
    if options.depth not in (None, *origin.DEPTHS):
        raise InputError(one_of("--depth", options.depth, origin.DEPTHS))
    if len(ends) > 1 and not by_layer:
        raise InputError("--depth full is needed: the probe chooses no layer")
    origin.check_context(options.context, checkpoint)
    check_convolutions(recipe, checkpoint)
    for mode in options.train_modes:
        check_depth(replace(recipe, train=mode), {0: whole if options.search else ends[-1]}, checkpoint.backbone.layers)
    for layer in ends:
        origin.check_statistics(layer, options.statistics)
    origin.check_top(options.top, len(probed), f"a probe of {checkpoint.name}")
    if options.search:
        Search(options.search, options.train_modes).check(recipe)
        check_search(ends)
    device_for(options.device, recipe.dtype)
    for question in questions:
        check_task_options(question.task, options.loss, options.class_weights)
        check_batch_size(recipe.batch_size, len(question.folds.ids))
        check_learnable(question.task, question.truth, question.folds, recipe.refit_on_development)


def _from_run(place: Place, options: FinetuneOptions) -> tuple[Manifest, list[Source]]:
    """The manifest, cut as it was probed, and a source for each of the best layers."""
    corpus = place.corpus()
    folder = find_run(str(options.origin), place.result)
    run = origin.probed(folder)
    corpus = cut(corpus, origin.windows_of(run))
    if options.top > 1:
        origin.check_top(options.top, len(origin.layers_by_rank(run, folder.name)), folder.name)
    return corpus, [
        origin.from_run(run, folder.name, corpus, place.models, options.depth, options.train_modes[0],
                        cast("Context | None", options.context), number, options.statistics, options.class_weights)
        for number in range(1, options.top + 1)
    ]  # fmt: skip


def _by_hand(place: Place, options: FinetuneOptions) -> tuple[Manifest, list[Source]]:
    corpus, first = place.corpus(), options.seed or 0
    count = fold_count("5" if options.folds is None else options.folds)
    windows = Windows.of(options.window, options.hop)
    corpus = cut(corpus, windows)
    checkpoint = locate(str(options.model), place.models)
    questions = [
        build_task(corpus, str(options.target), count, deal, options.group_by, options.split_by, rules=options.rules)
        for deal in range(first, first + options.repeats)
    ]
    if options.folds is not None and dealt_by_column(corpus, options.split_by):
        raise InputError(
            f"--folds {options.folds} has no effect: the manifest's split column deals the clips out; leave it out"
        )
    check_repeats(corpus, options.split_by, [question.folds for question in questions])
    context: Any = options.context
    return corpus, [
        origin.by_hand(checkpoint, context, question, options.layer, options.depth, options.train_modes[0], windows,
                       options.statistics, options.class_weights)
        for question in questions
    ]  # fmt: skip
