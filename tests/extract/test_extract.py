import contextlib
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.extract.conftest import corpus
from toolkit.audio import decode_pool
from toolkit.audio.clip import Clip
from toolkit.audio.decode import decode
from toolkit.core.errors import DiskFullError, InputError
from toolkit.extract import pooled, run, setup
from toolkit.extract.check import check_checkpoint
from toolkit.extract.options import Options
from toolkit.extract.run import extract
from toolkit.features import loading
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.encoder import Encoder
from toolkit.models.load import load
from toolkit.models.pooling import mean_and_std
from toolkit.models.precision import FLOAT32, Precision


def test_stored_features_are_those_of_each_clip_alone(tmp_path: Path, hubert: Checkpoint) -> None:
    clips = corpus(tmp_path)
    done = extract(clips, hubert, tmp_path / "features", Options(dtype="float32"))
    assert (done.new, done.before, done.failed) == (7, 0, {})
    encoder = load(hubert, torch.device("cpu"), torch.float32)
    layers = {name: done.store.layer(name) for name in done.store.layers}
    for row, clip in enumerate(clips.clips):
        samples = decode(clips.audio_path(clip)).samples
        for states in encoder.states([samples]):
            mean, std = (values[0].numpy() for values in mean_and_std(states.values, states.lengths))
            stored = layers[states.name]
            assert stored.ids[row] == clip.id
            np.testing.assert_allclose(stored.mean[row], mean, rtol=2e-3, atol=2e-4)  # float16 on disk
            np.testing.assert_allclose(stored.std[row], std, rtol=2e-3, atol=2e-4)


def test_broken_clips_are_named_and_the_rest_is_complete(tmp_path: Path, hubert: Checkpoint) -> None:
    clips = corpus(tmp_path, broken=(2, 5))
    done = extract(clips, hubert, tmp_path / "features", Options(dtype="float32"))
    assert set(done.failed) == {"clip2", "clip5"}
    assert all("ends early" in reason for reason in done.failed.values())
    assert done.store.ids == ("clip0", "clip1", "clip3", "clip4", "clip6")
    again = extract(clips, hubert, tmp_path / "features", Options(dtype="float32"))
    assert (again.new, set(again.failed)) == (0, {"clip2", "clip5"})
    mended = corpus(tmp_path, broken=(5,))
    assert set(extract(mended, hubert, tmp_path / "features", Options(dtype="float32")).failed) == {"clip5"}


def test_only_the_layers_asked_for_are_kept(tmp_path: Path, hubert: Checkpoint) -> None:
    clips = corpus(tmp_path, count=3)
    whole = extract(clips, hubert, tmp_path / "features", Options(dtype="float32")).store
    part = extract(clips, hubert, tmp_path / "features", Options(dtype="float32", layers="1-2")).store
    assert part.layers == ("encoder.1", "encoder.2")
    np.testing.assert_array_equal(part.layer("encoder.2").mean, whole.layer("encoder.2").mean)


def test_whisper_decoder_and_context_are_stores_of_their_own(tmp_path: Path, whisper: Checkpoint) -> None:
    clips = corpus(tmp_path, count=2)
    full = extract(clips, whisper, tmp_path / "features", Options(dtype="float32")).store
    clip = extract(clips, whisper, tmp_path / "features", Options(dtype="float32", context="clip")).store
    both = extract(clips, whisper, tmp_path / "features", Options(dtype="float32", decoder=True)).store
    assert len({store.folder for store in (full, clip, both)}) == 3
    assert both.layers[: len(full.layers)] == full.layers and both.layers[len(full.layers)] == "decoder.0"
    assert not both.layer("decoder.1").std.any()  # one token has no spread
    assert not np.allclose(full.layer(full.layers[-1]).mean, clip.layer(full.layers[-1]).mean, rtol=1e-2)


def test_frames_are_kept_and_their_price_is_said(tmp_path: Path, hubert: Checkpoint) -> None:
    clips = corpus(tmp_path, count=3)
    messages: list[str] = []
    store = extract(
        clips, hubert, tmp_path / "features", Options(dtype="float32", frames=("encoder.1",)), messages.append
    ).store
    assert any("will take" in sentence and "bytes" in sentence for sentence in messages)
    pooled = store.layer("encoder.1").mean
    for row, (clip, frames) in enumerate(store.frames("encoder.1")):
        assert clip == store.ids[row]
        np.testing.assert_allclose(frames.mean(axis=0), pooled[row], rtol=5e-3, atol=1e-3)


