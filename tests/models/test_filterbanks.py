"""Filter banks against their definitions, in plain numpy and float64."""

import numpy as np
import pytest

from tests.models.tiny import speech_like
from toolkit.models.filterbanks import FunAsrNanoFeatureExtractor, GraniteSpeechFeatureExtractor, kaldi_bank

CLIP = speech_like(0.31)


def triangles(hertz_to_mel: object, low: float, high: float, bins: int, in_mel: bool) -> np.ndarray:
    """(257, bins): rising from one centre to the next and falling to the one after."""
    edges = np.linspace(hertz_to_mel(low), hertz_to_mel(high), bins + 2)  # type: ignore[operator]
    places = np.linspace(0, 8_000, 257)
    if in_mel:
        places = hertz_to_mel(places)  # type: ignore[operator]
    else:
        edges = 700 * (10 ** (edges / 2595) - 1)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (places[:, None] - left) / (centre - left), (right - places[:, None]) / (right - centre)
    return np.maximum(0, np.minimum(rising, falling))


def kaldi_mel(hertz: np.ndarray) -> np.ndarray:
    return 1127 * np.log(1 + hertz / 700)


def htk_mel(hertz: np.ndarray) -> np.ndarray:
    return 2595 * np.log10(1 + hertz / 700)


def test_kaldi_s_bank_is_its_definition() -> None:
    frames = np.stack([CLIP[start : start + 400] for start in range(0, len(CLIP) - 399, 160)]).astype(np.float64)
    frames -= frames.mean(axis=1, keepdims=True)
    emphasised = frames - 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 399)
    power = np.abs(np.fft.rfft(emphasised * window, 512)) ** 2
    expected = np.log(np.maximum(power @ triangles(kaldi_mel, 20, 8_000, 80, True), np.finfo(np.float32).eps))
    found = kaldi_bank(CLIP, FunAsrNanoFeatureExtractor.defaults)
    assert found.shape == expected.shape == (29, 80)
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


def test_seven_frames_are_one_and_the_ends_are_repeated() -> None:
    bank = kaldi_bank(CLIP, FunAsrNanoFeatureExtractor.defaults)
    rows = FunAsrNanoFeatureExtractor({})(CLIP, 16_000, "pt")["input_features"][0].numpy()
    padded = np.concatenate([bank[:1]] * 3 + [bank] + [bank[-1:]] * 10)
    assert rows.shape == (5, 560)  # of 29 frames, one in six
    np.testing.assert_allclose(rows, [padded[6 * k : 6 * k + 7].ravel() for k in range(5)], rtol=1e-5)


def test_granite_s_spectrum_is_its_definition() -> None:
    padded = np.pad(CLIP.astype(np.float64), 256, mode="reflect")
    window = np.pad(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400), 56)
    frames = np.stack([padded[start : start + 512] for start in range(0, len(padded) - 511, 160)])
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    levels = np.log10(np.maximum(power @ triangles(htk_mel, 0, 8_000, 80, False), 1e-10))
    scaled = np.maximum(levels, levels.max() - 8) / 4 + 1
    found = GraniteSpeechFeatureExtractor({})(CLIP, 16_000, "pt")["input_features"][0].numpy()
    expected = scaled[: len(scaled) // 2 * 2].reshape(-1, 160)
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


def test_values_of_a_saved_extractor_are_taken() -> None:
    assert GraniteSpeechFeatureExtractor.from_dict({"melspec_kwargs": {"n_mels": 40}}).values["n_mels"] == 40
    assert FunAsrNanoFeatureExtractor.from_dict({"stride_lfr": 3, "other": 1}).values["stride_lfr"] == 3
    with pytest.raises(KeyError):
        FunAsrNanoFeatureExtractor.from_dict({"other": 1}).values["other"]
