"""Zero mean and unit variance of each clip, as the feature extractor of wav2vec 2.0 and its kin does."""

import torch
from torch import Tensor

from toolkit.models.encoder import own_frames

VARIANCE_FLOOR = 1e-7  # added to the variance, as transformers' Wav2Vec2FeatureExtractor does


def widest(values: Tensor) -> Tensor:
    """The values in float64; in float32 on Apple's Metal, which has no wider type."""
    return values.float() if values.device.type == "mps" else values.double()


def normalise(waveforms: Tensor, lengths: Tensor) -> Tensor:
    """(x - mean) / sqrt(variance + 1e-7) over each clip's own samples, computed in float64.

    waveforms: (batch, n_samples) float32, zero after each clip; over that padding it would be another number. lengths:
    (batch,) own samples, on the same device. Returns the same shape, float32, zero after each clip. Source:
    `Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm` of transformers.
    """
    exact, count = widest(waveforms), widest(lengths)[:, None]
    exact = torch.where(own_frames(lengths, waveforms.shape[1]), exact - exact.sum(dim=1, keepdim=True) / count, 0.0)
    deviation = torch.sqrt(exact.square().sum(dim=1, keepdim=True) / count + VARIANCE_FLOOR)
    return (exact / deviation).float()
