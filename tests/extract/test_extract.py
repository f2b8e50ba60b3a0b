import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests import children
from tests.models import tiny
from toolkit.audio import decode_pool
from toolkit.audio.clip import Clip
from toolkit.audio.decode import decode
from toolkit.core.errors import DiskFullError, InputError, MachineError, StoreError
from toolkit.corpus import manifest as manifests
from toolkit.corpus.manifest import Manifest
from toolkit.extract import pipeline, plan, run, setup
from toolkit.extract.batching import batches, find_budget, run_halving
from toolkit.extract.check import check_checkpoint
from toolkit.extract.options import Options
from toolkit.extract.run import extract
from toolkit.features import layout, loading
from toolkit.features.shard import ShardContent
from toolkit.features.store import Store, Writer
from toolkit.models.checkpoint import Checkpoint, inspect
from toolkit.models.encoder import Encoder
from toolkit.models.load import load
from toolkit.models.pooling import mean_and_std
from toolkit.models.precision import FLOAT32, Precision
from toolkit.models.wav2vec2 import Wav2Vec2Encoder

RATES = (16_000, 8_000, 22_050)


def corpus(folder: Path, count: int = 7, broken: Sequence[int] = ()) -> Manifest:
    """Clips of 0.3 s to 1.5 s at several rates; those in `broken` are cut in their middle."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        rate = RATES[number % len(RATES)]
        path = folder / f"{number}.wav"
        soundfile.write(path, tiny.speech_like(0.3 + 0.2 * (number * 4 % 7), seed=number, rate=rate), rate)
        if number in broken:
            path.write_bytes(path.read_bytes()[:3000])
        rows.append((f"clip{number}", path.name, f"s{number % 3}"))
    manifests.write(folder / "manifest.csv", ("id", "path", "speaker"), rows)
    return manifests.read(folder / "manifest.csv")


@pytest.fixture(scope="module")
def hubert(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return inspect(tiny.hubert(tmp_path_factory.mktemp("models") / "tiny-hubert"), "tiny-hubert")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return inspect(tiny.whisper(tmp_path_factory.mktemp("models") / "tiny-whisper"), "tiny-whisper")


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


def test_started_again_it_does_only_what_is_missing(
    tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = corpus(tmp_path)
    extract(clips, hubert, tmp_path / "features", Options(dtype="float32"))
    more = corpus(tmp_path, count=9)
    said: list[str] = []
    done = extract(more, hubert, tmp_path / "features", Options(dtype="float32"), said.append)
    assert (done.new, done.before) == (2, 7)
    assert any("7 of 9 clips are in" in sentence and "2 are missing" in sentence for sentence in said)
    monkeypatch.setattr(setup, "load", lambda *_, **__: pytest.fail("a finished store needs no model"))
    again = extract(more, hubert, tmp_path / "features", Options(dtype="float32"))
    assert (again.new, again.before) == (0, 9)


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


def test_a_recording_that_changed_under_its_id_is_refused(tmp_path: Path, hubert: Checkpoint) -> None:
    clips = corpus(tmp_path)
    extract(clips, hubert, tmp_path / "features", Options(dtype="float32"))
    soundfile.write(tmp_path / "3.wav", tiny.speech_like(0.4, seed=99), 16_000)
    with pytest.raises(InputError, match="'clip3' is not what tiny-hubert-"):
        extract(clips, hubert, tmp_path / "features", Options(dtype="float32"))


def test_an_id_that_means_another_file_is_refused_however_alike_the_files_are(
    tmp_path: Path, hubert: Checkpoint
) -> None:
    """As an archive leaves them: of one length and one time."""
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", tiny.speech_like(0.5, seed=number), 16_000)
        os.utime(tmp_path / f"{number}.wav", (1, 1))

    def of(*files: int) -> Manifest:
        rows = [(f"row{row}", f"{file}.wav") for row, file in enumerate(files)]
        manifests.write(tmp_path / "manifest.csv", ("id", "path"), rows)
        return manifests.read(tmp_path / "manifest.csv")

    options = Options(dtype="float32")
    extract(of(1, 2), hubert, tmp_path / "features", options)
    with pytest.raises(InputError, match="'row0', 'row1' is not what tiny-hubert-"):
        extract(of(0, 1, 2), hubert, tmp_path / "features", options)
    (tmp_path / "moved").mkdir()
    for name in ("1.wav", "2.wav"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    said: list[str] = []
    manifests.write(tmp_path / "manifest.csv", ("id", "path"), [("row0", "moved/1.wav"), ("row1", "moved/2.wav")])
    moved = manifests.read(tmp_path / "manifest.csv")
    assert extract(moved, hubert, tmp_path / "features", options, said.append).before == 2
    assert any(sentence.startswith("2 clips come from other or newer files") for sentence in said)
    before, said[:] = store_of(tmp_path / "features"), []
    again = extract(moved, hubert, tmp_path / "features", options, said.append)
    assert again.before == 2 and not any("other or newer files" in sentence for sentence in said)
    assert store_of(tmp_path / "features") == before and not [defect for _, defect in again.store.verify() if defect]


def store_of(features: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in features.glob("*/s*")}


def test_a_duration_that_the_manifest_corrects_counts_anew(tmp_path: Path, hubert: Checkpoint) -> None:
    soundfile.write(tmp_path / "a.wav", tiny.speech_like(1.0), 16_000)

    def told(seconds: str) -> Manifest:
        manifests.write(tmp_path / "manifest.csv", ("id", "path", "duration"), [("a", "a.wav", seconds)])
        return manifests.read(tmp_path / "manifest.csv")

    options = Options(dtype="float32")
    assert extract(told("3.0"), hubert, tmp_path / "features", options).failed
    assert not extract(told("1.0"), hubert, tmp_path / "features", options).failed
    with pytest.raises(InputError, match=r"'a' lasts 1\.00 s, the manifest says 9\.00 s"):
        extract(told("9.0"), hubert, tmp_path / "features", options)


def test_a_shard_whose_data_is_gone_is_not_called_there(tmp_path: Path, hubert: Checkpoint) -> None:
    clips = corpus(tmp_path, count=2)
    data = extract(clips, hubert, tmp_path / "features", Options(dtype="float32")).store.folder / "shard-00000.h5"
    data.unlink()
    with pytest.raises(StoreError, match=r"shard-00000\.h5 is missing"):
        extract(clips, hubert, tmp_path / "features", Options(dtype="float32"))


def test_a_batch_size_is_measured_where_the_first_clips_had_no_audio(tmp_path: Path, hubert: Checkpoint) -> None:
    options = Options(dtype="float32")
    corpus(tmp_path, count=3, broken=(0, 1, 2))
    budgets = extract(manifests.read(tmp_path / "manifest.csv"), hubert, tmp_path / "f", options).store.folder
    assert not (budgets / run.BUDGETS_FILE).exists()
    store = extract(corpus(tmp_path, count=4), hubert, tmp_path / "f", options).store
    whole = (store.folder / run.BUDGETS_FILE).read_text()
    for damage in ("[]", '{"cpu": null}', '{"cpu": 1e999}', '{"cpu": -3}'):
        (store.folder / run.BUDGETS_FILE).write_text(damage)
        extract(corpus(tmp_path, count=4), hubert, tmp_path / "f", replace(options, retry_failed=True))
        encoder = load(hubert, torch.device("cpu"), torch.float32)
        budget = run.budget_of(store, encoder, lambda: [tiny.speech_like(1.0)])
        assert 1 <= budget < 1e6 and (store.folder / run.BUDGETS_FILE).read_text() != damage
    assert whole.startswith("{") and 1 <= pipeline.measure_budget(encoder, [tiny.speech_like(1.0)]) < 1e6


def test_frames_take_their_own_memory_alone(
    tmp_path: Path, whisper: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In full context a clip's frames are a few of the window's; a view of them would hold all of it."""
    sizes: list[tuple[int, int]] = []
    honest = pipeline.Pipeline._content

    def weighed(self: pipeline.Pipeline, shard: pipeline._Shard) -> object:
        frames = [values for window in shard.windows for clip in window.frames for values in clip.values()]
        sizes.extend((values.untyped_storage().nbytes(), values.nbytes) for values in frames)
        return honest(self, shard)

    monkeypatch.setattr(pipeline.Pipeline, "_content", weighed)
    extract(corpus(tmp_path, count=2), whisper, tmp_path / "f", Options(dtype="float32", frames=("encoder.1",)))
    assert len(sizes) == 2 and all(held == own for held, own in sizes)