def test_states_that_are_not_finite_name_the_clip_and_layer(
    tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = pooled.mean_and_std
    calls = 0

    def spoiled(values: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal calls
        mean, std = honest(values, lengths)
        calls += 1
        if calls == 2:
            mean = mean.clone()
            mean[0, 0] = float("inf")
        return mean, std

    monkeypatch.setattr("toolkit.extract.run.measure_budget", lambda *_: 1000.0)
    monkeypatch.setattr(pooled, "mean_and_std", spoiled)
    done = extract(corpus(tmp_path), hubert, tmp_path / "features", Options(dtype="float32"))
    assert list(done.failed.values()) == ["layer encoder.1 is not finite in float32"]
    assert np.isfinite(done.store.layer("encoder.1").mean).all()


def test_a_full_disk_is_named_and_what_was_committed_stays(
    tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.extract.plan.CLIPS_PER_SHARD", 3)
    clips = corpus(tmp_path)
    honest, writes = Path.write_bytes, 0

    def scarce(self: Path, data: bytes) -> int:
        nonlocal writes
        if self.name.startswith(".shard-") and ".h5" in self.name:
            writes += 1
            if writes == 2:
                raise OSError(28, "No space left on device")
        return honest(self, data)

    monkeypatch.setattr(Path, "write_bytes", scarce)
    with pytest.raises(DiskFullError, match="bytes are free"):
        extract(clips, hubert, tmp_path / "features", Options(dtype="float32"))
    again = extract(clips, hubert, tmp_path / "features", Options(dtype="float32"))
    assert (again.before, again.new) == (3, 4)


def test_the_clips_to_compare_come_from_all_of_the_corpus() -> None:
    assert [run.compared_of(clips) for clips in (3, 400, 800, 20_000)] == [3, 16, 32, 64]
    clips = tuple(Clip(str(number), f"{number}.wav", number + 2) for number in range(10_000))
    order = [int(clip.id) for clip in run.drawn(clips)]
    assert sorted(order) == list(range(10_000)) and order == [int(clip.id) for clip in run.drawn(clips)]
    assert len({number // 2_500 for number in order[:64]}) == 4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (Options(dtype="float64"), "Bad dtype 'float64'"),
        (Options(context="half"), "Bad context 'half'"),
        (Options(layers="0-99"), "Bad layers 0-99"),
        (Options(decoder=True), "has no decoder"),
        (Options(frames=("encoder.99",)), "Bad --frames"),
        (Options(device="tpu"), "Bad device 'tpu'"),
    ],
)
def test_bad_options_are_refused_before_a_model_loads(
    tmp_path: Path, hubert: Checkpoint, options: Options, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "load", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(InputError, match=sentence):
        extract(corpus(tmp_path, count=1), hubert, tmp_path / "features", options)


def test_check_writes_its_verdict_into_the_store_it_guards(
    tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Precision] = []

    def noted(checkpoint: Checkpoint, device: torch.device, precision: Precision, **options: object) -> Encoder:
        loaded.append(precision)
        return load(checkpoint, device, precision)

    monkeypatch.setattr(setup, "load", noted)
    result = check_checkpoint(hubert, tmp_path / "features", Options(dtype="float32"), lambda sentence: None)
    assert result.passed and 0 < result.worst < 1e-5 and loaded == [FLOAT32]
    rounded = check_checkpoint(hubert, tmp_path / "features", Options(dtype="bfloat16"), lambda sentence: None)
    assert 1e-3 < rounded.worst < 0.1  # from float32, not from itself; 5.4e-2 on a CPU without AVX-512
    done = extract(corpus(tmp_path, count=1), hubert, tmp_path / "features", Options(dtype="float32"))
    assert (done.store.folder / "check.json").exists()


def test_long_recordings_become_windows_that_know_their_recording(tmp_path: Path, hubert: Checkpoint) -> None:
    clips = corpus(tmp_path, count=4)
    options = Options(dtype="float32", window=0.5, hop=0.25)
    messages: list[str] = []
    done = extract(clips, hubert, tmp_path / "features", options, messages.append)
    assert any(sentence.startswith("4 recordings are ") for sentence in messages)
    cut_up = [clip for clip in done.store.clips.values() if clip.recording]
    assert cut_up and all(clip.id.startswith(f"{clip.recording}@") and clip.samples == 8_000 for clip in cut_up)
    assert "clip0" in done.store.ids  # 0.3 s: no longer than a window
    plain = extract(clips, hubert, tmp_path / "features", Options(dtype="float32")).store
    assert plain.folder != done.store.folder and plain.ids == tuple(clip.id for clip in clips.clips)
    assert extract(clips, hubert, tmp_path / "features", options).new == 0


def test_a_recording_beyond_the_limit_is_named_with_the_way_out(
    tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.models.wav2vec2.Wav2Vec2Encoder.longest_seconds", 1.0)
    done = extract(corpus(tmp_path, count=3), hubert, tmp_path / "features", Options(dtype="float32"))
    assert list(done.failed) == ["clip1"]
    assert "lasts 1.1 s, expected at most 1 s" in done.failed["clip1"] and "--window" in done.failed["clip1"]


def test_the_order_of_frames_is_no_other_store(tmp_path: Path, hubert: Checkpoint) -> None:
    clips = corpus(tmp_path, count=1)
    one, other = (
        extract(clips, hubert, tmp_path / "features", Options(dtype="float32", frames=frames)).store.folder
        for frames in (("encoder.2", "encoder.0"), ("encoder.0", "encoder.2", "encoder.0"))
    )
    assert one == other


def test_few_long_clips_are_decoded_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = corpus(tmp_path, count=40)
    started: list[str] = []
    honest = loading.decode

    def counted(path: Path, *rest: object) -> object:
        started.append(path.name)
        return honest(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(loading, "decode", counted)
    with contextlib.closing(
        loading.decode_all(clips, clips.clips, workers=2, far=decode_pool.Ahead(seconds=0.0))
    ) as decoded:
        ids = [next(decoded).clip.id for _ in range(3)]
        time.sleep(0.1)  # threads that could run on, would
        assert ids == ["clip0", "clip1", "clip2"] and len(started) <= 3 + 2


def test_silence_that_two_recordings_share_is_no_leak_between_them(tmp_path: Path, hubert: Checkpoint) -> None:
    clips = corpus(tmp_path, count=3)
    for number in (0, 2):
        soundfile.write(tmp_path / f"{number}.wav", np.zeros(8_000, np.float32), 16_000)
    store = extract(clips, hubert, tmp_path / "features", Options(dtype="float32")).store
    assert store.audio_sha256["clip0"] == store.audio_sha256["clip2"]
    assert set(store.sounding_sha256) == {"clip1"}
