"""A user's own code from `extract` to `predict`, and where it is not run: recipes, fine-tuning, other machines."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import toolkit
from tests.conftest import Run
from tests.features.conftest import study
from tests.models import onnx_files, own, tiny
from toolkit.core.errors import InputError, RecipeError

__all__ = ["study"]
RECIPE = """
[study]
target = "mood"
folds = 3
[extract]
model = {model!r}
[probe]
trials = 1
"""


@pytest.fixture(autouse=True)
def here(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own.write(study)
    monkeypatch.chdir(study)


def probed(run: Run, study: Path) -> Path:
    """A probe run on the file's features."""
    code, _, err = run("extract", "--model", "./mine.py:large")
    assert code == 0 and "mine.py is code of your own, and is run" in err, err
    assert run("probe", "--model", "mine-large", "--target", "mood", "--folds", 3, "--trials", 1)[0] == 0
    (folder,) = study.glob("result/mood-mine-large-linear-*")
    return folder


def test_it_is_extracted_probed_and_asked_about_new_audio(run: Run, study: Path) -> None:
    folder = probed(run, study)
    (store,) = study.glob("features/mine-large-*/store.json")
    settings = json.loads(store.read_text())["settings"]
    code = settings["own code"]
    assert settings["family"] == "own code" and len(settings["weights_sha256"]) == len(code["sha256"]) == 64
    assert (code["file"], code["factory"], settings["batches"]["mode"] != "masked") == ("mine.py", "large", True)
    assert str(study) not in store.read_text()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert code["sha256"] in page and settings["weights_sha256"] in page

    assert run("predict", "--from", folder.name, "3.wav")[0] == 0  # whose features are there
    words = ("predict", "--from", folder.name, "new.wav", "--own-code", "mine.py:large")
    new = study / "new.wav"
    sound, rate = soundfile.read(study / "3.wav", dtype="float32")
    soundfile.write(new, sound[:-50], rate, subtype="FLOAT")
    status, _, err = run(*words[:-2])
    assert status == 2 and "for 1 clips without features that must be run again, which takes --own-code" in err
    status, _, err = run(*words)
    assert status == 0 and "mine.py is code of your own, and is run" in err, err
    soundfile.write(new, sound[:-70], rate, subtype="FLOAT")
    own.write(study, "def prepare", "# other source\n\n\ndef prepare")
    status, _, err = run(*words)
    assert status == 4 and "mine.py:large is not the code that mood-mine-large-linear-" in err
    own.write(study, "manual_seed(3)", "manual_seed(4)")
    status, _, err = run(*words)
    assert status == 4 and "mine-large has other weights than those" in err


def test_in_a_fusion_it_is_probed_and_asked_about_new_audio(run: Run, study: Path) -> None:
    tiny.hubert(study / "models" / "tiny")
    for model in ("./mine.py:large", "tiny"):
        assert run("extract", "--model", model, "--dtype", "float32")[0] == 0
    options = ("--target", "mood", "--folds", 3, "--trials", 1)
    code, _, err = run("probe", "--model", "./mine.py:large+tiny", *options)  # as it was extracted
    assert code == 0, err
    (folder,) = study.glob("result/mood-mine-large+tiny-*")
    run_json = json.loads((folder / "run.json").read_text())
    assert "mine-large" in json.dumps(run_json)
    new = study / "new.wav"
    sound, rate = soundfile.read(study / "3.wav", dtype="float32")
    soundfile.write(new, sound[:-50], rate, subtype="FLOAT")
    code, _, err = run("predict", "--from", folder.name, "new.wav")
    assert code == 2 and "takes --own-code" in err, err
    code, _, err = run("predict", "--from", folder.name, "new.wav", "--own-code", "mine.py:large")
    assert code == 0 and "mine.py is code of your own, and is run" in err, err


def test_a_store_is_found_by_the_file_that_made_it_and_no_other(run: Run, study: Path) -> None:
    options = ("--target", "mood", "--folds", 3, "--trials", 1)
    for change in ("manual_seed(3)", "manual_seed(4)"):
        own.write(study, "manual_seed(3)", change)
        assert run("extract", "--model", "mine.py:large")[0] == 0
    code, _, err = run("probe", "--model", "mine-large", *options)
    assert code == 4 and "Several stores of 'mine-large'" in err
    code, _, err = run("probe", "--model", "mine.py:large", *options)
    (kept,) = study.glob("result/mood-mine-large-linear-*/run.json")
    wanted = hashlib.sha256((study / "mine.py").read_bytes()).hexdigest()
    assert code == 0 and wanted in kept.read_text(), err
    own.write(study, "manual_seed(3)", "manual_seed(5)")
    for model, sentence in [
        (
            "mine.py:large",
            "No features of 'mine.py:large' in features/ (there: mine-large); `toolkit extract --model mine",
        ),
        ("gone.py:large", "--model gone.py: there is no such file; its features are called gone-large"),
    ]:
        code, _, err = run("probe", "--model", f"{model}+mine-large", *options)
        assert code == 4 and sentence in err and "Traceback" not in err, err


