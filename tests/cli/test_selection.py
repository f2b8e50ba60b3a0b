"""Partly labelled columns and picked labels: left out, counted, shown, and the same from every command."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.test_probe import write_store
from tests.conftest import Run
from tests.models import tiny
from toolkit.corpus import manifest
from toolkit.corpus.spellings import Rules
from toolkit.finetune import origin
from toolkit.result import run as result_run
from toolkit.result import run_files

SPEAKERS, CLIPS = 6, 8
MOODS = ("joy", "anger", "fear", "")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Moods of which a quarter are empty, and three columns of 0 and 1, one of them with gaps."""
    folder = tmp_path_factory.mktemp("selection")
    generator = np.random.default_rng(0)
    n, rows = SPEAKERS * CLIPS, []
    for number in range(n):
        soundfile.write(folder / f"{number}.wav", 0.1 * generator.standard_normal(800), 16_000)
        flags = [str(number // 2 % 2), str(number % 2), "" if number % 8 == 1 else str(number // 4 % 2)]
        rows.append((f"c{number}", f"{number}.wav", f"s{number // CLIPS}", MOODS[number % 4], *flags, "fm"[number % 2]))
    columns = ("id", "path", "speaker", "mood", "sad", "angry", "tired", "sex")
    manifest.write(folder / "manifest.csv", columns, rows)
    mean = generator.standard_normal((2, n, 10))
    mean[1, :, 0] += 4 * (np.arange(n) % 4)
    write_store(folder / "features", "made-up", mean, np.full(n, 0.05))
    return folder


def probe(run: Run, study: Path, target: str, *more: object) -> tuple[int, str, str]:
    words = ("-w", study, "--folds", 3, "--trials", 2, "--workers", 1)
    return run("probe", "-m", "made-up", "-t", target, *words, *more)


def newest(study: Path) -> result_run.Run:
    return run_files.read(max(study.glob("result/*/run.json"), key=lambda path: path.stat().st_mtime_ns).parent)


def asked_again(study: Path, found: result_run.Run) -> None:
    """Fine-tuning finds the very same question in the manifest."""
    question = origin._question(found, "it", manifest.read(study / "manifest.csv"))
    assert question.folds.ids == found.predictions.ids and question.task == found.task


def test_clips_without_a_label_are_refused_by_the_flag_that_leaves_them_out(run: Run, study: Path) -> None:
    code, _, err = probe(run, study, "mood")
    assert code == 2 and "line 5, column 'mood': the label is empty, as in 12 of 48 clips" in err
    assert "--unlabelled skip" in err
    code, out, _ = probe(run, study, "mood", "--unlabelled", "skip", "--nuisance", "sex,sad", "--language", "zh")
    note = "Without a label in 'mood', left out: 12 of 48 clips."
    assert code == 0 and f"note: {note}" in " ".join(out.split())
    found = next(run_files.read(path.parent) for path in study.glob("result/mood-*/run.json"))
    assert found.task.labels == ("anger", "fear", "joy") and len(found.predictions.ids) == 36
    assert note in map(str, found.notes) and found.provenance["rules"]["unlabelled"] == "skip"
    (page,) = study.glob("result/mood-*/report.html")
    (zh,) = study.glob("result/mood-*/report.zh.html")
    assert "left out: 12 of 48 clips" in page.read_text() and "没有标签、因而未计入的片段：12 / 48" in zh.read_text()
    asked_again(study, found)


def test_labels_of_a_column_are_picked(run: Run, study: Path) -> None:
    code, _, err = probe(run, study, "mood", "--unlabelled", "skip", "--labels", "joy,rage")
    assert code == 2 and "Bad --labels 'rage', expected one of ['anger', 'fear', 'joy']" in err
    code, out, _ = probe(run, study, "mood", "--unlabelled", "skip", "--labels", "joy,fear")
    assert code == 0 and "Of 'mood' these labels are picked: joy, fear" in " ".join(out.split())
    found = newest(study)
    assert (found.task.kind, found.task.labels) == ("binary", ("fear", "joy"))
    assert Counter(found.predictions.truth.tolist()) == {0: 12, 1: 12}
    assert found.provenance["rules"]["labels"] == ["joy", "fear"]
    asked_again(study, found)


def test_labels_of_a_target_of_several_columns_are_picked(run: Run, study: Path) -> None:
    assert probe(run, study, "sad,angry,tired")[0] == 2
    code, _, _ = probe(run, study, "sad,angry,tired", "--labels", "angry,sad")  # none of which has a gap
    found = newest(study)
    assert code == 0 and found.task.labels == ("sad", "angry") and len(found.predictions.ids) == 48
    asked_again(study, found)
    code, _, err = probe(run, study, "sad,angry", "--labels", "bad")
    assert code == 2 and "Bad --labels 'bad', expected one of ['sad', 'angry']" in err
    assert probe(run, study, "sad,tired", "--unlabelled", "skip")[0] == 0
    assert len(newest(study).predictions.ids) == 42
    asked_again(study, newest(study))


def test_other_words_and_what_leaves_nothing_are_refused(run: Run, study: Path, tmp_path: Path) -> None:
    code, _, err = probe(run, study, "mood", "--unlabelled", "keep")
    assert code == 2 and "Bad --unlabelled 'keep', expected one of ['refuse', 'skip']" in err
    (study / "empty.csv").write_text("id,path,speaker,mood\nc0,0.wav,s0,\nc1,1.wav,s1,\n")
    code, _, err = probe(run, study, "mood", "--unlabelled", "skip", "--manifest", study / "empty.csv")
    assert code == 2 and "No clip has a label in 'mood'" in err


def test_score_leaves_clips_without_a_truth_out(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_text("id,truth,prediction\n1,joy,joy\n2,,joy\n3,fear,fear\n4,joy,fear\n")
    code, _, err = run("score", file)
    assert code == 2 and "--unlabelled skip" in err
    code, out, _ = run("score", file, "--unlabelled", "skip")
    assert code == 0 and "Without a truth, left out: 1 of 4 clips." in out
    file.write_text("id,truth,prediction\n1,,joy\n")
    assert "no row has a truth" in run("score", file, "--unlabelled", "skip")[2]


def test_a_recipe_says_it_once_for_the_whole_study(run: Run, study: Path, tmp_path: Path) -> None:
    tiny.hubert(tmp_path / "models" / "mine")
    for path in study.glob("*.wav"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "manifest.csv").write_bytes((study / "manifest.csv").read_bytes())
    text = (
        '[study]\ntarget = "mood"\nfolds = 3\n{more}[extract]\nmodel = "mine"\n[probe]\n[[finetune]]\ntrain = "head"\n'
    )
    recipe = tmp_path / "study.toml"
    recipe.write_text(text.format(more=""))
    code, _, err = run("run", recipe, "--dry-run", "-w", tmp_path)
    assert code == 2 and "--unlabelled skip" in err
    recipe.write_text(text.format(more='unlabelled = "skip"\nlabels = "joy,fear"\n'))
    code, out, err = run("run", recipe, "--dry-run", "-w", tmp_path)
    assert code == 0, err
    assert "--unlabelled skip --labels joy,fear" in out and out.count("--unlabelled") == 1


def test_rules_are_stated_only_where_they_leave_something_out() -> None:
    assert Rules().stated() == {"spellings": "refuse", "unknown": "refuse"} and Rules().left_out == {}
    assert Rules(labels=("a",), unlabelled="skip").left_out == {"unlabelled": "skip", "labels": ("a",)}
    assert Rules(**{"labels": ["a"]}).labels == ("a",)  # type: ignore[arg-type]
