"""What is run by hand keeps running: bench/ on the smallest input, and every command line that names a script of it."""

import argparse
import importlib
import re
import runpy
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.models import tiny
from tests.test_docs import PAGES, refusal

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "bench"
SMALL = "--clips 100 --width 8 --trials 1"


class TakenError(Exception):
    """The command line was taken."""


@pytest.fixture(autouse=True)
def as_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    for name in ("OMP_NUM_THREADS", "RAY_USAGE_STATS_ENABLED"):  # which a script sets
        monkeypatch.setenv(name, "1")


def imported(script: str) -> Any:
    return importlib.import_module(f"bench.{script}")


def run(script: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What `python bench/SCRIPT.py WORDS` prints."""
    monkeypatch.setattr(sys, "argv", [script, *shlex.split(words)])
    imported(script).main()
    return capsys.readouterr().out


def documented() -> list[tuple[str, str]]:
    """Script and words of each command line in docs/ and the scripts' docstrings; of `a|b` the first."""
    texts = [(ROOT / page).read_text(encoding="utf-8") for page in (*PAGES, "docs/benchmarks.md")]
    texts += [path.read_text(encoding="utf-8").split('"""')[1] for path in BENCH.glob("*.py")]
    found = set()
    for script, words in re.findall(r"(?:-m bench\.|\bbench/)(\w+)(?:\.py)?((?: [^`\n]*)?)", "\n".join(texts)):
        found.add((script, re.sub(r"[\[\]]|\|\w+", "", re.split(r"  |#|\.\.\.|and ", words)[0]).strip()))
    return sorted(found)


def taken(file: Path, words: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the script takes the words; nothing of it runs but its imports."""
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser) -> None:
        parse(parser)
        raise TakenError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", [str(file), *shlex.split(words)])
    with pytest.raises(TakenError):
        runpy.run_path(str(file), run_name="__main__")
    return True


@pytest.mark.parametrize("script", sorted({script for script, _ in documented()}))
def test_what_the_pages_and_the_scripts_say_is_taken(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, words in documented():
        assert name != script or taken(BENCH / f"{script}.py", words, monkeypatch)
    text = (BENCH / f"{script}.py").read_text(encoding="utf-8")
    assert "sys.path.insert(0" in text or not re.search("^from (tests|demo)", text, re.MULTILINE)


def test_what_is_prepared_for_a_gpu_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = imported("gpu")
    assert all((ROOT / "tests" / file).is_file() for file in gpu.TESTS)
    for step in gpu.STEPS[1:]:
        assert taken(ROOT / step.command[0], shlex.join(step.command[1:]), monkeypatch)


def test_targets_of_make_are_those_that_the_pages_name() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert targets - {"help"} == set(re.findall(r"echo 'make ([a-z]+) ", makefile))
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        assert set(re.findall(r"(?:`|^    )(?:\w+=\S+ )?make ([a-z]+)", text, re.MULTILINE)) <= targets, page


@pytest.mark.parametrize(
    ("script", "words", "printed"),
    [
        ("ridge", "--clips 60 --width 4 --folds 2 --strengths 2", "predictions apart by "),
        ("engines", f"lightgbm {SMALL} --rounds 0 --clock processor", "its whole search takes"),
        ("engines", f"mlp {SMALL} --loop-seconds 0 --workers 1", "torch one by one, 1 thread"),
        ("sweep", f"run {SMALL} --workers 1", "13 layers: ~"),
        ("units", "--clips 60 --units 30 --width 40 --folds 3 --rounds 1 --trials 1", "mil: 60 clips in 30 units"),
        ("scale", "", "| all six |"),
    ],
)
def test_it_runs(
    script: str, words: str, printed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed in run(script, words, monkeypatch, capsys)


@pytest.mark.parametrize("stage", ["extract", "probe"])
def test_what_other_processes_are_given_is_taken(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peers, ray_cluster, seen = imported("peers"), imported("ray_cluster"), []
    monkeypatch.setattr(peers, "run", lambda title, commands, folder, score: seen.extend(commands))
    (tmp_path / "model").mkdir()
    peers.toolkit("", ["--manifest", "m.csv", "--audio-root", "."], tmp_path / "model", "mood", tmp_path, "4-4", 10)
    given = SimpleNamespace(clips_per_shard=4, pause=0.0)
    seen.append(["toolkit", *ray_cluster.Study(tmp_path, given, stage)._words, "--ray", "local"])
    assert len(seen) == 3 and not [refusal(shlex.join(words)) for words in seen if refusal(shlex.join(words))]
    import toolkit.extract.plan
    import toolkit.extract.ray
    import toolkit.probe.ray

    for module, name in (
        (toolkit.extract.plan, "CLIPS_PER_SHARD"),
        (toolkit.extract.ray, "_compute"),
        (toolkit.probe.ray, "_fit"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))  # put back after the driver's own
    monkeypatch.setattr(sys, "argv", ["", "log", "4", "0"])
    exec(ray_cluster.DRIVER.replace("\nmain()\n", ""), {"__name__": "__main__"})  # noqa: S102
    assert toolkit.extract.plan.CLIPS_PER_SHARD == 4
    pickle = pytest.importorskip("cloudpickle")  # as Ray sends them to its nodes
    assert all(pickle.dumps(work) for work in (toolkit.extract.ray._compute, toolkit.probe.ray._fit))


def test_what_grows_is_counted() -> None:
    sweep = imported("sweep")
    options = SimpleNamespace(width=8, labels=2, kind="binary", probe="linear", workers=1)
    with sweep.iterations() as seen:
        seconds, spent, _ = sweep.measured(options, 60, 1, 1)
    assert seen["iterations"] > 0 and seen["columns"] > 0 and seconds > 0 and spent > 0


def test_probes_are_compared_with_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = imported("probe")
    monkeypatch.setattr(probe, "by_default", lambda *given: 1.0)  # in a process of its own
    monkeypatch.setattr(probe, "peak", lambda clock: 1.0)
    for kind in probe.KINDS:
        case = probe.synthetic(200, 8, 3, kind)
        assert len(probe.compare(case, 2, 0, 1, 1, "processor", "lbfgs")) == 7
        assert "of the matrix-product peak" in probe.share_of_peak(case, 1, "processor")


def test_what_is_measured_of_scale() -> None:
    scale = imported("scale")
    assert scale.driver(20)["clips"] == 20
    assert scale.fit(50, width=4, settings=2)["s a fit"] > 0


@pytest.mark.parametrize(
    ("script", "words", "printed"),
    [
        ("extract", "--clips 3 --model hubert-base --repeats 1 --profile", "off by"),
        ("extract", "--clips 3 --front-end", "log-mel, full context"),
        ("own_forward", "--clips 2 --pairs 1", "of 1,000 clips"),
        ("precision", "--checkpoint CHECKPOINT --clips 2", "deviation"),
        ("extract_memory", "10", "of the first"),
    ],
)
def test_it_runs_on_a_tiny_backbone(
    script: str,
    words: str,
    printed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workload = importlib.import_module("workload")
    monkeypatch.setitem(workload.CONFIGS, "hubert-base", workload.CONFIGS["tiny"])
    monkeypatch.setattr(workload, "LONGEST", 1.0)
    module = imported(script)

    def in_this_process(command: list[str], **options: Any) -> SimpleNamespace:
        with redirect_stdout(StringIO()) as out:
            monkeypatch.setattr(sys, "argv", command[1:])
            module.main()
        return SimpleNamespace(stdout=out.getvalue())

    replaced = {"peak": lambda dtype, device: 1.0, "FILES": 9}
    for name in replaced.keys() & vars(module).keys():
        monkeypatch.setattr(module, name, replaced[name])
    monkeypatch.setattr(subprocess, "run", in_this_process)
    words = words.replace("CHECKPOINT", str(tiny.hubert(tmp_path / "tiny")))
    assert printed in run(script, words, monkeypatch, capsys)
