"""A whole extraction on a device that is not the CPU, with every operation looked at: tests/devices.py."""

from pathlib import Path

import numpy as np
import pytest

from tests.devices import DEVICES
from tests.extract.conftest import corpus
from tests.models import tiny
from toolkit.extract.options import Options
from toolkit.extract.run import extract
from toolkit.models.checkpoint import locate


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("family", ["hubert-group", "whisper-80"])
def test_it_gives_the_store_that_the_cpu_gives(
    tmp_path: Path, family: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = corpus(tmp_path)
    folder = tiny.FAMILIES[family](tmp_path / "models" / family)
    checkpoint = locate(str(folder), tmp_path / "models")
    options = Options(context="clip", dtype="float32", frames=("encoder.1",), device="cpu")
    here = extract(clips, checkpoint, tmp_path / "here", options)
    messages: list[str] = []
    with DEVICES[name]() as device:
        monkeypatch.setattr("toolkit.extract.setup.choose_device", lambda name: device)
        there = extract(clips, checkpoint, tmp_path / "there", options, messages.append)
    assert any(f"on {device}" in sentence for sentence in messages)
    assert (there.new, there.failed) == (here.new, here.failed)
    for layer in here.store.layers:
        one, other = there.store.layer(layer), here.store.layer(layer)
        np.testing.assert_allclose(one.mean, other.mean, rtol=1e-3, atol=1e-5)  # float16 on disk
        np.testing.assert_allclose(one.std, other.std, rtol=1e-3, atol=1e-5)
    for (clip, one), (same, other) in zip(there.store.frames("encoder.1"), here.store.frames("encoder.1"), strict=True):
        assert clip == same
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-3)
