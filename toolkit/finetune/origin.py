"""What a fine-tuning is of: a probe run's backbone, layers, task and folds, or the same given by hand."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from toolkit.core.errors import CheckpointError, InputError, SplitError, one_of
from toolkit.core.registry import check_plugins
from toolkit.corpus.evaluation_task import EvaluationTask, build_task
from toolkit.corpus.labels import PRESETS
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.spellings import Rules
from toolkit.corpus.windows import Windows
from toolkit.finetune.options import STATISTICS
from toolkit.models.checkpoint import Checkpoint, locate
from toolkit.models.own_code import check_own_code
from toolkit.models.whisper import Context
from toolkit.result.run import Run
from toolkit.result.run_files import read

DEPTHS = ("best", "full")


@dataclass(frozen=True)
class Head:
    """What a round's head reads and how its loss weighs the classes: `Recipe`'s fields of these names."""

    statistics: str = "mean"
    class_weights: str = "balanced"


@dataclass(frozen=True)
class Source:
    """Backbone and question, and where each round's model ends.

    layers: the last layer by test fold. left_out: the reason by id, of clips that the probe run had to leave out.
    origin: the probe run's folder name, empty by hand. windows: that the recordings were cut by. heads: by test fold.
    chosen: whether each round's own probe chose its layer.
    """

    checkpoint: Checkpoint
    context: Context
    question: EvaluationTask
    layers: Mapping[int, str]
    heads: Mapping[int, Head]
    left_out: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""
    windows: Windows | None = None
    chosen: bool = False


def from_run(
    run: Run,
    name: str,
    manifest: Manifest,
    models: Path,
    depth: str | None,
    train: str,
    context: Context | None = None,
    place: int = 1,
    statistics: str | None = None,
    class_weights: str | None = None,
) -> Source:
    """Everything as the probe run had it, on the very same folds.

    run, name: as `probed` reads it, and its folder's. manifest: cut by the run's windows.
    depth: "best" ends each round's model at the layer of rank `place` (1 the best) by the round's own
    development set, so that no round sees its own test; "full" takes the whole encoder, or for encoder-frozen the whole
    decoder. None: best, but full for encoder-frozen. context: of Whisper, None for the one that was probed.
    statistics, class_weights: of every round; None for those that the round's own probe chose on development.
    Raises InputError or SplitError where manifest, checkpoint or run do not belong together.
    """
    features = run.provenance["features"]
    checkpoint = locate(run.backbone, models)
    if checkpoint.weights_sha256 != features["weights_sha256"]:
        raise CheckpointError(f"The checkpoint {run.backbone} has other weights than those that {name} probed")
    question = _question(run, name, manifest)
    depth = depth or ("full" if train == "encoder-frozen" else "best")
    if depth not in DEPTHS:
        raise InputError(one_of("--depth", depth, DEPTHS))
    check_context(context, checkpoint)
    if context is None:
        context = "clip" if features.get("context") == "clip" and checkpoint.backbone.decoder_layers else "full"
    if depth == "full":
        layers = dict.fromkeys((round_.fold for round_ in question.folds.rounds()), deepest(checkpoint, train))
    else:
        layers = layers_by_rank(run, name)[place - 1]
    heads = {
        choice.fold: Head(
            _statistics(layers[choice.fold], statistics, str(choice.setting["statistics"])),
            class_weights or str(choice.setting["class_weights"]),
        )
        for choice in run.choices
    }
    return Source(checkpoint, context, question, layers, heads, dict(run.left_out), name, windows_of(run),
                  depth == "best")  # fmt: skip


def probed(folder: Path) -> Run:
    """A probe run. Raises InputError for a run of another kind, StoreError for one that is not whole."""
    run = read(folder)
    features = run.provenance.get("features")
    if isinstance(features, Mapping) and "imported" in features:
        raise InputError(
            f"{folder.name} probed features that were imported from a file; there is no backbone {run.backbone} to "
            "fine-tune. --from takes a run on extracted features"
        )
    if isinstance(features, Mapping) and not features.keys().isdisjoint({"fused", "acoustic"}):
        what = "several stores" if "fused" in features else "an acoustic set, which has no weights"
        raise InputError(f"{folder.name} probed {what}; --from takes a run on the layers of one backbone")
    if "unit" in run.provenance:
        raise InputError(
            f"{folder.name} predicts units of the column {run.provenance['unit']['column']!r}, and fine-tuning reads "
            "clips; --from takes a run without --unit"
        )
    if not isinstance(features, Mapping) or "weights_sha256" not in features:
        raise InputError(f"{folder.name} is no probe run; --from takes the folder of one")
    check_own_code(features, folder.name, "cannot be fine-tuned")
    check_plugins(features, folder.name)
    return run


def windows_of(run: Run) -> Windows | None:
    """What the recordings of a probe run were cut by."""
    return Windows.kept_in(run.provenance["features"])


def layers_by_rank(run: Run, name: str) -> list[dict[int, str]]:
    """Each round's layers by test fold, from the best on: ranked by the loss that the round chose its own by.

    A layer is ranked by its best setting. The first are the layers that the rounds chose.
    """
    chosen = {choice.fold: choice.layer for choice in run.choices}
    if not all(layer.startswith(("encoder.", "decoder.")) for layer in chosen.values()):
        raise InputError(f"{name} is of a probe on all layers at once; take --depth full")
    ranked = {}
    for number, (fold, first) in enumerate(chosen.items()):
        losses = {layer: values[number] for layer, values in run.losses.items() if layer != first}
        ranked[fold] = [first, *sorted(losses, key=lambda layer: losses[layer])]
    return [dict(zip(ranked, place)) for place in zip(*ranked.values())]


def check_top(top: int, layers: int, name: str) -> None:
    """Raises InputError where a probe of so many layers has no such place."""
    if top > layers:
        raise InputError(f"--top {top}: {name} has {layers} layers")


def by_hand(
    checkpoint: Checkpoint,
    context: Context | None,
    question: EvaluationTask,
    layer: int | None,
    depth: str | None,
    train: str,
    windows: Windows | None = None,
    statistics: str | None = None,
    class_weights: str | None = None,
) -> Source:
    """The whole backbone, or up to encoder layer `layer`.

    context, statistics, class_weights: None for full, the mean, balanced (of a scale none).
    """
    if depth == "best":
        raise InputError("--depth best takes the layers that a probe run chose: name it with --from")
    if depth not in (None, "full"):
        raise InputError(one_of("--depth", depth, DEPTHS))
    last = deepest(checkpoint, train) if layer is None else f"encoder.{layer}"
    check_context(context, checkpoint)
    layers = {round_.fold: last for round_ in question.folds.rounds()}
    scale = question.task.regression or question.task.ordinal
    head = Head(_statistics(last, statistics, "mean"), class_weights or ("none" if scale else "balanced"))
    return Source(checkpoint, context or "full", question, layers, dict.fromkeys(layers, head), windows=windows)


def check_context(context: str | None, checkpoint: Checkpoint) -> None:
    """Raises InputError for a context where only Whisper has one."""
    if context is not None and not checkpoint.family.fixed_context:
        raise InputError(f"--context has no effect on {checkpoint.name}, which hears the clip alone; it is Whisper's")


def check_statistics(layer: str, statistics: str | None) -> None:
    """Raises InputError for a deviation over the frames of a layer that has one frame."""
    if layer.startswith("decoder.") and statistics not in (None, "mean"):
        raise InputError(f"--statistics {statistics}: {layer} has one frame a clip, the start token's; leave it out")


def _statistics(layer: str, given: str | None, probed: str) -> str:
    check_statistics(layer, given)
    if layer.startswith("decoder."):
        return "mean"
    if given is None and probed not in STATISTICS:
        raise InputError(
            f"The probe chose the statistic {probed!r} of {layer}; fine-tuning has {', '.join(STATISTICS[:-1])} and "
            f"{STATISTICS[-1]}: say which by --statistics"
        )
    return given or probed


def deepest(checkpoint: Checkpoint, train: str) -> str:
    """The last layer of the encoder, or of the decoder where that is what is trained."""
    backbone = checkpoint.backbone
    if train != "encoder-frozen":
        return f"encoder.{backbone.layers}"
    if not backbone.decoder_layers:
        raise InputError(f"--train encoder-frozen trains Whisper's decoder; {checkpoint.name} has none")
    return f"decoder.{backbone.decoder_layers}"


def _question(run: Run, name: str, manifest: Manifest) -> EvaluationTask:
    """The run's question, posed again to the manifest; it must come out the same."""
    target = run.task.name if run.task.name in PRESETS else ",".join(run.task.columns)
    by_clip = run.folds.group_by == "clip"
    group_by = run.predictions.group if by_clip else run.folds.group_by
    if by_clip and group_by not in manifest.columns:  # no speaker was known
        group_by = "speaker"
    folds, rules = run.folds, Rules(**run.provenance.get("rules", {}))
    for own_split in (True, False):  # the companion of one with clips split one by one leaves a split column unused
        try:
            question = build_task(
                manifest, target, folds.count, folds.seed, group_by, "clip" if by_clip else "group", own_split, rules
            )
        except SplitError:
            if not own_split:
                raise
            continue
        if question.folds.sha256 == run.provenance.get("folds"):
            break
    else:
        raise SplitError(
            f"{manifest.name} gives other folds than {name} has: clips, groups or labels were changed since. "
            "Probe again, or restore the manifest"
        )
    position = {clip: number for number, clip in enumerate(question.folds.ids)}
    rows = [position[clip] for clip in run.predictions.ids]
    if question.task != run.task or not np.array_equal(question.truth[rows], run.predictions.truth, equal_nan=True):
        raise InputError(f"{manifest.name} has other labels in {target!r} than {name} was asked; probe again")
    return question
