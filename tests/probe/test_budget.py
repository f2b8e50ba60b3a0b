"""A budget of time is shared evenly by layers and by the rounds that wait for each other; what is stored counts."""

import time
from pathlib import Path

import pytest

from toolkit.core.artifacts import STUDY_FILE
from toolkit.core.study_file import StudyFile
from toolkit.probe.optuna_study import search
from toolkit.probe.registry import PROBES
from toolkit.probe.run import Budget


def test_every_layer_and_every_wave_of_rounds_gets_its_share() -> None:
    budget = Budget(10**9, begun=100.0, seconds=60.0)
    assert budget.deadlines(0, 3, 4, 2) == pytest.approx([110.0, 110.0, 120.0, 120.0])
    assert budget.deadlines(2, 3, 4, 2) == pytest.approx([150.0, 150.0, 160.0, 160.0])
    assert budget.deadlines(1, 3, 5, 8) == pytest.approx([140.0] * 5)


def test_a_search_that_is_late_makes_one_batch_and_keeps_what_is_stored(tmp_path: Path) -> None:
    file = StudyFile(tmp_path / STUDY_FILE)

    def run(trials: int, deadline: float) -> int:
        scores = lambda settings, report: [0.5] * len(settings)  # noqa: E731
        return len(search(file, "one", "sig", PROBES["linear"].space, trials, 0, scores, deadline))

    past = time.monotonic() - 1
    assert run(1000, past) == 10
    assert run(30, float("inf")) == 30
    assert run(1000, past) == 30
