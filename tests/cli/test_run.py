"""`toolkit run` as a user meets it: a whole study, gone on with, its steps said; and wrong recipes, refused in time."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import toolkit
from tests.conftest import Run
from tests.models import tiny
from toolkit.core.errors import RecipeError
from toolkit.corpus import manifest
from toolkit.corpus.labels import HOTLINE
from toolkit.result.report import charts
from toolkit.study.recipe import read
from toolkit.study.shapes import LEFT_OUT, options, shapes

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = """\
[study]
target = "high"
folds = 3
# more of study

[extract]
model = "tiny-whisper"
context = "clip"
dtype = "float32"
workers = 1
# more of extract

[probe]
trials = 1
workers = 1
# more of probe

[[finetune]]
train = "head"
epochs = 1
head-epochs = 0
dtype = "float32"
workers = 1
# more of finetune
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Specifications take a second a run; the tests of the results' room make them."""
    monkeypatch.setattr(charts, "configured", lambda chart, palette: {})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace: 24 clips of 6 speakers with the hotline's labels too, and two tiny backbones."""
    folder = tmp_path_factory.mktemp("corpus")
    tiny.whisper(folder / "models" / "tiny-whisper")
    tiny.hubert(folder / "models" / "tiny-hubert")
    rows = []
    for number in range(24):
        time = np.arange(int(16_000 * (0.15 + 0.01 * (number % 5)))) / 16_000
        noise = np.random.default_rng(number).standard_normal(len(time))
        soundfile.write(folder / f"{number}.wav", 0.1 * np.sin(800 * (1 + number % 2) * time) + 0.01 * noise, 16_000)
        emotions = [str((number // 3 + label) % 2) for label in range(len(HOTLINE))]
        call = [str(number // 4 % 2), str(3 + number // 4 % 2), f"call{number // 4}"]
        labels = [str(number % 2), str(number % 3 % 2), *call]
        rows.append((f"c{number}", f"{number}.wav", f"s{number // 4}", *labels, *emotions))
    columns = ("id", "path", "speaker", "high", "negative", "suicidal", "risk", "recording", *HOTLINE)
    manifest.write(folder / "manifest.csv", columns, rows)
    return folder


@pytest.fixture
def study(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(corpus, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    return tmp_path / "study"


def recipe(folder: Path, text: str) -> Path:
    (folder / "study.toml").write_text(text, encoding="utf-8")
    return folder / "study.toml"


def test_a_study_from_recipe_to_comparison_then_it_stands(run: Run, study: Path) -> None:
    name = recipe(study, SMALL.replace("# more of study", "seed = 3"))
    code, asked, _ = run("run", name, "--dry-run")
    assert code == 0 and not (study / "features").exists() and not (study / "result").exists()
    lines = asked.splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["to", "do", "toolkit", step] for step in ("extract", "probe", "finetune", "compare")
    ]
    assert "toolkit finetune --from high-tiny-whisper-linear --train head" in lines[2] and "--seed 3" in lines[2]

    code, out, err = run("run", name)
    assert code == 0, err
    assert "step 4 of 4 is done" in err and "Made, or standing already:\n  high, linear probe of tiny-whisper:" in out
    told = out[out.index("Made, or") :]
    pages = [study / line.rsplit(": ", 1)[1] for line in told.splitlines()[1:]]
    assert len(pages) == 3 and all(path.is_file() for path in pages)
    tuned = json.loads((pages[1].parent / "run.json").read_text())["provenance"]
    assert tuned["from"] == pages[0].parent.name
    assert tuned["command"].startswith(f"toolkit finetune --from {tuned['from']} --train head")

    code, again, err = run("run", name)
    assert (code, again[again.index("Made, or") :]) == (0, told)
    assert [f"step {number} of 4 stands already" in err for number in (1, 2, 3, 4)] == [True, True, True, False]
    code, asked, _ = run("run", name, "--dry-run")
    assert [line.split()[0] for line in asked.splitlines()] == ["stands", "stands", "stands", "to"]
    # each line is the very command: typed by hand, it finds the same run
    code, _, err = run(*asked.splitlines()[2].split()[2:])
    assert code == 0 and "stood already" in err

    (study / "manifest.csv").write_text((study / "manifest.csv").read_text().replace(",s5,", ",s4,"))
    code, asked, _ = run("run", name, "--dry-run")
    assert [line.split()[0] for line in asked.splitlines()] == ["stands", "to", "to", "to"]


@pytest.mark.parametrize("own_split", [None, "speakers", "clips"])
def test_the_papers_split_is_run_beside_the_honest_one(run: Run, study: Path, own_split: str | None) -> None:
    if own_split:  # a column of the manifest's own is left unused in all four runs
        head, *lines = (study / "manifest.csv").read_text().splitlines()
        unit = 4 if own_split == "speakers" else 1
        rows = [f"{line},{number // unit % 3}" for number, line in enumerate(lines)]
        (study / "manifest.csv").write_text("\n".join([f"{head},split", *rows, ""]))
    name = recipe(study, SMALL.replace("# more of study", 'split-by = "clip"'))
    code, out, err = run("run", name)
    assert code == 0, err
    assert "step 6 of 6" in err and err.count("# speakers kept apart") == 1
    flattered = re.findall(r"(\S+): UAR .* with clips split one by one.*with speakers kept apart; optimistic by", out)
    assert flattered == ["linear", "finetune-head"]
    (leaking,) = (path for path in (study / "result").glob("high-*finetune*") if (path / "beside.json").exists())
    html = (leaking / "report.html").read_text(encoding="utf-8")
    assert "speakers kept apart" in html and ("split column is not used" in html) == bool(own_split)
    assert out.count("all side by side") == 2
    code, asked, _ = run("run", name, "--dry-run")
    assert [line.split()[0] for line in asked.splitlines()] == ["stands"] * 4 + ["to"] * 2


def test_clips_that_fail_make_the_exit_code_3_and_the_study_goes_on(run: Run, study: Path) -> None:
    (study / "7.wav").write_bytes((study / "7.wav").read_bytes()[:-200])
    contrast = '[[contrast]]\nby = "suicidal"\ngroups = "1,0"\nleast-clips = 1\n'
    code, out, err = run("run", recipe(study, SMALL.split("[[finetune]]")[0] + contrast))
    assert code == 3 and "failed: clip 'c7'" in err
    assert "high, linear probe of tiny-whisper: result/" in out and "compare" not in err
    page = re.search(r"high, callers by suicidal, linear probe of tiny-whisper: (\S+)", out)
    assert page and "suicidal" in (study / page[1]).read_text(encoding="utf-8")


def test_a_failure_stops_with_its_step_named(run: Run, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = recipe(study, SMALL)
    monkeypatch.setattr("toolkit.probe.round.headline_score", lambda *_: 1 / 0)
    code, _, err = run("run", name)
    assert code == 1
    assert "\nstopped in step 2 of 4: toolkit probe --model tiny-whisper-" in err and "a fault of ours" in err
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = run("run", name)
    assert code == 2 and "one process" in err


def test_the_random_control_is_made_on_the_way(run: Run, study: Path) -> None:
    text = SMALL.replace("# more of probe", 'control = ["random"]').split("[[finetune]]")[0]
    code, asked, _ = run("run", recipe(study, text), "--dry-run")
    assert code == 0
    assert [line.split()[3] for line in asked.splitlines()] == ["models", "extract", "probe"]
    code, out, err = run("run", study / "study.toml")
    assert code == 0 and (study / "models" / "tiny-whisper-random").is_dir() and "random weights" in out, err
    code, asked, _ = run("run", study / "study.toml", "--dry-run")
    assert [line.split()[0] for line in asked.splitlines()] == ["stands", "stands"]


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
    code, asked, err = run("run", recipe(study, text), "--dry-run")
    assert code == 0, err
    fused = path.stem == "pitch-fusion"
    tunes = path.stem in ("corrected", "paper-binary", "paper-multilabel")
    assert ("encoder-frozen" in asked, "--fusion early --fusion late" in asked) == (tunes, fused)
    assert "toolkit compare" in asked
    contrasts = [line for line in asked.splitlines() if "toolkit contrast" in line]
    assert len(contrasts) == (2 if path.stem == "hotline-contrast" else 0)
    assert all(line.endswith("--by suicidal --groups 1,0") for line in contrasts), contrasts
    kinds = ["--kind ordinal" in line for line in asked.splitlines() if "toolkit probe" in line]
    assert kinds == ([False, True] if path.stem == "call-risk" else [False] * len(kinds))
    leaks = path.stem == "paper-binary"  # the paper's other experiment tests callers who were never heard
    assert ("--split-by clip" in asked, "# speakers kept apart" in asked) == (leaks, leaks)


def test_the_papers_numbers_are_its_codes(run: Run, study: Path) -> None:
    grown(study)

    def told(path: Path) -> list[str]:
        text = tiny_of(path).replace('dtype = "float16"', 'dtype = "auto"')
        code, asked, err = run("run", recipe(study, text), "--dry-run")
        assert code == 0, err
        lines = [shlex.split(line, comments=True)[6:] for line in asked.splitlines() if " finetune " in line]
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
    said = f"toolkit: study.toml, line {line}, column 9: --dtype float16 trains on CUDA devices alone; take"
    assert code == 2 and err.startswith(said)
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


WRONG = [
    ("folds = 3", "folds = 2", "3, column 9", "--folds 2: at least 3 are needed"),
    (
        "folds = 3",
        "folds = 7",
        "3, column 9",
        "--folds 7 needs at least 7 different values of 'speaker'; the clips have 6",
    ),
    ("folds = 3", 'folds = "most"', "3, column 9", "Bad --folds 'most', expected a number from 3, or all"),
    ('"high"', '["high", "joy"]', "2, column 10", "No label column 'joy' in the manifest"),
    ("# more of study", 'group-by = "call"', "4, column 12", "No column 'call' to keep apart"),
    ("# more of study", 'split-by = "s"', "4, column 12", "Bad --split-by 's', expected one of ['group', 'clip']"),
    ("# more of study", 'manifest = "m.csv"', "4, column 12", "no file 'm.csv' in the workspace"),
    ("# more of study", 'manifest = "/m.csv"', "4, column 12", "manifest is an absolute path; expected one from the"),
    ("# more of study", 'audio-root = "wav"', "4, column 14", "no folder 'wav' in the workspace"),
    (
        "tiny-whisper",
        "whisper-tinny",
        "7, column 9",
        "Bad model 'whisper-tinny', expected one of ['hubert-base-ls960', ",
    ),
    ('"clip"', '"short"', "8, column 11", "Bad context 'short', expected one of ['full', 'clip']"),
    ("float32", "f8", "9, column 9", "Bad dtype 'f8', expected one of ['auto', 'bfloat16', "),
    ("workers = 1", "workers = 0", "10, column 11", "workers = 0, expected a whole number from 1"),
    ("# more of extract", 'layers = "0-9"', "11, column 10", "Bad layers 0-9, expected a range within 0-2 of tiny"),
    ("# more of extract", 'layers = "most"', "11, column 10", "Bad --layers 'most', expected a range such as 0-12"),
    ("# more of extract", 'frames = "decoder.1"', "11, column 10", "Bad --frames 'decoder.1', expected one of"),
    ("# more of extract", "hop = 2", "11, column 7", "--hop 2 without --window"),
    ("# more of extract", '[[contrast]]\nby = "age"', "12, column 6", "Bad --by 'age', expected one of ['speaker', "),
    ("# more of extract", "[[contrast]]", "11, column 1", "[contrast] has no 'by'; expected text"),
    ("# more of extract", '[[contrast]]\nby = "suicidal"\nnegative = "joy"', "13, column 12", "Bad --negative 'joy'"),
    ("# more of extract", '[[contrast]]\nby = "suicidal"\nmodel = "x"', "13, column 9", "Bad model 'x', expected one"),
    ("# more of extract", '[[target]]\nname = "low"', "12, column 8", "Bad name 'low', expected one of ['high']"),
    ("# more of extract", '[[target]]\nname = "high"\nkind = "odd"', "13, column 8", "Bad --kind 'odd', expected one"),
    ("trials = 1", "trials = 1.5", "14, column 10", "trials = 1.5, expected a whole number from 1"),
    ("# more of probe", "minutes = 3", "14, column 10", "--trials and --minutes are two ways to end a search"),
    ("# more of probe", "repeats = 16", "16, column 11", "--repeats 16: only"),  # 6 speakers have 15 deals to 3 folds
    ("# more of probe", 'probe = "svm"', "16, column 9", "Bad probe 'svm', expected one of ['linear', 'mlp', "),
    ("# more of probe", 'control = "noise"', "16, column 11", "Bad --control 'noise', expected one of ['shuffled', "),
    ("# more of probe", 'nuisance = "age"', "16, column 12", "Bad --nuisance 'age', expected one of ['duration', "),
    ('"head"', '"top"', "19, column 9", "Bad --train 'top', expected one of ['full', "),
    ('"head"', '"encoder-frozen"\nmodel = "tiny-hubert"', "20, column 9", "Bad model 'tiny-hubert', expected one of"),
    (
        '"head"',
        '"top-99"',
        "19, column 9",
        "--train top-99 needs 99 layers, and the model of the round that tests fold 0",
    ),
    ("epochs = 1", "epochs = 0", "20, column 10", "epochs = 0, expected a whole number from 1"),
    ("# more of finetune", 'target = "high"', "24, column 1", "unknown key in [finetune]: 'target'"),
    (
        "# more of finetune",
        "grad-accum-steps = 3",
        "24, column 20",
        "--grad-accum-steps 3: a batch of 8 has",
    ),
    ("# more of finetune", "warmup = 1.5", "24, column 10", "Bad --warmup 1.5, expected 0 to below 1"),
    ("# more of finetune", 'device = "gpu"', "24, column 10", "Bad device 'gpu', expected one of"),
    ("# more of finetune", 'class-weights = "some"', "24, column 17", "Bad --class-weights 'some', expected one of"),
    (
        "# more of finetune",
        'device = "cpu"\n[[finetune]]\ndtype = "float16"\ndevice = "cpu"',
        "26, column 9",
        "--dtype float16 trains on CUDA devices alone; take bfloat16 or float32",
    ),
    ("# more of finetune", 'depth = "half"', "24, column 9", "Bad --depth 'half', expected one of ['best', 'full']"),
    ("# more of finetune", 'probe = "mlp"', "24, column 9", "Bad probe 'mlp', expected one of ['linear']"),
    ("# more of finetune", 'top = 2\ndepth = "full"', "24, column 7", "--top takes the best layers of a"),
    ("# more of finetune", "top = 9", "24, column 7", "--top 9: a probe of tiny-whisper has 3 layers"),
    ("# more of finetune", "batch-size = 99", "24, column 14", "--batch-size 99: there are 24 clips"),
    (
        "# more of finetune",
        "lora-rank = 4",
        "24, column 13",
        "--lora-rank is LoRA's; it has no effect without",
    ),
    ("# more of finetune", 'statistics = "max"', "24, column 14", "Bad --statistics 'max', expected one of"),
    ("# more of finetune", "search = 5\ntop = 2", "25, column 7", "--top gives each model its layer, and --search"),
    (
        'train = "head"',
        'train = "encoder-frozen"\nstatistics = "both"',
        "20, column 14",
        "--statistics both: decoder.2 has one frame a clip, the start token's; leave it out",
    ),
    ('train = "head"', 'train = "full"\ntrain-convolutions = true', "20, column 22", "--train-convolutions has no"),
    (
        '"head"',
        '"top-2"\nepochs = 2\n[[finetune]]\ntrain = "top-2"\ncontext = "clip"\ntop = 4',
        "24, column 7",
        "--top 4: a probe of tiny-whisper has 3 layers",
    ),
    (
        "# more of probe",
        'device = "gpu"',
        "16, column 10",
        "Bad device 'gpu', expected one of ['cpu', 'cuda', 'gpu (of",
    ),
    (
        "# more of finetune",
        '[compare]\nsubgroups = "sex"',
        "25, column 13",
        "Bad --subgroups 'sex', expected one of ['high', ",
    ),
    ("# more of finetune", '[compare]\nlanguage = "fr"', "25, column 12", "Bad language 'fr', expected one of ['en', "),
    ("# more of finetune", "learning_rate = 1", "24, column 1", "unknown key in [finetune]: 'learning_rate', did you"),
]


@pytest.mark.parametrize(("old", "new", "where", "sentence"), WRONG, ids=[f"{old} {new}" for old, new, *_ in WRONG])
def test_a_wrong_recipe_is_one_sentence_before_a_model_loads(
    run: Run,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    old: str,
    new: str,
    where: str,
    sentence: str,
) -> None:
    for place in ("toolkit.models.load.load", "toolkit.extract.setup.load"):
        monkeypatch.setattr(place, lambda *_, **__: pytest.fail("a model was loaded"))
    assert old in SMALL
    code, out, err = run("run", recipe(tmp_path, SMALL.replace(old, new, 1)), "-w", corpus)
    assert (code, out) == (2, "")
    assert err.startswith(f"toolkit: study.toml, line {where}: {sentence}") and err.count("\n") == 1
    assert not (corpus / "features").exists() and str(corpus) not in err


def test_a_question_that_a_round_cannot_learn_is_refused_in_time(run: Run, study: Path) -> None:
    head, *lines = (study / "manifest.csv").read_text().splitlines()
    rows = [f"{line},{int(',s0,' in line)}" for line in lines]
    (study / "manifest.csv").write_text("\n".join([f"{head},sole", *rows, ""]))
    code, _, err = run("run", recipe(study, SMALL.replace('"high"', '["high", "sole"]')), "--dry-run")
    assert code == 2 and re.match(
        r"toolkit: study.toml, line 2, column 10: In the round that tests fold \d the training clips have nothing to",
        err,
    )


def test_what_is_false_in_a_recipe_is_typed_so(run: Run, corpus: Path, tmp_path: Path) -> None:
    more = "refit-on-development = false\nseeds = 3\ngradient-checkpointing = false"
    text = SMALL.replace("# more of finetune", more)
    text = text.replace('"head"', '"lora"')
    code, asked, err = run("run", recipe(tmp_path, text), "--dry-run", "-w", corpus)
    assert code == 0, err
    (line,) = (line for line in asked.splitlines() if " finetune " in line)
    assert " --no-refit-on-development" in line and " --seeds 3" in line and "gradient-checkpointing" not in line


def test_seeds_of_probes_and_tunings_are_runs_of_one_study(run: Run, study: Path) -> None:
    text = SMALL.replace("# more of probe", "seeds = 2\nrepeats = 2").replace("# more of finetune", "seeds = 2")
    name = recipe(study, text)
    code, _, err = run("run", name)
    assert code == 0, err
    told = {}
    for path in (study / "result").glob("high-*/run.json"):
        content = json.loads(path.read_text())
        if content.get("probe"):
            stated = content["provenance"]
            told.setdefault(content["probe"], []).append((stated["deal"], stated["seed"], stated.get("from", "")))
    assert sorted(one[:2] for one in told["linear"]) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert sorted(one[:2] for one in told["finetune-head"]) == [(0, 0), (0, 1)]
    (origin,) = {one[2] for one in told["finetune-head"]}
    first = json.loads((study / "result" / origin / "run.json").read_text())["provenance"]
    assert (first["deal"], first["seed"]) == (0, 0)  # of the first deal, which the tunings share
    code, asked, _ = run("run", name, "--dry-run")
    assert [line.split()[0] for line in asked.splitlines()] == ["stands", "stands", "stands", "to"]


def test_a_probe_stands_once_its_shuffles_and_its_learning_curve_are_there(run: Run, study: Path) -> None:
    text = SMALL.split("[[finetune]]")[0]

    def stands(more: str) -> bool:
        code, asked, err = run("run", recipe(study, text.replace("# more of probe", more)), "--dry-run")
        assert code == 0, err
        return asked.splitlines()[-1].startswith("stands")

    assert run("run", recipe(study, text.replace("# more of probe", 'control = "shuffled"\nshuffles = 2')))[0] == 0
    assert stands("") and stands('control = "shuffled"\nshuffles = 2')
    assert not stands('control = "shuffled"\nshuffles = 3') and not stands('control = "shuffled"')
    assert not stands("online = true")
    assert run("run", recipe(study, text.replace("# more of probe", "online = true")))[0] == 0
    assert stands('online = true\ncontrol = "shuffled"\nshuffles = 2')


def test_a_backbone_that_is_not_there_is_the_machines_no(run: Run, corpus: Path, tmp_path: Path) -> None:
    text = SMALL.replace("tiny-whisper", "whisper-small")
    code, _, err = run("run", recipe(tmp_path, text), "-w", corpus)
    assert code == 4 and "`toolkit models fetch whisper-small` gets it" in err


def test_every_table_takes_every_option_of_its_command_but_those_that_the_recipe_gives() -> None:
    for stage, left_out in LEFT_OUT.items():
        own = {option.parameter for option in options(stage).values()}
        assert set(left_out) <= own, "an option of the stage was renamed"
    assert shapes()["finetune"].options["learning-rate"].parameter == "learning_rate"
    assert shapes()["probe"].options["trials"].low == 1


def test_a_recipe_is_followed_from_python_to_the_same_files(run: Run, study: Path) -> None:
    name, said = recipe(study, SMALL), list[str]()
    space = toolkit.open(study, say=said.append)
    planned = space.run(name, dry_run=True)
    assert (
        [made for _, made in planned.steps] == [False] * 4 and not planned.pages and not (study / "features").exists()
    )
    made = space.run(name)
    assert [title for title, _ in made.pages] == [
        "high, linear probe of tiny-whisper", "high, tiny-whisper fine-tuned (head)", "high: all side by side",
    ]  # fmt: skip
    assert all(page.is_file() for _, page in made.pages) and "toolkit compare" in said[-1] + said[-2]
    assert list(made.table()["command"]) == [command for command, _ in made.steps]
    code, asked, err = run("run", name, "--dry-run")
    assert code == 0 and [line.split()[0] for line in asked.splitlines()] == ["stands", "stands", "stands", "to"], err
    with pytest.raises(RecipeError, match="line 3, column 9: folds 2: at least 3"):
        space.run(recipe(study, SMALL.replace("folds = 3", "folds = 2")))


def test_a_checkpoint_by_its_path_is_one_name_for_every_command(run: Run, study: Path) -> None:
    (study / "elsewhere").mkdir()
    (study / "models" / "tiny-hubert").rename(study / "elsewhere" / "my-hubert")
    text = SMALL.replace('"tiny-whisper"\ncontext = "clip"', '"elsewhere/my-hubert"').replace(
        "epochs = 1", "epochs = 1\nsave-weights = true", 1
    )
    code, _, err = run("run", recipe(study, text))
    assert code == 0 and (study / "models" / "my-hubert").is_symlink(), err
    tuned = next((study / "result").glob("*-finetune-*")).name
    assert run("predict", "--from", tuned, study / "1.wav")[0] == 0
    for named in ("my-hubert", "elsewhere/my-hubert", "models/my-hubert"):
        code, _, err = run("probe", "--model", named, "--target", "high", "--folds", 3, "--trials", 1)
        assert code == 0 and "stood already" in err, (named, err)
