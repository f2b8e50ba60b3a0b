"""`toolkit finetune` as a user meets it: from a probe run or by hand, stopped and resumed, refused plainly."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.torch import load_file

from tests import children
from tests.finetune.conftest import finetune, relabelled
from toolkit.core.artifacts import sha256_of_file
from toolkit.corpus import manifest
from toolkit.finetune.assemble import one_name
from toolkit.result import run_files
from toolkit.result.kinds import headline_score
from toolkit.result.predictions import Predictions

Run = Callable[..., tuple[int, str, str]]


def test_from_a_probe_run_it_takes_backbone_task_folds_and_each_rounds_layer(
    run: Run, study: Path, probed: Path
) -> None:
    code, out, err = finetune(run, study, "--from", probed.name, "--save-weights")
    assert code == 0, err
    (folder,) = (study / "result").glob("high-tiny-hubert-finetune-full-*")
    done, probe = run_files.read(folder), run_files.read(probed)
    assert done.probe == "finetune-full" and "36 clips predicted" in out
    assert done.folds.sha256 == probe.folds.sha256 and done.predictions.ids == probe.predictions.ids
    assert done.provenance["folds"] == probe.provenance["folds"] and done.provenance["from"] == probed.name
    assert [choice.setting["layer"] for choice in done.choices] == [choice.layer for choice in probe.choices]
    for name in ("statistics", "class_weights"):  # of each round, as its probe chose them
        own = [choice.setting[name] for choice in done.choices]
        assert own == [choice.setting[name] for choice in probe.choices] == done.provenance[name]
    assert done.provenance["learnt_from"] == "train+development" and done.provenance["recipe"]["refit_on_development"]
    assert (done.provenance["seed"], done.provenance["deal"]) == (0, done.folds.seed)
    assert done.predictions.score is not None and "score:high" in (folder / "predictions.csv").read_text()
    cost = {name: done.provenance[name] for name in ("trained_parameters", "parameters", "seconds", "learning_seconds",
            "peak_memory_bytes", "bytes_on_disk", "audio_seconds", "heard_seconds")}  # fmt: skip
    assert all(value > 0 for value in cost.values())
    assert cost["learning_seconds"] < cost["seconds"] and cost["trained_parameters"] < cost["parameters"]
    assert cost["bytes_on_disk"] == sum(path.stat().st_size for path in (folder / "weights").iterdir())
    clips = sum(soundfile.info(path).duration for path in study.glob("*.wav"))
    assert cost["audio_seconds"] == pytest.approx(clips, abs=0.1)
    for name in ("predictions.csv", "metrics.json", "report.html", "figures/layers.json"):
        assert (folder / name).stat().st_size > 0
    epochs = list(csv.DictReader((folder / "history.csv").read_text(encoding="utf-8").splitlines()))
    assert [(int(row["fold"]), int(row["epoch"])) for row in epochs][:3] == [(0, epoch) for epoch in range(3)]
    assert all((row["training_loss"] == "") == (row["epoch"] == "0") for row in epochs)
    for choice in done.choices:
        losses = [float(row["development_loss"]) for row in epochs if row["fold"] == str(choice.fold)]
        assert min(losses) == pytest.approx(choice.loss, rel=1e-5)
    assert "; training loss 0." in err and " s, at most " in err
    for fold in range(3):
        kept = json.loads((folder / "weights" / f"round-{fold}.json").read_text())
        weights = folder / "weights" / f"round-{fold}.safetensors"
        assert kept["sha256"] == sha256_of_file(weights) and "out.weight" in load_file(weights)
        (round_,) = (one for one in done.folds.rounds() if one.fold == fold)
        truth = done.predictions.truth[np.union1d(round_.train, round_.development)]  # in the folds' order
        assert kept["bars"] == [1 - truth.mean(), truth.mean()]
    assert not [path.name for path in folder.iterdir() if path.name in (".training", "rounds")]
    assert not [path.name for path in folder.rglob("*") if path.suffix in (".pt", ".pth", ".bin")]
    assert str(study) not in (folder / "run.json").read_text() + (folder / "report.html").read_text() + out + err

    code, again, err = finetune(run, study, "--from", probed)
    assert code == 0 and "is finished already" in err and again == out
    assert run("score", folder / "predictions.csv")[0] == 0


def test_killed_again_and_again_it_ends_with_the_same_predictions_and_weights(study: Path, tmp_path: Path) -> None:
    options = (
        "--folds 3 --save-weights --epochs 2 --head-epochs 2 --batch-size 4 --dtype float32 --device cpu --workers 1"
    )
    stops = ("round-0/selection/trusted.json", "round-1/selected.json")
    words = ["finetune", "--model", "tiny-hubert", "--target", "high", *options.split()]
    ended: list[dict[str, bytes]] = []
    for kills in (0, 2):
        workspace = tmp_path / str(kills)
        shutil.copytree(study, workspace, ignore=shutil.ignore_patterns("result", "features"))
        words_there = [*words, "-w", str(workspace)]
        for number in range(kills):
            child = children.start(children.command, words_there)
            children.killed_once_there(child, workspace, f"result/*/.training/{stops[number]}")
        assert children.ended(children.start(children.command, words_there)) == 0
        (folder,) = workspace.glob("result/high-tiny-hubert-finetune-*")
        names = ("predictions.csv", "layers.safetensors", *(f"weights/round-{fold}.safetensors" for fold in range(3)))
        ended.append({name: (folder / name).read_bytes() for name in names})
    assert ended[0] == ended[1]


def test_a_clip_that_cannot_be_decoded_is_named_and_left_out(run: Run, study: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "damaged"
    shutil.copytree(study, workspace, ignore=shutil.ignore_patterns("result", "features"))
    cut = workspace / "5.wav"
    cut.write_bytes(cut.read_bytes()[:-300])
    code, out, err = finetune(
        run, workspace, "--model", "tiny-hubert", "--target", "high", "--folds", 3, "--train", "head", "--epochs", 1
    )
    assert code == 3 and "failed: clip 'clip5' ends early" in err and "35 clips predicted" in out
    (folder,) = (workspace / "result").glob("high-tiny-hubert-finetune-head-*")
    assert list(run_files.read(folder).left_out) == ["clip5"]


def test_a_clip_that_failed_in_extraction_is_left_out_here_too(
    run: Run, study: Path, probed: Path, tmp_path: Path
) -> None:
    whole = run_files.read(probed)

    def without_first(p: Predictions) -> Predictions:
        arrays = (p.fold[1:], p.truth[1:], p.prediction[1:], p.probability[1:])
        return Predictions(p.task, p.ids[1:], p.groups[1:], *arrays, p.group)

    first = whole.predictions.ids[0]
    lacking = replace(
        whole,
        folds=whole.folds.without({first}),
        predictions=without_first(whole.predictions),
        layers={layer: without_first(own) for layer, own in whole.layers.items()},
        left_out={first: "ends early"},
    )
    run_files.write(tmp_path / "lacking", lacking)
    code, _, err = finetune(
        run, study, "--from", tmp_path / "lacking", "--train", "head", "--depth", "full", "--epochs", 1
    )
    assert code == 0, err
    (folder,) = (study / "result").glob("high-tiny-hubert-finetune-head-*")
    done = run_files.read(folder)
    assert done.left_out == {first: "ends early"} and done.predictions.ids == lacking.predictions.ids
    code, out, err = run("compare", tmp_path / "lacking", folder, "-w", study)
    assert code == 0 and "linear probe" in out and "fine-tuned, head" in out
    (page,) = (study / "result").glob("high-compare-*/report.html")
    assert "points of unweighted average recall (UAR" in page.read_text()


def test_several_labels_one_of_which_never_occurs(run: Run, study: Path) -> None:
    words = ("--model", "tiny-whisper", "--target", "high,noisy,never", "--folds", 3, "--context", "clip", "--layer", 1)
    code, out, err = finetune(run, study, *words, "--train", "top-1", "--epochs", 1)
    assert code == 0, err
    assert "'never' does not vary in the training clips; it is predicted at its prevalence" in " ".join(out.split())
    (folder,) = (study / "result").glob("*finetune-top-1-*")
    assert not run_files.read(folder).predictions.prediction[:, 2].any()


def test_a_fold_without_positives_is_named_and_a_round_that_cannot_learn_the_label_gives_its_prevalence(
    run: Run, study: Path, tmp_path: Path
) -> None:
    words = relabelled(study, tmp_path, "rare", lambda number, speaker: int(speaker == "s0" and number % 2))
    code, out, err = finetune(run, study, *words, "--target", "high,noisy,rare", "--train", "head", "--epochs", 1)
    assert code == 0, err
    (folder,) = (study / "result").glob("high+noisy+rare-tiny-hubert-finetune-head-*")
    done = run_files.read(folder)
    column = done.predictions.truth[:, 2]
    (home,) = set(done.predictions.fold[column == 1].tolist())  # the one fold that has positives
    output = " ".join(out.split())
    for round_ in done.folds.rounds():
        sentence = f"In the round that tests fold {round_.fold} 'rare' does not vary in the training clips; "
        late = f"{sentence}until the epoch is chosen, it is predicted at its prevalence."
        never = f"{sentence}it is predicted at its prevalence."
        trained, developed = (column[part].any() for part in (round_.train, round_.development))
        assert (late in output, never in output) == (developed, round_.fold == home) and trained == (
            sentence not in output
        )
        given = done.predictions.probability[done.predictions.fold == round_.fold, 2]
        assert (given == 0).all() == (round_.fold == home)
    scores = json.loads((folder / "metrics.json").read_text())["labels"]["rare"]
    assert scores["recall"]["estimate"] == 0.0  # all its positives are tested by a round that never saw one


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--folds", 3), "--folds 3 has no effect: the manifest's split column deals the clips out; leave it out"),
        (("--repeats", 2), "--repeats deals the folds anew, and the manifest's split column fixes them"),
    ],
)
def test_folds_that_a_split_column_numbers_are_not_dealt_otherwise(
    run: Run, study: Path, tmp_path: Path, words: tuple[object, ...], sentence: str
) -> None:
    rows = [(f"c{k}", f"{k}.wav", f"s{k % 3}", str(k // 3 % 2), str(k % 3)) for k in range(12)]
    manifest.write(tmp_path / "numbered.csv", ("id", "path", "speaker", "high", "split"), rows)
    numbered = ("--manifest", tmp_path / "numbered.csv", "--audio-root", study)
    code, _, err = run("finetune", "--model", "tiny-hubert", "--target", "high", *numbered, *words, "-w", study)
    assert code == 2 and sentence in err


def test_a_round_whose_probe_chose_too_low_a_layer_trains_the_head_alone_and_says_so(
    run: Run, study: Path, probed: Path, tmp_path: Path
) -> None:
    whole = run_files.read(probed)
    layers = {"encoder.0": whole.predictions, **whole.layers}
    low = (replace(whole.choices[0], layer="encoder.0"), *whole.choices[1:])
    development = {**whole.development, "encoder.0": (0.5, 0.5, 0.5)}
    losses = {**whole.losses, "encoder.0": (0.5, 0.5, 0.5)}
    low_run = replace(whole, layers=layers, development=development, losses=losses, choices=low)
    run_files.write(tmp_path / "low", low_run)
    words = ("--from", tmp_path / "low", "--train", "lora", "--top", 2, "--epochs", 1, "--head-epochs", 2)
    code, out, err = finetune(run, study, *words)
    assert code == 0, err
    sentence = (
        "In the round that tests fold 0 the probe chose encoder.0, too low for --train lora; that round trains the"
    )
    assert " ".join(out.split()).count(sentence) == 1
    found = {}
    for folder in (study / "result").glob("high-tiny-hubert-finetune-lora-*"):
        done = run_files.read(folder)
        found[done.choices[0].setting["layer"]] = done
    first = found["encoder.0"]
    assert [choice.setting["train"] for choice in first.choices] == ["head", "lora", "lora"]
    assert [*map(str, first.notes)] == [f"{sentence} head alone."] and len(first.predictions.ids) == 36
    assert "head, lora, lora" in out  # the two rows differ in it


def test_seeds_are_runs_of_one_series_and_their_spread_is_shown(run: Run, study: Path, tmp_path: Path) -> None:
    head, *rows = (study / "manifest.csv").read_text().splitlines()
    two_of_each_speaker = [row for number, row in enumerate(rows) if number % 18 < 6]
    (tmp_path / "few.csv").write_text("\n".join([head.replace("high", "even"), *two_of_each_speaker, ""]))
    words = ("--manifest", tmp_path / "few.csv", "--audio-root", study, "--model", "tiny-hubert", "--target", "even",
             "--folds", 3, "--train", "head", "--seed", 4, "--epochs", 1, "--head-epochs", 2)  # fmt: skip
    code, out, err = finetune(run, study, *words, "--seeds", 2, "--repeats", 2)
    assert code == 0, err
    done = [run_files.read(path) for path in (study / "result").glob("even-tiny-hubert-finetune-head-*")]
    assert sorted((one.provenance["deal"], one.provenance["seed"]) for one in done) == [(4, 4), (4, 5), (5, 4), (5, 5)]
    assert len({one.provenance["series"] for one in done}) == 1 and len({one.folds.sha256 for one in done}) == 2
    rows = [line for line in out.splitlines() if "even-tiny-hubert-finetune-head-" in line and "report" not in line]
    scores = [headline_score(one.task, one.predictions.truth, one.predictions.prediction) for one in done]
    mean, deviation = np.mean(scores), np.std(scores, ddof=1)
    sentence = f"UAR {mean:.3f} on average over 4 runs (2 deals of the folds, 2 training seeds), standard deviation "
    sentence += f"{deviation:.3f}"
    assert len(rows) == 4 and sentence in out and "folds' seed" in out


def test_the_layers_of_all_rounds_have_one_name() -> None:
    assert one_name(["decoder.2", "encoder.3"]) == "decoder.2/encoder.3"
