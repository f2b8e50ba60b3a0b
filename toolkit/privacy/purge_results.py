"""One caller taken out of the runs of a workspace: predictions, folds, figures and pages made again from the others."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from toolkit.core.artifacts import locked, make_folder
from toolkit.core.errors import SplitError
from toolkit.core.i18n import Note
from toolkit.core.platform import sync_folder
from toolkit.corpus import splits
from toolkit.result import columns, controls, online, run_files, units
from toolkit.result import run as result_run
from toolkit.result.clips import read_clips, write_clips
from toolkit.result.listing import begun
from toolkit.result.predictions import Predictions
from toolkit.result.report import run_page
from toolkit.result.run import Run

Removes = Callable[[str], bool]  # whether the clip of an id is removed
FOLDS = "folds"
ASIDE = ".{}.purged"  # where a run is written again before it takes its place
DRAWN = (
    controls.FILE,
    controls.TABLE,
    online.FILE,
    online.TABLE,
    columns.FILE,
    columns.TABLE,
    units.FILE,
    units.TABLE,
)  # of a run, and only where the user wanted them


@dataclass(frozen=True)
class Touched:
    """What of a workspace's results the clips that go are in; folders and files by their paths.

    runs: made again, the one whose page shows another one before that one. lost: runs that cannot be without them, with
    the reason. pages: of several runs. folds: kept for other runs. unfinished: interrupted runs; what they have
    learnt from is not known.
    """

    runs: tuple[Path, ...]
    lost: Mapping[Path, str]
    pages: tuple[Path, ...]
    folds: tuple[Path, ...]
    unfinished: tuple[Path, ...]


def _in(folder: Path, is_removed: Removes) -> Removes:
    """Of the ids that a run is about: of one on units, a unit goes with any of its clips."""
    members = units.read(folder)
    if members is None:
        return is_removed
    known, removed = {one.unit for one in members}, {one.unit for one in members if is_removed(one.clip)}
    return lambda name: name in removed if name in known else is_removed(name)


def _anywhere(result: Path, is_removed: Removes) -> Removes:
    """Of ids in folds, whichever runs they are for."""
    every = [units.read(path.parent) or [] for path in sorted(result.glob(f"*/{units.FILE}"))]
    removed = {one.unit for members in every for one in members if is_removed(one.clip)}
    return lambda name: is_removed(name) or name in removed


def touched(result: Path, is_removed: Removes) -> Touched:
    """Look through result/, after `finish`. Raises StoreError for a damaged run, SplitError for damaged folds."""
    runs: list[Path] = []
    lost: dict[Path, str] = {}
    unfinished: list[Path] = []
    others: list[Path] = []
    shown: dict[Path, set[str]] = {}
    for folder in sorted(path for path in result.glob("*") if path.is_dir() and path.name != FOLDS):
        if not (folder / result_run.RUN).exists():
            (unfinished if begun(folder) else others).append(folder)
            continue
        run = run_files.read(folder)
        shown[folder] = {one.folder for one in controls.read(folder)}
        clips = set(filter(_in(folder, is_removed), (*run.folds.ids, *run.left_out)))
        if not clips:
            continue
        if named := {"speaker", run.predictions.group, run.folds.group_by} & set(run.task.columns):
            lost[folder] = f"it asks for the {min(named)}, by name"
            continue
        try:
            run.folds.without(clips)
            runs.append(folder)
        except SplitError:
            lost[folder] = "without these clips a fold of it is empty"
    removed = {folder.name for folder in (*runs, *lost)}
    runs += [folder for folder in shown if folder.name not in removed and shown[folder] & removed]
    names = [name.encode() for name in removed]
    pages = [folder for folder in others if any(name in path.read_bytes() for path in _files(folder) for name in names)]
    in_folds = _anywhere(result, is_removed)
    folds = [path for path in sorted(result.glob(f"{FOLDS}/*.json")) if any(map(in_folds, splits.read(path).ids))]
    first = sorted(runs, key=lambda folder: (not shown[folder] & removed, folder.name))
    return Touched(tuple(first), lost, tuple(pages), tuple(folds), tuple(unfinished))


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def purge(result: Path, found: Touched, is_removed: Removes, models: bool) -> None:
    """Do it. models: delete every run that has learnt from these clips, instead of making it again.

    Interrupted, it resumes when `touched` and `purge` are called again. Raises StoreError, DiskFullError.
    """
    for folder in found.pages:
        shutil.rmtree(folder)
    in_folds = _anywhere(result, is_removed)
    for path in found.folds:
        folds = splits.read(path)
        try:
            kept = folds.without(set(filter(in_folds, folds.ids)))
            stem = path.stem.rpartition("-")[0]
            kept.write(path.with_name(f"{stem}-{kept.sha256[:12]}.json"))
        except SplitError:
            pass  # no round could be made of them
        path.unlink()
    deleted = {*found.lost, *((*found.runs, *found.unfinished) if models else ())}
    remaining = [folder for folder in found.runs if folder not in deleted]
    anew = {folder.name: _without(run_files.read(folder), _in(folder, is_removed)) for folder in remaining}
    for folder in remaining:
        _replace(folder, anew, {one.name for one in deleted}, is_removed)
    for folder in deleted:
        (folder / result_run.RUN).unlink(missing_ok=True)  # what is half deleted is no run
        shutil.rmtree(folder)


def _without(run: Run, is_removed: Removes) -> Run:
    """The run, less the removed clips, with a note that its models learnt from them."""
    clips = set(filter(is_removed, run.folds.ids))
    if not clips:
        return replace(run, left_out={clip: reason for clip, reason in run.left_out.items() if not is_removed(clip)})
    kept = np.array([not is_removed(clip) for clip in run.predictions.ids])
    return replace(
        run,
        folds=run.folds.without(clips),
        predictions=_rows(run.predictions, kept),
        layers={layer: _rows(rows, kept) for layer, rows in run.layers.items()},
        left_out={clip: reason for clip, reason in run.left_out.items() if not is_removed(clip)},
        notes=(*run.notes, Note("purged", {"count": len(clips)})),
        provenance={name: value for name, value in run.provenance.items() if name != "audio_seconds"},
    )


def _rows(predictions: Predictions, kept: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Predictions:
    return replace(
        predictions,
        ids=tuple(clip for clip, keep in zip(predictions.ids, kept) if keep),
        groups=tuple(group for group, keep in zip(predictions.groups, kept) if keep),
        fold=predictions.fold[kept],
        truth=predictions.truth[kept],
        prediction=predictions.prediction[kept],
        probability=predictions.probability[kept],
        score=None if predictions.score is None else predictions.score[kept],
    )


def _replace(folder: Path, anew: Mapping[str, Run], deleted: set[str], is_removed: Removes) -> None:
    """Write the run aside, whole, and let it take the old one's place; `finish` completes it after a crash."""
    run, before = anew[folder.name], run_files.read(folder)
    unit_removed = _in(folder, is_removed)
    counted = any(map(unit_removed, before.folds.ids))
    shown = [_again(one, folder, run, anew, counted) for one in controls.read(folder) if one.folder not in deleted]
    others = [one for one in shown if one is not None]
    with locked(folder):
        aside = make_folder(folder.with_name(ASIDE.format(folder.name)))
        known = read_clips(folder)
        if known is not None:
            write_clips(aside, {clip: sha256 for clip, sha256 in known.items() if not is_removed(clip)})
        if (members := units.read(folder)) is not None:
            units.write(aside, [one for one in members if not unit_removed(one.unit)])
        curve = online.read(folder)
        if curve is not None and not counted:
            online.write(aside, curve)
        if (counts := columns.read(folder)) is not None:  # of the models, which are kept
            columns.write(aside, counts)
        run_files.write(aside, run, None if others else run_page.draw)
        if others:
            controls.add(aside, others)
            run_page.redraw(aside, run)
        _take_place(aside, folder)


