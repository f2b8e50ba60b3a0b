"""The log-mel over the clip alone against the checkpoint's own preprocessor over 30 s."""

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.tiny import speech_like
from toolkit.models.logmel import LogMel

CPU = torch.device("cpu")
EXTRACTORS = {bins: transformers.WhisperFeatureExtractor(feature_size=bins) for bins in (80, 128)}
EDGES = (
    1,
    159,
    160,
    161,
    200,
    201,
    320,
    400,
    16_000,
    479_599,
    479_600,
    479_799,
    479_800,
    479_839,
    479_840,
    479_999,
    480_000,
)


def _expected(bins: int, clips: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([EXTRACTORS[bins](clip, sampling_rate=16_000)["input_features"] for clip in clips])


@pytest.mark.parametrize("bins", [80, 128])
@pytest.mark.parametrize("n_samples", EDGES)
def test_at_every_edge_it_is_the_feature_extractor_s(bins: int, n_samples: int) -> None:
    clip = speech_like(n_samples / 16_000, seed=n_samples)
    found = LogMel(EXTRACTORS[bins], CPU)([clip]).numpy()
    assert found.shape == (1, bins, 3000)
    assert np.abs(found - _expected(bins, [clip])).max() < 1e-5


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.one_of(st.integers(1, 3_000), st.integers(1, 480_000)), min_size=1, max_size=3),
    volume=st.floats(-7, 1),
    seed=st.integers(0, 1000),
)
def test_batches_of_any_lengths_and_loudness_are_the_feature_extractor_s(
    lengths: list[int], volume: float, seed: int
) -> None:
    clips = [(speech_like(n / 16_000, seed + i) * 10**volume).astype(np.float32) for i, n in enumerate(lengths)]
    assert np.abs(LogMel(EXTRACTORS[80], CPU)(clips).numpy() - _expected(80, clips)).max() < 1e-5


def test_silence_and_an_impulse_are_the_feature_extractor_s() -> None:
    impulse = np.zeros(5_000, np.float32)
    impulse[2_500] = 1
    clips = [np.zeros(5_000, np.float32), impulse]
    assert np.abs(LogMel(EXTRACTORS[80], CPU)(clips).numpy() - _expected(80, clips)).max() < 1e-5


def test_fewer_frames_are_the_first_ones() -> None:
    log_mel, clips = LogMel(EXTRACTORS[80], CPU), [speech_like(0.5), speech_like(1.3, seed=1)]
    whole = log_mel(clips)
    for frames in (1, 50, 130, 1000):
        assert torch.equal(log_mel(clips, frames), whole[..., :frames])


def test_more_than_30_s_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at most 480000"):
        LogMel(EXTRACTORS[80], CPU)([np.zeros(480_001, np.float32)])
