"""`toolkit probe` as a user meets it: controls, nuisances, leaks, budgets, and backbones against each other.

The features are made up: `encoder.1` knows the label, every layer knows the voice, the last one knows the loudness.
"""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import Run
from toolkit.corpus import manifest
from toolkit.features import finding, store
from toolkit.features.shard import ClipRecord, ShardContent
from toolkit.probe import winners
from toolkit.result import run_files, stats

SPEAKERS, CLIPS = 6, 12
WIDTH = 10


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probing")
    generator = np.random.default_rng(0)
    n = SPEAKERS * CLIPS
    speaker, high = np.repeat(np.arange(SPEAKERS), CLIPS), generator.permutation(np.arange(n) % 2)
    own = np.array([0, 1, 1, 0, 0, 1])[speaker]
    level, seconds = 10.0 ** -generator.uniform(0.5, 2.5, n), 0.05 + 0.01 * (np.arange(n) % 4)
    rows = []
    for number in range(n):
        sound = level[number] * np.sin(np.arange(round(16_000 * seconds[number])))
        soundfile.write(folder / f"{number}.wav", sound.astype(np.float32), 16_000, subtype="FLOAT")
        mood = ["low", "high"][high[number]]
        rows.append((f"c{number}", f"{number}.wav", f"s{speaker[number]}", mood, str(own[number]), "same"))
    manifest.write(folder / "manifest.csv", ("id", "path", "speaker", "mood", "own", "constant"), rows)
    voices = 2 * generator.standard_normal((SPEAKERS, WIDTH))
    mean = 0.7 * generator.standard_normal((3, n, WIDTH)) + voices[speaker]
    mean[1, :, 0] += 6 * high
    mean[2, :, 1] += 6 * np.log10(level)
    untrained = generator.standard_normal((3, n, WIDTH))
    for backbone, values in (("made-up", mean), ("made-up-random", untrained), ("weaker", mean + 2 * untrained)):
        write_store(folder / "features", backbone, values, seconds)
    return folder


def write_store(features: Path, backbone: str, mean: np.ndarray, seconds: np.ndarray, first: int = 0) -> None:
    """first: of the recordings; another number is other audio."""
    layers = tuple(f"encoder.{number}" for number in range(len(mean)))
    made = store.create(features, backbone, layers, WIDTH, {"backbone": backbone})
    clips = tuple(
        ClipRecord(f"c{number}", (0, 0, None, None, None), f"{first + number:064x}", round(16_000 * length))
        for number, length in enumerate(seconds)
    )
    values = mean.astype(np.float32)
    with made.writing() as writer:
        writer.commit(ShardContent(clips, (), {"mean": values, "std": np.abs(values)}))


def probe(run: Run, study: Path, *more: object) -> tuple[int, str, str]:
    return run("probe", "--target", "mood", "--folds", 3, "--trials", 2, "-w", study, *more)


def beside(study: Path, pattern: str) -> list[dict[str, str]]:
    (path,) = (study / "result").glob(f"{pattern}/beside.csv")
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_controls_and_nuisances_stand_beside_the_run(run: Run, study: Path) -> None:
    nuisances = ("--nuisance", "speaker,duration,loudness")
    words = ("--model", "made-up", "--control", "shuffled", "--shuffles", 6, "--control", "random", *nuisances)
    code, out, err = probe(run, study, *words)
    assert code == 0, err
    assert "selectivity, real minus shuffled, is 0." in out and "pretraining adds 0." in out
    told = " ".join(out.split())
    assert "Over 6 shuffles" in told and "permutation p = 0.143" in told
    rows = {(row["kind"], row["name"], row["layer"]): row for row in beside(study, "mood-made-up-linear-*")}
    selectivity = rows["shuffled", "labels shuffled by speaker", "encoder.1"]
    assert float(selectivity["difference_lower"]) > 0.1
    nothing = rows["shuffled", "labels shuffled by speaker", "encoder.0"]
    assert float(nothing["difference_lower"]) < 0.1
    assert float(rows["random", "random weights", "encoder.1"]["difference_lower"]) > 0.1
    assert float(rows["nuisance", "speaker", "encoder.0"]["score"]) > 0.9
    loud = {layer: float(rows["nuisance", "loudness", layer]["score"]) for layer in ("encoder.0", "encoder.2")}
    assert loud["encoder.2"] > loud["encoder.0"] + 0.2
    assert rows["nuisance", "duration", "encoder.0"]["chance"] == "0.250000"
    (folder,) = (study / "result").glob("mood-made-up-linear-*")
    html = (folder / "report.html").read_text(encoding="utf-8")
    for told in ("Compared with controls", "What else the layers encode", "chart-selectivity", "chart-nuisance"):
        assert told in html
    drawn = {path.stem for path in (folder / "figures").iterdir()}
    assert drawn == {"layers", "labels", "confusion", "controls", "selectivity", "nuisance"}

    code, again, err = probe(run, study, "--model", "made-up")  # what was next to it stays
    assert code == 0 and "is finished already" in err and "selectivity" in again


