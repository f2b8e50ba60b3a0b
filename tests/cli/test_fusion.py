"""`probe --model A+B`: runs, pages, predictions and refusals, from stores in a workspace."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import Run
from toolkit.core.errors import InputError
from toolkit.corpus import manifest
from toolkit.features.finding import find
from toolkit.features.fused import Fused

N, SPEAKERS = 96, 8
IDS = [f"c{number}" for number in range(N)]


@pytest.fixture
def study(tmp_path: Path, run: Run) -> Path:
    """Stores "one" and "two" of embeddings, of which each knows one half of the mood; "two" lacks c0."""
    generator = np.random.default_rng(0)
    rows, moods = [], generator.permutation(np.arange(N) % 3)
    for number in range(N):
        sound = 0.1 * generator.standard_normal(800 + number)
        soundfile.write(tmp_path / f"{number}.wav", sound.astype(np.float32), 16_000, subtype="FLOAT")
        rows.append((IDS[number], f"{number}.wav", f"s{number % SPEAKERS}", ["calm", "sad", "angry"][moods[number]]))
    manifest.write(tmp_path / "manifest.csv", ("id", "path", "speaker", "mood"), rows)
    for name, label, first in (("one", 1, 0), ("two", 2, 1)):
        layers = {f"{name}.{layer}": generator.standard_normal((N - first, 5)) for layer in range(2)}
        layers[f"{name}.1"][:, 0] += 5 * (moods[first:] == label)
        np.savez(tmp_path / f"{name}.npz", ids=np.array(IDS[first:]), **layers)
        manifest.write(tmp_path / f"{name}.csv", ("id", "path", "speaker", "mood"), rows[first:])
        assert run("features", "import", name, tmp_path / f"{name}.npz", "--manifest", tmp_path / f"{name}.csv",
                   "-w", tmp_path)[0] == 0  # fmt: skip
    return tmp_path


def test_a_fusion_says_what_each_store_adds_on_the_clips_that_both_have(run: Run, study: Path) -> None:
    words = ("--target", "mood", "--folds", 4, "--trials", 6, "-w", study)
    code, _out, err = run("probe", "--model", "one+two", "--fusion", "early", "--fusion", "late", *words,
                         "--nuisance", "duration", "--language", "zh")  # fmt: skip
    assert code == 0, err
    runs = {}
    for way in ("early", "late"):
        (folder,) = study.glob(f"result/mood-one+two-{way}-linear-*")
        runs[way] = folder
        controls = json.loads((folder / "beside.json").read_text())["beside"]
        kinds = [(one["kind"], one["name"]) for one in controls]
        assert kinds == [("alone", "one"), ("alone", "two"), ("nuisance", "duration")]
        assert all(one["minus"]["estimate"] > 0.1 for one in controls[:2]), controls[:2]
        page, chinese = ((folder / name).read_text() for name in ("report.html", "report.zh.html"))
        yes = controls[0]["minus"]["lower"] > 0
        answer = "Yes: one alone scores" if yes else "It is not shown: one alone scores"
        assert f"Does adding two to one help? {answer}" in page and "What each store adds" in page
        assert yes or way == "late"
        assert "Fused on the clips that every store has, 95 of 96: one 96, two 95." in page
        assert f"在 one 上加入 two 有增益吗？{'有' if yes else '尚无证据'}" in chinese and "96 个中有 95 个" in chinese
        assert "one:layer = one.1" in page and "two:layer = two.1" in page
        assert [
            json.loads((study / "result" / one["folder"] / "folds.json").read_text())["ids"] for one in controls[:2]
        ] == [json.loads((folder / "folds.json").read_text())["ids"]] * 2
    again = run("probe", "--model", "one+two", *words)
    assert again[0] == 0 and "is finished already" in again[2]

    code, _, err = run("compare", runs["early"], runs["late"], *study.glob("result/mood-one-linear-*"), "-w", study)
    assert code == 0, err

    sounds = [study / f"{number}.wav" for number in (1, 2)]
    for way, folder in runs.items():
        code, _, err = run("predict", "--from", folder, *sounds, "-w", study, "--output", study / way)
        assert code == 0, err
        mine = (folder / "predictions.csv").read_text().splitlines()
        said = (study / way / "predictions.csv").read_text().splitlines()
        head, theirs = mine[0].split(","), said[0].split(",")
        for number, row in ((1, said[1]), (2, said[2])):
            (known,) = (line.split(",") for line in mine if line.startswith(f"c{number},"))
            for label in ("calm", "sad", "angry"):
                column = f"probability:{label}"
                assert row.split(",")[theirs.index(column)] == known[head.index(column)]
    code, _, err = run("finetune", "--from", runs["late"], "-w", study)
    assert code == 2 and "probed several stores" in err


def test_a_store_that_has_all_clips_is_probed_alone_once(run: Run, study: Path) -> None:
    words = ("--target", "mood", "--folds", 4, "--trials", 2, "-w", study, "--manifest", study / "two.csv")
    assert run("probe", "--model", "two", *words)[0] == 0
    (before,) = study.glob("result/mood-two-linear-*")
    stamp, there = (before / "run.json").stat().st_mtime_ns, set(study.glob("result/mood-one-linear-*"))
    assert run("probe", "--model", "one+two", *words)[0] == 0
    (alone,) = set(study.glob("result/mood-one-linear-*")) - there
    assert "fused_clips" not in (alone / "run.json").read_text(encoding="utf-8")  # no clip is left out
    assert list(study.glob("result/mood-two-linear-*")) == [before]
    assert (before / "run.json").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--model", "one+one"), "one store is named twice"),
        (("--model", "one+three"), "No features of 'three'"),
        (("--model", "one+two", "--fusion", "middle"), "Bad --fusion 'middle', expected one of ['early', 'late']"),
        (("--model", "one+two", "--probe", "mix"), "sees all layers of one store at once"),
        (("--model", "one+two", "--minutes", "1"), "--minutes cannot be had of a fusion"),
        (("--model", "one+two", "--online"), "--online cannot be had of a fusion"),
        (("--model", "one+two", "--control", "random"), "--control random cannot be had of a fusion"),
        (("--model", "one+two", "--control", "shuffled"), "give --shuffles 0"),
    ],
)
def test_what_cannot_be_fused_is_refused_by_name(run: Run, study: Path, more: tuple[str, ...], sentence: str) -> None:
    code, _, err = run("probe", *more, "--target", "mood", "--folds", 4, "-w", study)
    assert code == (4 if "three" in sentence else 2) and sentence in " ".join(err.split())


def test_a_view_has_the_shared_clips_in_the_first_one_s_order(study: Path) -> None:
    one, two = find(study / "features", "one"), find(study / "features", "two")
    both = Fused({"one": one, "two": two})
    assert both.ids == tuple(IDS[1:]) and both.layers == ("one:one.0", "one:one.1", "two:two.0", "two:two.1")
    assert (both.layer("one:one.1").mean == one.layer("one.1").mean[1:]).all()
    assert (both.layer("two:two.0").mean == two.layer("two.0").mean).all()
    assert both.failed == {"c0": "not in two: not extracted"}
    assert both.signature != Fused({"two": two, "one": one}).signature
    assert both.audio_sha256 == two.audio_sha256


def test_other_audio_under_an_id_is_refused(study: Path, run: Run) -> None:
    sounds = [(IDS[number], f"{(number + 1) % N}.wav", "s0", "sad") for number in range(N)]
    manifest.write(study / "other.csv", ("id", "path", "speaker", "mood"), sounds)
    np.savez(study / "odd.npz", ids=np.array(IDS), layer=np.random.default_rng(3).standard_normal((N, 4)))
    assert run("features", "import", "odd", study / "odd.npz", "--manifest", study / "other.csv", "-w", study)[0] == 0
    with pytest.raises(InputError, match="hold different audio of 96 clips, the first is 'c0'"):
        Fused({"one": find(study / "features", "one"), "odd": find(study / "features", "odd")})
