"""What `toolkit finetune` refuses, in a sentence each."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run
from tests.finetune.conftest import finetune, relabelled
from tests.models import tiny
from toolkit.core.errors import SplitError
from toolkit.corpus import manifest
from toolkit.corpus.labels import Task
from toolkit.corpus.splits import Folds
from toolkit.finetune import resume
from toolkit.finetune.checks import check_learnable
from toolkit.result import run_files


def test_a_checkpoint_that_is_not_byte_for_byte_what_was_written_is_not_opened(tmp_path: Path) -> None:
    def made() -> Path:
        folder = tmp_path / "round-0"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "checkpoint-3").mkdir(parents=True)
        (folder / "checkpoint-3" / "optimizer.pt").write_bytes(b"as it was")
        (folder / "best-1.safetensors").write_bytes(b"weights")
        resume.write_best(folder, 0.5, 1.0, 1)
        resume.write(folder, folder / "checkpoint-3", 7.0, 5.0)
        return folder

    found = resume.last(made())
    assert (
        found is not None
        and resume.read_best(tmp_path / "round-0") == (0.5, 1.0, 1)
        and (found.seconds, found.learning) == (7.0, 5.0)
        and found.folder.name == "checkpoint-3"
    )
    for damage in (
        lambda folder: (folder / "checkpoint-3" / "optimizer.pt").write_bytes(b"not what it was"),
        lambda folder: (folder / "checkpoint-3" / "rng_state.pth").write_bytes(b"one more"),
        lambda folder: (folder / "trusted.json").write_text("{"),
        lambda folder: shutil.rmtree(folder / "checkpoint-3"),
    ):
        folder = made()
        damage(folder)
        assert resume.last(folder) is None
    (made() / "best-1.safetensors").write_bytes(b"other weights")
    with pytest.raises(ValueError, match="the best weights are damaged"):
        resume.read_best(tmp_path / "round-0")


def test_runs_that_cannot_be_compared_are_refused_with_the_reason(run: Run, tmp_path: Path) -> None:
    code, _, err = run("compare", "-w", tmp_path)
    assert code == 2 and "No finished run to compare" in err


def test_a_manifest_that_is_named_for_its_groups_must_be_whole(run: Run, study: Path, probed: Path) -> None:
    for name, sentence in (("nothing.csv", "there is no such file"), ("1.wav", "is not UTF-8")):
        code, _, err = run("compare", probed.name, "--manifest", study / name, "-w", study)
        assert code == 2 and sentence in err
    code, _, err = run("compare", "/", "-w", study)
    assert code == 2 and "Bad run '/'" in err


def test_a_round_with_nothing_to_learn_or_to_choose_by_is_refused(run: Run, study: Path, tmp_path: Path) -> None:
    words = relabelled(study, tmp_path, "sole", lambda number, speaker: int(speaker == "s0"))
    code, _, err = finetune(run, study, *words, "--target", "sole", "--train", "head")
    assert code == 2 and "the training clips have nothing to tell apart; take other folds or labels" in err
    # four folds, a label in the first and third: each round can learn, and the first has nothing to choose by
    folds = Folds(tuple("abcd"), tuple("abcd"), np.arange(4), "speaker", 0)
    task = Task("two", "multilabel", ("x", "y"), ("x", "y"))
    with pytest.raises(SplitError, match="that tests fold 0 no label that the training clips teach varies in"):
        check_learnable(task, np.array([[1, 0], [0, 0], [0, 1], [0, 0]]), folds, True)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ((), 2, "--from a probe run, or --model and --target by hand"),
        (("--model", "tiny-hubert"), 2, "--from a probe run, or --model and --target by hand"),
        (("--from", "nothing-there"), 2, "Bad run 'nothing-there'"),
        (("--model", "tiny-hubert", "--target", "high", "--train", "encoder-frozen"), 2, "tiny-hubert has none"),
        (("--model", "tiny-hubert", "--target", "high", "--layer", "7"), 2, "Bad layer 'encoder.7'"),
        (("--model", "", "--target", "high"), 2, "Bad model ''"),
        (("--model", "tiny-hubert", "--target", "high", "--folds", "7"), 2, "--folds 7 needs at least 7"),
        (("--model", "tiny-hubert", "--target", "high", "--depth", "best"), 2, "name it with --from"),
        (
            ("--model", "tiny-hubert", "--target", "high", "--train", "top-9", "--folds", "3"),
            2,
            "ends at encoder.3, after 3",
        ),
    ],
)
def test_each_mistake_is_one_sentence(run: Run, study: Path, words: tuple[str, ...], code: int, sentence: str) -> None:
    found, _, err = finetune(run, study, *words)
    assert found == code and sentence in err.splitlines()[-1] and str(study) not in err, err


def test_a_batch_of_more_clips_than_there_are_is_refused(run: Run, study: Path) -> None:
    words = ("--model", "tiny-hubert", "--target", "high", "--folds", 3, "--device", "cpu", "-w", study)
    code, _, err = run("finetune", *words, "--batch-size", 1_000_000)  # as many repetitions took all memory
    assert code == 2 and "--batch-size 1000000: there are 36 clips" in err


def test_one_speaker_only_is_refused(run: Run, study: Path, tmp_path: Path) -> None:
    rows = [(f"c{k}", f"{k}.wav", "alone", str(k % 2)) for k in range(12)]
    manifest.write(tmp_path / "one.csv", ("id", "path", "speaker", "high"), rows)
    words = ("--manifest", tmp_path / "one.csv", "--audio-root", study, "--model", "tiny-hubert", "--target", "high")
    code, _, err = finetune(run, study, *words)
    assert code == 2 and "the clips have 1" in err


def test_a_probe_run_of_other_folds_labels_or_weights_is_refused(
    run: Run, study: Path, probed: Path, tmp_path: Path
) -> None:
    rows = [line.split(",") for line in (study / "manifest.csv").read_text().splitlines()]
    other = tmp_path / "other.csv"
    words = ("--from", probed.name, "--manifest", other, "--audio-root", study)
    manifest.write(other, rows[0], rows[1:-1])
    code, _, err = finetune(run, study, *words)
    assert code == 2 and "gives other folds" in err
    exchanged = [[*row[:3], str(1 - int(row[3])), *row[4:]] for row in rows[1:]]
    manifest.write(other, rows[0], exchanged)
    code, _, err = finetune(run, study, *words)
    assert code == 2 and ("has other labels" in err or "gives other folds" in err)
    workspace = tmp_path / "workspace"
    shutil.copytree(study, workspace)
    shutil.rmtree(workspace / "models" / "tiny-hubert")
    (workspace / "models" / "tiny-hubert.pin.json").unlink(missing_ok=True)  # as a user who accepts them
    tiny.hubert(workspace / "models" / "tiny-hubert", seed=1)
    code, _, err = finetune(run, workspace, "--from", probed.name)
    assert code == 4 and "other weights" in err


def test_from_takes_probe_runs_alone(run: Run, study: Path, probed: Path) -> None:
    code, _, err = finetune(run, study, "--from", probed.name, "--train", "head", "--epochs", 1, "--head-epochs", 0)
    assert code == 0, err
    (tuned,) = (path for path in (study / "result").glob("high-tiny-hubert-finetune-head-*")
                if run_files.read(path).provenance["from"] == probed.name)  # fmt: skip
    code, _, err = finetune(run, study, "--from", tuned)
    assert code == 2 and f"{tuned.name} is no probe run; --from takes the folder of one" in err
