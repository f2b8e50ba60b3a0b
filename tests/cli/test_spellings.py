"""Every command that reads labels or groups refuses two spellings of one name, and merges or keeps them when told."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.test_probe import write_store
from tests.conftest import Run
from tests.models import tiny
from toolkit.corpus import manifest
from toolkit.result import run as result_run
from toolkit.result import run_files

SPEAKERS, CLIPS = 6, 8
COLUMNS = ("id", "path", "speaker", "mood", "sad", "sex")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corpora: clean.csv; names spelt twice in speakers, moods, flags and sexes.csv; nan in unknown.csv."""
    folder = tmp_path_factory.mktemp("spelling")
    generator = np.random.default_rng(0)
    n = SPEAKERS * CLIPS
    rows = []
    for number in range(n):
        soundfile.write(folder / f"{number}.wav", 0.1 * generator.standard_normal(800), 16_000)
        speaker, high = number // CLIPS, number % 2
        rows.append(
            (f"c{number}", f"{number}.wav", f"s{speaker}", ("joy", "anger")[high], str(high), "fm"[speaker % 2])
        )
    mean = generator.standard_normal((2, n, 10))
    mean[1, :, 0] += 4 * (np.arange(n) % 2)
    write_store(folder / "features", "made-up", mean, np.full(n, 0.05))
    manifest.write(folder / "clean.csv", COLUMNS, rows)

    def spoilt(name: str, column: str, *cells: str) -> None:
        place = COLUMNS.index(column)
        changed = [
            (*row[:place], cells[number % CLIPS] if number % CLIPS < len(cells) else row[place], *row[place + 1 :])
            for number, row in enumerate(rows)
        ]
        manifest.write(folder / f"{name}.csv", COLUMNS, changed)

    spoilt("moods", "mood", "Joy")
    spoilt("unknown", "mood", "nan")
    spoilt("flags", "sad", "0.0", "1.0")
    upper = [(*row[:2], row[2].upper() if number % CLIPS == 0 else row[2], *row[3:]) for number, row in enumerate(rows)]
    manifest.write(folder / "speakers.csv", COLUMNS, upper)
    sexes = [(*row[:5], "unknown" if row[2] == "s1" else row[5].upper() if row[2] == "s2" else row[5]) for row in rows]
    manifest.write(folder / "sexes.csv", COLUMNS, sexes)
    return folder


def probe(run: Run, study: Path, name: str, target: str, *more: object) -> tuple[int, str, str]:
    words = ("-w", study, "--manifest", study / f"{name}.csv", "--folds", 3, "--trials", 2, "--workers", 1)
    return run("probe", "-m", "made-up", "-t", target, *words, *more)


def newest(study: Path) -> result_run.Run:
    return run_files.read(max(study.glob("result/*/run.json"), key=lambda path: path.stat().st_mtime_ns).parent)


@pytest.mark.parametrize(
    ("name", "target", "sentence"),
    [
        ("speakers", "mood", "column 'speaker': 's0' (line 3 and 6 more) and 'S0' (line 2)"),
        ("moods", "mood", "column 'mood': 'joy' (line 4 and 17 more) and 'Joy' (line 2 and 5 more)"),
        ("flags", "sad", "column 'sad': '0' (line 4 and 17 more) and '0.0' (line 2 and 5 more)"),
    ],
)
def test_check_and_probe_name_both_and_a_merge_gives_the_clean_run(
    run: Run, study: Path, name: str, target: str, sentence: str
) -> None:
    check = ("manifest", "check", "-w", study, "--manifest", study / f"{name}.csv")
    code, out, _ = run(*check)
    assert code == 2 and sentence in out.replace("\n", " ") and "--spellings merge" in out
    code, _, err = probe(run, study, name, target)
    assert code == 2 and sentence in err and not list(study.glob(f"result/{name}"))
    assert run(*check, "--spellings", "merge")[0] == run(*check, "--spellings", "keep")[0] == 0
    assert probe(run, study, "clean", target)[0] == 0
    code, _, err = probe(run, study, name, target, "--spellings", "merge")
    assert code == 0 and "is finished already" in err  # the very same run, by its signature
    code, _, err = probe(run, study, name, target, "--spellings", "keep")
    if name == "flags":
        assert code == 0 and set(newest(study).task.labels) == {"0", "0.0", "1", "1.0"}
    else:
        assert code == 0 and newest(study).provenance["rules"] == {"spellings": "keep", "unknown": "refuse"}
        assert "though each may be one name" in " ".join(map(str, newest(study).notes))


