"""Nuisances are asked on the target's folds where these can answer, and quantities in classes of equal size."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from toolkit.audio.clip import Clip
from toolkit.core.errors import InputError
from toolkit.corpus import evaluation_task
from toolkit.corpus.evaluation_task import EvaluationTask
from toolkit.corpus.manifest import Manifest
from toolkit.probe.nuisance import build_task, loudnesses


def corpus(root: Path = Path(), **columns: list[str]) -> Manifest:
    n = len(next(iter(columns.values())))
    cells = {"id": [f"c{k}" for k in range(n)], "path": [f"{k}.wav" for k in range(n)], **columns}
    clips = tuple(Clip(f"c{k}", f"{k}.wav", k + 2, cells=row) for k, row in enumerate(zip(*cells.values())))
    return Manifest("manifest.csv", root, tuple(cells), clips)


@pytest.fixture
def speakers() -> Manifest:
    return corpus(
        speaker=[f"s{k % 6}" for k in range(60)],
        mood=[["joy", "fear"][k // 6 % 2] for k in range(60)],
        sex=[["m", "f"][k % 2] for k in range(60)],
        age=[str(20 + k % 24) for k in range(60)],
    )


@pytest.fixture
def target(speakers: Manifest) -> EvaluationTask:
    return evaluation_task.build_task(speakers, "mood", 3, seed=0)


def test_a_column_that_folds_can_answer_keeps_them(speakers: Manifest, target: EvaluationTask) -> None:
    question = build_task(target, speakers, "sex")
    assert question.folds is target.folds and question.task.labels == ("f", "m") and question.groups == target.groups


def test_the_speakers_identity_is_asked_with_clips_dealt_out(speakers: Manifest, target: EvaluationTask) -> None:
    task = build_task(target, speakers, "speaker")
    assert task.folds.group_by == "clip" and task.groups == task.folds.ids and task.group == "clip"
    assert "clips were dealt out one by one" in str(task.notes[-1])
    for one in task.folds.rounds():
        assert set(task.truth[one.test]) == set(task.truth[one.train]) == set(range(6))


def test_a_quantity_becomes_four_classes_in_its_order(speakers: Manifest, target: EvaluationTask) -> None:
    values = {f"c{k}": float(k) for k in range(60)}
    question = build_task(target, speakers, "duration", values)
    assert question.truth.tolist() == sorted(question.truth.tolist()) and set(Counter(question.truth).values()) == {15}
    assert question.task.labels == ("1: to 14.8 s", "2: 14.8 s to 29.5 s", "3: 29.5 s to 44.2 s", "4: above 44.2 s")
    age = build_task(target, speakers, "age")
    assert len(age.task.labels) == 4 and "quartiles" in str(age.notes[0])


def test_ties_make_fewer_classes_and_clips_without_features_do_not_move_the_cuts(
    speakers: Manifest, target: EvaluationTask
) -> None:
    values = {f"c{k}": 1.0 if k < 40 else 2.0 for k in range(60)}
    question = build_task(target, speakers, "duration", values)
    assert question.task.kind == "binary" and Counter(question.truth.tolist()) == {0: 40, 1: 20}
    less = build_task(target, speakers, "duration", {clip: value for clip, value in values.items() if clip != "c59"})
    assert less.task.labels == question.task.labels


def test_what_does_not_vary_or_is_not_there_is_refused(speakers: Manifest, target: EvaluationTask) -> None:
    with pytest.raises(InputError, match="the same in every clip"):
        build_task(target, speakers, "duration", {f"c{k}": 2.0 for k in range(60)})
    with pytest.raises(InputError, match="Bad --nuisance 'height'"):
        build_task(target, speakers, "height")


def test_loudness_is_the_level_of_the_audio_in_decibels(tmp_path: Path) -> None:
    for number, level in enumerate((1.0, 0.1, 0.0)):
        soundfile.write(tmp_path / f"{number}.wav", np.full(800, level, np.float32), 16_000, subtype="FLOAT")
    (tmp_path / "3.wav").write_bytes(b"no audio")
    found = loudnesses(corpus(tmp_path, speaker=["a"] * 4))
    assert found == {"c0": pytest.approx(0.0), "c1": pytest.approx(-20.0), "c2": pytest.approx(-120.0)}
