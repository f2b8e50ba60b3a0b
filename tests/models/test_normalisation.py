"""Input normalisation against the feature extractor's own."""

import numpy as np
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.tiny import speech_like
from toolkit.models.normalisation import normalise

EXTRACTOR = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 50_000), volume=st.floats(-5, 4), offset=st.floats(-0.2, 0.2), seed=st.integers(0, 1000))
def test_it_is_the_feature_extractor_s(n: int, volume: float, offset: float, seed: int) -> None:
    clip = ((speech_like(n / 16_000, seed) + offset) * 10**volume).astype(np.float32)
    found = normalise(torch.from_numpy(clip)[None], torch.tensor([n]))[0].numpy()
    (expected,) = EXTRACTOR(clip, sampling_rate=16_000)["input_values"]
    assert found.dtype == np.float32
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected) + 1e-5


def test_a_quiet_sound_on_a_large_offset_is_that_of_float64() -> None:
    clip = (0.5 + 1e-3 * np.random.default_rng(0).standard_normal(200_000)).astype(np.float32)
    found = normalise(torch.from_numpy(clip)[None], torch.tensor([200_000]))[0].numpy()
    exact = clip.astype(np.float64)
    expected = (exact - exact.mean()) / np.sqrt(exact.var() + 1e-7)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_silence_and_a_constant_stay_zero_and_the_clips_themselves_are_left_alone() -> None:
    constant = torch.full((1, 1000), 0.3)
    assert not normalise(constant, torch.tensor([1000])).any() and not normalise(torch.zeros(1, 1), torch.ones(1)).any()
    assert (constant == np.float32(0.3)).all()


def test_each_clip_is_normalised_by_its_own_samples() -> None:
    rows = torch.zeros(3, 1000)
    rows[0], rows[1, :400] = 0.3, torch.from_numpy(speech_like(400 / 16_000, 0))
    found = normalise(rows, torch.tensor([1000, 400, 1]))
    assert not found[0].any() and not found[1, 400:].any() and not found[2].any()
    alone = normalise(rows[1:2, :400], torch.tensor([400]))
    torch.testing.assert_close(found[1:2, :400], alone, rtol=1e-6, atol=1e-7)
