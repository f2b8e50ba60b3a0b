"""Several layers of one probe run, a search in every round, and recordings cut into windows."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tests.finetune.conftest import fewer, finetune, make_job
from toolkit.core.artifacts import STUDY_FILE
from toolkit.core.study_file import StudyFile
from toolkit.corpus.manifest import Manifest
from toolkit.finetune import epochs
from toolkit.finetune.options import Recipe
from toolkit.finetune.origin import layers_by_rank
from toolkit.finetune.search import Search, settle
from toolkit.models.checkpoint import Checkpoint
from toolkit.result import run_files

Run = Callable[..., tuple[int, str, str]]
SEARCH = Search(4, ("full", "head"))
BRIEF = ("--epochs", 1, "--head-epochs", 2)


def test_top_trains_each_rounds_best_layers_and_says_how_they_did(run: Run, study: Path, probed: Path) -> None:
    code, out, err = finetune(run, study, "--from", probed.name, "--top", 2, "--train", "head", *BRIEF)
    assert code == 0, err
    folders = list((study / "result").glob("high-tiny-hubert-finetune-head-*"))
    layers = {tuple(choice.setting["layer"] for choice in run_files.read(folder).choices) for folder in folders}
    assert layers == {("encoder.1", "encoder.2", "encoder.1"), ("encoder.2", "encoder.1", "encoder.2")}
    table = out[out.index("each round's layer") :]
    assert "test UAR" in table
    assert all(folder.name in table for folder in folders) and table.index("1, 2, 1") < table.index("2, 1, 2")
    code, _, err = finetune(run, study, "--from", probed.name, "--top", 3)
    assert code == 2 and f"--top 3: {probed.name} has 2 layers" in err
    code, _, err = finetune(run, study, "--from", probed.name, "--top", 2, "--depth", "full")
    assert code == 2 and "--depth full the whole backbone; give one" in err


def test_a_layers_place_in_a_round_is_by_what_that_round_chose_by(probed: Path) -> None:
    run = run_files.read(probed)
    losses = {"encoder.0": (0.9, 0.1, 0.9), "encoder.1": (0.5, 0.8, 0.5), "encoder.2": (0.6, 0.2, 0.6)}
    layers, development = dict.fromkeys(losses, run.predictions), dict.fromkeys(losses, (0.5, 0.5, 0.5))
    places = layers_by_rank(replace(run, losses=losses, development=development, layers=layers), "it")
    assert [[place[fold] for place in places] for fold in range(3)] == [
        ["encoder.1", "encoder.2", "encoder.0"],
        ["encoder.2", "encoder.0", "encoder.1"],
        ["encoder.1", "encoder.2", "encoder.0"],
    ]


def searched(
    manifest: Manifest, checkpoint: Checkpoint, folder: Path, stop_at: str = "never"
) -> tuple[tuple[Recipe, str], list[optuna.trial.FrozenTrial]]:
    """The first round's search, and its trials; interrupted at the sentence that says `stop_at`."""
    job, question = make_job(manifest, checkpoint, recipe=Recipe(epochs=4, batch_size=4, head_epochs=0))
    round_ = fewer(next(iter(question.folds.rounds())))
    folder.mkdir(exist_ok=True)

    def say(sentence: str) -> None:
        if stop_at in sentence:
            raise KeyboardInterrupt

    file = StudyFile(folder / STUDY_FILE)
    found = settle(job, round_, "encoder.2", SEARCH, file, "signature", folder / "trial", say)
    return found, file.kept(f"round-{round_.fold}")