def test_a_run_keeps_its_winners(run: Run, study: Path) -> None:
    assert probe(run, study, "--model", "made-up")[0] == 0
    (folder,) = (study / "result").glob("mood-made-up-linear-*")
    kept = winners.read(folder / "winners")
    assert [winner.fold for winner in kept] == [0, 1, 2]
    rows = csv.DictReader((folder / "predictions.csv").read_text(encoding="utf-8").splitlines())
    said = {row["id"]: row["prediction"] for row in rows if row["fold"] == "0"}
    features = finding.find(study / "features", "made-up")
    _, decision = kept[0].apply([features.layer(name) for name in kept[0].layers])
    own = dict(zip(features.ids, (kept[0].task.labels[label] for label in decision)))
    assert said == {clip: own[clip] for clip in said}


def test_clips_split_one_by_one_show_both_figures_and_the_inflation(run: Run, study: Path) -> None:
    code, out, err = run(
        "probe", "--model", "made-up", "--target", "own", "--folds", 3, "--trials", 2, "--split-by", "clip", "-w", study
    )
    assert code == 0, err
    output = " ".join(out.split())
    assert "speakers are on both sides, so the scores are optimistic" in output and "the inflation is" in output
    (row, *_) = beside(study, "own-made-up-linear-*")
    assert row["kind"] == "split" and float(row["difference_lower"]) > 0.02
    reports = [path for path in (study / "result").glob("own-made-up-linear-*") if (path / "beside.csv").exists()]
    assert "the inflation is" in (reports[0] / "report.html").read_text(encoding="utf-8")
    assert len(list((study / "result").glob("own-made-up-linear-*"))) == 2  # the honest run has a folder of its own


def test_without_speakers_the_inflation_cannot_be_measured(run: Run, study: Path) -> None:
    clips = list(csv.DictReader((study / "manifest.csv").read_text(encoding="utf-8").splitlines()))
    anonymous = study / "anonymous.csv"
    manifest.write(anonymous, ("id", "path", "mood"), [(row["id"], row["path"], row["mood"]) for row in clips])
    code, out, _ = probe(run, study, "--model", "made-up", "--manifest", anonymous, "--split-by", "clip")
    assert code == 0 and "cannot be measured" in out and "the inflation is" not in out


def test_leave_one_speaker_out(run: Run, study: Path) -> None:
    words = ("probe", "--model", "made-up", "--target", "mood", "--folds", "all", "--trials", 1, "-w", study)
    code, out, err = run(*words)
    assert code == 0, err
    assert "of 6 rounds" in out or "in all 6 rounds" in out
    assert "Every speaker is a fold of its own" in out


def test_a_run_is_found_by_its_name_and_again_without_it(run: Run, study: Path) -> None:
    words = ("--model", "made-up", "--trials", 1, "--seed", 7, "--control", "shuffled", "--shuffles", 0)
    code, _, err = probe(run, study, *words, "--name", "first-try")
    assert code == 0, err
    (folder,) = (study / "result").glob("first-try-*")  # its control has no name
    assert folder.name.startswith("first-try-mood-made-up-linear-")
    assert run_files.find_run("first-try", study / "result") == folder
    code, out, err = probe(run, study, *words, "--name", "another")
    assert code == 0 and f"; it keeps its name, {folder.name}" in " ".join(err.split()) and folder.name in out
    assert not list((study / "result").glob("another-*"))
    assert "Bad --name '../away', expected up to 50" in probe(run, study, *words, "--name", "../away")[2]


