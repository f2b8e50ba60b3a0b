"""Columns of numbers: no scale is taken for classes unasked, a threshold makes two labels, order is that of numbers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

import toolkit
from tests.models import tiny
from toolkit.core.errors import InputError, LabelError
from toolkit.corpus.evaluation_task import EvaluationTask, build_task
from toolkit.corpus.labels import task_of
from toolkit.corpus.manifest import read
from toolkit.corpus.spellings import Rules

RISKS = [str(1 + number * 5 % 16) for number in range(48)]


def corpus(folder: Path, cells: Sequence[str]) -> Path:
    rows = ["id,path,speaker,risk"]
    for number, cell in enumerate(cells):
        samples = 0.1 * np.random.default_rng(number).standard_normal(3200) * (1 + (float(cell) >= 8))
        soundfile.write(folder / f"{number}.wav", samples.clip(-1, 1), 16_000)
        rows.append(f"c{number},{number}.wav,s{number % 8},{cell}")
    (folder / "manifest.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
    return folder


def asked(folder: Path, rules: Rules) -> EvaluationTask:
    return build_task(read(folder / "manifest.csv"), "risk", 3, 0, rules=rules)


def test_a_scale_is_refused_with_the_two_options_that_would_do(tmp_path: Path) -> None:
    folder = corpus(tmp_path, RISKS)
    with pytest.raises(
        LabelError,
        match=r"'risk' holds 16 different numbers, 1 to 16: .*--kind regression .*--kind ordinal .*, or --threshold 9",
    ):
        asked(folder, Rules())
    task = asked(folder, Rules(kind="classes")).task
    assert task.kind == "multiclass" and task.labels == tuple(str(number) for number in range(1, 17))
    with pytest.raises(InputError, match="Bad --kind 'number'"):
        Rules(kind="number")


def test_a_threshold_asks_whether_it_is_so_much_or_more(tmp_path: Path) -> None:
    found = asked(corpus(tmp_path, RISKS), Rules(threshold=8.0))
    assert found.task.kind == "binary" and found.task.labels == ("risk < 8", "risk >= 8")
    assert found.truth.tolist() == [int(float(cell) >= 8) for cell in RISKS]
    assert found.rules.stated()["threshold"] == 8.0
    text = (tmp_path / "manifest.csv").read_text(encoding="utf-8")
    (tmp_path / "manifest.csv").write_text(
        text.replace(f"c3,3.wav,s3,{RISKS[3]}", 'c3,3.wav,s3,"12,5"'), encoding="utf-8"
    )
    with pytest.raises(LabelError, match=r"line 5, column 'risk': '12,5', expected a number such as 12.5"):
        asked(tmp_path, Rules(threshold=8.0))


def test_the_labels_of_numbers_are_in_their_order() -> None:
    task, truth = task_of("n", {"n": ["10", "9", "2", "10"]}, [2, 3, 4, 5])
    assert task.labels == ("2", "9", "10") and truth.tolist() == [2, 1, 0, 2]
    assert task_of("n", {"n": ["10", "9"]}, [2, 3])[0].labels == ("9", "10")
    assert task_of("n", {"n": ["10", "9", "b"]}, [2, 3, 4])[0].labels == ("10", "9", "b")


def test_a_run_by_a_threshold_is_predicted_with_and_scored(tmp_path: Path) -> None:
    folder = corpus(tmp_path, RISKS)
    tiny.hubert(folder / "models" / "tiny")
    space = toolkit.open(folder)
    space.extract("tiny")
    with pytest.raises(LabelError, match=r"kind classes .* threshold 9 to ask"):
        space.probe("tiny", target="risk", folds="3")
    (run,) = space.probe("tiny", target="risk", threshold=8, folds="3", trials=1).runs
    assert run.run.task.labels == ("risk < 8", "risk >= 8") and any(">= 8" in label for label in run.run.task.labels)
    done = space.predict(run, manifest=folder / "manifest.csv")
    frame = done.predictions()
    assert (frame["truth"] == [f"risk {'>=' if float(cell) >= 8 else '<'} 8" for cell in RISKS]).all()
    tuned = space.finetune(run, train="head", epochs=1, head_epochs=1, dtype="float32", batch_size=4)
    assert tuned.runs[0].run.folds.sha256 == run.run.folds.sha256