def _again(
    one: controls.Control, folder: Path, run: Run, anew: Mapping[str, Run], counted: bool
) -> controls.Control | None:
    """A comparison made again, None where it cannot be. counted: whether clips that go were in it."""
    other = folder.with_name(one.folder)
    if one.folder not in anew and not (other / result_run.RUN).exists():
        return None if counted else one
    found = anew[one.folder] if one.folder in anew else run_files.read(other)
    again = controls.compare(one.kind, one.name, other, run, found)
    return again if counted else replace(again, shuffles=one.shuffles, p_value=one.p_value)


def finish(result: Path) -> None:
    """Let runs that were written aside, whole, take their place; incomplete ones are written again."""
    for aside in result.glob(ASIDE.format("*")):
        folder = aside.with_name(aside.name.removeprefix(".").removesuffix(".purged"))
        if (aside / result_run.RUN).exists():
            _take_place(aside, folder)
        else:
            shutil.rmtree(aside)


def _take_place(aside: Path, folder: Path) -> None:
    """Move everything over, run.json last: until then `aside` holds it, and the rest can be moved again."""
    figures = aside / result_run.FIGURES
    if figures.exists():
        for drawn in folder.glob(f"{result_run.FIGURES}*"):  # in another language too
            shutil.rmtree(drawn, ignore_errors=True)
        for path in (*folder.glob("report.*.html"), *(folder / name for name in DRAWN)):
            path.unlink(missing_ok=True)
        figures.rename(folder / result_run.FIGURES)
    for path in sorted(aside.iterdir(), key=lambda path: path.name == result_run.RUN):
        path.replace(folder / path.name)
    sync_folder(folder)
    shutil.rmtree(aside)


def speakers(result: Path) -> dict[str, str]:
    """Speaker by clip id, as far as folds and predictions know it. Raises StoreError, SplitError for damaged files."""
    found: dict[str, str] = {}
    for path in sorted(result.glob(f"{FOLDS}/*.json")):
        folds = splits.read(path)
        found |= dict(zip(folds.ids, folds.groups)) if folds.group_by == "speaker" else {}
    for path in sorted(result.glob(f"*/{result_run.RUN}")):
        tested = run_files.read(path.parent).predictions
        if tested.group == "speaker" and tested.ids != tested.groups:
            found |= dict(zip(tested.ids, tested.groups))
    return found
