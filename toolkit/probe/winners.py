"""Saved winners: each round's refitted probe, kept so that it can be applied to other clips. No pickle; hashed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from toolkit.core.artifacts import commit_file, commit_hashed, make_folder, read_hashed, sha256_of_file
from toolkit.core.errors import InputError, StoreError
from toolkit.corpus.labels import IntArray, Task, Truth
from toolkit.features.layout import LayerFeatures
from toolkit.probe.data import Layers, rows_of
from toolkit.probe.fused_rows import row_of
from toolkit.probe.protocol import Model, Setting
from toolkit.probe.targets import FloatArray, Targets
from toolkit.probe.workers import one_thread
from toolkit.result import kinds
from toolkit.result.kinds import decide
from toolkit.result.thresholds import Scale

FORMAT_VERSION = 4  # 3: the index has its own hash; 4: bars and scale in place of thresholds, trees by their label
FOLDER, INDEX = "winners", "winners.json"  # in a run's folder, and in that one


@dataclass(frozen=True)
class Winner:
    """One round's refitted probe.

    fold: the fold that it never saw. layers: the layers it reads, in order. fitted, prevalence, softmax: as in
    Targets. bars: (n_labels,) what its probabilities are compared with. scale: of its log-odds on its own clips.
    """

    probe: str
    task: Task
    fold: int
    layers: tuple[str, ...]
    setting: Setting
    softmax: bool
    fitted: IntArray
    prevalence: FloatArray
    bars: FloatArray
    scale: Scale
    model: Model

    @property
    def targets(self) -> Targets:
        """What the model was fitted to, without a clip."""
        columns = np.empty((0, len(self.fitted)), dtype=np.int64)
        return Targets(self.softmax, self.fitted, columns, self.prevalence, kinds.of(self.task).link, self.scale.spread)

    def apply(self, layers: Sequence[LayerFeatures]) -> tuple[FloatArray, Truth]:
        """Probability (n, n_labels) and decision for the clips of these layers, which must be `self.layers`.

        A clip's own numbers depend, to the bit, neither on the other clips nor on the number of threads.
        Raises InputError for other layers.
        """
        given = tuple(layer.layer for layer in layers)
        if given != self.layers:
            raise InputError(f"This winner reads the layers {list(self.layers)}, given {list(given)}")
        targets = self.targets
        with one_thread():
            fitted = row_of(self.probe).apply(layers, self.model, self.setting, targets)
        probability = targets.probability(fitted, self.task, str(self.setting["class_weights"]))
        return probability, decide(self.task, probability, self.bars)


def apply(features: Layers, winners: Sequence[Winner], rows: Sequence[IntArray]) -> list[FloatArray]:
    """Each winner's probabilities (n, n_labels) of its own clips: `rows` of the features. Every layer is read once."""
    parts: list[dict[str, LayerFeatures]] = [{} for _ in winners]
    for name in dict.fromkeys(layer for winner in winners for layer in winner.layers):
        layer = features.layer(name)
        for winner, part, wanted in zip(winners, parts, rows, strict=True):
            if name in winner.layers and len(wanted):
                part[name] = rows_of(layer, wanted)
    nothing = np.empty((0, len(winners[0].task.labels)))
    return [
        winner.apply([part[name] for name in winner.layers])[0] if part else nothing
        for winner, part in zip(winners, parts, strict=True)
    ]


def write(folder: Path, winners: Sequence[Winner]) -> None:
    """Commit the winners to a folder: arrays as safetensors, trees as LightGBM's text, and an index with every hash."""
    make_folder(folder)
    entries: list[dict[str, Any]] = []
    for winner in winners:
        files = {}
        arrays = {
            name: np.ascontiguousarray(value) for name, value in winner.model.items() if not isinstance(value, str)
        }
        texts = {name: value for name, value in winner.model.items() if isinstance(value, str)}
        contents = {f"round-{winner.fold}.{name}.txt": text.encode() for name, text in texts.items()}
        if arrays:
            contents[f"round-{winner.fold}.safetensors"] = save_tensors(arrays)
        for name, content in contents.items():
            commit_file(folder / name, lambda path, content=content: path.write_bytes(content))  # type: ignore[misc]
            files[name] = sha256_of_file(folder / name)
        entries.append(
            {
                "probe": winner.probe,
                "fold": winner.fold,
                "layers": list(winner.layers),
                "setting": dict(winner.setting),
                "softmax": winner.softmax,
                "fitted": winner.fitted.tolist(),
                "prevalence": winner.prevalence.tolist(),
                "bars": winner.bars.tolist(),
                "centre": winner.scale.centre.tolist(),
                "spread": winner.scale.spread.tolist(),
                "files": files,
            }
        )
    task = winners[0].task
    described = {"name": task.name, "kind": task.kind, "labels": list(task.labels), "columns": list(task.columns)}
    index = {"format": FORMAT_VERSION, "task": described, "winners": entries}
    commit_hashed(folder / INDEX, index)


def read(folder: Path) -> list[Winner]:
    """Read winners back, each file's hash checked before it is parsed, the index's own too. Raises StoreError."""
    try:
        content = read_hashed(folder / INDEX)
        if content["format"] != FORMAT_VERSION:
            raise StoreError(
                f"{folder.name}/{INDEX} has format {content['format']}, expected {FORMAT_VERSION}; probe again"
            )
        described = content["task"]
        task = Task(described["name"], described["kind"], tuple(described["labels"]), tuple(described["columns"]))
        return [_winner(folder, task, entry) for entry in content["winners"]]
    except FileNotFoundError as error:
        raise StoreError(f"{folder.name}/ lacks {Path(error.filename).name}; expected saved winners") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder.name}/{INDEX} is no index of saved winners, or is damaged: {error}") from None


def _winner(folder: Path, task: Task, entry: Mapping[str, Any]) -> Winner:
    model: dict[str, Any] = {}
    for name, stated in entry["files"].items():
        path = folder / Path(name).name
        if sha256_of_file(path) != stated:
            raise StoreError(f"{folder.name}/{path.name} is damaged: its SHA-256 is not the one in {INDEX}")
        if path.suffix == ".txt":
            model[path.name.removesuffix(".txt").split(".", 1)[1]] = path.read_text(encoding="utf-8")
        else:
            model |= load_tensors(path.read_bytes())
    prevalence, bars, centre, spread = (
        np.array(entry[name], dtype=np.float64) for name in ("prevalence", "bars", "centre", "spread")
    )
    return Winner(
        probe=entry["probe"],
        task=task,
        fold=entry["fold"],
        layers=tuple(entry["layers"]),
        setting=entry["setting"],
        softmax=entry["softmax"],
        fitted=np.array(entry["fitted"], dtype=np.int64),
        prevalence=prevalence,
        bars=bars,
        scale=Scale(centre, spread),
        model=model,
    )
