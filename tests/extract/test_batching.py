"""Which clips are computed together, and what memory decides of it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.extract.conftest import corpus
from tests.models import tiny
from toolkit.audio.decode import decode
from toolkit.core.errors import MachineError
from toolkit.corpus import manifest as manifests
from toolkit.extract import pipeline, run
from toolkit.extract.batching import batches, find_budget, run_halving
from toolkit.extract.options import Options
from toolkit.extract.run import extract
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.load import load
from toolkit.models.wav2vec2 import Wav2Vec2Encoder


def test_a_batch_size_is_measured_where_the_first_clips_had_no_audio(tmp_path: Path, hubert: Checkpoint) -> None:
    options = Options(dtype="float32")
    corpus(tmp_path, count=3, broken=(0, 1, 2))
    budgets = extract(manifests.read(tmp_path / "manifest.csv"), hubert, tmp_path / "f", options).store.folder
    assert not (budgets / run.BUDGETS_FILE).exists()
    store = extract(corpus(tmp_path, count=3 + run.FEW_CLIPS + 1), hubert, tmp_path / "f", options).store
    whole = (store.folder / run.BUDGETS_FILE).read_text()
    for damage in ("[]", '{"cpu": null}', '{"cpu": 1e999}', '{"cpu": -3}'):
        (store.folder / run.BUDGETS_FILE).write_text(damage)
        extract(
            corpus(tmp_path, count=3 + run.FEW_CLIPS + 1), hubert, tmp_path / "f", replace(options, retry_failed=True)
        )
        encoder = load(hubert, torch.device("cpu"), torch.float32)
        budget = run.budget_of(store, encoder, lambda: [tiny.speech_like(1.0)])
        assert 1 <= budget < 1e6 and (store.folder / run.BUDGETS_FILE).read_text() != damage
    assert whole.startswith("{") and 1 <= pipeline.measure_budget(encoder, [tiny.speech_like(1.0)]) < 1e6


def test_for_a_few_clips_no_batch_size_is_measured(
    tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "measure_budget", lambda *_: pytest.fail("it takes longer than the clips"))
    store = extract(corpus(tmp_path, count=2), hubert, tmp_path / "f", Options(dtype="float32")).store
    assert len(store.ids) == 2 and not (store.folder / run.BUDGETS_FILE).exists()


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
    requests: list[int] = []

    def run(count: int) -> None:
        requests.append(count)
        if count > 4:
            raise torch.OutOfMemoryError

    assert find_budget(run, cost=32_000) in (2.0, 4.0, 8.0)
    assert requests[:2] == [1, 1] and max(requests) <= 8


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
