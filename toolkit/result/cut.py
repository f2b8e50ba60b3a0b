"""A scale cut in two: predictions of levels or of a number, read as whether it is so much or more."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from toolkit.core.errors import PredictionsError
from toolkit.core.i18n import Note
from toolkit.corpus.labels import Task
from toolkit.corpus.numerals import NUMBER
from toolkit.result.kinds import headline
from toolkit.result.predictions import Predictions
from toolkit.result.run import Run


def cut(predictions: Predictions, threshold: float) -> Predictions:
    """The same clips, each "NAME < 8" or "NAME >= 8" by its truth and by its prediction.

    Of levels the probability is the sum over those from the threshold up. A clip without the number is left out.
    Raises PredictionsError for levels that are no numbers, several targets, and a threshold that no truth is on both
    sides of.
    """
    task = predictions.task
    if len(task.columns) > 1:
        raise PredictionsError(
            f"--threshold {threshold:g} cuts one column of numbers; {list(task.columns)} are several"
        )
    if task.ordinal and not all(map(NUMBER.fullmatch, task.labels)):
        raise PredictionsError(f"--threshold {threshold:g} cuts numbers, and the levels are {list(task.labels)}")
    kept = np.arange(len(predictions.ids))
    if task.regression:
        kept = np.flatnonzero(~np.isnan(predictions.truth[:, 0]))
        truth, given = (
            (values[kept, 0] >= threshold).astype(np.int64) for values in (predictions.truth, predictions.prediction)
        )
        probability = np.full((len(kept), 2), np.nan)
    else:
        high = np.array([float(level) >= threshold for level in task.labels])
        truth, given = (high[levels].astype(np.int64) for levels in (predictions.truth, predictions.prediction))
        above = predictions.probability[:, high].sum(axis=1)
        probability = np.column_stack([predictions.probability[:, ~high].sum(axis=1), above]).clip(max=1.0)
    if len(np.unique(truth)) < 2:
        raise PredictionsError(f"--threshold {threshold:g}: no truth is on its other side; choose another")
    (name,) = task.columns
    return Predictions(
        Task(task.name, "binary", (f"{name} < {threshold:g}", f"{name} >= {threshold:g}"), task.columns),
        tuple(predictions.ids[at] for at in kept),
        tuple(predictions.groups[at] for at in kept),
        predictions.fold[kept],
        truth,
        given,
        probability,
        predictions.group,
    )


def alike(runs: Mapping[str, Run]) -> dict[str, Run]:
    """Runs of a scale next to runs of the same scale cut by a threshold: the former cut at the same place.

    runs: by folder name. Others, and all where there are two thresholds, are as they were.
    """
    cuts: dict[tuple[str, ...], set[float]] = {}
    for run in runs.values():
        threshold = run.provenance.get("rules", {}).get("threshold")
        if threshold is not None:
            cuts.setdefault(run.task.columns, set()).add(float(threshold))
    found = dict(runs)
    for name, run in runs.items():
        thresholds = cuts.get(run.task.columns, set())
        if (run.task.ordinal or run.task.regression) and len(thresholds) == 1:
            found[name] = _cut_run(run, *thresholds)
    return found


def _cut_run(run: Run, threshold: float) -> Run:
    """Its scores on development, by which layers were chosen, are of the scale and so are not kept."""
    predictions = cut(run.predictions, threshold)
    kept, layers = set(predictions.ids), {name: cut(predicted, threshold) for name, predicted in run.layers.items()}
    (_, above) = predictions.task.labels
    return replace(
        run,
        backbone=f"{run.backbone} ({run.task.kind})",
        task=predictions.task,
        metric=headline(predictions.task),
        folds=run.folds.without({clip for clip in run.folds.ids if clip not in kept}),
        predictions=predictions,
        layers=layers,
        development=dict.fromkeys(layers, (None,) * len(run.choices)),
        choices=tuple(replace(choice, development=None, loss=None) for choice in run.choices),
        notes=(
            *run.notes,
            Note("cut", {"run": f"{run.backbone} ({run.probe})", "kind": run.task.kind, "label": above}),
        ),
        losses={},
    )