def test_all_backbones_and_probes_meet_in_one_table(run: Run, study: Path) -> None:
    code, out, err = probe(run, study, "--model", "all", "--probe", "linear", "--probe", "mix")
    assert code == 0, err
    table = out[out.rindex("UAR, 95 %") :]
    assert "weaker" in table and "made-up" in table and "mix" in table
    assert "made-up-random" not in table  # the control of another backbone is none itself
    assert "on the development sets" in out
    (folder,) = (study / "result").glob("mood-compare-*")
    rows = list(csv.DictReader((folder / "compare.csv").read_text(encoding="utf-8").splitlines()))
    assert {(row["backbone"], row["way"]) for row in rows} == {
        (backbone, f"{name} probe") for backbone in ("made-up", "weaker") for name in ("linear", "mix")
    }
    assert [row["difference"] == "" for row in rows] == [True, False, False, False]  # the best on development is first
    developments = [float(row["development"]) for row in rows]
    assert developments == sorted(developments, reverse=True)
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "chart-layers" in html and "mood: backbones and probes" in html


def test_backbones_are_compared_by_all_runs_of_their_series(run: Run, study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "features", tmp_path / "features")
    words = ("--model", "made-up", "--model", "weaker", "--probe", "mlp", "--trials", 1, "--seeds", 2)
    files = ("--manifest", study / "manifest.csv", "--audio-root", study)
    code, out, err = run("probe", "--target", "mood", "--folds", 3, *words, *files, "-w", tmp_path)
    assert code == 0, err
    (table,) = (tmp_path / "result").glob("mood-compare-*/compare.csv")
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert {row["backbone"]: row["runs"] for row in rows} == {"made-up": "2", "weaker": "2"}
    for row in rows:
        runs = [
            run_files.read(path.parent) for path in (tmp_path / "result").glob(f"mood-{row['backbone']}-mlp-*/run.json")
        ]
        scores = [stats.headline_scores([one.predictions])[0].estimate for one in runs]
        assert len(scores) == 2 and float(row["unweighted_average_recall"]) == pytest.approx(np.mean(scores), abs=1e-6)
    assert "Every figure is the mean over a series of 2 runs" in " ".join(out.split())


def test_a_budget_of_minutes_ends_the_search_and_says_what_each_layer_got(run: Run, study: Path) -> None:
    code, out, err = run(
        "probe", "--model", "made-up", "--target", "mood", "--folds", 3, "--minutes", 0.001, "-w", study
    )
    assert code == 0, err
    output = " ".join(out.split())
    assert "The search had 0.001 minutes" in output and "got 10 to 10 trials: encoder.0 10 10 10" in output
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in (study / "result").glob("mood-made-up-*/run.json")]
    assert 0.001 in [run["provenance"].get("minutes") for run in runs]


def test_inner_folds_are_another_run_and_its_page_says_so(run: Run, study: Path) -> None:
    code, _, err = probe(run, study, "--model", "made-up", "--inner-folds", 2, "--language", "zh")
    assert code == 0, err
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in (study / "result").glob("mood-made-up-*/run.json")]
    (made,) = [one for one in runs if one["provenance"]["inner_folds"] == 2]
    pages = (study / "result").glob("mood-made-up-*/report.zh.html")
    assert sum("2 个内层折" in path.read_text(encoding="utf-8") for path in pages) == 1
    assert made["losses"].keys() == made["development"].keys()
    code, _, err = probe(run, study, "--model", "made-up", "--inner-folds", 2, "--language", "zh")
    assert code == 0 and "is finished already" in err


def test_a_series_is_a_run_for_every_deal_and_seed_and_one_line_of_their_mean(run: Run, study: Path) -> None:
    words = ("--model", "made-up", "--probe", "mlp", "--trials", 1, "--seeds", 2, "--repeats", 2, "--seed", 5)
    code, out, err = probe(run, study, *words, "--control", "random")
    assert code == 0, err
    folders = [path.parent for path in (study / "result").glob("mood-made-up-mlp-*/run.json")]
    runs = [run_files.read(folder) for folder in folders]
    own = {(one.provenance["deal"], one.provenance["seed"]): one for one in runs}
    assert own.keys() == {(5, 5), (5, 6), (6, 5), (6, 6)}
    assert len({one.provenance["series"] for one in runs}) == 1
    assert own[5, 5].folds.sha256 == own[5, 6].folds.sha256 != own[6, 5].folds.sha256
    assert own[5, 5].predictions.probability.tobytes() != own[5, 6].predictions.probability.tobytes()
    scores = [stats.headline_scores([one.predictions])[0].estimate for one in runs]
    mean, deviation = np.mean(scores), np.std(scores, ddof=1)
    line = f"made-up, mlp: UAR {mean:.3f} on average over 4 runs (2 deals of the folds, 2 training seeds), "
    assert line + f"standard deviation {deviation:.3f}, {min(scores):.3f} to {max(scores):.3f}" in out
    assert [(folder / "beside.json").exists() for folder in folders].count(True) == 1
    code, _, err = probe(run, study, *words)
    assert code == 0 and err.count("is finished already") == 4


