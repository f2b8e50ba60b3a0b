"""`toolkit predict` of calls: the run's own figures back, new calls by folder or column, what each clip weighed."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import toolkit
from tests.conftest import Run
from tests.models import tiny
from toolkit.corpus import manifest as manifests
from toolkit.corpus.adhoc import gather
from toolkit.corpus.manifest import read
from toolkit.corpus.spellings import REFUSE
from toolkit.corpus.windows import Windows, cut
from toolkit.predict.units import units_of
from toolkit.result import run_files
from toolkit.result import units as kept_units
from toolkit.result.predictions_reader import read_csv

PROBES = {"linear": ("bad", {}), "mil": ("bad", {}), "clips": ("noisy", {"unit_label": "any"}),
          "mil-gru": ("noisy", {"kind": "regression", "unit_label": "mean"})}  # fmt: skip
COLUMNS = ("id", "path", "speaker", "call", "bad", "noisy")


@pytest.fixture(scope="module")
def study(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two calls of three clips for each speaker, one of them of a single clip, and a run of each probe."""
    folder = tmp_path_factory.mktemp("calls") / "workspace"
    shutil.copytree(corpus, folder)
    tiny.hubert(folder / "models" / "tiny-hubert")
    clips, rows = read(folder / "manifest.csv"), []
    seen: dict[str, int] = {}
    for clip, speaker, noisy in zip(clips.clips, clips.cells("speaker"), clips.cells("noisy")):
        seen[speaker] = seen.get(speaker, -1) + 1
        call = 2 if (speaker, seen[speaker]) == ("s0", 5) else seen[speaker] // 3
        rows.append((clip.id, clip.path, speaker, f"{speaker}-{call}", str(call % 2), noisy))
    manifests.write(folder / "manifest.csv", COLUMNS, rows)
    place = toolkit.open(folder)
    place.extract("tiny-hubert", dtype="float32", device="cpu", workers=1)
    for probe, (target, more) in PROBES.items():
        place.probe("tiny-hubert", target=target, probe=probe, unit="call", folds=3, trials=1, workers=1, **more)
    return folder


def runs(study: Path) -> dict[str, Path]:
    return {run_files.read(path.parent).probe: path.parent for path in study.glob("result/*/run.json")}


def predict(run: Run, study: Path, *more: object) -> tuple[int, str, str]:
    return run("predict", "-w", study, "--device", "cpu", "--workers", 1, *more)


