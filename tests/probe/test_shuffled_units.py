"""`--control shuffled` of units whose clips have labels of their own: these move with their unit's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit import probe_arrays
from toolkit.corpus.evaluation_task import EvaluationTask
from toolkit.features.fused import Features
from toolkit.features.layout import FloatArray
from toolkit.probe import control_runs
from toolkit.probe.controls import dealt
from toolkit.probe.run_folder import Sweep
from toolkit.result import controls
from toolkit.result.controls import Control
from toolkit.result.report import run_page


def clips_with_labels(signal: float, seed: int = 0) -> tuple[FloatArray, list[int], list[str], list[str]]:
    """Units of 3 to 12 clips, 4 of each of 12 speakers, who differ in voice and in how often they are positive."""
    generator = np.random.default_rng(seed)
    counts, speaker = generator.integers(3, 13, 48), np.repeat(np.arange(12), 4)
    positive = generator.random(48) < generator.beta(1, 1, 12)[speaker]
    unit = np.repeat(np.arange(48), counts)
    label = (generator.random(len(unit)) < 0.4 * positive[unit]).astype(int)
    features = generator.standard_normal((len(unit), 6)) + generator.standard_normal((12, 6))[speaker[unit]]
    features[:, 0] += signal * label
    return (
        features.astype(np.float32),
        label.tolist(),
        [f"s{speaker[one]}" for one in unit],
        [f"u{one}" for one in unit],
    )


def shuffled(signal: float, folder: Path, monkeypatch: pytest.MonkeyPatch, shuffles: int) -> Control:
    for drawing in ("draw", "redraw"):
        monkeypatch.setattr(run_page, drawing, lambda *of, **more: None)  # pages take seconds
    clips, labels, speakers, units = clips_with_labels(signal)
    found = probe_arrays(
        {"layer": clips}, labels, speakers, units=units, folder=folder, probe="clips", unit_label="any", trials=1,
        folds=3, control=["shuffled"], shuffles=shuffles,
    )  # fmt: skip
    (control,) = controls.read(found.folder)
    return control


def test_a_label_of_clips_that_features_know_is_above_all_shuffles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, EvaluationTask]] = []
    swept = control_runs._swept

    def watched(store: Features, question: EvaluationTask, *others: Any) -> Sweep:
        seen.append((store, question))
        return swept(store, question, *others)

    monkeypatch.setattr(control_runs, "_swept", watched)
    assert shuffled(3.0, tmp_path, monkeypatch, 19).p_value == 0.05
    (real, asked), (moved, other) = seen
    assert asked.donors is None and other.donors is not None and real.units.labels != moved.units.labels
    donors = dict(zip(other.folds.ids, np.array(other.folds.ids)[other.donors].tolist(), strict=True))
    for unit, donor in donors.items():
        own, given = (
            [labels[clip]["label"] for clip in store.units.members[name] if clip in (labels := store.units.labels)]
            for store, name in ((moved, unit), (real, donor))
        )
        assert set(own) <= set(given) and bool(own) == bool(given)
    assert dealt(real, other, 0).units.labels == moved.units.labels


def test_without_anything_to_know_the_p_value_is_no_surprise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    p_value = shuffled(0.0, tmp_path, monkeypatch, 9).p_value
    assert p_value is not None and p_value > 0.1