def test_an_onnx_graph_is_extracted_probed_and_asked_about_new_audio(run: Run, study: Path) -> None:
    onnx_files.write(study / "net.onnx")
    code, _, err = run("extract", "--model", "./net.onnx:hidden.*", "--model", "mine.py:large")
    assert code == 0 and "net.onnx is code of your own, and is run" in err, err
    (store,) = study.glob("features/net-onnx-*/store.json")
    settings = json.loads(store.read_text())["settings"]
    sha256 = hashlib.sha256((study / "net.onnx").read_bytes()).hexdigest()
    assert settings["own code"] == {"file": "net.onnx", "factory": "hidden.*", "sha256": sha256}
    code, out, err = run("models", "check", "net.onnx")
    assert code == 0 and out.startswith("passed: net-onnx on cpu in float32, "), err
    options = ("--target", "mood", "--folds", 3, "--trials", 1)
    assert run("probe", "--model", "net.onnx:hidden.*+mine.py:large", *options)[0] == 0
    assert run("probe", "--model", "net.onnx:hidden.*", *options)[0] == 0
    (folder,) = study.glob("result/mood-net-onnx-linear-*")
    assert sha256 in (folder / "report.html").read_text(encoding="utf-8")
    sound, rate = soundfile.read(study / "3.wav", dtype="float32")
    soundfile.write(study / "new.wav", sound[:-50], rate, subtype="FLOAT")
    code, _, err = run("predict", "--from", folder.name, "new.wav")
    assert code == 2 and "which takes --own-code path/to/net.onnx:hidden.*" in err
    code, _, err = run("predict", "--from", folder.name, "new.wav", "--own-code", "net.onnx:hidden.*")
    assert code == 0, err
    (study / "r.toml").write_text(RECIPE.format(model="net.onnx"))
    code, _, err = run("run", "r.toml")
    assert code == 2 and "Bad model 'net.onnx': it is code, which is run; type --own-code" in err
    code, _, err = run("extract", "--model", "net.onnx:layers.*")
    assert code == 4 and "net-onnx: net.onnx has no output 'layers.*' of three axes" in err and "Trace" not in err


def test_started_again_the_finished_store_stands_and_other_code_gets_its_own(run: Run, study: Path) -> None:
    for _ in range(2):
        assert run("extract", "--model", "mine.py:large")[0] == 0
    assert len(list(study.glob("features/mine-large-*"))) == 1
    own.write(study, "manual_seed(3)", "manual_seed(4)")
    assert run("extract", "--model", "mine.py:large")[0] == 0
    assert len(list(study.glob("features/mine-large-*"))) == 2


def test_it_is_not_fine_tuned_nor_sent_to_other_machines(run: Run, study: Path) -> None:
    folder = probed(run, study)
    for words, sentence in [
        (("finetune", "--from", folder.name), "probed features of code of your own, which cannot be fine-tuned"),
        (("finetune", "--model", "./mine.py:large", "--target", "mood"), "is code of your own, no checkpoint"),
        (("models", "randomise", "./mine.py:large"), "is code of your own, no checkpoint"),
        (("extract", "--model", "./mine.py:large", "--ray", "local"), "--ray: mine-large is code of your own, which"),
        (("extract", "--model", "./mine.py:large", "--dtype", "bfloat16"), "runs by its own forward, in float32"),
        (("extract", "--model", "./mine.py"), "--model mine.py names no factory"),
        (("extract", "--model", "gone.py:large"), "the file cannot be read"),
    ]:
        code, out, err = run(*words)
        assert (code, out) == (2, "") and sentence in err and err.count("\n") <= 2, (words, err)
    own.write(study, "torch.manual_seed(3)", "1 / 0")
    code, _, err = run("extract", "--model", "mine.py:large")
    assert code == 4 and "toolkit: mine-large: mine.py:large fails: ZeroDivisionError division by zero" in err
    assert "Traceback" not in err


def test_a_recipe_runs_a_file_only_when_that_is_typed(run: Run, study: Path) -> None:
    (study / "r.toml").write_text(RECIPE.format(model="./mine.py:large"))
    (study / "mine.py").write_text("import pathlib\n\npathlib.Path('ran').touch()\n" + own.GOOD)
    code, _, err = run("run", "r.toml")
    sentence = "r.toml, line 6, column 9: Bad model './mine.py:large': it is code, which is run; type --own-code"
    assert code == 2 and sentence in err
    assert run("run", "r.toml", "--dry-run")[0] == 2
    with pytest.raises(RecipeError, match="own_code"):
        toolkit.open(study).run("r.toml")
    assert not (study / "ran").exists()
    code, out, err = run("run", "r.toml", "--own-code")
    assert code == 0 and (study / "ran").exists() and list(study.glob("result/mood-mine-large-linear-*")), err
    code, out, _ = run("run", "r.toml", "--own-code", "--dry-run")
    assert code == 0 and out.count("done    toolkit") == 2
    for more, sentence in [("control = 'random'", "line 9, column 11: mine-large is code, of which"),
                       ("[[finetune]]\ntrain = 'head'", "model mine-large cannot be fine-tuned")]:  # fmt: skip
        (study / "r.toml").write_text(RECIPE.format(model="./mine.py:large") + more)
        with pytest.raises(InputError, match=sentence):
            toolkit.open(study).run("r.toml", own_code=True)


def test_own_code_is_refused_where_it_means_nothing(run: Run, study: Path) -> None:
    np.save(study / "e.npy", np.random.default_rng(0).standard_normal((36, 4)))
    assert run("features", "import", "theirs", "e.npy", "--ids", "ids.txt")[0] == 0
    assert run("probe", "--model", "theirs", "--target", "mood", "--folds", 3, "--trials", 1)[0] == 0
    (folder,) = study.glob("result/mood-theirs-linear-*")
    code, _, err = run("predict", "--from", folder.name, "3.wav", "--own-code", "mine.py:large")
    assert code == 2 and f"--own-code has no effect on {folder.name}" in err
