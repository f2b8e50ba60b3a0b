"""What was said against what was true, callers one by one, and the groups of a manifest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toolkit.errors import InputError
from toolkit.labels import Task
from toolkit.manifest import Clip, Manifest
from toolkit.result import stats
from toolkit.result.calibration import calibrate
from toolkit.result.groups import columns, parts, spread
from toolkit.result.metrics import headline_score
from toolkit.result.predictions import Predictions

Make = Callable[..., Predictions]


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_the_error_is_that_of_a_naive_loop_over_bins(predictions_of: Make, tasks: dict[str, Task], kind: str) -> None:
    given = predictions_of(tasks[kind])
    found = calibrate(given)
    if given.task.multilabel:
        said, true = given.probability.ravel(), given.truth.ravel()
    else:
        said, true = given.probability[np.arange(400), given.prediction], given.prediction == given.truth
    error = 0.0
    assert found is not None and sum(one.count for one in found.bins) == len(said)
    for one in found.bins:
        inside = (said >= one.low) & ((said < one.high) | (one.high == 1))
        assert one.count == inside.sum()
        if one.count:
            error += abs(true[inside].mean() - said[inside].mean()) * one.count / len(said)
            assert one.happened.estimate == pytest.approx(true[inside].mean())
            assert one.said == pytest.approx(said[inside].mean())
        else:
            assert one.said is None and one.happened.estimate is None
    assert found.error == pytest.approx(error)
    assert found.corrected.lower <= found.corrected.estimate <= found.corrected.upper  # type: ignore[operator]


def test_probabilities_that_say_what_happens_show_no_error_and_doubled_ones_do(
    predictions_of: Make, tasks: dict[str, Task]
) -> None:
    given = predictions_of(tasks["multilabel"], clips=3000, speakers=40)
    honest = np.random.default_rng(0).random(given.probability.shape)
    truth = (np.random.default_rng(1).random(honest.shape) < honest).astype(np.int64)
    right = calibrate(replace(given, truth=truth, probability=honest))
    wrong = calibrate(replace(given, truth=truth, probability=honest**2))
    assert right is not None and right.corrected.upper < 0.01  # type: ignore[operator]
    assert wrong is not None and wrong.corrected.lower > 0.1  # type: ignore[operator]
    assert calibrate(replace(given, probability=np.full_like(honest, np.nan))) is None
    alone = calibrate(replace(given, groups=("s",) * 3000))
    assert alone is not None and alone.corrected == stats.Score(None, None, None)


def test_every_caller_is_scored_alone_and_groups_against_all_others(
    predictions_of: Make, tasks: dict[str, Task]
) -> None:
    given = predictions_of(tasks["binary"], clips=120, speakers=6)
    names = np.array(given.groups)
    expected = sorted(
        headline_score(given.task, given.truth[names == name], given.prediction[names == name]) or 0.0
        for name in sorted(set(given.groups))
    )
    found = spread(given)
    assert found.scores.tolist() == pytest.approx(expected) and found.clips.sum() == 120 and not found.undefined
    assert found.quantile(0.0) == pytest.approx(expected[0])
    values = ["old" if name == "speaker00" else "" for name in given.groups]
    old, unknown = parts(given, values)
    assert (old.value, old.callers, unknown.value, unknown.callers) == ("old", 1, "", 5)
    assert old.score.lower is None and old.gap.lower is None and unknown.score.lower is not None


def test_columns_are_found_by_clip_and_windows_are_of_their_recording(
    predictions_of: Make, tasks: dict[str, Task]
) -> None:
    given = predictions_of(tasks["binary"], clips=20)
    ids = (f"{given.ids[0]}@0-10", *given.ids[1:])
    given = replace(given, ids=ids)
    names = [clip.partition("@")[0] for clip in ids]
    cells = [{"id": name, "path": "x", "sex": "fm"[n % 2], "age": str(n), "one": "1"} for n, name in enumerate(names)]
    clips = tuple(
        Clip(id=row["id"], path="x", start=None, end=None, channel=None, duration=None, speaker=None, split=None,
             line=n, cells=tuple(row.values())) for n, row in enumerate(cells)
    )  # fmt: skip
    manifest = Manifest("manifest.csv", Path(), ("id", "path", "sex", "age", "one"), clips)
    found = columns(manifest, None, [given])
    assert list(found) == ["sex"] and found["sex"][ids[0]] == "f"  # the age of each is another one
    assert columns(manifest, ["sex"], [given]) == found
    for name, message in (("height", "--gaps"), ("age", "20 different values"), ("one", "1 different values")):
        with pytest.raises(InputError, match=message):
            columns(manifest, [name], [given])
    with pytest.raises(InputError, match=r"manifest\.csv has no clip"):
        columns(replace(manifest, clips=clips[1:]), ["sex"], [given])