def table(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


@pytest.mark.parametrize("probe", list(PROBES))
def test_the_runs_own_units_get_the_runs_own_figures(run: Run, study: Path, tmp_path: Path, probe: str) -> None:
    folder, made = runs(study)[probe], tmp_path / "made"
    code, out, err = predict(run, study, "--from", folder.name, "--manifest", study / "manifest.csv", "--output", made)
    assert code == 0 and "the run's own: 13 of 13 units" in err and "the truth is known" in out, err
    own = run_files.read(folder).predictions
    again = read_csv(made / "predictions.csv", own.task)
    assert (again.ids, again.groups) == (own.ids, own.groups) and len(own.ids) == 13
    for name in ("fold", "truth", "prediction", "probability"):
        np.testing.assert_array_equal(getattr(again, name), getattr(own, name))
    found = [(row["clip"], row["unit"], row["model"], row["weight"]) for row in table(made / "units.csv")]
    members = kept_units.read(folder)
    assert members is not None
    assert sorted(found) == sorted(
        (one.clip, one.unit, f"round-{one.fold if one.fold is not None else fold}",
         "" if one.weight is None else f"{one.weight:.6f}")
        for one in members
        for fold in (own.fold[own.ids.index(one.unit)],)
    )  # fmt: skip


def test_new_calls_are_folders_and_their_clips_are_weighed(run: Run, study: Path, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    for call, numbers in {"A": (3, 20, 31), "B": (0, 6), "C": (14,)}.items():
        (calls / call).mkdir(parents=True)
        for place, number in enumerate(numbers):
            name = calls / call / f"{9 + place}.wav"  # 9, 10, 11: in the order of time as people count
            name.write_bytes((study / f"{number}.wav").read_bytes())
    (calls / "B" / "0.wav").write_bytes(b"RIFF")
    made = tmp_path / "made"
    code, out, err = predict(run, study, "--from", runs(study)["mil"].name, calls, "--output", made)
    assert code == 3 and "failed: clip 'B/0.wav'" in err and "what they weighed, in units.csv" in out, (out, err)
    # clips 3, 20 and 31 are of three speakers in two folds or more; 0 and 6 of one, 14 of another
    assert "the run's own: 2 of 3 units" in err and "which taught its models: 1 unit, predicted by" in err
    rows = table(made / "predictions.csv")
    assert [row["id"] for row in rows] == ["A", "B", "C"] and rows[0]["model"] == "mean"
    weights = table(made / "units.csv")
    assert [row["clip"] for row in weights] == ["A/9.wav", "A/10.wav", "A/11.wav", "B/9.wav", "B/10.wav", "C/9.wav"]
    for unit in "ABC":
        assert sum(float(row["weight"]) for row in weights if row["unit"] == unit) == pytest.approx(1, abs=2e-6)
    assert float(weights[-1]["weight"]) == 1  # the only clip of its call

    alone = tmp_path / "alone"
    code, _, err = predict(run, study, "--from", runs(study)["mil"].name, calls / "C", "--output", alone)
    assert code == 0 and table(alone / "predictions.csv") == [{**rows[2], "id": "C"}], err
    (calls / "loose.wav").write_bytes((study / "3.wav").read_bytes())
    code, _, err = predict(run, study, "--from", runs(study)["mil"].name, calls)
    assert code == 2 and "'loose.wav' is next to the folder 'A', and a folder holds the clips of one call" in err


def test_new_calls_of_a_manifest_by_another_column(run: Run, study: Path, tmp_path: Path) -> None:
    """Without labels, with clips of two speakers in a call; a column mean over the rounds is plain arithmetic."""
    rows = [("x", "3.wav", "one", "s1"), ("y", "20.wav", "one", "s2"), ("z", "31.wav", "two", "s1")]
    manifests.write(study / "new.csv", ("id", "path", "session", "speaker"), rows)
    words = ("--from", runs(study)["linear"].name, "--manifest", study / "new.csv")
    code, _, err = predict(run, study, *words)
    assert code == 2 and "Bad --unit 'call', expected one of ['session', 'speaker']" in err
    code, _, err = predict(run, study, *words, "--unit", "session", "--round", 1, "--output", tmp_path / "made")
    assert code == 0, err
    found = table(tmp_path / "made" / "predictions.csv")
    assert [row["id"] for row in found] == ["one", "two"] and "truth" not in found[0]
    assert all(row["weight"] == "" for row in table(tmp_path / "made" / "units.csv"))


def test_what_units_cannot_be_predicted_with_is_refused(run: Run, study: Path) -> None:
    linear = ("--from", runs(study)["linear"].name)
    clips = [("x", "3.wav", "one", "0"), ("y", "20.wav", "one", "1"), ("z", "31.wav", "", "1")]
    manifests.write(study / "none.csv", ("id", "path", "call", "bad"), clips)
    manifests.write(study / "two.csv", ("id", "path", "call", "bad"), clips[:2])
    for sentence, *words in (
        ("Manifest line 4, column 'call': '', expected the name of the clip's unit", "--manifest", study / "none.csv"),
        ("differ in 'bad': '0' in manifest line 2", "--manifest", study / "two.csv"),
        ("--window is for the timeline of a recording, and bad-tiny-hubert", study / "3.wav", "--window", "1"),
        ("is of units, each of several clips", study / "3.wav", "--final"),
    ):
        code, _, err = predict(run, study, *linear, *words)
        assert code == 2 and sentence in err and err.count("\n") <= 2, (words, err)


def test_of_whole_recordings_that_were_cut_a_file_is_a_unit_and_else_its_folder(study: Path, tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    for name in ("2.wav", "10.wav"):
        shutil.copy(study / "7.wav", tmp_path / "day" / name)
    windows = cut(gather([tmp_path / "day"]), Windows(0.2, 0.2))
    run = run_files.read(runs(study)["linear"])
    for column, expected in (("recording", {"2.wav": 2, "10.wav": 2}), ("call", {"day": 4})):
        asked = replace(run, provenance={**run.provenance, "unit": {"column": column, "label": None}})
        found = units_of(windows, asked, "run", None, True, REFUSE)
        assert {unit: len(own) for unit, own in found.members.items()} == expected
    assert found.members["day"][0].startswith("2.wav@0-") and found.members["day"][-1].startswith("10.wav@")
