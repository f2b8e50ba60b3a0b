"""Models that hear 24 or 48 kHz, and whose layers differ in width: their stores, which every other stage reads."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
import soxr
import torch

from tests.models import tiny, zoo
from tests.models.conftest import proved_by_two
from tests.models.tiny import speech_like
from toolkit.audio import decode_pool
from toolkit.audio.decode import decode
from toolkit.core.errors import InputError, StoreError
from toolkit.corpus import manifest
from toolkit.corpus.manifest import Manifest
from toolkit.extract.options import Options
from toolkit.extract.run import extract
from toolkit.features.export import export
from toolkit.features.store import Store
from toolkit.models.checkpoint import Checkpoint, inspect
from toolkit.models.load import load
from toolkit.models.load_trainable import load_trainable

__all__ = ["proved_by_two"]
pytestmark = pytest.mark.usefixtures("proved_by_two")
CPU = torch.device("cpu")


def corpus(folder: Path, seconds: float = 0.3) -> Manifest:
    """At 22.05 kHz, which no model hears."""
    rows = []
    for number in range(4):
        sound = speech_like(seconds + 0.11 * number, seed=number, rate=22_050)
        soundfile.write(folder / f"{number}.wav", sound, 22_050, "FLOAT")
        rows.append((f"c{number}", f"{number}.wav", f"s{number % 2}", ["low", "high"][number // 2]))
    manifest.write(folder / "manifest.csv", ("id", "path", "speaker", "emotion"), rows)
    return manifest.read(folder / "manifest.csv")


@pytest.fixture(scope="module")
def dac(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = zoo.save("dac", tmp_path_factory.mktemp("models") / "dac")
    values = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**values, "sampling_rate": 24_000}))
    return inspect(folder, "tiny-dac")


def test_audio_is_decoded_at_the_rate_that_is_asked_for_and_known_by_what_it_is_at_16_khz(tmp_path: Path) -> None:
    path = corpus(tmp_path).audio_path(corpus(tmp_path).clips[1])
    plain, wide = decode(path), decode(path, sample_rate=24_000)
    sound, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(wide.samples, soxr.resample(sound, 22_050, 24_000, quality="HQ"))
    assert (wide.sha256, wide.count, wide.flags, wide.rate) == (plain.sha256, len(plain.samples), plain.flags, 24_000)
    assert plain.count == len(plain.samples) and wide.seconds == plain.seconds
    pooled = decode_pool.decode(path, sample_rate=24_000)
    np.testing.assert_array_equal(pooled.samples, wide.samples)
    assert (pooled.sha256, pooled.count) == (wide.sha256, wide.count)
    np.testing.assert_array_equal(decode(path, sample_rate=22_050).samples, sound)


def test_a_store_has_a_dataset_a_layer_and_is_read_pruned_and_exported(tmp_path: Path, dac: Checkpoint) -> None:
    clips = corpus(tmp_path)
    store = extract(clips, dac, tmp_path / "features", Options()).store
    assert store.widths == {"encoder.1": 16, "encoder.2": 32, "encoder.3": 64, "encoder.4": 128} and store.width == 128
    assert json.loads((store.folder / "store.json").read_text())["format"] == 2
    assert "24000 Hz" in store.settings["preprocessing"]
    encoder = load(dac, CPU, torch.float32).in_mode("alone")  # type: ignore[attr-defined]
    for row, clip in enumerate(clips.clips):
        heard = decode(clips.audio_path(clip), sample_rate=24_000)
        assert store.clips[clip.id].audio_sha256 == heard.sha256 and store.clips[clip.id].samples == heard.count
        for states in encoder.states([heard.samples]):
            layer = store.layer(states.name)
            np.testing.assert_allclose(layer.mean[row], states.values[0].mean(0), rtol=2e-3, atol=2e-4)
            np.testing.assert_allclose(layer.std[row], states.values[0].std(0, correction=0), rtol=2e-3, atol=2e-4)
    export(store, tmp_path / "all.h5")
    with h5py.File(tmp_path / "all.h5") as file:
        np.testing.assert_array_equal(file["std/encoder.2"][...], store.layer("encoder.2").std)
    before = store.layer("encoder.3").mean
    with store.writing() as writer:
        writer.remove(lambda clip: clip == "c1")
    store.refresh()
    assert store.ids == ("c0", "c2", "c3") and not any(defect for _, defect in Store(store.folder).verify())
    np.testing.assert_array_equal(Store(store.folder).layer("encoder.3").mean, before[[0, 2, 3]])
    description = json.loads((store.folder / "store.json").read_text())
    (store.folder / "store.json").write_text(json.dumps({**description, "widths": [16]}))
    with pytest.raises(StoreError, match=r"store\.json is damaged .*format 2, expected 1 or 2"):
        Store(store.folder)


def test_one_width_is_stored_as_ever(tmp_path: Path) -> None:
    checkpoint = inspect(tiny.hubert(tmp_path / "hubert"), "hubert")
    store = extract(corpus(tmp_path), checkpoint, tmp_path / "features", Options(dtype="float32")).store
    description = json.loads((store.folder / "store.json").read_text())
    assert description["format"] == 1 and list(description) == [
        "format", "backbone", "layers", "width", "settings", "signature"
    ]  # fmt: skip
    with h5py.File(next(store.folder.glob("*.h5"))) as file:
        assert file["mean"].shape == (4, 4, 32)


def test_what_such_models_cannot_do_is_one_sentence(tmp_path: Path, dac: Checkpoint) -> None:
    with pytest.raises(InputError, match="the layers of tiny-dac have different numbers of frames; leave it out"):
        extract(corpus(tmp_path), dac, tmp_path / "features", Options(frames="encoder.2"))
    with pytest.raises(InputError, match="tiny-dac: it cannot be fine-tuned: its layers differ in width, or it hears"):
        load_trainable(dac)


def test_clap_refuses_by_name_what_it_would_crop_at_random(tmp_path: Path) -> None:
    clap = inspect(zoo.save("clap", tmp_path / "clap"), "clap")
    done = extract(corpus(tmp_path, seconds=9.85), clap, tmp_path / "features", Options())
    assert sorted(done.failed) == ["c2", "c3"]
    assert "expected at most 10 s, which is all that the model hears; --window SECONDS" in done.failed["c3"]