def test_a_search_sees_no_test_clip_and_goes_on_where_it_was_stopped(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, question = make_job(manifest_of, checkpoints["hubert-group"])
    round_ = fewer(next(iter(question.folds.rounds())))
    seen: set[int] = set()
    plain, learnt = epochs.scored, epochs.collate
    monkeypatch.setattr(epochs, "scored", lambda job, model, clips: (seen.update(clips), plain(job, model, clips))[1])
    monkeypatch.setattr(epochs, "collate", lambda *given: (seen.update(given[-1]), learnt(*given))[1])
    (recipe, layer), trials = searched(manifest_of, checkpoints["hubert-group"], tmp_path / "whole")
    assert seen == set(round_.train) | set(round_.development)
    assert trials[0].params == {"train": "full", "factor": 1.0, "depth": 2}
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    best = min(done, key=lambda trial: (trial.value, trial.number))
    assert (recipe.train, layer) == (best.params["train"], f"encoder.{best.params['depth']}")
    assert recipe.rate == pytest.approx(best.params["factor"] * Recipe(recipe.train).rate)
    with pytest.raises(KeyboardInterrupt):
        searched(manifest_of, checkpoints["hubert-group"], tmp_path / "stopped", "trial 3 of 4")
    again, others = searched(manifest_of, checkpoints["hubert-group"], tmp_path / "stopped")
    assert again == (recipe, layer)
    same = [(trial.params, trial.value, trial.state, trial.intermediate_values) for trial in trials]
    assert same == [(trial.params, trial.value, trial.state, trial.intermediate_values) for trial in others]


def test_a_trial_below_the_median_is_given_up(
    manifest_of: Manifest, checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([*[0.1] * 4, *[0.2] * 4, *[0.9] * 3, *[0.05] * 4])
    monkeypatch.setattr(epochs.KeepBest, "_loss", lambda *_: next(losses))
    _, trials = searched(manifest_of, checkpoints["hubert-group"], tmp_path)
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE", "PRUNED", "COMPLETE"]


def test_every_round_trains_what_its_search_found(run: Run, study: Path) -> None:
    words = ("--model", "tiny-hubert", "--target", "high", "--folds", 3)
    code, _, err = finetune(run, study, *words, "--search", 2, "--train", "head,lora", *BRIEF)
    assert code == 0 and "trial 2 of 2" in err, err
    (folder,) = (study / "result").glob("high-tiny-hubert-finetune-search-*")
    done = run_files.read(folder)
    names = optuna.get_all_study_names(JournalStorage(JournalFileBackend(str(folder / STUDY_FILE))))
    assert done.probe == "finetune-search" and sorted(names) == ["round-0", "round-1", "round-2"]
    assert {choice.setting["train"] for choice in done.choices} <= {"head", "lora"}
    whisper = ("--model", "tiny-whisper", *words[2:])
    code, _, err = finetune(run, study, *whisper, "--search", 2, "--train", "full,encoder-frozen")
    assert code == 2 and "needs all of it" in err
    code, _, err = finetune(run, study, *words, "--search", 2, "--train", "full,all")
    assert code == 2 and "Bad --train 'all'" in err
    code, _, err = finetune(run, study, *words, "--search", 2, "--train", "full,top-9")
    assert code == 2 and "--train top-9 needs 9 layers" in err


def test_recordings_are_cut_into_windows_that_stay_with_their_speaker(run: Run, study: Path) -> None:
    words = ("--model", "tiny-hubert", "--target", "high", "--folds", 3, "--train", "head", "--window", "0.2")
    code, out, err = finetune(run, study, *words, "--hop", "0.1", *BRIEF)
    assert code == 0, err
    (folder,) = (path for path in (study / "result").glob("high-tiny-hubert-finetune-head-*")
                 if run_files.read(path).provenance["windows"])  # fmt: skip
    done = run_files.read(folder)
    assert done.provenance["windows"] == {"seconds": 0.2, "hop": 0.1}
    assert f"{len(done.predictions.ids)} clips predicted" in out and "clip0@0-0.2" in done.predictions.ids
    folds = {}
    for clip, fold in zip(done.predictions.ids, done.predictions.fold):
        folds.setdefault(clip.split("@")[0], set()).add(int(fold))
    assert len(folds) == 36 and all(len(own) == 1 for own in folds.values())
    assert np.isfinite(done.predictions.probability).all()
    code, _, err = finetune(run, study, *words[:-2], "--hop", "0.1")
    assert code == 2 and "--hop 0.1 without --window" in err
