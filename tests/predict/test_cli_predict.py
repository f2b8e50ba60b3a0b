"""`toolkit predict` as a user meets it: the run's own bits back, new audio, long recordings, refusals."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import toolkit
from tests.conftest import Run
from tests.models import tiny
from toolkit.core.artifacts import signature
from toolkit.corpus import manifest as manifests
from toolkit.corpus.evaluation_task import build_task
from toolkit.corpus.manifest import read
from toolkit.extract.options import Options
from toolkit.extract.run import extract
from toolkit.finetune.options import Recipe
from toolkit.finetune.origin import by_hand
from toolkit.finetune.rounds import OWN_HASH
from toolkit.finetune.run import Options as Tuning
from toolkit.finetune.run import finetune
from toolkit.models.checkpoint import locate
from toolkit.probe.apply import store_of
from toolkit.probe.run_folder import Options as Probing
from toolkit.probe.run_folder import sweep
from toolkit.result import run_files
from toolkit.result.predictions_reader import read_csv
from toolkit.result.probability_metrics import measure

TARGETS = {"linear": "kind", "mix": "high,noisy"}


@pytest.fixture(scope="module")
def study(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with probe runs, named linear-... and mix-..., and a fine-tuned one."""
    folder = tmp_path_factory.mktemp("predicting") / "workspace"
    shutil.copytree(corpus, folder)
    tiny.hubert(folder / "models" / "tiny-hubert")
    corpus_of, checkpoint = read(folder / "manifest.csv"), locate("tiny-hubert", folder / "models")
    options = Options(dtype="float32", device="cpu", workers=1)
    store = extract(corpus_of, checkpoint, folder / "features", options).store
    for probe, target in TARGETS.items():
        asked = Probing(probe, trials=2, workers=1)
        sweep(
            store, build_task(corpus_of, target, 3, 0), asked, folder / "result", {"packages": {}}, (), lambda *_: None
        )
    source = by_hand(checkpoint, None, build_task(corpus_of, "high", 3, 0), 1, None, "head")
    tuning = Tuning(Recipe("head", epochs=1, dtype="float32"), device="cpu", workers=1, save_weights=True)
    finetune(corpus_of, source, tuning, folder / "result", {"packages": {}})
    return folder


def runs(study: Path) -> dict[str, Path]:
    return {run_files.read(path).probe: path for path in (study / "result").iterdir() if path.name != "folds"}


def predict(run: Run, study: Path, *more: object) -> tuple[int, str, str]:
    return run("predict", "-w", study, "--device", "cpu", "--workers", 1, *more)


def made(study: Path) -> Path:
    """The folder of the newest predictions."""
    return max((study / "predictions").iterdir(), key=lambda path: path.stat().st_mtime_ns)


@pytest.mark.parametrize("kind", ["linear", "mix", "finetune-head"])
def test_the_runs_own_clips_get_the_runs_own_predictions_bit_for_bit(run: Run, study: Path, kind: str) -> None:
    folder = runs(study)[kind]
    code, out, err = predict(run, study, "--from", folder.name, "--manifest", study / "manifest.csv")
    assert code == 0 and "the run's own: 36 of 36 clips" in err and "the truth is known" in out
    again, own = read_csv(made(study) / "predictions.csv"), run_files.read(folder).predictions
    assert again.ids == own.ids and again.groups == own.groups
    np.testing.assert_array_equal(again.probability, own.probability)
    np.testing.assert_array_equal(again.prediction, own.prediction)
    np.testing.assert_array_equal(again.truth, own.truth)
    assert again.score is not None and own.score is not None
    np.testing.assert_array_equal(again.score, own.score)  # clips of different rounds are ranked by it
    np.testing.assert_array_equal(again.fold, own.fold)
    assert measure(again) == measure(own)
    paper = read_csv(made(study) / "paper.csv", own.task)
    np.testing.assert_array_equal(paper.prediction, own.prediction)
    assert run("score", made(study) / "predictions.csv")[0] == 0
    assert str(study) not in out + err + (made(study) / "predict.json").read_text()
    assert not list((study / "predictions").glob(".*"))

    one = predict(run, study, "--from", folder, study / "7.wav", "--output", study / "predictions" / f"one-{kind}")
    assert one[0] == 0 and "the run's own: 1 of 1 clip;" in one[2]
    with (study / "predictions" / f"one-{kind}" / "predictions.csv").open() as file:
        (row,) = csv.DictReader(file)
    mine = [float(row[f"probability:{label}"]) for label in own.task.labels]
    assert np.array_equal(np.float32(mine), own.probability[own.ids.index("clip7")].astype(np.float32))


