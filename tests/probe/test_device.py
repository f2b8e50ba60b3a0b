"""The engines on a device that is not the CPU, with every operation looked at: tests/devices.py."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.devices import DEVICES, watch
from tests.probe.conftest import Corpus, run
from toolkit.probe import batched_training


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rounds' thread sees the made-up device too."""
    monkeypatch.setattr("toolkit.probe.workers._one_thread", watch)
    monkeypatch.setattr("toolkit.probe.networks.training_dtype", lambda device: torch.float32)  # on the CPU, too


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every epoch has the operations of the first; some networks stop before the last of six."""

    def train(stack: batched_training.Stack, *more: Any) -> Any:
        return batched_training.train(replace(stack, epochs=6, patience=1), *more)

    monkeypatch.setattr("toolkit.probe.networks.train", train)


@pytest.mark.usefixtures("looked_at", "brief")
@pytest.mark.parametrize("place", DEVICES)
@pytest.mark.parametrize("name", ["linear", "mlp", "mix"])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_a_probe_s_products_run_there_and_its_run_is_the_same(
    make_corpus: Callable[..., Corpus], tmp_path: Path, name: str, kind: str, place: str
) -> None:
    corpus = make_corpus(kind, clips_a_speaker=4)
    if name != "mix":
        corpus = replace(corpus, features={"encoder.1": corpus.features["encoder.1"]})
    with DEVICES[place]() as device:
        there, here = (
            run(corpus, tmp_path, probe=name, trials=2, device=where, study=tmp_path / f"{where[:3]}.db")
            for where in (str(device), "cpu")
        )
    for one, other in zip(there.choices, here.choices, strict=True):
        assert replace(one, loss=None) == replace(other, loss=None)
        assert one.loss == pytest.approx(other.loss, rel=1e-3)
    np.testing.assert_allclose(there.predictions.probability, here.predictions.probability, atol=1e-4)
