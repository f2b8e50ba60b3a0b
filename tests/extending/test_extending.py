"""docs/extending.md: its packages are taken from the page, installed in a folder, and run in processes of their own."""

import contextlib
import gc
import io
import json
import os
import re
import sys
import tomllib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np
import pytest
import torch
import transformers

from tests import children, plugins
from tests.conftest import WriteSound, undraw
from tests.features.conftest import study
from tests.probe.conftest import corpus
from toolkit import cli
from toolkit.probe import run, winners
from toolkit.probe.registry import PROBES
from toolkit.result import run_files
from toolkit.result.predictions_reader import read_csv

__all__ = ["study"]
Given = TypeVar("Given")
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILE = re.compile(r'^```\w+ title="([\w-]+)/([\w.-]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages of the page, as pip would leave them."""
    folder = tmp_path_factory.mktemp("site")
    for _, name, text in FILE.findall(PAGE):
        if name != "pyproject.toml":
            (folder / name).write_text(text, encoding="utf-8")
            continue
        project = tomllib.loads(text)["project"]
        plugins.describe(folder, project["name"], project["entry-points"], project["version"])
    return folder


def enter(site: str) -> None:
    """A process as a user's whose Python finds the site's packages."""
    sys.path.insert(0, site)
    os.chdir(site)
    undraw(pytest.MonkeyPatch())
    gc.freeze()


def there(site: Path, function: Callable[..., Given], *given: object) -> Given:
    """What a function gives in a process of its own that finds the site's packages."""
    with ProcessPoolExecutor(1, children.SERVER, enter, (str(site),)) as process:
        return process.submit(function, *given).result()


Done = tuple[int, str, str]  # exit code, standard output, standard error


def carried_out(requests: list[list[str]]) -> list[Done]:
    """Commands one after the other."""
    found: list[Done] = []
    for words in requests:
        sys.argv = ["toolkit", *words]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as left:
            cli.main()
        found.append((int(left.value.code or 0), out.getvalue(), err.getvalue()))
    return found


def commands(site: Path, workspace: Path, *asked: tuple[object, ...]) -> list[Done]:
    """What came of each command of the program."""
    return there(site, carried_out, [[*map(str, words), "-w", str(workspace)] for words in asked])


def outputs(site: Path, workspace: Path, *asked: tuple[object, ...]) -> list[str]:
    """Their outputs; all of them succeed."""
    done = commands(site, workspace, *asked)
    assert all(code == 0 for code, _, _ in done), done
    return [out for _, out, _ in done]


def test_the_page_has_five_packages(site: Path) -> None:
    assert {path.name for path in site.glob("*.py")} == {
        "kappa_metric.py", "shrinkage_lda.py", "nemotron_family.py", "test_nemotron_family.py", "talks_layout.py",
        "decile_statistic.py",
    }  # fmt: skip


def promised(folder: Path) -> None:
    """In every kind of task: the kept models say what was predicted, the planted layer is found, and where nothing is
    standardised away the probabilities are scikit-learn's own.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # a second, in each process

    for kind in ("binary", "multiclass", "multilabel"):
        c, made = corpus(kind, clips_a_speaker=8, strength=8.0), folder / kind
        made.mkdir()
        options = {"study": made / "study.jsonl", "trials": 2, "workers": 1, "winners": made / "kept"}
        found = run.probe(c, c.task, c.truth, c.folds, c.speakers, probe="shrinkage-lda", **options)
        assert {choice.layer for choice in found.choices} == {"encoder.1"}, found.choices
        for winner in winners.read(made / "kept"):
            probability, decision = winner.apply([c.layer(layer) for layer in winner.layers])
            tested = c.folds.fold == winner.fold
            assert (probability[tested].astype(np.float32) == found.predictions.probability[tested]).all()
            assert (decision[tested] == found.predictions.prediction[tested]).all()

    c = corpus("multiclass", clips_a_speaker=12)
    layer, train = c.layer("encoder.1"), np.arange(40)
    setting = {"shrinkage": 0.3, "statistics": "both", "class_weights": "none"}
    fit = PROBES["shrinkage-lda"].build([layer], c.task, c.truth, 0, "cpu").refit(train, np.arange(72), setting, {}, "")
    matrix = layer.matrix("both")
    scaled = (matrix - matrix[train].mean(axis=0)) / matrix[train].std(axis=0)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3).fit(scaled[train], c.truth[train])
    np.testing.assert_allclose(fit.probability, theirs.predict_proba(scaled), atol=1e-5)


def test_the_probe_keeps_the_promises_of_every_probe(site: Path, tmp_path: Path) -> None:
    there(site, promised, tmp_path)


def test_the_probe_is_a_word_of_every_command_and_its_package_is_named(site: Path, study: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((36, 8))
    rows[:, 0] += 1.5 * np.array([(35 - number) % 2 for number in range(36)])
    np.save(study / "rows.npy", rows)
    words = ("probe", "--model", "mine", "--target", "mood", "--folds", 3, "--trials", 2, "--probe")
    predict = ("predict", "--from", "mood-mine-shrinkage-lda", study / "3.wav")
    explained, _, _, nearly, predicted = commands(
        site,
        study,
        ("probe", "--explain"),
        ("features", "import", "mine", study / "rows.npy", "--ids", study / "ids.txt"),
        (*words, "shrinkage-lda"),
        (*words, "shrinkage-ldo"),
        predict,
    )
    assert "of the covariance: 0 as the clips have it" in explained[1]
    assert predicted[0] == 0 and nearly[0] == 2 and "did you mean 'shrinkage-lda'?" in nearly[2]
    (folder,) = (study / "result").glob("mood-mine-shrinkage-lda-*")
    plugin = json.loads((folder / "run.json").read_text())["provenance"]["probe plugin"]
    assert (plugin["distribution"], plugin["version"], len(plugin["sha256"])) == ("shrinkage-lda", "1.0", 64)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "shrinkage-lda" in page and plugin["sha256"] in page

    predictions = read_csv(folder / "predictions.csv")
    from sklearn.metrics import cohen_kappa_score

    kappa = json.loads((folder / "metrics.json").read_text())["metrics"]["kappa"]
    assert 0 < kappa["estimate"] < 1 and kappa["lower"] < kappa["estimate"]
    assert kappa["estimate"] == pytest.approx(cohen_kappa_score(predictions.truth, predictions.prediction))
    assert "Cohen&#39;s kappa (kappa-metric 1.0)" in page

    source, predict = site / "shrinkage_lda.py", ("predict", "--from", folder.name, study / "3.wav")
    before = source.read_text()
    try:
        source.write_text(before + "\n# a line that may change what is computed\n")
        again, other = commands(site, study, (*words, "shrinkage-lda"), predict)
        assert again[0] == 0 and other[0] == 4 and "shrinkage-lda 1.0, which has other files now" in other[2]
    finally:
        source.write_text(before)
    assert len(list((study / "result").glob("mood-mine-shrinkage-lda-*/run.json"))) == 2
    ((code, _, err),) = commands(ROOT, study, predict)
    assert code == 4 and "made with the package shrinkage-lda 1.0, which is not installed" in err
    assert run_files.read(folder).probe == "shrinkage-lda"


def test_the_layout_is_listed_and_read(site: Path, write_sound: WriteSound, tmp_path: Path) -> None:
    for name in ("t01_M_calm_1.wav", "t02_F_glad_1.wav", "notes.wav"):
        write_sound(f"Talks/{name}", seconds=0.5)
    listed, made = outputs(
        site, tmp_path, ("manifest", "corpus", "--list"), ("manifest", "corpus", "talks", tmp_path / "Talks")
    )
    assert "Talks, 3 moods" in listed and "skipped: 1 audio files whose names do not follow the layout" in made
    assert (tmp_path / "manifest.csv").read_text(encoding="utf-8").splitlines()[1:] == [
        "t01_M_calm_1.wav,Talks/t01_M_calm_1.wav,t01,male,calm",
        "t02_F_glad_1.wav,Talks/t02_F_glad_1.wav,t02,female,glad"
    ]  # fmt: skip


def pytested(site: Path, path: Path) -> tuple[int, str]:
    """pytest's exit code and words."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = pytest.main(["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(site), str(path)])
    return int(code), out.getvalue()


def test_the_family_passes_the_page_s_own_test(site: Path) -> None:
    code, out = there(site, pytested, site, site / "test_nemotron_family.py")
    assert code == 0 and "1 passed" in out, out


def nemotron(folder: Path) -> None:
    """A tiny checkpoint of the page's family."""
    torch.manual_seed(0)
    encoder = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
        "subsampling_conv_channels": 16, "initializer_range": 0.3,
    }  # fmt: skip
    config = transformers.NemotronAsrStreamingConfig(
        encoder_config=encoder,
        vocab_size=50,
        blank_token_id=0,
        pad_token_id=0,
        decoder_hidden_size=16,
        joint_hidden_size=16,
    )
    transformers.NemotronAsrStreamingForRNNT(config).save_pretrained(folder)
    transformers.NemotronAsrStreamingFeatureExtractor().save_pretrained(folder)


