"""What the tests of several families share."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.models import zoo
from toolkit.models import generic

Saved = Callable[[str], Path]


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """The folder of a checkpoint of the zoo, made once; to be read alone."""
    models = tmp_path_factory.mktemp("zoo")
    return cache(lambda name: zoo.save(name, models / name))


@pytest.fixture
def proved_by_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """For whoever compares the states itself: a proof of two clips. test_generic.py proves each family by more."""
    monkeypatch.setattr(generic, "PROOF_CLIPS", 2)
    monkeypatch.setattr(generic, "FIXED_PROOF_CLIPS", 2)
