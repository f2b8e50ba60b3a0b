"""What every room's tests share: hypothesis without clock or disk, charts that are not drawn, and small sounds."""

import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import typer.main
from hypothesis import HealthCheck, settings

import toolkit.extract.run as extract_run
from toolkit import cli
from toolkit.result.report import charts, page

settings.register_profile(
    "toolkit",
    deadline=None,  # two shared cores
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("toolkit")
# It makes a device up, with which CUDA's cannot be used.
collect_ignore = ["test_fake_device.py"] if torch.cuda.is_available() else []

WriteSound = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of the whole program, which lie beside this file, take longest: first, so that none is left to the end,
    where one process would run it and the others wait.
    """
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


def undraw(patch: pytest.MonkeyPatch) -> None:
    """Charts are specifications without content, as NAME.json, and pages have no script."""

    def write_specs(folder: Path, drawn: Mapping[str, object]) -> None:
        for name, spec in drawn.items():
            (folder / f"{name}.json").write_text(json.dumps(spec), encoding="utf-8")

    patch.setattr(charts, "configured", lambda chart, checked: {})  # a second a run
    patch.setattr(charts, "write_specs", write_specs)
    patch.setattr(charts, "svg", lambda spec: '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    patch.setattr(page, "_script", lambda: "")


@pytest.fixture(autouse=True)
def frozen() -> None:
    """What was there before a test is no garbage of its own; Trainer would look at all of it, each time it trains."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """The disk need not have what a test writes; power cuts are tests/test_faults.py's, in processes of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def built_once() -> Iterator[None]:
    """The commands: Typer makes all 32 of them out of their functions at each call, 30 ms of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(scope="session", autouse=True)
def undrawn() -> Iterator[None]:
    """Nothing is drawn here; `drawn` draws, and `specified` has the specifications."""
    with pytest.MonkeyPatch.context() as patch:
        undraw(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def unmeasured() -> Iterator[None]:
    """A store's batches are of 4 s of audio; to measure what is fastest takes longer than to extract a few clips."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extract_run, "measure_budget", lambda *_: 4.0)
        yield


CONFIGURED, WRITE_SPECS, SVG, SCRIPT = charts.configured, charts.write_specs, charts.svg, page._script


@pytest.fixture
def specified(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test of the specifications, which are not drawn."""
    monkeypatch.setattr(charts, "configured", CONFIGURED)


@pytest.fixture
def drawn(specified: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test of the drawings themselves: a second or more each."""
    monkeypatch.setattr(charts, "write_specs", WRITE_SPECS)
    monkeypatch.setattr(charts, "svg", SVG)
    monkeypatch.setattr(page, "_script", SCRIPT)


@pytest.fixture
def write_sound(tmp_path: Path) -> WriteSound:
    """Write a voiced sound of gliding pitch under tmp_path, and return its path."""

    def write(name: str, seconds: float = 0.5, rate: int = 16_000, channels: int = 1, pitch: float = 120.0) -> Path:
        time = np.arange(round(seconds * rate)) / rate
        phase = 2 * np.pi * pitch * (time + 0.2 * time**2)
        voice = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 6)) * 0.1
        sound = np.stack([voice * (1 - 0.3 * channel) for channel in range(channels)], axis=1)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound.astype(np.float32), rate)
        return path

    return write


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Call the command in this process: (exit code, standard output, standard error)."""
    umask, handlers = os.umask(0o022), {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}

    monkeypatch.setattr("toolkit.cli.diagnostics.install", lambda: None)  # the hooks are pytest's here

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["toolkit", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    yield call
    os.umask(umask)
    for number, handler in handlers.items():
        signal.signal(number, handler)
