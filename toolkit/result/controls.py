"""Runs to compare a run with (honest split, controls, nuisances), paired differences; kept as beside.json."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any, Literal

from toolkit.core.artifacts import commit_hashed, commit_text, read_hashed
from toolkit.core.errors import StoreError, ToolkitError
from toolkit.core.i18n import Note
from toolkit.result import kinds, paired, stats
from toolkit.result.jackknife import Score
from toolkit.result.run import Run, curve
from toolkit.result.safe_csv import plain_text

FILE, TABLE = "beside.json", "beside.csv"
FORMAT_VERSION = 4

Kind = Literal["alone", "split", "shuffled", "random", "nuisance"]


@dataclass(frozen=True)
class Control:
    """One other run on the same clips.

    kind: "alone", one of the stores that this run fuses; "split", the same question with speakers kept apart;
    "shuffled", its labels shuffled by speaker; "random", the backbone with random weights; "nuisance", another
    question. name: the nuisance, the store, or the kind in words. folder: the other run's, in result/. metric, chance:
    of the other run's headline.
    score: of the layers that the other run chose on development; curve: of each layer.
    minus, curve_minus: this run minus the other, paired over callers; None and empty for a nuisance.
    notes: of the other run, those that this one does not have. shuffles: the headline metric of more shuffles, whose
    settings were not searched again (`probe.permutation`); p_value: of this run's own among them.
    """

    kind: Kind
    name: str
    folder: str
    metric: str
    chance: float
    score: Score
    curve: Mapping[str, Score]
    minus: Score | None
    curve_minus: Mapping[str, Score]
    notes: tuple[Note, ...]
    shuffles: tuple[float, ...] = ()
    p_value: float | None = None


def compare(kind: Kind, name: str, folder: Path, run: Run, other: Run) -> Control:
    """Score `other`, and pair it with `run` unless it asks another question.

    Raises InputError where the two did not test the same clips of the same groups.
    """
    minus, curve_minus = None, {}
    if kind != "nuisance":
        metric, same = run.metric, kind != "shuffled"
        minus = paired.difference([run.predictions], [other.predictions], metric, same_truth=same).score
        shared = [layer for layer in run.layers if layer in other.layers]
        pairs = [run.layers[layer] for layer in shared], [other.layers[layer] for layer in shared]
        found = paired.differences(*pairs, metric, same_truth=same) if shared else []
        curve_minus = {layer: one.score for layer, one in zip(shared, found) if one.score is not None}
    chance, _ = kinds.chance(other.predictions)
    (score,) = stats.headline_scores([other.predictions])
    layers = {point.layer: point.test for point in curve(other)}
    notes = tuple(note for note in other.notes if note not in run.notes)
    return Control(kind, name, folder.name, other.metric, chance, score, layers, minus, curve_minus, notes)


def add(folder: Path, new: Sequence[Control]) -> list[Control]:
    """Keep `new` in the run's folder next to what is there, replacing the same kind and name.

    Returns all of them. Raises StoreError for a damaged beside.json, DiskFullError.
    """
    every = joined(read(folder), new)
    write(folder, every)
    return every


def joined(kept: Sequence[Control], new: Sequence[Control]) -> list[Control]:
    """All of them in the order of a page; of one kind and name the new one."""
    found = {(one.kind, one.name): one for one in (*kept, *new)}
    order = ("alone", "split", "shuffled", "random", "nuisance")
    return sorted(found.values(), key=lambda one: order.index(one.kind))


def write(folder: Path, every: Sequence[Control]) -> None:
    """Keep them next to a run, beside.json last. Raises DiskFullError."""
    commit_text(folder / TABLE, _csv(every))
    commit_hashed(folder / FILE, {"format": FORMAT_VERSION, "beside": [_to_json(one) for one in every]})


def read(folder: Path) -> list[Control]:
    """What was kept next to a run; none where nothing was. Raises StoreError."""
    try:
        content = read_hashed(folder / FILE)
        if content["format"] != FORMAT_VERSION:
            raise ValueError(f"format {content['format']}, expected {FORMAT_VERSION}")
        return [_of_json(row) for row in content["beside"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, ToolkitError) as error:
        raise StoreError(f"{folder.name}/{FILE} is damaged: {error}; remove it, then start the command again") from None


def _to_json(one: Control) -> dict[str, Any]:
    return {**asdict(one), "notes": list(one.notes), "shuffles": list(one.shuffles)}


def _of_json(row: dict[str, Any]) -> Control:
    curves = {name: {layer: Score(**score) for layer, score in row[name].items()} for name in ("curve", "curve_minus")}
    minus = None if row["minus"] is None else Score(**row["minus"])
    fields = {"score": Score(**row["score"]), "minus": minus, "notes": tuple(Note(*note) for note in row["notes"])}
    fields["shuffles"] = tuple(row["shuffles"])
    return Control(**{**row, **curves, **fields})


def _csv(every: Sequence[Control]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "kind",
            "name",
            "layer",
            "metric",
            "chance",
            "score",
            "lower",
            "upper",
            "difference",
            "difference_lower",
            "difference_upper",
        ]
    )
    for one in every:
        rows = [("chosen on development", one.score, one.minus)]
        rows += [(layer, score, one.curve_minus.get(layer)) for layer, score in one.curve.items()]
        for layer, score, minus in rows:
            values = [one.chance, *astuple(score), *(astuple(minus) if minus else (None, None, None))]
            cells = ["" if value is None else f"{value:.6f}" for value in values]
            writer.writerow([one.kind, plain_text(one.name), layer, one.metric, *cells])
    return text.getvalue()
