"""One run group by group: how its score spreads over callers, and whom of the manifest's groups it serves less well."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toolkit.errors import InputError, one_of
from toolkit.manifest import Manifest
from toolkit.result.metrics import METRICS, Counts, clip_counts, headline
from toolkit.result.predictions import Predictions
from toolkit.result.stats import Score, members, resampled_sums, score_of

FloatArray = npt.NDArray[np.float64]
MOST_PARTS = 12  # different values of a column; more are quantities or names
USUAL = ("sex", "gender", "age")  # columns that are looked for where none is named


def columns(
    manifest: Manifest, names: Sequence[str] | None, several: Sequence[Predictions]
) -> dict[str, dict[str, str]]:
    """By column, each tested clip's cell by its id; a window of a recording has the recording's.

    names: None for those of USUAL that the manifest has and that make groups. Raises InputError for a named column that
    is not there, that does not tell 2 to MOST_PARTS groups apart, or where a tested clip is not in the manifest.
    """
    ids = {clip for predictions in several for clip in predictions.ids}
    found = {}
    for name in USUAL if names is None else dict.fromkeys(names):
        if name not in manifest.columns:
            if names is not None:
                raise InputError(one_of("--gaps", name, manifest.label_columns))
            continue
        cells = {clip.id: cell for clip, cell in zip(manifest.clips, manifest.cells(name))}
        known = {clip: cells.get(clip, cells.get(clip.rpartition("@")[0])) for clip in ids}
        unknown = [clip for clip, cell in known.items() if cell is None]
        values = len(set(known.values()))
        if names is not None and unknown:
            raise InputError(
                f"{manifest.name} has no clip {min(unknown)!r}, which was tested (and {len(unknown) - 1} more)"
            )
        if names is not None and not 2 <= values <= MOST_PARTS:
            raise InputError(
                f"Column {name!r} has {values} different values in the tested clips; 2 to {MOST_PARTS} can be held "
                "against each other: write bands of a quantity into a column of their own"
            )
        if not unknown and 2 <= values <= MOST_PARTS:
            found[name] = {clip: cell or "" for clip, cell in known.items()}
    return found


@dataclass(frozen=True)
class Spread:
    """The headline metric on each caller's clips alone. scores: (n,), of the callers that have one, in no order that
    tells who they are. clips: (n,), each one's clips. undefined: callers without a score."""

    scores: FloatArray
    clips: npt.NDArray[np.int64]
    undefined: int

    def quantile(self, share: float) -> float | None:
        return float(np.quantile(self.scores, share)) if len(self.scores) else None


def spread(predictions: Predictions) -> Spread:
    """The score of every caller (or whatever an interval resamples), from the lowest up."""
    units, member = members(predictions)
    rows = clip_counts(predictions.truth, predictions.prediction, len(predictions.task.labels))
    sums = np.zeros((units, rows.shape[1]))
    np.add.at(sums, member, rows)
    scores = METRICS[headline(predictions.task)].function(Counts.of(sums))
    clips = np.bincount(member, minlength=units).astype(np.int64)
    order = np.lexsort((clips, scores))
    order = order[~np.isnan(scores[order])]
    return Spread(scores[order], clips[order], units - len(order))


@dataclass(frozen=True)
class Part:
    """The clips that share a value. callers: how many said them. score: the headline metric on these clips alone.

    gap: that minus the score on all other clips, on the same resamples of callers.
    """

    value: str
    clips: int
    callers: int
    score: Score
    gap: Score


def parts(predictions: Predictions, values: Sequence[str], seed: int = 0) -> list[Part]:
    """The headline metric within each value of a column, and its gaps. values: of each clip, in the order of the ids.

    Either side of a gap needs two callers, else it has no interval.
    """
    function = METRICS[headline(predictions.task)].function
    _, member = members(predictions)
    column = np.array(values, dtype=object).astype(str)
    counts = clip_counts(predictions.truth, predictions.prediction, len(predictions.task.labels))
    found = []
    for value in sorted(set(values), key=lambda value: (value == "", value)):
        inside = (column == value)[:, None]
        both, resampled = resampled_sums(predictions, np.concatenate([counts * inside, counts * ~inside], axis=1), seed)
        (own, other), (own_drawn, other_drawn) = (
            [function(Counts.of(half)) for half in np.split(sums, 2, axis=-1)] for sums in (both, resampled)
        )
        callers = len(set(member[inside[:, 0]].tolist()))
        fewest = min(callers, len(set(member[~inside[:, 0]].tolist())))
        found.append(
            Part(
                value,
                int(inside.sum()),
                callers,
                score_of(own, own_drawn, callers),
                score_of(own - other, own_drawn - other_drawn, fewest),
            )
        )
    return found
