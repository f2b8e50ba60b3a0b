"""Wrong recipes, refused in time."""

import re
from pathlib import Path

import pytest

from tests.cli.conftest import SMALL, recipe
from tests.conftest import Run

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
    code, printed, err = run("run", recipe(tmp_path, text), "--dry-run", "-w", corpus)
    assert code == 0, err
    (line,) = (line for line in printed.splitlines() if " finetune " in line)
    assert " --no-refit-on-development" in line and " --seeds 3" in line and "gradient-checkpointing" not in line


def test_a_backbone_that_is_not_there_is_the_machines_no(run: Run, corpus: Path, tmp_path: Path) -> None:
    text = SMALL.replace("tiny-whisper", "whisper-small")
    code, _, err = run("run", recipe(tmp_path, text), "-w", corpus)
    assert code == 4 and "`toolkit models fetch whisper-small` gets it" in err
