"""Arrays of embeddings probed without a workspace: the same protocol, the same result."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.core.artifacts import signature
from toolkit.core.errors import InputError, ManifestError
from toolkit.core.options import from_python, made
from toolkit.corpus import manifest
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.place import Place, silent
from toolkit.features.import_ import Embeddings, import_
from toolkit.features.shard import ClipRecord, mark
from toolkit.probe import stage
from toolkit.probe.options import ProbeOptions
from toolkit.probe.stage import ProbeResult

NAME, LABEL, UNIT = "arrays", "label", "unit"
_KEPT: list[tempfile.TemporaryDirectory[str]] = []  # until the process ends: pages and features are in them


class _Silent(Place):
    """A study without recordings."""

    def corpus(self, cells: bool = True) -> Manifest:
        found, defects = manifest.inspect(self.manifest_file, cells=cells)
        if found is None:
            raise ManifestError(self.manifest_file.name, defects)
        return found


@from_python()
def probe_arrays(
    layers: Mapping[str, npt.ArrayLike],
    y: npt.ArrayLike,
    groups: Sequence[Any],
    *,
    ids: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    units: Sequence[Any] | None = None,
    folder: str | Path | None = None,
    say: Any = silent,
    **options: Any,
) -> ProbeResult:
    """Probe embeddings that are in memory: which of these layers knows the label?

    Args:
        layers: By name, an array (n_clips, width) for each layer, all of one shape.
        y: (n_clips,) one label a clip, or (n_clips, n_labels) of 0 and 1 where a clip may have several. With
            kind="regression" numbers, of one target or of several, NaN for one that is missing (unlabelled="skip").
        groups: (n_clips,) what the folds keep apart and the intervals are over: the speakers.
        ids: (n_clips,) names of the clips. Default: clip0, clip1, ...
        labels: (n_labels,) names of the columns of y, where it has several.
        units: (n_clips,) the call or other unit of each clip, in the order of time: one prediction for each of them, as
            with --unit.
        folder: For the run, its page and the features. Default: a temporary one, deleted when the process ends.
        say: Called with each sentence that a user should read.
        **options: Fields of `toolkit.probe.options.ProbeOptions` (probe, folds, trials, seed ...), except model and
            target.

    Returns:
        The run, as `Workspace.probe` gives it. There is no audio: rows that are equal to the bit count as one
        recording, and hours are not known.

    Raises:
        InputError: Arrays that do not belong together, values that are not finite, or an unknown option.
        SplitError: Fewer groups than folds, or equal rows in two groups.
    """
    arrays = {name: np.ascontiguousarray(values) for name, values in layers.items()}
    names = [f"clip{number}" for number in range(len(groups))] if ids is None else list(map(str, ids))
    columns = _columns(np.asarray(y), labels, options.get("kind") == "regression")
    options = {**options, "model": NAME, "target": ",".join(columns)}
    if units is not None:
        columns[UNIT] = list(map(str, units))
        options["unit"] = UNIT
    _check(arrays, columns, names, groups)
    chosen = made(ProbeOptions, **options)
    if folder is None:
        _KEPT.append(tempfile.TemporaryDirectory(prefix="toolkit-"))
        folder = _KEPT[-1].name
    place = _Silent(Path(folder), say=say)
    rows = zip(names, names, map(str, groups), *columns.values())
    manifest.write(place.manifest_file, ("id", "path", "speaker", *columns), list(rows))
    row_of = {name: number for number, name in enumerate(names)}

    def records(clips: Sequence[str]) -> Iterator[ClipRecord]:
        for clip in clips:
            sha256 = hashlib.sha256(b"".join(array[row_of[clip]].tobytes() for array in arrays.values())).hexdigest()
            yield ClipRecord(clip, (0, 0, None, None, None, None, mark(clip)), sha256, 0)

    content = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
    embeddings = Embeddings("the arrays", signature(content), arrays, tuple(names))
    embeddings.check(names, "the arrays")
    import_(place.features, NAME, embeddings, records)
    (result,) = stage.plan(place, chosen).run().runs
    assert isinstance(result, ProbeResult)
    return result


def _columns(y: npt.NDArray[Any], labels: Sequence[str] | None, numbers: bool) -> dict[str, list[str]]:
    """The manifest's columns of labels."""

    def cells(values: npt.NDArray[Any], whole: bool) -> list[str]:
        if numbers:
            return ["" if value != value else str(value) for value in values.tolist()]
        return [str(int(value) if whole else value) for value in values.tolist()]

    if y.ndim == 1:
        if labels is not None:
            raise InputError("labels names the columns of y, and y has one label a clip; leave it out")
        return {LABEL: cells(y, False)}
    if y.ndim != 2 or labels is None or len(labels) != y.shape[1]:
        expected = "(clips,), or (clips, labels) with the name of each in labels"
        raise InputError(f"y has the shape {y.shape} and {len(labels or ())} labels are named, expected {expected}")
    return {name: cells(y[:, number], True) for number, name in enumerate(labels)}


def _check(
    arrays: Mapping[str, npt.NDArray[Any]], columns: Mapping[str, Sequence[str]], names: Sequence[str], groups: Any
) -> None:
    if not arrays:
        raise InputError("No layer is given, expected an array (clips, width) for each")
    first = next(iter(arrays.values()))
    for name, array in arrays.items():
        if array.ndim != 2 or array.shape != first.shape or array.dtype.kind not in "fiu":
            raise InputError(
                f"layer {name!r} is {array.dtype} of shape {array.shape}, expected numbers of shape "
                f"{first.shape if first.ndim == 2 else '(clips, width)'}"
            )
    counts = {"y": len(next(iter(columns.values()))), "groups": len(groups), "ids": len(names)}
    counts |= {"units": len(columns[UNIT])} if UNIT in columns else {}
    for name, count in counts.items():
        if count != len(first):
            raise InputError(f"{name} is of {count} clips, the layers of {len(first)}")
