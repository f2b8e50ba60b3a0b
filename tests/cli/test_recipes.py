"""The recipes that come along: each can be followed, and the paper's is its code."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import recipe
from tests.conftest import Run
from toolkit.study.recipe import read
from toolkit.study.shapes import shapes

RECIPES = Path(__file__).parents[2] / "recipes"


def grown(study: Path) -> None:
    """Every clip once more under another name: a batch of the paper's is of 32 clips."""
    head, *lines = (study / "manifest.csv").read_text().splitlines()
    more = []
    for number, line in enumerate(lines):
        shutil.copy(study / f"{number}.wav", study / f"again-{number}.wav")
        more.append(line.replace(f"c{number},{number}.wav", f"d{number},again-{number}.wav"))
    (study / "manifest.csv").write_text("\n".join([head, *lines, *more, ""]))


def tiny_of(path: Path) -> str:
    """A recipe that comes along, with tiny backbones in place of its own."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r'"(hubert|wav2vec2)-[\w-]+((?:\+\w+)?)"', r'"tiny-hubert\2"', text)
    return re.sub(r'"whisper-[\w-]+"', '"tiny-whisper"', text)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_recipes_that_come_along_can_be_followed(run: Run, study: Path, path: Path) -> None:
    read(path, shapes())
    grown(study)
    text = tiny_of(path).replace('dtype = "float16"', 'dtype = "float32"')
    code, printed, err = run("run", recipe(study, text), "--dry-run")
    assert code == 0, err
    fused = path.stem == "pitch-fusion"
    tunes = path.stem in ("corrected", "paper-binary", "paper-multilabel")
    assert ("encoder-frozen" in printed, "--fusion early --fusion late" in printed) == (tunes, fused)
    assert "toolkit compare" in printed
    contrasts = [line for line in printed.splitlines() if "toolkit contrast" in line]
    assert len(contrasts) == (2 if path.stem == "hotline-contrast" else 0)
    assert all(line.endswith("--by suicidal --groups 1,0") for line in contrasts), contrasts
    kinds = ["--kind ordinal" in line for line in printed.splitlines() if "toolkit probe" in line]
    assert kinds == ([False, True] if path.stem == "call-risk" else [False] * len(kinds))
    leaks = path.stem == "paper-binary"  # the paper's other experiment tests callers who were never heard
    assert ("--split-by clip" in printed, "# speakers kept apart" in printed) == (leaks, leaks)


def test_the_papers_numbers_are_its_codes(run: Run, study: Path) -> None:
    grown(study)

    def told(path: Path) -> list[str]:
        text = tiny_of(path).replace('dtype = "float16"', 'dtype = "auto"')
        code, printed, err = run("run", recipe(study, text), "--dry-run")
        assert code == 0, err
        lines = [shlex.split(line, comments=True)[6:] for line in printed.splitlines() if " finetune " in line]
        return [" ".join(word for word in words if word != "--note" and " " not in word) for words in lines]

    plain = "--head-epochs 0 --weight-decay 0.0 --warmup 0.0"
    whisper = (
        f"--train encoder-frozen --class-weights none --seed 0 --learning-rate 0.0001 --head-lr 0.0001 {plain} "
        "--epochs {}{} --grad-accum-steps 2"
    )
    hubert = (  # trained whole, what nobody need say
        f"--depth full --class-weights none --statistics mean --seed 0 --learning-rate 1e-05 --head-lr 1e-05 {plain} "
        "--epochs 1 --batch-size 4 --grad-accum-steps 2 --train-convolutions"
    )
    assert told(RECIPES / "paper-binary.toml") == 2 * [whisper.format(1, " --batch-size 32")] + 2 * [hubert]
    assert told(RECIPES / "paper-multilabel.toml") == [
        whisper.format(3, " --batch-size 32"),
        whisper.format(1, ""),
    ]  # 8 is ours too


def test_float16_is_refused_in_time_where_there_is_no_cuda(
    run: Run, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    grown(study)
    text = tiny_of(RECIPES / "paper-binary.toml")
    code, _, err = run("run", recipe(study, text))
    line = text[: text.index('dtype = "float16"')].count("\n") + 1
    sentence = f"toolkit: study.toml, line {line}, column 9: --dtype float16 trains on CUDA devices alone; take"
    assert code == 2 and err.startswith(sentence)
    assert not (study / "features").exists()


@pytest.mark.parametrize("name", ["paper-binary", "paper-multilabel"])
def test_the_papers_way_trains(run: Run, study: Path, name: str) -> None:
    text = tiny_of(RECIPES / f"{name}.toml").replace('dtype = "float16"', 'dtype = "float32"\nworkers = 1')
    text = text.replace("trials = 30", "trials = 1\nworkers = 1").replace("folds = 5", "folds = 3")
    text = text.replace("batch-size = 32", "batch-size = 8")  # of 18 clips
    text = text.replace("[extract]", '[extract]\ncontext = "clip"')  # else each clip is 30 s
    code, out, err = run("run", recipe(study, text))
    assert code == 0, err
    done = [json.loads(path.read_text()) for path in (study / "result").glob("*-finetune-*/run.json")]
    rates = {"paper-binary": [1e-5, 1e-5, 1e-4, 1e-4], "paper-multilabel": [1e-4, 1e-4]}[name]
    assert sorted(one["choices"][0]["setting"]["learning rate"] for one in done) == rates
    assert all(choice["setting"]["best epoch"] >= 1 for one in done for choice in one["choices"])
    assert ("optimistic by" in out) == (name == "paper-binary")
