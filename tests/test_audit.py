"""`.ci/audit.py` told by a stub what pip-audit found, which its service does not tell everywhere."""

import importlib.util
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "audit.py"
FOUND = [{"id": "PYSEC-2099-1", "fix_versions": ["9.9"]}, {"id": "GHSA-xxxx"}]
Answer = Callable[[list[str]], list[dict[str, object]] | None]  # the names asked for -> pip-audit's dependencies


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Answer], int]:
    """The script's exit code for two pinned packages, with pip-audit's answer to each question."""
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "constraints.txt").write_text("# pinned\nnumpy==2.0\njinja2==3.1\n")
    monkeypatch.chdir(tmp_path)

    def given(answer: Answer) -> int:
        def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
            asked = Path(command[command.index("--requirement") + 1]).read_text()
            names = [line.partition("==")[0] for line in asked.splitlines() if "==" in line]
            dependencies = answer(names)
            if dependencies is None:
                raise subprocess.TimeoutExpired(command, 1)
            return subprocess.CompletedProcess(command, 1, json.dumps({"dependencies": dependencies, "fixes": []}), "")

        monkeypatch.setattr(module.subprocess, "run", run)
        return int(module.main())

    return given


def audited(names: list[str], bad: str = "") -> list[dict[str, object]]:
    return [{"name": name, "version": "1.0", "vulns": FOUND if name == bad else []} for name in names]


def test_findings_are_named_and_fail_the_check(
    check: Callable[[Answer], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(lambda names: audited(names, "jinja2")) == 1
    assert capsys.readouterr().out.splitlines() == [
        "pip-audit: jinja2 1.0: PYSEC-2099-1, GHSA-xxxx",
        "pip-audit: 2 of 2 packages audited, 1 with known vulnerabilities",
    ]


def test_a_finding_in_the_package_that_is_asked_for_first_is_one(check: Callable[[Answer], int]) -> None:
    assert check(lambda names: audited(names, "numpy")) == 1


def test_nothing_found_passes(check: Callable[[Answer], int], capsys: pytest.CaptureFixture[str]) -> None:
    assert check(audited) == 0
    assert capsys.readouterr().out == "pip-audit: 2 of 2 packages audited, 0 with known vulnerabilities\n"


@pytest.mark.parametrize("answer", [None, "skipped", "silent"])
def test_no_answer_claims_nothing(
    check: Callable[[Answer], int], answer: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(names: list[str]) -> list[dict[str, object]] | None:
        if answer == "skipped":
            return [{"name": name, "skip_reason": "not on PyPI"} for name in names]
        return None if answer is None else []

    assert check(told) == 0
    assert "the dependencies were not audited" in capsys.readouterr().out


def test_a_package_that_could_not_be_asked_for_is_not_counted_as_audited(
    check: Callable[[Answer], int], capsys: pytest.CaptureFixture[str]
) -> None:
    def told(names: list[str]) -> list[dict[str, object]]:
        return [*audited(["numpy"]), *({"name": name, "skip_reason": "?"} for name in names if name != "numpy")]

    assert check(told) == 0
    assert "1 of 2 packages audited" in capsys.readouterr().out