def test_what_names_nothing_is_refused_unless_told(run: Run, study: Path) -> None:
    check = ("manifest", "check", "-w", study, "--manifest", study / "unknown.csv")
    code, out, _ = run(*check)
    assert code == 2 and "'nan' (line 2 and 5 more) may stand for an unknown value" in out
    assert run(*check, "--unknown", "keep")[0] == 0
    code, _, err = probe(run, study, "unknown", "mood")
    assert code == 2 and "--unknown keep" in err
    assert probe(run, study, "unknown", "sad")[0] == 0  # another column's
    assert probe(run, study, "unknown", "mood", "--unknown", "keep")[0] == 0
    assert newest(study).task.labels == ("anger", "joy", "nan")


def test_the_columns_beside_are_read_by_the_same_rules(run: Run, study: Path) -> None:
    code, _, err = probe(run, study, "sexes", "mood", "--nuisance", "sex")
    assert code == 2 and "column 'sex': 'f'" in err and "'F'" in err
    code, _, err = probe(run, study, "sexes", "mood", "--nuisance", "sex", "--spellings", "merge")
    assert code == 2 and "'unknown' (line 10 and 7 more)" in err
    more = ("--nuisance", "sex", "--spellings", "merge", "--unknown", "keep")
    assert probe(run, study, "sexes", "mood", *more)[0] == 0


def test_score_reads_labels_and_speakers_by_the_same_rules(run: Run, study: Path, tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_text("id,speaker,truth,prediction\n1,a,joy,joy\n2,A,joy,Joy\n3,b,anger,anger\n4,b,anger,anger\n")
    code, _, err = run("score", file)
    assert code == 2 and "p.csv, column 'prediction and truth': 'joy' (line 2 and 2 more) and 'Joy' (line 3)" in err
    code, out, _ = run("score", file, "--spellings", "merge", "--json")
    found = json.loads(out)
    assert (
        code == 0
        and found["metrics"]["recall_macro"]["estimate"] == 1.0
        and found["task"]["labels"] == ["anger", "joy"]
    )
    assert found["notes"] == [
        "Spellings merged in column 'prediction and truth': 'Joy' as 'joy'.",
        "Spellings merged in column 'speaker': 'A' as 'a'.",
    ]
    code, out, _ = run("score", file, "--spellings", "keep", "--json")
    assert code == 0 and json.loads(out)["metrics"]["recall_macro"]["estimate"] == pytest.approx(0.75)
    file.write_text("id,truth,prediction\n1,nan,joy\n2,joy,joy\n")
    assert run("score", file)[0] == 2 and run("score", file, "--unknown", "keep")[0] == 0
    file.write_text("Predictions,Actual Labels\nJoy,joy\nanger,anger\njoy,joy\n")
    assert run("score", file)[0] == 2 and run("score", file, "--spellings", "merge")[0] == 0
    file.write_text("truth:Sad,prediction:Sad,truth:sad,prediction:sad\n0,0,1,1\n1,1,0,0\n")
    code, _, err = run("score", file)
    assert code == 2 and "'truth:Sad' and 'truth:sad' are spellings of one label" in err
    assert run("score", file, "--spellings", "keep")[0] == 0
    file.write_text("truth:sad,prediction:sad,truth:joy,prediction:joy\n0.0,0,1,1\n1.0,1,0,0\n")
    assert run("score", file)[0] == 2 and run("score", file, "--spellings", "merge")[0] == 0


def test_a_recipe_says_it_once_for_the_whole_study(run: Run, study: Path, tmp_path: Path) -> None:
    for path in study.glob("*.wav"):
        shutil.copy(path, tmp_path)
    tiny.hubert(tmp_path / "models" / "mine")
    (tmp_path / "manifest.csv").write_bytes((study / "speakers.csv").read_bytes())
    recipe = tmp_path / "study.toml"
    text = '[study]\ntarget = "mood"\nfolds = 3\n{more}[extract]\nmodel = "mine"\n[probe]\n[[finetune]]\n'
    recipe.write_text(text.format(more=""))
    code, _, err = run("run", recipe, "--dry-run", "-w", tmp_path)
    assert code == 2 and "study.toml, line 1, column 1" in err and "--spellings merge" in err
    recipe.write_text(text.format(more='spellings = "join"\n'))
    code, _, err = run("run", recipe, "--dry-run", "-w", tmp_path)
    assert code == 2 and "line 4" in err and "'join'" in err
    recipe.write_text(text.format(more='spellings = "merge"\nunknown = "keep"\n'))
    code, out, _ = run("run", recipe, "--dry-run", "-w", tmp_path)
    asked = {words.split()[2]: words for words in out.splitlines() if "toolkit" in words}
    assert code == 0 and "--spellings merge --unknown keep" in out
    assert "--spellings" not in next(line for line in out.splitlines() if "finetune" in line), asked  # as it was probed