@pytest.mark.parametrize("kind", ["linear", "mix", "finetune-head"])
def test_a_long_new_recording_gets_a_timeline_from_the_mean_of_all_rounds(run: Run, study: Path, kind: str) -> None:
    sounds = [soundfile.read(study / f"{number}.wav")[0] for number in (0, 1, 2, 3, 5)]
    calls = study / "calls"
    calls.mkdir(exist_ok=True)
    soundfile.write(calls / "call one.wav", np.concatenate(sounds), 16_000)
    (calls / "broken.wav").write_bytes((calls / "call one.wav").read_bytes()[:9_000])
    words = ("--from", runs(study)[kind].name, calls, "--window", 0.4, "--hop", 0.2)
    code, out, err = predict(run, study, *words)
    assert code == 3 and "failed: clip 'broken.wav'" in err and "mean of 3 rounds' models" in err
    folder = made(study)
    with (folder / "timeline.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["recording"] for row in rows} == {"call one.wav"}
    assert float(rows[-1]["end"]) == pytest.approx(sum(map(len, sounds)) / 16_000, abs=1e-3)
    assert [row["end"] for row in rows[:-1]] == [row["start"] for row in rows[1:]]
    with (folder / "summary.csv").open() as file:
        (total,) = csv.DictReader(file)
    assert float(total["seconds"]) == pytest.approx(float(rows[-1]["end"])) and total["negative_share"] == ""
    track = (folder / "tracks" / "call_one.wav.txt").read_text().splitlines()
    assert all(len(line.split("\t")) == 3 for line in track) and len(track) <= 2 * len(rows)
    assert "call one.wav" in (folder / "timeline.html").read_text() and "changes" in out
    assert list(json.loads((folder / "predict.json").read_text())["failed"]) == ["broken.wav"]
    assert not (folder / "paper.csv").exists() and not list(folder.parent.glob(".*"))

    code, _, err = predict(run, study, *words)
    assert code == 3 and "is finished already" in err
    before = {path.name: path.read_bytes() for path in folder.glob("*.*") if path.name != "predict.json"}
    code, out, err = predict(run, study, *words, "--language", "zh")
    assert code == 3 and "is finished already" not in err and f"{folder.name}/timeline.zh.html" in out
    assert "call one.wav" in (folder / "timeline.zh.html").read_text() and (folder / "figures.zh").is_dir()
    assert {name: (folder / name).read_bytes() for name in before} == before  # the same numbers, and the English page
    code, _, err = predict(run, study, *words, "--language", "zh")
    assert code == 3 and "is finished already" in err
    code, _, err = predict(run, study, *words, "--round", 2)
    assert code == 3 and "the model of round 2" in err


def test_a_run_of_one_channel_hears_that_channel_of_other_calls(run: Run, study: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    operator = 0.2 * generator.standard_normal(160_000)
    mono = read(study / "manifest.csv")
    rows = []
    for clip, speaker, high in zip(mono.clips, mono.cells("speaker"), mono.cells("high")):
        caller, rate = soundfile.read(study / clip.path)
        soundfile.write(tmp_path / clip.path, np.stack([operator[: len(caller)], caller], axis=1), rate)
        rows.append((clip.id, clip.path, "1", speaker, high))
    manifests.write(tmp_path / "manifest.csv", ("id", "path", "channel", "speaker", "high"), rows)
    shutil.copytree(study / "models", tmp_path / "models")
    calls, checkpoint = read(tmp_path / "manifest.csv"), locate("tiny-hubert", tmp_path / "models")
    store = extract(calls, checkpoint, tmp_path / "features", Options(dtype="float32", device="cpu", workers=1)).store
    asked, question = Probing("linear", trials=2, workers=1), build_task(calls, "high", 3, 0)
    made_by = sweep(store, question, asked, tmp_path / "result", {"packages": {}}, (), lambda *_: None).run
    assert made_by.provenance["material"]["channels"] == (1,)

    voice = np.concatenate([soundfile.read(study / f"{number}.wav")[0] for number in range(6)])
    voice = np.concatenate([voice, 1e-5 * generator.standard_normal(16_000)])  # the caller is silent at the end
    (tmp_path / "new").mkdir()
    soundfile.write(tmp_path / "new" / "stereo.wav", np.stack([operator[: len(voice)], voice], axis=1), 16_000)
    soundfile.write(tmp_path / "new" / "mono.wav", voice, 16_000)
    found, said = {}, {}
    for name, file, more in (
        ("run", "stereo", ()), ("mono", "mono", ()), ("other", "stereo", ("--channel", 0)),
        ("average", "stereo", ("--channel", "average")), ("wrong", "mono", ("--channel", 1)),
    ):  # fmt: skip
        out = tmp_path / name
        words = ("predict", "-w", tmp_path, "--device", "cpu", "--workers", 1, "--from", "high", "--window", 0.4)
        code, _, said[name] = run(*words, tmp_path / "new" / f"{file}.wav", "--output", out, *more)
        assert code == (2 if name == "wrong" else 0), said[name]
        if not code:
            with (out / "summary.csv").open() as text:
                (found[name],) = csv.DictReader(text)
            found[name]["recording"] = ""
    assert "channel 1 of 1 of 1 recordings, as all of the run's clips are" in said["run"]
    assert found["run"] == found["mono"] != found["other"] and found["average"] != found["run"]
    assert float(found["run"]["no_speech_seconds"]) == pytest.approx(0.8, abs=0.2)
    assert float(found["average"]["no_speech_seconds"]) == 0  # the operator speaks on
    assert "mind: " in said["average"] and "are the average of several channels" in said["average"]
    assert "mind: " not in said["run"] + said["mono"] + said["other"]
    assert "channel 1 asked for, the file has 1" in said["wrong"]
    assert "What is predicted is 0.4 s long (median) and what the models learnt from" in said["run"]
    assert "What is predicted is 0.4 s long" in " ".join(
        json.loads((tmp_path / "run" / "predict.json").read_text())["notes"]
    )


def test_what_cannot_be_predicted_with_is_refused(run: Run, study: Path, tmp_path: Path) -> None:
    folders, sound = runs(study), study / "1.wav"
    linear = ("--from", folders["linear"].name)
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "linked").symlink_to(study)
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "out.wav").symlink_to(sound)
    for words, code, sentence in (
        ((*linear,), 2, "audio files or folders, or --manifest"),
        ((*linear, sound, "--manifest", study / "manifest.csv"), 2, "one of the two"),
        ((*linear, sound, "--output", tmp_path), 2, "nothing is written over"),
        ((*linear, sound, "--round", 3), 2, "Bad --round 3, expected one of [0, 1, 2]"),
        ((*linear, sound, "--negative", "high"), 2, "--negative 'high' where no recording is cut into windows"),
        ((*linear, sound, "--window", 1, "--negative", "sad"), 2, "Bad --negative 'sad'"),
        ((*linear, sound, "--hop", 1), 2, "without --window"),
        ((*linear, sound, "--device", "tpu"), 2, "Bad device 'tpu'"),
        ((*linear, sound, "--output", study / "."), 2, f"{study.name} is there already"),
        ((*linear, tmp_path / "pipe.wav"), 2, "pipe.wav is not a regular file"),
        ((*linear, tmp_path / "linked"), 2, "linked is a link to a folder"),
        ((*linear, tmp_path / "inside"), 2, "out.wav is a link that leaves inside/"),
        ((*linear, tmp_path / "nowhere.wav"), 2, "nowhere.wav cannot be read: No such file"),
        (("--from", "nothing", sound), 2, "Bad run 'nothing'"),
    ):
        found, _, err = predict(run, study, *words)
        assert (found, sentence in err) == (code, True), (words, err)
        assert str(tmp_path) not in err