def test_the_search_spaces_are_explained_without_a_model(run: Run) -> None:
    code, out, _ = run("probe", "--explain")
    assert code == 0 and all(name in out for name in ("linear", "mlp", "lightgbm", "mix", "log-uniform"))


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--model", "weaker", "--control", "random"), 4, "`toolkit models randomise weaker`"),
        (("--model", "weaker", "--control", "noise"), 2, "Bad --control 'noise'"),
        (
            ("--model", "weaker", "--nuisance", "age"),
            2,
            "Bad --nuisance 'age', expected one of ['duration', 'loudness'",
        ),
        (("--model", "weaker", "--nuisance", "constant"), 2, "two or more are needed"),
        (("--model", "weaker", "--minutes", 1), 2, "give one"),
        (("--model", "weaker", "--inner-folds", 3), 2, "--inner-folds 3: 2 folds are not tested"),
        (("--model", "weaker", "--folds", "most"), 2, "Bad --folds 'most'"),
        (("--model", "weaker", "--folds", "all", "--repeats", 2), 2, "--repeats 2: only 1 of these deals"),
        (("--model", "weaker", "--folds", "all", "--split-by", "clip"), 2, "--split-by clip deals"),
        (("--model", "weaker", "--probe", "svm"), 2, "Bad probe 'svm'"),
        (("--model", "weaker", "--device", "gpu"), 2, "Bad device 'gpu'"),
        (("--model", "weaker", "--device", "cuda", "--ray", "local"), 2, "--device cannot go with --ray"),
    ],
)
def test_bad_usage_is_one_sentence(run: Run, study: Path, words: tuple[object, ...], code: int, sentence: str) -> None:
    found, out, err = probe(run, study, *words)
    assert (found, out) == (code, "")
    assert sentence in err and "Traceback" not in err


def test_a_random_control_of_other_audio_is_refused(run: Run, study: Path, tmp_path: Path) -> None:
    shutil.copytree(study, tmp_path / "other")
    (folder,) = (tmp_path / "other" / "features").glob("made-up-random-*")
    shutil.rmtree(folder)
    values = np.random.default_rng(1).standard_normal((3, SPEAKERS * CLIPS, WIDTH))
    write_store(folder.parent, "made-up-random", values, np.full(SPEAKERS * CLIPS, 0.1), first=1)
    code, out, err = probe(run, tmp_path / "other", "--model", "made-up", "--control", "random")
    assert (code, out) == (4, "") and "clip 'c0' is in one of the two only, or another recording there" in err


def test_a_random_control_with_other_options_or_clips_is_refused(run: Run, study: Path, tmp_path: Path) -> None:
    shutil.copytree(study, tmp_path / "other")
    (folder,) = (tmp_path / "other" / "features").glob("made-up-random-*")
    shutil.rmtree(folder)
    generator = np.random.default_rng(1)
    seconds = np.full(SPEAKERS * CLIPS - 1, 0.1)
    write_store(folder.parent, "made-up-random", generator.standard_normal((3, len(seconds), WIDTH)), seconds)
    code, out, err = probe(run, tmp_path / "other", "--model", "made-up", "--control", "random")
    assert (code, out) == (4, "") and "clip 'c71' is in one of the two only" in err
    (folder,) = folder.parent.glob("made-up-random-*")
    shutil.rmtree(folder)
    write_store(folder.parent, "made-up-random", generator.standard_normal((2, len(seconds), WIDTH)), seconds)
    code, out, err = probe(run, tmp_path / "other", "--model", "made-up", "--control", "random")
    assert (code, out) == (4, "") and "was not extracted with the layers and options" in err