def test_the_family_is_extracted_probed_and_fine_tuned_and_its_package_is_named(site: Path, study: Path) -> None:
    nemotron(study / "models" / "mine")
    tuning = ("--statistics", "mean", "--epochs", 1, "--batch-size", 4, "--dtype", "float32", "--device", "cpu",
              "--workers", 1)  # fmt: skip
    checked, *_ = outputs(
        site,
        study,
        ("models", "check", "mine", "--dtype", "float32"),
        ("extract", "--model", "mine", "--dtype", "float32", "--statistics", "decile-9"),
        ("probe", "--model", "mine", "--target", "mood", "--folds", 3, "--trials", 1),
        ("finetune", "--from", "mood-mine-linear", "--train", "head", *tuning),
    )
    assert "passed" in checked
    (store,) = (study / "features").glob("mine-*/shard-00000.json")
    plugin = json.loads((store.parent / "store.json").read_text())["settings"]["family plugin"]
    assert (plugin["distribution"], plugin["version"]) == ("nemotron-family", "1.0")
    decile = json.loads((store.parent / "store.json").read_text())["settings"]["decile-9 statistic plugin"]
    assert (decile["distribution"], decile["version"]) == ("decile-statistic", "1.0")
    with h5py.File(store.with_suffix(".h5")) as file:
        assert (
            file["decile-9"].shape == file["mean"].shape and (file["decile-9"][...] >= file["mean"][...]).mean() > 0.9
        )
    (probed,) = (study / "result").glob("mood-mine-linear-*")
    page = (probed / "report.html").read_text(encoding="utf-8")
    assert "nemotron-family" in page and plugin["sha256"] in page
    assert re.search(r"batches mode (masked|equal), proof when loaded 24 clips", page)
    (tuned,) = (study / "result").glob("mood-mine-finetune-head-*")
    assert json.loads((tuned / "run.json").read_text())["provenance"]["family plugin"] == plugin

    source = site / "nemotron_family.py"
    before = source.read_text()
    try:
        source.write_text(before + "\n# a line that may change what is computed\n")
        words = ("predict", "--from", probed.name, study / "3.wav"), ("finetune", "--from", probed.name)
        for code, _, err in commands(site, study, *words):
            assert code == 4 and "nemotron-family 1.0, which has other files now" in err
    finally:
        source.write_text(before)
    ((code, _, err),) = commands(ROOT, study, ("extract", "--model", "mine"))
    assert code == 4 and "Bad model_type 'nemotron_asr_streaming', expected one of" in err