def test_models_of_another_run_or_none_and_another_backbone_are_refused(run: Run, study: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "changed"
    shutil.copytree(study, workspace, ignore=shutil.ignore_patterns("predictions", "features"))
    folders, new = runs(workspace), workspace / "new.wav"
    soundfile.write(new, np.sin(np.arange(8_000) / 9), 16_000)
    weights = folders["finetune-head"] / "weights"
    described = json.loads((weights / "round-1.json").read_text())

    def refused(kind: str, sentence: str) -> None:
        code, _, err = predict(run, workspace, "--from", folders[kind].name, new)
        assert code in (2, 4) and sentence in err, err

    (weights / "round-1.json").write_text(json.dumps({**described, "epoch": 7}))
    refused("finetune-head", "round-1.json is damaged, or of an older version: ValueError('it has been changed")
    other = {name: value for name, value in described.items() if name != OWN_HASH} | {"seed": 1}
    (weights / "round-1.json").write_text(json.dumps({**other, OWN_HASH: signature(other)}))
    refused("finetune-head", "the model of another run: its seed")
    (weights / "round-1.json").write_text(json.dumps(described))
    (weights / "round-1.safetensors").write_bytes(b"damaged")
    refused("finetune-head", "round-1.safetensors is damaged")
    shutil.rmtree(weights)
    refused("finetune-head", "kept no weights; fine-tune with --save-weights")
    index = folders["linear"] / "winners" / "winners.json"
    index.write_text(index.read_text().replace('"C": ', '"C": 1'))
    refused("linear", "winners.json is no index of saved winners, or is damaged: it has been changed")
    content = json.loads(index.read_text())
    del content["sha256"]
    index.write_text(json.dumps({**content, "sha256": signature(content)}))
    refused("linear", "holds the probes of another run")
    shutil.rmtree(folders["linear"] / "winners")
    refused("linear", "winners/ lacks winners.json")
    shutil.rmtree(workspace / "models" / "tiny-hubert")
    tiny.hubert(workspace / "models" / "tiny-hubert", seed=1)
    (workspace / "models" / "tiny-hubert.pin.json").unlink()  # as if its new weights had been accepted
    refused("mix", "other weights than those that")


def test_the_final_probe_is_the_estimator_of_all_clips_and_is_said_to_be_untested(run: Run, study: Path) -> None:
    folders = runs(study)
    code, _, err = predict(run, study, "--from", folders["linear"], study / "1.wav", study / "2.wav", "--final")
    assert code == 0 and "what it scores on new callers was not measured" in err and "2 of 2 clips taught it" in err
    with (made(study) / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["final", "final"]
    done = run_files.read(folders["linear"])
    fitted = toolkit.open(study).result(str(folders["linear"])).estimator()  # type: ignore[attr-defined]
    store = store_of(done, study / "features")
    assert store is not None
    layer, own = store.layer(fitted.layer), [store.ids.index(clip) for clip in ("clip1", "clip2")]
    expected = fitted.predict_proba(np.concatenate([layer.mean[own], layer.std[own]], axis=1))
    found = [[float(row[f"probability:{label}"]) for label in done.task.labels] for row in rows]
    np.testing.assert_array_equal(np.float32(found), np.float32(expected))
    assert json.loads((made(study) / "predict.json").read_text())["final"] is True
    code, _, err = predict(run, study, "--from", folders["finetune-head"], study / "1.wav", "--final")
    assert code == 2 and "--final fits a probe on all clips" in err
