"""A store's seconds are told only where every one of them was recorded."""

from types import SimpleNamespace
from typing import Any

from toolkit.features import costs
from toolkit.features.store import Total


def store(folder: Any, clips: int) -> Any:
    return SimpleNamespace(folder=folder, total=lambda: Total(clips, {}, 0, {}))


def test_seconds_add_up_over_runs_and_are_unknown_after_one_that_was_killed(tmp_path: Any) -> None:
    assert costs.extraction_seconds([store(tmp_path, 5)]) is None
    costs.add(store(tmp_path, 5), 0, 5, 10.0)
    costs.add(store(tmp_path, 8), 5, 8, 2.5)
    assert costs.extraction_seconds([store(tmp_path, 8)]) == 12.5
    assert costs.extraction_seconds([store(tmp_path, 9)]) is None  # shards of a run that was killed
    costs.add(store(tmp_path, 12), 9, 12, 3.0)
    assert costs.extraction_seconds([store(tmp_path, 12)]) is None
