"""Every command with a regression and with an ordinal target: right, or refused in one sentence."""

import json
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile

import toolkit
from tests.conftest import Run
from tests.models import tiny
from toolkit.core.errors import InputError
from toolkit.corpus import manifest
from toolkit.result import run_files
from toolkit.result.predictions_reader import read_csv
from toolkit.result.report.results import RunResult

SPEAKERS, CLIPS = 8, 5
QUICK = ("--folds", "3", "--trials", "2", "--workers", "1")
NUMBERS = ("probe", "-m", "mine", "-t", "valence,arousal", "--kind", "regression", "--unlabelled", "skip", *QUICK)
LEVELS = ("probe", "-m", "mine", "-t", "risk", "--kind", "ordinal", *QUICK)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scales")
    rows = []
    for number in range(SPEAKERS * CLIPS):
        loud = number * 7 % 10
        soundfile.write(folder / f"{number}.wav", (0.1 + loud / 15) * tiny.speech_like(0.3, seed=number), 16_000)
        valence, arousal = f"{1 + loud / 2:.1f}", "" if number == 3 else str(100 * loud)
        risk, sex = str(1 + loud // 3), "fm"[number // CLIPS % 2]
        rows.append((f"c{number}", f"{number}.wav", f"s{number // CLIPS}", valence, arousal, risk, sex))
    manifest.write(folder / "manifest.csv", ("id", "path", "speaker", "valence", "arousal", "risk", "sex"), rows)
    tiny.hubert(folder / "models" / "mine")
    toolkit.open(folder).extract("mine", dtype="float32", device="cpu", layers="1-2")
    return folder


def runs(study: Path, start: str) -> list[Path]:
    return sorted(path.parent for path in study.glob(f"result/{start}*/run.json"))


def test_every_command_takes_a_scale_or_refuses_it_by_name(run: Run, study: Path) -> None:
    place = ("-w", study)

    def works(*words: object) -> str:
        code, out, err = run(*words, *place)
        assert code == 0, (words, out, err)
        return out

    def refused(sentence: str, *words: object) -> None:
        code, out, err = run(*words, *place)
        assert code == 2 and sentence in err and err.count("\n") == 1 and "Traceback" not in err, (words, out, err)

    refused("--kind regression to predict the number, --kind ordinal", "probe", "-m", "mine", "-t", "risk", *QUICK)
    out = works(*NUMBERS, "--control", "shuffled", "--shuffles", "2", "--nuisance", "sex", "--language", "zh")
    out = " ".join(out.split())
    assert "concordance correlation (CCC)" in out and "left out of this target alone: 1 of 40 clips" in out
    works(*NUMBERS, "--probe", "all", "--loss", "ccc", "--trials", "1")
    works(*LEVELS, "--probe", "all", "--trials", "1")
    out = works(*LEVELS, "--online", "--language", "zh")
    assert "quadratic weighted kappa" in out
    works(*LEVELS, "--inner-folds", "2", "--split-by", "clip")
    works("probe", "-m", "mine", "-t", "risk", "--kind", "ordinal", "--threshold", "3", *QUICK)
    refused("--online counts bits of labels", *NUMBERS, "--online")
    refused("Bad --loss 'l1', expected one of", *NUMBERS, "--probe", "mlp", "--loss", "l1")
    works("compare", *[path.name for path in runs(study, "valence+arousal-mine-")][:4], "--language", "zh")
    works("compare", *[path.name for path in runs(study, "risk-mine-") if "linear" not in path.name])
    assert "valence+arousal-mine-linear" in works("runs")
    numbers, levels = runs(study, "valence+arousal-mine-linear-")[0], runs(study, "risk-mine-mlp-")[0]
    for origin in (numbers, levels):
        made = study / f"predicted-{origin.name}"
        works("predict", "--from", origin.name, study / "0.wav", "--output", made)
        assert len((made / "predictions.csv").read_text(encoding="utf-8").splitlines()) == 2
    refused(
        "is a regression, and timelines are of labels",
        "predict",
        "--from",
        numbers.name,
        study / "0.wav",
        "--window",
        "1",
    )
    refused("is a regression, and contrast counts clips", "contrast", "--from", numbers.name, "--by", "sex")
    works("contrast", "--from", levels.name, "--by", "sex", "--least-clips", "1", "--negative", "3,4")


def test_a_scale_is_fine_tuned_on_its_probes_folds_and_compared_with_it(run: Run, study: Path) -> None:
    place, tuning = ("-w", study), ("--train", "head", "--epochs", "1", "--head-epochs", "5", "--device", "cpu")

    def works(*words: object) -> str:
        code, out, err = run(*words, *place)
        assert code == 0, (words, out, err)
        return out

    works(*NUMBERS), works(*LEVELS)
    numbers, *_ = runs(study, "valence+arousal-mine-linear-")
    levels, *_ = (path for path in runs(study, "risk-mine-linear-") if run_files.read(path).task.ordinal)
    for start, probe, headline, more in (
        ("valence+arousal-mine", numbers, "concordance correlation (CCC)", ("--loss", "ccc", "--language", "zh")),
        ("risk-mine", levels, "quadratic weighted kappa", ()),
    ):
        works("finetune", "--from", probe.name, *tuning, "--save-weights", *more)
        (tuned,) = runs(study, f"{start}-finetune-")
        done, before = run_files.read(tuned), run_files.read(probe)
        assert done.folds.sha256 == before.folds.sha256 and done.predictions.ids == before.predictions.ids
        np.testing.assert_array_equal(done.predictions.truth, before.predictions.truth)
        assert done.metric == before.metric and all(choice.loss is not None for choice in done.choices)
        out = works("compare", probe.name, tuned.name, "--subgroups", "none")
        assert headline in " ".join(out.split()) and "fine-tuned" in out
        made = study / "predictions" / start
        works("predict", "--from", tuned.name, "--manifest", study / "manifest.csv", "--output", made)
        again = read_csv(made / "predictions.csv", done.task)
        for name in ("prediction", "probability", *(("score",) if done.task.ordinal else ())):
            np.testing.assert_array_equal(getattr(again, name), getattr(done.predictions, name))
    for sentence, *words in (
        ("--loss ccc has no effect: risk is no regression", "--from", levels.name, "--loss", "ccc"),
        ("--class-weights balanced has no effect: risk holds levels", "--model", "mine", "--target", "risk", "--kind",
         "ordinal", "--folds", "3", "--class-weights", "balanced"),
        ("Bad --loss 'l1'", "--from", numbers.name, "--loss", "l1"),
    ):  # fmt: skip
        code, _, err = run("finetune", *words, *place)
        assert code == 2 and sentence in err and err.count("\n") == 1, err
    for kind, expected, sentence in (
        ("regression", 0, "--loss ccc"),
        ("ordinal", 2, "line 9, column 8: --loss ccc has"),
    ):
        recipe = f"""
            [study]\ntarget = "risk"\nkind = "{kind}"\nfolds = "3"\n[extract]\nmodel = "mine"
            [[finetune]]\nloss = "ccc"\n"""
        (study / "recipe.toml").write_text(textwrap.dedent(recipe), encoding="utf-8")
        code, out, err = run("run", study / "recipe.toml", "--dry-run", *place)
        assert code == expected and sentence in out + err, (out, err)


def test_a_prediction_with_truth_is_scored_as_the_run_is(run: Run, study: Path, tmp_path: Path) -> None:
    found = toolkit.open(study).probe("mine", target="valence", kind="regression", folds=3, trials=2, workers=1)
    (one,) = found.runs
    made = tmp_path / "made"
    words = ("predict", "--from", one.name, "--manifest", study / "manifest.csv", "--output", made, "-w", study)
    assert run(*words)[0] == 0
    file = made / "predictions.csv"
    assert file.read_text(encoding="utf-8").splitlines()[0] == "id,speaker,model,truth,prediction"
    code, out, _ = run("score", file, "--kind", "regression", "--json")
    ours = one.evaluation.overall["concordance_correlation"].estimate
    assert code == 0 and json.loads(out)["metrics"]["concordance_correlation"]["estimate"] == pytest.approx(
        ours, abs=1e-5
    )
    code, _, err = run("score", file)
    assert code == 2 and "Say --kind regression, --kind ordinal, or --kind classes" in err


def test_a_scale_is_cut_at_a_threshold_from_the_same_predictions(run: Run, study: Path) -> None:
    levels = toolkit.open(study).probe("mine", target="risk", kind="ordinal", folds=3, trials=2, workers=1).runs[0]
    cut = toolkit.open(study).probe("mine", target="risk", kind="ordinal", threshold=3, folds=3, trials=2, workers=1)
    assert cut.runs[0].run.folds.sha256 == levels.run.folds.sha256
    code, out, _ = run("score", levels.folder / "predictions.csv", "--kind", "ordinal", "--threshold", "3", "--json")
    found = json.loads(out)
    assert code == 0 and found["task"] == {"kind": "binary", "labels": ["predictions < 3", "predictions >= 3"]}
    truth, given = (own >= 2 for own in (levels.run.predictions.truth, levels.run.predictions.prediction))
    recalls = [(given == side)[truth == side].mean() for side in (False, True)]
    assert found["metrics"]["unweighted_average_recall"]["estimate"] == pytest.approx(np.mean(recalls))
    for words, sentence in (
        (("--kind", "ordinal", "--threshold", "9"), "no truth is on its other side"),
        (("--kind", "ordinal", "--levels", "1,2"), "unknown column 'probability:3'"),
    ):
        code, _, err = run("score", levels.folder / "predictions.csv", *words)
        assert code == 2 and sentence in err


@pytest.mark.usefixtures("specified")
def test_in_python_numbers_have_frames_and_figures(study: Path) -> None:
    (one,) = toolkit.open(study).probe("mine", target="valence", kind="regression", folds=3, trials=2, workers=1).runs
    assert isinstance(one, RunResult)
    frame = one.predictions()
    assert frame["truth"].dtype == frame["prediction"].dtype == np.float64
    for name in ("scatter", "errors", "bland_altman"):
        assert one.figure(name).to_dict()
    with pytest.raises(InputError, match="is regression, and an estimator is a classifier"):
        one.estimator()
    with pytest.raises(InputError, match="Bad figure 'confusion'"):
        one.figure("confusion")


def test_a_purge_keeps_the_numbers_of_the_others(run: Run, study: Path) -> None:
    assert run(*NUMBERS, "-w", study)[0] == 0
    assert run("features", "purge", "--speaker", "s1", "-w", study)[0] == 0  # last: nothing of it comes back
    for folder in runs(study, "valence+arousal-mine-linear-"):
        left = run_files.read(folder).predictions
        assert "s1" not in left.groups and len(left.ids) == 35 and np.isnan(left.truth).sum() == 1
