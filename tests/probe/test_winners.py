"""What a run keeps: its rounds' probes, and its search, from which a killed run resumes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.probe.conftest import Make, run
from toolkit.core.errors import StoreError
from toolkit.probe import winners
from toolkit.probe.registry import PROBES


@pytest.mark.parametrize("name", [name for name in sorted(PROBES) if PROBES[name].weights is None])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_saved_winners_predict_what_they_predicted(make_corpus: Make, tmp_path: Path, name: str, kind: str) -> None:
    corpus = make_corpus(kind, clips_a_speaker=12)
    found = run(corpus, tmp_path, probe=name, trials=2, winners=tmp_path / "kept")
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


KILLED = """
import os, signal, sys, time
from pathlib import Path
from tests.probe.conftest import corpus
from toolkit.probe.run import probe

c = corpus("multiclass", clips_a_speaker=16)

def start(name):
    child = os.fork()  # the imports are paid for once
    if child == 0:
        study = Path(sys.argv[1], name + ".db")
        found = probe(c, c.task, c.truth, c.folds, c.speakers, study=study, trials=20, workers=2)
        Path(sys.argv[1], name).write_bytes(found.predictions.probability.tobytes() + repr(found.choices).encode())
        os._exit(0)
    return child

begun = time.monotonic()
os.waitpid(start("undisturbed"), 0)
took = time.monotonic() - begun
kills = 0
for share in (0.2, 0.3, 0.4):
    child = start("killed")
    time.sleep(share * took)
    os.kill(child, signal.SIGKILL)
    kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
os.waitpid(start("killed"), 0)
print(kills)
"""


def test_a_run_killed_again_and_again_ends_in_the_same_bytes(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    driver = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert driver.returncode == 0, driver.stderr
    assert int(driver.stdout) >= 1
    assert (tmp_path / "killed").read_bytes() == (tmp_path / "undisturbed").read_bytes()
