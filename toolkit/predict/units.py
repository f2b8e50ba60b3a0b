"""Which clips of what is predicted make a unit: by the manifest's column, or by the folder that they are in."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from toolkit.core.errors import LabelError
from toolkit.corpus import units as corpus_units
from toolkit.corpus.manifest import RECORDING, Manifest
from toolkit.corpus.spellings import Rules
from toolkit.corpus.units import Units
from toolkit.predict.models import Output
from toolkit.result.run import Run
from toolkit.result.safe_csv import csv_text

TABLE = "units.csv"


def units_of(corpus: Manifest, run: Run, folder: str, named: str | None, from_files: bool, rules: Rules) -> Units:
    """The units, of a run that predicts such.

    folder: of the run, by name. named: the column, None for the run's own. from_files: the corpus was named by files
    and folders. rules: for names that are spelt in two ways.
    Raises InputError for a clip of no unit, LabelError for a unit of several labels where the run has no rule for it.
    """
    unit = run.provenance["unit"]
    column = named or unit["column"]
    if from_files and not (column == RECORDING and any(clip.recording for clip in corpus.clips)):
        return corpus_units.of_folders(corpus, column)
    run_rules = replace(Rules(**run.provenance.get("rules", {})), spellings=rules.spellings, unknown=rules.unknown)
    try:
        return corpus_units.units_of(corpus, column, unit["label"], ",".join(run.task.columns), None, run_rules)
    except LabelError as error:
        if unit["label"] is not None:
            raise
        raise LabelError(f"{error} (of `toolkit probe`; {folder} was made without it)") from None


def units_csv(found: Output) -> str:
    """Every clip of every unit, whose models predicted the unit, and what the clip weighed there, if anything."""
    rows: list[Sequence[str]] = [
        [clip, unit, model, "" if np.isnan(weight) else f"{weight:.6f}"]
        for unit, model, clips, weights in zip(found.ids, found.applied.models, found.clips, found.weights, strict=True)
        for clip, weight in zip(clips, weights, strict=True)
    ]
    return csv_text(["clip", "unit", "model", "weight"], rows)
