"""A run's folder: written whole, read back and verified."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from toolkit.core.artifacts import commit_file, commit_json, commit_text, make_folder, sha256_of_file, signature
from toolkit.core.errors import InputError, StoreError, ToolkitError, one_of
from toolkit.core.i18n import Note
from toolkit.corpus import splits
from toolkit.corpus.labels import Task
from toolkit.result import stats
from toolkit.result.predictions import Predictions, write_csv
from toolkit.result.predictions_reader import read_csv
from toolkit.result.run import CURVE, FOLDS, LAYERS, METRICS, PREDICTIONS, RUN, VERIFIED, Choice, Point, Run, curve

FORMAT_VERSION = 2

Draw = Callable[[Path, Run, Sequence[Point], stats.Evaluation], object]


def write(folder: Path, run: Run, draw: Draw | None = None) -> None:
    """Commit a run to its folder, run.json last; the same run gives the same bytes.

    Args:
        folder: Made where it does not exist.
        run: What to write.
        draw: Makes the page and the figures (`report.run_page.draw`).

    Raises:
        DiskFullError: Nothing counts as finished then.
    """
    (make_folder(folder) / RUN).unlink(missing_ok=True)  # until it is back, the folder is no finished run
    points, evaluation = curve(run), stats.evaluate(run.predictions)
    run.folds.write(folder / FOLDS)
    write_csv(folder / PREDICTIONS, run.predictions)
    commit_file(folder / LAYERS, lambda temporary: _write_bytes(temporary, save(_tensors(run))))
    commit_text(folder / CURVE, _curve_csv(points))
    commit_json(folder / METRICS, evaluation.to_json())
    if draw:
        draw(folder, run, points, evaluation)
    content = _content(run)
    hashes = {RUN: signature(content), **{name: sha256_of_file(folder / name) for name in VERIFIED}}
    commit_json(folder / RUN, {**content, "sha256": hashes})


def read(folder: Path) -> Run:
    """Read a run back and verify it.

    Args:
        folder: Of the run.

    Raises:
        StoreError: The run is missing, unfinished or damaged.
    """
    where = f"{folder.parent.name}/{folder.name}"
    try:
        content = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"No finished run in {where}: there is no {RUN}; start its command again") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{where}/{RUN} is damaged: {error}") from None
    try:
        if content["format"] != FORMAT_VERSION:
            raise StoreError(f"{where}/{RUN} has format {content['format']}, expected {FORMAT_VERSION}")
        hashes = content.pop("sha256")
        for name in (RUN, *VERIFIED):
            found = signature(content) if name == RUN else sha256_of_file(folder / name)
            if found != hashes[name]:
                raise StoreError(
                    f"{where}/{name} has been changed since it was written: its hash does not fit. Restore it; or "
                    f"delete {RUN} there and start its command again, which does the rest anew and keeps the search"
                )
        return _rebuilt(folder, content)
    except FileNotFoundError as error:
        raise StoreError(f"{where}/{Path(error.filename).name} is missing") from None
    except StoreError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, ToolkitError) as error:
        raise StoreError(f"{where} is damaged: {error!r}") from None


def find_run(name: str, result: Path) -> Path:
    """A run's folder.

    Args:
        name: Of the run in `result`, the beginning of that name, whole words before others, or its path.
        result: Folder of the runs.

    Raises:
        InputError: No run, or several, have that name; names those there are.
    """
    if (path := Path(name)).is_dir() and (path / RUN).is_file():
        return path
    plain = Path(name).name == name
    found = sorted(path.parent for path in result.glob(f"*/{RUN}") if plain and path.parent.name.startswith(name))
    exact = [path for path in found if path.name == name]
    found = exact or [path for path in found if path.name.startswith(f"{name}-")] or found
    if len(found) != 1:
        finished = sorted(path.parent.name for path in result.glob(f"*/{RUN}"))
        raise InputError(one_of("run", path.name or name, [path.name for path in found] or finished))
    return found[0]


def _write_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _tensors(run: Run) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    for layer, predictions in run.layers.items():
        if not run.task.regression:
            tensors[f"probability/{layer}"] = predictions.probability.astype(np.float32)
        tensors[f"prediction/{layer}"] = predictions.prediction.astype(np.float32 if run.task.regression else np.int32)
        if predictions.score is not None:
            tensors[f"score/{layer}"] = predictions.score.astype(np.float32)
    return tensors


def _content(run: Run) -> dict[str, Any]:
    return {
        "format": FORMAT_VERSION,
        "title": run.title,
        "backbone": run.backbone,
        "probe": run.probe,
        "task": asdict(run.task),
        "metric": run.metric,
        "layers": list(run.layers),
        "development": {layer: list(values) for layer, values in run.development.items()},
        "choices": [{**vars(choice), "setting": dict(choice.setting)} for choice in run.choices],
        "left_out": dict(run.left_out),
        "notes": list(run.notes),
        "provenance": dict(run.provenance),
        **({"weights": {layer: list(shares) for layer, shares in run.weights.items()}} if run.weights else {}),
        **({"losses": {layer: list(values) for layer, values in run.losses.items()}} if run.losses else {}),
    }


def _rebuilt(folder: Path, content: dict[str, Any]) -> Run:
    row = content["task"]
    task = Task(row["name"], row["kind"], tuple(row["labels"]), tuple(row["columns"]))
    chosen = read_csv(folder / PREDICTIONS, task)
    tensors = load((folder / LAYERS).read_bytes())
    layers = {
        layer: Predictions(
            task,
            chosen.ids,
            chosen.groups,
            chosen.fold,
            chosen.truth,
            tensors[f"prediction/{layer}"].astype(np.float64 if task.regression else np.int64),
            chosen.probability if task.regression else tensors[f"probability/{layer}"].astype(np.float64),
            chosen.group,
            tensors[f"score/{layer}"].astype(np.float64) if f"score/{layer}" in tensors else None,
        )
        for layer in content["layers"]
    }
    return Run(
        content["title"],
        content["backbone"],
        content["probe"],
        task,
        content["metric"],
        splits.read(folder / FOLDS),
        chosen,
        layers,
        {layer: tuple(content["development"][layer]) for layer in content["layers"]},
        tuple(Choice(**choice) for choice in content["choices"]),
        content["left_out"],
        tuple(Note(*note) for note in content["notes"]),
        content["provenance"],
        {layer: tuple(shares) for layer, shares in content.get("weights", {}).items()},
        {layer: tuple(content["losses"][layer]) for layer in content["layers"]} if "losses" in content else {},
    )


def _curve_csv(points: list[Point]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["layer", "development", "development_loss", "test", "lower", "upper", "chosen_in_rounds", "may_be_best"]
    )
    for point in points:
        values = (point.development, point.loss, point.test.estimate, point.test.lower, point.test.upper)
        cells = ["" if value is None else f"{value:.6f}" for value in values]
        writer.writerow([point.layer, *cells, point.chosen, int(point.may_be_best)])
    return text.getvalue()