def test_a_file_that_was_only_touched_is_the_same(tmp_path: Path, hubert: Checkpoint) -> None:
    clips = corpus(tmp_path)
    extract(clips, hubert, tmp_path / "features", Options(dtype="float32"))
    os.utime(tmp_path / "3.wav", (1, 1))
    assert extract(clips, hubert, tmp_path / "features", Options(dtype="float32")).before == 7


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
    said: list[str] = []
    store = extract(
        clips, hubert, tmp_path / "features", Options(dtype="float32", frames=("encoder.1",)), said.append
    ).store
    assert any("will take" in sentence and "bytes" in sentence for sentence in said)
    pooled = store.layer("encoder.1").mean
    for row, (clip, frames) in enumerate(store.frames("encoder.1")):
        assert clip == store.ids[row]
        np.testing.assert_allclose(frames.mean(axis=0), pooled[row], rtol=5e-3, atol=1e-3)


def test_the_window_of_sorting_changes_nothing(
    tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = corpus(tmp_path)
    whole = extract(clips, hubert, tmp_path / "a", Options(dtype="float32")).store
    monkeypatch.setattr(pipeline, "WINDOW_SECONDS", 1.0)
    cut = extract(clips, hubert, tmp_path / "b", Options(dtype="float32")).store
    assert whole.ids == cut.ids
    np.testing.assert_allclose(whole.layer("encoder.2").mean, cut.layer("encoder.2").mean, rtol=1e-3, atol=1e-4)


def test_memory_that_runs_out_halves_the_batch_and_then_names_the_clip(
    tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = corpus(tmp_path)
    encoder = load(hubert, torch.device("cpu"), torch.float32)
    honest = type(encoder).states
    longest = max(len(decode(clips.audio_path(clip)).samples) for clip in clips.clips)

    def scarce(self: object, samples: Sequence[np.ndarray]) -> object:
        if len(samples) > 2 or max(map(len, samples)) == longest:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return honest(self, samples)

    monkeypatch.setattr(type(encoder), "states", scarce)
    monkeypatch.setattr("toolkit.extract.run.measure_budget", lambda *_: 1000.0)
    done = extract(clips, hubert, tmp_path / "features", Options(dtype="float32"))
    assert all("needs more memory than there is" in reason for reason in done.failed.values())
    assert len(done.failed) == 1 and len(done.store.ids) == 6


def test_states_that_are_not_finite_name_the_clip_and_layer(
    tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = pipeline.mean_and_std
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
    monkeypatch.setattr(pipeline, "mean_and_std", spoiled)
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


def slowly(corpus: Path, checkpoint: Path, features: Path, pause: float, said: Connection) -> None:
    """Extracts three clips a shard; says when one is about to be committed, and when it is."""
    commit = Writer.commit

    def slow(self: Writer, content: ShardContent) -> None:
        said.send("commit")
        commit(self, content)
        said.send("done")
        time.sleep(pause)

    Writer.commit = slow  # type: ignore[method-assign] # in a process of its own
    plan.CLIPS_PER_SHARD = 3  # type: ignore[attr-defined]
    extract(
        manifests.read(corpus / "manifest.csv"), inspect(checkpoint, "tiny-hubert"), features, Options(dtype="float32")
    )


def test_kill_9_and_resume_end_in_the_same_bytes(tmp_path: Path, hubert: Checkpoint) -> None:
    """A child is killed twice; what it left is completed to the undisturbed store."""
    clips = corpus(tmp_path / "corpus", count=9)

    def started(features: Path, pause: float) -> tuple[BaseProcess, Connection]:
        heard, said = children.SERVER.Pipe()
        return children.start(slowly, tmp_path / "corpus", hubert.folder, features, pause, said), heard

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    child, heard = started(whole, 0)
    assert children.ended(child) == 0 and heard.recv() == "commit"
    # the batch budget is measured once per store and kept with it; give both the same
    (undisturbed,) = whole.iterdir()
    resumed = killed / undisturbed.name
    resumed.mkdir(parents=True)
    (resumed / "batches.json").write_bytes((undisturbed / "batches.json").read_bytes())
    for word in ("commit", "done"):
        child, heard = started(killed, 5)
        while heard.recv() != word:
            pass
        child.kill()
        child.join()
    child, heard = started(killed, 0)
    assert children.ended(child) == 0
    files = [{path.name: path.read_bytes() for path in store.glob("s*")} for store in (undisturbed, resumed)]
    assert len(Store(resumed).ids) == len(clips.clips) and layout.CLIPS_PER_SHARD == 256
    assert files[0] == files[1]


def test_a_device_that_not_even_the_shortest_clip_fits_into_ends_the_run(
    tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others hold its memory, or it cannot compute this at all: no clip has failed."""
    clips = corpus(tmp_path, count=3)
    monkeypatch.setattr(run, "budget_of", lambda *_: 5.0)
    monkeypatch.setattr(Wav2Vec2Encoder, "states", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MachineError, match=r"^Clip '.*': at .* s it needs more memory than there is on cpu; other pro"):
        extract(clips, hubert, tmp_path / "features", Options(dtype="float32"))
    monkeypatch.undo()
    assert extract(clips, hubert, tmp_path / "features", Options(dtype="float32")).failed == {}


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


def test_batches_hold_every_clip_once_within_the_budget() -> None:
    costs = [
        16 * milliseconds for milliseconds in (5_000, 1_000, 30_000, 2_000, 2_010, 9_000, 1_000, 3_000, 3_100, 3_250)
    ]
    found = list(batches(costs, lambda length: length, budget_seconds=10.0))
    assert sorted(position for batch in found for position in batch) == list(range(len(costs)))
    for batch in found:
        assert len(batch) == 1 or max(costs[position] for position in batch) * len(batch) <= 160_000
        padding = max(costs[position] for position in batch) * len(batch) - sum(costs[position] for position in batch)
        assert padding <= 0.05 * max(costs[position] for position in batch) * len(batch)
    assert [len(batch) for batch in found] == [2, 2, 3, 1, 1, 1]


def test_the_budget_grows_until_memory_refuses() -> None:
    asked: list[int] = []

    def run(count: int) -> None:
        asked.append(count)
        if count > 4:
            raise torch.OutOfMemoryError

    assert find_budget(run, cost=32_000) in (2.0, 4.0, 8.0)
    assert asked[:2] == [1, 1] and max(asked) <= 8


def test_a_moment_of_another_program_does_not_end_the_search_for_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    now, disturbed = [0.0], iter([0.0, 0.0, 9.0, 9.0, *[0.0] * 20])  # both runs of two clips
    monkeypatch.setattr("toolkit.extract.batching.time.monotonic", lambda: now[0])

    def run(count: int) -> None:
        now[0] += (0.01 * max(count, 4) + next(disturbed)) / 10

    assert find_budget(run, cost=16_000) == 4.0


def test_other_errors_than_memory_are_not_swallowed() -> None:
    def run(batch: list[int]) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run_halving(run, [1, 2])


def test_long_recordings_become_windows_that_know_their_recording(tmp_path: Path, hubert: Checkpoint) -> None:
    clips = corpus(tmp_path, count=4)
    options = Options(dtype="float32", window=0.5, hop=0.25)
    said: list[str] = []
    done = extract(clips, hubert, tmp_path / "features", options, said.append)
    assert any(sentence.startswith("4 recordings are ") for sentence in said)
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
