import time

import pytest

from toolkit.core import progress


def test_without_a_terminal_a_line_now_and_then_tells_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    with progress.bar("extract tiny", 100, "clips") as advance:
        for _ in range(20):
            advance(5, 10.0)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and 2 <= len(lines) < 20
    assert lines[0].startswith("extract tiny: ") and "of 100 clips" in lines[0]
    assert "0.33 clips/s, 0.67 s of audio per s" in lines[0] and lines[0].endswith("s left")


def test_on_a_terminal_there_is_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "150")
    with progress.bar("probe tiny", 4, "layers") as advance:
        for _ in range(4):
            advance(1, 0.0)
    err = capsys.readouterr().err
    assert "probe tiny" in err and "4/4" in err and "layers/s" in err
