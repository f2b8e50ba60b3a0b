"""A corrected cut time: the old features leave the store, the new ones come, and no run mistakes one for the other."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import Run
from tests.models import tiny
from toolkit.core.errors import InputError, StoreError
from toolkit.corpus import manifest as manifests
from toolkit.corpus.manifest import Manifest
from toolkit.extract.options import Options
from toolkit.extract.run import LocalExecutor, extract
from toolkit.features import shard
from toolkit.features.replaced import mark
from toolkit.features.store import Store
from toolkit.models.checkpoint import Checkpoint, inspect
from toolkit.probe.estimator import fitted
from toolkit.result import run_files

OPTIONS = Options(dtype="float32")
RECOMPUTE = Options(dtype="float32", changed="recompute")


@pytest.fixture(scope="module")
def hubert(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return inspect(tiny.hubert(tmp_path_factory.mktemp("models") / "tiny-hubert"), "tiny-hubert")


def calls(folder: Path, *ends: float) -> Manifest:
    """A call of 2 s for each end, cut there."""
    rows = []
    for number, end in enumerate(ends):
        if not (folder / f"{number}.wav").exists():
            soundfile.write(folder / f"{number}.wav", tiny.speech_like(2.0, seed=number), 16_000)
        rows.append((f"c{number}", f"{number}.wav", f"s{number // 2}", ("low", "high")[number % 2], str(end)))
    manifests.write(folder / "manifest.csv", ("id", "path", "speaker", "mood", "end"), rows)
    return manifests.read(folder / "manifest.csv")


def means(store: Store, layer: str = "encoder.1") -> dict[str, np.ndarray]:
    found = store.layer(layer)
    return dict(zip(found.ids, found.mean))


def test_changed_clips_are_computed_again_and_the_others_keep_their_bytes(tmp_path: Path, hubert: Checkpoint) -> None:
    before = extract(calls(tmp_path, 1, 1.2, 1.4), hubert, tmp_path / "features", OPTIONS).store
    old, corrected = means(before), calls(tmp_path, 1, 0.7, 1.4)
    with pytest.raises(InputError, match=r"'c1' is not what .* --changed recompute, give the new recordings new ids"):
        extract(corrected, hubert, tmp_path / "features", OPTIONS)
    messages: list[str] = []
    done = extract(corrected, hubert, tmp_path / "features", RECOMPUTE, messages.append)
    assert (done.new, done.before, mark(before) is None) == (1, 2, False)
    assert any(sentence.startswith("1 clips are other audio than before: what tiny-hubert-") for sentence in messages)
    new = means(done.store)
    assert new.keys() == old.keys() and not np.array_equal(new["c1"], old["c1"])
    for clip in ("c0", "c2"):
        np.testing.assert_array_equal(new[clip], old[clip])
    alone = extract(corrected, hubert, tmp_path / "other", OPTIONS).store
    np.testing.assert_allclose(new["c1"], means(alone)["c1"], rtol=1e-2, atol=1e-3)
    assert done.store.clips["c1"].samples == round(0.7 * 16_000)
    assert extract(corrected, hubert, tmp_path / "features", RECOMPUTE).new == 0
    assert not any(defect for _, defect in done.store.verify())


def test_audio_that_cannot_be_had_keeps_what_is_stored(tmp_path: Path, hubert: Checkpoint) -> None:
    store = extract(calls(tmp_path, 1, 1.2), hubert, tmp_path / "features", OPTIONS).store
    with pytest.raises(InputError, match="is not what tiny-hubert-"):
        extract(calls(tmp_path, 0.8, 9), hubert, tmp_path / "features", RECOMPUTE)
    store.refresh()
    assert set(store.clips) == {"c0", "c1"} and store.clips["c0"].samples == 16_000 and mark(store) is None


@pytest.mark.parametrize("where", ["before the shard is written", "before anything is computed"])
def test_cut_off_anywhere_it_ends_as_it_would_have(
    where: str, tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = extract(calls(tmp_path, 1, 1.2, 1.4), hubert, tmp_path / "features", OPTIONS).store
    corrected = calls(tmp_path, 1, 0.7, 1.4)

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*((shard, "_commit") if "shard" in where else (LocalExecutor, "prepare")), cut_off)
        with pytest.raises(KeyboardInterrupt):
            extract(corrected, hubert, tmp_path / "features", RECOMPUTE)
    store.refresh()
    assert not any(defect for _, defect in store.verify())
    options = RECOMPUTE if "shard" in where else OPTIONS  # what is out is missing, and no more
    assert set(store.clips) == ({"c0", "c1", "c2"} if "shard" in where else {"c0", "c2"})
    done = extract(corrected, hubert, tmp_path / "features", options)
    assert done.new == 1 and done.store.clips["c1"].samples == round(0.7 * 16_000)


def test_a_damaged_mark_is_named(tmp_path: Path, hubert: Checkpoint) -> None:
    store = extract(calls(tmp_path, 1, 1.2), hubert, tmp_path / "features", OPTIONS).store
    (store.folder / "replaced.json").write_text("{")
    with pytest.raises(StoreError, match=r"replaced\.json is damaged"):
        mark(store)


def test_probe_makes_another_run_of_them_and_the_old_one_says_that_its_features_are_gone(
    tmp_path: Path, run: Run
) -> None:
    tiny.hubert(tmp_path / "models" / "tiny-hubert")
    ends = [1.0 + 0.05 * number for number in range(8)]
    calls(tmp_path, *ends)
    extracted = ("extract", "-m", "tiny-hubert", "-w", tmp_path, "--dtype", "float32")
    probed = ("probe", "-m", "tiny-hubert", "-t", "mood", "--folds", 3, "--trials", 1, "-w", tmp_path)
    assert run(*extracted)[0] == 0 and run(*probed)[0] == 0
    (first,) = tmp_path.glob("result/mood-*/run.json")
    assert fitted(first.parent, run_files.read(first.parent)).n_features_in_ > 0
    calls(tmp_path, 0.6, *ends[1:])
    code, _, err = run(*probed)
    assert code == 2 and "--changed recompute" in err
    code, _, err = run(*extracted, "--changed", "again")
    assert code == 2 and "Bad --changed 'again', expected one of ['refuse', 'recompute']" in err
    assert run(*extracted, "--changed", "recompute")[0] == 0
    code, _, err = run(*probed)
    assert code == 0 and "is finished already" not in err
    assert len(list(tmp_path.glob("result/mood-*/run.json"))) == 2
    with pytest.raises(StoreError, match=r"1 clips .* computed again of other audio; probe again"):
        fitted(first.parent, run_files.read(first.parent))
