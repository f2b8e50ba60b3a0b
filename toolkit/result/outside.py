"""Predictions that were made elsewhere, as a run that can be compared with ours on the same clips."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from toolkit.core.artifacts import sha256_of_file
from toolkit.core.errors import PredictionsError
from toolkit.core.i18n import Note
from toolkit.result.contradiction import check_probabilities
from toolkit.result.predictions import Predictions, value_cells
from toolkit.result.predictions_reader import read_csv
from toolkit.result.run import OUTSIDE, Run


def read(path: Path, reference: Run) -> Run:
    """A CSV with a prediction for every clip that a run of ours tested.

    path: columns id, prediction or `prediction:LABEL` and, if there are any, the truth, which must be ours, and
    `probability:LABEL`; other clips are left out. reference: gives task, truth, groups and folds.

    Returns a run without layers, named after the file. Raises PredictionsError by line and column.
    """
    found = _aligned(path, read_csv(path, reference.task, known=reference.predictions), reference.predictions)
    check_probabilities(path.name, found)
    sha256 = sha256_of_file(path)
    return Run(
        title=f"{reference.task.name} from {path.name}",
        backbone=path.stem,
        probe=OUTSIDE,
        task=reference.task,
        metric=reference.metric,
        folds=reference.folds,
        predictions=found,
        layers={},
        development={},
        choices=(),
        left_out={},
        notes=(Note("outside", {"file": path.name, "sha256": sha256[:12]}),),
        provenance={"sha256": sha256, "folds": reference.provenance.get("folds", reference.folds.sha256)},
    )


def _aligned(path: Path, found: Predictions, known: Predictions) -> Predictions:
    """In the order of the clips that are known, with their groups and folds."""
    place = {clip: number for number, clip in enumerate(found.ids)}
    missing = [clip for clip in known.ids if clip not in place]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise PredictionsError(f"{path.name} has no prediction for clip {missing[0]!r}, which was tested{more}")
    order = np.array([place[clip] for clip in known.ids])
    truth = found.truth[order]
    differs = (truth != known.truth) & ~(np.isnan(truth) & np.isnan(known.truth))
    wrong = np.flatnonzero(differs.reshape(len(order), -1).any(axis=1))
    if len(wrong):
        first = int(wrong[0])
        theirs, ours = (", ".join(value_cells(known.task, one.truth[at])) for one, at in
                        ((found, order[first]), (known, first)))  # fmt: skip
        raise PredictionsError(
            f"{path.name}: clip {known.ids[first]!r} has the truth {theirs!r}, and {ours!r} in the runs "
            f"({len(wrong)} clips differ)"
        )
    return replace(known, prediction=found.prediction[order], probability=found.probability[order], score=None)
