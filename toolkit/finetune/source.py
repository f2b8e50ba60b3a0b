"""What a fine-tuning is of: a probe run's backbone, layers, task and folds, or the same told by hand."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from toolkit.errors import CheckpointError, InputError, SplitError, one_of
from toolkit.folding import Question, pose
from toolkit.labels import PRESETS
from toolkit.manifest import Manifest
from toolkit.models.checkpoint import Checkpoint, locate
from toolkit.models.whisper import Context
from toolkit.result.run import Run, read

DEPTHS = ("best", "full")


@dataclass(frozen=True)
class Source:
    """Backbone and question, and where each round's model ends.

    layers: the last layer by test fold. left_out: the reason by id, of clips that the probe run had to leave out.
    origin: the probe run's folder name, empty by hand.
    """

    checkpoint: Checkpoint
    context: Context
    question: Question
    layers: Mapping[int, str]
    left_out: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""


def find_run(name: str, result: Path) -> Path:
    """A run's folder by its name in `result`, the beginning of that name, or its path. Raises InputError."""
    if (path := Path(name)).is_dir() and (path / "run.json").is_file():
        return path
    plain = Path(name).name == name
    found = sorted(path.parent for path in result.glob("*/run.json") if plain and path.parent.name.startswith(name))
    exact = [path for path in found if path.name == name]
    if len(exact or found) != 1:
        finished = sorted(path.parent.name for path in result.glob("*/run.json"))
        raise InputError(one_of("result", path.name, [path.name for path in found] or finished))
    return (exact or found)[0]


def from_run(folder: Path, manifest: Manifest, models: Path, depth: str | None, train: str) -> Source:
    """Everything as the probe run had it, on the very same folds.

    depth: "best" ends each round's model at the layer that the round chose on its own development set, so that no round
    sees its own test; "full" takes the whole encoder, or for encoder-frozen the whole decoder. None: best, but full for
    encoder-frozen. Raises InputError or SplitError where manifest, checkpoint or run do not belong together.
    """
    run = read(folder)
    features = run.provenance.get("features")
    if not isinstance(features, Mapping) or "weights_sha256" not in features:
        raise InputError(f"{folder.name} is no probe run; --from takes the folder of one")
    checkpoint = locate(run.backbone, models)
    if checkpoint.weights_sha256 != features["weights_sha256"]:
        raise CheckpointError(f"The checkpoint {run.backbone} has other weights than those that {folder.name} probed")
    question = _question(run, folder.name, manifest)
    depth = depth or ("full" if train == "encoder-frozen" else "best")
    if depth not in DEPTHS:
        raise InputError(one_of("--depth", depth, DEPTHS))
    context: Context = "clip" if features.get("context") == "clip" and checkpoint.backbone.decoder_layers else "full"
    folds = [round_.fold for round_ in question.folds.rounds()]
    if depth == "full":
        layers = dict.fromkeys(folds, deepest(checkpoint, train))
    else:
        layers = {choice.fold: choice.layer for choice in run.choices}
        if not all(layer.startswith(("encoder.", "decoder.")) for layer in layers.values()):
            raise InputError(f"{folder.name} is of a probe on all layers at once; take --depth full")
    return Source(checkpoint, context, question, layers, dict(run.left_out), folder.name)


def by_hand(
    checkpoint: Checkpoint, context: Context, question: Question, layer: int | None, depth: str | None, train: str
) -> Source:
    """The whole backbone, or up to encoder layer `layer`."""
    if depth == "best":
        raise InputError("--depth best takes the layers that a probe run chose: name it with --from")
    if depth not in (None, "full"):
        raise InputError(one_of("--depth", depth, DEPTHS))
    last = deepest(checkpoint, train) if layer is None else f"encoder.{layer}"
    return Source(checkpoint, context, question, {round_.fold: last for round_ in question.folds.rounds()})


def deepest(checkpoint: Checkpoint, train: str) -> str:
    """The last layer of the encoder, or of the decoder where that is what is trained."""
    backbone = checkpoint.backbone
    if train != "encoder-frozen":
        return f"encoder.{backbone.layers}"
    if not backbone.decoder_layers:
        raise InputError(f"--train encoder-frozen trains Whisper's decoder; {checkpoint.name} has none")
    return f"decoder.{backbone.decoder_layers}"


def _question(run: Run, name: str, manifest: Manifest) -> Question:
    """The run's question, posed again to the manifest; it must come out the same."""
    target = run.task.name if run.task.name in PRESETS else ",".join(run.task.columns)
    by_clip = run.folds.group_by == "clip"
    group_by = run.predictions.group if by_clip else run.folds.group_by
    folds = run.folds
    question = pose(manifest, target, folds.count, folds.seed, group_by, "clip" if by_clip else "group")
    if question.folds.sha256 != run.provenance.get("folds"):
        raise SplitError(
            f"{manifest.name} gives other folds than {name} has: clips, groups or labels were changed since. "
            "Probe again, or restore the manifest"
        )
    position = {clip: number for number, clip in enumerate(question.folds.ids)}
    rows = [position[clip] for clip in run.predictions.ids]
    if question.task != run.task or not np.array_equal(question.truth[rows], run.predictions.truth):
        raise InputError(f"{manifest.name} has other labels in {target!r} than {name} was asked; probe again")
    return question
