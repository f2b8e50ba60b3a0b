"""Input normalisation against the feature extractor's own."""

import numpy as np
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
    found = normalise(clip)
    (expected,) = EXTRACTOR(clip, sampling_rate=16_000)["input_values"]
    assert found.dtype == np.float32
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected) + 1e-5


def test_silence_and_a_constant_stay_zero_and_the_clip_itself_is_left_alone() -> None:
    constant = np.full(1000, 0.3, np.float32)
    assert not normalise(constant).any() and not normalise(np.zeros(1, np.float32)).any()
    assert (constant == np.float32(0.3)).all()
