"""What a run keeps: its rounds' probes, and its search, from which a killed run resumes."""

import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests import children
from tests.probe.conftest import Make, corpus, run
from toolkit.core.errors import StoreError
from toolkit.probe import optuna_study, winners
from toolkit.probe.registry import PROBES


@pytest.mark.parametrize("name", [name for name in sorted(PROBES) if PROBES[name].weights is None])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_saved_winners_predict_what_they_predicted(make_corpus: Make, tmp_path: Path, name: str, kind: str) -> None:
    corpus = make_corpus(kind, clips_a_speaker=8, layers=2)
    found = run(corpus, tmp_path, probe=name, trials=1, winners=tmp_path / "kept")
    kept = winners.read(tmp_path / "kept")
    assert [winner.fold for winner in kept] == [0, 1, 2]
    for winner in kept:
        probability, decision = winner.apply([corpus.layer(layer) for layer in winner.layers])
        tested = corpus.folds.fold == winner.fold
        np.testing.assert_array_equal(probability[tested].astype(np.float32), found.predictions.probability[tested])
        np.testing.assert_array_equal(decision[tested], found.predictions.prediction[tested])


def test_damaged_winners_are_refused_before_they_are_parsed(make_corpus: Make, tmp_path: Path) -> None:
    run(make_corpus("binary", clips_a_speaker=12), tmp_path, probe="lightgbm", trials=1, winners=tmp_path / "kept")
    text = next((tmp_path / "kept").glob("round-0.*.txt"))
    text.write_text(text.read_text().replace("num_leaves", "num_trees"))
    with pytest.raises(StoreError, match=r"round-0\.trees\.1\.txt is damaged"):
        winners.read(tmp_path / "kept")


def settled(folder: Path, name: str) -> None:
    """A run's predictions and choices as bytes in a file, its search beside them."""
    optuna_study.BATCH = 3  # so that searches are cut off between their batches, too
    c = corpus("multiclass", clips_a_speaker=8, layers=2)
    found = run(c, folder, study=folder / f"{name}.db", trials=9, workers=2)
    (folder / name).write_bytes(found.predictions.probability.tobytes() + repr(found.choices).encode())


def test_a_run_killed_again_and_again_ends_in_the_same_bytes(tmp_path: Path) -> None:
    assert children.ended(children.start(settled, tmp_path, "undisturbed")) == 0
    whole, growing = (tmp_path / "undisturbed.db").stat().st_size, tmp_path / "killed.db"
    for share in (0.2, 0.4, 0.6):  # of the search on the disk
        child = children.start(settled, tmp_path, "killed")
        while not growing.exists() or growing.stat().st_size < share * whole:
            assert child.is_alive(), "it ended before it was killed"
            time.sleep(0.005)
        child.kill()
        assert children.ended(child) == -signal.SIGKILL
    assert children.ended(children.start(settled, tmp_path, "killed")) == 0
    assert (tmp_path / "killed").read_bytes() == (tmp_path / "undisturbed").read_bytes()
